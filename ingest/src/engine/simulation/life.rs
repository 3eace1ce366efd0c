//! One life of the process: the real parts, put together as the service does, until it ends or dies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use journal::{Disk, Published, ReadFrom, Watch};
use store::{Influx, InfluxOptions, WriteError};
use telemetry::text::Text;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::world::World;
use super::{clock, config};
use crate::engine::clock::JournalClock;
use crate::engine::desk::Desk;
use crate::engine::driver::{Driver, Shared};
use crate::engine::health::{Health, Part};
use crate::engine::keeper::Kept;
use crate::engine::layout::Layout;
use crate::engine::notices;
use crate::engine::orders::{Order, Orders, Space};
use crate::engine::past::Past;
use crate::engine::progress::Next;
use crate::engine::recovery::{Sizes, recover_sized};
use crate::engine::service::begin;
use crate::engine::store_health::StoreHealth;
use crate::engine::store_sink::{StoreSink, StoreView};
use crate::engine::ticker::{self, Watched};
use crate::engine::writer::{Writer, WriterLimits};
use crate::notifier::{Batch as Notices, OutboxKey};
use crate::source::{Acknowledge, SourceId};

use super::server::SimStore;

/// The running parts.
pub(super) struct Life {
    pub(super) desk: Arc<Desk>,
    pub(super) shared: Arc<Shared>,
    pub(super) space: Arc<Space>,
    pub(super) bundles: Arc<crate::engine::bundles::Bundles>,
    pub(super) orders: Orders,
    /// Rung for the driver: at each durable record, and after a question.
    pub(super) bell: Arc<Notify>,
    writer: JoinHandle<()>,
    driver: JoinHandle<()>,
    driver_stop: Arc<AtomicU64>,
    sources: Vec<JoinHandle<()>>,
    sinks: Vec<JoinHandle<()>>,
    stop_sources: watch::Sender<bool>,
    stop_sinks: watch::Sender<bool>,
    journal_end: Published,
    _watches: Vec<Watch>,
}

/// Why a start or an end did not go as it should.
pub(super) enum Trouble {
    /// The process ended itself, as it may; it is started again later.
    Ended(String),
    /// A promise is broken.
    Broken(String),
}

/// What a notifier's queue holds: durable at once, with its cursor.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) cursor: OutboxKey,
    pub(super) notices: BTreeMap<OutboxKey, Vec<u8>>,
}

impl Life {
    /// Opens the data folder and starts every part.
    #[expect(clippy::too_many_lines, reason = "every part once, in the order of the service")]
    pub(super) async fn start(world: &World) -> Result<Self, Trouble> {
        let ended = |what: String| Trouble::Ended(what);
        let layout = Layout::new("/data");
        let disk: Arc<dyn Disk> = world.disk();
        let sizes = Sizes { segment_bytes: world.plan.segment_bytes, shards: world.shards };
        let opened = recover_sized(&disk, &layout, sizes, None)
            .map_err(|error| ended(telemetry::problem::chain(&error)))?;
        let followed = world.tape.lock().unwrap().follow(&opened.journal, &opened.outbox);
        if let Err(what) = followed {
            let stopped = world.disk.is_stopped();
            return Err(if stopped { ended(what) } else { Trouble::Broken(what) });
        }
        let (bundle, active) = config::all().get(world.config);
        let hash = opened.bundles.keep(bundle, active).map_err(|error| ended(error.to_string()))?;
        let bell = Arc::new(Notify::new());
        let watches = watches(world, &opened.journal.reader(ReadFrom::Newest).published(), &bell)
            .into_iter()
            .chain(watches(world, &opened.outbox.published(), &bell))
            .collect();
        let (stop_sources, sources_stop) = watch::channel(false);
        let (stop_sinks, sinks_stop) = watch::channel(false);
        let (orders, orders_taken) = mpsc::channel(256);
        let orders = Orders(orders);
        let (uplinks, uplinks_taken) = mpsc::channel(64);
        let (questions, asked) = mpsc::channel(256);
        let space = Arc::new(Space::default());
        space.journal.store(opened.journal.bytes(), Ordering::Relaxed);
        space.outbox.store(opened.outbox.bytes(), Ordering::Relaxed);
        let health = Arc::new(Health::default());
        health.report(Part::Recovering, "start", text("recovering"), text("wait"));
        let shared = Arc::new(Shared::default());
        let view = Arc::new(StoreView::default());
        let (file, cursor) = opened.store_cursor;
        view.set(cursor);
        shared.store_position.store(cursor.position, Ordering::Release);
        let journal_reader =
            opened.journal.reader(ReadFrom::Position(opened.pipeline.position() + 1));
        let journal_end = journal_reader.published();
        let store_reader = opened.outbox.reader(ReadFrom::Position(cursor.position + 1));
        let told = world.told.lock().unwrap().cursor;
        let notice_reader = opened.outbox.reader(ReadFrom::Position(told.0.max(1)));
        let recovered_at = told.0.max(cursor.position).min(opened.end.position);
        let acks: Arc<dyn Acknowledge> = world.broker.clone();
        let writer = Writer {
            log: opened.journal,
            clock: JournalClock::on(clock::host, opened.last_time),
            limits: WriterLimits {
                commit_interval: Duration::from_millis(2),
                uplinks_stop_at: world.plan.max_bytes - world.plan.max_bytes / 8,
            },
            space: Arc::clone(&space),
            health: Arc::clone(&health),
            acks: BTreeMap::from([(SourceId(0), Arc::clone(&acks))]),
            uplinks: uplinks_taken,
            orders: orders_taken,
            position: opened.end.position,
            ordinal: opened.end.ordinal,
            floor: opened.end,
            set_aside: VecDeque::new(),
        };
        let writer = tokio::spawn(writer.work());
        let begun = tokio::time::timeout(Duration::from_secs(60), begin(&orders, hash)).await;
        if !matches!(begun, Ok(Ok(()))) {
            end(writer).await;
            return Err(ended("the journal could not be begun".to_owned()));
        }
        let (kept, keeper) = Kept::new(Arc::clone(&disk), layout.clone(), Arc::clone(&shared));
        let driver = Driver {
            pipeline: opened.pipeline,
            journal: journal_reader,
            outbox: opened.outbox,
            bundles: Arc::clone(&opened.bundles),
            shared: Arc::clone(&shared),
            space: Arc::clone(&space),
            health: Arc::clone(&health),
            questions: asked,
            orders: orders.clone(),
            kept,
            disk,
            layout,
            keep: world.plan.keep,
            keep_until_bytes: world.plan.max_bytes / 2,
        };
        let driver_stop = Arc::new(AtomicU64::new(0));
        let driver = tokio::spawn(drive(driver, Arc::clone(&driver_stop), Arc::clone(&bell)));
        let mut store = SimStore::new(Arc::clone(&world.server), world.disk.clone());
        store.settles_early = world.settles_early();
        let store =
            Arc::new(StoreHealth::new(store, "store".to_owned(), describe, Arc::clone(&health)));
        let sink = StoreSink {
            health: Arc::clone(&store),
            outbox: store_reader,
            file,
            view: Arc::clone(&view),
            shared: Arc::clone(&shared),
            orders: orders.clone(),
            shutdown: sinks_stop.clone(),
        };
        let (feed, fed) = mpsc::channel(16);
        let stop = sinks_stop.clone();
        let sinks = vec![
            tokio::spawn(sink.run()),
            tokio::spawn(async move { store.run(stop).await }),
            tokio::spawn(notices::follow(notice_reader, told, feed, sinks_stop)),
            tokio::spawn(tell(Arc::clone(&world.told), fed)),
            tokio::spawn(keeper.work()),
        ];
        let (broker, link) = ((SourceId(0), Part::Mqtt), world.broker.link());
        let watched = vec![Watched::new(broker, "broker".to_owned(), link, acks.clone())];
        let ticks = JournalClock::on(clock::host, telemetry::time::IngestTime::default());
        let sources = vec![
            tokio::spawn(ticker::run(
                watched,
                orders.clone(),
                Arc::clone(&health),
                ticks,
                sources_stop.clone(),
            )),
            tokio::spawn(Arc::clone(&world.broker).deliver(uplinks, sources_stop)),
        ];
        let desk = Desk {
            questions,
            orders: orders.clone(),
            shared: Arc::clone(&shared),
            store: view,
            journal_end: journal_end.clone(),
            space: Arc::clone(&space),
            health,
            acks: vec![acks],
            past: Past::Influx(nowhere()),
            commands: None,
            own_alerts: Mutex::default(),
            recovered_at,
            has_recovered: AtomicBool::new(false),
            counts_from: opened.end.position,
        };
        Ok(Self {
            desk: Arc::new(desk),
            shared,
            space,
            bundles: opened.bundles,
            orders,
            bell,
            writer,
            driver,
            driver_stop,
            sources,
            sinks,
            stop_sources,
            stop_sinks,
            journal_end,
            _watches: watches,
        })
    }

    /// Ends in order, as the service does.
    pub(super) async fn stop(mut self, world: &World) -> Result<(), Trouble> {
        self.stop_sources.send_replace(true);
        let patience = Duration::from_secs(3);
        for task in std::mem::take(&mut self.sources) {
            within(task, patience).await;
        }
        let order = tokio::time::timeout(patience, self.orders.0.send(Order::Stop)).await;
        let writer = std::mem::replace(&mut self.writer, tokio::spawn(async {}));
        let ended = order.is_ok() && within(writer, Duration::from_secs(10)).await;
        self.driver_stop.store(self.journal_end.end().position.max(1), Ordering::Release);
        self.bell.notify_one();
        let driver = std::mem::replace(&mut self.driver, tokio::spawn(async {}));
        let driven = within(driver, Duration::from_secs(10)).await;
        self.stop_sinks.send_replace(true);
        for task in std::mem::take(&mut self.sinks) {
            within(task, Duration::from_secs(5)).await;
        }
        let what = match (ended, driven) {
            _ if world.disk.is_stopped() => return Ok(()),
            (true, true) => return Ok(()),
            (false, _) => "the journal's writer does not end",
            (true, false) => "the driver does not end",
        };
        Err(Trouble::Broken(format!("the shutdown hangs: {what}")))
    }

    /// The process is gone, wherever each part was.
    pub(super) async fn die(self) {
        for task in [self.writer, self.driver].into_iter().chain(self.sources).chain(self.sinks) {
            end(task).await;
        }
    }

    /// Returns what a part died of, by itself.
    pub(super) async fn panicked(&mut self) -> Option<String> {
        let all = [&mut self.writer, &mut self.driver];
        for task in all.into_iter().chain(&mut self.sources).chain(&mut self.sinks) {
            if task.is_finished() {
                return Some(match task.await {
                    Ok(()) => "a part has ended by itself".to_owned(),
                    Err(error) => format!("a part panicked: {error}"),
                });
            }
        }
        None
    }

    /// Asks the desk, and wakes the driver until it has answered.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        let wake = async {
            loop {
                self.bell.notify_one();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), question);
        tokio::select! {
            biased;
            answer = asked => answer.ok(),
            () = wake => None,
        }
    }
}

async fn within(mut task: JoinHandle<()>, most: Duration) -> bool {
    let ended = tokio::time::timeout(most, &mut task).await;
    if ended.is_err() {
        end(task).await;
    }
    ended.is_ok()
}

async fn end(task: JoinHandle<()>) {
    task.abort();
    // Cancelled, or ended just before.
    let _ended = task.await.is_ok();
}

/// The driver's thread, as a task.
async fn drive(mut driver: Driver, stop: Arc<AtomicU64>, bell: Arc<Notify>) {
    let mut progress = driver.begin();
    loop {
        match driver.step(&mut progress, stop.load(Ordering::Acquire)) {
            Next::Again => tokio::task::yield_now().await,
            Next::Wait(most) => tokio::select! {
                biased;
                () = bell.notified() => {}
                () = tokio::time::sleep(most) => {}
            },
            Next::End => return,
        }
    }
}

/// A notifier's queue.
async fn tell(told: Arc<Mutex<Told>>, mut fed: mpsc::Receiver<Notices>) {
    while let Some(batch) = fed.recv().await {
        let mut told = told.lock().unwrap();
        for notice in batch.notices {
            let Some(origin) = notice.origin else { continue };
            told.notices.insert(origin, notice.body.to_vec());
        }
        told.cursor = batch.cursor.unwrap_or(told.cursor);
    }
}

/// Writes the tape and rings the bell at each publication.
fn watches(world: &World, published: &Published, bell: &Arc<Notify>) -> Vec<Watch> {
    let (tape, bell) = (Arc::clone(&world.tape), Arc::clone(bell));
    vec![published.watch(move || {
        tape.lock().unwrap().read();
        bell.notify_one();
    })]
}

fn describe(_store: &SimStore, error: &WriteError) -> (Text, Text) {
    (text(&error.to_string()), text("wait"))
}

fn text(words: &str) -> Text {
    Text::plain(words.to_owned())
}

/// A reader of a store that nobody asks.
fn nowhere() -> Arc<StoreHealth<Influx>> {
    static NOWHERE: OnceLock<Arc<StoreHealth<Influx>>> = OnceLock::new();
    Arc::clone(NOWHERE.get_or_init(|| {
        let options = InfluxOptions::new("http://127.0.0.1:9", "o", "b", "/nowhere");
        let influx = Influx::open(&options).unwrap();
        let describe = |_: &Influx, _: &WriteError| (text("nobody asks"), text("nothing"));
        Arc::new(StoreHealth::new(influx, "nowhere".to_owned(), describe, Arc::default()))
    }))
}
