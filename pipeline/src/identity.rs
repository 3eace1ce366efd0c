//! Identity: what a device has already said, so that a repeat is told from news.
//!
//! A reading is (device, sampled_at). The memory is a ring of the last readings of one device: the time and each
//! value. Its eviction depends on records alone.
//!
//! Values are remembered themselves, not their hashes: packed, a number of a sensor takes two or three bytes, less
//! than a hash that could be trusted, and two that differ are never taken for the same. Only of a text there are 64
//! bits of hash: a conflict passes for a repeat if another text at the same nanosecond of the same device has the
//! same hash, once in 2^64 conflicts. (Readings of a snapshot of the first version had 32 bits a value, until they
//! are forgotten.)

pub use crate::kept::Kept;
use crate::pack::{self, put_kept, put_time, skip_value, take_bytes, take_kept, take_time};
use smallvec::SmallVec;

/// What a reading is, held against the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No reading of that time is remembered.
    New,
    /// Every property is remembered with this value.
    Duplicate,
    /// Some properties are new, none differs.
    Merge,
    /// A property is remembered with another value.
    Conflict {
        /// Index of the first property that differs.
        property: usize,
    },
}

/// The last readings of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The readings in the order in which they came. Each: distance from the time of the one before, a bit for each
    /// property (set where it has a value), the values.
    bytes: Vec<u8>,
    /// What the first distance counts from.
    base: i64,
    /// The time of the last reading.
    last: i64,
    /// The newest time ever remembered; most readings are newer and need no search.
    newest: i64,
    /// How many readings.
    len: u32,
}

/// The buffer grows by so many bytes: doubling it would leave a third of the memory of all devices unused.
const GROWTH: usize = 32;

/// One reading of the memory.
struct Entry<'a> {
    /// Where its bits begin, after the time.
    from: usize,
    /// Where the next begins.
    to: usize,
    at: i64,
    bits: &'a [u8],
    values: &'a [u8],
}

impl Entry<'_> {
    /// Returns the values by property.
    fn values(&self, properties: usize) -> impl Iterator<Item = Option<Kept>> {
        let mut values = self.values;
        (0..properties).map(move |property| {
            pack::has_bit(self.bits, property).then(|| take_kept(&mut values)).flatten()
        })
    }
}

/// The entries of a memory, as long as the bytes are whole.
struct Entries<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    at: i64,
    properties: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.at = take_time(&mut self.rest, self.at)?;
        let from = self.all.len() - self.rest.len();
        let bits = take_bytes(&mut self.rest, self.properties.div_ceil(8))?;
        let values = self.rest;
        let present: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
        for _ in 0..present {
            skip_value(&mut self.rest)?;
        }
        let to = self.all.len() - self.rest.len();
        Some(Entry { from, to, at: self.at, bits, values })
    }
}

/// Writes the bits and values of a reading.
fn put_values(out: &mut impl pack::Sink, seen: &[Option<Kept>]) {
    pack::put_bits(out, seen.iter().map(Option::is_some));
    seen.iter().flatten().for_each(|kept| put_kept(out, *kept));
}

impl Memory {
    /// Returns bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Holds a reading's values against what is remembered of its time.
    #[must_use]
    pub fn check(&self, at: i64, seen: &[Option<Kept>]) -> Verdict {
        if self.len == 0 || at > self.newest {
            return Verdict::New;
        }
        let Some(entry) = self.find(at, seen.len()) else { return Verdict::New };
        let mut news = false;
        for (property, (new, old)) in seen.iter().zip(entry.values(seen.len())).enumerate() {
            match (*new, old) {
                (None, _) => {}
                (Some(_), None) => news = true,
                (Some(new), Some(old)) if !new.is(old) => return Verdict::Conflict { property },
                (Some(_), Some(_)) => {}
            }
        }
        if news { Verdict::Merge } else { Verdict::Duplicate }
    }

    /// Returns by property which values of a time are remembered.
    #[must_use]
    pub fn known(&self, at: i64, properties: usize) -> SmallVec<[bool; 16]> {
        let has = |entry: &Entry<'_>, property| pack::has_bit(entry.bits, property);
        let entry = self.find(at, properties);
        (0..properties)
            .map(|property| entry.as_ref().is_some_and(|entry| has(entry, property)))
            .collect()
    }

    /// Remembers a reading of a time that is not remembered, forgetting the oldest beyond `most`.
    pub fn remember(&mut self, at: i64, seen: &[Option<Kept>], most: usize) {
        let mut packed: SmallVec<[u8; 128]> = SmallVec::new();
        put_values(&mut packed, seen);
        self.remember_packed(at, (&packed, seen.len()), most);
    }

    /// As [`Memory::remember`], with the bits and values of so many properties packed before.
    pub(crate) fn remember_packed(
        &mut self,
        at: i64,
        (packed, properties): (&[u8], usize),
        most: usize,
    ) {
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        if self.len == 0 {
            (self.base, self.last, self.newest) = (at, at, at);
        }
        self.forget(self.len.saturating_sub(most - 1), properties);
        let mut time: SmallVec<[u8; 16]> = SmallVec::new();
        put_time(&mut time, self.last, at);
        self.grow(time.len() + packed.len());
        self.bytes.extend_from_slice(&time);
        self.bytes.extend_from_slice(packed);
        self.len += 1;
        self.last = at;
        self.newest = self.newest.max(at);
    }

    /// Adds the properties of a reading to the one remembered of its time; those remembered already take the new
    /// value.
    pub fn merge(&mut self, at: i64, seen: &[Option<Kept>]) {
        let Some(entry) = self.find(at, seen.len()) else { return };
        let (from, to) = (entry.from, entry.to);
        let known = entry.values(seen.len());
        let merged: SmallVec<[Option<Kept>; 16]> =
            known.zip(seen).map(|(old, new)| new.or(old)).collect();
        let mut written: SmallVec<[u8; 128]> = SmallVec::new();
        put_values(&mut written, &merged);
        self.grow(written.len().saturating_sub(to - from));
        self.bytes.splice(from..to, written);
    }

    /// Carries the memory over to a profile whose properties stand in another order: `places[old]` is the new index.
    pub fn rearrange(&mut self, places: &[Option<usize>], properties: usize) {
        let mut moved = Self::default();
        for entry in self.entries(places.len()) {
            let mut values = vec![None; properties];
            for (value, place) in entry.values(places.len()).zip(places) {
                if let Some(slot) = place.and_then(|place| values.get_mut(place)) {
                    *slot = value;
                }
            }
            moved.remember(entry.at, &values, usize::MAX);
        }
        moved.newest = self.newest;
        *self = moved;
    }

    /// Forgets the oldest readings.
    fn forget(&mut self, count: u32, properties: usize) {
        if count == 0 {
            return;
        }
        let last = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(1);
        let Some((to, at)) = self.entries(properties).nth(last).map(|entry| (entry.to, entry.at))
        else {
            return;
        };
        self.bytes.drain(..to);
        self.base = at;
        self.len -= count;
    }

    fn grow(&mut self, by: usize) {
        let wanted = self.bytes.len() + by;
        if wanted > self.bytes.capacity() {
            self.bytes.reserve_exact(wanted.next_multiple_of(GROWTH) - self.bytes.len());
        }
    }

    fn find(&self, at: i64, properties: usize) -> Option<Entry<'_>> {
        self.entries(properties).find(|entry| entry.at == at)
    }

    fn entries(&self, properties: usize) -> Entries<'_> {
        Entries { all: &self.bytes, rest: &self.bytes, at: self.base, properties }
    }

    /// Writes the memory; times count from `from`.
    pub(crate) fn put(&self, out: &mut Vec<u8>, from: i64) {
        pack::put_number(out, u128::from(self.len));
        put_time(out, from, self.base);
        put_time(out, self.last, self.newest);
        pack::put_number(out, self.bytes.len() as u128);
        out.extend_from_slice(&self.bytes);
    }

    /// Reads a memory, each of its readings. `None`: the bytes are none.
    pub(crate) fn take(bytes: &mut &[u8], from: i64, properties: usize) -> Option<Self> {
        let len = pack::take(bytes)?;
        let base = take_time(bytes, from)?;
        let mut newest = *bytes;
        take_time(bytes, 0)?;
        let size = pack::take(bytes)?;
        let packed = take_bytes(bytes, size)?;
        let entries = Entries { all: packed, rest: packed, at: base, properties };
        let (count, to, last) =
            entries.fold((0_u32, 0, base), |(count, _, _), entry| (count + 1, entry.to, entry.at));
        if count != len || to != packed.len() {
            return None;
        }
        let newest = take_time(&mut newest, last)?;
        let mut memory = Self { bytes: Vec::new(), base, last, newest, len };
        memory.grow(packed.len());
        memory.bytes.extend_from_slice(packed);
        Some(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ints(numbers: &[i64]) -> Vec<Option<Kept>> {
        numbers.iter().map(|number| (*number != 0).then_some(Kept::Int(*number))).collect()
    }

    #[test]
    fn news_repeats_merges_and_conflicts_are_told_apart() {
        let mut memory = Memory::default();
        let check = |memory: &Memory, at, numbers: &[i64]| memory.check(at, &ints(numbers));
        assert_eq!(check(&memory, 10, &[5, 6, 0]), Verdict::New);
        memory.remember(10, &ints(&[5, 6, 0]), 4);
        memory.remember(20, &ints(&[1, 1, 1]), 4);
        assert_eq!(check(&memory, 10, &[5, 6, 0]), Verdict::Duplicate);
        assert_eq!(check(&memory, 10, &[5, 0, 0]), Verdict::Duplicate);
        assert_eq!(check(&memory, 10, &[5, 0, 9]), Verdict::Merge);
        assert_eq!(check(&memory, 10, &[5, 7, 9]), Verdict::Conflict { property: 1 });
        memory.merge(10, &ints(&[0, 0, 9]));
        assert_eq!(check(&memory, 10, &[0, 0, 9]), Verdict::Duplicate);
        memory.merge(10, &ints(&[0, 100_000, 0]));
        assert_eq!(check(&memory, 10, &[5, 100_000, 9]), Verdict::Duplicate);
        assert_eq!(check(&memory, 20, &[1, 1, 1]), Verdict::Duplicate);
        assert_eq!(check(&memory, -3, &[5, 6, 0]), Verdict::New);
    }

    #[test]
    fn the_oldest_entry_is_forgotten_first() {
        let mut memory = Memory::default();
        let known = |memory: &Memory| -> Vec<i64> {
            (0..9).filter(|at| memory.check(*at, &ints(&[1])) == Verdict::Duplicate).collect()
        };
        for at in 0..6 {
            memory.remember(at, &ints(&[1]), 4);
        }
        assert_eq!(known(&memory), [2, 3, 4, 5]);
        // The configuration has changed.
        memory.remember(6, &ints(&[1]), 2);
        assert_eq!(known(&memory), [5, 6]);
        memory.remember(7, &ints(&[1]), 3);
        assert_eq!(known(&memory), [5, 6, 7]);
    }

    #[test]
    fn properties_may_move_when_the_profile_changes() {
        let mut memory = Memory::default();
        memory.remember(1, &ints(&[7, 8]), 4);
        memory.rearrange(&[Some(2), None], 3);
        assert_eq!(memory.check(1, &ints(&[0, 0, 7])), Verdict::Duplicate);
        assert_eq!(memory.check(1, &ints(&[0, 8, 0])), Verdict::Merge);
    }

    #[test]
    fn a_reading_of_the_first_version_is_recognized() {
        use telemetry::reading::Value;
        let kept = |number| Some(Kept::of(&Value::Float(number)));
        let mut memory = Memory::default();
        // What the first version kept of 0.231.
        memory.remember(1, &[Some(Kept::Hash32(1_226_937_735))], 4);
        assert_eq!(memory.check(1, &[kept(0.231)]), Verdict::Duplicate);
        assert_eq!(memory.check(1, &[kept(0.232)]), Verdict::Conflict { property: 0 });
    }

    /// What the memory is: readings as a list.
    #[derive(Default)]
    struct Model(Vec<(i64, Vec<Option<Kept>>)>);

    impl Model {
        fn check(&self, at: i64, seen: &[Option<Kept>]) -> Verdict {
            let Some((_, known)) = self.0.iter().find(|(known, _)| *known == at) else {
                return Verdict::New;
            };
            let pairs = || seen.iter().zip(known).enumerate();
            let differs = |(_, (new, old)): &(usize, (&Option<Kept>, &Option<Kept>))| {
                new.is_some() && old.is_some() && new != old
            };
            if let Some((property, _)) = pairs().find(differs) {
                return Verdict::Conflict { property };
            }
            let news = pairs().any(|(_, (new, old))| new.is_some() && old.is_none());
            if news { Verdict::Merge } else { Verdict::Duplicate }
        }
    }

    proptest! {
        /// Guarantees: packed, written and read again at any point, the memory says what a plain list says.
        #[test]
        fn it_is_a_list_of_the_last_readings(
            readings in prop::collection::vec((0_i64..40, prop::collection::vec(0_i64..4, 9)), 1..120),
            most in 1_usize..20,
        ) {
            let (mut memory, mut model) = (Memory::default(), Model::default());
            for (minute, numbers) in readings {
                let (at, seen) = (minute * 60_000_000_123, ints(&numbers));
                let verdict = memory.check(at, &seen);
                prop_assert_eq!(verdict, model.check(at, &seen));
                match verdict {
                    Verdict::New => {
                        memory.remember(at, &seen, most);
                        model.0.push((at, seen));
                        let over = model.0.len().saturating_sub(most);
                        model.0.drain(..over);
                    }
                    Verdict::Merge => {
                        memory.merge(at, &seen);
                        for (known, all) in &mut model.0 {
                            if *known == at {
                                all.iter_mut().zip(&seen).for_each(|(old, new)| *old = new.or(*old));
                            }
                        }
                    }
                    Verdict::Duplicate | Verdict::Conflict { .. } => {}
                }
                let mut out = Vec::new();
                memory.put(&mut out, 5);
                let mut bytes = out.as_slice();
                let again = Memory::take(&mut bytes, 5, 9).unwrap();
                prop_assert_eq!(&again, &memory);
                prop_assert!(bytes.is_empty());
                for cut in 0..out.len() {
                    prop_assert!(Memory::take(&mut &out[..cut], 5, 9).is_none());
                }
            }
        }
    }
}
