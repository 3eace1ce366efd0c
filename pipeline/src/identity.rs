//! Identity: what a device has already said, so that a repeat is told from news.
//!
//! A reading is (device, sampled_at). The memory is a ring of the last readings of one device: the time and a
//! 32-bit hash of each property, 0 where the property was absent. Its eviction depends on records alone.

use bincode::{Decode, Encode};
use telemetry::reading::Value;
use xxhash_rust::xxh3::xxh3_64;

/// What a reading is, held against the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No reading of that time is remembered.
    New,
    /// Every property is remembered with this value.
    Duplicate,
    /// Some properties are new, none differs.
    Merge {
        /// Slot of the remembered reading.
        slot: usize,
    },
    /// A property is remembered with another value.
    Conflict {
        /// Slot of the remembered reading.
        slot: usize,
        /// Index of the first property that differs.
        property: usize,
    },
}

/// The last readings of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Memory {
    /// Slots of `2 + properties` words each: time low, time high, hashes.
    words: Vec<u32>,
    /// The slot to write next, once the ring is full.
    next: u32,
    /// The newest time remembered; most readings are newer and need no search.
    newest: i64,
}

impl Memory {
    /// Returns bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u32>()
    }

    /// Holds a reading's hashes against what is remembered of its time.
    #[must_use]
    pub fn check(&self, at: i64, hashes: &[u32]) -> Verdict {
        if self.words.is_empty() || at > self.newest {
            return Verdict::New;
        }
        let Some((slot, known)) = self.find(at, hashes.len()) else { return Verdict::New };
        let mut news = false;
        for (property, (new, old)) in hashes.iter().zip(known).enumerate() {
            match (*new, *old) {
                (0, _) => {}
                (_, 0) => news = true,
                (new, old) if new != old => return Verdict::Conflict { slot, property },
                (_, _) => {}
            }
        }
        if news { Verdict::Merge { slot } } else { Verdict::Duplicate }
    }

    /// Remembers a reading of a time that is not remembered, forgetting the oldest entry beyond `most`.
    pub fn remember(&mut self, at: i64, hashes: &[u32], most: usize) {
        let stride = hashes.len() + 2;
        let slots = self.words.len() / stride;
        let entry = split(at).into_iter().chain(hashes.iter().copied());
        self.newest = if slots == 0 { at } else { self.newest.max(at) };
        if slots < most.max(1) {
            self.words.extend(entry);
            return;
        }
        let slot = usize::try_from(self.next).unwrap_or(0) % slots;
        self.next = u32::try_from((slot + 1) % slots).unwrap_or(0);
        if let Some(words) = self.words.get_mut(slot * stride..(slot + 1) * stride) {
            words.iter_mut().zip(entry).for_each(|(word, new)| *word = new);
        }
    }

    /// Adds the properties of a reading to a remembered one; those remembered already take the new value.
    pub fn merge(&mut self, slot: usize, hashes: &[u32]) {
        let stride = hashes.len() + 2;
        if let Some(words) = self.words.get_mut(slot * stride + 2..(slot + 1) * stride) {
            words
                .iter_mut()
                .zip(hashes)
                .filter(|(_, new)| **new != 0)
                .for_each(|(word, new)| *word = *new);
        }
    }

    /// Carries the memory over to a profile whose properties stand in another order: `places[old]` is the new index.
    pub fn rearrange(&mut self, places: &[Option<usize>], properties: usize) {
        let stride = places.len() + 2;
        let mut words = Vec::with_capacity(self.words.len() / stride * (properties + 2));
        for slot in self.words.chunks_exact(stride) {
            let (time, hashes) = slot.split_at_checked(2).unwrap_or_default();
            let mut moved = vec![0; properties];
            for (hash, place) in hashes.iter().zip(places) {
                if let Some(word) = place.and_then(|place| moved.get_mut(place)) {
                    *word = *hash;
                }
            }
            words.extend_from_slice(time);
            words.append(&mut moved);
        }
        self.words = words;
    }

    fn find(&self, at: i64, properties: usize) -> Option<(usize, &[u32])> {
        let [low, high] = split(at);
        let slots = self.words.chunks_exact(properties + 2).enumerate();
        slots.rev().find_map(|(slot, words)| match words {
            [l, h, hashes @ ..] if *l == low && *h == high => Some((slot, hashes)),
            _ => None,
        })
    }
}

fn split(at: i64) -> [u32; 2] {
    let bytes = at.to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Hashes one value; never 0, which stands for "absent".
#[must_use]
pub fn hash_value(value: &Value) -> u32 {
    let wide = match value {
        // 0.0 and -0.0 are the same measurement.
        Value::Float(number) => mix(1, (number + 0.0).to_bits()),
        Value::Int(number) => mix(2, number.cast_unsigned()),
        Value::Bool(truth) => mix(3, u64::from(*truth)),
        Value::Text(text) => xxh3_64(text.as_bytes()),
    };
    u32::try_from(wide >> 32).unwrap_or(0).max(1)
}

/// A stable mixer for eight bytes (the finaliser of SplitMix64), a fifth of the cost of a general hash.
fn mix(kind: u64, bits: u64) -> u64 {
    let mut z = bits.wrapping_add(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_repeats_merges_and_conflicts_are_told_apart() {
        let mut memory = Memory::default();
        assert_eq!(memory.check(10, &[5, 6, 0]), Verdict::New);
        memory.remember(10, &[5, 6, 0], 4);
        assert_eq!(memory.check(10, &[5, 6, 0]), Verdict::Duplicate);
        assert_eq!(memory.check(10, &[5, 0, 0]), Verdict::Duplicate);
        assert_eq!(memory.check(10, &[5, 0, 9]), Verdict::Merge { slot: 0 });
        assert_eq!(memory.check(10, &[5, 7, 9]), Verdict::Conflict { slot: 0, property: 1 });
        memory.merge(0, &[0, 0, 9]);
        assert_eq!(memory.check(10, &[0, 0, 9]), Verdict::Duplicate);
        assert_eq!(memory.check(-3, &[5, 6, 0]), Verdict::New);
    }

    #[test]
    fn the_oldest_entry_is_forgotten_first() {
        let mut memory = Memory::default();
        for at in 0..6 {
            memory.remember(at, &[1], 4);
        }
        let known: Vec<i64> =
            (0..6).filter(|at| memory.check(*at, &[1]) == Verdict::Duplicate).collect();
        assert_eq!(known, [2, 3, 4, 5]);
    }

    #[test]
    fn properties_may_move_when_the_profile_changes() {
        let mut memory = Memory::default();
        memory.remember(1, &[7, 8], 4);
        memory.rearrange(&[Some(2), None], 3);
        assert_eq!(memory.check(1, &[0, 0, 7]), Verdict::Duplicate);
        assert_eq!(memory.check(1, &[0, 8, 0]), Verdict::Merge { slot: 0 });
    }

    #[test]
    fn zero_has_one_sign_and_no_value_hashes_to_absent() {
        assert_eq!(hash_value(&Value::Float(0.0)), hash_value(&Value::Float(-0.0)));
        assert_ne!(hash_value(&Value::Int(1)), hash_value(&Value::Float(1.0)));
        assert_ne!(hash_value(&Value::Bool(false)), 0);
    }
}
