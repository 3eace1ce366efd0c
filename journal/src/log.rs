//! The writer.

use crate::active::Active;
use crate::disk::{Disk, DiskFile, is_full, write_all_at};
use crate::format::{
    Appended, End, HEAD_BYTES, Link, Place, Seal, SegmentName, encode_record, record_size,
};
use crate::options::{AppendError, LogOptions, OpenError, Opened, Visible, WriteError};
use crate::reader::{ReadFrom, Reader};
use crate::recover;
use crate::shared::{Published, Shared};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The one writer of a folder.
#[derive(Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: LogOptions,
    /// Holds the lock for as long as the log lives.
    _lock: Arc<dyn DiskFile>,
    pub(crate) active: Option<Active>,
    /// The segment that the disk failed on, until the next one begins: it still has reserved what it will not use.
    pub(crate) spoiled: Option<Active>,
    /// The newest segment and where it ends, once there is no active one.
    pub(crate) previous: Link,
    next_sequence: u64,
    /// Records made for the active segment and for ones to come; one part for each, no part empty.
    pub(crate) parts: Vec<Part>,
    buffered: usize,
    spare: Vec<u8>,
    /// A segment was removed, and its name may come back.
    pub(crate) names_unsynced: bool,
    /// Last record appended, handed to the file, made durable.
    pub(crate) last: End,
    pub(crate) written: End,
    pub(crate) durable: End,
}

/// Records that wait to be written to one segment.
#[derive(Debug)]
pub(crate) struct Part {
    name: SegmentName,
    /// Last record before the segment.
    after: End,
    /// Where `bytes` begins in the segment.
    start: u64,
    bytes: Vec<u8>,
    last: End,
}

/// Why a step of writing failed.
pub(crate) enum Failure {
    Full(io::Error),
    Disk(io::Error),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if is_full(&e) { Self::Full(e) } else { Self::Disk(e) }
    }
}

impl Log {
    /// Opens the log in `dir`, creating it where there is none, takes its lock, and repairs what a
    /// crash left.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
    ) -> Result<(Self, Opened), OpenError> {
        options.check()?;
        let lock = recover::take_lock(&*disk, dir)?;
        let shared = Arc::new(Shared::new(disk, dir.to_owned(), true));
        let found = recover::recover(&shared)?;
        let end = found.opened.end;
        let log = Self {
            shared,
            options,
            _lock: lock,
            active: None,
            spoiled: None,
            previous: found.previous,
            next_sequence: found.next_sequence,
            parts: Vec::new(),
            buffered: 0,
            spare: Vec::new(),
            names_unsynced: false,
            last: end,
            written: end,
            durable: end,
        };
        Ok((log, found.opened))
    }

    /// Takes a record into the buffer, where nobody sees it before [`Log::write`] or [`Log::sync`].
    ///
    /// # Errors
    /// [`AppendError`]; the log is as before.
    #[inline]
    pub fn append(&mut self, record: Appended<'_>) -> Result<(), AppendError> {
        let size = record_size(record.payload.len());
        if record.position <= self.last.position {
            return Err(AppendError::Position {
                position: record.position,
                last: self.last.position,
            });
        }
        let segment_bytes = self.options.segment_bytes;
        let too_large = AppendError::TooLarge { bytes: size, segment_bytes };
        if size > segment_bytes - HEAD_BYTES {
            return Err(too_large);
        }
        if self.buffered >= self.options.buffer_bytes_max {
            return Err(AppendError::BufferFull { bytes: self.buffered });
        }
        let fits = self.parts.last().is_some_and(|part| part.next_offset() + size <= segment_bytes);
        if !fits {
            self.begin_part(record.position, size);
        }
        let synced = self.active.as_ref().map(|active| (active.segment.sequence(), active.synced));
        let Some(part) = self.parts.last_mut() else { return Err(too_large) };
        let synced_to = synced.filter(|(sequence, _)| *sequence == part.name.sequence);
        let place = Place {
            salt: part.name.salt,
            offset: part.next_offset(),
            synced_to: synced_to.map_or(HEAD_BYTES, |(_, synced)| synced),
        };
        let before = part.bytes.len();
        encode_record(&mut part.bytes, &record, place).ok_or(too_large)?;
        self.buffered += part.bytes.len() - before;
        part.last = End { position: record.position, ordinal: record.ordinal };
        self.last = part.last;
        Ok(())
    }

    /// Begins a part: in the active segment if `size` bytes fit there, else in one to come.
    fn begin_part(&mut self, position: u64, size: u64) {
        let bytes = std::mem::take(&mut self.spare);
        let active = self.active.as_ref().filter(|_| self.parts.is_empty());
        let room = active.filter(|active| active.written + size <= active.segment.head.capacity);
        let (name, after, start) = if let Some(active) = room {
            (active.segment.head.name, active.segment.head.after, active.written)
        } else {
            let [a, b, c, d, ..] = self.shared.disk.entropy().to_le_bytes();
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let salt = u32::from_le_bytes([a, b, c, d]);
            (SegmentName { first_position: position, sequence, salt }, self.last, HEAD_BYTES)
        };
        self.parts.push(Part { name, after, start, bytes, last: self.last });
    }

    /// Hands the buffer to the file; with [`Visible::Written`] readers see it then. A full segment
    /// is fsynced before the next one begins.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&mut self) -> Result<End, WriteError> {
        let outcome = self.write_parts();
        self.conclude(outcome)?;
        Ok(self.written)
    }

    /// Writes and makes durable; with [`Visible::Durable`] readers see it then. Returns the durable
    /// end: what stands up to there may be acknowledged. A failed fsync is never tried again: the
    /// tail of that segment is dead, and a new one begins.
    ///
    /// # Errors
    /// [`WriteError`]; even then [`Log::durable`] may have moved on.
    pub fn sync(&mut self) -> Result<End, WriteError> {
        let outcome = self.write_parts().and_then(|()| self.sync_active());
        self.conclude(outcome)?;
        Ok(self.durable)
    }

    /// Writes, makes durable, and seals the newest segment, so that opening has nothing to find
    /// out.
    ///
    /// # Errors
    /// [`WriteError`] of the sync. Failing to seal is no error: opening does it.
    pub fn close(mut self) -> Result<End, WriteError> {
        let end = self.sync()?;
        if let Some(active) = self.active.take() {
            let seal = Seal { end: active.synced, last: self.durable };
            if self.shared.seal(&active.segment, &*active.file, seal).is_err() {
                // The head's copy B stands as it was: opening finds the end by itself.
                return Ok(end);
            }
        }
        Ok(end)
    }

    fn write_parts(&mut self) -> Result<(), Failure> {
        while let Some(part) = self.parts.first() {
            let (name, after) = (part.name, part.after);
            if self.active.as_ref().is_none_or(|active| active.segment.head.name != name) {
                self.sync_active()?;
                self.begin_segment(name, after)?;
            }
            let (Some(part), Some(active)) = (self.parts.first(), self.active.as_mut()) else {
                break;
            };
            write_all_at(&*active.file, &part.bytes, part.start)?;
            active.written = part.start + part.bytes.len() as u64;
            active.write_ahead(self.options.zeros_ahead, part.bytes.len());
            self.written = part.last;
            let mut done = self.parts.remove(0).bytes;
            self.buffered -= done.len();
            done.clear();
            self.spare = done;
            if self.options.visible == Visible::Written {
                self.publish_active(self.written);
            }
        }
        Ok(())
    }

    /// Makes what is written durable.
    fn sync_active(&mut self) -> Result<(), Failure> {
        if let Some(active) = &mut self.active
            && active.synced < active.written
        {
            // A full disk at this point has lost what the kernel had taken: no reason to wait for
            // space.
            active.file.sync_data().map_err(Failure::Disk)?;
            active.synced = active.written;
        }
        self.durable = self.written;
        self.publish_active(self.durable);
        Ok(())
    }

    /// Makes what is written durable, for a cut; a failure takes the unsynced records away.
    pub(crate) fn sync_written(&mut self) -> io::Result<()> {
        match self.sync_active() {
            Ok(()) => Ok(()),
            Err(Failure::Full(e) | Failure::Disk(e)) => {
                self.forget_unsynced();
                Err(e)
            }
        }
    }

    fn publish_active(&self, end: End) {
        if let Some(active) = &self.active {
            let bytes = match self.options.visible {
                Visible::Durable => active.synced,
                Visible::Written => active.written,
            };
            active.segment.publish(bytes, false);
        }
        self.shared.publish(end);
    }

    /// Reports how writing went; after a failure of the disk everything that is not durable is
    /// gone.
    fn conclude(&mut self, outcome: Result<(), Failure>) -> Result<(), WriteError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Failure::Full(source)) => Err(WriteError::Full(source)),
            Err(Failure::Disk(source)) => {
                let (first, last) = (self.durable.position + 1, self.last.position);
                self.forget_unsynced();
                Err(WriteError::NotDurable { first, last, source })
            }
        }
    }

    /// Goes back to the durable end; the next record begins a new segment.
    pub(crate) fn forget_unsynced(&mut self) {
        self.parts.clear();
        self.buffered = 0;
        self.spoiled = self.retire().or(self.spoiled.take());
        self.last = self.durable;
        self.written = self.durable;
        self.shared.publish(self.durable);
    }

    /// Returns a reader of this log.
    #[must_use]
    pub fn reader(&self, from: ReadFrom) -> Reader {
        Reader::new(Arc::clone(&self.shared), from)
    }

    /// Returns the published end, to be asked and watched from anywhere.
    #[must_use]
    pub fn published(&self) -> Published {
        Published(Arc::clone(&self.shared))
    }

    /// Returns the last record appended, written or not.
    #[must_use]
    pub const fn end(&self) -> End {
        self.last
    }

    /// Returns the last record handed to the file.
    #[must_use]
    pub const fn written(&self) -> End {
        self.written
    }

    /// Returns the last record that is durable.
    #[must_use]
    pub const fn durable(&self) -> End {
        self.durable
    }

    /// Returns the position of the oldest record kept and published, or `None` where there is none.
    #[must_use]
    pub fn first_position(&self) -> Option<u64> {
        let segments = self.shared.segments();
        segments.iter().find(|s| s.extent().end > HEAD_BYTES).map(|s| s.head.name.first_position)
    }

    /// Returns the bytes that the segments take on the disk, with what is reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.segments().iter().map(|s| s.allocated.load(Ordering::Relaxed)).sum()
    }

    /// Returns the bytes appended and not yet handed to the file.
    #[must_use]
    pub const fn buffered(&self) -> usize {
        self.buffered
    }
}

impl Part {
    fn next_offset(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}
