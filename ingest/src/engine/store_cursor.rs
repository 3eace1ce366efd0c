//! How far a store has taken the outbox, and what it has counted up to there.

use pipeline::StoreTotals;

/// What the store's cursor holds: one atomic pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bincode::Encode, bincode::Decode)]
pub struct StoreCursor {
    /// Last outbox position settled as a whole.
    pub position: u64,
    /// Totals up to there.
    pub totals: StoreTotals,
}

impl StoreCursor {
    const BYTES_MAX: usize = 1024;

    /// Returns the cursor's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let config = bincode::config::standard().with_limit::<{ Self::BYTES_MAX }>();
        bincode::encode_to_vec(self, config).unwrap_or_default()
    }

    /// Reads a cursor's bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let config = bincode::config::standard().with_limit::<{ Self::BYTES_MAX }>();
        bincode::decode_from_slice(bytes, config).ok().map(|(cursor, _)| cursor)
    }

    /// Passes an outbox record whose entries are counted.
    pub(crate) fn pass(&mut self, position: u64, ordinal: u64) {
        self.count_gap(ordinal);
        self.position = position;
    }

    /// Counts points that were taken for stored as dead.
    pub(crate) fn refuse(&mut self, points: usize) {
        let refused = u64::try_from(points).unwrap_or(u64::MAX);
        self.totals.stored = self.totals.stored.saturating_sub(refused);
        self.totals.dead += refused;
    }

    /// A damaged outbox record took readings along: they are dead, and said so, rather than held for ever.
    fn count_gap(&mut self, ordinal: u64) {
        let StoreTotals { stored, dead, duplicate, redriven, .. } = self.totals;
        let counted = (stored + dead + duplicate).saturating_sub(redriven);
        let missing = ordinal.saturating_sub(counted);
        if missing > 0 {
            tracing::error!(missing, "readings lost with a damaged outbox record; counted as dead");
            self.totals.dead += missing;
        }
        self.totals.reading_ordinal = ordinal;
    }
}
