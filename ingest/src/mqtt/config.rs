//! What a consumer needs to know; checked before it gets here.

use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::source::SourceId;

/// Greatest packet that passes whole.
pub const PACKET_LIMIT: u32 = 16 * 1024 * 1024;
/// Default size of the intake buffer, in bytes.
pub const BUFFER_BYTES: u32 = 64 * 1024 * 1024;

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// MQTT 5.
    #[default]
    V5,
    /// MQTT 3.1.1.
    V3,
}

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Set for `mqtts://`.
    pub tls: Option<TlsFiles>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Certificates of a TLS connection, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// Whom to trust; the system's authorities where it is missing.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate with its chain, and its key, where the broker asks for one.
    pub client: Option<ClientCertificate>,
}

/// Files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Certificate, then the rest of its chain.
    pub cert_file: PathBuf,
    /// Private key: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
}

/// Name and password for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user, if there is one.
    pub username: Option<String>,
    /// Password, if there is one. MQTT 3.1.1 has none without a name.
    pub password: Option<Secret>,
}

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps `bytes` from being printed.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Reads a file; line ends at its end do not count.
    ///
    /// # Errors
    ///
    /// What reading the file gave.
    pub fn read(file: &Path) -> std::io::Result<Self> {
        let mut bytes = std::fs::read(file)?;
        while bytes.pop_if(|last| matches!(last, b'\n' | b'\r')).is_some() {}
        Ok(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One broker to consume from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttConfig {
    /// Which source this is.
    pub source: SourceId,
    /// Where the broker listens.
    pub address: Address,
    /// Version of the protocol.
    pub protocol: Protocol,
    /// Client id. It names the session at the broker, so it must stay the same and belong to one process alone.
    pub client_id: String,
    /// Topic filters, `$share/group/…` too; at least one. A filter that was removed since the last
    /// run stays in the session until the broker forgets it.
    pub topics: Vec<String>,
    /// Most messages in flight to us. Small values cap the rate: window ÷ (network + fsync). MQTT 3.1.1
    /// cannot tell it to the broker, whose own window counts then.
    pub receive_maximum: NonZeroU16,
    /// Name and password.
    pub credentials: Option<Credentials>,
    /// Seconds between signs of life when nothing else is sent; a dead link shows after twice as long.
    pub keep_alive: NonZeroU16,
    /// After how long without a message, subscribed, silence is an alarm; `None`: never.
    pub silence_after: Option<Duration>,
    /// Size of the intake buffer in bytes.
    pub buffer_bytes: u32,
    /// How long the buffer may stay full before we disconnect until it is half empty. Well below
    /// keep-alive, since nothing is read meanwhile.
    pub blocked_after: Duration,
    /// Pause after a read that emptied the socket, twice as long where it brought much; zero: never.
    pub pause: Duration,
    /// Greatest packet that passes whole, in bytes; at least 128 KiB. Longer ones are cut short.
    pub packet_limit: u32,
    /// Whether the limit is announced, in MQTT 5. A broker that is told drops longer messages by itself,
    /// silently, as MQTT 5 demands; one that is not told sends them, and we cut them short.
    pub announce_packet_limit: bool,
}

impl MqttConfig {
    /// Makes a configuration with the defaults for everything that is not an argument.
    #[must_use]
    pub fn new(source: SourceId, address: Address, client_id: String, topics: Vec<String>) -> Self {
        Self {
            source,
            address,
            protocol: Protocol::V5,
            client_id,
            topics,
            receive_maximum: NonZeroU16::new(1000).unwrap_or(NonZeroU16::MAX),
            credentials: None,
            keep_alive: NonZeroU16::new(30).unwrap_or(NonZeroU16::MAX),
            silence_after: None,
            buffer_bytes: BUFFER_BYTES,
            blocked_after: Duration::from_secs(10),
            pause: Duration::from_millis(2),
            packet_limit: PACKET_LIMIT,
            announce_packet_limit: false,
        }
    }

    /// Returns whether a topic is shared with other clients (`$share/group/…`).
    ///
    /// The broker deals the messages of such a topic out one by one, while state per device (repeats, order,
    /// alerts, silence) lives in one process.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.topics.iter().any(|topic| topic.starts_with("$share/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_without_its_line_end_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "geheim \r\n").unwrap();
        let secret = Secret::read(&file).unwrap();
        assert_eq!(secret.reveal(), b"geheim ");
        let credentials = Credentials { username: Some("u".to_owned()), password: Some(secret) };
        assert!(!format!("{credentials:?}").contains("geheim"));
    }

    #[test]
    fn an_address_reads_as_its_url() {
        let address = |host: &str, tls| Address { host: host.to_owned(), port: 1883, tls };
        assert_eq!(address("::1", None).to_string(), "mqtt://[::1]:1883");
        assert_eq!(
            address("b.example", Some(TlsFiles::default())).to_string(),
            "mqtts://b.example:1883"
        );
    }
}
