//! What the writer publishes and the readers follow.

use crate::disk::{Disk, DiskFile, write_all_at};
use crate::format::{End, HEAD_BYTES, Seal, SegmentHead};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

const SEALED: u64 = 1;
const REMOVED: u64 = 2;

/// A segment as readers see it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) head: SegmentHead,
    /// Bytes that the file takes on the disk.
    pub(crate) allocated: AtomicU64,
    /// Published end in bytes times 4, and two bits: no more will come; removed. One word, so that
    /// a reader that sees `SEALED` sees the final end.
    state: AtomicU64,
    /// Newest seal on the disk.
    seal: Mutex<Option<Seal>>,
}

/// A look at a segment's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) end: u64,
    pub(crate) sealed: bool,
    pub(crate) removed: bool,
}

impl Segment {
    pub(crate) fn new(head: SegmentHead, end: u64, sealed: bool) -> Self {
        let state = AtomicU64::new(end << 2 | u64::from(sealed));
        Self { head, allocated: AtomicU64::new(head.capacity), state, seal: Mutex::new(head.seal) }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.head.name.sequence
    }

    #[inline]
    pub(crate) fn extent(&self) -> Extent {
        let state = self.state.load(Ordering::Acquire);
        Extent { end: state >> 2, sealed: state & SEALED != 0, removed: state & REMOVED != 0 }
    }

    /// Moves the published end; it goes back only where a failed fsync or a cut takes records away.
    pub(crate) fn publish(&self, end: u64, sealed: bool) {
        self.state.store(end << 2 | u64::from(sealed), Ordering::Release);
    }

    pub(crate) fn mark_removed(&self) {
        self.state.fetch_or(SEALED | REMOVED, Ordering::AcqRel);
    }
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// What writer and readers of a log share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// Readers that may write nothing set no damage aside.
    pub(crate) may_write: bool,
    segments: Mutex<Vec<Arc<Segment>>>,
    published: Mutex<End>,
    changed: Condvar,
    hooks: Mutex<Vec<(u64, Hook)>>,
    hooks_made: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Takes a lock. What a panicking thread left is whole: every section below only replaces values.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, may_write: bool) -> Self {
        Self {
            disk,
            dir,
            may_write,
            segments: Mutex::default(),
            published: Mutex::default(),
            changed: Condvar::new(),
            hooks: Mutex::default(),
            hooks_made: AtomicU64::new(0),
        }
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, Vec<Arc<Segment>>> {
        lock(&self.segments)
    }

    pub(crate) fn path(&self, head: &SegmentHead) -> PathBuf {
        self.dir.join(head.name.to_string())
    }

    pub(crate) fn end(&self) -> End {
        *lock(&self.published)
    }

    /// Publishes an end and wakes everybody who waits.
    pub(crate) fn publish(&self, end: End) {
        {
            let mut published = lock(&self.published);
            if *published == end {
                return;
            }
            *published = end;
            self.changed.notify_all();
        }
        let hooks: Vec<Hook> = lock(&self.hooks).iter().map(|(_, hook)| Arc::clone(hook)).collect();
        for hook in hooks {
            hook();
        }
    }

    /// Waits until `ready`, which is asked after each publication with its end, under its lock;
    /// `false` after `timeout`.
    pub(crate) fn wait(&self, timeout: Duration, ready: impl Fn(End) -> bool) -> bool {
        let until = Instant::now().checked_add(timeout);
        let mut published = lock(&self.published);
        while !ready(*published) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    let waited = self.changed.wait_timeout(published, left);
                    published = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    published =
                        self.changed.wait(published).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        true
    }

    /// Makes the end of a segment final: head copy A says so, and what follows is cut away. The
    /// bytes before `seal.end` must be durable already.
    pub(crate) fn seal(
        &self,
        segment: &Segment,
        file: &dyn DiskFile,
        seal: Seal,
    ) -> io::Result<()> {
        debug_assert!(seal.end >= HEAD_BYTES, "a segment ends after its head");
        let mut sealed = lock(&segment.seal);
        if let Some(older) = sealed.filter(|older| *older != seal) {
            // A torn copy A loses the older seal: what it cut must be gone for good before.
            file.set_len(older.end)?;
            file.sync_all()?;
        }
        let head = SegmentHead { seal: Some(seal), ..segment.head };
        write_all_at(file, &head.encode(), 0)?;
        file.sync_data()?;
        // Only now: bytes must not go while a crash could still bring back an older seal that
        // counts on them. Whether the new length survives does not matter.
        *sealed = Some(seal);
        file.set_len(seal.end)?;
        segment.allocated.store(seal.end, Ordering::Relaxed);
        Ok(())
    }
}

/// The published end of a log, for whoever neither writes nor reads it.
#[derive(Debug, Clone)]
pub struct Published(pub(crate) Arc<Shared>);

impl Published {
    /// Returns the last published record's position and ordinal, as one pair.
    #[must_use]
    pub fn end(&self) -> End {
        self.0.end()
    }

    /// Calls `hook` after each publication, on the writer's thread, until the returned [`Watch`] is
    /// dropped. It must be quick; it may wake a task. Whatever was published before counts as seen.
    pub fn watch(&self, hook: impl Fn() + Send + Sync + 'static) -> Watch {
        let id = self.0.hooks_made.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.hooks).push((id, Arc::new(hook)));
        Watch { shared: Arc::downgrade(&self.0), id }
    }
}

/// A registered hook; dropping it takes it away.
#[derive(Debug)]
#[must_use = "a hook is called only as long as its watch lives"]
pub struct Watch {
    shared: Weak<Shared>,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            lock(&shared.hooks).retain(|(id, _)| *id != self.id);
        }
    }
}
