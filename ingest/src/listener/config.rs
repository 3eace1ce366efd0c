//! What a listener is set up from, and why it cannot be.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use telemetry::problem::Problem;
use telemetry::text::{Text, say};
use telemetry::topic::TopicPattern;

use super::credentials::Credentials;
use super::terms::Limits;
use crate::source::SourceId;

/// Settings of a listener.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Which source its records come from.
    pub source: SourceId,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Whether any port will do where that of `bind` is taken.
    pub or_any_port: bool,
    /// Who may connect by user name and password. `None` without TLS client authorities: anyone may, as anyone.
    pub credentials: Option<Credentials>,
    /// TLS, if the listener speaks it.
    pub tls: Option<ServerTls>,
    /// Connections at a time; the next is closed at once.
    pub max_connections: u32,
    /// Patterns of `[[uplinks]]`: they tell the tenant and the device of a topic.
    pub patterns: Vec<TopicPattern>,
    /// After how long without a message silence is an alarm; `None`: never.
    pub silence_after: Option<Duration>,
    /// Whether silence counts before the first message: not where devices may all come another way.
    pub silence_from_start: bool,
    /// Every other bound.
    pub limits: Limits,
}

impl ListenerConfig {
    /// Makes settings with the default limits, without credentials and TLS.
    #[must_use]
    pub fn new(source: SourceId, bind: SocketAddr, patterns: Vec<TopicPattern>) -> Self {
        Self {
            source,
            bind,
            or_any_port: false,
            credentials: None,
            tls: None,
            max_connections: 10_000,
            patterns,
            silence_after: None,
            silence_from_start: true,
            limits: Limits::default(),
        }
    }
}

/// Files of the listener's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
    /// Authorities of client certificates, PEM. With credentials a client may have either, without it must have a
    /// certificate.
    pub client_ca_file: Option<PathBuf>,
}

/// Why a listener cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// The address is taken, or not ours.
    #[error("listen at {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of TLS cannot be read.
    #[error("read {} as PEM", file.display())]
    Pem {
        /// Which file.
        file: PathBuf,
        /// What the reader said.
        #[source]
        source: Box<rustls::pki_types::pem::Error>,
    },
    /// A file of TLS holds no certificate.
    #[error("find a certificate in {}", file.display())]
    NoCertificate {
        /// Which file.
        file: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("use the certificate in {}", file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// What the library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of credentials cannot be read.
    #[error("read the credentials in {}", file.display())]
    CredentialsFile {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Lines of the credentials are wrong.
    #[error("understand the credentials: {} problems", problems.len())]
    Credentials {
        /// Each with its line.
        problems: Vec<Problem>,
    },
}

impl SetUpError {
    /// Returns what is wrong, with its place.
    #[must_use]
    pub fn text(&self) -> Text {
        match self {
            Self::Bind { address, source } => {
                say("listener.bind", &[("address", address), ("error", source)])
            }
            Self::Pem { file, source } => {
                say("listener.tls.file", &[("file", &file.display()), ("error", source)])
            }
            Self::NoCertificate { file } => {
                say("listener.tls.no_certificate", &[("file", &file.display())])
            }
            Self::Certificate { file, source } => {
                say("listener.tls.unusable", &[("file", &file.display()), ("error", source)])
            }
            Self::CredentialsFile { file, source } => {
                say("listener.credentials.file", &[("file", &file.display()), ("error", source)])
            }
            Self::Credentials { problems } => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Text::plain(lines.join("\n"))
            }
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> Text {
        match self {
            Self::Bind { .. } => say("listener.bind.remedy", &[]),
            Self::Pem { .. } | Self::NoCertificate { .. } | Self::Certificate { .. } => {
                say("listener.tls.remedy", &[])
            }
            Self::CredentialsFile { .. } | Self::Credentials { .. } => {
                say("listener.credentials.remedy", &[])
            }
        }
    }
}
