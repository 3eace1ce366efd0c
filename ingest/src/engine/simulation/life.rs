//! One life of the process: the real parts, put together as the service does, until it ends or dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::{Disk, Published, ReadFrom, Watch};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::parts::{FOLDER, Parts};
use super::world::World;
use super::{clock, config};
use crate::engine::bundles::Bundles;
use crate::engine::clock::JournalClock;
use crate::engine::desk::Desk;
use crate::engine::driver::{Driver, Shared};
use crate::engine::layout::Layout;
use crate::engine::orders::{Order, Orders, Space};
use crate::engine::progress::Next;
use crate::engine::recovery::{Recovered, Sizes, recover_sized};
use crate::engine::service::begin;
use crate::source::Acknowledge;

/// The running parts.
pub(super) struct Life {
    pub(super) desk: Arc<Desk>,
    pub(super) shared: Arc<Shared>,
    pub(super) space: Arc<Space>,
    pub(super) bundles: Arc<Bundles>,
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

impl Life {
    /// Opens the data folder and starts every part, in the order of the service.
    pub(super) async fn start(world: &World) -> Result<Self, Trouble> {
        let (opened, hash) = open(world)?;
        let bell = Arc::new(Notify::new());
        let journal_end = opened.journal.published();
        let watches = vec![
            watch_log(world, &journal_end, &bell),
            watch_log(world, &opened.outbox.published(), &bell),
        ];
        let (stop_sources, sources_stop) = watch::channel(false);
        let (stop_sinks, sinks_stop) = watch::channel(false);
        let (orders, orders_taken) = mpsc::channel(256);
        let (uplinks, uplinks_taken) = mpsc::channel(64);
        let (questions, asked) = mpsc::channel(256);
        let acks: Arc<dyn Acknowledge> = world.broker.clone();
        let parts = Parts::of(&opened, Orders(orders), acks, (sources_stop, sinks_stop));
        let told = world.told.lock().unwrap().cursor;
        let from = |position| ReadFrom::Position(position);
        let journal_reader = opened.journal.reader(from(opened.pipeline.position() + 1));
        let store_reader = opened.outbox.reader(from(opened.store_cursor.1.position + 1));
        let notice_reader = opened.outbox.reader(from(told.0.max(1)));
        let Recovered { end: counted, last_time, .. } = opened;
        let recovered_at = told.0.max(opened.store_cursor.1.position).min(counted.position);
        let Recovered { journal, outbox, pipeline, bundles, store_cursor: (file, _), .. } = opened;
        let log = (journal, JournalClock::on(clock::host, last_time), counted);
        let writer = tokio::spawn(parts.writer(world, log, (uplinks_taken, orders_taken)).work());
        let begun = tokio::time::timeout(Duration::from_secs(60), begin(&parts.orders, hash)).await;
        if !matches!(begun, Ok(Ok(()))) {
            end(writer).await;
            return Err(Trouble::Ended("the journal could not be begun".to_owned()));
        }
        let read = (pipeline, journal_reader, outbox);
        let (driver, keeper) = parts.driver(world, read, Arc::clone(&bundles), asked);
        let driver_stop = Arc::new(AtomicU64::new(0));
        let driver = tokio::spawn(drive(driver, Arc::clone(&driver_stop), Arc::clone(&bell)));
        let mut sinks = parts.start_sinks(world, (store_reader, file), (notice_reader, told));
        sinks.push(tokio::spawn(keeper.work()));
        let sources = parts.start_sources(world, uplinks);
        let (shared, space) = (Arc::clone(&parts.shared), Arc::clone(&parts.space));
        let orders = parts.orders.clone();
        let desk = Arc::new(parts.desk(questions, &journal_end, (recovered_at, counted.position)));
        Ok(Self {
            desk,
            shared,
            space,
            bundles,
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

/// Opens the data folder, holds it against the tape, and keeps the configuration; returns its hash as well.
fn open(world: &World) -> Result<(Recovered, String), Trouble> {
    let (disk, layout): (Arc<dyn Disk>, _) = (world.disk(), Layout::new(FOLDER));
    let sizes = Sizes { segment_bytes: world.plan.segment_bytes, shards: world.shards };
    let opened = recover_sized(&disk, &layout, sizes, None)
        .map_err(|error| Trouble::Ended(telemetry::problem::chain(&error)))?;
    let followed = world.tape.lock().unwrap().follow(&opened.journal, &opened.outbox);
    followed.map_err(|what| {
        if world.disk.is_stopped() { Trouble::Ended(what) } else { Trouble::Broken(what) }
    })?;
    let (bundle, active) = config::of(world.planted).get(world.config);
    let kept = opened.bundles.keep(bundle, active);
    let hash = kept.map_err(|error| Trouble::Ended(error.to_string()))?;
    Ok((opened, hash))
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

/// Writes the tape and rings the bell at each publication.
fn watch_log(world: &World, published: &Published, bell: &Arc<Notify>) -> Watch {
    let (tape, bell) = (Arc::clone(&world.tape), Arc::clone(bell));
    published.watch(move || {
        tape.lock().unwrap().read();
        bell.notify_one();
    })
}
