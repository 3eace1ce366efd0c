//! Where questions about the running program are answered, and orders of people taken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use journal::{Published, ReadFrom, Reader};
use pipeline::letter::{Letter, parse_letter_id};
use pipeline::record::{Record, Redrive};
use pipeline::view::{DeviceDetail, DeviceSummary};
use pipeline::{ActiveConfig, Balance, Pipeline};
use rules::{Alert, AlertState};
use store::RangeQuery;
use telemetry::text::say;
use telemetry::time::{EventTime, IngestTime};
use tokio::sync::{mpsc, oneshot};

use crate::engine::clock::wall_nanos;
use crate::engine::driver::{Question, Shared};
use crate::engine::health::{Health, Part, Trouble};
use crate::engine::orders::{MakeRecord, Orders, Space};
use crate::engine::own_alerts;
use crate::engine::past::Past;
use crate::engine::store_sink::StoreView;
use crate::http::{self, BalanceAt, LetterChoice, LetterFilter, LetterLine, NotReady, Unavailable};
use crate::listener::{CommandError, Commands, Credentials};
use crate::meter::{Counted, Totals};
use crate::source::Acknowledge;

/// Most letters tried again with one order, so that the journal's writer is not held up.
const REDRIVE_MAX: usize = 10_000;

/// The running program, as its users see it.
pub struct Desk {
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) orders: Orders,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<StoreView>,
    pub(crate) journal_end: Published,
    pub(crate) space: Arc<Space>,
    pub(crate) health: Arc<Health>,
    pub(crate) acks: Vec<Arc<dyn Acknowledge>>,
    /// The store, for reading.
    pub(crate) past: Past,
    /// What sends commands to devices, where they connect to us.
    pub(crate) commands: Option<Commands>,
    /// Alerts about the program itself.
    pub(crate) own_alerts: Mutex<Vec<Alert>>,
    /// Position that the pipeline must reach to have passed every cursor.
    pub(crate) recovered_at: u64,
    pub(crate) has_recovered: AtomicBool,
    /// The journal's end at the start: before the pipeline is there, totals are lower than those shown before.
    pub(crate) counts_from: u64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("recovered_at", &self.recovered_at).finish_non_exhaustive()
    }
}

impl Desk {
    /// Asks the pipeline between two of its turns. `None`: it has ended, as it has at the end of the program while
    /// HTTP still answers: that must never look like an empty pipeline.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Pipeline) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let ask: Question = Box::new(move |pipeline, _| {
            if reply.send(question(pipeline)).is_err() {
                tracing::debug!("nobody waits for the answer any more");
            }
        });
        self.questions.send(ask).await.ok()?;
        self.shared.wake.wake();
        answer.await.ok()
    }

    /// Returns whether the pipeline has still to pass a cursor after the start.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        if self.has_recovered.load(Ordering::Acquire) {
            return false;
        }
        let recovered = self.shared.cut().position >= self.recovered_at;
        if recovered {
            self.has_recovered.store(true, Ordering::Release);
            self.health.clear(Part::Recovering, "start");
        }
        !recovered
    }

    /// Waits until the pipeline has applied every durable record; returns its position.
    pub async fn derived_all(&self) -> u64 {
        self.applied(self.journal_end.end().position).await;
        self.shared.cut().position
    }

    /// Returns the health.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Reads one cut. The order matters: what is read first is furthest downstream, so nothing is counted twice.
    fn counted(&self) -> Counted {
        let store = self.store.cursor().totals;
        let account = self.shared.cut().account;
        let received = self.journal_end.end().ordinal.max(account.uplink_ordinal);
        Counted { store, account, received }
    }

    /// Returns how far the pipeline is behind the journal, in journal time.
    fn lag(&self) -> Duration {
        let cut = self.shared.cut();
        if self.journal_end.end().position <= cut.position {
            return Duration::ZERO;
        }
        Duration::from_nanos(u64::try_from(wall_nanos().saturating_sub(cut.now_nanos)).unwrap_or(0))
    }

    /// Has the listener let in devices by these credentials from now on, where it let them in by some before.
    pub fn set_device_credentials(&self, credentials: Option<Credentials>) {
        if let Some(commands) = &self.commands {
            commands.set_credentials(credentials);
        }
    }

    /// Returns the alerts about the program itself that are listed, the newest first.
    fn own_alerts(&self) -> Vec<Alert> {
        let mut listed = self.own_alerts.lock().unwrap_or_else(PoisonError::into_inner);
        own_alerts::forget_old(&mut listed, IngestTime::from_nanos(wall_nanos()));
        listed.clone()
    }

    /// Waits until the pipeline has applied a position.
    async fn applied(&self, position: u64) {
        while self.shared.cut().position < position && self.ask(|_| ()).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl http::Desk for Desk {
    async fn balance(&self) -> Option<BalanceAt> {
        if self.is_recovering() {
            return None;
        }
        let Counted { store, account, received } = self.counted();
        let as_of = IngestTime::from_nanos(wall_nanos());
        Some(BalanceAt { as_of, balance: Balance::of(&store, &account, received) })
    }

    fn readiness(&self) -> Vec<NotReady> {
        // Asking clears the trouble once it is over.
        let _recovering = self.is_recovering();
        let reason = |(part, _, trouble): (Part, String, Trouble)| NotReady {
            part: part.code(),
            blocks: part.blocks(),
            message: trouble.message,
            remedy: trouble.remedy,
        };
        self.health.troubles().into_iter().map(reason).collect()
    }

    async fn devices(&self) -> Result<Vec<DeviceSummary>, Unavailable> {
        self.ask(Pipeline::devices).await.ok_or_else(unavailable)
    }

    async fn device(
        &self,
        tenant: String,
        device: String,
    ) -> Result<Option<DeviceDetail>, Unavailable> {
        let detail = self.ask(move |pipeline| pipeline.device_detail(&tenant, &device));
        detail.await.ok_or_else(unavailable)
    }

    fn command(
        &self,
        tenant: &str,
        device: &str,
        payload: Bytes,
    ) -> Result<usize, Option<CommandError>> {
        let commands = self.commands.as_ref().ok_or(None)?;
        commands.send(tenant, device, payload).map(|queued| queued.receivers).map_err(Some)
    }

    async fn config(&self) -> Result<Option<Arc<ActiveConfig>>, Unavailable> {
        self.ask(|pipeline| pipeline.config().cloned()).await.ok_or_else(unavailable)
    }

    async fn alerts(&self, state: Option<AlertState>) -> Result<Vec<Alert>, Unavailable> {
        let own = self.own_alerts();
        let theirs = self.ask(|pipeline| {
            let firing: Vec<Alert> = pipeline.firing().into_iter().cloned().collect();
            (firing, pipeline.resolved().cloned().collect::<Vec<Alert>>())
        });
        let (firing, resolved) = theirs.await.ok_or_else(unavailable)?;
        let (own_firing, own_resolved): (Vec<Alert>, Vec<Alert>) =
            own.into_iter().partition(|alert| alert.state == AlertState::Firing);
        let all = own_firing.into_iter().chain(firing).chain(own_resolved).chain(resolved);
        Ok(all.filter(|alert| state.is_none_or(|state| alert.state == state)).collect())
    }

    async fn dead_letters(&self, filter: LetterFilter) -> Result<Vec<LetterLine>, Unavailable> {
        let lines = self.ask(move |pipeline| {
            let after = pipeline.letters().after(filter.after);
            let wanted =
                after.filter(|one| filter.reason.is_none_or(|reason| one.reason == reason));
            wanted
                .take(filter.limit)
                .map(|letter| LetterLine { key: letter.key, json: line(letter) })
                .collect()
        });
        lines.await.ok_or_else(unavailable)
    }

    async fn dead_letter(&self, id: String) -> Result<Option<String>, Unavailable> {
        let found = self.ask(move |pipeline| pipeline.letters().get(&id).map(line));
        found.await.ok_or_else(unavailable)
    }

    async fn redrive(&self, which: LetterChoice) -> Result<u64, Unavailable> {
        let found = self.ask(move |pipeline| {
            let open = pipeline
                .letters()
                .iter()
                .filter(|letter| is_chosen(&which, letter))
                .take(REDRIVE_MAX);
            let parts = |letter: &Letter| {
                (letter.id(), letter.redrive_element(), Arc::clone(&letter.origin))
            };
            open.map(parts).collect::<Vec<_>>()
        });
        let letters = found.await.ok_or_else(unavailable)?;
        let mut promised = Vec::with_capacity(letters.len());
        for (letter, element, origin) in letters {
            let make: MakeRecord = Box::new(move |at: IngestTime| {
                let (at_nanos, origin) = (at.as_nanos(), Arc::unwrap_or_clone(origin));
                Record::Redrive(Redrive { at_nanos, letter, element, origin })
            });
            promised.push(self.orders.order(make).await.map_err(|_| unavailable())?);
        }
        let (mut count, mut last) = (0, 0);
        for promise in promised {
            last = promise.durable().await.map_err(|_| unavailable())?;
            count += 1;
        }
        self.applied(last).await;
        Ok(count)
    }

    async fn range(&self, query: RangeQuery) -> Result<Vec<(EventTime, f64)>, Unavailable> {
        self.past.range(query).await
    }

    async fn outbox(&self, from: ReadFrom) -> Option<Reader> {
        let (reply, reader) = oneshot::channel();
        let ask: Question = Box::new(move |_, outbox| {
            if reply.send(outbox.reader(from)).is_err() {
                tracing::debug!("nobody waits for the reader any more");
            }
        });
        self.questions.send(ask).await.ok()?;
        self.shared.wake.wake();
        reader.await.ok()
    }

    async fn totals(&self) -> Totals {
        let unacked =
            self.acks.iter().map(|acks| u64::try_from(acks.unacked()).unwrap_or(u64::MAX));
        Totals {
            counted: (self.shared.cut().position >= self.counts_from).then(|| self.counted()),
            journal_bytes: self.space.journal.load(Ordering::Relaxed),
            outbox_bytes: self.space.outbox.load(Ordering::Relaxed),
            unacked: unacked.sum(),
            lag: self.lag(),
        }
    }
}

fn unavailable() -> Unavailable {
    Unavailable { is_too_much: false, message: say("ingest.desk.unavailable", &[]) }
}

fn is_chosen(choice: &LetterChoice, letter: &Letter) -> bool {
    choice.reason.is_none_or(|reason| letter.reason == reason)
        && choice.id.as_ref().is_none_or(|id| parse_letter_id(id) == Some(letter.key))
}

fn line(letter: &Letter) -> String {
    let mut bytes = Vec::new();
    letter.write_json(&mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}
