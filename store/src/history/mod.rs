//! The embedded history: a memory tail and immutable Parquet files in one folder.
//!
//! ```text
//! outbox ──line──▶ take ─▶ tail ──freeze, write──▶ a file for each measurement and day ──maintain──▶ day, month
//!                           │              + MANIFEST: flush number and cursor                 │
//!                           └───────────────▶ range, windows, latest ◀─────────────────────────┘
//! ```
//!
//! The folder (`name`, `manifest`): `measurement={name}/{day or month}.{first}-{last flush}.….parquet`,
//! rows sorted by series and time, one column for the time, each tag and each field. Any Parquet reader
//! takes the files as they are: `read_parquet('history/**/*.parquet', union_by_name = true)`.
//!
//! - **H1 the files are the cursor**: what a flush wrote counts together with the cursor it was given, or
//!   not at all, wherever a crash falls.
//! - **H2 one point is one point**: the same series and time, written again at any time in any order of
//!   flushes, is one row; the newest value of each field stands.
//! - **H3 a row has one place**: it stands in files that cover its own UTC day, so retention deletes files.
//! - **H4 nothing is changed**: a file is written under another name, fsynced, renamed, and then only
//!   read until it is deleted; never while a reader holds it.
//! - **H5 checked**: no byte of a file reaches a decoder before its checksum; a damaged file is left out,
//!   counted and set aside, its neighbours stay.
//! - **H6 bounded**: open files, series and values in memory, files of a day. The tail's bound is kept by
//!   the caller, who freezes it at [`HistoryOptions::flush_bytes`] and takes no more than another such tail
//!   while the one before is not written.
//!
//! Types of fields hold for a measurement and UTC month: a point whose field has another type than that
//! month's points is refused, as is one older than the retention.
//!
//! Pure: `name`, `manifest`, `series`, `names`, `ranks`, `rows`, `sorted`, `tail`, `policy`. It does not: loop, keep a clock, or move a
//! cursor (the engine's), hide points older than the retention from reads before their file is deleted,
//! or keep other readers from seeing files that a flush or merge is about to replace.

mod disk;
mod error;
mod files;
mod flush;
mod index;
mod maintain;
mod manifest;
mod merge;
mod name;
mod names;
mod open;
mod policy;
mod query;
mod ranks;
mod reader;
mod rows;
mod series;
mod sink;
mod sorted;
mod tail;
mod value;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::{DiskFile, RealDisk};
use telemetry::time::EventTime;

use crate::{DETAIL_MAX, EntryKey, RejectReason, Rejected, cut};
use files::{Entry, Files, OpenFiles};
use flush::Flushing;
use maintain::Maintaining;
use name::Span;
use ranks::Ranks;
use tail::{Memtable, MonthColumns, Taken};

pub use disk::HistoryDisk;
pub use error::HistoryError;
pub use flush::Frozen;
pub use maintain::Maintained;
pub use rows::Size as TailSize;

/// Longest cursor.
pub const CURSOR_BYTES_MAX: usize = 255;

/// Where the history stands and how long it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryOptions {
    /// The folder.
    pub dir: PathBuf,
    /// How old a point may be when it is taken; files whose time is older as a whole are deleted.
    pub retention: Duration,
    /// Size of the tail at which the caller flushes.
    pub flush_bytes: usize,
}

impl HistoryOptions {
    /// Size of the tail at which the caller flushes, where it is not set: some 670,000 points of five fields.
    /// The larger, the fewer files a fleet of many series leaves, and the more rows of a series stand
    /// together.
    pub const FLUSH_BYTES: usize = 64 << 20;

    /// Returns the defaults for a folder.
    #[must_use]
    pub const fn new(dir: PathBuf, retention: Duration) -> Self {
        Self { dir, retention, flush_bytes: Self::FLUSH_BYTES }
    }
}

/// Values of one window of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Its first time.
    pub start: EventTime,
    /// Mean of its values.
    pub mean: f64,
    /// The least of them.
    pub min: f64,
    /// The greatest of them.
    pub max: f64,
    /// How many there are; at least 1.
    pub count: u64,
}

impl Window {
    const fn of(start: EventTime, value: f64) -> Self {
        Self { start, mean: value, min: value, max: value, count: 1 }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.mean += (value - self.mean) / self.count as f64;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// The history of one folder. Share it: every call takes `&self`.
#[derive(Debug)]
pub struct History {
    options: HistoryOptions,
    disk: Arc<dyn HistoryDisk>,
    state: Mutex<State>,
    /// Held through a flush.
    flushing: Mutex<Flushing>,
    /// Held through maintenance.
    maintaining: Mutex<Maintaining>,
    open_files: OpenFiles,
    damaged: AtomicU64,
    /// Keeps a second process out.
    _lock: Arc<dyn DiskFile>,
}

/// What takes, reads and flushes share; held for moments.
#[derive(Debug)]
struct State {
    tail: tail::Tail,
    /// Tails that wait for a flush, are written by it, or failed to be written; the older ones first.
    frozen: Vec<Arc<Memtable>>,
    /// How often a tail was frozen.
    freezes: u64,
    files: Arc<Files>,
    /// The time that the latest take was given.
    now: Option<EventTime>,
}

impl History {
    /// Opens the folder, making it where there is none. Returns the cursor of the last flush; `None`: there
    /// was none, or its manifest was damaged. Everything behind the cursor is to be taken again.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(options: HistoryOptions) -> Result<(Self, Option<Vec<u8>>), HistoryError> {
        Self::open_on(Arc::new(RealDisk), options)
    }

    /// Opens it on a disk: a simulated one in tests.
    ///
    /// # Errors
    /// As [`History::open`].
    pub fn open_on(
        disk: Arc<dyn HistoryDisk>,
        options: HistoryOptions,
    ) -> Result<(Self, Option<Vec<u8>>), HistoryError> {
        let found = open::open(&*disk, &options)?;
        let cursor = found.manifest.cursor.clone();
        let state = State {
            tail: tail::Tail::default(),
            frozen: Vec::new(),
            freezes: 0,
            files: Arc::new(found.files),
            now: None,
        };
        let history = Self {
            options,
            open_files: OpenFiles::new(Arc::clone(&disk)),
            disk,
            state: Mutex::new(state),
            flushing: Mutex::new(Flushing {
                manifest: found.manifest,
                next: found.next,
                written: 0,
                tried: None,
                ranks: Ranks::default(),
            }),
            maintaining: Mutex::default(),
            damaged: AtomicU64::new(found.damaged),
            _lock: found.lock,
        };
        Ok((history, cursor))
    }

    /// Takes one line of line protocol with a time in nanoseconds into the tail; reads see it at once.
    /// Returns why not, where it is not taken.
    pub fn take(&self, key: EntryKey, line: &str, now: EventTime) -> Option<Rejected> {
        self.take_or_refuse(line, now).err().map(|(reason, detail)| Rejected {
            key,
            reason,
            detail: cut(&detail, DETAIL_MAX).into(),
        })
    }

    fn take_or_refuse(&self, text: &str, now: EventTime) -> Result<(), (RejectReason, String)> {
        let bound = now.minus(self.options.retention).as_nanos();
        loop {
            let taken = {
                let mut state = lock(&self.state);
                // Not the greatest: a clock that was ahead for a while would hold up merges of days.
                state.now = Some(now);
                state.tail.take(text, bound)
            };
            match taken {
                Taken::Yes => return Ok(()),
                Taken::No(reason, detail) => return Err((reason, detail)),
                Taken::UnknownMonth { measurement, month } => self.learn(&measurement, month),
            }
        }
    }

    /// Finds the columns that a month has in files, so that a field keeps its type; what is in memory is
    /// never forgotten before it is in a file.
    fn learn(&self, measurement: &Arc<str>, month: Span) {
        let files = Arc::clone(&lock(&self.state).files);
        let mut columns = MonthColumns::default();
        let is_of = |entry: &&Arc<Entry>| entry.name.span.month() == month && !entry.is_damaged();
        for entry in files.of(measurement).iter().filter(is_of) {
            match self.open_files.get(entry) {
                Ok(file) => columns.add(&file.fields, &file.tags),
                Err(HistoryError::Damaged { .. }) => self.found_damaged(entry),
                // A type that is not known is not held against a point: it stays in a file of its own.
                Err(error) => {
                    let error = telemetry::problem::chain(&error);
                    tracing::warn!(%error, "the columns of a file of the history are not known");
                }
            }
        }
        lock(&self.state).tail.learn(measurement, month, columns);
    }

    /// Returns how much is in memory and in no file yet.
    #[must_use]
    pub fn tail(&self) -> TailSize {
        let state = lock(&self.state);
        let frozen = state.frozen.iter().map(|memtable| memtable.rows.size());
        frozen.fold(state.tail.rows.size(), |all, one| TailSize {
            rows: all.rows + one.rows,
            bytes: all.bytes + one.bytes,
        })
    }

    /// Returns how much was taken since the last freeze.
    #[must_use]
    pub fn unfrozen(&self) -> TailSize {
        lock(&self.state).tail.rows.size()
    }

    /// Returns its options.
    #[must_use]
    pub const fn options(&self) -> &HistoryOptions {
        &self.options
    }

    /// Returns how many files were found damaged, those set aside by earlier runs included.
    #[must_use]
    pub fn damaged_files(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Returns how many files count, and their bytes.
    #[must_use]
    pub fn files(&self) -> (usize, u64) {
        let files = Arc::clone(&lock(&self.state).files);
        files.iter().fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.bytes))
    }
}

/// Locks; a panic elsewhere has left no half-done state behind, since each change is one assignment.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
