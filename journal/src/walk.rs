//! Walks through the records of a segment, over whatever is damaged.

use crate::disk::{DiskFile, read_full_at};
use crate::format::{ALIGN, RECORD_HEAD, RECORD_MAGIC, RecordHead};
use crc32c::crc32c;
use std::io;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// A part of a file, held in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    base: u64,
    filled: usize,
}

/// Where to look: from `offset` up to `limit`, for positions above `above`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) salt: u32,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
    pub(crate) above: u64,
}

/// What stands at an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A record; its payload is `Window::payload`.
    Record(RecordHead),
    /// `len` bytes that are no record.
    Hole(Hole),
    /// Nothing more before the limit.
    End,
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hole {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Bytes up to the last one that is not zero.
    pub(crate) filled: u64,
    /// The head, where only the payload is damaged.
    pub(crate) head: Option<RecordHead>,
}

impl Window {
    /// Forgets what is held; the file has changed.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Returns the payload of the record at `offset` that the last step found.
    #[inline]
    pub(crate) fn payload(&self, offset: u64, head: &RecordHead) -> Option<&[u8]> {
        self.held(offset + RECORD_HEAD as u64, head.length as usize)
    }

    /// Returns what stands at `stretch.offset`.
    #[inline]
    pub(crate) fn step(&mut self, file: &dyn DiskFile, stretch: Stretch) -> io::Result<Step> {
        let Stretch { salt, offset, limit, above } = stretch;
        if offset >= limit {
            return Ok(Step::End);
        }
        if let Some(head) = self.head_at(file, stretch)? {
            let whole = usize::try_from(head.size()).unwrap_or(usize::MAX);
            self.load(file, offset, whole, limit)?;
            if self
                .payload(offset, &head)
                .is_some_and(|payload| crc32c(payload) == head.payload_crc)
            {
                return Ok(Step::Record(head));
            }
            let hole = Hole { offset, len: head.size(), filled: head.size(), head: Some(head) };
            return Ok(Step::Hole(hole));
        }
        self.hole(file, Stretch { salt, offset, limit, above }).map(Step::Hole)
    }

    /// Returns the head at `stretch.offset`, if there is one whose record ends before the limit.
    #[inline]
    fn head_at(&mut self, file: &dyn DiskFile, stretch: Stretch) -> io::Result<Option<RecordHead>> {
        self.load(file, stretch.offset, RECORD_HEAD, stretch.limit)?;
        let bytes = self.held(stretch.offset, RECORD_HEAD);
        let head = bytes.and_then(|bytes| RecordHead::decode(bytes, stretch.salt, stretch.offset));
        Ok(head.filter(|head| {
            head.end.position > stretch.above && head.size() <= stretch.limit - stretch.offset
        }))
    }

    /// Measures the hole at `stretch.offset`: up to the next good head, or to the limit.
    fn hole(&mut self, file: &dyn DiskFile, mut stretch: Stretch) -> io::Result<Hole> {
        let from = stretch.offset;
        let mut filled = from;
        let mut first = true;
        while stretch.offset < stretch.limit {
            self.load(file, stretch.offset, RECORD_HEAD, stretch.limit)?;
            let Some(bytes) = self.rest(stretch.offset).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            let mut found = None;
            for (index, word) in bytes.chunks(ALIGN).enumerate() {
                let at = stretch.offset + (index * ALIGN) as u64;
                if word.starts_with(&RECORD_MAGIC) && !(first && index == 0) {
                    found = Some(at);
                    break;
                }
                if word.iter().any(|byte| *byte != 0) {
                    filled = at + word.len() as u64;
                }
            }
            first = false;
            let Some(at) = found else {
                stretch.offset += bytes.len() as u64;
                continue;
            };
            stretch.offset = at;
            if self.head_at(file, stretch)?.is_some() {
                break;
            }
            filled = at + ALIGN as u64;
            stretch.offset += ALIGN as u64;
        }
        let end = stretch.offset.min(stretch.limit);
        let end = if end == from { stretch.limit } else { end };
        Ok(Hole { offset: from, len: end - from, filled: filled.min(end) - from, head: None })
    }

    /// Sees to it that `len` bytes from `offset` are held, or what there is of them before `limit`.
    #[inline]
    fn load(&mut self, file: &dyn DiskFile, offset: u64, len: usize, limit: u64) -> io::Result<()> {
        let len = usize::try_from(limit.saturating_sub(offset)).map_or(len, |most| most.min(len));
        if self.held(offset, len).is_some() {
            Ok(())
        } else {
            self.refill(file, offset, len, limit)
        }
    }

    #[cold]
    fn refill(
        &mut self,
        file: &dyn DiskFile,
        offset: u64,
        len: usize,
        limit: u64,
    ) -> io::Result<()> {
        let most = usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = len.max(CHUNK).min(most);
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        self.base = offset;
        self.filled = 0;
        let target = self.buffer.get_mut(..want).unwrap_or_default();
        self.filled = read_full_at(file, target, offset)?;
        Ok(())
    }

    #[inline]
    fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        self.buffer.get(..self.filled)?.get(from..from.checked_add(len)?)
    }

    fn rest(&self, offset: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        self.buffer.get(..self.filled)?.get(from..)
    }
}
