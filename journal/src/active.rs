//! How the writer begins a segment and ends it.

use crate::disk::{DiskFile, write_all_at, write_zeros};
use crate::format::{End, HEAD_BYTES, Link, SegmentHead, SegmentName};
use crate::log::{Failure, Log};
use crate::shared::{Segment, Shared};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes that zeros written ahead are to serve at least.
const MANY: u64 = 4;

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) written: u64,
    pub(crate) synced: u64,
    /// Up to here blocks have been written: records, then zeros.
    pub(crate) zeroed: u64,
}

impl Active {
    /// Writes zeros where the records have come to their end, up to the next multiple of `ahead`. Not after so many
    /// new bytes of records that few such writes fit in: the file system's own work is little for each byte then.
    pub(crate) fn write_ahead(&mut self, ahead: u64, new: usize) {
        let ahead = ahead.min(self.segment.head.capacity);
        if ahead == 0 || self.written <= self.zeroed || ahead / MANY < new as u64 {
            return;
        }
        let to = (self.written + 1).next_multiple_of(ahead).min(self.segment.head.capacity);
        // Only speed depends on them: a disk that takes no zeros will say so of the records.
        let is_written = write_zeros(&*self.file, self.written, to).is_ok();
        self.zeroed = if is_written { to } else { self.written };
    }
}

impl Log {
    /// Creates a segment. Its file, its head and its name are durable before a record of it counts.
    pub(crate) fn begin_segment(&mut self, name: SegmentName, after: End) -> Result<(), Failure> {
        self.retire();
        self.give_back();
        let head = SegmentHead {
            name,
            after,
            previous: Some(self.previous),
            capacity: self.options.segment_bytes,
            seal: None,
        };
        let path = self.shared.path(&head);
        let created = create_segment(&self.shared, &head, &path);
        let Ok(file) = created else {
            // Frees the blocks. If even this fails, the next segment's link says that this one is
            // void.
            let removed = self.shared.disk.remove(&path);
            return created.map(|_| ()).map_err(|e| if removed.is_ok() { e } else { as_disk(e) });
        };
        let segment = Arc::new(Segment::new(head, HEAD_BYTES, false));
        self.shared.segments().push(Arc::clone(&segment));
        let [written, synced, zeroed] = [HEAD_BYTES; 3];
        self.active = Some(Active { segment, file, written, synced, zeroed });
        Ok(())
    }

    /// Ends the active segment at what is durable of it, and returns it.
    pub(crate) fn retire(&mut self) -> Option<Active> {
        let active = self.active.take()?;
        active.segment.publish(active.synced, true);
        self.previous = Link { sequence: active.segment.sequence(), end: active.synced };
        Some(active)
    }

    /// Gives back what a spoiled segment has reserved beyond its durable end: a disk that fails again and again takes
    /// a segment each time. Not before the failure is reported: a process that is killed in between has taken nothing
    /// back.
    fn give_back(&mut self) {
        let Some(Active { segment, file, synced, .. }) = self.spoiled.take() else { return };
        if segment.allocated.load(Ordering::Relaxed) > synced && file.set_len(synced).is_ok() {
            segment.allocated.store(synced, Ordering::Relaxed);
        }
    }
}

fn create_segment(
    shared: &Shared,
    head: &SegmentHead,
    path: &Path,
) -> Result<Arc<dyn DiskFile>, Failure> {
    let file = shared.disk.create(path)?;
    file.preallocate(head.capacity)?;
    write_all_at(&*file, &head.encode_both(), 0)?;
    file.sync_all().map_err(Failure::Disk)?;
    shared.disk.sync_dir(&shared.dir).map_err(Failure::Disk)?;
    Ok(file)
}

/// A half-made file that cannot be removed must not be made again under the same name.
fn as_disk(failure: Failure) -> Failure {
    match failure {
        Failure::Full(e) | Failure::Disk(e) => Failure::Disk(e),
    }
}
