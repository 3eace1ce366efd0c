//! TLS to a real Mosquitto that asks for a client certificate; the certificates are made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::test_rig::{Broker, Rig, in_both_protocols, number};
use super::{ClientCertificate, MqttConfig, Protocol, TlsFiles};

in_both_protocols!(
    a_client_certificate_of_the_right_authority_connects,
    every_mistake_with_certificates_is_named_with_its_remedy,
);

/// Makes two authorities, each with a certificate for a broker and one for a client. The first authority's
/// broker is `localhost`, the other's is elsewhere.
fn certificates(dir: &Path) -> bool {
    let script = "set -e
        curve='ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        for ca in ca other; do
            openssl req -x509 -newkey $curve -keyout $ca.key -out $ca.pem -days 2 -subj /CN=$ca
        done
        make() {
            openssl req -newkey $curve -keyout $1.key -out $1.csr -subj /CN=$1
            printf \"subjectAltName=$3\" > $1.ext
            openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -out $1.pem -days 2 -extfile $1.ext
        }
        make broker ca DNS:localhost,IP:127.0.0.1
        make elsewhere ca DNS:elsewhere.example
        make client ca DNS:client
        make stranger other DNS:client";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).output();
    if made.is_ok_and(|made| made.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "openssl is missing");
    println!("skipped: openssl is not installed");
    false
}

fn listen(broker: &mut Broker, certificate: &str) {
    broker.stop();
    broker.extra(&format!(
        "cafile DIR/ca.pem\ncertfile DIR/{certificate}.pem\nkeyfile DIR/{certificate}.key\nrequire_certificate true"
    ));
    broker.resume();
}

/// A configuration with an authority and, unless it is empty, a client certificate.
fn config(broker: &Broker, protocol: Protocol, ca: &str, client: &str) -> MqttConfig {
    let path = |name: String| -> PathBuf { broker.dir.path().join(name) };
    let client = (!client.is_empty()).then(|| ClientCertificate {
        cert_file: path(format!("{client}.pem")),
        key_file: path(format!("{client}.key")),
    });
    let mut config = broker.config(protocol);
    config.address.tls = Some(TlsFiles { ca_file: Some(path(format!("{ca}.pem"))), client });
    config
}

async fn a_client_certificate_of_the_right_authority_connects(protocol: Protocol) {
    let Some(mut broker) = Broker::start("") else { return };
    if !certificates(broker.dir.path()) {
        return;
    }
    listen(&mut broker, "broker");
    let mut rig = Rig::start(config(&broker, protocol, "ca", "client"));
    rig.subscribed().await;
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-t", "up/a", "-q", "1"]);
    publish.args(["-l", "--cafile", "ca.pem", "--cert", "client.pem", "--key", "client.key"]);
    publish.current_dir(broker.dir.path());
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let file = broker.file("lines", lines.as_bytes());
    publish.stdin(std::fs::File::open(file).unwrap());
    assert!(publish.status().unwrap().success());
    let got = rig.take(100).await;
    assert!(got.iter().map(number).eq(0..100));
    rig.acknowledge(&got);
    assert_eq!(rig.stop().await, []);
}

/// Scenario: the broker's authority is not ours; it is another host's broker; we have no certificate, or one of
/// an authority that the broker does not know. Guarantees: the reason names the broker and what is wrong, the
/// remedy the key to change and the file or name it stands on.
async fn every_mistake_with_certificates_is_named_with_its_remedy(protocol: Protocol) {
    let Some(mut broker) = Broker::start("") else { return };
    if !certificates(broker.dir.path()) {
        return;
    }
    let cases = [
        ("broker", "other", "client", "UnknownIssuer", vec!["ca_file", "other.pem"]),
        ("elsewhere", "ca", "client", "elsewhere.example", vec!["url", "127.0.0.1"]),
        ("broker", "ca", "", "client certificate", vec!["cert_file", "key_file"]),
        ("broker", "ca", "stranger", "client certificate", vec!["cert_file", "stranger.pem"]),
    ];
    for (certificate, ca, client, what, remedies) in cases {
        listen(&mut broker, certificate);
        let mut rig = Rig::start(config(&broker, protocol, ca, client));
        let (reason, remedy) = rig.down().await;
        let place = format!("mqtts://127.0.0.1:{}", broker.port);
        assert!(reason.contains(&place) && reason.contains(what), "{reason}; {remedy}");
        assert!(remedies.iter().all(|part| remedy.contains(part)), "{reason}; {remedy}");
        rig.kill().await;
    }
}
