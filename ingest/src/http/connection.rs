//! Connections: bounded in number and in time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::Limits;

/// Takes connections as long as there is room for them.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    limits: Limits,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(limits.connections_max)), limits }
    }
}

impl Listener for Bounded {
    type Io = Timed<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        // The semaphore is never closed, so there is always a place sooner or later.
        let place = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Events are small and are to leave at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        (Timed::new(stream, self.limits, place), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(&self.listener)
    }
}

/// A connection that ends when its client takes too long: to send a request, or to take an answer.
///
/// It knows nothing of HTTP: a server writes nothing before it has read a request, so the first byte read
/// after a write begins a request, and the next byte written ends it. Bytes that trickle in win no time.
pub(super) struct Timed<T> {
    stream: T,
    deadline: Pin<Box<Sleep>>,
    is_request_open: bool,
    request_max: Duration,
    idle_max: Duration,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> Timed<T> {
    fn new(stream: T, limits: Limits, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            stream,
            deadline: Box::pin(sleep(limits.request_max)),
            is_request_open: true,
            request_max: limits.request_max,
            idle_max: limits.idle_max,
            _place: place,
        }
    }

    fn note_read(&mut self) {
        if !self.is_request_open {
            self.is_request_open = true;
            self.deadline.as_mut().reset(Instant::now() + self.request_max);
        }
    }

    fn note_written(&mut self) {
        self.is_request_open = false;
        self.deadline.as_mut().reset(Instant::now() + self.idle_max);
    }

    /// Turns what does not get on into an error once the time is over, and else sees to being woken then.
    fn in_time<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let is_over = self.deadline.as_mut().poll(cx).is_ready();
        if poll.is_pending() && is_over {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        poll
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let poll = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.note_read();
        }
        this.in_time(cx, poll)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(1..)) = poll {
            this.note_written();
        }
        this.in_time(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(1..)) = poll {
            this.note_written();
        }
        this.in_time(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
