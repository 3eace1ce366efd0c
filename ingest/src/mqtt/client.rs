//! What a connection is made from: TCP, pauses, TLS, and the transport that the client sees.

use std::sync::Arc;

use rumqttc::tokio_rustls::TlsConnector;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::config::{MqttConfig, Protocol};
use super::link::Link;
use super::nap::Nap;
use super::outlet::Outlet;
use super::oversize::{Filter, Stubs};
use super::wire::Wire;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) config: Arc<MqttConfig>,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) outlet: Arc<Outlet>,
}

/// A client for one connection; the next connection gets a new one.
pub(crate) struct Connection {
    pub(crate) link: Link,
    /// How what the transport cut short is told from what came whole.
    pub(crate) stubs: Stubs,
}

/// A byte stream, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

impl Dialer {
    /// Makes a client; polling its link connects.
    pub(crate) fn connection(&self) -> Connection {
        // Nobody who does not run in this process can know it, so nobody can forge a stub.
        let mark = format!("cut-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let stubs = Stubs::new(mark.into_bytes());
        Connection { link: Link::new(self, &stubs), stubs }
    }

    /// Connects to the broker; what MQTT sees of it.
    pub(crate) async fn wire(self, stubs: Stubs) -> std::io::Result<Wire<Box<dyn Stream>>> {
        let socket = self.connect().await?;
        let has_properties = self.config.protocol == Protocol::V5;
        let filter = Filter::new(self.config.packet_limit.into(), stubs, has_properties);
        Ok(Wire::new(socket, self.outlet, filter))
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let address = &self.config.address;
        let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
        // Acknowledgements are written together already.
        socket.set_nodelay(true)?;
        let socket = Nap::new(socket, self.outlet.clone(), self.config.pause);
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(tls.connect(name, socket).await?))
    }
}
