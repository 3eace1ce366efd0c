//! Starts what follows the outbox: store, notifiers, HTTP.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

use journal::{Log, ReadFrom, Reader};
use store::history::{History, HistoryError};
use store::{Influx, WriteError};
use telemetry::text::Text;
use telemetry::time::IngestTime;
use tokio::sync::{mpsc, watch};

use crate::engine::clock::wall_nanos;
use crate::engine::desk::Desk;
use crate::engine::health::Part;
use crate::engine::history_sink::HistorySink;
use crate::engine::history_upkeep::{HistoryClock, Upkeep};
use crate::engine::history_writer::HistoryWriter;
use crate::engine::notices;
use crate::engine::panic_guard::PanicGuard;
use crate::engine::past::{Past, Turns};
use crate::engine::service::{Parts, StoreFrom};
use crate::engine::settings::{NotifierSettings, NotifierTarget, StartError, StoreSettings};
use crate::engine::store_cursor::StoreCursor;
use crate::engine::store_health::StoreHealth;
use crate::engine::store_sink::StoreSink;
use crate::engine::tasks::Task;
use crate::http::{self, Token};
use crate::meter::{self, NoticeOutcome, NotifierKind};
use crate::notifier::{
    self, Batch as NoticeBatch, Clock, Kind, MqttSender, Observer, Options, Queue, QueueLimits,
    Sender, WebhookSender, Wiring,
};

/// Batches of notices that wait for a notifier at most.
const NOTICES_MAX: usize = 16;

/// The store, opened and not yet fed.
pub(crate) enum OpenStore {
    Influx(Box<Influx>),
    History {
        history: Arc<History>,
        /// Its folder.
        name: String,
        /// How far its files reach.
        cursor: Option<StoreCursor>,
    },
}

impl OpenStore {
    /// Opens the store; the embedded history reads its own cursor.
    pub(crate) fn open(settings: &StoreSettings) -> Result<Self, StartError> {
        match settings {
            StoreSettings::Influx(options) => {
                let opened = Influx::open(options);
                opened
                    .map(|influx| Self::Influx(Box::new(influx)))
                    .map_err(StartError::while_doing("set up the store"))
            }
            StoreSettings::History(options) => {
                let name = options.dir.display().to_string();
                let doing =
                    StartError::while_doing::<HistoryError>(format!("open the history `{name}`"));
                let (history, cursor) = History::open(options.clone()).map_err(doing)?;
                let cursor = cursor.as_deref().and_then(StoreCursor::from_bytes);
                Ok(Self::History { history: Arc::new(history), name, cursor })
            }
        }
    }

    /// Returns how far the files of the embedded history reach.
    pub(crate) const fn cursor(&self) -> Option<StoreCursor> {
        match self {
            Self::Influx(_) => None,
            Self::History { cursor, .. } => *cursor,
        }
    }
}

/// Starts what feeds the store; returns how the store is read.
pub(crate) fn start_store(store: OpenStore, parts: &Parts, from: StoreFrom) -> (Vec<Task>, Past) {
    let at = from.cursor.1;
    parts.view.set(at);
    parts.shared.store_position.store(at.position, Ordering::Release);
    match store {
        OpenStore::Influx(influx) => start_influx(*influx, parts, from),
        OpenStore::History { history, name, .. } => start_history(history, name, parts, from),
    }
}

/// Starts the threads of the embedded history: one takes points, one writes files, one merges them.
fn start_history(
    history: Arc<History>,
    name: String,
    parts: &Parts,
    from: StoreFrom,
) -> (Vec<Task>, Past) {
    let shutdown = || parts.stop_sinks.clone();
    let clock = || HistoryClock::start(Arc::clone(&parts.shared));
    let (upkeep, flushed) = Upkeep::new(Arc::clone(&history), clock(), shutdown());
    // No room: see the orders.
    let (orders, given) = sync_channel(0);
    let (file, cursor) = from.cursor;
    let writer = HistoryWriter {
        history: Arc::clone(&history),
        name,
        health: Arc::clone(&parts.health),
        file,
        view: Arc::clone(&parts.view),
        shared: Arc::clone(&parts.shared),
        orders: parts.orders.clone(),
        upkeep: flushed,
        shutdown: shutdown(),
    };
    let sink = HistorySink {
        history: Arc::clone(&history),
        clock: clock(),
        outbox: from.outbox,
        cursor,
        writer: orders,
        shutdown: shutdown(),
    };
    let runtime = tokio::runtime::Handle::current();
    let names = ["history sink", "history writer", "history upkeep"];
    let [takes, writes, merges] = names.map(|name| guard(parts, name));
    let tasks = vec![
        tokio::task::spawn_blocking(move || takes.hold(|| sink.run())),
        tokio::task::spawn_blocking(move || writes.hold(|| writer.run(&given, &runtime))),
        tokio::task::spawn_blocking(move || merges.hold(|| upkeep.run())),
    ];
    (tasks, Past::History(history, Turns::default()))
}

/// Starts the store's sink and the task that asks all the time whether the store is there.
fn start_influx(influx: Influx, parts: &Parts, from: StoreFrom) -> (Vec<Task>, Past) {
    let name = influx.place().url.clone();
    let health = Arc::new(StoreHealth::new(influx, name, describe, Arc::clone(&parts.health)));
    let file = from.cursor.0;
    let sink = StoreSink {
        health: Arc::clone(&health),
        outbox: from.outbox,
        file,
        view: Arc::clone(&parts.view),
        shared: Arc::clone(&parts.shared),
        orders: parts.orders.clone(),
        shutdown: parts.stop_sinks.clone(),
    };
    let (watching, stop) = (Arc::clone(&health), parts.stop_sinks.clone());
    let tasks = vec![
        tokio::spawn(guard(parts, "store sink").watch(sink.run())),
        tokio::spawn(guard(parts, "store watch").watch(async move { watching.run(stop).await })),
    ];
    (tasks, Past::Influx(health))
}

fn guard(parts: &Parts, name: &str) -> PanicGuard {
    PanicGuard::new(&parts.health, Part::Store, name)
}

fn describe(influx: &Influx, error: &WriteError) -> (Text, Text) {
    (error.message(influx.place()), error.advice(influx.place()))
}

/// A notifier's queue, and where it goes on reading.
pub(crate) struct OpenQueue {
    queue: Arc<Queue>,
    pub(crate) cursor: (u64, u32),
    reader: Reader,
}

/// Opens the queues; a new notifier begins at the journal's end, so that it is not told of the past.
pub(crate) fn open_queues(
    notifiers: &[NotifierSettings],
    parts: &Parts,
    (end, outbox): (u64, &Log),
) -> Result<Vec<OpenQueue>, StartError> {
    let open = |settings: &NotifierSettings| {
        let doing =
            || StartError::while_doing(format!("open the queue of notifier `{}`", settings.name));
        let (path, now) =
            (parts.layout.notifier_queue(&settings.name), IngestTime::from_nanos(wall_nanos()));
        let queue = Queue::open(&path, QueueLimits::default(), now).map_err(doing())?;
        let cursor = queue.cursor().map_err(doing())?.unwrap_or((end, u32::MAX));
        // The position itself again: the cursor may stand between its entries.
        let reader = outbox.reader(ReadFrom::Position(cursor.0.max(1)));
        Ok(OpenQueue { queue: Arc::new(queue), cursor, reader })
    };
    notifiers.iter().map(open).collect()
}

/// Starts each notifier and what feeds it; returns the feeds, for alerts that are not in the outbox.
pub(crate) fn start_notifiers(
    notifiers: &[NotifierSettings],
    queues: Vec<OpenQueue>,
    (parts, tasks): (&Parts, &mut Vec<Task>),
) -> Result<Vec<mpsc::Sender<NoticeBatch>>, StartError> {
    let mut feeds = Vec::new();
    for (settings, open) in notifiers.iter().zip(queues) {
        let (feed, notices) = mpsc::channel(NOTICES_MAX);
        let options = Options::named(settings.name.clone(), settings.min_severity);
        let (queue, stop) = (open.queue, parts.stop_sinks.clone());
        let doing = format!("set up notifier `{}`", settings.name);
        tasks.push(match &settings.target {
            NotifierTarget::Webhook(target) => {
                let sender = WebhookSender::new(target).map_err(StartError::while_doing(doing))?;
                start_notifier(sender, (queue, options), notices, stop)
            }
            NotifierTarget::Mqtt(target) => {
                let sender = MqttSender::start(target).map_err(StartError::while_doing(doing))?;
                start_notifier(sender, (queue, options), notices, stop)
            }
        });
        let stop = parts.stop_sinks.clone();
        tasks.push(tokio::spawn(notices::follow(open.reader, open.cursor, feed.clone(), stop)));
        feeds.push(feed);
    }
    Ok(feeds)
}

fn start_notifier<S: Sender>(
    sender: S,
    (queue, options): (Arc<Queue>, Options),
    notices: mpsc::Receiver<NoticeBatch>,
    mut stop: watch::Receiver<bool>,
) -> Task {
    let clock = Clock::start(IngestTime::from_nanos(wall_nanos()));
    let wiring =
        Wiring { queue, sender: Arc::new(sender), observer: Arc::new(Counts), clock, options };
    tokio::spawn(notifier::run(wiring, notices, async move {
        // A sender that is gone stops as well.
        let _stopped = stop.wait_for(|stop| *stop).await.is_ok();
    }))
}

/// Counts what becomes of notices.
struct Counts;

impl Observer for Counts {
    fn delivered(&self, kind: Kind) {
        meter::notification(meter_kind(kind), NoticeOutcome::Delivered);
    }

    fn failed(&self, kind: Kind) {
        meter::notification(meter_kind(kind), NoticeOutcome::Failed);
    }

    fn retried(&self, kind: Kind) {
        meter::notification(meter_kind(kind), NoticeOutcome::Retried);
    }
}

const fn meter_kind(kind: Kind) -> NotifierKind {
    match kind {
        Kind::Webhook => NotifierKind::Webhook,
        Kind::Mqtt => NotifierKind::Mqtt,
    }
}

/// Binds the HTTP port, before anything else is opened: a second instance ends here.
pub(crate) fn listen(at: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(at).map_err(StartError::while_doing(format!("listen on http://{at}")))
}

/// Reads the token that HTTP asks for.
pub(crate) fn http_token(path: Option<&PathBuf>) -> Result<Option<Token>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let doing = || StartError::while_doing(format!("read the token file `{}`", path.display()));
    let text = std::fs::read_to_string(path).map_err(doing())?;
    let empty = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty");
    let token = Token::new(text.trim()).ok_or_else(empty).map_err(doing())?;
    Ok(Some(token))
}

/// Starts the HTTP API.
pub(crate) fn start_http(
    listener: TcpListener,
    desk: &Arc<Desk>,
    token: Option<Token>,
    mut stop: watch::Receiver<bool>,
) -> Result<Task, StartError> {
    let metrics = meter::install().map_err(StartError::while_doing("install metrics"))?;
    let options = http::Options { token, metrics, limits: http::Limits::default() };
    let served = http::serve(listener, Arc::clone(desk), options, async move {
        // A sender that is gone stops as well.
        let _stopped = stop.wait_for(|stop| *stop).await.is_ok();
    });
    Ok(tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "HTTP ended");
        }
    }))
}
