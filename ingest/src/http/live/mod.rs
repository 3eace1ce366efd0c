//! The live feed: server-sent events from the outbox.
//!
//! ```text
//! outbox publishes ─hook─▶ Notify ─▶ Watcher (the body's stream) ─▶ Feed::fill (blocking pool) ─▶ one chunk ─▶ socket
//! ```
//!
//! The stream makes a chunk only when the socket has taken the one before: a slow client has one chunk in
//! memory and a place in the outbox, nothing else. What it is too slow for is skipped, and it is told.

mod event;
mod feed;
mod filter;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use journal::{ReadFrom, Watch};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::params::Params;
use super::problem::{Kind, Problem};
use super::{App, Desk};
use event::{EventId, Gap, GapReason};
use feed::{Feed, Next};
use filter::Filter;

/// Least time between two looks at the outbox for each watcher that there is, so that many small publications make
/// few chunks: an alert under load is seen at once where few watch, and many do not cost more than some.
const PAUSE_OF_EACH: Duration = Duration::from_millis(5);
/// Most of that pause, however many watch.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Wait after the disk said no.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// The first bytes: they make the client see at once that it is connected; a lost one comes again after 3 s.
const OPENING: &str = ": tianlu\nretry: 3000\n\n";

/// Opens the live feed.
pub(in crate::http) async fn watch<D: Desk>(
    State(app): State<Arc<App<D>>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut params = Params::of(&uri);
    let filter = Filter::new(
        params.take("tenant")?.as_deref(),
        params.take("site")?.as_deref(),
        params.take("device")?.as_deref(),
    );
    params.finish()?;
    let most = app.options.limits.watchers_max;
    let seat = Arc::clone(&app.watchers).try_acquire_owned();
    let full = |_| Problem::say(Kind::Busy, "ingest.http.watchers", &[("most", &most)]);
    let seat = seat.map_err(full)?;
    let feed = open(&app, &headers, filter).await;
    let feed = feed.ok_or_else(|| Problem::say(Kind::Unavailable, "ingest.http.no_outbox", &[]))?;
    let watcher = Watcher::new(app, feed, seat);
    let parts = unfold(watcher, |mut watcher| async move {
        let part = watcher.next().await?;
        Some((Ok::<_, Infallible>(part), watcher))
    });
    let head = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        // Without it a proxy may hold events back.
        ("x-accel-buffering", "no"),
    ];
    Ok((head, Body::from_stream(parts)).into_response())
}

/// Opens the outbox where the client asks for, or at its end, with a gap where that is not what it asked for.
async fn open<D: Desk>(app: &App<D>, headers: &HeaderMap, filter: Filter) -> Option<Feed> {
    let per_s = app.options.limits.readings_per_s_max;
    let Some(last) = headers.get("last-event-id") else {
        let reader = app.desk.outbox(ReadFrom::Newest).await?;
        return Some(Feed::new(reader, filter, per_s, None));
    };
    let last = last.to_str().ok().and_then(EventId::parse);
    if let Some(last) = last {
        let from = last.position.saturating_add(u64::from(last.index == u32::MAX));
        let reader = app.desk.outbox(ReadFrom::Position(from)).await?;
        // While the pipeline recovers, what was once published comes again.
        let is_known = reader.published().end().position >= last.position;
        if is_known || app.desk.readiness().iter().any(|one| one.part == "recovering") {
            return Some(Feed::new(reader, filter, per_s, Some(last)));
        }
    }
    let reader = app.desk.outbox(ReadFrom::Newest).await?;
    let mut feed = Feed::new(reader, filter, per_s, None);
    feed.tell(Gap { reason: GapReason::UnknownId, missed: None });
    Some(feed)
}

/// One client of the live feed: an async shell around its [`Feed`].
struct Watcher<D> {
    app: Arc<App<D>>,
    /// `None` only while it is being filled, or after that failed.
    feed: Option<Feed>,
    next: Next,
    news: Arc<Notify>,
    watch: Watch,
    is_stopping: watch::Receiver<bool>,
    is_opened: bool,
    looked_at: Instant,
    beat_at: Instant,
    _seat: OwnedSemaphorePermit,
}

impl<D: Desk> Watcher<D> {
    fn new(app: Arc<App<D>>, feed: Feed, seat: OwnedSemaphorePermit) -> Self {
        let news = Arc::new(Notify::new());
        let now = Instant::now();
        Self {
            next: Next::More,
            watch: hook(&feed, &news),
            feed: Some(feed),
            news,
            is_stopping: app.is_stopping.clone(),
            is_opened: false,
            looked_at: now,
            beat_at: now + app.options.limits.heartbeat,
            _seat: seat,
            app,
        }
    }

    /// Waits for the next bytes to send. `None`: the feed is over.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.is_opened {
            self.is_opened = true;
            return Some(Bytes::from_static(OPENING.as_bytes()));
        }
        loop {
            if !self.rest().await {
                return None;
            }
            let bytes = self.look().await?;
            let now = Instant::now();
            let bytes = if bytes.is_empty() && now >= self.beat_at {
                self.feed.as_ref()?.heartbeat()
            } else {
                bytes
            };
            if !bytes.is_empty() {
                self.beat_at = now + self.app.options.limits.heartbeat;
                return Some(bytes.into());
            }
        }
    }

    /// Waits until it is worth looking again. `false`: the server stops.
    async fn rest(&mut self) -> bool {
        let (until, wakes) = match self.next {
            Next::More => (Instant::now(), false),
            Next::At(until) => (until, false),
            Next::News { at_latest } => (at_latest.unwrap_or(self.beat_at).min(self.beat_at), true),
            Next::Broken => (self.looked_at + DISK_PAUSE, false),
            Next::Cut => return !self.has_stopped() && self.begin_at_the_end().await,
        };
        if self.has_stopped() {
            return false;
        }
        let pause_over = self.looked_at + self.pause();
        let news = async {
            self.news.notified().await;
            sleep_until(pause_over).await;
        };
        tokio::select! {
            _ = self.is_stopping.changed() => false,
            () = sleep_until(until) => true,
            () = news, if wakes => true,
        }
    }

    /// Returns the least time between two looks.
    fn pause(&self) -> Duration {
        let seats = self.app.options.limits.watchers_max;
        let taken = seats.saturating_sub(self.app.watchers.available_permits());
        PAUSE_OF_EACH.saturating_mul(u32::try_from(taken).unwrap_or(u32::MAX)).min(PAUSE_MAX)
    }

    fn has_stopped(&self) -> bool {
        *self.is_stopping.borrow()
    }

    /// Gives up what is cut, and goes on with what comes next.
    async fn begin_at_the_end(&mut self) -> bool {
        let Some(reader) = self.app.desk.outbox(ReadFrom::Newest).await else { return false };
        let Some(feed) = &mut self.feed else { return false };
        feed.restart(reader);
        self.watch = hook(feed, &self.news);
        self.next = Next::More;
        true
    }

    /// Fills a chunk off the runtime's threads: reading may wait for the disk.
    async fn look(&mut self) -> Option<Vec<u8>> {
        let _turn = self.app.watchers_reading.acquire().await.ok()?;
        let mut feed = self.feed.take()?;
        let now = Instant::now();
        let filled = tokio::task::spawn_blocking(move || {
            let chunk = feed.fill(now);
            (feed, chunk)
        });
        let (feed, chunk) = filled.await.ok()?;
        self.feed = Some(feed);
        self.looked_at = now;
        self.next = chunk.next;
        Some(chunk.bytes)
    }
}

/// Has the outbox wake a watcher.
fn hook(feed: &Feed, news: &Arc<Notify>) -> Watch {
    let news = Arc::clone(news);
    feed.published().watch(move || news.notify_one())
}
