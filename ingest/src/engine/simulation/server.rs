//! A store that can be slow, busy, away, half-hearted, picky; and that says 204 before it has written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use journal::sim::SimDisk;
use store::window::{ReplayWindow, RestartWatch};
use store::{
    Batch, Health, Outcome, RangeQuery, ReadError, RejectReason, Rejected, Store, WriteError,
};
use telemetry::time::EventTime;
use tokio::time::Instant;

use super::clock;
use super::line::{Place, Values, read, tag};
use super::step::{Mode, Plan};

/// How long the store keeps in memory what it has acknowledged: what VictoriaMetrics loses at most.
const UNWRITTEN: Duration = Duration::from_secs(7);

/// The store's process and its files; they outlive ours.
#[derive(Debug)]
pub(super) struct Server {
    mode: Mode,
    away_until: Instant,
    /// Which run of the store's process this is.
    run: i64,
    /// Every line taken, in order.
    writes: Vec<Write>,
    conflicting: Option<u64>,
    retention_s: Option<i64>,
    is_picky: bool,
    /// Points that were ever refused.
    refused: BTreeSet<Place>,
}

/// A line that was taken.
#[derive(Debug)]
struct Write {
    at: Instant,
    place: Place,
    values: Values,
    is_lost: bool,
    is_sent_again: bool,
}

/// The store as our process sees it.
pub(super) struct SimStore {
    server: Arc<Mutex<Server>>,
    disk: SimDisk,
    began: Instant,
    memory: Mutex<(ReplayWindow, RestartWatch)>,
    /// A mistake: says that it is done before the store has anything.
    pub(super) settles_early: bool,
}

impl Server {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            mode: Mode::Well,
            away_until: Instant::now(),
            run: 1,
            writes: Vec::new(),
            conflicting: None,
            retention_s: plan.retention_s,
            is_picky: plan.is_picky,
            refused: BTreeSet::new(),
        }
    }

    pub(super) const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    pub(super) const fn set_conflict(&mut self, device: Option<u64>) {
        self.conflicting = device;
    }

    /// Takes everything from now on.
    pub(super) fn heal(&mut self) {
        (self.mode, self.conflicting) = (Mode::Well, None);
        self.away_until = Instant::now();
    }

    /// Dies with what it has not written.
    pub(super) fn kill(&mut self, away: Duration) {
        for write in &mut self.writes {
            write.is_lost |= write.at.elapsed() < UNWRITTEN;
        }
        self.run += 1;
        self.away_until = Instant::now() + away;
    }

    /// Keeps what our process can no longer send again: its replay window ends with it. What both lose within ten
    /// seconds is lost, and not shown here.
    pub(super) fn spare(&mut self) {
        for write in &mut self.writes {
            write.is_lost &= write.is_sent_again;
            write.at -= UNWRITTEN;
        }
    }

    /// Returns everything it holds.
    pub(super) fn content(&self) -> BTreeMap<Place, Values> {
        let mut content = BTreeMap::<Place, Values>::new();
        for write in self.writes.iter().filter(|write| !write.is_lost) {
            content.entry(write.place.clone()).or_default().extend(write.values.clone());
        }
        content
    }

    pub(super) fn was_refused(&self, place: &Place) -> bool {
        self.refused.contains(place)
    }

    pub(super) const fn refused(&self) -> &BTreeSet<Place> {
        &self.refused
    }

    /// Takes or refuses one line.
    fn take(&mut self, line: &[u8]) -> Result<(), RejectReason> {
        let (place, values) = read(line);
        let refusal = self.refusal(&place, line);
        if let Some(reason) = refusal {
            self.refused.insert(place);
            return Err(reason);
        }
        self.keep(place, values);
        Ok(())
    }

    fn keep(&mut self, place: Place, values: Values) {
        let at = Instant::now();
        self.writes.push(Write { at, place, values, is_lost: false, is_sent_again: false });
    }

    /// Takes what it had taken before: it finds nothing wrong with it now either.
    fn take_again(&mut self, line: &[u8]) {
        let (place, values) = read(line);
        self.keep(place, values);
    }

    /// Notes that everything lost so far has come again.
    fn end_replay(&mut self) {
        for write in &mut self.writes {
            write.is_sent_again |= write.is_lost;
        }
    }

    fn refusal(&self, (series, at): &Place, line: &[u8]) -> Option<RejectReason> {
        let device = tag(series, "device");
        if self.conflicting.is_some_and(|known| device == format!("d{known}")) {
            return Some(RejectReason::TypeConflict);
        }
        let oldest = self.retention_s.map(|keeps| clock::now() - keeps * 1_000_000_000);
        if oldest.is_some_and(|oldest| *at < oldest) {
            return Some(RejectReason::OutsideRetention);
        }
        (self.is_picky && telemetry::hash::hash64(line).is_multiple_of(100))
            .then_some(RejectReason::StoreRejected)
    }
}

impl SimStore {
    pub(super) fn new(server: Arc<Mutex<Server>>, disk: SimDisk) -> Self {
        let window = ReplayWindow::new(Duration::from_secs(10), 32 << 20);
        Self {
            server,
            disk,
            began: Instant::now(),
            memory: Mutex::new((window, RestartWatch::default())),
            settles_early: false,
        }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    fn memory(&self) -> MutexGuard<'_, (ReplayWindow, RestartWatch)> {
        self.memory.lock().unwrap()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// One request: waits as long as it takes, and fails as the mode says.
    async fn ask(&self) -> Result<(), WriteError> {
        let (mode, run) = {
            let server = self.server();
            (server.mode, server.run)
        };
        let wait = match mode {
            Mode::Slow(ms) => Duration::from_millis(ms),
            Mode::Hanging => Duration::from_secs(30),
            _ => Duration::from_millis(1),
        };
        if self.is_away(run) {
            return Err(failed(502)).inspect_err(|error| self.note(error));
        }
        tokio::time::sleep(wait).await;
        let answer = match mode {
            Mode::Hanging => Err(WriteError::TimedOut),
            Mode::Away => Err(failed(502)),
            _ if self.is_away(run) => Err(failed(502)),
            Mode::Busy(seconds) => Err(WriteError::Busy {
                status: 503,
                retry_after: (seconds > 0).then(|| Duration::from_secs(seconds)),
            }),
            Mode::Failing => Err(failed(500)),
            Mode::Unauthorized => Err(WriteError::Unauthorized),
            Mode::Well | Mode::Slow(_) | Mode::Halfway | Mode::Unheard => Ok(()),
        };
        answer.inspect_err(|error| self.note(error))
    }

    /// Whether there is nobody to answer, or another process than the one asked.
    fn is_away(&self, run: i64) -> bool {
        let server = self.server();
        server.away_until > Instant::now() || server.run != run || self.disk.is_stopped()
    }

    /// As the writer of InfluxDB does.
    fn note(&self, error: &WriteError) {
        match error {
            WriteError::Failed { status: 502, .. } => self.memory().0.handle_doubt(),
            WriteError::TimedOut => self.memory().1.handle_silence(),
            _ => {}
        }
    }

    async fn look_for_restart(&self) -> Result<(), WriteError> {
        self.ask().await?;
        let started = EventTime::from_nanos(self.server().run);
        let now = self.now();
        let mut memory = self.memory();
        if memory.1.handle_started(now, Some(started)) {
            memory.0.handle_doubt();
        }
        Ok(())
    }
}

fn failed(status: u16) -> WriteError {
    WriteError::Failed { status, message: "simulated".into() }
}

impl Store for SimStore {
    async fn write(&self, batch: &Batch) -> Result<Outcome, WriteError> {
        if self.settles_early {
            let taken = self.ask().await.is_ok();
            for at in 0..batch.len() {
                if taken {
                    let _refused = self.server().take(batch.line(at)).is_err();
                }
            }
            return Ok(Outcome { stored: batch.len(), ..Outcome::default() });
        }
        let replayed = self.settle().await?;
        self.ask().await?;
        let mut server = self.server();
        let mode = server.mode;
        let most = if mode == Mode::Halfway { batch.len() / 2 } else { batch.len() };
        let (mut rejected, mut body) = (Vec::new(), Vec::new());
        for (at, key) in batch.keys().iter().enumerate().take(most) {
            match server.take(batch.line(at)) {
                Ok(()) => {
                    body.extend_from_slice(batch.line(at));
                    body.push(b'\n');
                }
                Err(reason) => {
                    rejected.push(Rejected { key: *key, reason, detail: "simulated".into() });
                }
            }
        }
        drop(server);
        if matches!(mode, Mode::Halfway | Mode::Unheard) {
            let error = failed(if mode == Mode::Halfway { 500 } else { 504 });
            self.note(&failed(502));
            return Err(error);
        }
        let now = self.now();
        self.memory().0.handle_acked(now, Bytes::from(body));
        let stored = batch.len() - rejected.len();
        Ok(Outcome { stored, rejected, requests: 1, replayed })
    }

    async fn probe(&self) -> Result<Health, WriteError> {
        let asked = tokio::time::timeout(Duration::from_millis(2_500), self.look_for_restart());
        asked.await.unwrap_or(Err(WriteError::TimedOut))?;
        Ok(Health::default())
    }

    async fn settle(&self) -> Result<usize, WriteError> {
        let now = self.now();
        let is_due = self.memory().1.is_due(now);
        if is_due {
            self.look_for_restart().await?;
        }
        let again = self.memory().0.poll_replay();
        for body in &again {
            self.ask().await?;
            let mut server = self.server();
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                server.take_again(line);
            }
        }
        if !again.is_empty() {
            let now = self.now();
            self.memory().0.handle_replayed(now);
            self.server().end_replay();
        }
        Ok(again.len())
    }

    async fn range(&self, _query: &RangeQuery) -> Result<Vec<(EventTime, f64)>, ReadError> {
        Ok(Vec::new())
    }

    async fn latest(&self, _query: &RangeQuery) -> Result<Option<(EventTime, f64)>, ReadError> {
        Ok(None)
    }
}
