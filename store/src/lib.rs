//! The store: writes points to InfluxDB 2 and whatever speaks its line protocol, and reads them back.
//!
//! ```text
//! outbox ──entries──▶ BatchBuilder ──▶ Store::write ──┬─▶ Outcome: stored, or Rejected with its reason
//!                                        │            └─▶ WriteError ──remedy──▶ Backoff ──wait──▶ again
//!                                        └ replay window: the last seconds, again after a restart
//! probe ──▶ Readiness            range, latest ◀── Flux
//! ```
//!
//! - **S1 settled or kept**: an entry is settled only by an answer of the store. Any [`WriteError`] leaves
//!   the whole batch with the caller, who writes it again; writing again is harmless, since a point is
//!   its series and time.
//! - **S2 one point stops nobody**: points that the store does not take are found with at most
//!   [`ISOLATION_REQUESTS_MAX`] requests; the others are stored.
//! - **S3 bounded**: every request has a time-out, every answer and the replay window a size.
//! - **S4 one decision**: what an error means stands in [`WriteError::remedy`] alone.
//! - **S5 no secret leaves**: the token is in no text, log or `Debug`.
//!
//! Pure: [`batch`], [`delivery`], [`readiness`], [`window`], `answer`, `isolate`, `retention`, `flux`; time
//! comes in as an argument. Shell: `link` (HTTP), [`influx`].
//!
//! Does not: loop, sleep or move a cursor (the caller's), encode points (`telemetry`).

pub mod batch;
pub mod delivery;
pub mod history;
pub mod influx;
pub mod readiness;

mod answer;
mod error;
mod flux;
mod isolate;
mod link;
mod outcome;
mod retention;
mod token;
pub mod window;

use std::future::Future;
use std::time::Duration;

use telemetry::time::EventTime;

pub use batch::{Batch, BatchBuilder, BatchLimits, Entry, EntryKey};
pub use delivery::Backoff;
pub use error::{Place, ReadError, Remedy, WriteError};
pub use influx::{BucketState, Influx, InfluxOptions, InfluxReader, InfluxWriter, OpenError};
pub use link::install_tls_provider;
pub use outcome::{Outcome, RejectReason, Rejected};
pub use readiness::Readiness;

/// Longest wait that a `Retry-After` may ask for: that of the back-off, since until a write succeeds the store counts
/// as away, however well it is again.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How often a halted writer tries whether a person has repaired the cause.
pub const HALT_PROBE: Duration = Duration::from_secs(3);
/// Most requests that look for the points of one batch that are not taken.
pub const ISOLATION_REQUESTS_MAX: usize = 1_000;
/// Most bytes of the store's words in a dead letter or a message.
pub const DETAIL_MAX: usize = 400;
/// Most bytes read of an answer that is no query result.
pub const MESSAGE_MAX: usize = 64 << 10;
/// Most values that one query returns.
pub const POINTS_MAX: usize = 100_000;
/// Most bytes read of a query result.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;

/// What the store says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Its version; `None` where it tells none.
    pub version: Option<String>,
    /// When its process started; `None` where it tells nothing.
    pub started: Option<EventTime>,
}

/// Which values to read: one property of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// Only this measurement; `None`: any.
    pub measurement: Option<String>,
    /// Tag `tenant`.
    pub tenant: String,
    /// Tag `device`.
    pub device: String,
    /// Field: the property's name.
    pub property: String,
    /// First time, inclusive.
    pub from: EventTime,
    /// Last time, exclusive.
    pub to: EventTime,
    /// The mean of each window of this length, at the window's start (windows begin at multiples of it
    /// since 1970; empty ones are left out). `None`: every value.
    pub step: Option<Duration>,
}

/// Where points go and come from: InfluxDB, or the embedded history.
pub trait Store: Send + Sync + 'static {
    /// Writes a batch until each entry is stored or rejected.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: nothing is settled; write the same batch again after its remedy.
    fn write(&self, batch: &Batch) -> impl Future<Output = Result<Outcome, WriteError>> + Send;

    /// Asks whether it would take data now, within 3 s.
    ///
    /// # Errors
    ///
    /// [`WriteError`] says why not.
    fn probe(&self) -> impl Future<Output = Result<Health, WriteError>> + Send;

    /// Sends again what the store may have lost in a restart; returns how many batches. `write` does this
    /// first by itself: call it after a probe when there is nothing to write.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: what is in doubt stays in doubt.
    fn settle(&self) -> impl Future<Output = Result<usize, WriteError>> + Send;

    /// Reads values in order of time, at most [`POINTS_MAX`]. Text values are left out, truth is 1 or 0.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn range(
        &self,
        query: &RangeQuery,
    ) -> impl Future<Output = Result<Vec<(EventTime, f64)>, ReadError>> + Send;

    /// Reads the newest value within `from..to`; `step` counts for nothing.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn latest(
        &self,
        query: &RangeQuery,
    ) -> impl Future<Output = Result<Option<(EventTime, f64)>, ReadError>> + Send;
}

/// Cuts text to `max` bytes at a character's edge.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}
