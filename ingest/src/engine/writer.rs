//! The journal's one writer: a thread that takes batches and orders, fsyncs, and only then acknowledges (**P2**).
//!
//! Group commit: at low rates at once; where records keep coming, at least `commit_interval` between two fsyncs. A
//! source whose in-flight window is used up does not wait: nothing more can come from it before its acknowledgements.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use journal::{AppendError, Appended, CutError, End, Log, WriteError};
use pipeline::record::{Kind, Uplink};
use telemetry::problem::chain;
use telemetry::text::{Text, say};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::engine::clock::JournalClock;
use crate::engine::health::{Health, Part};
use crate::engine::orders::{NotDurable, Order, Space};
use crate::meter;
use crate::source::{AckToken, Acknowledge, Batch, SourceId};

/// Most bytes taken into one fsync.
const COMMIT_BYTES_MAX: usize = 8 << 20;
/// How long the writer waits before it looks for space, or tries a failed disk, again.
const FULL_PAUSE: Duration = Duration::from_millis(250);
/// Orders set aside while the disk is full at most; whoever orders more hears that it is not durable.
const SET_ASIDE_MAX: usize = 256;

/// Bounds of the writer.
#[derive(Debug, Clone, Copy)]
pub struct WriterLimits {
    /// Least time between two fsyncs under load.
    pub commit_interval: Duration,
    /// Bytes of both logs at which uplinks wait; what is not an uplink goes on into the reserve.
    pub uplinks_stop_at: u64,
}

/// The writer's side of the journal.
pub struct Writer {
    pub(crate) log: Log,
    pub(crate) clock: JournalClock,
    pub(crate) limits: WriterLimits,
    pub(crate) space: Arc<Space>,
    pub(crate) health: Arc<Health>,
    pub(crate) acks: BTreeMap<SourceId, Arc<dyn Acknowledge>>,
    pub(crate) uplinks: mpsc::Receiver<Batch>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) position: u64,
    pub(crate) ordinal: u64,
    /// Where the run began: nothing is ever appended at or below it.
    pub(crate) floor: End,
    /// Orders that came while the disk was full, oldest first.
    pub(crate) set_aside: VecDeque<Order>,
}

/// What became of a commit.
enum Committed {
    Durable,
    /// The disk failed; nothing was acknowledged.
    Failed,
    /// A shutdown found no space; nothing was acknowledged.
    NoSpace,
}

/// What waits for the next fsync.
#[derive(Default)]
struct Pending {
    batches: Vec<Batch>,
    promises: Vec<(u64, oneshot::Sender<Result<u64, NotDurable>>)>,
    bytes: usize,
    stop: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.promises.is_empty()
    }
}

impl Writer {
    /// Runs until [`Order::Stop`], or until nobody can order any more.
    pub fn run(self, runtime: &Handle) {
        runtime.block_on(self.work());
    }

    /// The loop. Calls of the disk block it: it wants a thread of its own.
    pub(crate) async fn work(mut self) {
        let mut scratch = Vec::new();
        let mut last_sync = Instant::now();
        loop {
            let mut pending = Pending::default();
            let alive = self.gather(&mut pending, last_sync, &mut scratch).await;
            if !pending.is_empty() {
                match self.commit(pending).await {
                    Committed::Durable => {}
                    // Each try takes a segment: what comes meanwhile goes into one.
                    Committed::Failed => tokio::time::sleep(FULL_PAUSE).await,
                    Committed::NoSpace => break,
                }
                last_sync = Instant::now();
            } else if pending.stop || !alive {
                break;
            }
            if !alive {
                break;
            }
        }
        if let Err(error) = self.log.sync() {
            tracing::error!(%error, "the journal's last records are not durable; the broker sends them again");
        }
    }

    /// Takes what is there, waiting for the first. Returns `false` once nothing can come any more.
    async fn gather(
        &mut self,
        pending: &mut Pending,
        last_sync: Instant,
        scratch: &mut Vec<u8>,
    ) -> bool {
        let mut until: Option<Instant> = None;
        loop {
            let open = self.has_room() && pending.bytes < COMMIT_BYTES_MAX;
            let pause =
                until.map_or(FULL_PAUSE, |until| until.saturating_duration_since(Instant::now()));
            let wait = until.is_some() || !open;
            tokio::select! {
                biased;
                order = next_order(&mut self.set_aside, &mut self.orders) => match order {
                    Some(Order::Stop) => { pending.stop = true; return false; }
                    Some(order) => self.take_order(order, pending, scratch),
                    None => return false,
                },
                batch = self.uplinks.recv(), if open => match batch {
                    Some(batch) => self.take_batch(batch, pending, scratch),
                    None => return self.wait_for_orders(pending, scratch).await,
                },
                () = tokio::time::sleep(pause), if wait => {
                    if until.is_some() { return true; }
                }
            }
            if pending.is_empty() {
                continue;
            }
            self.take_ready(pending, scratch);
            let due = last_sync + self.limits.commit_interval;
            if pending.bytes >= COMMIT_BYTES_MAX
                || Instant::now() >= due
                || self.window_is_used_up()
            {
                return true;
            }
            until = Some(due);
        }
    }

    /// No source is left; only orders can come.
    async fn wait_for_orders(&mut self, pending: &mut Pending, scratch: &mut Vec<u8>) -> bool {
        if !pending.is_empty() {
            return true;
        }
        match next_order(&mut self.set_aside, &mut self.orders).await {
            Some(Order::Stop) | None => false,
            Some(order) => {
                self.take_order(order, pending, scratch);
                true
            }
        }
    }

    fn take_ready(&mut self, pending: &mut Pending, scratch: &mut Vec<u8>) {
        while pending.bytes < COMMIT_BYTES_MAX && self.has_room() {
            let Ok(batch) = self.uplinks.try_recv() else { break };
            self.take_batch(batch, pending, scratch);
        }
    }

    fn window_is_used_up(&self) -> bool {
        self.acks.values().any(|source| source.is_used_up())
    }

    /// Returns whether uplinks may be appended; says so where they may not.
    fn has_room(&self) -> bool {
        let used = self.space.used();
        let has_room = used < self.limits.uplinks_stop_at;
        if has_room {
            self.health.clear(Part::Disk, "max_bytes");
        } else {
            let (used, most) = (used >> 20, self.limits.uplinks_stop_at >> 20);
            let message = say("ingest.disk.used_up", &[("used", &used), ("most", &most)]);
            self.health.report(
                Part::Disk,
                "max_bytes",
                message,
                say("ingest.disk.used_up.remedy", &[]),
            );
        }
        has_room
    }

    fn take_batch(&mut self, batch: Batch, pending: &mut Pending, scratch: &mut Vec<u8>) {
        for incoming in batch.uplinks() {
            // A payload has fewer elements than bytes, and an element without a time stands at `received_at` and its
            // index in nanoseconds.
            let received_at = self.clock.stamp(incoming.payload.len());
            let held = u64::try_from(incoming.payload.len()).unwrap_or(u64::MAX);
            let full_len = incoming.oversize.unwrap_or(held);
            let (source, topic, payload) =
                (incoming.source.0, incoming.topic(), &incoming.payload[..]);
            scratch.clear();
            Uplink { source, received_at, topic, payload, full_len }.encode_into(scratch);
            pending.bytes += scratch.len();
            self.append(Kind::Uplink, scratch, 1);
        }
        pending.batches.push(batch);
    }

    fn take_order(&mut self, order: Order, pending: &mut Pending, scratch: &mut Vec<u8>) {
        match order {
            Order::Append(make, done) => {
                let record = make(self.clock.now());
                scratch.clear();
                scratch.extend_from_slice(&record.encode());
                pending.bytes += scratch.len();
                match self.append(record.kind(), scratch, 0) {
                    Some(position) => pending.promises.push((position, done)),
                    None => drop(done.send(Err(NotDurable))),
                }
            }
            Order::Cut(position) => {
                if let Err(error) = self.cut(position) {
                    tracing::warn!(%error, "the journal could not be cut; tried again later");
                }
            }
            Order::Reader(from, reply) => {
                if reply.send(self.log.reader(from)).is_err() {
                    tracing::debug!("nobody waits for the reader any more");
                }
            }
            Order::Stop => pending.stop = true,
        }
    }

    fn cut(&mut self, position: u64) -> Result<(), CutError> {
        let cut = self.log.cut_before(position);
        self.space.journal.store(self.log.bytes(), Ordering::Relaxed);
        cut
    }

    /// Appends to the log's buffer; writes it first where it is full. `None`: the record does not fit.
    fn append(&mut self, kind: Kind, payload: &[u8], uplinks: u64) -> Option<u64> {
        let (position, ordinal) = (self.position + 1, self.ordinal + uplinks);
        let record = Appended { kind: kind.code(), position, ordinal, payload };
        let mut appended = self.log.append(record);
        if matches!(appended, Err(AppendError::BufferFull { .. })) && self.log.write().is_ok() {
            appended = self.log.append(record);
        }
        match appended {
            Ok(()) => {
                (self.position, self.ordinal) = (position, ordinal);
                Some(position)
            }
            Err(error) => {
                tracing::error!(%error, "a record did not fit the journal");
                None
            }
        }
    }

    /// Makes everything durable, then keeps the promises: acknowledgements and answers.
    async fn commit(&mut self, pending: Pending) -> Committed {
        let begun = Instant::now();
        let outcome = self.sync_until_room(pending.stop).await;
        meter::journal_fsync(begun.elapsed());
        self.space.journal.store(self.log.bytes(), Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                self.health.clear(Part::Journal, "fsync");
                self.acknowledge(&pending.batches);
                for (position, done) in pending.promises {
                    if done.send(Ok(position)).is_err() {
                        tracing::debug!(position, "nobody waits for this record any more");
                    }
                }
            }
            Err(error) => {
                self.fail(&error, pending);
                return if error.is_full() { Committed::NoSpace } else { Committed::Failed };
            }
        }
        Committed::Durable
    }

    /// Syncs; where the disk is full, again until there is space: nothing is lost by waiting. A shutdown does not
    /// wait.
    async fn sync_until_room(&mut self, stops: bool) -> Result<(), WriteError> {
        loop {
            match self.log.sync() {
                Ok(_) => {
                    self.health.clear(Part::Disk, "full");
                    return Ok(());
                }
                Err(error) if error.is_full() && !stops && !self.is_stopping() => {
                    let message = say("ingest.disk.full", &[]);
                    self.health.report(
                        Part::Disk,
                        "full",
                        message,
                        say("ingest.disk.full.remedy", &[]),
                    );
                    self.serve_cuts().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// While the disk is full, cuts still free space; other orders are set aside until there is some.
    async fn serve_cuts(&mut self) {
        tokio::time::sleep(FULL_PAUSE).await;
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Cut(position) => {
                    if let Err(error) = self.cut(position) {
                        tracing::warn!(%error, "the journal could not be cut; tried again later");
                    }
                }
                Order::Append(..) | Order::Reader(..) if self.set_aside.len() >= SET_ASIDE_MAX => {
                    tracing::debug!("too many orders wait for space; this one is to come again");
                }
                Order::Append(..) | Order::Reader(..) | Order::Stop => {
                    self.set_aside.push_back(order);
                }
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.set_aside.iter().any(|order| matches!(order, Order::Stop))
    }

    /// What was not durable was not acknowledged: the broker sends it again on the next connection.
    fn fail(&mut self, error: &WriteError, pending: Pending) {
        tracing::error!(error = %chain(error), "records are not durable and not acknowledged");
        let message = Text::plain(chain(error));
        self.health.report(
            Part::Journal,
            "fsync",
            message,
            say("ingest.journal.failed.remedy", &[]),
        );
        let end = self.log.published().end();
        (self.position, self.ordinal) =
            (end.position.max(self.floor.position), end.ordinal.max(self.floor.ordinal));
        for source in self.acks.values() {
            source.send_again();
        }
        for (_, done) in pending.promises {
            if done.send(Err(NotDurable)).is_err() {
                tracing::debug!("nobody waits for this record any more");
            }
        }
    }

    fn acknowledge(&self, batches: &[Batch]) {
        for (source, acks) in &self.acks {
            let of_source = batches
                .iter()
                .filter(|batch| batch.uplinks().first().is_some_and(|u| u.source == *source));
            let tokens: Vec<AckToken> = of_source.flat_map(Batch::tokens).collect();
            if !tokens.is_empty() {
                acks.acknowledge(&tokens);
            }
        }
    }
}

/// Returns the next order, those set aside first. `None`: nobody can order any more. Nothing is lost where the future
/// is dropped.
async fn next_order(
    set_aside: &mut VecDeque<Order>,
    orders: &mut mpsc::Receiver<Order>,
) -> Option<Order> {
    match set_aside.pop_front() {
        Some(order) => Some(order),
        None => orders.recv().await,
    }
}
