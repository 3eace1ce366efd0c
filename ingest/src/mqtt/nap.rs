//! A transport that reads when there is a batch. It sits on the socket, under TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::outlet::Outlet;
use super::rhythm::Rhythm;
use crate::source::Acknowledge;

/// Bytes of a read from which on the stream is dense: some twenty messages.
const DENSE_READ: usize = 4 << 10;
/// Bytes a millisecond from which on it is a flood: some thirty messages.
const FLOOD_PER_MILLI: u128 = 6 << 10;

/// Pauses after a read that emptied the socket, where [`Rhythm`] says that it pays. Writes pass at once.
pub(crate) struct Nap<S> {
    inner: S,
    outlet: Arc<Outlet>,
    rhythm: Rhythm,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
    napping: bool,
    /// When the socket was last emptied, and the bytes read since.
    emptied_at: Instant,
    since: usize,
}

impl<S> Nap<S> {
    /// `pause`: how long; zero never pauses. Of a dense stream a read pays for more, so it waits twice as long, in a
    /// flood four times: each read costs a batch, an fsync and a write of acknowledgements after it.
    pub(crate) fn new(inner: S, outlet: Arc<Outlet>, pause: Duration) -> Self {
        let rhythm = Rhythm::new(outlet.receive_maximum());
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let emptied_at = Instant::now();
        Self { inner, outlet, rhythm, pause, sleep, napping: false, emptied_at, since: 0 }
    }

    fn after_read(&mut self, read: usize, room: usize) {
        self.since += read;
        let emptied = read > 0 && read < room;
        if !emptied || self.pause.is_zero() {
            return;
        }
        let now = Instant::now();
        let passed = now.duration_since(std::mem::replace(&mut self.emptied_at, now));
        let times = times(std::mem::take(&mut self.since), passed);
        let pause = self.rhythm.pause(self.outlet.unacked(), self.outlet.take_peak());
        self.outlet.learn(self.rhythm.window());
        if pause {
            self.outlet.paused();
            self.sleep.as_mut().reset(now + self.pause * times);
            self.napping = true;
        }
    }
}

/// Returns how many times as long a pause may be after so many bytes in so long. By the rate, not by the bytes alone:
/// those grow with the pause, so that a flood which has passed would be taken for one still.
fn times(bytes: usize, passed: Duration) -> u32 {
    if bytes < DENSE_READ {
        1
    } else if bytes as u128 * 1_000_000 < FLOOD_PER_MILLI * passed.as_nanos() {
        2
    } else {
        4
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Nap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.napping {
            std::task::ready!(self.sleep.as_mut().poll(cx));
            self.napping = false;
        }
        let room = buf.remaining();
        std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.after_read(room - buf.remaining(), room);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Nap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PAUSE: Duration = Duration::from_millis(2);

    fn pair(window: usize) -> (Nap<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Outlet>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let outlet = Arc::new(Outlet::new(window));
        (Nap::new(near, outlet.clone(), PAUSE), far, outlet)
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_during_the_pause_is_read_at_once_after_it() {
        let (mut near, mut far, _outlet) = pair(1000);
        let mut buf = [0; 64];
        far.write_all(b"first").await.unwrap();
        let began = Instant::now();
        assert_eq!(near.read(&mut buf).await.unwrap(), 5, "the first read does not wait");
        assert_eq!(began.elapsed(), Duration::ZERO);
        far.write_all(b"second").await.unwrap();
        far.write_all(b"third").await.unwrap();
        assert_eq!(near.read(&mut buf).await.unwrap(), 11);
        assert!(began.elapsed() >= PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_denser_stream_waits_longer_as_long_as_it_is_so_dense() {
        const MILLIS: usize = 6 << 10;
        let (mut near, mut far, _outlet) = pair(1000);
        tokio::time::advance(Duration::from_millis(10)).await;
        let mut buf = vec![0; 1 << 16];
        for (bytes, times) in [
            (DENSE_READ - 1, 1),
            (DENSE_READ, 2),
            (4 * MILLIS, 4),
            // Twice the bytes in twice the time would be one still; the byte read alone counts as well.
            (8 * MILLIS - 2, 2),
            (4 * MILLIS, 4),
            (1, 1),
        ] {
            far.write_all(&vec![7; bytes]).await.unwrap();
            assert_eq!(near.read(&mut buf).await.unwrap(), bytes);
            let began = Instant::now();
            far.write_all(b"x").await.unwrap();
            assert_eq!(near.read(&mut buf[..1]).await.unwrap(), 1);
            assert_eq!(began.elapsed(), PAUSE * times, "after {bytes} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_filled_the_buffer_is_followed_by_the_next_without_a_pause() {
        let (mut near, mut far, _outlet) = pair(1000);
        far.write_all(&[7; 100]).await.unwrap();
        let began = Instant::now();
        let mut buf = [0; 25];
        for _ in 0..4 {
            assert_eq!(near.read(&mut buf).await.unwrap(), 25);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_window_never_waits() {
        let (mut near, mut far, _outlet) = pair(20);
        let began = Instant::now();
        let mut buf = [0; 64];
        for _ in 0..1000 {
            far.write_all(b"packet").await.unwrap();
            assert_eq!(near.read(&mut buf).await.unwrap(), 6);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
