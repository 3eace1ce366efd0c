//! Cutting a log: old segments at the front, new records at the back.

use crate::format::{End, HEAD_BYTES, Link, Seal};
use crate::log::Log;
use crate::options::{CutError, WriteError};
use crate::shared::Segment;
use crate::walk::{Step, Stretch, Window};
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Log {
    /// Removes the segments that hold only records below `position`, oldest first; the newest
    /// segment stays. Cheap when there is nothing to remove. A reader still in them gets
    /// `ReadError::Cut`.
    ///
    /// # Errors
    /// [`CutError`]; the same call may be made again.
    pub fn cut_before(&mut self, position: u64) -> Result<(), CutError> {
        self.sync_removed()?;
        loop {
            let oldest = {
                let segments = self.shared.segments();
                let [oldest, next, ..] = segments.as_slice() else { return Ok(()) };
                if next.head.after.position >= position {
                    return Ok(());
                }
                Arc::clone(oldest)
            };
            self.remove(&oldest)?;
            self.sync_removed()?;
        }
    }

    /// Takes away every record above `position`, also buffered ones, and makes that durable.
    /// Readers do not see a position twice, even if it is appended again. A position below
    /// everything kept leaves an empty log that ends at `position`, with ordinal 0.
    ///
    /// # Errors
    /// [`CutError`]; [`Log::end`] says what is left, and the same call may be made again. What was
    /// taken away may come back if the log is opened again before something newer is durable.
    pub fn truncate_after(&mut self, position: u64) -> Result<End, CutError> {
        self.sync_removed()?;
        if position >= self.last.position {
            return Ok(self.last);
        }
        self.sync_before_cut(position)?;
        self.forget_unsynced();
        while let Some((newest, before)) = self.newest_two() {
            let after = newest.head.after;
            if self.last.position <= position {
                // Also what never counted, behind a failed fsync or a full disk, must not come
                // back.
                self.seal(&newest, Seal { end: newest.extent().end, last: self.last })?;
                break;
            }
            if after.position < position || (after.position == position && before.is_none()) {
                self.truncate_segment(&newest, position)?;
                break;
            }
            if let Some(before) = &before {
                // Its end, and that what follows there is dead, stood only in the head that goes
                // now.
                self.seal(before, Seal { end: before.extent().end, last: after })?;
            }
            self.remove(&newest)?;
            let end = if before.is_none() { End { position, ordinal: 0 } } else { after };
            self.previous = before.map_or(Link::default(), |before| link(&before));
            self.step_back(end);
            self.sync_removed()?;
        }
        Ok(self.last)
    }

    /// A seal may not say more than the disk holds; what stays must be written.
    fn sync_before_cut(&mut self, position: u64) -> Result<(), CutError> {
        let synced = if position > self.written.position {
            self.sync().map(|_| ()).map_err(|e| match e {
                WriteError::Full(source) | WriteError::NotDurable { source, .. } => source,
            })
        } else {
            self.sync_written()
        };
        synced.map_err(|source| CutError { doing: "sync", path: self.shared.dir.clone(), source })
    }

    fn newest_two(&self) -> Option<(Arc<Segment>, Option<Arc<Segment>>)> {
        let segments = self.shared.segments();
        let mut newest_first = segments.iter().rev().map(Arc::clone);
        newest_first.next().map(|newest| (newest, newest_first.next()))
    }

    fn truncate_segment(&mut self, segment: &Segment, position: u64) -> Result<(), CutError> {
        let path = self.shared.path(&segment.head);
        let found = self.find_end(segment, position, &path);
        let seal = found.map_err(|source| CutError { doing: "read", path, source })?;
        segment.publish(seal.end, true);
        self.previous = link(segment);
        self.step_back(seal.last);
        self.seal(segment, seal)
    }

    /// Finds where the records up to `position` end.
    fn find_end(&self, segment: &Segment, position: u64, path: &Path) -> io::Result<Seal> {
        let file = self.shared.disk.open(path)?;
        let mut window = Window::default();
        let (salt, limit) = (segment.head.name.salt, segment.extent().end);
        let mut last = segment.head.after;
        let (mut offset, mut end) = (HEAD_BYTES, HEAD_BYTES);
        loop {
            let step =
                window.step(&*file, Stretch { salt, offset, limit, above: last.position })?;
            let (head, len) = match step {
                Step::Record(head) => (Some(head), head.size()),
                Step::Hole(hole) => (hole.head, hole.len),
                Step::End => break,
            };
            if head.is_some_and(|head| head.end.position > position) {
                break;
            }
            offset += len;
            if let Some(head) = head {
                last = head.end;
                end = offset;
            }
        }
        Ok(Seal { end, last })
    }

    fn seal(&self, segment: &Segment, seal: Seal) -> Result<(), CutError> {
        let path = self.shared.path(&segment.head);
        let sealed =
            self.shared.disk.open(&path).and_then(|file| self.shared.seal(segment, &*file, seal));
        sealed.map_err(|source| CutError { doing: "seal", path, source })
    }

    /// Removes one segment. One at a time, each made durable before the next, so that no crash
    /// leaves a gap.
    fn remove(&mut self, segment: &Segment) -> Result<(), CutError> {
        self.sync_removed()?;
        let path = self.shared.path(&segment.head);
        {
            // Under the lock, so that a reader that finds no file also finds out why.
            let mut segments = self.shared.segments();
            let removed = self.shared.disk.remove(&path);
            removed.map_err(|source| CutError { doing: "remove", path, source })?;
            segment.mark_removed();
            segments.retain(|other| other.sequence() != segment.sequence());
        }
        self.names_unsynced = true;
        Ok(())
    }

    /// Makes a removal durable, if one is not.
    fn sync_removed(&mut self) -> Result<(), CutError> {
        if self.names_unsynced {
            let synced = self.shared.disk.sync_dir(&self.shared.dir);
            synced.map_err(|source| CutError {
                doing: "sync folder",
                path: self.shared.dir.clone(),
                source,
            })?;
            self.names_unsynced = false;
        }
        Ok(())
    }

    /// The log ends here now.
    fn step_back(&mut self, end: End) {
        self.last = end;
        self.written = end;
        self.durable = end;
        self.shared.publish(end);
    }
}

fn link(segment: &Segment) -> Link {
    Link { sequence: segment.sequence(), end: segment.extent().end }
}
