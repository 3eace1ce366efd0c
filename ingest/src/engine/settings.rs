//! What the service is started with, and why it may not start.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{ActiveConfig, Bundle};
use store::InfluxOptions;
use store::history::HistoryOptions;

use crate::listener::ListenerConfig;
use crate::mqtt::MqttConfig;
use crate::notifier::{MqttTarget, Severity, WebhookTarget};

/// A notifier as configured.
#[derive(Debug, Clone)]
pub struct NotifierSettings {
    /// Name of its queue file; from kind and address, so that it stays the same.
    pub name: String,
    /// Where it sends.
    pub target: NotifierTarget,
    /// Less grave alerts are not told.
    pub min_severity: Severity,
}

/// Where a notifier sends.
#[derive(Debug, Clone)]
pub enum NotifierTarget {
    /// HTTP POST.
    Webhook(WebhookTarget),
    /// MQTT publish.
    Mqtt(MqttTarget),
}

/// Where points go.
#[derive(Debug)]
pub enum StoreSettings {
    /// InfluxDB, or what speaks its line protocol.
    Influx(InfluxOptions),
    /// Files of our own.
    History(HistoryOptions),
}

/// Everything the service needs, checked.
#[derive(Debug)]
pub struct Settings {
    /// The data folder.
    pub dir: PathBuf,
    /// Bytes of both logs at most.
    pub max_bytes: u64,
    /// How much of the journal is kept beyond need, where there is room.
    pub keep: Duration,
    /// Least time between two fsyncs under load.
    pub commit_interval: Duration,
    /// What influences results.
    pub bundle: Bundle,
    /// The same, built.
    pub active: Arc<ActiveConfig>,
    /// Brokers to consume from.
    pub sources: Vec<MqttConfig>,
    /// Where devices connect to ourselves.
    pub listener: Option<ListenerConfig>,
    /// The store.
    pub store: StoreSettings,
    /// Who is told of alerts.
    pub notifiers: Vec<NotifierSettings>,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// File with the token that HTTP asks for.
    pub http_token_file: Option<PathBuf>,
}

/// Why the service did not start; nothing is lost.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct StartError {
    /// What was being done, as a verb and its object.
    doing: String,
    /// Why it failed.
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl StartError {
    /// Makes what turns a cause into a start error.
    pub(crate) fn while_doing<E: Into<Box<dyn Error + Send + Sync>>>(
        doing: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source: source.into() }
    }
}
