//! What became of each point of a batch.

use crate::batch::EntryKey;

/// Why the store does not take a point; the reason of its dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// A field exists with another type. Our floats are always written as floats, so the other type
    /// came from elsewhere, or the profile changed its type.
    TypeConflict,
    /// Older than the bucket keeps.
    OutsideRetention,
    /// Anything else the store says about this one point.
    StoreRejected,
}

impl RejectReason {
    /// Returns the code: reason of the dead letter, label of metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TypeConflict => "type_conflict",
            Self::OutsideRetention => "outside_retention",
            Self::StoreRejected => "store_rejected",
        }
    }
}

/// One point that the store does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its number in the outbox.
    pub key: EntryKey,
    /// Why.
    pub reason: RejectReason,
    /// The store's words, cut to [`crate::DETAIL_MAX`] bytes.
    pub detail: Box<str>,
}

/// A batch is settled: every entry that is not in `rejected` is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many entries are stored.
    pub stored: usize,
    /// The others, in the order of the batch.
    pub rejected: Vec<Rejected>,
    /// Requests that wrote points, the first one included.
    pub requests: usize,
    /// Batches of the replay window that were sent again before this one.
    pub replayed: usize,
}
