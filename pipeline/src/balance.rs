//! The balance: one cut through durable end, pipeline and store cursor, that must add up (**P1**).
//!
//! `received` and `held` come from ordinals in record headers, `decoded`, `dead`, `stored` and `duplicate` from
//! counters. The two are kept apart on purpose: a counter that is wrong makes the sum fail.

use bincode::{Decode, Encode};
use serde::Serialize;

use crate::account::Account;
use crate::outbox::{Entry, EntryKind};

/// Totals of the store's cursor: what it has passed. Stored in the cursor itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct StoreTotals {
    /// Reading ordinal of the last outbox record passed, from its header.
    pub reading_ordinal: u64,
    /// Points the store has taken.
    pub stored: u64,
    /// Readings passed that are dead, by the pipeline or by the store.
    pub dead: u64,
    /// Readings passed that were duplicates.
    pub duplicate: u64,
    /// Readings passed that came from a letter tried again; they had been passed before.
    pub redriven: u64,
}

impl StoreTotals {
    /// Counts an entry that the cursor passes. `taken`: whether the store has taken the point.
    pub const fn pass(&mut self, entry: &Entry<'_>, taken: bool) {
        match entry.kind {
            EntryKind::Point if taken => self.stored += 1,
            EntryKind::Point | EntryKind::DeadReading => self.dead += 1,
            EntryKind::Duplicate => self.duplicate += 1,
            EntryKind::DeadUplink | EntryKind::StoreLetter | EntryKind::Alert => return,
        }
        if entry.redriven {
            self.redriven += 1;
        }
    }
}

/// The answer of `GET /api/v1/balance`: in each group the first is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Uplinks.
    pub uplinks: UplinkBalance,
    /// Readings.
    pub readings: ReadingBalance,
    /// Letters tried again.
    pub redriven: u64,
}

/// Where every uplink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UplinkBalance {
    /// Fsynced in the journal.
    pub received: u64,
    /// Their elements were found.
    pub decoded: u64,
    /// Set aside, less those tried again.
    pub dead: u64,
    /// Taken along by a damaged record.
    pub lost: u64,
    /// In the journal, not yet applied.
    pub held: u64,
}

/// Where every reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReadingBalance {
    /// Elements found, good or bad.
    pub decoded: u64,
    /// Passed by the store's durable cursor.
    pub stored: u64,
    /// Set aside, less those tried again.
    pub dead: u64,
    /// Nothing new in them.
    pub duplicate: u64,
    /// In the outbox, not yet passed by the store's cursor.
    pub held: u64,
}

impl Balance {
    /// Makes the balance of one cut: the store's cursor read first, then the pipeline, then the durable end.
    #[must_use]
    pub fn of(store: &StoreTotals, account: &Account, received: u64) -> Self {
        Self {
            uplinks: UplinkBalance {
                received,
                decoded: account.uplinks_decoded,
                dead: account.uplinks_dead.total().saturating_sub(account.uplinks_redriven),
                lost: account.uplinks_lost,
                held: received.saturating_sub(account.uplink_ordinal),
            },
            readings: ReadingBalance {
                decoded: account.readings_decoded,
                stored: store.stored,
                dead: store.dead.saturating_sub(store.redriven),
                duplicate: store.duplicate,
                held: account.readings_decoded.saturating_sub(store.reading_ordinal),
            },
            redriven: account.uplinks_redriven + account.readings_redriven,
        }
    }

    /// Returns whether both groups add up.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        let (u, r) = (&self.uplinks, &self.readings);
        u.received == u.decoded + u.dead + u.lost + u.held
            && r.decoded == r.stored + r.dead + r.duplicate + r.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redriven_reading_moves_from_dead_to_stored() {
        let mut store = StoreTotals { reading_ordinal: 1, ..StoreTotals::default() };
        let account = Account {
            uplink_ordinal: 1,
            uplinks_decoded: 1,
            readings_decoded: 1,
            ..Account::default()
        };
        let point = Entry { kind: EntryKind::Point, redriven: false, element: 0, data: b"" };
        store.pass(&point, false);
        let before = Balance::of(&store, &account, 1);
        assert!(before.is_exact() && before.readings.dead == 1);
        store.pass(&Entry { redriven: true, ..point }, true);
        let after = Balance::of(&store, &Account { readings_redriven: 1, ..account }, 1);
        assert!(after.is_exact(), "{after:?}");
        assert_eq!((after.readings.stored, after.readings.dead, after.redriven), (1, 0, 1));
    }

    #[test]
    fn a_counter_that_is_wrong_makes_the_sum_fail() {
        let store =
            StoreTotals { reading_ordinal: 9, stored: 8, dead: 1, ..StoreTotals::default() };
        let good = Account {
            uplink_ordinal: 5,
            uplinks_decoded: 5,
            readings_decoded: 10,
            ..Account::default()
        };
        assert!(Balance::of(&store, &good, 6).is_exact());
        assert!(!Balance::of(&StoreTotals { stored: 9, ..store }, &good, 6).is_exact());
        assert!(!Balance::of(&StoreTotals { duplicate: 1, ..store }, &good, 6).is_exact());
        assert!(!Balance::of(&store, &Account { uplinks_decoded: 4, ..good }, 6).is_exact());
        assert!(!Balance::of(&store, &Account { uplinks_lost: 1, ..good }, 6).is_exact());
    }
}
