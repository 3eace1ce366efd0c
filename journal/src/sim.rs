//! A simulated disk: in memory, with every fault from one seed, for the crash model and other
//! rooms' tests.
//!
//! - Bytes written since the last sync stand in a cache. A power cut keeps, drops or tears
//!   each of their 512-byte sectors, independently; a length not synced is the old or the new one.
//! - A name created, renamed or removed since the folder's last sync is there or not,
//!   independently.
//! - A failed sync persists some sectors; the others stay readable and are never written by a later
//!   sync.
//! - Reserved blocks may hold the bytes of a removed file.
//! - Writes may be short; writes, reservations and syncs may fail; the machine may stop at any
//!   call.
//!
//! A sector that was synced and not written since never changes: [`SimDisk::damage`] does that.

mod file;
mod inode;
pub mod model;
mod state;

use crate::disk::{Disk, DiskFile};
use crate::shared::lock;
use file::SimFile;
use state::{Call, State};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Small fast generator (splitmix64): the same numbers from the same seed on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Begins a sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`; 0 for `n` = 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }

    /// Returns `true` in `n` of 1024 throws.
    pub const fn in_1024(&mut self, n: u16) -> bool {
        self.next() % 1024 < n as u64
    }
}

/// How often calls fail, each in 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Writes that take only a part.
    pub short_write: u16,
    /// Writes and reservations that find no space.
    pub no_space: u16,
    /// Writes that fail with an I/O error.
    pub write_error: u16,
    /// Syncs of a file or folder that fail.
    pub sync_error: u16,
}

/// A mistake that a log could make, played by the disk at the place where the log would make it:
/// shows that the crash model would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Acknowledges before the fsync: syncs of files do nothing.
    AckBeforeFsync,
    /// Forgets the folder: syncs of folders do nothing.
    NoDirectoryFsync,
    /// Calls fsync again when it has failed.
    FsyncRetried,
    /// Does not salt its segments.
    NoSalt,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AckBeforeFsync, Self::NoDirectoryFsync, Self::FsyncRetried, Self::NoSalt];

    /// Returns its name, as the example takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::NoDirectoryFsync => "no-directory-fsync",
            Self::FsyncRetried => "fsync-retried",
            Self::NoSalt => "no-salt",
        }
    }
}

/// What stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The machine: what was not synced is at the dice's mercy.
    Power,
    /// The process: the cache lives on.
    Process,
}

/// A simulated disk. Clones share it.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// Makes an empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed, None))))
    }

    /// Makes an empty disk that plays a mistake.
    #[must_use]
    pub fn with_planted(seed: u64, planted: Option<Planted>) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed, planted))))
    }

    /// Sets how often calls fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.0).faults = faults;
    }

    /// Sets the size of the disk in bytes; `None`: without end. Files take their length.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.0).capacity = bytes;
    }

    /// Makes the machine stop in the `calls`-th call from now (1: the next); `None`: never.
    /// Every call from then on fails, until [`SimDisk::crash`].
    pub fn stop_after(&self, calls: Option<u64>) {
        let mut state = lock(&self.0);
        state.stop_at = calls.map(|calls| state.calls + calls);
    }

    /// Returns whether the machine has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        lock(&self.0).stopped
    }

    /// Returns the calls made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.0).calls
    }

    /// Stops now, decides what survives, and starts again. Open files are gone, locks free.
    pub fn crash(&self, crash: Crash) {
        lock(&self.0).crash(crash);
    }

    /// Returns the paths of all files, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        lock(&self.0).paths()
    }

    /// Returns the bytes of a file.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.0).bytes(path)
    }

    /// Replaces the bytes of a file, on the disk and in the cache: bit rot, a lost block, a foreign
    /// hand.
    pub fn damage(&self, path: &Path, bytes: Vec<u8>) {
        lock(&self.0).replace(path, bytes);
    }

    fn file(&self, inode: usize, epoch: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile::new(self.clone(), inode, epoch))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (inode, epoch) = {
            let mut state = lock(&self.0);
            state.call(Call::Look)?;
            (state.find(path)?, state.epoch)
        };
        Ok(self.file(inode, epoch))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (inode, epoch) = {
            let mut state = lock(&self.0);
            let stops = state.call(Call::Name)?;
            let inode = state.create(path);
            state.stop_if(stops)?;
            (inode, state.epoch)
        };
        Ok(self.file(inode, epoch))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        let stops = state.call(Call::Name)?;
        state.rename(from, to)?;
        state.stop_if(stops)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        let stops = state.call(Call::Name)?;
        state.remove(path)?;
        state.stop_if(stops)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = lock(&self.0);
        state.call(Call::Look)?;
        Ok(state.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.call(Call::Sync)?;
        state.sync_dir(dir);
        Ok(())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        // Folders are always there.
        lock(&self.0).call(Call::Look).map(|_| ())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let mut state = lock(&self.0);
        state.call(Call::Look)?;
        Ok(state.free())
    }

    fn entropy(&self) -> u64 {
        lock(&self.0).entropy()
    }
}
