//! An open file of the simulated disk.

use super::SimDisk;
use super::state::Call;
use crate::disk::DiskFile;
use crate::shared::lock;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open file.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimDisk,
    inode: usize,
    /// The run of the machine it was opened in.
    epoch: u64,
    holds_lock: AtomicBool,
}

impl SimFile {
    pub(super) const fn new(disk: SimDisk, inode: usize, epoch: u64) -> Self {
        Self { disk, inode, epoch, holds_lock: AtomicBool::new(false) }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.holds_lock.load(Ordering::Relaxed) {
            lock(&self.disk.0).unlock(self.inode, self.epoch);
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        state.call(Call::Look)?;
        Ok(state.read(self.inode, buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        let stops = state.call(Call::Write)?;
        let n = state.write(self.inode, bytes, (offset, stops))?;
        state.stop_if(stops)?;
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        match state.call(Call::Sync) {
            Ok(_) => state.sync(self.inode),
            Err(e) => return state.fail_sync(self.inode, e),
        }
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        let stops = state.call(Call::Write)?;
        state.preallocate(self.inode, len)?;
        state.stop_if(stops)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        let stops = state.call(Call::Name)?;
        state.set_len(self.inode, len)?;
        state.stop_if(stops)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        state.call(Call::Look)?;
        Ok(state.len(self.inode))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = lock(&self.disk.0);
        state.alive(self.epoch)?;
        let taken = state.lock(self.inode);
        if taken {
            self.holds_lock.store(true, Ordering::Relaxed);
        }
        Ok(taken)
    }
}
