//! The account: every uplink and every reading ends in exactly one column (**P1**).

use bincode::{Decode, Encode};

/// Why something was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[repr(u8)]
pub enum Reason {
    /// The payload is not what the profile's codec reads.
    Malformed = 0,
    /// The payload is larger than `max_payload`.
    TooLarge = 1,
    /// No `[[uplinks]]` pattern matches the topic.
    UnknownTopic = 2,
    /// The device is not in the registry, and `devices.unknown` is `quarantine` or the table of devices is full.
    UnknownDevice = 3,
    /// One element of a batch is not readable.
    BadElement = 4,
    /// A reading without any value.
    NoValue = 5,
    /// Another value for a time that has one.
    TimeConflict = 6,
    /// The store has the field with another type.
    TypeConflict = 7,
    /// Older than the bucket's retention.
    OutsideRetention = 8,
    /// The store refused the point for another reason.
    StoreRejected = 9,
}

impl Reason {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::TooLarge,
        Self::UnknownTopic,
        Self::UnknownDevice,
        Self::BadElement,
        Self::NoValue,
        Self::TimeConflict,
        Self::TypeConflict,
        Self::OutsideRetention,
        Self::StoreRejected,
    ];

    /// Returns the word of configuration, answers and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnknownTopic => "unknown_topic",
            Self::UnknownDevice => "unknown_device",
            Self::BadElement => "bad_element",
            Self::NoValue => "no_value",
            Self::TimeConflict => "time_conflict",
            Self::TypeConflict => "type_conflict",
            Self::OutsideRetention => "outside_retention",
            Self::StoreRejected => "store_rejected",
        }
    }

    /// Reads a reason from its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == word)
    }

    /// Reads a reason from its number; an unknown one counts as refused by the store.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::StoreRejected)
    }
}

/// Counts by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ByReason([u64; Reason::ALL.len()]);

impl ByReason {
    /// Counts one.
    pub fn count(&mut self, reason: Reason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Returns the count of a reason.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns all counts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Totals of the pipeline since the journal began. They live in the snapshot, so they survive restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Account {
    /// Uplink ordinal of the last record applied: how many uplinks stand up to it, from its header.
    pub uplink_ordinal: u64,
    /// Uplinks whose elements were found.
    pub uplinks_decoded: u64,
    /// Uplinks set aside as a whole, each time they were.
    pub uplinks_dead: ByReason,
    /// Uplinks that a damaged record took along: gaps in the ordinals.
    pub uplinks_lost: u64,
    /// Letters of whole uplinks that were tried again.
    pub uplinks_redriven: u64,
    /// Elements found, good or bad: the reading ordinal.
    pub readings_decoded: u64,
    /// Readings that became a point, redriven ones too.
    pub points: u64,
    /// Readings set aside here, each time they were.
    pub readings_dead: ByReason,
    /// Readings with nothing new in them.
    pub readings_duplicate: u64,
    /// Letters of readings that were tried again.
    pub readings_redriven: u64,
    /// Points refused by the store; they are among `points`.
    pub store_dead: ByReason,
    /// Letters that expired because their device or all together had too many.
    pub letters_expired: u64,
    /// Observations older than the newest good one.
    pub late: u64,
    /// Numbers missing in the sequence of a device.
    pub sequence_gaps: u64,
    /// Alert transitions, `[severity][raised, resolved]`.
    pub alerts: [[u64; 2]; 4],
}

impl Account {
    /// Returns whether each column adds up, counted independently of the ordinals (**P1**).
    #[must_use]
    pub fn balances(&self) -> bool {
        let uplinks = self.uplinks_decoded + self.uplinks_dead.total() + self.uplinks_lost;
        let readings = self.points + self.readings_dead.total() + self.readings_duplicate;
        // A redriven store letter was a point before: it is counted again as what it became.
        self.uplink_ordinal + self.uplinks_redriven == uplinks
            && self.readings_decoded + self.readings_redriven == readings
    }
}
