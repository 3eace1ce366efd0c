//! The task of one notifier: takes batches in, sends what is due, records what became of it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use telemetry::time::IngestTime;
use tokio::sync::mpsc;

use super::flight::{Flight, Flights};
use super::intake::Intake;
use super::policy::expired;
use super::queue::{Acceptance, GiveUp, Queue, QueueError, Settlement};
use super::report::Report;
use super::{
    Answer, Batch, Clock, GIVE_UP_AFTER, Gate, Observer, Reason, ReasonCode, Sender, Severity,
};
use super::{Verdict, backoff, judge};

/// Part of [`Options::drain`] that is kept for closing the connection.
const CLOSE: Duration = Duration::from_millis(500);
/// Expired notices failed in one transaction.
const EXPIRE_MAX: usize = 1_000;

/// How a notifier behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How logs call it, without credentials: `webhook https://example.org`.
    pub name: String,
    /// Less grave alerts are not told.
    pub min_severity: Severity,
    /// Tries under way at once, at least 1; default 8.
    pub in_flight_max: usize,
    /// How long a full queue holds the cursor before the oldest notices are failed; default 5 s, which is
    /// less than the replay window that the outbox keeps at least.
    pub patience: Duration,
    /// How long the end may take; default 2 s.
    pub drain: Duration,
}

impl Options {
    /// Returns the defaults under a name.
    #[must_use]
    pub fn named(name: impl Into<String>, min_severity: Severity) -> Self {
        Self {
            name: name.into(),
            min_severity,
            in_flight_max: 8,
            patience: Duration::from_secs(5),
            drain: Duration::from_secs(2),
        }
    }
}

/// What a notifier works with.
#[derive(Debug)]
pub struct Wiring<S, O> {
    /// Its durable queue; shared, so that the API can read the delivery log.
    pub queue: Arc<Queue>,
    /// Its endpoint.
    pub sender: Arc<S>,
    /// Who counts.
    pub observer: Arc<O>,
    /// Its clock.
    pub clock: Clock,
    /// How it behaves.
    pub options: Options,
}

/// Runs a notifier until `stop` is ready or the feed closes, and then for at most [`Options::drain`]: it
/// still stores what stands in the feed and sends what is due, unless the endpoint does not answer.
///
/// Nothing ends it early: a queue that cannot be written is tried again, while the feed and with it the
/// follower wait.
pub async fn run<S: Sender, O: Observer>(
    wiring: Wiring<S, O>,
    mut feed: mpsc::Receiver<Batch>,
    stop: impl Future<Output = ()> + Send,
) {
    let mut stop = pin!(stop);
    let clock = wiring.clock;
    let mut task = Task::new(wiring);
    loop {
        task.work().await;
        if task.is_done() {
            break;
        }
        let wake = task.poll_timeout();
        tokio::select! {
            batch = feed.recv(), if task.takes_more() => task.handle_batch(batch),
            landed = task.flights.landed() => task.handle_landed(landed),
            () = clock.sleep_until(wake) => {}
            () = &mut stop, if task.ends_at.is_none() => {
                feed.close();
                task.handle_stop();
            }
        }
    }
    task.finish().await;
}

struct Task<S, O> {
    wiring: Wiring<S, O>,
    intake: Intake,
    open: bool,
    gate: Gate,
    flights: Flights,
    /// Letters under way or landed and not recorded.
    airborne: BTreeSet<u64>,
    landed: Vec<(Flight, Verdict)>,
    /// When the queue is to be asked for letters; `None`: nothing waits.
    look_at: Option<IngestTime>,
    /// Failed calls to the queue in a row, and when to call again.
    storage: Option<(u32, IngestTime)>,
    ends_at: Option<IngestTime>,
    report: Report<O>,
}

impl<S: Sender, O: Observer> Task<S, O> {
    fn new(wiring: Wiring<S, O>) -> Self {
        let look_at = Some(wiring.clock.now());
        let (name, kind) = (wiring.options.name.clone(), wiring.sender.kind());
        let report = Report::new(name, kind, Arc::clone(&wiring.observer));
        Self {
            wiring,
            intake: Intake::default(),
            open: true,
            gate: Gate::default(),
            flights: Flights::default(),
            airborne: BTreeSet::new(),
            landed: Vec::new(),
            look_at,
            storage: None,
            ends_at: None,
            report,
        }
    }

    fn now(&self) -> IngestTime {
        self.wiring.clock.now()
    }

    // What happened.

    fn handle_batch(&mut self, batch: Option<Batch>) {
        match batch {
            Some(batch) => {
                self.intake.handle_batch(self.now(), batch, self.wiring.options.min_severity)
            }
            None => {
                self.open = false;
                self.handle_stop();
            }
        }
    }

    fn handle_stop(&mut self) {
        let wait = self.wiring.options.drain.saturating_sub(CLOSE);
        self.ends_at.get_or_insert(self.wiring.clock.now().plus(wait));
    }

    fn handle_landed(&mut self, landed: Vec<(Flight, Answer)>) {
        let now = self.now();
        for (flight, answer) in landed {
            let was_failing = self.gate.is_failing();
            self.gate.handle_answer(now, flight.began_at, &answer, fastrand::u8(..));
            self.report.answer(was_failing, &answer);
            let verdict = judge(now, flight.attempt, answer, fastrand::u8(..));
            self.landed.push((flight, verdict));
        }
    }

    // What to do.

    async fn work(&mut self) {
        if self.storage.is_some_and(|(_, until)| self.now() < until) {
            return;
        }
        match self.work_through().await {
            Ok(()) => self.storage = None,
            Err(error) => self.handle_storage_error(&error),
        }
    }

    /// What is new goes out before what landed is recorded: an alert does not wait for the fsync of another.
    async fn work_through(&mut self) -> Result<(), QueueError> {
        self.take_in().await?;
        self.launch().await?;
        self.settle().await
    }

    /// Records what landed; only then is it counted and may its letter be sent again. Where the endpoint
    /// has just shown that it does not answer, everything that is too old fails with it.
    async fn settle(&mut self) -> Result<(), QueueError> {
        if self.landed.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let settlements: Vec<_> = self
            .landed
            .iter()
            .map(|(flight, verdict)| Settlement { key: flight.key, verdict: verdict.clone() })
            .collect();
        self.call(move |queue| queue.settle(&settlements, now)).await?;
        let mut unanswered = None;
        for (flight, verdict) in std::mem::take(&mut self.landed) {
            self.airborne.remove(&flight.key);
            match verdict {
                Verdict::Delivered { .. } => self.report.delivered(),
                Verdict::Waiting { reason, .. } => {
                    self.report.retried();
                    unanswered = Some(expired(&reason));
                }
                Verdict::Failed { reason } => {
                    self.report.failed(now, &[flight.alert], &reason);
                    unanswered =
                        Some(reason).filter(|r| r.code == ReasonCode::Expired).or(unanswered);
                }
            }
        }
        self.look_at = Some(now);
        if let Some(reason) = unanswered {
            self.give_up(now.minus(GIVE_UP_AFTER), EXPIRE_MAX, reason).await?;
        }
        Ok(())
    }

    /// Stores what the follower handed over.
    async fn take_in(&mut self) -> Result<(), QueueError> {
        let mut made_room = false;
        while let Some(batch) = self.intake.front().cloned() {
            let now = self.now();
            let accepted =
                self.call(move |queue| queue.accept(&batch.notices, batch.cursor, now)).await?;
            match accepted {
                Acceptance::Accepted { .. } => {
                    self.intake.handle_accepted(!made_room);
                    self.look_at = Some(now);
                }
                Acceptance::Full { missing } => {
                    if !self.intake.is_full() {
                        self.report.full();
                    }
                    if !self.intake.handle_full(now, self.wiring.options.patience) {
                        break;
                    }
                    let most = usize::try_from(missing).unwrap_or(usize::MAX);
                    let reason = Reason::new(ReasonCode::QueueFull, "");
                    let given_up =
                        self.give_up(IngestTime::from_nanos(i64::MAX), most, reason).await?;
                    if given_up == 0 {
                        break; // All that wait are under way; their landing makes room.
                    }
                    made_room = true;
                }
            }
        }
        let due = self.intake.poll_timeout(self.wiring.options.patience);
        if due.is_some_and(|due| due <= self.now()) {
            self.save_idle_cursor().await?;
        }
        Ok(())
    }

    async fn save_idle_cursor(&mut self) -> Result<(), QueueError> {
        let Some(cursor) = self.intake.idle() else { return Ok(()) };
        let now = self.now();
        self.call(move |queue| queue.accept(&[], Some(cursor), now)).await?;
        self.intake.handle_idle_saved();
        Ok(())
    }

    async fn give_up(
        &mut self,
        until: IngestTime,
        most: usize,
        reason: Reason,
    ) -> Result<usize, QueueError> {
        let (now, airborne, why) = (self.now(), self.airborne.clone(), reason.clone());
        let given_up = self
            .call(move |queue| {
                queue.give_up(&GiveUp { until, most, airborne: &airborne, reason: why }, now)
            })
            .await?;
        self.report.failed(now, &given_up, &reason);
        Ok(given_up.len())
    }

    async fn launch(&mut self) -> Result<(), QueueError> {
        let now = self.now();
        let free = self.free_slots(now);
        if free == 0 || self.look_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        let airborne = self.airborne.clone();
        let due = self.call(move |queue| queue.due(now, free, &airborne)).await?;
        self.look_at = due.next_at;
        for letter in due.letters {
            self.airborne.insert(letter.key);
            self.flights.launch(&self.wiring.sender, letter, now);
        }
        Ok(())
    }

    fn free_slots(&self, now: IngestTime) -> usize {
        if self.ends_at.is_some() && self.gate.is_failing() {
            return 0; // The end does not wait for a dead endpoint.
        }
        self.gate
            .slots(now, self.wiring.options.in_flight_max.max(1))
            .saturating_sub(self.flights.len())
    }

    /// Records what can still be recorded, saves the cursor, closes the connection.
    async fn finish(mut self) {
        self.flights.abort().await;
        let settled = self.settle().await;
        let saved = self.save_idle_cursor().await;
        if let Err(error) = settled.and(saved) {
            self.handle_storage_error(&error);
        }
        if tokio::time::timeout(CLOSE, self.wiring.sender.close()).await.is_err() {
            self.report.close_late();
        }
    }

    async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Queue) -> Result<R, QueueError> + Send + 'static,
    ) -> Result<R, QueueError> {
        let queue = Arc::clone(&self.wiring.queue);
        tokio::task::spawn_blocking(move || work(&queue))
            .await
            .unwrap_or(Err(QueueError::Interrupted))
    }

    // When to wake, and whether to go on.

    fn takes_more(&self) -> bool {
        self.open && self.intake.has_room()
    }

    fn poll_timeout(&self) -> Option<IngestTime> {
        let now = self.now();
        if let Some((_, until)) = self.storage.filter(|(_, until)| *until > now) {
            return Some(self.ends_at.map_or(until, |end| end.min(until)));
        }
        let opens_at = self.gate.opens_at().unwrap_or(now).max(now);
        let send_at =
            self.look_at.filter(|_| self.free_slots(opens_at) > 0).map(|at| at.max(opens_at));
        // Past its time, making room waits for a landing, not for the clock.
        let intake_at =
            self.intake.poll_timeout(self.wiring.options.patience).filter(|at| *at > now);
        [send_at, intake_at, self.ends_at].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        let Some(ends_at) = self.ends_at else { return false };
        let now = self.now();
        let idle = self.flights.len() == 0 && self.landed.is_empty();
        let stored = !self.open && (self.intake.front().is_none() || self.intake.is_full());
        let sent = self.gate.is_failing() || self.look_at.is_none_or(|at| at > now);
        now >= ends_at || (idle && stored && sent && self.storage.is_none())
    }

    fn handle_storage_error(&mut self, error: &QueueError) {
        let failures = self.storage.map_or(1, |(failures, _)| failures.saturating_add(1));
        self.storage = Some((failures, self.now().plus(backoff(failures, fastrand::u8(..)))));
        if failures == 1 {
            self.report.storage(error);
        }
    }
}
