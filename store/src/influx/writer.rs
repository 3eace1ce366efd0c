//! Writes batches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use telemetry::time::{EventTime, parse_rfc3339};

use super::bucket::{self, BucketState};
use crate::answer::names_points;
use crate::isolate::{Isolation, Verdict};
use crate::link::{Ask, Link};
use crate::readiness::PROBE_TIMEOUT;
use crate::retention::lower_bound;
use crate::window::{ReplayWindow, RestartWatch};
use crate::{
    Batch, DETAIL_MAX, Health, ISOLATION_REQUESTS_MAX, Outcome, Place, Rejected, Remedy,
    WriteError, cut,
};

/// Writes to one bucket. One call of `write` at a time keeps the order of the outbox; more do no harm.
#[derive(Debug)]
pub struct InfluxWriter {
    link: Arc<Link>,
    memory: Mutex<Memory>,
}

/// What it remembers of the store between calls.
#[derive(Debug)]
struct Memory {
    window: ReplayWindow,
    watch: RestartWatch,
}

impl InfluxWriter {
    pub(super) fn new(link: Arc<Link>, replay_window: Duration, replay_bytes_max: usize) -> Self {
        let window = ReplayWindow::new(replay_window, replay_bytes_max);
        Self { link, memory: Mutex::new(Memory { window, watch: RestartWatch::default() }) }
    }

    /// Returns where it writes to.
    #[must_use]
    pub fn place(&self) -> &Place {
        self.link.place()
    }

    /// Returns how many batches left the replay window before their time, because of its bound in bytes.
    #[must_use]
    pub fn replay_overflowed(&self) -> u64 {
        self.memory().window.overflowed()
    }

    /// Writes a batch until each entry is stored or rejected. Sends the replay window first where the
    /// store may have lost it, creates the bucket where it is missing, splits what is too large.
    ///
    /// # Errors
    ///
    /// [`WriteError`] with a remedy of `Backoff`, `After` or `Halt`: nothing is settled, although points
    /// may be stored already; write the same batch again.
    pub async fn write(&self, batch: &Batch) -> Result<Outcome, WriteError> {
        let replayed = self.settle().await?;
        let (rejected, requests) = match self.deliver(batch.body()).await {
            Ok(()) => (Vec::new(), 1),
            Err(error) => self.isolate(batch, error).await?,
        };
        self.remember(batch, &rejected);
        Ok(Outcome {
            stored: batch.len().saturating_sub(rejected.len()),
            rejected,
            requests,
            replayed,
        })
    }

    /// Sends the replay window again where the store may have lost it: see [`crate::Store::settle`].
    ///
    /// # Errors
    ///
    /// [`WriteError`]: what is in doubt stays in doubt.
    pub async fn settle(&self) -> Result<usize, WriteError> {
        if self.memory().watch.is_due(self.link.elapsed()) {
            self.look_for_restart().await?;
        }
        let again = self.memory().window.poll_replay();
        for body in &again {
            match self.deliver(body).await {
                Ok(()) => {}
                // It was taken once: by now it may be too old, or the field of another type.
                Err(error) if error.remedy() == Remedy::Isolate => {
                    tracing::warn!(%error, "the store no longer takes all it had acknowledged");
                }
                Err(error) => return Err(error),
            }
        }
        if !again.is_empty() {
            self.memory().window.handle_replayed(self.link.elapsed());
            tracing::info!(
                batches = again.len(),
                "sent again what the store had acknowledged last"
            );
        }
        Ok(again.len())
    }

    /// Asks whether the store would take data now: health, start time, token, bucket, which it creates
    /// where it is missing and the token may. At most [`PROBE_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`WriteError`] says why not.
    pub async fn probe(&self) -> Result<Health, WriteError> {
        let asked = async {
            let (health, bucket) = self.look().await?;
            if bucket == BucketState::Missing {
                bucket::create(&self.link).await?;
            }
            Ok(health)
        };
        tokio::time::timeout(PROBE_TIMEOUT, asked).await.unwrap_or(Err(WriteError::TimedOut))
    }

    /// Asks the same and changes nothing, for `check` and `doctor`. At most [`PROBE_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`WriteError`] says why the store would not take data.
    pub async fn inspect(&self) -> Result<(Health, BucketState), WriteError> {
        tokio::time::timeout(PROBE_TIMEOUT, self.look()).await.unwrap_or(Err(WriteError::TimedOut))
    }

    async fn look(&self) -> Result<(Health, BucketState), WriteError> {
        let version = self.version().await?;
        let started = self.look_for_restart().await?;
        Ok((Health { version, started }, bucket::look_up(&self.link).await?))
    }

    /// Looks for the bucket, and creates it where it is missing and the token may.
    ///
    /// # Errors
    ///
    /// [`WriteError::BucketMissing`] where the token may not; else as for writing.
    pub async fn ensure_bucket(&self) -> Result<BucketState, WriteError> {
        let state = bucket::look_up(&self.link).await?;
        if state == BucketState::Missing {
            bucket::create(&self.link).await?;
            return Ok(BucketState::Created);
        }
        Ok(state)
    }

    /// Writes one body; creates the bucket first where that is what is missing.
    async fn deliver(&self, body: &Bytes) -> Result<(), WriteError> {
        let mut written = self.link.post_lines(body).await;
        if matches!(written, Err(WriteError::NoBucket)) {
            bucket::create(&self.link).await?;
            written = self.link.post_lines(body).await;
        }
        if matches!(written, Err(WriteError::NoBucket)) {
            return Err(WriteError::BucketMissing { message: "still missing".into() });
        }
        if let Err(error) = &written {
            self.note(error);
        }
        written
    }

    /// Finds what the store does not take; returns it and the number of requests, the first included.
    async fn isolate(
        &self,
        batch: &Batch,
        first: WriteError,
    ) -> Result<(Vec<Rejected>, usize), WriteError> {
        let mut oldest = None;
        if let WriteError::Refused { status, message, store_nanos } = &first {
            if !names_points(*status, message) {
                self.check_request().await?;
            }
            oldest = self.retention_bound(store_nanos.map(EventTime::from_nanos)).await;
        }
        let mut isolation = Isolation::new(batch, oldest, ISOLATION_REQUESTS_MAX);
        isolation.handle_first(&verdict(Err(first))?);
        let mut requests = 1;
        while let Some(body) = isolation.poll_part() {
            requests += 1;
            isolation.handle_answer(&verdict(self.deliver(&body).await)?);
        }
        Ok((isolation.finish(), requests))
    }

    /// Tells wrong points from a wrong request: an empty body has no wrong point.
    async fn check_request(&self) -> Result<(), WriteError> {
        match self.deliver(&Bytes::new()).await {
            Err(WriteError::Refused { status, message, .. }) => Err(WriteError::RequestRefused {
                status,
                message: cut(&message, DETAIL_MAX).into(),
            }),
            other => other,
        }
    }

    /// Returns the time before which no point is taken, where the token may see it.
    async fn retention_bound(&self, store_now: Option<EventTime>) -> Option<EventTime> {
        let store_now = store_now?;
        match bucket::look_up(&self.link).await {
            Ok(BucketState::Present { retention }) => Some(lower_bound(store_now, retention?)),
            Ok(BucketState::Created | BucketState::Unknown | BucketState::Missing) | Err(_) => None,
        }
    }

    /// Returns the version, from `/health`, or by `/ping` where there is no `/health`.
    async fn version(&self) -> Result<Option<String>, WriteError> {
        #[derive(Deserialize)]
        struct HealthBody {
            status: String,
            version: Option<String>,
        }
        let mut answer = self.link.ask(Ask::get("health", &[])).await?;
        if matches!(answer.status, 404 | 405) {
            answer = self.link.ask(Ask::get("ping", &[])).await?;
        }
        answer.judge(0, crate::link::now())?;
        match serde_json::from_slice::<HealthBody>(&answer.body) {
            Ok(health) if health.status != "pass" => {
                let message = cut(&answer.message(), DETAIL_MAX).into();
                Err(WriteError::Failed { status: answer.status, message })
            }
            Ok(health) => Ok(health.version),
            Err(_) => Ok(None),
        }
    }

    /// Looks at the start time of the store's process, and doubts what it acknowledged when it changed.
    async fn look_for_restart(&self) -> Result<Option<EventTime>, WriteError> {
        #[derive(Deserialize)]
        struct ReadyBody {
            started: String,
        }
        let answer = match self.link.ask_openly(Ask::get("ready", &[])).await {
            Ok(answer) => answer,
            Err(error) => {
                self.note(&error);
                return Err(error);
            }
        };
        let ready = serde_json::from_slice::<ReadyBody>(&answer.body).ok();
        let started = ready.and_then(|ready| parse_rfc3339(&ready.started));
        let mut memory = self.memory();
        if memory.watch.handle_started(self.link.elapsed(), started) {
            memory.window.handle_doubt();
        }
        Ok(started)
    }

    fn note(&self, error: &WriteError) {
        if error.lost_contact() {
            self.memory().window.handle_doubt();
        } else if matches!(error, WriteError::TimedOut) {
            self.memory().watch.handle_silence();
        }
    }

    fn remember(&self, batch: &Batch, rejected: &[Rejected]) {
        let body = if rejected.is_empty() {
            batch.body().clone()
        } else {
            let mut rejected = rejected.iter().map(|one| one.key).peekable();
            // Both are in the order of the batch.
            let stored = batch
                .keys()
                .iter()
                .enumerate()
                .filter(|(_, key)| rejected.next_if_eq(*key).is_none());
            batch.pick(stored.map(|(at, _)| at))
        };
        self.memory().window.handle_acked(self.link.elapsed(), body);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what an answer says about the points of its body.
///
/// # Errors
///
/// Every error that is not about them.
fn verdict(written: Result<(), WriteError>) -> Result<Verdict, WriteError> {
    match written {
        Ok(()) => Ok(Verdict::Taken),
        Err(WriteError::TooLarge { .. }) => Ok(Verdict::TooLarge),
        Err(WriteError::Refused { message, .. }) => Ok(Verdict::Refused(message.into())),
        Err(other) => Err(other),
    }
}
