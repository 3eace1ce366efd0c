//! What goes into the queue's calls and what comes out of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use telemetry::time::IngestTime;

use super::row::FORMAT;
use crate::notifier::{AlertState, Letter, Reason, Severity, Verdict};

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Notices that wait; default 100,000 (about 100 MB on disk).
    pub waiting_max: u64,
    /// Ended notices kept for the delivery log; default 100,000. The oldest go first.
    pub ended_max: u64,
    /// How long ended notices are kept; default 7 days.
    pub ended_keep: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { waiting_max: 100_000, ended_max: 100_000, ended_keep: Duration::from_hours(7 * 24) }
    }
}

/// Why the queue could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The file cannot be opened: damaged, locked by another process, or no permission.
    #[error("open the queue `{path}`")]
    Open {
        /// The queue file.
        path: PathBuf,
        /// What the file system or the engine said.
        #[source]
        source: Box<redb::Error>,
    },
    /// The file is of a later version.
    #[error("the queue `{path}` has format {found}, this version knows {FORMAT}")]
    Format {
        /// The queue file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A transaction failed; nothing of it took effect. The file is opened again at the next call.
    #[error("use the queue")]
    Storage(#[source] Box<redb::Error>),
    /// The thread that served the call ended.
    #[error("the call to the queue was interrupted")]
    Interrupted,
}

/// What became of an `accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Notices and cursor are durable.
    Accepted {
        /// How many were new; the others were known by (id, state).
        new: u64,
    },
    /// No room; nothing was stored and the cursor did not move.
    Full {
        /// How many places are missing.
        missing: u64,
    },
}

/// What may be sent now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Letters that are due, longest due first.
    pub letters: Vec<Letter>,
    /// When the next one after these is due.
    pub next_at: Option<IngestTime>,
}

/// The outcome of one try, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// [`Letter::key`].
    pub key: u64,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Where a notice stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not delivered yet.
    Waiting {
        /// When it is due, unless it waits for the firing of its alert.
        next_try_at: IngestTime,
        /// Why the last try did not succeed; `None` before the first.
        last: Option<Reason>,
    },
    /// Delivered.
    Delivered {
        /// When.
        ended_at: IngestTime,
        /// The endpoint's proof.
        receipt: String,
    },
    /// Failed for good.
    Failed {
        /// When.
        ended_at: IngestTime,
        /// Why.
        reason: Reason,
    },
}

/// A line of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The alert's id.
    pub id: String,
    /// What is told about the alert.
    pub state: AlertState,
    /// How grave the alert is.
    pub severity: Severity,
    /// When the queue took it.
    pub accepted_at: IngestTime,
    /// Tries so far.
    pub tries: u32,
    /// Where it stands.
    pub status: Status,
}

/// Which notices to fail.
#[derive(Debug)]
pub struct GiveUp<'a> {
    /// Only those accepted at or before this.
    pub until: IngestTime,
    /// At most this many.
    pub most: usize,
    /// Not these: they are under way.
    pub airborne: &'a BTreeSet<u64>,
    /// Why.
    pub reason: Reason,
}

/// An error of the engine, small enough to be handed about.
#[derive(Debug)]
pub(super) struct EngineError(pub(super) Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for EngineError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}
