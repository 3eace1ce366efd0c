//! Small durable state: cursors, and files replaced as a whole.
//!
//! A cursor file has two slots of 16 KiB. A store writes the slot that does not hold the newest
//! value, so that a torn write never takes both:
//!
//! | offset in the slot | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `TLcu` |
//! | 4 | 4 | CRC32C of the bytes 8 to the end of the value |
//! | 8 | 8 | sequence, from 1; its parity is the slot |
//! | 16 | 4 | length of the value |
//! | 20 | … | value |

use crate::disk::{Disk, DiskFile, is_full, read_full_at, write_all_at};
use crc32c::crc32c;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SLOT_BYTES: u64 = 16 << 10;
const MAGIC: [u8; 4] = *b"TLcu";
const SLOT_HEAD: usize = 20;

/// A small value that survives crashes: after one it is the last one stored, or the one whose
/// storing was under way.
#[derive(Debug)]
pub struct CursorFile {
    file: Arc<dyn DiskFile>,
    sequence: u64,
    value: Option<Vec<u8>>,
}

/// Why a value was not stored; the one before stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The value is longer than [`CursorFile::VALUE_BYTES_MAX`].
    #[error("a value of {bytes} bytes is too long for a cursor")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// No space: the same may be tried again.
    #[error("disk is full")]
    Full(#[source] io::Error),
    /// The disk said no. Storing again is sound: it writes the whole slot anew.
    #[error("write cursor")]
    Io(#[source] io::Error),
}

impl CursorFile {
    /// Longest value, in bytes.
    pub const VALUE_BYTES_MAX: usize = (16 << 10) - SLOT_HEAD;

    /// Opens the cursor at `path`, making it where there is none. One `CursorFile` at a time.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = match disk.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => make(disk, path)?,
            opened => {
                let file = opened?;
                // The name may be there only because the process, not the machine, died before its
                // sync.
                disk.sync_dir(parent(path))?;
                file
            }
        };
        let newest = [0, 1].into_iter().filter_map(|slot| read_slot(&*file, slot).transpose());
        let newest = newest
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .max_by_key(|(sequence, _)| *sequence);
        let mut cursor = Self { file, sequence: 0, value: None };
        if let Some((sequence, value)) = newest {
            // After a failed fsync it may stand in the page cache alone.
            cursor.write(sequence, &value)?;
            cursor.sequence = sequence;
            cursor.value = Some(value);
        }
        Ok(cursor)
    }

    /// Stores a value; it is durable when this returns.
    ///
    /// # Errors
    /// [`CursorError`].
    pub fn store(&mut self, value: &[u8]) -> Result<(), CursorError> {
        if value.len() > Self::VALUE_BYTES_MAX {
            return Err(CursorError::TooLong { bytes: value.len() });
        }
        let sequence = self.sequence + 1;
        let written = self.write(sequence, value);
        written.map_err(|e| if is_full(&e) { CursorError::Full(e) } else { CursorError::Io(e) })?;
        self.sequence = sequence;
        let kept = self.value.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(value);
        Ok(())
    }

    /// Returns the value last stored.
    #[must_use]
    pub fn load(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn write(&self, sequence: u64, value: &[u8]) -> io::Result<()> {
        let length = u32::try_from(value.len()).map_err(io::Error::other)?;
        let mut body = Vec::with_capacity(SLOT_HEAD + value.len());
        body.extend_from_slice(&sequence.to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(value);
        let mut slot = Vec::with_capacity(SLOT_HEAD + value.len());
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&crc32c(&body).to_le_bytes());
        slot.extend_from_slice(&body);
        write_all_at(&*self.file, &slot, (sequence & 1) * SLOT_BYTES)?;
        self.file.sync_data()
    }
}

/// Makes an empty cursor. It gets its name only when its blocks are reserved and hold nothing.
fn make(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = temporary(path);
    let file = disk.create(&temporary)?;
    file.preallocate(2 * SLOT_BYTES)?;
    for slot in [0, 1] {
        write_all_at(&*file, &[0; SLOT_HEAD], slot * SLOT_BYTES)?;
    }
    file.sync_all()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path))?;
    Ok(file)
}

/// Reads a slot; `None` when it holds no whole value.
fn read_slot(file: &dyn DiskFile, slot: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut bytes = vec![0; CursorFile::VALUE_BYTES_MAX + SLOT_HEAD];
    let n = read_full_at(file, &mut bytes, slot * SLOT_BYTES)?;
    bytes.truncate(n);
    Ok(decode_slot(&bytes).filter(|(sequence, _)| sequence & 1 == slot))
}

fn decode_slot(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = body.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let value = rest.get(..length)?;
    let sealed = body.get(..SLOT_HEAD - 8 + length)?;
    (*magic == MAGIC && crc32c(sealed) == u32::from_le_bytes(*crc))
        .then(|| (u64::from_le_bytes(*sequence), value.to_vec()))
}

/// Replaces a file as a whole: after a crash it holds the old bytes or the new ones, and the new
/// ones once this has returned.
///
/// # Errors
/// What the disk says; the old bytes stand, unless only the last step, making the name durable,
/// failed.
pub fn atomic_write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let written = disk.create(&temporary).and_then(|file| {
        write_all_at(&*file, bytes, 0)?;
        file.sync_all()
    });
    if let Err(e) = written {
        // Gives the space back, where it can be given; the first error says more than this one
        // would.
        drop(disk.remove(&temporary));
        return Err(e);
    }
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path))
}

/// Reads a file as a whole.
///
/// # Errors
/// What the disk says; `NotFound` when there is none.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let n = read_full_at(&*file, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
