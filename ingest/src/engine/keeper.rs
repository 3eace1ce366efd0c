//! Writes snapshots beside the pipeline, which hands them over a piece at a time.
//!
//! A snapshot counts once its file has its name. It gets it only while the driver still wants it, under the lock of
//! that wish: once the driver has gone back to an older one, a newer one must not appear, since the outbox no longer
//! holds what led to it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Disk, DiskFile};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::engine::driver::Shared;
use crate::engine::layout::Layout;
use crate::engine::recovery::{SNAPSHOT_MAGIC, remove_old, snapshot_path, temporary_path};

/// Pieces that wait for the disk at most.
const PIECES_MAX: usize = 8;

/// What the driver hands over.
enum Piece {
    /// A snapshot of this position begins.
    Begin(u64),
    /// More of it.
    Bytes(Vec<u8>),
    /// That was all.
    End,
}

/// What the driver wants, and what became of it.
#[derive(Default)]
struct Slot {
    wanted: Option<u64>,
    /// The position of the oldest snapshot kept, once the wanted one is durable.
    done: Option<io::Result<u64>>,
}

/// The driver's side.
pub(crate) struct Kept {
    pieces: mpsc::Sender<Piece>,
    slot: Arc<Mutex<Slot>>,
}

/// The side of the disk.
pub(crate) struct Keeper {
    disk: Arc<dyn Disk>,
    layout: Layout,
    pieces: mpsc::Receiver<Piece>,
    slot: Arc<Mutex<Slot>>,
    shared: Arc<Shared>,
    /// The file being written. `None`: none, or it is not wanted any more.
    file: Option<Open>,
}

struct Open {
    position: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    /// The first error ends it.
    failed: Option<io::Error>,
}

impl Kept {
    /// Makes both sides; the driver is woken when a snapshot is done.
    pub(crate) fn new(disk: Arc<dyn Disk>, layout: Layout, shared: Arc<Shared>) -> (Self, Keeper) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let slot = Arc::new(Mutex::new(Slot::default()));
        let keeper = Keeper { disk, layout, pieces, slot: Arc::clone(&slot), shared, file: None };
        (Self { pieces: sender, slot }, keeper)
    }

    /// Begins a snapshot; there must be room. What is still on its way of one given up before is not written.
    pub(super) fn begin(&self, position: u64) -> bool {
        *lock(&self.slot) = Slot { wanted: Some(position), done: None };
        self.pieces.try_send(Piece::Begin(position)).is_ok()
    }

    /// Returns whether a piece and the end can be handed over at once.
    pub(super) fn has_room(&self) -> bool {
        self.pieces.capacity() > 1
    }

    /// Hands over more; there must be room.
    pub(super) fn put(&self, bytes: Vec<u8>) -> bool {
        self.pieces.try_send(Piece::Bytes(bytes)).is_ok()
    }

    /// Says that this was all; there must be room.
    pub(super) fn end(&self) -> bool {
        self.pieces.try_send(Piece::End).is_ok()
    }

    /// Gives the snapshot up: from here on it does not appear, unless it has.
    pub(super) fn give_up(&self) {
        *lock(&self.slot) = Slot::default();
    }

    /// Takes what became of the snapshot, once that is known.
    pub(super) fn done(&self) -> Option<io::Result<u64>> {
        lock(&self.slot).done.take()
    }
}

impl Keeper {
    /// Runs until the driver is gone.
    pub(crate) fn run(self, runtime: &Handle) {
        runtime.block_on(self.work());
    }

    /// The loop. Calls of the disk block it: it wants a thread of its own.
    pub(super) async fn work(mut self) {
        while let Some(piece) = self.pieces.recv().await {
            match piece {
                Piece::Begin(position) => self.begin(position),
                Piece::Bytes(bytes) => self.write(&bytes),
                Piece::End => self.end(),
            }
        }
        self.discard();
    }

    fn is_wanted(&self, position: u64) -> bool {
        lock(&self.slot).wanted == Some(position)
    }

    fn begin(&mut self, position: u64) {
        self.discard();
        if !self.is_wanted(position) {
            return;
        }
        let path = temporary_path(&self.layout, position);
        match self.disk.create(&path) {
            Ok(file) => {
                self.file = Some(Open { position, path, file, len: 0, failed: None });
                self.write(SNAPSHOT_MAGIC);
            }
            Err(error) => self.tell(position, Err(error)),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.file.as_ref().is_some_and(|open| !self.is_wanted(open.position)) {
            return self.discard();
        }
        let Some(open) = self.file.as_mut().filter(|open| open.failed.is_none()) else { return };
        let mut rest = bytes;
        while !rest.is_empty() {
            match open.file.write_at(rest, open.len) {
                Ok(0) => open.failed = Some(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    open.len += u64::try_from(written).unwrap_or(u64::MAX);
                    rest = rest.get(written..).unwrap_or_default();
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => open.failed = Some(error),
            }
            return;
        }
    }

    fn end(&mut self) {
        let Some(mut open) = self.file.take() else { return };
        let synced = match open.failed.take() {
            Some(error) => Err(error),
            None => open.file.sync_all(),
        };
        let named = synced.and_then(|()| {
            let slot = lock(&self.slot);
            let is_wanted = slot.wanted == Some(open.position);
            let path = snapshot_path(&self.layout, open.position);
            if is_wanted { self.disk.rename(&open.path, &path).map(|()| true) } else { Ok(false) }
        });
        match named {
            Ok(true) => {
                let kept = self.disk.sync_dir(&self.layout.snapshots());
                let kept = kept.and_then(|()| remove_old(&*self.disk, &self.layout));
                self.tell(open.position, kept);
            }
            Ok(false) => self.remove(&open),
            Err(error) => {
                self.remove(&open);
                self.tell(open.position, Err(error));
            }
        }
    }

    fn tell(&self, position: u64, done: io::Result<u64>) {
        let mut slot = lock(&self.slot);
        if slot.wanted == Some(position) {
            slot.done = Some(done);
        }
        drop(slot);
        self.shared.wake.wake();
    }

    fn discard(&mut self) {
        if let Some(open) = self.file.take() {
            self.remove(&open);
        }
    }

    /// Gives the space back, where it can be given; the next start tries again.
    fn remove(&self, open: &Open) {
        if let Err(error) = self.disk.remove(&open.path) {
            tracing::debug!(%error, "a snapshot that is not kept could not be removed");
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
