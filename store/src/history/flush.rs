//! The flush: the tail becomes files, all of it or nothing.
//!
//! ```text
//! freeze ─▶ write, fsync and name each file ─▶ fsync the folders ─▶ replace the manifest ─▶ publish
//! ```
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
    /// The order of the tail's series.
    pub(super) ranks: Ranks,
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
    /// Makes everything that was taken durable, together with `cursor`: after a crash at any step either
    /// both count or neither. Blocks; reads and takes go on. What is taken meanwhile is not in it.
    ///
    /// # Errors
    /// [`HistoryError`]: nothing is lost, the tail stays in memory. Call again, with this cursor or a
    /// later one.
    pub fn flush(&self, cursor: &[u8]) -> Result<(), HistoryError> {
        if cursor.len() > CURSOR_BYTES_MAX {
            return Err(HistoryError::CursorTooLong { bytes: cursor.len() });
        }
        let mut flushing = lock(&self.flushing);
        let (frozen, now) = {
            let mut state = lock(&self.state);
            let known = flushing.ranks.known(state.tail.generation);
            flushing.ranks.learn(state.tail.names.from(known));
            let memtable = state.tail.freeze();
            state.frozen.extend(memtable.map(Arc::new));
            (state.frozen.clone(), state.now)
        };
        if frozen.is_empty() && flushing.manifest.cursor.as_deref() == Some(cursor) {
            return Ok(());
        }
        let number = flushing.next;
        flushing.next += 1;
        flushing.ranks.sort();
        let entries = self.write_parts(number, sorted(&frozen, &flushing.ranks), now)?;
        let manifest = Manifest { flush: number, cursor: Some(cursor.to_vec()) };
        let path = self.options.dir.join(manifest::FILE);
        // From here on an error leaves it open whether the flush counts; its files must stay.
        atomic_write(&*self.disk, &path, &manifest.encode()).map_err(at(&path))?;
        flushing.manifest = manifest;
        let mut state = lock(&self.state);
        state.files = Arc::new(state.files.changed(&entries, &[]));
        state.frozen.retain(|known| !frozen.iter().any(|written| Arc::ptr_eq(known, written)));
        if state.frozen.is_empty() {
            state.tail.forget();
        }
        Ok(())
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
