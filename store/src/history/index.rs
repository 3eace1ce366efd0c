//! Which rows of a file belong to which series: rows are sorted by series, so each has one run.
//!
//! The footer has the length of each run, so only one row of a run is read to know its tags.

use std::sync::Arc;

use parquet::data_type::{AsBytes as _, ByteArray};

use super::error::{HistoryError, damaged, in_file};
use super::reader::{ColumnCursor, Parquet};
use super::series::Series;
use super::writer::{Chunk, Values};

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
        let mut tags: Vec<TagReader> = Vec::new();
        for at in 0..file.tags.len() {
            tags.push(TagReader::new(file, at)?);
        }
        let (mut runs, mut first): (Vec<Run>, usize) = (Vec::new(), 0);
        for rows in &file.runs {
            let mut series = Vec::new();
            for (name, tag) in file.tags.iter().zip(&mut tags) {
                if let Some(value) = tag.value(file, first)? {
                    series.push((Arc::clone(name), value));
                }
            }
            let series = Arc::new(Series(series.into()));
            if runs.last().is_some_and(|last| last.series >= series) {
                return Err(damaged(&file.path, "its series are not in order"));
            }
            runs.push(Run { series, first, rows: *rows });
            first += rows;
        }
        if first != file.groups().sum::<usize>() {
            return Err(damaged(&file.path, "its series do not have all its rows"));
        }
        Ok(Self { runs })
    }
}

/// Reads single rows of a tag's column, forward.
struct TagReader {
    column: usize,
    cursor: Option<(ColumnCursor, Chunk)>,
    /// The row group that the cursor is in, its first row and the one behind its last.
    group: usize,
    rows: (usize, usize),
    /// The next row of the cursor.
    next: usize,
    /// The value before: in sorted rows most tags repeat.
    last: Option<(ByteArray, Arc<str>)>,
}

impl TagReader {
    fn new(file: &Parquet, at: usize) -> Result<Self, HistoryError> {
        let column = Parquet::tag_column(at);
        let rows = (0, file.groups().next().unwrap_or(0));
        let mut reader = Self { column, cursor: None, group: 0, rows, next: 0, last: None };
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
            let Some(rows) = file.groups().nth(self.group + 1) else { return Ok(None) };
            self.group += 1;
            self.rows = (self.rows.1, self.rows.1 + rows);
            self.begin(file)?;
        }
        let Some((cursor, chunk)) = &mut self.cursor else { return Ok(None) };
        chunk.clear();
        let read = cursor.skip(row - self.next).and_then(|()| cursor.read(1, chunk));
        read.map_err(in_file(&file.path))?;
        self.next = row + 1;
        let Values::Text(values) = &chunk.values else { return Ok(None) };
        let Some(value) = values.first() else { return Ok(None) };
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
