//! Maintenance: merging, retention, and taking away what is no longer read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use telemetry::problem::chain;
use telemetry::time::EventTime;

use super::error::{HistoryError, at};
use super::files::Entry;
use super::flush::Target;
use super::merge::{FileSource, layout_of, merge};
use super::name::{FileName, SET_ASIDE, Span};
use super::policy::{Candidate, Merge, due_merges};
use super::reader::Parquet;
use super::sink::with_suffix;
use super::{History, lock};

/// zstd level of a day or month that is over: it is read more often than written.
const FINAL_LEVEL: i32 = 9;
/// zstd level of what is merged again soon.
const GROWING_LEVEL: i32 = 3;
/// How long a merge waits that the disk did not let happen, so that those behind it have their turn.
const TRY_AGAIN_AFTER: Duration = Duration::from_mins(10);

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
    /// Days and months whose merge failed, with the time until which it waits.
    waiting: BTreeMap<(Arc<str>, Span), EventTime>,
}

impl Maintaining {
    /// Returns whether a merge is not to be tried now.
    fn holds(&self, measurement: &Arc<str>, span: Span, files: &[Arc<Entry>]) -> bool {
        let names = files.iter().map(|file| file.name).collect();
        self.waiting.contains_key(&(Arc::clone(measurement), span))
            || self.stuck.contains(&(Arc::clone(measurement), names))
            || files.iter().any(|file| file.is_damaged())
    }
}

impl History {
    /// Sets damaged files aside, drops whole files older than the retention, merges at most one set of
    /// files, and removes files that nobody reads any more. Blocks; reads, takes and flushes go on.
    ///
    /// # Errors
    /// [`HistoryError`]: what was not done is done by a later call. A file that could not be renamed or
    /// removed is told once no merge is due.
    pub fn maintain(&self, now: EventTime) -> Result<Maintained, HistoryError> {
        let mut maintaining = lock(&self.maintaining);
        let mut done = Maintained::default();
        let set_aside = self.set_aside_damaged(&mut done);
        let expired = self.expire(now);
        done.expired = expired.len();
        maintaining.doomed.extend(expired);
        let merged = self.merge_one(&mut maintaining, now);
        let removed = self.remove_doomed(&mut maintaining);
        let merged = merged?;
        done.has_more = merged.is_some();
        done.merged = merged.unwrap_or_default();
        if done.has_more {
            return Ok(done);
        }
        set_aside.and(removed).map(|()| done)
    }

    /// Merges the first set of files that is due; returns how many became one. `None`: none is due.
    fn merge_one(
        &self,
        maintaining: &mut Maintaining,
        now: EventTime,
    ) -> Result<Option<usize>, HistoryError> {
        // A clock that went back makes nobody wait for longer.
        maintaining.waiting.retain(|_, until| now < *until && until.minus(TRY_AGAIN_AFTER) <= now);
        let Some((measurement, merge, files)) = self.due(maintaining, now) else {
            return Ok(None);
        };
        match self.merge(&measurement, &merge, &files, now) {
            Ok(()) => {
                let merged = files.len();
                maintaining.doomed.extend(files);
                Ok(Some(merged))
            }
            Err(error @ HistoryError::TwoTypes { .. }) => {
                tracing::warn!(%measurement, span = %merge.span, error = %chain(&error), "files of the history stay apart");
                let names = files.iter().map(|file| file.name).collect();
                maintaining.stuck.insert((measurement, names));
                Ok(Some(0))
            }
            Err(error) => {
                // Once a damaged file is set aside, the others are merged without it.
                if !files.iter().any(|file| file.is_damaged()) {
                    let until = now.plus(TRY_AGAIN_AFTER);
                    maintaining.waiting.insert((measurement, merge.span), until);
                }
                Err(error)
            }
        }
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
                let is_held = maintaining.holds(measurement, merge.span, &members);
                (!is_held).then(|| (Arc::clone(measurement), merge, members))
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

    /// Renames damaged files, for whoever wants to find out, and takes those out of what counts: a name that
    /// stays is tried again. Goes on where one fails.
    fn set_aside_damaged(&self, done: &mut Maintained) -> Result<(), HistoryError> {
        let files = Arc::clone(&lock(&self.state).files);
        let (mut set_aside, mut renamed) = (Vec::new(), Ok(()));
        for entry in files.iter().filter(|entry| entry.is_damaged()) {
            self.open_files.close(entry);
            let path = &entry.path;
            match self.disk.rename(path, &with_suffix(path, SET_ASIDE)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    renamed = renamed.and(Err(at(path)(error)));
                }
                _ => set_aside.push(Arc::clone(entry)),
            }
        }
        if set_aside.is_empty() {
            return renamed;
        }
        done.set_aside = set_aside.len();
        {
            let mut state = lock(&self.state);
            state.files = Arc::new(state.files.changed(&[], &set_aside));
        }
        renamed.and(self.sync_folders_of(&set_aside))
    }

    /// Removes files that no longer count and that nobody holds. A crash before leaves them to the next
    /// start, which knows that they are merged or expired. Goes on where one fails.
    fn remove_doomed(&self, maintaining: &mut Maintaining) -> Result<(), HistoryError> {
        let free = maintaining.doomed.extract_if(.., |entry| Arc::strong_count(entry) == 1);
        let free: Vec<Arc<Entry>> = free.collect();
        let mut removed = Ok(());
        for entry in free {
            self.open_files.close(&entry);
            let files = Arc::clone(&lock(&self.state).files);
            if files.of(&entry.measurement).iter().any(|file| file.path == entry.path) {
                debug_assert!(false, "a merged file has a name of its own");
                continue;
            }
            if let Err(error) = self.disk.remove(&entry.path)
                && error.kind() != ErrorKind::NotFound
            {
                removed = removed.and(Err(at(&entry.path)(error)));
                maintaining.doomed.push(entry);
            }
        }
        removed
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
