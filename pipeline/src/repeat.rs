//! Whether a reading is news, by what the device's memory says.

use smallvec::SmallVec;
use telemetry::hash::hash64;
use telemetry::time::IngestTime;

use crate::device::{Device, Untimed};
use crate::identity::Verdict;
use crate::seen::Seen;

/// How long a reading without a time is remembered, nanoseconds of journal time: 10 minutes.
const UNTIMED_NANOS: i64 = 600_000_000_000;

/// What becomes of a reading after the memory was asked.
pub(crate) enum Fate {
    News,
    /// More of a reading that is remembered: by slot, which values were known before.
    More(SmallVec<[bool; 16]>),
    Duplicate,
    Conflict(usize),
}

pub(crate) fn timed_fate(
    device: &mut Device,
    at: i64,
    seen: &Seen,
    (most, replaces): (usize, bool),
) -> Fate {
    match device.memory.check(at, seen.kept()) {
        Verdict::New => {
            device.memory.remember_packed(at, (seen.packed(), seen.kept().len()), most);
            Fate::News
        }
        Verdict::Merge => {
            let known = device.memory.known(at, seen.kept().len());
            device.memory.merge(at, seen.kept());
            Fate::More(known)
        }
        // What the store refused is not there: the repaired reading takes its place.
        Verdict::Conflict { .. } if replaces => {
            device.memory.merge(at, seen.kept());
            Fate::News
        }
        Verdict::Duplicate if replaces => Fate::News,
        Verdict::Duplicate => Fate::Duplicate,
        Verdict::Conflict { property } => Fate::Conflict(property),
    }
}

/// Without a time to be trusted, sequence and content within ten minutes tell a repeat; without a sequence nothing does.
pub(crate) fn untimed_fate(
    device: &mut Device,
    sequence: Option<i64>,
    seen: &Seen,
    (most, replaces, received_at): (usize, bool, IngestTime),
) -> Fate {
    let Some(sequence) = sequence else { return Fate::News };
    let (content, received_at) = (hash64(seen.packed()), received_at.as_nanos());
    let untimed = &mut device.rare_mut().untimed;
    while untimed
        .front()
        .is_some_and(|old| received_at.saturating_sub(old.received_at) > UNTIMED_NANOS)
    {
        untimed.pop_front();
    }
    if untimed.iter().any(|known| known.sequence == sequence && known.content == content) {
        // What the store refused is not there.
        return if replaces { Fate::News } else { Fate::Duplicate };
    }
    if untimed.len() >= most.max(1) {
        untimed.pop_front();
    }
    untimed.push_back(Untimed { sequence, content, received_at });
    Fate::News
}
