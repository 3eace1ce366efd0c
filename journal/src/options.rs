//! Options and errors of a log.

use crate::format::{End, HEAD_BYTES};
use std::io;
use std::path::PathBuf;

/// From when on readers see a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visible {
    /// Once it is fsynced: the journal.
    #[default]
    Durable,
    /// Once it is handed to the file: the outbox, which a crash may shorten.
    Written,
}

/// Options of a log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes of a segment file, reserved at its creation. From 2 KiB to 2 GiB; default 64 MiB. Too
    /// small: a file and three fsyncs for few records. Too large: space comes back late. Bounds a
    /// record.
    pub segment_bytes: u64,
    /// Bytes that `append` may hold in memory before they are written; default 64 MiB. Beyond it
    /// [`AppendError::BufferFull`].
    pub buffer_bytes_max: usize,
    /// From when on readers see a record.
    pub visible: Visible,
    /// Zeros that are written ahead of the records in a segment at a time; default 0: none. An fsync
    /// then mostly finds blocks that have been written before, and the file system needs no entry of its
    /// own journal for it: on ext4 half the time and three fifths of the CPU. For a log that is fsynced
    /// often; each byte is written twice, but not where a single write is longer than a quarter of it. On a
    /// file system that copies on write it only costs.
    pub zeros_ahead: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            buffer_bytes_max: 64 << 20,
            visible: Visible::Durable,
            zeros_ahead: 0,
        }
    }
}

impl LogOptions {
    /// Smallest and largest segment.
    const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 2 * HEAD_BYTES..=2 << 30;

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        if Self::SEGMENT_BYTES.contains(&self.segment_bytes) {
            Ok(())
        } else {
            Err(OpenError::SegmentBytes { bytes: self.segment_bytes })
        }
    }
}

/// Why a log did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another `Log` of this one, writes there.
    #[error("folder `{}` is in use by another writer", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// `segment_bytes` is out of its range.
    #[error("segments of {bytes} bytes are not between 2 KiB and 2 GiB")]
    SegmentBytes {
        /// What was asked for.
        bytes: u64,
    },
    /// The disk said no.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a record was not taken. The log is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The position is not above the last one.
    #[error("position {position} does not follow {last}")]
    Position {
        /// The record's position.
        position: u64,
        /// The last position appended.
        last: u64,
    },
    /// No segment can hold it.
    #[error("a record of {bytes} bytes does not fit into a segment of {segment_bytes}")]
    TooLarge {
        /// Bytes of the record with its head.
        bytes: u64,
        /// Bytes of a segment.
        segment_bytes: u64,
    },
    /// `buffer_bytes_max` is used up: write first.
    #[error("{bytes} bytes wait to be written already")]
    BufferFull {
        /// Bytes in the buffer.
        bytes: usize,
    },
}

/// Why records were not written or not made durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// No space. Nothing is lost: what was appended waits in memory for the next call, which
    /// succeeds once there is space. Part of it may be written, or durable, already: see
    /// `Log::durable`.
    #[error("disk is full")]
    Full(#[source] io::Error),
    /// The disk failed. These records are gone from the log, those before are durable, and their
    /// positions may be appended again. The log goes on in a new segment.
    #[error("records {first} to {last} are not durable")]
    NotDurable {
        /// First position that is gone.
        first: u64,
        /// Last position that is gone.
        last: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl WriteError {
    /// Returns whether the records still wait in memory, so that the call is to be made again
    /// later.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        match self {
            Self::Full(_) => true,
            Self::NotDurable { .. } => false,
        }
    }
}

/// Why a cut stopped. What is left is a whole log, of which less than asked is cut.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`", path.display())]
pub struct CutError {
    /// What was being done, as a verb.
    pub doing: &'static str,
    /// To which file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Why a reader could not go on. It may be asked again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What was to be read next is cut. The next call goes on with the oldest record kept.
    #[error("records from {wanted} on are cut, the oldest kept follow {after}")]
    Cut {
        /// First position that the reader still wanted.
        wanted: u64,
        /// Last position before the oldest record kept.
        after: u64,
    },
    /// The disk said no; the next call tries the same again.
    #[error("read `{}`", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What was unreadable, and skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Stretches of damaged bytes; each held at least a part of a record. How many records are
    /// lost, the gaps in the ordinals tell.
    pub stretches: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Segments missing as a whole between others.
    pub missing_segments: u64,
    /// Stretches whose bytes could not be copied to `damaged/`.
    pub not_set_aside: u64,
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opened {
    /// Last record. Where damage took the very last ones, it lies before what was once
    /// acknowledged: who keeps positions elsewhere (snapshot, cursor) goes on above the largest of
    /// all.
    pub end: End,
    /// Bytes of the unsynced tail that were cut, up to the last one that was not zero.
    pub cut_bytes: u64,
    /// Whole records among them. None of them was ever reported durable.
    pub cut_records: u64,
    /// Damage found on the way: the newest segment is looked through, and any whose end no other
    /// proves. Damage elsewhere is found, set aside and counted by the readers that meet it.
    pub damage: Damage,
}
