//! A file of the simulated disk, as the cache and as the disk have it.

use super::Dice;

/// Bytes that a disk writes or does not write together.
const SECTOR: usize = 512;

/// A sector in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sector {
    /// As on the disk.
    Clean,
    /// To be written by the next sync.
    Dirty,
    /// A failed sync dropped it: the cache shows it, no sync will write it.
    Lost,
}

/// A file's bytes.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What reads see.
    pub(super) cache: Vec<u8>,
    /// What the disk holds; at least as long as the cache.
    disk: Vec<u8>,
    /// Length after a power cut, unless the cache's length survives.
    disk_len: usize,
    sectors: Vec<Sector>,
    pub(super) locked: bool,
}

impl Inode {
    /// Gives up the bytes of a file without a name.
    pub(super) fn clear(&mut self) {
        self.cache = Vec::new();
        self.disk = Vec::new();
        self.sectors = Vec::new();
        self.disk_len = 0;
    }

    pub(super) fn write(&mut self, bytes: &[u8], from: usize) {
        let end = from + bytes.len();
        let grown_from = self.cache.len().min(from);
        if end > self.cache.len() {
            self.cache.resize(end, 0);
        }
        if end > self.disk.len() {
            self.disk.resize(end, 0);
        }
        self.sectors.resize(self.cache.len().div_ceil(SECTOR), Sector::Dirty);
        if let Some(target) = self.cache.get_mut(from..end) {
            target.copy_from_slice(bytes);
        }
        let touched = grown_from / SECTOR..end.div_ceil(SECTOR);
        self.sectors.get_mut(touched).unwrap_or_default().fill(Sector::Dirty);
    }

    /// Replaces everything, on the disk and in the cache.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        self.sectors = vec![Sector::Clean; bytes.len().div_ceil(SECTOR)];
        self.disk_len = bytes.len();
        self.disk.clone_from(&bytes);
        self.cache = bytes;
    }

    /// Lengthens the file by blocks that hold `old` bytes, or zeros.
    pub(super) fn reserve(&mut self, len: usize, old: &[u8]) {
        let from = self.cache.len();
        if self.disk.is_empty() && old.is_empty() {
            // Zeros that nobody touches cost nothing.
            self.cache = vec![0; len];
            self.disk = vec![0; len];
        }
        self.cache.extend_from_slice(old.get(from..len.min(old.len())).unwrap_or_default());
        self.cache.resize(len.max(from), 0);
        self.disk.truncate(from.max(self.disk_len));
        let have = self.disk.len();
        self.disk.extend_from_slice(self.cache.get(have..).unwrap_or_default());
        self.sectors.resize(self.cache.len().div_ceil(SECTOR), Sector::Clean);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let grown = vec![0; len.saturating_sub(self.cache.len())];
        if grown.is_empty() {
            self.cache.truncate(len);
            self.sectors.truncate(len.div_ceil(SECTOR));
        } else {
            self.write(&grown, self.cache.len());
        }
    }

    pub(super) fn sync(&mut self) {
        self.settle(|| Sector::Clean);
        self.disk_len = self.cache.len();
        self.disk.truncate(self.disk_len);
    }

    /// Some sectors get to the disk; the others never will.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice) {
        self.settle(|| if dice.in_1024(512) { Sector::Clean } else { Sector::Lost });
    }

    /// Decides for each dirty sector whether it gets to the disk.
    fn settle(&mut self, mut decide: impl FnMut() -> Sector) {
        let parts = self.disk.chunks_mut(SECTOR).zip(self.cache.chunks(SECTOR));
        for (sector, (disk, cache)) in self.sectors.iter_mut().zip(parts) {
            if *sector == Sector::Dirty {
                *sector = decide();
                if *sector == Sector::Clean {
                    disk.get_mut(..cache.len()).unwrap_or_default().copy_from_slice(cache);
                }
            }
        }
    }

    /// Keeps, drops or tears each unsynced sector, and the unsynced length.
    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        let clean = self.sectors.iter().all(|sector| *sector == Sector::Clean);
        if clean && self.disk_len == self.cache.len() {
            return;
        }
        let parts = self.disk.chunks_mut(SECTOR).zip(self.cache.chunks(SECTOR));
        for (sector, (disk, cache)) in self.sectors.iter().zip(parts) {
            if *sector == Sector::Dirty {
                let torn = usize::try_from(dice.below(SECTOR as u64)).unwrap_or(0).min(cache.len());
                let part = match dice.below(8) {
                    0 | 1 => 0..torn,
                    2 => torn..cache.len(),
                    3..=5 => 0..cache.len(),
                    _ => 0..0,
                };
                let new = cache.get(part.clone()).unwrap_or_default();
                disk.get_mut(part).unwrap_or_default().copy_from_slice(new);
            }
        }
        let len = if dice.in_1024(512) { self.cache.len() } else { self.disk_len };
        self.disk.resize(len, 0);
        self.disk_len = len;
        self.cache.clone_from(&self.disk);
        self.sectors.clear();
        self.sectors.resize(len.div_ceil(SECTOR), Sector::Clean);
    }
}
