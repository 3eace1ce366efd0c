//! Which rows of a file belong to which series: rows are sorted by series, so each has one run.
//!
//! The footer has the length of each run, so only one row of a run is read to know its tags.

use std::sync::Arc;

use parquet::data_type::{AsBytes as _, ByteArray};

use super::error::{HistoryError, damaged, in_file};
use super::reader::{ColumnCursor, Parquet};
use super::series::Series;
use super::writer::{Chunk, Values};

/// Series of fewer rows on average are read a batch of rows at a time.
const RUN_SHORT: usize = 64;
const BATCH: usize = 1_024;

/// Rows of one series.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) series: Arc<Series>,
    /// Number of its first row in the file.
    pub(super) first: usize,
    /// How many rows it has.
    pub(super) rows: usize,
}

/// The series of a file, in order.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) runs: Vec<Run>,
}

impl Index {
    /// Returns the runs of a device.
    pub(super) fn device(&self, tenant: &str, device: &str) -> &[Run] {
        let key =
            |run: &Run| (run.series.tag("tenant"), run.series.tag("device")).cmp(&(tenant, device));
        let from = self.runs.partition_point(|run| key(run).is_lt());
        let runs = self.runs.get(from..).unwrap_or_default();
        let to = runs.partition_point(|run| key(run).is_eq());
        runs.get(..to).unwrap_or_default()
    }

    /// Reads the tags of each run.
    pub(super) fn read(file: &Parquet) -> Result<Self, HistoryError> {
        let mut reader = RunReader::new(file)?;
        let mut runs = Vec::with_capacity(file.runs.len());
        while let Some(run) = reader.next()? {
            runs.push(run);
        }
        Ok(Self { runs })
    }
}

/// Returns the runs of a device without an index, which is large where series are many: by the bounds of
/// pages only those rows are looked at that may be the device's.
pub(super) fn device_runs(
    file: &Parquet,
    tenant: &str,
    device: &str,
) -> Result<Vec<Run>, HistoryError> {
    let mut found = Vec::new();
    let (mut run, mut first, mut group_first) = (0, 0, 0);
    for (group, rows) in file.groups().enumerate() {
        let of_device = file.tag_pages(group, "device", device);
        let of_tenant = file.tag_pages(group, "tenant", tenant);
        let pairs =
            of_device.iter().flat_map(|one| of_tenant.iter().map(move |other| (one, other)));
        let both = pairs.map(|(one, other)| (one.0.max(other.0), one.1.min(other.1)));
        for (from, to) in both.filter(|(from, to)| from < to) {
            let (from, to) = (group_first + from, group_first + to.min(rows));
            while first < from
                && let Some(rows) = file.runs.get(run)
            {
                first += rows;
                run += 1;
            }
            let mut reader = RunReader::at(file, run, first)?;
            while reader.first < to
                && let Some(next) = reader.next()?
            {
                if next.series.is_of(tenant, device) {
                    found.push(next);
                }
            }
            (run, first) = (reader.run, reader.first);
        }
        group_first += rows;
    }
    Ok(found)
}

/// Reads the series of a file one after the other.
pub(super) struct RunReader<'a> {
    file: &'a Parquet,
    tags: Vec<TagReader>,
    run: usize,
    first: usize,
    last: Option<Arc<Series>>,
}

impl<'a> RunReader<'a> {
    pub(super) fn new(file: &'a Parquet) -> Result<Self, HistoryError> {
        Self::at(file, 0, 0)
    }

    /// Begins at a series whose first row is `first`.
    fn at(file: &'a Parquet, run: usize, first: usize) -> Result<Self, HistoryError> {
        let rows: usize = file.groups().sum();
        if file.runs.iter().try_fold(0_usize, |sum, run| sum.checked_add(*run)) != Some(rows) {
            return Err(damaged(&file.path, "its series do not have all its rows"));
        }
        let batch = if rows / file.runs.len().max(1) < RUN_SHORT { BATCH } else { 1 };
        let mut tags: Vec<TagReader> = Vec::new();
        for at in 0..file.tags.len() {
            tags.push(TagReader::new(file, at, batch)?);
        }
        Ok(Self { file, tags, run, first, last: None })
    }

    /// Returns the next series; `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Run>, HistoryError> {
        let Some(rows) = self.file.runs.get(self.run) else { return Ok(None) };
        let mut series = Vec::with_capacity(self.tags.len());
        for (name, tag) in self.file.tags.iter().zip(&mut self.tags) {
            if let Some(value) = tag.value(self.file, self.first)? {
                series.push((Arc::clone(name), value));
            }
        }
        let series = Arc::new(Series(series.into()));
        if self.last.as_ref().is_some_and(|last| **last >= *series) {
            return Err(damaged(&self.file.path, "its series are not in order"));
        }
        let first = self.first;
        self.first += rows;
        self.run += 1;
        self.last = Some(Arc::clone(&series));
        Ok(Some(Run { series, first, rows: *rows }))
    }
}

/// Reads single rows of a tag's column, forward; a batch of them where series have few rows.
struct TagReader {
    column: usize,
    batch: usize,
    cursor: Option<(ColumnCursor, Chunk)>,
    /// The row group that the cursor is in, its first row and the one behind its last.
    group: usize,
    rows: (usize, usize),
    /// The next row of the cursor.
    next: usize,
    /// Row in the chunk, and values before it.
    at: usize,
    taken: usize,
    /// The value before: in sorted rows most tags repeat.
    last: Option<(ByteArray, Arc<str>)>,
}

impl TagReader {
    fn new(file: &Parquet, at: usize, batch: usize) -> Result<Self, HistoryError> {
        let column = Parquet::tag_column(at);
        let rows = (0, file.group_rows(0).unwrap_or(0));
        let (cursor, last) = (None, None);
        let mut reader =
            Self { column, batch, cursor, group: 0, rows, next: 0, at: 0, taken: 0, last };
        reader.begin(file)?;
        Ok(reader)
    }

    fn begin(&mut self, file: &Parquet) -> Result<(), HistoryError> {
        self.cursor = None;
        if self.rows.0 < self.rows.1 {
            let cursor = file.column(self.group, self.column)?;
            let chunk = cursor.chunk();
            self.cursor = Some((cursor, chunk));
        }
        self.next = self.rows.0;
        Ok(())
    }

    fn value(&mut self, file: &Parquet, row: usize) -> Result<Option<Arc<str>>, HistoryError> {
        while row >= self.rows.1 {
            let Some(rows) = file.group_rows(self.group + 1) else { return Ok(None) };
            self.group += 1;
            self.rows = (self.rows.1, self.rows.1 + rows);
            self.begin(file)?;
        }
        let Some((cursor, chunk)) = &mut self.cursor else { return Ok(None) };
        if row >= self.next {
            chunk.clear();
            let rows = self.batch.min(self.rows.1 - row);
            let read = cursor.skip(row - self.next).and_then(|()| cursor.read(rows, chunk));
            read.map_err(in_file(&file.path))?;
            self.next = row + rows;
            (self.at, self.taken) = (0, 0);
        }
        let at = chunk.levels.len().saturating_sub(self.next - row);
        let passed = chunk.levels.get(self.at..at).unwrap_or_default();
        self.taken += passed.iter().filter(|level| **level == 1).count();
        self.at = at;
        if chunk.levels.get(at) != Some(&1) {
            return Ok(None);
        }
        let Values::Text(values) = &chunk.values else { return Ok(None) };
        let Some(value) = values.get(self.taken) else { return Ok(None) };
        if let Some((last, text)) = &self.last
            && last == value
        {
            return Ok(Some(Arc::clone(text)));
        }
        let text = str::from_utf8(value.as_bytes());
        let text: Arc<str> = text.map_err(|_| damaged(&file.path, "a tag is no text"))?.into();
        self.last = Some((value.clone(), Arc::clone(&text)));
        Ok(Some(text))
    }
}
