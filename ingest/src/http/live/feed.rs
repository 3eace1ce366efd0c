//! What one watcher gets: entries of the outbox, turned into events, at most so many readings a second.

use std::time::Duration;

use journal::{Published, ReadError, Reader};
use pipeline::{Entries, Entry, EntryKind};
use telemetry::time::IngestTime;
use tokio::time::Instant;

use super::event::{
    EventId, Gap, GapReason, write_alert, write_gap, write_heartbeat, write_reading,
};
use super::filter::Filter;

/// Bytes of events after which a chunk is sent. The results of one position stay together, so a chunk may be
/// larger by those.
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes of the outbox after which a chunk is sent, so that a client with a narrow filter takes turns.
const READ_BYTES: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// When to fill again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At once: there is more.
    More,
    /// Then, whatever is published before.
    At(Instant),
    /// When something is published.
    News {
        /// And even without.
        at_latest: Option<Instant>,
    },
    /// After a while: the disk said no.
    Broken,
    /// With a reader of what comes from now on: what came next is cut.
    Cut,
}

/// Events to send.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) next: Next,
}

/// A watcher's place in the outbox.
#[derive(Debug)]
pub(super) struct Feed {
    reader: Reader,
    teller: Teller,
    /// A client that resumes waits for its budget up to here, so that it misses nothing; only beyond is what
    /// is too much skipped.
    complete_to: u64,
    damaged: u64,
    /// Whether the disk said no the last time, which is logged once.
    is_broken: bool,
    /// The record being told.
    payload: Vec<u8>,
}

/// What a watcher has been told, and not yet.
#[derive(Debug)]
struct Teller {
    filter: Filter,
    budget: Budget,
    /// The last entry passed, told or not: entries up to it are not wanted.
    passed: EventId,
    /// Readings skipped and not told.
    skipped: u64,
    /// Any other gap not told.
    gap: Option<Gap>,
}

impl Feed {
    /// Begins with a reader; entries up to `after` are not wanted. `None`: the reader begins at the end.
    pub(super) fn new(reader: Reader, filter: Filter, per_s: u32, after: Option<EventId>) -> Self {
        let complete_to = after.map_or(0, |_| reader.published().end().position);
        let passed = after.unwrap_or(end_of(&reader));
        let budget = Budget::new(per_s, Instant::now());
        let teller = Teller { filter, budget, passed, skipped: 0, gap: None };
        Self { reader, teller, complete_to, damaged: 0, is_broken: false, payload: Vec::new() }
    }

    /// Goes on with a reader of what comes from now on, and tells that there is a gap.
    pub(super) fn restart(&mut self, reader: Reader) {
        self.teller.passed = end_of(&reader);
        self.teller.skipped = 0;
        self.reader = reader;
        self.complete_to = 0;
        self.damaged = 0;
        self.tell(Gap { reason: GapReason::Cut, missed: None });
    }

    /// Tells of a gap before the next event.
    pub(super) fn tell(&mut self, gap: Gap) {
        self.teller.gap = Some(gap);
    }

    /// Returns the published end of the outbox.
    pub(super) fn published(&self) -> Published {
        self.reader.published()
    }

    /// Returns what keeps a quiet connection alive.
    pub(super) fn heartbeat(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // An id would say that what was skipped before it has been told.
        let has_told_all = self.teller.skipped == 0;
        write_heartbeat(&mut out, has_told_all.then_some(self.teller.passed));
        out
    }

    /// Makes the next chunk. May wait for the disk.
    pub(super) fn fill(&mut self, now: Instant) -> Chunk {
        self.teller.budget.renew(now);
        let mut bytes = Vec::new();
        if self.teller.budget.has_some() {
            self.teller.write_gaps(&mut bytes);
        }
        let next = self.fill_into(&mut bytes);
        Chunk { bytes, next }
    }

    fn fill_into(&mut self, out: &mut Vec<u8>) -> Next {
        let mut read = 0;
        loop {
            let is_complete = self.reader.position() < self.complete_to;
            if is_complete && !self.teller.budget.has_some() {
                return Next::At(self.teller.budget.renewed_at());
            }
            if out.len() >= CHUNK_BYTES || read >= READ_BYTES {
                return Next::More;
            }
            let position = match self.read() {
                Ok(Some(position)) => position,
                Ok(None) => {
                    self.note_damage();
                    self.teller.write_gap(out);
                    let renewed_at = self.teller.budget.renewed_at();
                    let at_latest = (self.teller.skipped > 0).then_some(renewed_at);
                    return Next::News { at_latest };
                }
                Err(ReadError::Cut { .. }) => return Next::Cut,
                Err(error) => {
                    if !std::mem::replace(&mut self.is_broken, true) {
                        tracing::warn!(%error, "the live feed cannot read the outbox");
                    }
                    return Next::Broken;
                }
            };
            self.is_broken = false;
            read += self.payload.len();
            self.note_damage();
            self.teller.pass_record(position, &self.payload, is_complete, out);
        }
    }

    /// Reads the next record and returns its position.
    fn read(&mut self) -> Result<Option<u64>, ReadError> {
        let Some(record) = self.reader.next()? else { return Ok(None) };
        self.payload.clear();
        self.payload.extend_from_slice(record.payload);
        Ok(Some(record.position))
    }

    fn note_damage(&mut self) {
        let damage = self.reader.damaged();
        let met = damage.stretches + damage.missing_segments;
        if met > self.damaged {
            self.damaged = met;
            self.tell(Gap { reason: GapReason::Damaged, missed: None });
        }
    }
}

impl Teller {
    /// Passes the results of one position. `is_complete`: none is skipped, even if it is too much at once.
    fn pass_record(&mut self, position: u64, payload: &[u8], is_complete: bool, out: &mut Vec<u8>) {
        let Some(entries) = Entries::of(payload) else {
            self.gap = Some(Gap { reason: GapReason::Damaged, missed: None });
            return;
        };
        let received_at = entries.received_at();
        for (index, entry) in (0..).zip(entries) {
            let id = EventId { position, index };
            if id <= self.passed {
                continue;
            }
            match entry.kind {
                EntryKind::Point => {
                    if !is_complete && !self.budget.has_some() {
                        self.skipped += u64::from(self.filter.keeps_point(entry.data));
                    } else {
                        self.pass_point(id, received_at, &entry, out);
                    }
                }
                EntryKind::Alert => {
                    if self.filter.keeps_alert(entry.data) {
                        self.write_gaps(out);
                        write_alert(out, id, entry.data);
                    }
                }
                EntryKind::DeadReading
                | EntryKind::Duplicate
                | EntryKind::DeadUplink
                | EntryKind::StoreLetter => {}
            }
            self.passed = id;
        }
    }

    fn pass_point(
        &mut self,
        id: EventId,
        received_at: IngestTime,
        entry: &Entry<'_>,
        out: &mut Vec<u8>,
    ) {
        if self.filter.keeps_point(entry.data) {
            self.write_gaps(out);
            if write_reading(out, id, received_at, entry.data) {
                self.budget.spend();
            }
        }
    }

    /// Tells every gap.
    fn write_gaps(&mut self, out: &mut Vec<u8>) {
        self.write_gap(out);
        if self.skipped > 0 {
            let missed = Some(std::mem::take(&mut self.skipped));
            write_gap(out, self.passed, Gap { reason: GapReason::Rate, missed });
        }
    }

    /// Tells a gap that is not counted.
    fn write_gap(&mut self, out: &mut Vec<u8>) {
        if let Some(gap) = self.gap.take() {
            write_gap(out, self.passed, gap);
        }
    }
}

/// Returns the place that a reader of what comes next begins after.
fn end_of(reader: &Reader) -> EventId {
    EventId { position: reader.position(), index: u32::MAX }
}

/// Readings that may be told, renewed each second.
#[derive(Debug)]
struct Budget {
    per_s: i64,
    /// Below zero after more was told at once than there was; the next seconds pay for it.
    left: i64,
    since: Instant,
}

impl Budget {
    const fn new(per_s: u32, now: Instant) -> Self {
        let per_s = per_s as i64;
        Self { per_s, left: per_s, since: now }
    }

    fn renew(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds == 0 {
            return;
        }
        self.since += Duration::from_secs(seconds);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let owed = self.left.min(0);
        self.left = owed.saturating_add(self.per_s.saturating_mul(seconds)).min(self.per_s);
    }

    fn renewed_at(&self) -> Instant {
        self.since + SECOND
    }

    const fn has_some(&self) -> bool {
        self.left > 0
    }

    const fn spend(&mut self) {
        self.left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_beyond_the_budget_is_paid_in_the_next_seconds() {
        let start = Instant::now();
        let mut budget = Budget::new(10, start);
        (0..25).for_each(|_| budget.spend());
        for (after_ms, has_some) in [(999, false), (1000, false), (2000, true)] {
            budget.renew(start + Duration::from_millis(after_ms));
            assert_eq!(budget.has_some(), has_some, "{after_ms}");
        }
        assert_eq!(budget.left, 5);
        budget.renew(start + Duration::from_secs(60));
        assert_eq!(budget.left, 10, "what was not used is gone");
        assert_eq!(budget.renewed_at(), start + Duration::from_secs(61));
    }
}
