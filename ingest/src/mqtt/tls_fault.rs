//! What is wrong with TLS to the broker: whose certificate, which file, what to change.

use std::fmt::Display;

use rustls::{AlertDescription as Alert, CertificateError, Error};
use telemetry::text::say;

use super::config::MqttConfig;
use super::fault::{Fault, chain};

/// Puts a failure of TLS into words.
#[expect(clippy::wildcard_enum_match_arm, reason = "what else may go wrong is told alike")]
pub(crate) fn of(error: &Error, config: &MqttConfig) -> Fault {
    let text = chain(error);
    let address: (&str, &dyn Display) = ("address", &config.address);
    let with: (&str, &dyn Display) = ("error", &text);
    let files = config.address.tls.as_ref();
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            let ca = files.and_then(|files| files.ca_file.as_ref()).map(|file| file.display());
            let system = say("ingest.mqtt.tls_system", &[]);
            let (zh, en) = ca.map_or((system.zh, system.en), |ca| (ca.to_string(), ca.to_string()));
            let mut remedy = say("ingest.mqtt.remedy_tls_untrusted", &[("ca", &en)]);
            remedy.zh = say("ingest.mqtt.remedy_tls_untrusted", &[("ca", &zh)]).zh;
            Fault { reason: say("ingest.mqtt.tls_untrusted", &[address, with]), remedy }
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Fault {
            reason: say("ingest.mqtt.tls_name", &[address, with]),
            remedy: say("ingest.mqtt.remedy_tls_name", &[("host", &config.address.host)]),
        },
        Error::AlertReceived(alert) if is_about_us(*alert) => {
            match files.and_then(|files| files.client.as_ref()) {
                None => Fault {
                    reason: say("ingest.mqtt.tls_wanted", &[address, with]),
                    remedy: say("ingest.mqtt.remedy_tls_wanted", &[]),
                },
                Some(client) => Fault {
                    reason: say("ingest.mqtt.tls_declined", &[address, with]),
                    remedy: say(
                        "ingest.mqtt.remedy_tls_declined",
                        &[("file", &client.cert_file.display())],
                    ),
                },
            }
        }
        _ => Fault {
            reason: say("ingest.mqtt.tls", &[address, with]),
            remedy: say("ingest.mqtt.remedy_tls", &[]),
        },
    }
}

/// Whether the broker complains about our certificate, or about its absence.
fn is_about_us(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::HandshakeFailure
            | Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}
