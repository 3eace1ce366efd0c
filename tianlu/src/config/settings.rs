//! The checked configuration: values are right here, or they would not be here.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rules::Severity;
use telemetry::topic::TopicPattern;

use super::secret::{Endpoint, Secret, SecretFile};

/// The whole of `tianlu.toml` after environment and flags. Paths are absolute or relative to the
/// working directory; in the file they are relative to its folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that was read.
    pub file: PathBuf,
    /// `[data]`
    pub data: Data,
    /// `[mqtt]` or `[[mqtt]]`; empty only beside a listener.
    pub mqtt: Vec<Mqtt>,
    /// `[listener]`
    pub listener: Option<Listener>,
    /// `[[uplinks]]`, in order: the first that matches a topic decides. Never empty.
    pub uplinks: Vec<UplinkRoute>,
    /// `[profiles] dirs`
    pub profiles: Dirs,
    /// `[devices]`
    pub devices: Devices,
    /// `[rules] dirs`
    pub rules: Dirs,
    /// `[store]`
    pub store: Store,
    /// `[history]`
    pub history: History,
    /// `[[notifiers]]`
    pub notifiers: Vec<Notifier>,
    /// `[http]`
    pub http: Http,
}

/// `[data]`: where state lives and how much room it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Folder of journal, outbox, snapshots and small state. Default `data`.
    pub dir: PathBuf,
    /// Bytes that both logs may take together; when used up, intake blocks and the broker holds the
    /// messages. 64 MiB..64 TiB, default 8 GiB. Too small: an outage of the store soon reaches the broker.
    pub max_bytes: u64,
    /// How long the journal is kept beyond need, where there is room. 0s..3650d, default 24h.
    pub keep: Duration,
    /// Least time between two fsyncs under load. 0s..1s, default 2ms. Longer: fewer, larger syncs and
    /// later acknowledgements.
    pub commit_interval: Duration,
}

/// One `[[mqtt]]`: a broker to consume from.
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    /// The broker.
    pub broker: Broker,
    /// The protocol's version. Default 5.
    pub protocol: Protocol,
    /// Names the persistent session, and the source in logs and readiness. Default `tianlu-1`; each
    /// `[[mqtt]]` has its own.
    pub client_id: String,
    /// Topic filters to subscribe to; `$share/group/filter` as well. Never empty.
    pub topics: Vec<String>,
    /// Messages in flight before the first is acknowledged. 1..=65535, default 1000. MQTT 3.1.1 cannot tell it to
    /// the broker, whose own window counts (Mosquitto: `max_inflight_messages`, 20).
    pub receive_maximum: u16,
    /// Largest payload taken as an uplink, in bytes; above: dead letter `too_large`. 64 B..16 MiB,
    /// default 256 KiB.
    pub max_payload: u64,
    /// User name, if the broker wants one.
    pub username: Option<String>,
    /// Password, from the environment (`TIANLU__MQTT__PASSWORD`) only; comes before the file.
    pub password: Option<Secret>,
    /// File with the password.
    pub password_file: Option<SecretFile>,
    /// Certificates and keys; used with `mqtts://`.
    pub tls: Tls,
}

/// Files for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities that sign the peer's certificate (PEM); without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate chain and key (PEM), both or none.
    pub identity: Option<(PathBuf, SecretFile)>,
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// Address of an MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Whether TLS is spoken (`mqtts://`).
    pub is_tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port; default 1883, with TLS 8883.
    pub port: u16,
}

impl Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "mqtts" } else { "mqtt" };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// `[listener]`: devices connect to Tianlu itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address to listen on. Default `127.0.0.1:1884`.
    pub bind: SocketAddr,
    /// `tenant,device,password hash`; `None`: everybody on loopback, or with a client certificate.
    pub credentials_file: Option<SecretFile>,
    /// Connections at once. 1..=1000000, default 10000.
    pub max_connections: u32,
    /// Certificate and key of the server.
    pub identity: Option<(PathBuf, SecretFile)>,
    /// Authorities that sign client certificates; with it a certificate is required.
    pub client_ca_file: Option<PathBuf>,
    /// Whether anybody may connect from elsewhere.
    pub insecure: bool,
}

/// One `[[uplinks]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkRoute {
    /// The topic pattern as written.
    pub topic: String,
    /// The same, parsed.
    pub pattern: TopicPattern,
    /// Name of the device profile; that of the registry beats it.
    pub profile: String,
}

/// Folders that files are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// The folders, in order.
    pub dirs: Vec<PathBuf>,
    /// Whether a folder may be absent: that of the default.
    pub may_be_absent: bool,
}

/// `[devices]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    /// The registry. Default `devices.csv`, which may be absent; `None` then.
    pub file: Option<PathBuf>,
    /// Readings remembered per device to tell duplicates. 1..=4096, default 32. Larger: more memory per
    /// device.
    pub identity_memory: u32,
    /// What happens to the uplinks of a device that the registry does not name. Default: accept.
    pub unknown: UnknownDevices,
}

/// What happens to a device that the registry does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownDevices {
    /// It is taken in.
    Accept,
    /// Its uplinks are dead letters `unknown_device` until it is adopted.
    Quarantine,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub enum Store {
    /// `kind = "influxdb2"`
    InfluxDb(InfluxDb),
    /// `kind = "embedded"`, or no `[store]` at all.
    Embedded,
}

/// InfluxDB, or what speaks its line protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct InfluxDb {
    /// Base address; a path is kept.
    pub url: Endpoint,
    /// The organisation.
    pub org: String,
    /// The bucket; created when missing and the token may.
    pub bucket: String,
    /// File with the token.
    pub token_file: SecretFile,
    /// Whether bodies are compressed. Default false: on a local network the CPU costs more.
    pub gzip: bool,
    /// How much is sent again after a connection error or restart of the store. 0s..1h, default 10s.
    pub replay_window: Duration,
}

/// `[history]`: the embedded history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// How long points are kept. 1d..36500d, default 400d.
    pub retention: Duration,
}

/// One `[[notifiers]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Notifier {
    /// Where it sends to.
    pub target: NotifierTarget,
    /// The least severity it sends. Default yellow.
    pub min_severity: Severity,
}

/// Where a notifier sends to.
#[derive(Debug, Clone, PartialEq)]
pub enum NotifierTarget {
    /// `kind = "webhook"`
    Webhook {
        /// The address.
        url: Endpoint,
        /// File with the key of the HMAC-SHA256 in `X-Tianlu-Signature`.
        secret_file: Option<SecretFile>,
    },
    /// `kind = "mqtt"`
    Mqtt {
        /// Which of [`Config::mqtt`] publishes; the first, unless `url` names another.
        source: usize,
        /// Topic, without wildcards.
        topic: String,
    },
}

impl NotifierTarget {
    /// Returns whether both send to one place.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Webhook { url, .. }, Self::Webhook { url: other, .. }) => url == other,
            (Self::Mqtt { .. }, Self::Mqtt { .. }) => self == other,
            (Self::Webhook { .. }, Self::Mqtt { .. })
            | (Self::Mqtt { .. }, Self::Webhook { .. }) => false,
        }
    }
}

/// `[http]`: API, live feed, metrics and page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address to listen on. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// File with the Bearer token that callers need.
    pub token_file: Option<SecretFile>,
    /// Whether callers from elsewhere need none.
    pub insecure: bool,
}
