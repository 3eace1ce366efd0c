//! The thread that drives the pipeline: journal records in, outbox records out, snapshots, and answers to questions
//! about its state.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::{Appended, Disk, Log, ReadFrom, Reader};
use pipeline::{Account, Head, Pipeline};
use telemetry::problem::chain;
use telemetry::text::{Text, say};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::bundles::Bundles;
use crate::engine::halt::Halt;
use crate::engine::health::{Health, Part};
use crate::engine::keeper::Kept;
use crate::engine::layout::Layout;
use crate::engine::orders::{Orders, Space};
use crate::engine::progress::{Next, Progress, Standing, Taking, Turn};
use crate::engine::recovery::{SHARDS, load_newest};
use crate::engine::wake::Wake;

/// Most records between two looks at questions and at the outbox.
const TURN_RECORDS_MAX: u32 = 1024;
/// Bytes of results handed to the file at once, so that sinks see them early.
const TURN_BYTES_MAX: usize = 1 << 20;
/// How long the shutdown may go on deriving.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause before the disk is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Pause while the disk has enough pieces of a snapshot.
const COPY_PAUSE: Duration = Duration::from_millis(2);
/// Longest wait for a call of [`Wake::wake`].
const IDLE: Duration = Duration::from_millis(500);

/// What the driver lets others see of itself: one pair of position and totals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    /// Position of the last record applied, its results in the outbox or on their way to it.
    pub position: u64,
    /// Journal time there, nanoseconds.
    pub now_nanos: i64,
    /// Totals up to there.
    pub account: Account,
    /// Whether the table of devices is full.
    pub is_full: bool,
}

/// State shared with the driver.
#[derive(Debug, Default)]
pub struct Shared {
    cut: Mutex<Cut>,
    /// Ends a wait of the driver.
    pub wake: Wake,
    /// Position up to which the store has settled everything; kept by the store sink.
    pub store_position: AtomicU64,
    /// Damaged bytes of the journal that the driver passed over.
    pub damaged_bytes: AtomicU64,
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
    /// Where snapshots go.
    pub(crate) kept: Kept,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) keep: Duration,
    /// Bytes of both logs from which the journal keeps no more than it needs.
    pub(crate) keep_until_bytes: u64,
}

impl Driver {
    /// Runs until everything up to the position that `stop` gives is applied, then snapshots and ends.
    pub fn run(mut self, stop: &AtomicU64) {
        let mut progress = self.begin();
        loop {
            match self.step(&mut progress, stop.load(Ordering::Acquire)) {
                Next::Again => {}
                Next::Wait(most) => self.shared.wake.wait(most),
                Next::End => return,
            }
        }
    }

    /// Begins: what the snapshot holds is there to be seen.
    pub(super) fn begin(&self) -> Progress {
        self.publish();
        Progress::at(self.pipeline.position(), Instant::now())
    }

    /// Takes one turn, answers questions, snapshots when it is time. `stop` is the position at which to end; 0: none.
    pub(super) fn step(&mut self, progress: &mut Progress, stop: u64) -> Next {
        let now = Instant::now();
        let ends = (stop != 0).then(|| *progress.ends_at.get_or_insert(now + DRAIN));
        let done = self.advance(progress, now);
        self.answer();
        match done {
            Err(halt) => {
                progress.standing = self.halt(&halt);
                progress.retry_at = now + RETRY;
                Next::Again
            }
            Ok(_) if ends.is_some() && progress.standing != Standing::Deriving => Next::End,
            Ok(Turn::Applied(0)) if stop != 0 && self.pipeline.position() >= stop => {
                self.end(progress, now)
            }
            Ok(_) if ends.is_some_and(|ends| ends <= now) => {
                tracing::info!("the rest of the journal is derived after the next start");
                self.end(progress, now)
            }
            Ok(Turn::Stuck) => Next::Wait(RETRY),
            Ok(Turn::Applied(0)) => match progress.taking {
                Taking::Copying(_) if self.kept.has_room() => Next::Again,
                Taking::Copying(_) => Next::Wait(COPY_PAUSE),
                Taking::None | Taking::Writing(_) => Next::Wait(IDLE),
            },
            Ok(Turn::Applied(_)) => Next::Again,
        }
    }

    fn end(&mut self, progress: &mut Progress, now: Instant) -> Next {
        if let Err(halt) = self.snapshot(progress, now) {
            self.halt(&halt);
        }
        Next::End
    }

    fn advance(&mut self, progress: &mut Progress, now: Instant) -> Result<Turn, Halt> {
        match progress.standing {
            Standing::Deriving => {}
            Standing::Halted => return Ok(Turn::Applied(0)),
            Standing::Short => {
                if now < progress.retry_at || !self.go_back(progress) {
                    return Ok(Turn::Stuck);
                }
                progress.standing = Standing::Deriving;
            }
        }
        let turn = self.turn(progress)?;
        self.go_on_with_snapshot(progress, now)?;
        Ok(turn)
    }

    /// Applies what is there, up to a turn's bounds.
    fn turn(&mut self, progress: &mut Progress) -> Result<Turn, Halt> {
        // What the disk had no space for comes first: the buffer holds the results of one turn.
        if !self.write()? {
            return Ok(Turn::Stuck);
        }
        let (mut records, mut bytes) = (0, 0);
        while records < TURN_RECORDS_MAX && bytes < TURN_BYTES_MAX {
            let record = match self.journal.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    let message = Text::plain(chain(&error));
                    let remedy = say("ingest.journal.failed.remedy", &[]);
                    self.health.report(Part::Journal, "read", message, remedy);
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
                append(&mut self.outbox, (head.position, ordinal), progress.out.bytes());
            }
        }
        self.shared.damaged_bytes.fetch_max(self.journal.damaged().bytes, Ordering::Relaxed);
        if records == 0 {
            return Ok(Turn::Applied(0));
        }
        self.health.clear(Part::Journal, "read");
        // Before sinks can see them: whoever adds up the account finds the readings here, or in both places.
        self.publish();
        Ok(if self.write()? { Turn::Applied(records) } else { Turn::Stuck })
    }

    /// Hands the results to the file, where sinks see them; `false` while the disk is full.
    fn write(&mut self) -> Result<bool, Halt> {
        match self.outbox.write() {
            Ok(_) => {}
            Err(error) if error.is_full() => {
                let message = Text::plain(chain(&error));
                let remedy = say("ingest.disk.full.remedy", &[]);
                self.health.report(Part::Disk, "outbox", message, remedy);
                return Ok(false);
            }
            Err(error) => return Err(Halt::Outbox(error)),
        }
        self.health.clear(Part::Disk, "outbox");
        self.space.outbox.store(self.outbox.bytes(), Ordering::Relaxed);
        Ok(true)
    }

    /// Goes back to the newest snapshot, cuts the outbox to it; what followed is derived again, byte for byte. Sinks
    /// see nothing twice. Returns whether it worked.
    fn go_back(&mut self, progress: &mut Progress) -> bool {
        // Before it is known which is the newest.
        self.give_up_snapshot(progress);
        let pipeline = match load_newest(&*self.disk, &self.layout, &self.bundles, SHARDS) {
            Ok(pipeline) if pipeline.position() >= progress.snapshot_at => pipeline,
            Ok(_) => {
                tracing::error!("the newest snapshot is not readable; tried again");
                return false;
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "no snapshot is readable; tried again");
                return false;
            }
        };
        if let Err(error) = self.outbox.truncate_after(pipeline.position()) {
            tracing::error!(error = %chain(&error), "the outbox could not be cut; tried again");
            return false;
        }
        self.journal = self.journal.again(ReadFrom::Position(pipeline.position() + 1));
        self.pipeline = pipeline;
        self.health.clear(Part::Journal, "pipeline");
        true
    }

    /// Publishes the cut. What is derived again has been published before.
    fn publish(&self) {
        let (position, account) = (self.pipeline.position(), *self.pipeline.account());
        if position < self.shared.cut().position {
            return;
        }
        let (now_nanos, is_full) = (self.pipeline.now().as_nanos(), self.pipeline.is_full());
        self.shared.publish(Cut { position, now_nanos, account, is_full });
    }

    fn answer(&mut self) {
        for _ in 0..64 {
            let Ok(question) = self.questions.try_recv() else { return };
            question(&self.pipeline, &self.outbox);
        }
    }

    /// Stops deriving and keeps taking in: nothing is lost, what is gone is derived again from the last snapshot.
    fn halt(&self, halt: &Halt) -> Standing {
        let (error, remedy, standing) = match halt {
            Halt::Apply(error) => {
                (chain(error), say("ingest.pipeline.halted.remedy", &[]), Standing::Halted)
            }
            Halt::Outbox(error) => {
                (chain(error), say("ingest.journal.failed.remedy", &[]), Standing::Short)
            }
        };
        tracing::error!(%error, "the pipeline stands still; uplinks are still taken in");
        self.health.report(Part::Journal, "pipeline", Text::plain(error), remedy);
        standing
    }
}

/// Appends a position's results; the buffer, larger than a turn, has room for them.
fn append(outbox: &mut Log, (position, ordinal): (u64, u64), payload: &[u8]) {
    let appended = outbox.append(Appended { kind: 1, position, ordinal, payload });
    if let Err(error) = appended {
        tracing::error!(%error, position, "results do not fit the outbox");
    }
}
