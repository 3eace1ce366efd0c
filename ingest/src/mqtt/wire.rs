//! The transport that the MQTT client sees: acknowledgements go out through it, messages beyond the
//! limit are cut short in it, and reading stops while its gate is shut. It sits above TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outlet::Outlet;
use super::oversize::Filter;

/// So many bytes are read at a stretch; then the client must hand over what it has, before it may
/// read more. One read of the client takes up to 128 packets, which could be 2 GiB.
const STRETCH: usize = 4 * 1024 * 1024;

/// Everything that is written passes through one buffer, so that acknowledgements never fall into
/// the middle of a packet of the client: the client hands over whole packets only.
pub(crate) struct Wire<S> {
    inner: S,
    outlet: Arc<Outlet>,
    filter: Filter,
    /// Bytes on their way out.
    out: BytesMut,
    /// Whether bytes were written since the last flush.
    unflushed: bool,
    /// Bytes read since the client last had to wait.
    stretch: usize,
    /// Bytes that the client is to read before any other.
    rewritten: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(inner: S, outlet: Arc<Outlet>, filter: Filter) -> Self {
        Self {
            inner,
            outlet,
            filter,
            out: BytesMut::new(),
            unflushed: false,
            stretch: 0,
            rewritten: BytesMut::new(),
        }
    }

    fn collect_acks(&mut self, cx: &Context<'_>) {
        if let Some(acks) = self.outlet.take(cx.waker()) {
            self.out.extend_from_slice(&acks);
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let given = self.rewritten.len().min(buf.remaining());
        buf.put_slice(&self.rewritten.split_to(given));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        me.collect_acks(cx);
        if let Poll::Ready(Err(error)) = me.poll_out(cx) {
            return Poll::Ready(Err(error));
        }
        if me.stretch >= STRETCH {
            me.stretch = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if !me.rewritten.is_empty() {
                me.give(buf);
                return Poll::Ready(Ok(()));
            }
            if me.outlet.is_shut() {
                // Opening the gate wakes us.
                return Poll::Pending;
            }
            let before = buf.filled().len();
            let read = Pin::new(&mut me.inner).poll_read(cx, buf);
            if read.is_pending() {
                me.stretch = 0;
            }
            ready!(read)?;
            let chunk = buf.filled().get(before..).unwrap_or_default();
            if chunk.is_empty() {
                return Poll::Ready(Ok(()));
            }
            me.stretch = me.stretch.saturating_add(chunk.len());
            let passed = me.filter.pass(chunk);
            me.filter.rewrite(chunk.get(passed..).unwrap_or_default(), &mut me.rewritten);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Acknowledgements that were settled before a DISCONNECT go out before it.
        self.collect_acks(cx);
        self.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
