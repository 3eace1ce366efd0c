//! Settings of the MQTT client: a session that stays, acknowledgements by hand, a transport of ours.

use std::pin::Pin;
use std::sync::Arc;

use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::{
    AckMode, AsyncClient, EventLoop, MqttOptions, PersistedAckMode, PersistedSession,
    RetainForwardRule, SessionStore, SessionStoreError, SessionStoreKey, SubscribeFilterInput,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::config::MqttConfig;
use super::nap::Nap;
use super::outlet::Outlet;
use super::oversize::Filter;
use super::wire::Wire;

/// Our own messages in flight. We publish none, and the client goes over this table with every flush.
const OUTGOING_MOST: u16 = 100;
/// Packets that the client takes from one read.
const READ_BATCH: usize = 128;
/// Requests that may wait: one SUBSCRIBE, and a PUBREC for each `QoS` 2 message of an older subscription.
const REQUESTS_MOST: usize = 1024;
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// What one connection is made from.
pub(crate) struct Dialer {
    pub(crate) config: Arc<MqttConfig>,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) outlet: Arc<Outlet>,
}

/// A client for one connection; the next connection gets a new one.
pub(crate) struct Connection {
    pub(crate) client: AsyncClient,
    pub(crate) eventloop: EventLoop,
    /// Name of the property by which the transport tells the true length of what it cut short.
    pub(crate) mark: String,
}

/// The type of the client's trait, whose name it does not export.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

impl Dialer {
    /// Makes a client; polling its event loop connects.
    pub(crate) fn connection(&self) -> Connection {
        // Nobody who does not run in this process can know it, so nobody can forge a stub.
        let mark = format!("cut-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut options = options(&self.config);
        let (config, tls, outlet, name) =
            (self.config.clone(), self.tls.clone(), self.outlet.clone(), mark.clone());
        options.set_socket_connector(move |_address, _network| {
            let (config, tls, outlet, name) =
                (config.clone(), tls.clone(), outlet.clone(), name.clone());
            async move {
                let socket = connect(&config, tls, &outlet).await?;
                Ok(Wire::new(socket, outlet, Filter::new(config.packet_limit.into(), name)))
            }
        });
        let (client, eventloop) = AsyncClient::builder(options).capacity(REQUESTS_MOST).build();
        Connection { client, eventloop, mark }
    }
}

async fn connect(
    config: &MqttConfig,
    tls: Option<TlsConnector>,
    outlet: &Arc<Outlet>,
) -> std::io::Result<Box<dyn Stream>> {
    let host = config.address.host.as_str();
    let socket = TcpStream::connect((host, config.address.port)).await?;
    // Acknowledgements are written together already.
    socket.set_nodelay(true)?;
    let socket = Nap::new(socket, outlet.clone(), config.pause);
    let Some(tls) = tls else { return Ok(Box::new(socket)) };
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    Ok(Box::new(tls.connect(name, socket).await?))
}

fn options(config: &MqttConfig) -> MqttOptions {
    let mut options = MqttOptions::new(
        config.client_id.clone(),
        (config.address.host.clone(), config.address.port),
    );
    options
        .set_keep_alive(config.keep_alive.get())
        .set_clean_start(false)
        .set_session_expiry_interval(Some(u32::MAX))
        .set_receive_maximum(Some(config.receive_maximum.get()))
        .set_ack_mode(AckMode::Manual)
        .set_outgoing_inflight_upper_limit(OUTGOING_MOST)
        .set_read_batch_size(READ_BATCH)
        .set_connect_timeout(CONNECT_WITHIN)
        .set_session_store(NothingInFlight);
    if config.announce_packet_limit {
        options.set_max_packet_size(Some(config.packet_limit));
    } else {
        // The transport cuts what is longer.
        options.set_unlimited_incoming_packet_size();
    }
    if let Some(known) = &config.credentials {
        match &known.password {
            Some(password) => {
                options.set_credentials(known.username.clone(), password.reveal().to_vec())
            }
            None => options.set_username(known.username.clone()),
        };
    }
    options
}

/// The subscription of every topic, at `QoS` 1. What a topic has retained comes once, when it is new.
pub(crate) fn filters(config: &MqttConfig) -> impl Iterator<Item = SubscribeFilterInput> + '_ {
    config.topics.iter().map(|topic| {
        SubscribeFilterInput::new(topic, rumqttc::QoS::AtLeastOnce)
            .retain_forward_rule(RetainForwardRule::OnNewSubscribe)
    })
}

/// Tells a new client that its side of the session is known and empty.
///
/// A consumer that only subscribes has nothing of its own in flight, so that is always true. Without
/// it the client refuses a session that the broker has kept, or resumes it and refuses to SUBSCRIBE
/// in it; but a session can be kept without its subscriptions: where the last process ended between
/// CONNACK and SUBACK, and where the configuration has a new topic. To be taken away after CONNACK,
/// since the client would save after every packet.
#[derive(Debug)]
struct NothingInFlight;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(u32::MAX),
            outgoing_inflight_upper_limit: Some(OUTGOING_MOST),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
