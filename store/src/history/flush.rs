//! The flush: the tail becomes files, all of it or nothing.
//!
//! ```text
//! freeze ─▶ write, fsync and name each file ─▶ fsync the folders ─▶ replace the manifest ─▶ publish
//! ```
//!
//! What is taken behind the freeze goes into the next tail, while another thread writes the frozen one.
//!
//! Until the manifest names the flush its files do not count. A number is never used twice: what a failed
//! flush leaves behind holds a part of what the next one writes, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::atomic_write;
use telemetry::time::EventTime;

use super::error::{HistoryError, at};
use super::files::Entry;
use super::manifest::{self, Manifest};
use super::name::{FileName, Span, TEMPORARY, folder};
use super::ranks::Ranks;
use super::sink::Sink;
use super::sorted::{Sorted, sorted};
use super::tail::Memtable;
use super::writer::{Layout, Writer};
use super::{CURSOR_BYTES_MAX, History, lock};

/// zstd level of a flush: its files are merged soon.
const FLUSH_LEVEL: i32 = 1;

/// What the flushes know of each other.
#[derive(Debug)]
pub(super) struct Flushing {
    /// The one on the disk.
    pub(super) manifest: Manifest,
    /// The next number.
    pub(super) next: u64,
    /// Number of the freeze that was written last.
    pub(super) written: u64,
    /// The latest freeze that was tried: where that failed, its files may count after all, so that from then on
    /// none before it is written without it.
    pub(super) tried: Option<Frozen>,
    /// The order of the tail's series.
    pub(super) ranks: Ranks,
}

/// What was taken up to one moment, with the cursor that counts once it is written. The points themselves are
/// the history's.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Grows with each freeze.
    number: u64,
    cursor: Vec<u8>,
    /// The time that the latest take was given.
    now: Option<EventTime>,
    wants_rest: bool,
}

impl Frozen {
    /// Returns whether names of series are too many in memory: they are forgotten where nothing is taken
    /// until this is written.
    #[must_use]
    pub const fn wants_rest(&self) -> bool {
        self.wants_rest
    }
}

/// A file to write, before its tail is known.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) measurement: Arc<str>,
    pub(super) span: Span,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) level: i32,
    pub(super) flushed_at: Option<EventTime>,
}

impl History {
    /// Makes everything that was taken durable, together with `cursor`: [`History::freeze`] and
    /// [`History::write`] in one. Blocks; reads and takes go on. What is taken meanwhile is not in it.
    ///
    /// # Errors
    /// [`HistoryError`]: nothing is lost, the tail stays in memory. Call again, with this cursor or a
    /// later one.
    pub fn flush(&self, cursor: &[u8]) -> Result<(), HistoryError> {
        self.write(&self.freeze(cursor))
    }

    /// Ends the tail with `cursor`, for [`History::write`]; what is taken from now on is in the next one.
    /// Takes a moment. The caller bounds how many are frozen and not written.
    #[must_use = "until it is written, points and cursor are only in memory"]
    pub fn freeze(&self, cursor: &[u8]) -> Frozen {
        let mut state = lock(&self.state);
        state.freezes += 1;
        let number = state.freezes;
        let memtable = state.tail.freeze(number);
        state.frozen.extend(memtable.map(Arc::new));
        Frozen {
            number,
            cursor: cursor.to_vec(),
            now: state.now,
            wants_rest: state.tail.has_too_many_names(),
        }
    }

    /// Makes durable what was frozen, and all that was frozen before, together with its cursor: after a
    /// crash at any step either both count or neither. Blocks; reads, takes and freezes go on. Of two that
    /// were tried the later one counts, whichever came first.
    ///
    /// # Errors
    /// [`HistoryError`]: nothing is lost, what is frozen stays in memory. Call again, with this one or a
    /// later one.
    pub fn write(&self, frozen: &Frozen) -> Result<(), HistoryError> {
        if frozen.cursor.len() > CURSOR_BYTES_MAX {
            return Err(HistoryError::CursorTooLong { bytes: frozen.cursor.len() });
        }
        let mut flushing = lock(&self.flushing);
        let later = flushing.tried.take().filter(|tried| tried.number > frozen.number);
        let frozen = &later.unwrap_or_else(|| frozen.clone());
        flushing.tried = Some(frozen.clone());
        if frozen.number <= flushing.written {
            return Ok(());
        }
        let tails = self.unwritten(frozen, &mut flushing.ranks);
        if tails.is_empty() && flushing.manifest.cursor.as_ref() == Some(&frozen.cursor) {
            flushing.written = frozen.number;
            return Ok(());
        }
        let number = flushing.next;
        flushing.next += 1;
        flushing.ranks.sort();
        let entries = self.write_parts(number, sorted(&tails, &flushing.ranks), frozen.now)?;
        let manifest = Manifest { flush: number, cursor: Some(frozen.cursor.clone()) };
        let path = self.options.dir.join(manifest::FILE);
        // From here on an error leaves it open whether the flush counts; its files must stay.
        atomic_write(&*self.disk, &path, &manifest.encode()).map_err(at(&path))?;
        (flushing.manifest, flushing.written) = (manifest, frozen.number);
        let mut state = lock(&self.state);
        state.files = Arc::new(state.files.changed(&entries, &[]));
        state.frozen.retain(|tail| tail.number > frozen.number);
        if state.frozen.is_empty() {
            state.tail.forget();
        }
        Ok(())
    }

    /// Returns what of it is in no file yet, and learns the series that it has.
    fn unwritten(&self, frozen: &Frozen, ranks: &mut Ranks) -> Vec<Arc<Memtable>> {
        let state = lock(&self.state);
        let known = ranks.known(state.tail.generation);
        ranks.learn(state.tail.names.from(known));
        state.frozen.iter().filter(|tail| tail.number <= frozen.number).cloned().collect()
    }

    /// Writes one file for each measurement and day; takes them away again where one fails.
    fn write_parts(
        &self,
        number: u64,
        parts: Vec<Sorted<'_>>,
        now: Option<EventTime>,
    ) -> Result<Vec<Arc<Entry>>, HistoryError> {
        let mut written = Vec::new();
        let done = parts.into_iter().try_for_each(|part| {
            let target = Target {
                measurement: Arc::clone(part.measurement),
                span: Span::Day(part.day),
                first: number,
                last: number,
                level: FLUSH_LEVEL,
                flushed_at: now,
            };
            let (layout, places) = part.layout()?;
            written.push(self.write_file(&target, &layout, |out| part.write(&places, out))?);
            Ok(())
        });
        let done = done.and_then(|()| self.sync_folders_of(&written));
        if done.is_err() {
            for entry in &written {
                // Gives the space back, where it can be given; the first error says more.
                drop(self.disk.remove(&entry.path));
            }
        }
        done.map(|()| written)
    }

    /// Writes one file and gives it its name; the name is durable after [`Self::sync_folders_of`].
    pub(super) fn write_file(
        &self,
        target: &Target,
        layout: &Layout,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), HistoryError>,
    ) -> Result<Arc<Entry>, HistoryError> {
        let folder = self.folder_of(&target.measurement)?;
        let Target { span, first, last, .. } = target;
        let temporary = folder.join(format!("{span}.{first:010}-{last:010}{TEMPORARY}"));
        let written = self.write_named(target, layout, fill, (&folder, &temporary));
        if written.is_err() {
            // As above.
            drop(self.disk.remove(&temporary));
        }
        written
    }

    fn write_named(
        &self,
        target: &Target,
        layout: &Layout,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), HistoryError>,
        (folder, temporary): (&Path, &Path),
    ) -> Result<Arc<Entry>, HistoryError> {
        let mut sink = Sink::create(&*self.disk, temporary).map_err(at(temporary))?;
        let mut writer = Writer::new(&mut sink, temporary, layout, target.level)?;
        fill(&mut writer)?;
        writer.finish()?;
        let (bytes, tail_bytes, tail_crc) = sink.finish().map_err(at(temporary))?;
        let Target { span, first, last, .. } = *target;
        let name = FileName { span, first, last, tail_bytes, tail_crc };
        let measurement = Arc::clone(&target.measurement);
        let entry = Entry::new(measurement, folder, name, bytes, target.flushed_at);
        self.disk.rename(temporary, &entry.path).map_err(at(&entry.path))?;
        Ok(entry)
    }

    /// Returns the folder of a measurement, made durable where it is new.
    fn folder_of(&self, measurement: &str) -> Result<PathBuf, HistoryError> {
        let dir = self.options.dir.as_path();
        // Too long a name was refused when it was taken.
        let path = dir.join(folder(measurement).unwrap_or_default());
        if lock(&self.state).files.of(measurement).is_empty() {
            self.disk.create_dir_all(&path).map_err(at(&path))?;
            self.disk.sync_dir(dir).map_err(at(dir))?;
        }
        Ok(path)
    }

    /// Makes the names of files durable.
    pub(super) fn sync_folders_of(&self, entries: &[Arc<Entry>]) -> Result<(), HistoryError> {
        let folders: BTreeSet<&Path> =
            entries.iter().filter_map(|entry| entry.path.parent()).collect();
        folders.into_iter().try_for_each(|folder| self.disk.sync_dir(folder).map_err(at(folder)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use journal::sim::SimDisk;

    use super::super::HistoryOptions;
    use super::*;
    use crate::EntryKey;

    fn history() -> History {
        let options = HistoryOptions::new("/history".into(), Duration::from_hours(24));
        History::open_on(Arc::new(SimDisk::new(1)), options).unwrap().0
    }

    fn take(history: &History, line: &str) -> bool {
        let key = EntryKey { position: 1, index: 0 };
        history.take(key, line, EventTime::from_nanos(0)).is_none()
    }

    /// Guarantees: memory of a tail is given back once it is written, whatever later freezes wait.
    #[test]
    fn what_is_written_is_not_kept_in_memory() {
        let history = history();
        assert!(take(&history, "m,device=d f=1 1"));
        let first = history.freeze(b"1");
        assert!(take(&history, "m,device=d f=2 2"));
        let second = history.freeze(b"2");
        let tail = Arc::downgrade(&lock(&history.state).frozen[0]);
        history.write(&first).unwrap();
        assert!(tail.upgrade().is_none());
        assert_eq!(history.tail().rows, 1);
        history.write(&second).unwrap();
        history.write(&first).unwrap();
        assert_eq!(lock(&history.flushing).manifest.cursor.as_deref(), Some(&b"2"[..]));
    }

    /// Guarantees: series of which no point is taken do not keep the tail full.
    #[test]
    fn a_tail_of_refused_points_begins_anew() {
        let history = history();
        assert!(take(&history, "m,device=d f=1 1"));
        history.flush(b"1").unwrap();
        assert!(!take(&history, "m,device=e f=1i 1"));
        assert!(history.unfrozen().bytes > 0);
        history.flush(b"2").unwrap();
        assert_eq!(history.unfrozen().bytes, 0);
    }
}
