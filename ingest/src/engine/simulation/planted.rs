//! Mistakes that the product could make, played by what stands around it: each must be noticed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::sim::SimDisk;
use journal::{Disk, DiskFile};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// Acknowledges before the fsync.
    AckBeforeFsync,
    /// Moves the store's cursor before the store has the points.
    CursorBeforeSettled,
    /// Snapshots before the outbox is fsynced up to it.
    SnapshotBeforeOutboxSync,
    /// Cuts both logs at the snapshot, beyond the store's cursor.
    CutBeyondCursor,
    /// Ends the alert `dry` at another value, each time in the same way.
    DryEndsEarly,
    /// Raises the alert `dry` without its delay.
    DryAtOnce,
    /// Tells silence after one interval instead of two.
    SilentTooSoon,
    /// Tells silence after three intervals.
    SilentTooLate,
    /// Counts silence while the broker is away, so that an outage of ours is one of theirs.
    CountsWhileAway,
    /// Never counts silence, as if the window were always full.
    NeverCaughtUp,
}

/// A disk on which the files of one folder are never synced.
#[derive(Debug)]
pub(super) struct Forgetful {
    pub(super) disk: SimDisk,
    pub(super) folder: PathBuf,
}

#[derive(Debug)]
struct ForgetfulFile(Arc<dyn DiskFile>);

impl Forgetful {
    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        if path.starts_with(&self.folder) { Arc::new(ForgetfulFile(file)) } else { file }
    }
}

impl Disk for Forgetful {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }

    fn entropy(&self) -> u64 {
        self.disk.entropy()
    }
}

impl DiskFile for ForgetfulFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.preallocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}
