//! Which rows of a file belong to which series: rows are sorted by series, so each has one run.

use std::collections::HashMap;
use std::sync::Arc;

use parquet::data_type::{AsBytes as _, ByteArray};

use super::error::{HistoryError, damaged, in_file};
use super::reader::{ColumnCursor, Parquet};
use super::series::Series;
use super::writer::{Chunk, Values};

/// Rows decoded at once.
const BATCH: usize = 8_192;

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
            |run: &Run| (run.series.tag("tenant") < tenant, run.series.tag("tenant") == tenant);
        let before = |run: &Run| {
            let (is_less, is_equal) = key(run);
            is_less || (is_equal && run.series.tag("device") < device)
        };
        let within =
            |run: &Run| run.series.tag("tenant") == tenant && run.series.tag("device") == device;
        let from = self.runs.partition_point(before);
        let runs = self.runs.get(from..).unwrap_or_default();
        let to = runs.partition_point(within);
        runs.get(..to).unwrap_or_default()
    }

    /// Reads the tags of every row.
    pub(super) fn read(file: &Parquet) -> Result<Self, HistoryError> {
        let mut builder = Builder::default();
        for (group, rows) in file.groups().enumerate() {
            let mut columns = Vec::new();
            for at in 0..file.tags.len() {
                let cursor = file.column(group, Parquet::tag_column(at))?;
                let chunk = cursor.chunk();
                columns.push((cursor, chunk));
            }
            let mut left = rows;
            while left > 0 {
                let batch = left.min(BATCH);
                read_batch(&mut columns, batch).map_err(in_file(&file.path))?;
                builder.add(file, batch, &columns)?;
                left -= batch;
            }
        }
        Ok(Self { runs: builder.runs })
    }
}

fn read_batch(columns: &mut [(ColumnCursor, Chunk)], rows: usize) -> parquet::errors::Result<()> {
    for (cursor, chunk) in columns {
        chunk.clear();
        cursor.read(rows, chunk)?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Builder {
    runs: Vec<Run>,
    /// Tags of the last row.
    last: Vec<Option<ByteArray>>,
    rows: usize,
    known: HashMap<Box<str>, Arc<str>>,
}

impl Builder {
    fn add(
        &mut self,
        file: &Parquet,
        rows: usize,
        columns: &[(ColumnCursor, Chunk)],
    ) -> Result<(), HistoryError> {
        let mut values: Vec<_> = columns.iter().map(|(_, chunk)| column(chunk)).collect();
        for row in 0..rows {
            let mut is_new = self.runs.is_empty();
            for (at, (levels, texts)) in values.iter_mut().enumerate() {
                let is_there = levels.get(row).is_some_and(|level| *level == 1);
                let value = if is_there { texts.next() } else { None };
                if self.last.len() <= at {
                    self.last.push(value.cloned());
                } else if let Some(last) = self.last.get_mut(at)
                    && last.as_ref().map(ByteArray::as_bytes) != value.map(ByteArray::as_bytes)
                {
                    *last = value.cloned();
                    is_new = true;
                }
            }
            if is_new {
                let series = Arc::new(self.series(file)?);
                if self.runs.last().is_some_and(|last| last.series >= series) {
                    return Err(damaged(&file.path, "its series are not in order"));
                }
                self.runs.push(Run { series, first: self.rows, rows: 0 });
            }
            if let Some(run) = self.runs.last_mut() {
                run.rows += 1;
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn series(&mut self, file: &Parquet) -> Result<Series, HistoryError> {
        let mut tags = Vec::new();
        for (name, value) in file.tags.iter().zip(&self.last) {
            let Some(value) = value else { continue };
            let text = str::from_utf8(value.as_bytes());
            let text = text.map_err(|_| damaged(&file.path, "a tag is no text"))?;
            let value = match self.known.get(text) {
                Some(known) => Arc::clone(known),
                None => {
                    let value = Arc::<str>::from(text);
                    self.known.insert(text.into(), Arc::clone(&value));
                    value
                }
            };
            tags.push((Arc::clone(name), value));
        }
        Ok(Series(tags.into()))
    }
}

fn column(chunk: &Chunk) -> (&[i16], std::slice::Iter<'_, ByteArray>) {
    let values: &[ByteArray] = match &chunk.values {
        Values::Text(values) => values,
        Values::Float(_) | Values::Int(_) | Values::Bool(_) => &[],
    };
    (&chunk.levels, values.iter())
}
