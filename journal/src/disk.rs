//! The seam to the disk: every call of this crate that touches a file goes through it, so that a
//! simulated disk can stand in for the real one.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A disk, real or simulated. All calls block.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is no such file.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file for reading and writing; what stood under the name is emptied.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Moves `from` over `to` in one step; durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns the names of the files in a folder, in no order; names that are no UTF-8 are left
    /// out.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes created, renamed and removed names of a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a folder and the folders above it.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Returns the free space of the file system that holds `dir`, in bytes, for an unprivileged
    /// user.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Returns bits that no earlier call on this machine returned; they salt segments. Not for
    /// secrets.
    fn entropy(&self) -> u64 {
        RandomState::new().hash_one(0_u8)
    }
}

/// An open file. Closing it releases its lock.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at `offset`; may read less than asked, 0 only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset`; may write less than asked.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the written bytes durable (fdatasync).
    ///
    /// # Errors
    /// What the system says. After an error nothing is known about the bytes written since the last
    /// success, and calling again proves nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes bytes, length and allocation durable (fsync).
    ///
    /// # Errors
    /// As [`DiskFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
    /// Reserves the blocks of the first `len` bytes and makes the file at least that long. What
    /// stands in blocks never written is not promised.
    ///
    /// # Errors
    /// What the system says.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file to `len` bytes, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;
    /// Returns whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Takes the file's exclusive advisory lock; `false` when somebody else holds it.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Returns whether an error says that the disk or the quota is used up.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes all of `bytes`, however short the single writes are.
pub(crate) fn write_all_at(
    file: &dyn DiskFile,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = bytes.get(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes zeros from one offset up to another.
pub(crate) fn write_zeros(file: &dyn DiskFile, mut from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    while from < to {
        let len = usize::try_from(to - from).unwrap_or(ZEROS.len()).min(ZEROS.len());
        write_all_at(file, ZEROS.get(..len).unwrap_or(&ZEROS), from)?;
        from += len as u64;
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; returns the bytes read.
pub(crate) fn read_full_at(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}
