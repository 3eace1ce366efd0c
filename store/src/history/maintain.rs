//! Maintenance: merging, retention, and taking away what is no longer read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use telemetry::problem::chain;
use telemetry::time::EventTime;

use super::error::{HistoryError, at};
use super::files::Entry;
use super::flush::Target;
use super::merge::{FileSource, layout_of, merge};
use super::name::{FileName, SET_ASIDE};
use super::policy::{Candidate, Merge, due_merges};
use super::reader::Parquet;
use super::sink::with_suffix;
use super::{History, lock};

/// zstd level of a day or month that is over: it is read more often than written.
const FINAL_LEVEL: i32 = 9;
/// zstd level of what is merged again soon.
const GROWING_LEVEL: i32 = 3;

/// What a call of [`History::maintain`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Files that were merged into one.
    pub merged: usize,
    /// Files that are older than the retention.
    pub expired: usize,
    /// Damaged files that were set aside.
    pub set_aside: usize,
    /// Whether there is more to do now: call again.
    pub has_more: bool,
}

/// What maintenance remembers.
#[derive(Debug, Default)]
pub(super) struct Maintaining {
    /// Files that no longer count; removed when no reader holds them.
    doomed: Vec<Arc<Entry>>,
    /// Merges that cannot be: their columns have two types. Forgotten at a restart.
    stuck: BTreeSet<(Arc<str>, Vec<FileName>)>,
}

impl History {
    /// Sets damaged files aside, drops whole files older than the retention, merges at most one set of
    /// files, and removes files that nobody reads any more. Blocks; reads, takes and flushes go on.
    ///
    /// # Errors
    /// [`HistoryError`]: what was not done is done by a later call.
    pub fn maintain(&self, now: EventTime) -> Result<Maintained, HistoryError> {
        let mut maintaining = lock(&self.maintaining);
        let set_aside = self.set_aside_damaged()?;
        let mut done = Maintained { set_aside, ..Maintained::default() };
        let expired = self.expire(now);
        done.expired = expired.len();
        maintaining.doomed.extend(expired);
        if let Some((measurement, merge, files)) = self.due(&maintaining, now) {
            let names = files.iter().map(|file| file.name).collect();
            match self.merge(&measurement, &merge, &files, now) {
                Ok(()) => {
                    done.merged = files.len();
                    done.has_more = true;
                    maintaining.doomed.extend(files);
                }
                Err(error @ HistoryError::TwoTypes { .. }) => {
                    tracing::warn!(%measurement, span = %merge.span, error = %chain(&error), "files of the history stay apart");
                    maintaining.stuck.insert((measurement, names));
                }
                Err(error) => {
                    self.remove_doomed(&mut maintaining)?;
                    return Err(error);
                }
            }
        }
        self.remove_doomed(&mut maintaining)?;
        Ok(done)
    }

    /// Takes files that end before the retention's bound out of what counts.
    fn expire(&self, now: EventTime) -> Vec<Arc<Entry>> {
        let bound = now.minus(self.options.retention).as_nanos();
        let mut state = lock(&self.state);
        let expired = state.files.iter().filter(|entry| entry.name.span.end() <= bound);
        let expired: Vec<Arc<Entry>> = expired.map(Arc::clone).collect();
        if !expired.is_empty() {
            state.files = Arc::new(state.files.changed(&[], &expired));
        }
        expired
    }

    fn due(
        &self,
        maintaining: &Maintaining,
        now: EventTime,
    ) -> Option<(Arc<str>, Merge, Vec<Arc<Entry>>)> {
        let files = Arc::clone(&lock(&self.state).files);
        files.measurements().find_map(|(measurement, files)| {
            let candidate = |entry: &Arc<Entry>| Candidate {
                name: entry.name,
                bytes: entry.bytes,
                flushed_at: entry.flushed_at(),
            };
            let candidates: Vec<Candidate> = files.iter().map(candidate).collect();
            due_merges(&candidates, now).into_iter().find_map(|merge| {
                let members = merge.files.iter().filter_map(|at| files.get(*at)).map(Arc::clone);
                let members: Vec<Arc<Entry>> = members.collect();
                let names = members.iter().map(|entry| entry.name).collect();
                let is_stuck = maintaining.stuck.contains(&(Arc::clone(measurement), names));
                (!is_stuck).then(|| (Arc::clone(measurement), merge, members))
            })
        })
    }

    /// Merges files into one that takes their place.
    fn merge(
        &self,
        measurement: &Arc<str>,
        merge: &Merge,
        entries: &[Arc<Entry>],
        now: EventTime,
    ) -> Result<(), HistoryError> {
        let merged = self.merged(measurement, merge, entries, now);
        if let Err(HistoryError::Damaged { path, .. }) = &merged {
            for entry in entries.iter().filter(|entry| entry.path == *path) {
                self.found_damaged(entry);
            }
        }
        let merged = [merged?];
        self.sync_folders_of(&merged)?;
        let mut state = lock(&self.state);
        state.files = Arc::new(state.files.changed(&merged, entries));
        Ok(())
    }

    fn merged(
        &self,
        measurement: &Arc<str>,
        due: &Merge,
        entries: &[Arc<Entry>],
        now: EventTime,
    ) -> Result<Arc<Entry>, HistoryError> {
        let mut files: Vec<Arc<Parquet>> = Vec::new();
        for entry in entries {
            files.push(self.open_files.get(entry)?);
        }
        let layout = layout_of(&files)?;
        let mut sources: Vec<FileSource<'_>> = Vec::new();
        for file in &files {
            sources.push(FileSource::new(file, &layout)?);
        }
        let is_over = due.span.end() <= now.minus(Duration::from_hours(1)).as_nanos();
        let firsts = entries.iter().map(|entry| entry.name.first);
        let lasts = entries.iter().map(|entry| entry.name.last);
        let target = Target {
            measurement: Arc::clone(measurement),
            span: due.span,
            first: firsts.min().unwrap_or_default(),
            last: lasts.max().unwrap_or_default(),
            level: if is_over { FINAL_LEVEL } else { GROWING_LEVEL },
            flushed_at: entries.iter().map(|entry| entry.flushed_at()).max(),
        };
        self.write_file(&target, &layout, |out| merge(&mut sources, out))
    }

    /// Takes damaged files out of what counts and renames them, for whoever wants to find out.
    fn set_aside_damaged(&self) -> Result<usize, HistoryError> {
        let damaged: Vec<Arc<Entry>> = {
            let mut state = lock(&self.state);
            let damaged = state.files.iter().filter(|entry| entry.is_damaged());
            let damaged: Vec<Arc<Entry>> = damaged.map(Arc::clone).collect();
            if !damaged.is_empty() {
                state.files = Arc::new(state.files.changed(&[], &damaged));
            }
            damaged
        };
        for entry in &damaged {
            self.open_files.close(entry);
            let path = &entry.path;
            self.disk.rename(path, &with_suffix(path, SET_ASIDE)).map_err(at(path))?;
        }
        self.sync_folders_of(&damaged)?;
        Ok(damaged.len())
    }

    /// Removes files that no longer count and that nobody holds. A crash before leaves them to the next
    /// start, which knows that they are merged or expired.
    fn remove_doomed(&self, maintaining: &mut Maintaining) -> Result<(), HistoryError> {
        let free = maintaining.doomed.extract_if(.., |entry| Arc::strong_count(entry) == 1);
        let free: Vec<Arc<Entry>> = free.collect();
        for entry in free {
            self.open_files.close(&entry);
            let files = Arc::clone(&lock(&self.state).files);
            if files.of(&entry.measurement).iter().any(|file| file.path == entry.path) {
                debug_assert!(false, "a merged file has a name of its own");
                continue;
            }
            match self.disk.remove(&entry.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let path = entry.path.clone();
                    maintaining.doomed.push(entry);
                    return Err(at(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes note of a damaged file: it is read no more, and set aside by the next maintenance.
    pub(super) fn found_damaged(&self, entry: &Entry) {
        if entry.mark_damaged() {
            self.damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let file = entry.path.display();
            tracing::warn!(%file, "a file of the history is damaged; it is left out and set aside");
        }
    }
}
