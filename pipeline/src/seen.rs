//! The values of one reading, by slot of its measurement: as they are compared, and packed as they are remembered.
//! Each is packed once, for the memory and for the newest values.

use telemetry::reading::Value;

use crate::kept::Kept;
use crate::pack::{self, put_kept};

/// The values of a reading; its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    kept: Vec<Option<Kept>>,
    /// A bit for each slot, then the values.
    packed: Vec<u8>,
    /// Where the value of each slot ends in `packed`; for a slot without one, where the one before it does.
    ends: Vec<usize>,
}

impl Seen {
    /// Takes the values of a reading: slot and value.
    pub(crate) fn take<'a>(
        &mut self,
        slots: usize,
        values: impl Iterator<Item = (usize, &'a Value)>,
    ) {
        self.kept.clear();
        self.kept.resize(slots, None);
        for (slot, value) in values {
            if let Some(slot) = self.kept.get_mut(slot) {
                *slot = Some(Kept::of(value));
            }
        }
        self.packed.clear();
        pack::put_bits(&mut self.packed, self.kept.iter().map(Option::is_some));
        self.ends.clear();
        for kept in &self.kept {
            if let Some(kept) = kept {
                put_kept(&mut self.packed, *kept);
            }
            self.ends.push(self.packed.len());
        }
    }

    /// Returns the values by slot.
    pub(crate) fn kept(&self) -> &[Option<Kept>] {
        &self.kept
    }

    /// Returns the bits and the values as the memory writes them.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Returns a bit for each slot: whether it has a value.
    pub(crate) fn bits(&self) -> &[u8] {
        self.packed.get(..self.kept.len().div_ceil(8)).unwrap_or_default()
    }

    /// Returns each value there is, packed with all of it. `None`: there is a text, of which only the hash is kept.
    pub(crate) fn whole_values(&self) -> Option<impl Iterator<Item = &[u8]>> {
        if self.kept.iter().flatten().any(|kept| matches!(kept, Kept::Text(_))) {
            return None;
        }
        let mut from = self.bits().len();
        let values = self.ends.iter().map(move |to| {
            let value = self.packed.get(from..*to).unwrap_or_default();
            from = *to;
            value
        });
        Some(values.filter(|value| !value.is_empty()))
    }
}
