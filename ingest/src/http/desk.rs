//! The seam: what the API asks of the running engine.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use journal::{ReadFrom, Reader};
use pipeline::view::{DeviceDetail, DeviceSummary};
use pipeline::{ActiveConfig, Balance, Reason};
use rules::{Alert, AlertState};
use store::RangeQuery;
use telemetry::text::Text;
use telemetry::time::{EventTime, IngestTime};

use crate::listener::CommandError;
use crate::meter::Totals;

/// One thing that is wrong with the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// Which part: `store`, `mqtt`, `listener`, `journal`, `recovering` or `disk`; worth saying: `clock`, `damage`.
    pub part: &'static str,
    /// Whether the service is not ready because of it, rather than it being only worth saying.
    pub blocks: bool,
    /// What happened, with kind and URL.
    pub message: Text,
    /// What a person can do about it.
    pub remedy: Text,
}

/// Why an answer cannot be had. A person may try again later, or ask for less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// Whether the question asks for too much, rather than the answer being out of reach.
    pub is_too_much: bool,
    /// What happened.
    pub message: Text,
}

/// The balance, and of which time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceAt {
    /// When the cut was made.
    pub as_of: IngestTime,
    /// The cut.
    pub balance: Balance,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only those of this reason; `None`: any.
    pub reason: Option<Reason>,
    /// Only those after this letter, position and number; it need not be open any more.
    pub after: Option<(u64, u32)>,
    /// At most this many.
    pub limit: usize,
}

/// An open dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterLine {
    /// Position and number: its place in the order of the list.
    pub key: (u64, u32),
    /// Its JSON line without a line end, from `Letter::write_json`.
    pub json: String,
}

/// Which dead letters to try again: those that fit all that is given. Nothing given: every open one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterChoice {
    /// Only those of this reason.
    pub reason: Option<Reason>,
    /// Only this one.
    pub id: Option<String>,
}

/// What the API asks of the engine. Every answer is a copy: no lock is held while it is sent.
///
/// A call may be dropped at any await, because the client has gone away or its time is over; only
/// [`Desk::redrive`] always runs to its end.
pub trait Desk: Send + Sync + 'static {
    /// Makes the balance of one cut. `None` while the pipeline recovers.
    fn balance(&self) -> impl Future<Output = Option<BalanceAt>> + Send;

    /// Returns what keeps the service from being ready, in a fixed order; empty: it is ready. Never waits.
    fn readiness(&self) -> Vec<NotReady>;

    /// Returns every device, ordered by tenant and name.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: the pipeline has ended; nothing is known, which is not the same as nothing being there.
    fn devices(&self) -> impl Future<Output = Result<Vec<DeviceSummary>, Unavailable>> + Send;

    /// Returns a device with its newest values. `None`: it was never heard.
    ///
    /// # Errors
    ///
    /// As [`Desk::devices`].
    fn device(
        &self,
        tenant: String,
        device: String,
    ) -> impl Future<Output = Result<Option<DeviceDetail>, Unavailable>> + Send;

    /// Queues a command for a device; returns how many of its sessions take it.
    ///
    /// # Errors
    ///
    /// Why no session takes it; `None`: devices do not connect to this service.
    fn command(
        &self,
        tenant: &str,
        device: &str,
        payload: Bytes,
    ) -> Result<usize, Option<CommandError>>;

    /// Returns the configuration in force: registry, profiles, rules. `None`: none is known yet.
    ///
    /// # Errors
    ///
    /// As [`Desk::devices`].
    fn config(&self)
    -> impl Future<Output = Result<Option<Arc<ActiveConfig>>, Unavailable>> + Send;

    /// Returns alerts with those about Tianlu itself; `None`: the firing ones, then those resolved in the
    /// last 24 hours.
    ///
    /// # Errors
    ///
    /// As [`Desk::devices`].
    fn alerts(
        &self,
        state: Option<AlertState>,
    ) -> impl Future<Output = Result<Vec<Alert>, Unavailable>> + Send;

    /// Returns open dead letters, oldest first; fewer than the limit only where no more fit.
    ///
    /// # Errors
    ///
    /// As [`Desk::devices`].
    fn dead_letters(
        &self,
        filter: LetterFilter,
    ) -> impl Future<Output = Result<Vec<LetterLine>, Unavailable>> + Send;

    /// Returns the JSON line of an open dead letter.
    ///
    /// # Errors
    ///
    /// As [`Desk::devices`].
    fn dead_letter(
        &self,
        id: String,
    ) -> impl Future<Output = Result<Option<String>, Unavailable>> + Send;

    /// Tries dead letters again and returns how many; answers when their records are durable (**P2**).
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: none was tried again.
    fn redrive(&self, which: LetterChoice)
    -> impl Future<Output = Result<u64, Unavailable>> + Send;

    /// Reads stored values, in order of time.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: the store does not answer, or the answer would be too large.
    fn range(
        &self,
        query: RangeQuery,
    ) -> impl Future<Output = Result<Vec<(EventTime, f64)>, Unavailable>> + Send;

    /// Opens a reader of the outbox. `None`: there is none to read just now.
    fn outbox(&self, from: ReadFrom) -> impl Future<Output = Option<Reader>> + Send;

    /// Returns the totals that `/metrics` shows.
    fn totals(&self) -> impl Future<Output = Totals> + Send;
}
