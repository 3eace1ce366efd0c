//! What the simulated disk holds, and what a crash makes of it.

use super::inode::Inode;
use super::{Crash, Dice, Faults, Planted};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// Kinds of calls, by the faults that may befall them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Look,
    Name,
    Write,
    Sync,
}

#[derive(Debug)]
pub(super) struct State {
    dice: Dice,
    planted: Option<Planted>,
    pub(super) faults: Faults,
    pub(super) capacity: Option<u64>,
    pub(super) calls: u64,
    pub(super) stop_at: Option<u64>,
    pub(super) stopped: bool,
    pub(super) epoch: u64,
    inodes: Vec<Inode>,
    /// By bytes, since comparing paths by their parts is slow.
    names: BTreeMap<OsString, usize>,
    names_on_disk: BTreeMap<OsString, usize>,
    /// Bytes of the file removed last.
    graveyard: Vec<u8>,
}

impl State {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        Self {
            dice: Dice::new(seed),
            planted,
            faults: Faults::default(),
            capacity: None,
            calls: 0,
            stop_at: None,
            stopped: false,
            epoch: 0,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            graveyard: Vec::new(),
        }
    }

    /// Counts a call and decides whether it fails; `true`: the machine stops in the middle of it.
    pub(super) fn call(&mut self, call: Call) -> io::Result<bool> {
        if self.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.calls += 1;
        if self.stop_at.is_some_and(|at| self.calls >= at) {
            // Half the calls that could still have had an effect have none.
            let before = call == Call::Look || call == Call::Sync || self.dice.in_1024(512);
            return self.stop_if(before).map(|()| true);
        }
        let Faults { no_space, write_error, sync_error, .. } = self.faults;
        match call {
            Call::Write if self.dice.in_1024(no_space) => Err(io::ErrorKind::StorageFull.into()),
            Call::Write if self.dice.in_1024(write_error) => {
                Err(io::Error::other("injected write error"))
            }
            Call::Sync if self.dice.in_1024(sync_error) => {
                Err(io::Error::other("injected sync error"))
            }
            Call::Look | Call::Name | Call::Write | Call::Sync => Ok(false),
        }
    }

    pub(super) fn stop_if(&mut self, stops: bool) -> io::Result<()> {
        self.stopped |= stops;
        if stops { Err(io::Error::other("the machine stops")) } else { Ok(()) }
    }

    pub(super) fn alive(&self, epoch: u64) -> io::Result<()> {
        if epoch == self.epoch { Ok(()) } else { Err(io::Error::other("opened before the crash")) }
    }

    pub(super) fn entropy(&mut self) -> u64 {
        if self.planted == Some(Planted::NoSalt) { 0 } else { self.dice.next() }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path.as_os_str()).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, path: &Path) -> usize {
        self.inodes.push(Inode::default());
        let id = self.inodes.len() - 1;
        self.names.insert(path.as_os_str().to_owned(), id);
        id
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        self.names.remove(from.as_os_str());
        self.names.insert(to.as_os_str().to_owned(), inode);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        self.names.remove(path.as_os_str());
        if let Some(inode) = self.inodes.get(inode) {
            self.graveyard.clone_from(&inode.cache);
        }
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> Vec<String> {
        let here = self.names.keys().filter_map(|name| name_in(dir, name));
        here.filter_map(|name| Some(str::from_utf8(name).ok()?.to_owned())).collect()
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        if self.planted == Some(Planted::NoDirectoryFsync) {
            return;
        }
        self.names_on_disk.retain(|name, _| name_in(dir, name).is_none());
        let here = self.names.iter().filter(|(name, _)| name_in(dir, name).is_some());
        self.names_on_disk.extend(here.map(|(name, inode)| (name.clone(), *inode)));
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names.keys().map(PathBuf::from).collect()
    }

    pub(super) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.inodes.get(*self.names.get(path.as_os_str())?).map(|inode| inode.cache.clone())
    }

    pub(super) fn replace(&mut self, path: &Path, bytes: Vec<u8>) {
        if let Some(inode) =
            self.names.get(path.as_os_str()).and_then(|inode| self.inodes.get_mut(*inode))
        {
            inode.replace(bytes);
        }
    }

    pub(super) fn free(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX };
        let files = self.names.values().filter_map(|inode| self.inodes.get(*inode));
        capacity.saturating_sub(files.map(|inode| inode.cache.len() as u64).sum())
    }

    fn inode(&mut self, inode: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn read(&self, inode: usize, buffer: &mut [u8], offset: u64) -> usize {
        let Some(inode) = self.inodes.get(inode) else { return 0 };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = inode.cache.get(from..).unwrap_or_default();
        let n = there.len().min(buffer.len());
        let to = buffer.get_mut(..n).unwrap_or_default();
        to.copy_from_slice(there.get(..n).unwrap_or_default());
        n
    }

    pub(super) fn len(&self, inode: usize) -> u64 {
        self.inodes.get(inode).map_or(0, |inode| inode.cache.len() as u64)
    }

    pub(super) fn write(
        &mut self,
        inode: usize,
        bytes: &[u8],
        at: (u64, bool),
    ) -> io::Result<usize> {
        let (offset, stops) = at;
        let short = stops || self.dice.in_1024(self.faults.short_write);
        let most = bytes.len() as u64;
        let n = if short { self.dice.below(most) + u64::from(!stops) } else { most };
        let n = usize::try_from(n).unwrap_or(0).min(bytes.len());
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let grows = (from + n).saturating_sub(self.inode(inode)?.cache.len());
        if self.free() < grows as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inode(inode)?.write(bytes.get(..n).unwrap_or_default(), from);
        Ok(n)
    }

    pub(super) fn preallocate(&mut self, inode: usize, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let from = self.inode(inode)?.cache.len();
        if self.free() < len.saturating_sub(from) as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let stale = self.dice.in_1024(512);
        let old = if stale { std::mem::take(&mut self.graveyard) } else { Vec::new() };
        self.inode(inode)?.reserve(len, &old);
        if stale {
            self.graveyard = old;
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, inode: usize, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.inode(inode)?.set_len(len);
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: usize) {
        if self.planted == Some(Planted::AckBeforeFsync) {
            return;
        }
        if let Some(inode) = self.inodes.get_mut(inode) {
            inode.sync();
        }
    }

    /// A sync failed, or the machine stopped in it: some sectors are on the disk.
    pub(super) fn fail_sync(&mut self, inode: usize, error: io::Error) -> io::Result<()> {
        if self.stopped {
            return Err(error);
        }
        if let Some(inode) = self.inodes.get_mut(inode) {
            inode.fail_sync(&mut self.dice);
        }
        if self.planted == Some(Planted::FsyncRetried) {
            self.sync(inode);
            return Ok(());
        }
        Err(error)
    }

    pub(super) fn lock(&mut self, inode: usize) -> bool {
        self.inodes.get_mut(inode).is_some_and(|inode| !std::mem::replace(&mut inode.locked, true))
    }

    pub(super) fn unlock(&mut self, inode: usize, epoch: u64) {
        if let Some(inode) = self.inodes.get_mut(inode).filter(|_| epoch == self.epoch) {
            inode.locked = false;
        }
    }

    pub(super) fn crash(&mut self, crash: Crash) {
        self.epoch += 1;
        self.stopped = false;
        self.stop_at = None;
        self.inodes.iter_mut().for_each(|inode| inode.locked = false);
        if crash == Crash::Process {
            return;
        }
        let mut survivors = BTreeMap::new();
        for (name, new) in &self.names {
            let old = self.names_on_disk.get(name);
            let survivor = if old == Some(new) || self.dice.in_1024(512) { Some(new) } else { old };
            survivors.extend(survivor.map(|inode| (name.clone(), *inode)));
        }
        for (name, old) in &self.names_on_disk {
            if !self.names.contains_key(name) && self.dice.in_1024(512) {
                survivors.insert(name.clone(), *old);
            }
        }
        self.names_on_disk.clone_from(&survivors);
        self.names = survivors;
        let kept: BTreeSet<_> = self.names.values().copied().collect();
        for (id, inode) in self.inodes.iter_mut().enumerate() {
            if kept.contains(&id) {
                inode.power_cut(&mut self.dice);
            } else {
                inode.clear();
            }
        }
    }
}

/// Returns a file's name in `dir`, if it stands there.
fn name_in<'n>(dir: &Path, name: &'n OsStr) -> Option<&'n [u8]> {
    let rest = name.as_encoded_bytes().strip_prefix(dir.as_os_str().as_encoded_bytes())?;
    rest.strip_prefix(b"/").filter(|name| !name.contains(&b'/'))
}
