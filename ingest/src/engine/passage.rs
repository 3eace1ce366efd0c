//! What a store's sink has read of the outbox and not settled yet, and what its cursor becomes once it is.

use std::sync::atomic::Ordering;

use journal::Record;
use pipeline::outbox::{Entries, EntryKind};
use store::EntryKey;

use crate::engine::clock::seconds_since;
use crate::engine::driver::Shared;
use crate::engine::store_cursor::StoreCursor;
use crate::engine::store_sink::StoreView;
use crate::meter;

/// Outbox records on their way to a store.
pub(crate) struct Passage {
    /// The cursor, once all of them are settled.
    pub(crate) next: StoreCursor,
    /// How many they are.
    pub(crate) records: usize,
    /// When the oldest of them was taken in, nanoseconds.
    oldest: Option<i64>,
    /// Elements of the points that may be refused, by key.
    elements: Vec<(EntryKey, u32)>,
}

impl Passage {
    /// Begins after what a cursor has passed.
    pub(crate) const fn after(cursor: StoreCursor) -> Self {
        Self { next: cursor, records: 0, oldest: None, elements: Vec::new() }
    }

    /// Takes one outbox record whole and hands out its points; `point` says whether the point may be refused yet. What
    /// the cursor passed before a restart is skipped.
    pub(crate) fn take(
        &mut self,
        record: &Record<'_>,
        mut point: impl FnMut(EntryKey, &[u8]) -> bool,
    ) {
        let position = record.position;
        if position <= self.next.position {
            return;
        }
        let Some(entries) = Entries::of(record.payload) else {
            tracing::error!(position, "an outbox record is of a newer version");
            return;
        };
        let received_at = entries.received_at().as_nanos();
        self.oldest = Some(self.oldest.map_or(received_at, |oldest| oldest.min(received_at)));
        self.records += 1;
        for (index, entry) in (0..).zip(entries) {
            self.next.totals.pass(&entry, true);
            let key = EntryKey { position, index };
            if entry.kind == EntryKind::Point && point(key, entry.data) {
                self.elements.push((key, entry.element));
            }
        }
        self.next.pass(position, record.ordinal);
    }

    /// Returns the element of a point that may be refused.
    pub(crate) fn element(&self, key: EntryKey) -> u32 {
        // Taken in the order of the outbox, so they are sorted.
        let found = self.elements.binary_search_by_key(&key, |(known, _)| *known);
        found.ok().and_then(|at| self.elements.get(at)).map_or(0, |(_, element)| *element)
    }

    /// Shows that all is settled and the cursor is durable.
    pub(crate) fn show(&self, view: &StoreView, shared: &Shared) {
        view.set(self.next);
        shared.store_position.store(self.next.position, Ordering::Release);
        if let Some(oldest) = self.oldest {
            meter::received_to_stored(seconds_since(oldest));
        }
    }
}
