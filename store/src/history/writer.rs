//! Rows into Parquet: one column for the time, one a tag, one a field.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::error::{HistoryError, in_file};
use super::rows::Rows;
use super::series::Series;
use super::sink::Sink;
use super::value::{Column, Kind};

/// Name of the time's column.
pub(super) const TIME: &str = "time";
/// Key of the number of tag columns behind the time's.
pub(super) const TAGS_KEY: &str = "tianlu.tags";
/// Key of the number of rows of each series, in order: `2880*1000,2879`.
pub(super) const RUNS_KEY: &str = "tianlu.runs";
/// Key of the sums of the blocks, in hex, eight digits each.
pub(super) const SUMS_KEY: &str = "tianlu.crc32c";
/// Rows of a row group: what a merge holds in memory.
pub(super) const GROUP_ROWS: usize = 256 << 10;
/// Rows of a page: what a reader decodes to reach any of them.
const PAGE_ROWS: usize = 8_192;

/// Columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Names of the tags, in their order.
    pub(super) tags: Vec<Arc<str>>,
    /// The fields, by name.
    pub(super) fields: Vec<Column>,
}

/// Values of one column, the missing ones left out.
#[derive(Debug)]
pub(super) enum Values {
    Float(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Values {
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Float => Self::Float(Vec::new()),
            Kind::Int => Self::Int(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Float(values) => values.clear(),
            Self::Int(values) => values.clear(),
            Self::Bool(values) => values.clear(),
            Self::Text(values) => values.clear(),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Float(values), Cell::Float(value)) => values.push(value),
            (Self::Int(values), Cell::Int(value)) => values.push(value),
            (Self::Bool(values), Cell::Bool(value)) => values.push(value),
            (Self::Text(values), Cell::Text(value)) => values.push(value),
            (Self::Float(_) | Self::Int(_) | Self::Bool(_) | Self::Text(_), _) => {
                debug_assert!(false, "a cell has its column's type");
            }
        }
    }

    /// Adds what a cell in memory holds.
    fn push_bits(&mut self, bits: u64, rows: &Rows) {
        match self {
            Self::Float(values) => values.push(f64::from_bits(bits)),
            Self::Int(values) => values.push(bits.cast_signed()),
            Self::Bool(values) => values.push(bits != 0),
            Self::Text(values) => values.push(text(rows.text(bits))),
        }
    }
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

/// One value on its way into a column.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Float(f64),
    Int(i64),
    Bool(bool),
    Text(ByteArray),
}

/// One column of a row group: for each row whether it has a value, and those.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Definition levels: 1 where there is a value.
    pub(super) levels: Vec<i16>,
    pub(super) values: Values,
}

impl Chunk {
    pub(super) const fn of(kind: Kind) -> Self {
        Self { levels: Vec::new(), values: Values::of(kind) }
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
        self.values.clear();
    }

    /// Begins the value of the row at a place; those before that have none are told apart.
    fn begin(&mut self, row: usize) -> &mut Values {
        self.levels.resize(row, 0);
        self.levels.push(1);
        &mut self.values
    }
}

/// Writes a file row by row; holds one row group.
pub(super) struct Writer<'a> {
    path: &'a Path,
    file: SerializedFileWriter<&'a mut Sink>,
    layout: &'a Layout,
    /// Series of this row group and how many rows of each follow each other.
    runs: Vec<(Arc<Series>, usize)>,
    /// Rows of each series of the file.
    lengths: Vec<usize>,
    times: Vec<i64>,
    fields: Vec<Chunk>,
}

impl<'a> Writer<'a> {
    /// Begins a file.
    pub(super) fn new(
        sink: &'a mut Sink,
        path: &'a Path,
        layout: &'a Layout,
        level: i32,
    ) -> Result<Self, HistoryError> {
        let begin = || {
            let properties = Arc::new(properties(layout, level)?);
            SerializedFileWriter::new(sink, schema(layout)?, properties)
        };
        Ok(Self {
            path,
            file: begin().map_err(in_file(path))?,
            layout,
            runs: Vec::new(),
            lengths: Vec::new(),
            times: Vec::new(),
            fields: layout.fields.iter().map(|field| Chunk::of(field.kind)).collect(),
        })
    }

    /// Begins a series; they come in order, and at least one row follows.
    pub(super) fn series(&mut self, series: &Arc<Series>) {
        self.runs.push((Arc::clone(series), 0));
        self.lengths.push(0);
    }

    /// Begins a row of the series; values of some fields follow.
    pub(super) fn row(&mut self, time: i64) -> Result<(), HistoryError> {
        if self.times.len() >= GROUP_ROWS {
            let series = self.runs.last().map(|(series, _)| Arc::clone(series));
            self.end_group()?;
            self.runs.push((series.unwrap_or_default(), 0));
        }
        if let (Some((_, run)), Some(length)) = (self.runs.last_mut(), self.lengths.last_mut()) {
            *run += 1;
            *length += 1;
        }
        self.times.push(time);
        Ok(())
    }

    /// Sets the value of field `at` in the row begun last.
    pub(super) fn cell(&mut self, at: usize, cell: Cell) {
        if let Some(chunk) = self.fields.get_mut(at) {
            chunk.begin(self.times.len().saturating_sub(1)).push(cell);
        }
    }

    /// The same for what a cell of `rows` holds.
    pub(super) fn bits(&mut self, at: usize, bits: u64, rows: &Rows) {
        if let Some(chunk) = self.fields.get_mut(at) {
            chunk.begin(self.times.len().saturating_sub(1)).push_bits(bits, rows);
        }
    }

    /// Writes what is left, and the footer; the sink is not synced yet.
    pub(super) fn finish(mut self) -> Result<(), HistoryError> {
        self.end_group()?;
        let Self { mut file, path, layout, lengths, .. } = self;
        let end = || -> ParquetResult<()> {
            file.flush()?;
            let sums = file.inner_mut().begin_tail()?;
            let sums: String = sums.iter().map(|sum| format!("{sum:08x}")).collect();
            file.append_key_value_metadata(KeyValue::new(SUMS_KEY.to_owned(), sums));
            let tags = layout.tags.len().to_string();
            file.append_key_value_metadata(KeyValue::new(TAGS_KEY.to_owned(), tags));
            let runs = runs_text(lengths.into_iter());
            file.append_key_value_metadata(KeyValue::new(RUNS_KEY.to_owned(), runs));
            file.finish().map(drop)
        };
        end().map_err(in_file(path))
    }

    fn end_group(&mut self) -> Result<(), HistoryError> {
        if self.times.is_empty() {
            return Ok(());
        }
        for chunk in &mut self.fields {
            chunk.levels.resize(self.times.len(), 0);
        }
        self.write_group().map_err(in_file(self.path))?;
        self.runs.clear();
        self.times.clear();
        self.fields.iter_mut().for_each(Chunk::clear);
        Ok(())
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let mut group = self.file.next_row_group()?;
        write::<Int64Type>(&mut group, &self.times, None)?;
        for (levels, values) in tag_columns(&self.layout.tags, &self.runs, self.times.len()) {
            write::<ByteArrayType>(&mut group, &values, Some(&levels))?;
        }
        for Chunk { levels, values } in &self.fields {
            match values {
                Values::Float(values) => write::<DoubleType>(&mut group, values, Some(levels))?,
                Values::Int(values) => write::<Int64Type>(&mut group, values, Some(levels))?,
                Values::Bool(values) => write::<BoolType>(&mut group, values, Some(levels))?,
                Values::Text(values) => write::<ByteArrayType>(&mut group, values, Some(levels))?,
            }
        }
        group.close().map(drop)
    }
}

fn runs_text(lengths: impl Iterator<Item = usize>) -> String {
    let mut counted: Vec<(usize, usize)> = Vec::new();
    for length in lengths {
        match counted.last_mut() {
            Some((known, times)) if *known == length => *times += 1,
            _ => counted.push((length, 1)),
        }
    }
    let text = |(length, times): &(usize, usize)| match times {
        1 => length.to_string(),
        _ => format!("{length}*{times}"),
    };
    counted.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Reads the number of rows of each series; `None`: it is no such text.
pub(super) fn parse_runs(text: &str) -> Option<Vec<usize>> {
    let mut lengths = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (length, times) = part.split_once('*').unwrap_or((part, "1"));
        let times: usize = times.parse().ok()?;
        lengths.resize(lengths.len().checked_add(times)?, length.parse().ok()?);
    }
    Some(lengths)
}

/// Returns the columns of tags. Series are looked at once: most are not in the processor's cache.
fn tag_columns(
    tags: &[Arc<str>],
    runs: &[(Arc<Series>, usize)],
    rows: usize,
) -> Vec<(Vec<i16>, Vec<ByteArray>)> {
    let column = |_| (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut columns: Vec<(Vec<i16>, Vec<ByteArray>)> = tags.iter().map(column).collect();
    let mut last: Vec<Option<(&Arc<str>, ByteArray)>> = tags.iter().map(|_| None).collect();
    for (series, rows) in runs {
        let mut own = series.0.iter().peekable();
        for ((tag, (levels, values)), last) in tags.iter().zip(&mut columns).zip(&mut last) {
            // Tags of a series stand in the order of the columns.
            let here = own.next_if(|(name, _)| Arc::ptr_eq(name, tag) || name == tag);
            levels.resize(levels.len() + rows, i16::from(here.is_some()));
            let Some((_, value)) = here else { continue };
            let bytes = match last.take() {
                Some((known, bytes)) if Arc::ptr_eq(known, value) || known == value => bytes,
                _ => text(value),
            };
            values.resize(values.len() + rows, bytes.clone());
            *last = Some((value, bytes));
        }
    }
    columns
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Sink>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> ParquetResult<()> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("no such column".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

fn schema(layout: &Layout) -> ParquetResult<TypePtr> {
    let time = LogicalType::timestamp(true, TimeUnit::NANOS);
    let mut columns = vec![column(TIME, Physical::INT64, Some(time), Repetition::REQUIRED)?];
    for tag in &layout.tags {
        let text = Some(LogicalType::String);
        columns.push(column(tag, Physical::BYTE_ARRAY, text, Repetition::OPTIONAL)?);
    }
    for Column { name, kind } in &layout.fields {
        let (physical, logical) = match kind {
            Kind::Float => (Physical::DOUBLE, None),
            Kind::Int => (Physical::INT64, None),
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        columns.push(column(name, physical, logical, Repetition::OPTIONAL)?);
    }
    Type::group_type_builder("point").with_fields(columns).build().map(Arc::new)
}

fn column(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> ParquetResult<TypePtr> {
    let column = Type::primitive_type_builder(name, physical);
    column.with_logical_type(logical).with_repetition(repetition).build().map(Arc::new)
}

/// Sensor values have few distinct levels, so dictionaries beat every other encoding of doubles; times
/// of one interval have equal differences. Bounds of pages are worth their bytes where rows are sorted
/// by them: time and tags.
fn properties(layout: &Layout, level: i32) -> ParquetResult<WriterProperties> {
    let time = || ColumnPath::from(vec![TIME.to_owned()]);
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("tianlu ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(time(), false)
        .set_column_encoding(time(), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(time(), EnabledStatistics::Page);
    for tag in &layout.tags {
        let path = ColumnPath::from(vec![tag.to_string()]);
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Page);
    }
    let sorted = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: true };
    let tags = i32::try_from(layout.tags.len()).unwrap_or(i32::MAX);
    let order = (1..=tags).chain([0]).map(sorted).collect();
    Ok(builder.set_sorting_columns(Some(order)).build())
}
