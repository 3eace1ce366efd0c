//! MQTT publish of the alert line, QoS 1, over a connection of its own (MQTT 5).
//!
//! The session is clean: what was not acknowledged when a connection ends stays in the durable queue and is
//! published again from there, so that a broker never gets it from two places.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason, PublishProperties};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NoticeFailureReason, PublishNoticeError,
};
use rumqttc::{PublishOptions, PublishResult, TlsConfiguration, Transport, ValidatedTopic};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::{Host, Url};

use super::{Answer, Kind, Letter, Reason, ReasonCode, Sender, backoff};
use crate::mqtt::Credentials;
use crate::mqtt::v5::set_credentials;
use telemetry::problem::chain;

/// Publishes under way at once; above the task's bound, so that the client's queue is never what waits.
const IN_FLIGHT: u16 = 100;
/// Longest wait before the connection is tried again.
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// Where to publish, and how.
#[derive(Clone)]
pub struct MqttTarget {
    /// `mqtt://host[:port]` or `mqtts://host[:port]`, nothing else in it; ports 1883 and 8883.
    pub url: String,
    /// The topic, without wildcards.
    pub topic: String,
    /// Client id; must differ from every other client's on the broker.
    pub client_id: String,
    /// User and password.
    pub credentials: Option<Credentials>,
    /// TLS for `mqtts`; `None`: the certificates the system trusts.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// For one publish in all, with waiting for the connection; default 10 s.
    pub timeout: Duration,
}

impl MqttTarget {
    /// Returns a target without credentials and with the default time-out.
    #[must_use]
    pub fn new(
        url: impl Into<String>,
        topic: impl Into<String>,
        client_id: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            topic: topic.into(),
            client_id: client_id.into(),
            credentials: None,
            tls: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for MqttTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.credentials.as_ref().map(|_| "***");
        f.debug_struct("MqttTarget")
            .field("topic", &self.topic)
            .field("client_id", &self.client_id)
            .field("credentials", &credentials)
            .finish_non_exhaustive()
    }
}

/// Why an MQTT notifier cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MqttError {
    /// Not `mqtt://host[:port]` or `mqtts://host[:port]`.
    #[error("the notifier's URL is not mqtt://host or mqtts://host, without user and password")]
    Url,
    /// The topic is empty or has a wildcard.
    #[error("`{0}` is not a topic to publish to")]
    Topic(String),
    /// The system's certificates cannot be loaded.
    #[error("load the certificates the system trusts")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Publishes alert lines. Its connection is driven by a task that ends with it.
#[derive(Debug)]
pub struct MqttSender {
    client: AsyncClient,
    topic: ValidatedTopic,
    timeout: Duration,
    link: watch::Receiver<Link>,
    driver: JoinHandle<()>,
}

/// What is known of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Link {
    Up,
    Down(String),
}

impl MqttSender {
    /// Makes a sender and begins to connect. Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`MqttError`]: the URL, the topic, or the certificates. A broker that cannot be reached is no error.
    pub fn start(target: &MqttTarget) -> Result<Self, MqttError> {
        let refused = || MqttError::Topic(target.topic.clone());
        if target.topic.is_empty() {
            return Err(refused()); // The client takes it: with a topic alias it would be one.
        }
        let topic = ValidatedTopic::new(target.topic.clone()).map_err(|_| refused())?;
        let options = options(target)?;
        let (client, events) =
            AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build();
        let (report, link) = watch::channel(Link::Down("not connected yet".to_owned()));
        let driver = tokio::spawn(drive(events, report));
        Ok(Self { client, topic, timeout: target.timeout, link, driver })
    }

    async fn publish(&self, letter: &Letter) -> Answer {
        let mut link = self.link.clone();
        if link.wait_for(|link| *link == Link::Up).await.is_err() {
            return retry(ReasonCode::Internal, "the connection's task has ended");
        }
        let properties = PublishProperties {
            content_type: Some("application/json".to_owned()),
            user_properties: vec![("Idempotency-Key".to_owned(), letter.idempotency_key())],
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        let queued =
            self.client.publish_tracked(self.topic.clone(), letter.body.clone(), options).await;
        match queued {
            Ok(notice) => judge(notice.wait_async().await),
            Err(error) => retry(ReasonCode::Unreachable, &chain(&error)),
        }
    }
}

impl Drop for MqttSender {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Sender for MqttSender {
    fn kind(&self) -> Kind {
        Kind::Mqtt
    }

    async fn send(&self, letter: &Letter) -> Answer {
        match tokio::time::timeout(self.timeout, self.publish(letter)).await {
            Ok(answer) => answer,
            Err(_) => match &*self.link.borrow() {
                Link::Up => {
                    retry(ReasonCode::Timeout, &telemetry::time::show_duration(self.timeout))
                }
                Link::Down(why) => retry(ReasonCode::Unreachable, why),
            },
        }
    }

    async fn close(&self) {
        let up = *self.link.borrow() == Link::Up;
        if up && self.client.disconnect_now().await.is_ok() {
            // Down once the broker was told.
            let mut link = self.link.clone();
            let told = link.wait_for(|link| *link != Link::Up).await;
            tracing::trace!(told = told.is_ok(), "MQTT notifier disconnected");
        }
    }
}

/// Polls the client and does nothing else but report; reconnects with back-off.
async fn drive(mut events: EventLoop, link: watch::Sender<Link>) {
    let mut failures: u32 = 0;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                failures = 0;
                link.send_replace(Link::Up);
            }
            Ok(Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_)) => {}
            Err(rumqttc::ConnectionError::RequestsDone) => {
                link.send_replace(Link::Down("disconnected".to_owned()));
                return;
            }
            Err(error) => {
                link.send_replace(Link::Down(chain(&error)));
                // Publishes of the broken connection end now, not when the broker is back.
                events.drain_pending_as_failed(NoticeFailureReason::SessionReset);
                failures = failures.saturating_add(1);
                tokio::time::sleep(backoff(failures, fastrand::u8(..)).min(RECONNECT_MAX)).await;
            }
        }
    }
}

fn judge(result: Result<PublishResult, PublishNoticeError>) -> Answer {
    let ack = match result {
        Ok(PublishResult::Qos1(ack)) => ack,
        Ok(other) => return retry(ReasonCode::Internal, &format!("answered as {:?}", other.qos())),
        Err(error) => return retry(ReasonCode::Unreachable, &chain(&error)),
    };
    let detail = format!("{:?}", ack.reason);
    match ack.reason {
        // Nobody listens now; the broker has it all the same, and that is what PUBACK promises.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
            Answer::Delivered { receipt: format!("PUBACK {detail}") }
        }
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::QuotaExceeded => retry(ReasonCode::Broker, &detail),
        PubAckReason::NotAuthorized
        | PubAckReason::TopicNameInvalid
        | PubAckReason::PayloadFormatInvalid => {
            Answer::Refused { reason: Reason::new(ReasonCode::Broker, &detail) }
        }
    }
}

fn retry(code: ReasonCode, detail: &str) -> Answer {
    Answer::Retry { reason: Reason::new(code, detail), after: None }
}

fn options(target: &MqttTarget) -> Result<MqttOptions, MqttError> {
    let url = Url::parse(&target.url).map_err(|_| MqttError::Url)?;
    let secure = match url.scheme() {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err(MqttError::Url),
    };
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !bare || !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(MqttError::Url);
    }
    let host = match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(_)) | None => return Err(MqttError::Url),
    };
    let port = url.port().unwrap_or(if secure { 8883 } else { 1883 });
    let mut options = MqttOptions::new(target.client_id.clone(), (host, port));
    options.set_clean_start(true).set_keep_alive(30).set_connect_timeout(target.timeout);
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
    if let Some(known) = &target.credentials {
        set_credentials(&mut options, known);
    }
    if secure {
        let tls = match &target.tls {
            Some(tls) => TlsConfiguration::Rustls(Arc::clone(tls)),
            None => TlsConfiguration::try_default_rustls()
                .map_err(|error| MqttError::Tls(error.into()))?,
        };
        options.set_transport(Transport::tls_with_config(tls));
    }
    Ok(options)
}
