//! Merging: several sorted sources of rows into one file.
//!
//! Of the same series and time, the newest value of each field stands: so a point written twice is one
//! point, and a later correction replaces only the fields it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parquet::data_type::ByteArray;

use super::error::{HistoryError, in_file};
use super::index::Index;
use super::reader::{ColumnCursor, Parquet};
use super::rows::Row;
use super::series::{Series, tag_order};
use super::tail::FrozenPart;
use super::value::{Column, Value};
use super::writer::{Cell, Chunk, Layout, Values, Writer};

/// Rows that a file's source holds.
const BATCH: usize = 4_096;

/// Rows in order of series and time.
pub(super) trait Source {
    /// Returns series and time of the current row; `None` behind the last one.
    fn head(&self) -> Option<(u32, i64)>;
    /// Returns field `at` of the result in the current row.
    fn cell(&self, at: usize) -> Option<Cell>;
    /// Goes to the next row.
    fn advance(&mut self) -> Result<(), HistoryError>;
}

/// Columns and series of a result: all that its sources have.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) layout: Layout,
    pub(super) series: Vec<Arc<Series>>,
    numbers: BTreeMap<Arc<Series>, u32>,
}

impl Plan {
    /// Makes a plan.
    ///
    /// # Errors
    /// [`HistoryError::TwoTypes`].
    pub(super) fn of<'a>(
        fields: impl Iterator<Item = &'a Column>,
        series: impl Iterator<Item = Arc<Series>>,
    ) -> Result<Self, HistoryError> {
        let mut columns = BTreeMap::new();
        for field in fields {
            let kind = *columns.entry(Arc::clone(&field.name)).or_insert(field.kind);
            if kind != field.kind {
                return Err(HistoryError::TwoTypes { column: (*field.name).into() });
            }
        }
        let mut numbers: BTreeMap<Arc<Series>, u32> = series.map(|series| (series, 0)).collect();
        let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
        for (number, (series, place)) in (0..).zip(numbers.iter_mut()) {
            *place = number;
            for (name, _) in &series.0 {
                if !names.contains(name) {
                    names.insert(Arc::clone(name));
                }
            }
        }
        let mut tags: Vec<Arc<str>> = names.into_iter().collect();
        tags.sort_by(|a, b| tag_order(a, b));
        if let Some(column) = tags.iter().find(|tag| columns.contains_key(*tag)) {
            return Err(HistoryError::TwoTypes { column: (**column).into() });
        }
        let fields = columns.into_iter().map(|(name, kind)| Column { name, kind }).collect();
        let series = numbers.keys().map(Arc::clone).collect();
        Ok(Self { layout: Layout { tags, fields }, series, numbers })
    }

    fn number(&self, series: &Series) -> u32 {
        self.numbers.get(series).copied().unwrap_or(u32::MAX)
    }

    /// Returns where each field of the result stands among `fields`.
    fn places(&self, fields: &[Column]) -> Vec<Option<usize>> {
        let place = |field: &Column| fields.iter().position(|known| known.name == field.name);
        self.layout.fields.iter().map(place).collect()
    }
}

/// Writes all rows of the sources, the older ones first among them.
pub(super) fn merge(
    sources: &mut [Box<dyn Source + '_>],
    fields: usize,
    out: &mut Writer<'_>,
) -> Result<(), HistoryError> {
    let mut heads: Vec<Option<(u32, i64)>> = sources.iter().map(|source| source.head()).collect();
    while let Some(head) = heads.iter().flatten().min().copied() {
        out.row(head.0, head.1)?;
        for at in 0..fields {
            let mut newest = sources.iter().zip(&heads).rev();
            out.cell(
                at,
                newest.find_map(
                    |(source, at_head)| {
                        if *at_head == Some(head) { source.cell(at) } else { None }
                    },
                ),
            );
        }
        for (source, at_head) in sources.iter_mut().zip(&mut heads) {
            if *at_head == Some(head) {
                source.advance()?;
                *at_head = source.head();
            }
        }
    }
    Ok(())
}

/// Rows of a memtable's part.
pub(super) struct MemorySource<'a> {
    rows: std::vec::IntoIter<((u32, i64), &'a Row)>,
    current: Option<((u32, i64), &'a Row)>,
    places: Vec<Option<usize>>,
}

impl<'a> MemorySource<'a> {
    pub(super) fn new(part: &'a FrozenPart, plan: &Plan) -> Self {
        let mut rows: Vec<((u32, i64), &Row)> = Vec::new();
        for (id, of_series) in &part.part.series {
            let number = part.series.get(id).map_or(u32::MAX, |series| plan.number(series));
            rows.extend(of_series.iter().map(|(time, row)| ((number, time), row)));
        }
        rows.sort_by_key(|(key, _)| *key);
        let mut rows = rows.into_iter();
        let current = rows.next();
        Self { rows, current, places: plan.places(&part.fields) }
    }
}

impl Source for MemorySource<'_> {
    fn head(&self) -> Option<(u32, i64)> {
        self.current.map(|(key, _)| key)
    }

    fn cell(&self, at: usize) -> Option<Cell> {
        let place = (*self.places.get(at)?)?;
        let (_, row) = self.current?;
        let (_, value) = row.iter().find(|(column, _)| usize::from(*column) == place)?;
        Some(match value {
            Value::Float(number) => Cell::Float(*number),
            Value::Int(number) => Cell::Int(*number),
            Value::Bool(truth) => Cell::Bool(*truth),
            Value::Text(text) => Cell::Text(ByteArray::from(text.as_bytes().to_vec())),
        })
    }

    fn advance(&mut self) -> Result<(), HistoryError> {
        self.current = self.rows.next();
        Ok(())
    }
}

/// Rows of a file, a batch at a time.
pub(super) struct FileSource<'a> {
    file: &'a Parquet,
    index: Arc<Index>,
    numbers: Vec<u32>,
    places: Vec<Option<usize>>,
    /// Rows of the row groups not yet begun.
    groups: std::vec::IntoIter<usize>,
    group: usize,
    left_in_group: usize,
    /// The time's column, then the fields'.
    cursors: Vec<(ColumnCursor, Chunk, usize)>,
    row: usize,
    batch: usize,
    run: usize,
    left_in_run: usize,
}

impl<'a> FileSource<'a> {
    pub(super) fn new(file: &'a Parquet, plan: &Plan) -> Result<Self, HistoryError> {
        let index = file.index()?;
        let numbers = index.runs.iter().map(|run| plan.number(&run.series)).collect();
        let groups: Vec<usize> = file.groups().collect();
        let mut source = Self {
            file,
            numbers,
            places: plan.places(&file.fields),
            groups: groups.into_iter(),
            group: 0,
            left_in_group: 0,
            cursors: Vec::new(),
            row: 0,
            batch: 0,
            run: 0,
            left_in_run: index.runs.first().map_or(0, |run| run.rows),
            index,
        };
        source.fill()?;
        Ok(source)
    }

    /// Reads the next batch; leaves `batch` zero behind the last one.
    fn fill(&mut self) -> Result<(), HistoryError> {
        self.row = 0;
        self.batch = 0;
        while self.left_in_group == 0 {
            let Some(rows) = self.groups.next() else { return Ok(()) };
            self.left_in_group = rows;
            self.cursors.clear();
            let fields = (0..self.file.fields.len()).map(|at| self.file.field_column(at));
            for column in std::iter::once(0).chain(fields) {
                let cursor = self.file.column(self.group, column)?;
                let chunk = cursor.chunk();
                self.cursors.push((cursor, chunk, 0));
            }
            self.group += 1;
        }
        let batch = self.left_in_group.min(BATCH);
        for (cursor, chunk, taken) in &mut self.cursors {
            chunk.clear();
            *taken = 0;
            cursor.read(batch, chunk).map_err(in_file(&self.file.path))?;
        }
        self.left_in_group -= batch;
        self.batch = batch;
        Ok(())
    }
}

impl Source for FileSource<'_> {
    fn head(&self) -> Option<(u32, i64)> {
        let Some((_, Chunk { values: Values::Int(times), .. }, _)) = self.cursors.first() else {
            return None;
        };
        let time = times.get(self.row).filter(|_| self.row < self.batch)?;
        Some((*self.numbers.get(self.run)?, *time))
    }

    fn cell(&self, at: usize) -> Option<Cell> {
        let place = (*self.places.get(at)?)?;
        let (_, chunk, taken) = self.cursors.get(1 + place)?;
        chunk.levels.get(self.row).filter(|level| **level == 1)?;
        Some(match &chunk.values {
            Values::Float(values) => Cell::Float(*values.get(*taken)?),
            Values::Int(values) => Cell::Int(*values.get(*taken)?),
            Values::Bool(values) => Cell::Bool(*values.get(*taken)?),
            Values::Text(values) => Cell::Text(values.get(*taken)?.clone()),
        })
    }

    fn advance(&mut self) -> Result<(), HistoryError> {
        for (_, chunk, taken) in self.cursors.iter_mut().skip(1) {
            *taken += usize::from(chunk.levels.get(self.row).is_some_and(|level| *level == 1));
        }
        self.row += 1;
        self.left_in_run = self.left_in_run.saturating_sub(1);
        if self.left_in_run == 0 {
            self.run += 1;
            self.left_in_run = self.index.runs.get(self.run).map_or(0, |run| run.rows);
        }
        if self.row >= self.batch { self.fill() } else { Ok(()) }
    }
}
