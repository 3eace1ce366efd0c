//! Readers: many, each at its own place.

use crate::disk::{Disk, DiskFile};
use crate::format::{End, HEAD_BYTES, RecordHead};
use crate::options::{Damage, OpenError, ReadError};
use crate::recover;
use crate::set_aside::set_aside;
use crate::shared::{Extent, Published, Segment, Shared};
use crate::walk::{Step, Stretch, Window};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The oldest record kept.
    Oldest,
    /// The first record at or above this position; [`ReadError::Cut`] if it may have been cut.
    Position(u64),
    /// Only what is published from now on.
    Newest,
}

/// A record read, its payload in the reader's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// As appended.
    pub kind: u8,
    /// As appended.
    pub position: u64,
    /// As appended.
    pub ordinal: u64,
    /// As appended; good until the next call.
    pub payload: &'a [u8],
}

/// Follows a log. Positions only rise: a record taken away by a failed fsync and appended again is
/// seen once.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// Records at or below this are not wanted (any more).
    passed: u64,
    current: Option<Current>,
    window: Window,
    damage: Damage,
    /// The oldest record kept will do, whatever was cut before it.
    from_oldest: bool,
}

/// The segment that a reader is in.
#[derive(Debug)]
struct Current {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// Last position read in the segment, or before it.
    above: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: ReadFrom) -> Self {
        let passed = match from {
            ReadFrom::Oldest => 0,
            ReadFrom::Position(position) => position.saturating_sub(1),
            ReadFrom::Newest => shared.end().position,
        };
        let from_oldest = from == ReadFrom::Oldest;
        let window = Window::default();
        Self { shared, passed, current: None, window, damage: Damage::default(), from_oldest }
    }

    /// Reads a folder without being its writer: nothing is locked, repaired or set aside. The
    /// reader sees what stands there now, and does not follow what a writer adds.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, from: ReadFrom) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(disk, dir.to_owned(), false));
        let opened = recover::look(&shared)?;
        let mut reader = Self::new(shared, from);
        reader.damage.missing_segments = opened.damage.missing_segments;
        Ok(reader)
    }

    /// Returns the next record, or `None` when nothing more is published now. Damaged bytes are
    /// skipped, set aside and counted.
    ///
    /// # Errors
    /// [`ReadError`]; the reader may be asked again.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "lends from its buffer, which `Iterator` cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let Some((offset, head)) = self.advance()? else { return Ok(None) };
        let payload = self.window.payload(offset, &head).unwrap_or_default();
        let End { position, ordinal } = head.end;
        Ok(Some(Record { kind: head.kind, position, ordinal, payload }))
    }

    /// Waits for more than has been read; `false` when there was none for `timeout`.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.shared.wait(timeout, |end| self.has_more_before(end))
    }

    /// Returns whether there is something that this reader has not looked at.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_more_before(self.shared.end())
    }

    fn has_more_before(&self, end: End) -> bool {
        let Some(current) = &self.current else {
            return end.position > self.passed && !self.shared.segments().is_empty();
        };
        let extent = current.segment.extent();
        current.offset < extent.end
            || extent.removed
            || (extent.sealed && self.after(&current.segment).is_some())
    }

    /// Returns the damage met so far.
    #[must_use]
    pub const fn damaged(&self) -> Damage {
        self.damage
    }

    /// Returns the last position read, or passed over at the beginning.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.passed
    }

    /// Returns another reader of the same log.
    #[must_use]
    pub fn again(&self, from: ReadFrom) -> Self {
        Self::new(Arc::clone(&self.shared), from)
    }

    /// Returns the log's published end, to be asked and watched from anywhere.
    #[must_use]
    pub fn published(&self) -> Published {
        Published(Arc::clone(&self.shared))
    }

    /// Moves to the next wanted record.
    fn advance(&mut self) -> Result<Option<(u64, RecordHead)>, ReadError> {
        loop {
            let Some(current) = &mut self.current else {
                if !self.enter()? {
                    return Ok(None);
                }
                continue;
            };
            let extent = current.segment.extent();
            if current.offset >= extent.end || extent.removed {
                if !self.leave(extent)? {
                    return Ok(None);
                }
                continue;
            }
            let salt = current.segment.head.name.salt;
            let stretch =
                Stretch { salt, offset: current.offset, limit: extent.end, above: current.above };
            let step = self.window.step(&*current.file, stretch);
            match step.map_err(|source| read_error(&self.shared, &current.segment, source))? {
                Step::Record(head) => {
                    let offset = current.offset;
                    current.offset += head.size();
                    current.above = head.end.position;
                    if head.end.position > self.passed {
                        self.passed = head.end.position;
                        self.from_oldest = false;
                        return Ok(Some((offset, head)));
                    }
                }
                Step::Hole(hole) => {
                    // The writer may have taken the tail away meanwhile; then these bytes are no
                    // damage.
                    if current.segment.extent().end < hole.offset + hole.len {
                        self.window.clear();
                        continue;
                    }
                    set_aside(
                        &self.shared,
                        &current.segment,
                        &*current.file,
                        hole,
                        &mut self.damage,
                    );
                    current.offset += hole.len;
                    current.above = hole.head.map_or(current.above, |head| head.end.position);
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Enters the segment that holds the first wanted record.
    fn enter(&mut self) -> Result<bool, ReadError> {
        let segment = {
            let segments = self.shared.segments();
            let Some(oldest) = segments.first() else { return Ok(false) };
            let after = oldest.head.after.position;
            if self.passed < after && !self.from_oldest {
                let wanted = self.passed + 1;
                self.passed = after;
                return Err(ReadError::Cut { wanted, after });
            }
            let newer =
                segments.partition_point(|segment| segment.head.after.position <= self.passed);
            Arc::clone(segments.get(newer.saturating_sub(1)).unwrap_or(oldest))
        };
        self.open_segment(segment)
    }

    fn open_segment(&mut self, segment: Arc<Segment>) -> Result<bool, ReadError> {
        let file = match self.shared.disk.open(&self.shared.path(&segment.head)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_removed(&segment) => {
                self.current = None;
                return Ok(true);
            }
            file => file.map_err(|source| read_error(&self.shared, &segment, source))?,
        };
        let above = segment.head.after.position;
        self.window.clear();
        self.current = Some(Current { segment, file, offset: HEAD_BYTES, above });
        Ok(true)
    }

    /// Returns whether the segment was cut, waiting for a cut that is under way.
    fn is_removed(&self, segment: &Segment) -> bool {
        let _segments = self.shared.segments();
        segment.extent().removed
    }

    /// Leaves the current segment for the next one; `false` while there is none.
    fn leave(&mut self, extent: Extent) -> Result<bool, ReadError> {
        let Some(current) = &self.current else { return Ok(true) };
        if extent.removed {
            self.current = None;
            return Ok(true);
        }
        if !extent.sealed {
            return Ok(false);
        }
        match self.after(&current.segment) {
            Some(next) => self.open_segment(next),
            None => Ok(false),
        }
    }

    /// Returns the segment after this one.
    fn after(&self, segment: &Segment) -> Option<Arc<Segment>> {
        let segments = self.shared.segments();
        let next = segments.partition_point(|other| other.sequence() <= segment.sequence());
        segments.get(next).map(Arc::clone)
    }
}

fn read_error(shared: &Shared, segment: &Segment, source: io::Error) -> ReadError {
    ReadError::Io { path: shared.path(&segment.head), source }
}
