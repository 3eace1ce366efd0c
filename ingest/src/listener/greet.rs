//! What comes before a session and may take long: the TLS handshake, and the check of a password beside the loop.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::hub::Hub;
use super::link::Link;
use super::prover::Check;
use super::tls;
use super::transport::Transport;

/// A check under way; `None` where its thread was lost.
pub(crate) type Checking = Pin<Box<dyn Future<Output = Option<(Check, bool)>>>>;

/// Shakes hands over TLS; `None` where that fails, takes too long, or the connection had to make room.
pub(crate) async fn greet(
    link: &Link,
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
) -> Option<(Transport, Option<String>)> {
    let Some(acceptor) = acceptor else { return Some((Transport::Plain(socket), None)) };
    let member = Rc::clone(&link.member);
    let mut shaking = Box::pin(acceptor.accept(socket));
    let shaken = poll_fn(|cx| {
        member.set_waker(cx.waker());
        if member.has_ended() { Poll::Ready(None) } else { shaking.as_mut().poll(cx).map(Some) }
    });
    let limit = link.hub.turn.borrow().terms.limits.connect_timeout;
    match tokio::time::timeout(limit, shaken).await {
        Ok(Some(Ok(stream))) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let name = certificates.and_then(|chain| chain.first()).map(|certificate| {
                // A certificate without a name proves nothing; the empty name is nobody's.
                tls::name_in(certificate).unwrap_or_default()
            });
            Some((Transport::Tls(Box::new(stream)), name))
        }
        Ok(Some(Err(error))) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Ok(None) | Err(_) => None,
    }
}

/// Checks a password on a thread of its own, as many at a time as there are permits.
pub(crate) fn run(hub: &Rc<Hub>, check: Check) -> Checking {
    let checkers = Arc::clone(&hub.checkers);
    Box::pin(async move {
        let permit = checkers.acquire_owned().await.ok()?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let is_right = check.is_right();
            (check, is_right)
        });
        task.await.ok()
    })
}
