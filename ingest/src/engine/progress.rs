//! What the driver remembers from one step to the next, and what a step comes to.

use std::collections::VecDeque;
use std::time::Duration;

use pipeline::OutboxRecord;
use tokio::time::Instant;

/// Where the journal stood at a snapshot, and when.
pub(super) struct Mark {
    pub(super) position: u64,
    pub(super) at: Instant,
}

/// Whether the driver derives, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Deriving,
    /// Results are gone from the outbox; they are derived again from the newest snapshot.
    Short,
    /// A record cannot be applied; nothing more is derived before a restart.
    Halted,
}

/// The snapshot that is being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    None,
    /// Of this position; it is copied and handed over piece by piece.
    Copying(u64),
    /// Of this position; all of it is handed over and not durable yet.
    Writing(u64),
}

impl Taking {
    /// Returns the position of the snapshot, if one is being taken.
    pub(super) const fn position(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Copying(position) | Self::Writing(position) => Some(position),
        }
    }
}

/// What the driver remembers from one step to the next.
pub(super) struct Progress {
    pub(super) out: OutboxRecord,
    pub(super) standing: Standing,
    pub(super) taking: Taking,
    /// When the last snapshot was begun.
    pub(super) last_snapshot: Instant,
    /// Position of the last snapshot that is durable.
    pub(super) snapshot_at: u64,
    pub(super) records_since: u64,
    pub(super) marks: VecDeque<Mark>,
    pub(super) ends_at: Option<Instant>,
    /// Before this it is not tried again to go back.
    pub(super) retry_at: Instant,
}

/// What is to be done after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next step, at once.
    Again,
    /// The next step, when the driver is woken or after this long.
    Wait(Duration),
    /// No more steps.
    End,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// So many records were applied.
    Applied(u32),
    /// The disk took no results, or gave no records: the same again later.
    Stuck,
}

impl Progress {
    /// Begins at a snapshot.
    pub(super) fn at(position: u64, now: Instant) -> Self {
        Self {
            out: OutboxRecord::default(),
            standing: Standing::Deriving,
            taking: Taking::None,
            last_snapshot: now,
            snapshot_at: position,
            records_since: 0,
            marks: VecDeque::new(),
            ends_at: None,
            retry_at: now,
        }
    }
}
