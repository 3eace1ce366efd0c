//! Which files there are, and those that are open.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use telemetry::time::EventTime;

use super::disk::HistoryDisk;
use super::error::HistoryError;
use super::lock;
use super::name::FileName;
use super::reader::Parquet;

/// Most files open at once.
const OPEN_MAX: usize = 256;
/// Most series of open files in memory.
const SERIES_MAX: usize = 1_000_000;

/// One file. As long as somebody holds it, it stays on the disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) measurement: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) name: FileName,
    pub(super) bytes: u64,
    /// When a flush wrote it, by the engine's clock; `i64::MIN`: before the start, or a merge.
    flushed_at: AtomicI64,
    is_damaged: AtomicBool,
}

impl Entry {
    pub(super) fn new(
        measurement: Arc<str>,
        folder: &Path,
        name: FileName,
        bytes: u64,
        flushed_at: Option<EventTime>,
    ) -> Arc<Self> {
        let flushed_at = flushed_at.map_or(i64::MIN, EventTime::as_nanos);
        Arc::new(Self {
            measurement,
            path: folder.join(name.to_string()),
            name,
            bytes,
            flushed_at: AtomicI64::new(flushed_at),
            is_damaged: AtomicBool::new(false),
        })
    }

    pub(super) fn flushed_at(&self) -> EventTime {
        EventTime::from_nanos(self.flushed_at.load(Ordering::Relaxed))
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Marks it; returns whether it was not marked before.
    pub(super) fn mark_damaged(&self) -> bool {
        !self.is_damaged.swap(true, Ordering::Relaxed)
    }
}

/// All files that count, by measurement; in each the older ones first, so that the newer value of a
/// field is the later one.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(BTreeMap<Arc<str>, Vec<Arc<Entry>>>);

impl Files {
    /// Returns them with some added and some left out.
    pub(super) fn changed(&self, added: &[Arc<Entry>], removed: &[Arc<Entry>]) -> Self {
        let mut all = self.0.clone();
        for entry in removed {
            if let Some(files) = all.get_mut(&entry.measurement) {
                files.retain(|known| !Arc::ptr_eq(known, entry));
            }
        }
        for entry in added {
            all.entry(Arc::clone(&entry.measurement)).or_default().push(Arc::clone(entry));
        }
        all.retain(|_, files| !files.is_empty());
        for files in all.values_mut() {
            files.sort_by_key(|entry| (entry.name.last, entry.name.first, entry.name));
        }
        Self(all)
    }

    /// Returns the files of each measurement.
    pub(super) fn measurements(&self) -> impl Iterator<Item = (&Arc<str>, &[Arc<Entry>])> {
        self.0.iter().map(|(name, files)| (name, files.as_slice()))
    }

    /// Returns the files of one measurement.
    pub(super) fn of(&self, measurement: &str) -> &[Arc<Entry>] {
        self.0.get(measurement).map_or(&[], Vec::as_slice)
    }

    /// Returns every file.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.values().flatten()
    }
}

/// The files that are open; the one not used for longest is closed first.
#[derive(Debug)]
pub(super) struct OpenFiles {
    disk: Arc<dyn HistoryDisk>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    uses: u64,
    files: HashMap<PathBuf, (Arc<Parquet>, u64)>,
}

impl OpenFiles {
    pub(super) fn new(disk: Arc<dyn HistoryDisk>) -> Self {
        Self { disk, cache: Mutex::default() }
    }

    /// Returns the file, opened where it is not.
    pub(super) fn get(&self, entry: &Entry) -> Result<Arc<Parquet>, HistoryError> {
        if let Some(file) = lock(&self.cache).find(&entry.path) {
            return Ok(file);
        }
        let file = Arc::new(Parquet::open(&*self.disk, &entry.path, &entry.name)?);
        lock(&self.cache).add(&entry.path, &file);
        Ok(file)
    }

    /// Closes a file that is no longer needed.
    pub(super) fn close(&self, entry: &Entry) {
        lock(&self.cache).files.remove(&entry.path);
    }
}

impl Cache {
    fn find(&mut self, path: &Path) -> Option<Arc<Parquet>> {
        self.uses += 1;
        let (file, used) = self.files.get_mut(path)?;
        *used = self.uses;
        Some(Arc::clone(file))
    }

    fn add(&mut self, path: &Path, file: &Arc<Parquet>) {
        let series = |cache: &Self| -> usize {
            cache.files.values().map(|(file, _)| file.series_held()).sum()
        };
        while self.files.len() >= OPEN_MAX || series(self) > SERIES_MAX {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else { break };
            self.files.remove(&oldest);
        }
        self.uses += 1;
        self.files.insert(path.to_owned(), (Arc::clone(file), self.uses));
    }
}
