//! Merging: several sorted files into one.
//!
//! Of the same series and time, the newest value of each field stands: so a point written twice is one
//! point, and a later correction replaces only the fields it names. Files are read once from front to back;
//! of the names of series only those at hand are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{HistoryError, damaged, in_file};
use super::index::RunReader;
use super::reader::{ColumnCursor, Parquet};
use super::series::{Series, tag_order};
use super::value::Column;
use super::writer::{Cell, Chunk, Layout, Values, Writer};

/// Rows that a file's source holds.
const BATCH: usize = 4_096;

/// Returns all columns that files have.
///
/// # Errors
/// [`HistoryError::TwoTypes`].
pub(super) fn layout_of(files: &[Arc<Parquet>]) -> Result<Layout, HistoryError> {
    let mut columns = BTreeMap::new();
    for field in files.iter().flat_map(|file| &file.fields) {
        let kind = *columns.entry(Arc::clone(&field.name)).or_insert(field.kind);
        if kind != field.kind {
            return Err(HistoryError::TwoTypes { column: (*field.name).into() });
        }
    }
    let tags: BTreeSet<&Arc<str>> = files.iter().flat_map(|file| &file.tags).collect();
    let mut tags: Vec<Arc<str>> = tags.into_iter().map(Arc::clone).collect();
    tags.sort_by(|a, b| tag_order(a, b));
    if let Some(column) = tags.iter().find(|tag| columns.contains_key(*tag)) {
        return Err(HistoryError::TwoTypes { column: (**column).into() });
    }
    let fields = columns.into_iter().map(|(name, kind)| Column { name, kind }).collect();
    Ok(Layout { tags, fields })
}

/// Writes all rows of the sources, the older ones first among them.
pub(super) fn merge(
    sources: &mut [FileSource<'_>],
    out: &mut Writer<'_>,
) -> Result<(), HistoryError> {
    let mut members: Vec<usize> = Vec::new();
    while let Some(least) = least(sources, &mut members) {
        out.series(&least);
        while let Some(time) = members.iter().filter_map(|at| sources.get(*at)?.time()).min() {
            out.row(time)?;
            merge_row(sources, &members, time, out)?;
        }
        for at in &members {
            if let Some(source) = sources.get_mut(*at) {
                source.next_run()?;
            }
        }
    }
    Ok(())
}

/// Returns the series that comes next, and which sources have it.
fn least(sources: &[FileSource<'_>], members: &mut Vec<usize>) -> Option<Arc<Series>> {
    members.clear();
    let mut least: Option<&Arc<Series>> = None;
    for (at, source) in sources.iter().enumerate() {
        let Some(series) = &source.series else { continue };
        match least.map_or(std::cmp::Ordering::Less, |least| series.cmp(least)) {
            std::cmp::Ordering::Less => {
                least = Some(series);
                members.clear();
                members.push(at);
            }
            std::cmp::Ordering::Equal => members.push(at),
            std::cmp::Ordering::Greater => {}
        }
    }
    least.map(Arc::clone)
}

/// Writes the row of a time and passes it in all sources that have it.
fn merge_row(
    sources: &mut [FileSource<'_>],
    members: &[usize],
    time: i64,
    out: &mut Writer<'_>,
) -> Result<(), HistoryError> {
    let has_it = |source: &FileSource<'_>| source.time() == Some(time);
    let count = members.iter().filter_map(|at| sources.get(*at)).filter(|one| has_it(one)).count();
    let mut set: Vec<usize> = Vec::new();
    for at in members.iter().rev() {
        let Some(source) = sources.get_mut(*at).filter(|one| has_it(one)) else { continue };
        for (field, cell) in source.cells() {
            if count > 1 {
                if set.contains(&field) {
                    continue;
                }
                set.push(field);
            }
            out.cell(field, cell);
        }
        source.advance()?;
    }
    Ok(())
}

/// A column of a file that is being read.
struct FieldReader {
    cursor: ColumnCursor,
    chunk: Chunk,
    /// Values before those of the current row.
    taken: usize,
    /// Where it stands among the fields of the result.
    place: usize,
}

/// Rows of a file, a batch at a time.
pub(super) struct FileSource<'a> {
    file: &'a Parquet,
    runs: RunReader<'a>,
    /// Series of the current rows; `None` behind the last one.
    series: Option<Arc<Series>>,
    left_in_run: usize,
    /// Where each of its fields stands in the result.
    places: Vec<usize>,
    /// The row group to begin next, and what is left of the one before it.
    group: usize,
    left_in_group: usize,
    times: Option<ColumnCursor>,
    time_chunk: Chunk,
    fields: Vec<FieldReader>,
    row: usize,
    batch: usize,
}

impl<'a> FileSource<'a> {
    pub(super) fn new(file: &'a Parquet, layout: &Layout) -> Result<Self, HistoryError> {
        let place = |field: &Column| layout.fields.iter().position(|one| one.name == field.name);
        let mut source = Self {
            file,
            runs: RunReader::new(file)?,
            series: None,
            left_in_run: 0,
            places: file.fields.iter().filter_map(place).collect(),
            group: 0,
            left_in_group: 0,
            times: None,
            time_chunk: Chunk::of(super::value::Kind::Int),
            fields: Vec::new(),
            row: 0,
            batch: 0,
        };
        source.next_run()?;
        source.fill()?;
        Ok(source)
    }

    fn next_run(&mut self) -> Result<(), HistoryError> {
        let run = self.runs.next()?;
        self.left_in_run = run.as_ref().map_or(0, |run| run.rows);
        self.series = run.map(|run| run.series);
        Ok(())
    }

    /// Reads the next batch; leaves `batch` zero behind the last one.
    fn fill(&mut self) -> Result<(), HistoryError> {
        self.row = 0;
        self.batch = 0;
        while self.left_in_group == 0 {
            let Some(rows) = self.file.group_rows(self.group) else { return Ok(()) };
            self.left_in_group = rows;
            self.times = Some(self.file.column(self.group, 0)?);
            self.fields.clear();
            for (at, place) in self.places.iter().enumerate() {
                let cursor = self.file.column(self.group, self.file.field_column(at))?;
                let chunk = cursor.chunk();
                self.fields.push(FieldReader { cursor, chunk, taken: 0, place: *place });
            }
            self.group += 1;
        }
        let batch = self.left_in_group.min(BATCH);
        self.time_chunk.clear();
        let times = self.times.iter_mut().map(|cursor| cursor.read(batch, &mut self.time_chunk));
        times.collect::<Result<(), _>>().map_err(in_file(&self.file.path))?;
        for field in &mut self.fields {
            field.chunk.clear();
            field.taken = 0;
            field.cursor.read(batch, &mut field.chunk).map_err(in_file(&self.file.path))?;
        }
        self.left_in_group -= batch;
        self.batch = batch;
        Ok(())
    }

    /// Returns the time of the current row; `None` behind the last one of the series.
    fn time(&self) -> Option<i64> {
        let Values::Int(times) = &self.time_chunk.values else { return None };
        times.get(self.row).copied().filter(|_| self.left_in_run > 0)
    }

    /// Returns the values of the current row, by their fields' places in the result.
    fn cells(&self) -> impl Iterator<Item = (usize, Cell)> {
        self.fields.iter().filter_map(|FieldReader { chunk, taken, place, .. }| {
            chunk.levels.get(self.row).filter(|level| **level == 1)?;
            let cell = match &chunk.values {
                Values::Float(values) => Cell::Float(*values.get(*taken)?),
                Values::Int(values) => Cell::Int(*values.get(*taken)?),
                Values::Bool(values) => Cell::Bool(*values.get(*taken)?),
                Values::Text(values) => Cell::Text(values.get(*taken)?.clone()),
            };
            Some((*place, cell))
        })
    }

    /// Goes to the next row.
    fn advance(&mut self) -> Result<(), HistoryError> {
        for field in &mut self.fields {
            let level = field.chunk.levels.get(self.row);
            field.taken += usize::from(level.is_some_and(|level| *level == 1));
        }
        self.row += 1;
        self.left_in_run = self.left_in_run.saturating_sub(1);
        if self.row < self.batch {
            return Ok(());
        }
        self.fill()?;
        if self.batch == 0 && self.left_in_run > 0 {
            return Err(damaged(&self.file.path, "its series have more rows than it"));
        }
        Ok(())
    }
}
