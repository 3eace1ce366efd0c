//! The newest good values of a device, packed: few are asked for, all are written with each reading.
//!
//! A bit for each property (set where there is a value), then for each value its `sampled_at`, as distance from the
//! one before, and the value.

use std::ops::Range;

use telemetry::reading::Value;

use crate::device::NEVER;
use crate::pack::{self, put_time, put_value, skip_value, take_bytes, take_time, take_value};
use crate::seen::Seen;

/// The newest good value of each property of a measurement, by slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Newest {
    /// Empty as long as there is no value.
    bytes: Vec<u8>,
    /// Properties of the measurement.
    slots: u16,
}

/// Unpacked for a change; its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    slots: Vec<Slot>,
    /// Where the values stand.
    bytes: Vec<u8>,
    packed: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    at: i64,
    value: Range<usize>,
}

impl Newest {
    /// Makes a list without values.
    pub(crate) fn new(slots: usize) -> Self {
        Self { bytes: Vec::new(), slots: u16::try_from(slots).unwrap_or(u16::MAX) }
    }

    /// Returns how many properties there are, with a value or without.
    pub(crate) fn slots(&self) -> usize {
        usize::from(self.slots)
    }

    /// Returns bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns the values: slot, `sampled_at` in nanoseconds, value.
    pub(crate) fn values(&self) -> impl Iterator<Item = (usize, i64, Value)> {
        let mut rest = self.bytes.as_slice();
        let bits = take_bytes(&mut rest, self.slots().div_ceil(8)).unwrap_or_default();
        let mut at = 0;
        (0..self.slots()).filter(|slot| pack::has_bit(bits, *slot)).map_while(move |slot| {
            at = take_time(&mut rest, at)?;
            Some((slot, at, take_value(&mut rest)?))
        })
    }

    /// Puts another value in some slots.
    pub(crate) fn change(&mut self, draft: &mut Draft, change: impl FnOnce(&mut Draft)) {
        draft.open(self);
        change(draft);
        draft.close(self);
    }

    /// Puts the values of a reading, all of one time, in the place of all that are there, where none would be left.
    /// Returns whether it did; the result is that of [`Newest::change`].
    pub(crate) fn renew(&mut self, draft: &mut Draft, at: i64, seen: &Seen) -> bool {
        let before = self.bytes.get(..self.slots().div_ceil(8)).unwrap_or_default();
        let is_left = |(old, new): (&u8, &u8)| old & !new != 0;
        if at == NEVER || before.iter().zip(seen.bits()).any(is_left) {
            return false;
        }
        let Some(values) = seen.whole_values() else { return false };
        let out = &mut draft.packed;
        out.clear();
        out.extend_from_slice(seen.bits());
        let mut from = 0;
        for value in values {
            put_time(out, from, at);
            from = at;
            out.extend_from_slice(value);
        }
        self.pack(out);
        true
    }

    fn pack(&mut self, packed: &[u8]) {
        self.bytes.clear();
        if packed.iter().any(|byte| *byte != 0) {
            self.bytes.reserve_exact(packed.len());
            self.bytes.extend_from_slice(packed);
        }
    }

    /// Carries the values over to a measurement whose properties moved: `places[old]` is the new slot.
    pub(crate) fn rearrange(&mut self, places: &[Option<usize>], slots: usize) {
        let mut moved = Self::new(slots);
        moved.change(&mut Draft::default(), |draft| {
            for (slot, at, value) in self.values() {
                if let Some(place) = places.get(slot).copied().flatten() {
                    draft.set(place, at, &value);
                }
            }
        });
        *self = moved;
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        pack::put_number(out, u128::from(self.slots));
        pack::put_number(out, self.bytes.len() as u128);
        out.extend_from_slice(&self.bytes);
    }

    /// Reads the values, each of them. `None`: the bytes are none.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let slots = pack::take(bytes)?;
        let len = pack::take(bytes)?;
        let newest = Self { bytes: take_bytes(bytes, len)?.to_vec(), slots };
        let mut rest = newest.bytes.as_slice();
        if rest.is_empty() {
            return Some(newest);
        }
        let bits = take_bytes(&mut rest, newest.slots().div_ceil(8))?;
        for _ in (0..newest.slots()).filter(|slot| pack::has_bit(bits, *slot)) {
            take_time(&mut rest, 0)?;
            skip_value(&mut rest)?;
        }
        rest.is_empty().then_some(newest)
    }
}

impl Draft {
    /// Returns whether there is a slot of this number.
    pub(crate) fn has(&self, slot: usize) -> bool {
        slot < self.slots.len()
    }

    /// Returns the time of the value in a slot; [`NEVER`]: there is none.
    pub(crate) fn at(&self, slot: usize) -> i64 {
        self.slots.get(slot).map_or(NEVER, |slot| slot.at)
    }

    /// Puts a value into a slot.
    pub(crate) fn set(&mut self, slot: usize, at: i64, value: &Value) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        let from = self.bytes.len();
        put_value(&mut self.bytes, value);
        *slot = Slot { at, value: from..self.bytes.len() };
    }

    fn open(&mut self, newest: &Newest) {
        self.slots.clear();
        self.slots.resize(newest.slots(), Slot { at: NEVER, value: 0..0 });
        self.bytes.clear();
        self.bytes.extend_from_slice(&newest.bytes);
        let mut rest = self.bytes.as_slice();
        let bits = take_bytes(&mut rest, newest.slots().div_ceil(8)).unwrap_or_default();
        let mut at = 0;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if !pack::has_bit(bits, index) {
                continue;
            }
            let Some(own) = take_time(&mut rest, at) else { return };
            let from = self.bytes.len() - rest.len();
            if skip_value(&mut rest).is_none() {
                return;
            }
            at = own;
            *slot = Slot { at, value: from..self.bytes.len() - rest.len() };
        }
    }

    fn close(&mut self, newest: &mut Newest) {
        let out = &mut self.packed;
        out.clear();
        pack::put_bits(out, self.slots.iter().map(|slot| slot.at != NEVER));
        let mut before = 0;
        for slot in self.slots.iter().filter(|slot| slot.at != NEVER) {
            put_time(out, before, slot.at);
            before = slot.at;
            out.extend_from_slice(self.bytes.get(slot.value.clone()).unwrap_or_default());
        }
        newest.pack(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_stay_until_others_take_their_place() {
        let (mut newest, mut draft) = (Newest::new(9), Draft::default());
        assert_eq!(newest.values().count(), 0);
        let text = Value::Text("北风".into());
        newest.change(&mut draft, |draft| {
            draft.set(0, 5, &Value::Float(0.231));
            draft.set(8, -7, &text);
            assert_eq!([draft.at(0), draft.at(1), draft.at(8)], [5, NEVER, -7]);
        });
        newest.change(&mut draft, |draft| {
            assert_eq!([draft.at(0), draft.at(1), draft.at(8)], [5, NEVER, -7]);
            draft.set(0, 6, &Value::Int(3));
        });
        let found: Vec<_> = newest.values().collect();
        assert_eq!(found, [(0, 6, Value::Int(3)), (8, -7, text.clone())]);
        let mut out = Vec::new();
        newest.put(&mut out);
        assert_eq!(Newest::take(&mut out.as_slice()).as_ref(), Some(&newest));
        assert!((0..out.len()).all(|cut| Newest::take(&mut &out[..cut]).is_none()));
        newest.rearrange(&[None, None, None, None, None, None, None, None, Some(1)], 2);
        assert_eq!(newest.values().collect::<Vec<_>>(), [(1, -7, text)]);
    }

    proptest! {
        /// Guarantees: values that are renewed at once are those that are changed one by one, byte for byte.
        #[test]
        fn renewed_at_once_is_changed_one_by_one(
            readings in prop::collection::vec(
                (0_i64..5, prop::collection::vec(prop::option::weighted(0.8, 0_i64..3), 11)), 1..20),
        ) {
            let (mut renewed, mut changed) = (Newest::new(11), Newest::new(11));
            let (mut draft, mut seen) = (Draft::default(), Seen::default());
            for (at, numbers) in readings {
                let values: Vec<_> =
                    numbers.iter().enumerate().filter_map(|(slot, number)| Some((slot, Value::Int((*number)?)))).collect();
                let change = |draft: &mut Draft| values.iter().for_each(|(slot, value)| draft.set(*slot, at, value));
                changed.change(&mut Draft::default(), change);
                seen.take(11, values.iter().map(|(slot, value)| (*slot, value)));
                if !renewed.renew(&mut draft, at, &seen) {
                    renewed.change(&mut draft, change);
                }
                prop_assert_eq!(&renewed, &changed);
            }
        }
    }
}
