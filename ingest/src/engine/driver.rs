//! The thread that drives the pipeline: journal records in, outbox records out, snapshots, and answers to questions
//! about its state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use journal::{AppendError, Appended, Disk, Log, Reader, WriteError};
use pipeline::{Account, ApplyError, Head, OutboxRecord, Pipeline};
use telemetry::problem::chain;
use telemetry::text::{Text, say};
use tokio::sync::mpsc;

use crate::engine::bundles::Bundles;
use crate::engine::health::{Health, Part};
use crate::engine::layout::Layout;
use crate::engine::orders::{Order, Orders, Space};
use crate::engine::recovery::keep_snapshot;
use crate::engine::wake::Wake;

/// Most records between two looks at questions and at the outbox.
const TURN_RECORDS_MAX: u32 = 1024;
/// Bytes of results handed to the file at once, so that sinks see them early.
const TURN_BYTES_MAX: usize = 1 << 20;
/// Time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
/// Records between two snapshots at most: what a restart derives again at about 400,000 a second.
const SNAPSHOT_RECORDS_MAX: u64 = 2_000_000;
/// How long the shutdown may go on deriving.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause before the disk is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the driver lets others see of itself: one pair of position and totals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    /// Position of the last record applied, its results in the outbox.
    pub position: u64,
    /// Journal time there, nanoseconds.
    pub now_nanos: i64,
    /// Totals up to there.
    pub account: Account,
}

/// State shared with the driver.
#[derive(Debug, Default)]
pub struct Shared {
    cut: Mutex<Cut>,
    /// Ends a wait of the driver.
    pub wake: Wake,
    /// Position up to which the store has settled everything; kept by the store sink.
    pub store_position: AtomicU64,
}

impl Shared {
    /// Returns the driver's cut.
    #[must_use]
    pub fn cut(&self) -> Cut {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, cut: Cut) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }
}

/// A question about the state, answered between two turns.
pub type Question = Box<dyn FnOnce(&Pipeline, &Log) + Send>;

/// The driver's side of things.
pub struct Driver {
    pub(crate) pipeline: Pipeline,
    pub(crate) journal: Reader,
    pub(crate) outbox: Log,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) space: Arc<Space>,
    pub(crate) health: Arc<Health>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) orders: Orders,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) keep: Duration,
    /// Bytes of both logs from which the journal keeps no more than it needs.
    pub(crate) keep_until_bytes: u64,
}

/// Where the journal stood at a snapshot, and when.
struct Mark {
    position: u64,
    at: Instant,
}

struct Progress {
    out: OutboxRecord,
    last_snapshot: Instant,
    records_since: u64,
    marks: VecDeque<Mark>,
    until: Option<u64>,
    ends_at: Option<Instant>,
}

impl Driver {
    /// Runs until everything up to the position that `stop` gives is applied, then snapshots and ends.
    pub fn run(mut self, stop: &AtomicU64) {
        let mut progress = Progress {
            out: OutboxRecord::default(),
            last_snapshot: Instant::now(),
            records_since: 0,
            marks: VecDeque::new(),
            until: None,
            ends_at: None,
        };
        self.publish();
        loop {
            let asked = stop.load(Ordering::Acquire);
            progress.until = (asked != 0).then_some(asked);
            if progress.until.is_some()
                && *progress.ends_at.get_or_insert_with(|| Instant::now() + DRAIN) <= Instant::now()
            {
                tracing::info!("the rest of the journal is derived after the next start");
                break;
            }
            let applied = match self.turn(&mut progress) {
                Ok(applied) => applied,
                Err(error) => {
                    self.halt(&error);
                    return self.answer_until_stopped(stop);
                }
            };
            self.answer();
            if progress.records_since >= SNAPSHOT_RECORDS_MAX
                || (progress.records_since > 0
                    && progress.last_snapshot.elapsed() >= SNAPSHOT_INTERVAL)
            {
                self.snapshot(&mut progress);
            }
            if applied > 0 {
                continue;
            }
            if progress.until.is_some_and(|until| self.pipeline.position() >= until) {
                break;
            }
            self.shared.wake.wait(Duration::from_millis(500));
        }
        self.snapshot(&mut progress);
    }

    /// Applies what is there, up to a turn's bounds; returns how many records.
    fn turn(&mut self, progress: &mut Progress) -> Result<u32, Halt> {
        let (mut records, mut bytes) = (0, 0);
        while records < TURN_RECORDS_MAX && bytes < TURN_BYTES_MAX {
            let record = match self.journal.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    let message = Text::plain(chain(&error));
                    self.health.report(
                        Part::Journal,
                        "read",
                        message,
                        say("ingest.journal.failed.remedy", &[]),
                    );
                    std::thread::sleep(RETRY);
                    break;
                }
            };
            records += 1;
            if record.position <= self.pipeline.position() {
                continue;
            }
            let head = Head { position: record.position, ordinal: record.ordinal };
            self.pipeline.apply(
                head,
                record.kind,
                record.payload,
                &*self.bundles,
                &mut progress.out,
            )?;
            progress.records_since += 1;
            if !progress.out.is_empty() {
                bytes += progress.out.bytes().len();
                let ordinal = self.pipeline.account().readings_decoded;
                append(
                    &mut self.outbox,
                    &self.health,
                    (head.position, ordinal),
                    progress.out.bytes(),
                )?;
            }
        }
        if records > 0 {
            self.health.clear(Part::Journal, "read");
            write(&mut self.outbox, &self.health)?;
            self.space.outbox.store(self.outbox.bytes(), Ordering::Relaxed);
            self.publish();
        }
        Ok(records)
    }

    fn publish(&self) {
        let (position, account) = (self.pipeline.position(), *self.pipeline.account());
        self.shared.publish(Cut { position, now_nanos: self.pipeline.now().as_nanos(), account });
    }

    fn answer(&mut self) {
        for _ in 0..64 {
            let Ok(question) = self.questions.try_recv() else { return };
            question(&self.pipeline, &self.outbox);
        }
    }

    /// Snapshots the state once the outbox is fsynced up to it, then frees what nobody needs.
    fn snapshot(&mut self, progress: &mut Progress) {
        progress.last_snapshot = Instant::now();
        progress.records_since = 0;
        if let Err(error) = self.outbox.sync() {
            tracing::error!(error = %chain(&error), "outbox not durable; no snapshot now");
            return;
        }
        let (head, body) = (self.pipeline.snapshot_head(), self.pipeline.snapshot());
        let oldest = match keep_snapshot(&*self.disk, &self.layout, &head, &body) {
            Ok(oldest) => oldest,
            Err(error) => {
                tracing::error!(%error, "snapshot not written; the one before stands");
                return;
            }
        };
        tracing::debug!(position = head.position, bytes = body.len(), "snapshot");
        self.free(oldest, progress);
    }

    /// Cuts both logs below what snapshots and the store need; the journal keeps `keep` more where there is room.
    fn free(&mut self, oldest_snapshot: u64, progress: &mut Progress) {
        progress.marks.push_back(Mark { position: self.pipeline.position(), at: Instant::now() });
        let needed = oldest_snapshot.min(self.shared.store_position.load(Ordering::Acquire));
        let is_tight = self.space.used() > self.keep_until_bytes;
        let mut cut = 0;
        while let Some(mark) = progress.marks.front() {
            if mark.position > needed || (!is_tight && mark.at.elapsed() < self.keep) {
                break;
            }
            cut = mark.position;
            progress.marks.pop_front();
        }
        if is_tight {
            cut = needed;
        }
        if cut > 0 && self.orders.0.try_send(Order::Cut(cut)).is_err() {
            tracing::debug!("the writer is busy; cut next time");
        }
        if let Err(error) = self.outbox.cut_before(needed) {
            tracing::warn!(error = %chain(&error), "the outbox could not be cut; tried again later");
        }
        self.space.outbox.store(self.outbox.bytes(), Ordering::Relaxed);
    }

    /// Stops deriving and keeps taking in; nothing is lost, a restart derives again from the last snapshot.
    fn halt(&self, halt: &Halt) {
        let (error, remedy) = match halt {
            Halt::Apply(error) => (chain(error), say("ingest.pipeline.halted.remedy", &[])),
            Halt::Outbox(error) => (chain(error), say("ingest.journal.failed.remedy", &[])),
        };
        tracing::error!(%error, "the pipeline stands still; uplinks are still taken in");
        self.health.report(Part::Journal, "pipeline", Text::plain(error), remedy);
    }

    fn answer_until_stopped(mut self, stop: &AtomicU64) {
        while stop.load(Ordering::Acquire) == 0 {
            self.answer();
            self.shared.wake.wait(Duration::from_millis(500));
        }
    }
}

/// Why nothing more is derived before a restart.
enum Halt {
    /// A record of a newer version, or a configuration that is gone.
    Apply(ApplyError),
    /// Results are gone from the outbox: only the last snapshot and what follows it can bring them back.
    Outbox(WriteError),
}

impl From<ApplyError> for Halt {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

/// Appends a position's results; waits where the disk is full, since results may not be skipped.
fn append(
    outbox: &mut Log,
    health: &Health,
    (position, ordinal): (u64, u64),
    payload: &[u8],
) -> Result<(), Halt> {
    loop {
        match outbox.append(Appended { kind: 1, position, ordinal, payload }) {
            Ok(()) => return Ok(()),
            Err(AppendError::BufferFull { .. }) => write(outbox, health)?,
            Err(error) => {
                tracing::error!(%error, position, "results do not fit the outbox");
                return Ok(());
            }
        }
    }
}

/// Hands the buffer to the file, again and again where the disk is full.
fn write(outbox: &mut Log, health: &Health) -> Result<(), Halt> {
    loop {
        match outbox.write() {
            Ok(_) => break,
            Err(error) if error.is_full() => {
                let message = Text::plain(chain(&error));
                health.report(Part::Disk, "outbox", message, say("ingest.disk.full.remedy", &[]));
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(Halt::Outbox(error)),
        }
    }
    health.clear(Part::Disk, "outbox");
    Ok(())
}
