//! An open Parquet file: its bytes, checked before they are used, and its columns.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes};
use crc32c::crc32c;
use journal::{Disk, DiskFile};
use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::error::{HistoryError, at, damaged, in_file};
use super::index::{Index, Run, device_runs};
use super::name::FileName;
use super::sink::BLOCK;
use super::value::{Column, Kind};
use super::writer::{Chunk, RUNS_KEY, SUMS_KEY, TAGS_KEY, Values, parse_runs};

/// Most series of a file whose index is kept in memory; in larger ones they are searched for.
const INDEX_MAX: usize = 50_000;

/// Bytes of a file. Those of the data are read block by block and compared with their sums; the tail is
/// read and compared once. So nothing but what was written reaches a decoder.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<dyn DiskFile>,
    /// Where the tail begins.
    body: u64,
    tail: Bytes,
    sums: Vec<u32>,
}

impl Blocks {
    fn open(disk: &dyn Disk, path: &Path, name: &FileName) -> Result<Self, HistoryError> {
        let file = disk.open(path).map_err(at(path))?;
        let length = file.len().map_err(at(path))?;
        let body = length
            .checked_sub(u64::from(name.tail_bytes))
            .ok_or_else(|| damaged(path, "it was cut short"))?;
        let mut tail = vec![0; name.tail_bytes as usize];
        read_exact(&*file, &mut tail, body).map_err(at(path))?;
        if crc32c(&tail) != name.tail_crc {
            return Err(damaged(path, "its last bytes are not those that were written"));
        }
        Ok(Self { file, body, tail: tail.into(), sums: Vec::new() })
    }

    /// Reads a stretch of the data through its blocks.
    fn data(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let block = BLOCK as u64;
        let end = start + length as u64;
        let (first, last) = (start / block, end.div_ceil(block));
        let from = first * block;
        let to = (last * block).min(self.body);
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from))?];
        read_exact(&*self.file, &mut bytes, from)?;
        let sums = self.sums.iter().skip(usize::try_from(first)?);
        let mut blocks = bytes.chunks(BLOCK).zip(sums);
        if !blocks.all(|(block, sum)| crc32c(block) == *sum) {
            return Err(ParquetError::General("a block is not as it was written".to_owned()));
        }
        let bytes = Bytes::from(bytes);
        let skip = usize::try_from(start - from)?;
        // Beyond the data: the footer, whose sum is right, would have to be wrong.
        if skip + length > bytes.len() {
            return Err(ParquetError::General("a page lies beyond the data".to_owned()));
        }
        Ok(bytes.slice(skip..skip + length))
    }
}

impl Length for Blocks {
    fn len(&self) -> u64 {
        self.body + self.tail.len() as u64
    }
}

impl ChunkReader for Blocks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let length = if start < self.body { self.body - start } else { self.len() - start };
        Ok(self.get_bytes(start, usize::try_from(length)?)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let Some(skip) = start.checked_sub(self.body) else { return self.data(start, length) };
        let skip = usize::try_from(skip)?;
        let end = skip.checked_add(length).filter(|end| *end <= self.tail.len());
        let end = end.ok_or_else(|| ParquetError::EOF("beyond the end of the file".to_owned()))?;
        Ok(self.tail.slice(skip..end))
    }
}

fn read_exact(file: &dyn DiskFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = buffer.get_mut(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An open file. Reading it needs no lock; it stays readable when its name is gone.
#[derive(Debug)]
pub(super) struct Parquet {
    pub(super) path: PathBuf,
    blocks: Arc<Blocks>,
    metadata: ParquetMetaData,
    /// Names of the tags; their columns follow the time's.
    pub(super) tags: Vec<Arc<str>>,
    /// The fields; their columns follow the tags'.
    pub(super) fields: Vec<Column>,
    /// Rows of each series.
    pub(super) runs: Vec<usize>,
    index: OnceLock<Arc<Index>>,
}

impl Parquet {
    /// Opens a file and reads its tail.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        name: &FileName,
    ) -> Result<Self, HistoryError> {
        let mut blocks = Blocks::open(disk, path, name)?;
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = reader.parse_and_finish(&blocks).map_err(in_file(path))?;
        let entry = |key: &str| {
            let entries = metadata.file_metadata().key_value_metadata();
            entries?.iter().find(|entry| entry.key == key)?.value.as_deref()
        };
        let wrong = || damaged(path, "its footer is not one of this program");
        blocks.sums = entry(SUMS_KEY).and_then(sums).ok_or_else(wrong)?;
        let tags: usize = entry(TAGS_KEY).and_then(|tags| tags.parse().ok()).ok_or_else(wrong)?;
        let runs = entry(RUNS_KEY).and_then(parse_runs).ok_or_else(wrong)?;
        let columns = metadata.file_metadata().schema_descr().columns().iter().skip(1);
        let names = columns.map(|column| (Arc::<str>::from(column.name()), column.physical_type()));
        let (mut tag_names, mut fields) = (Vec::new(), Vec::new());
        for (at, (name, physical)) in names.enumerate() {
            if at < tags {
                tag_names.push(name);
            } else {
                let kind = kind(physical).ok_or_else(wrong)?;
                fields.push(Column { name, kind });
            }
        }
        let path = path.to_owned();
        let blocks = Arc::new(blocks);
        Ok(Self { path, blocks, metadata, tags: tag_names, fields, runs, index: OnceLock::new() })
    }

    /// Returns the runs of a device.
    pub(super) fn device(&self, tenant: &str, device: &str) -> Result<Vec<Run>, HistoryError> {
        if self.runs.len() > INDEX_MAX {
            return device_runs(self, tenant, device);
        }
        Ok(self.index()?.device(tenant, device).to_vec())
    }

    /// Returns which rows belong to which series; reads the tags once.
    fn index(&self) -> Result<Arc<Index>, HistoryError> {
        if let Some(index) = self.index.get() {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::read(self)?);
        Ok(Arc::clone(self.index.get_or_init(|| index)))
    }

    /// Returns how many series are in memory.
    pub(super) fn series_held(&self) -> usize {
        self.index.get().map_or(0, |index| index.runs.len())
    }

    /// Returns the rows of each row group, in order.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> {
        self.metadata
            .row_groups()
            .iter()
            .map(|group| usize::try_from(group.num_rows()).unwrap_or(0))
    }

    /// Returns the rows of one row group; `None`: there is no such one.
    pub(super) fn group_rows(&self, group: usize) -> Option<usize> {
        usize::try_from(self.metadata.row_groups().get(group)?.num_rows()).ok()
    }

    /// Returns the time's bounds of each page of a row group: first row, first and last time.
    pub(super) fn time_pages(&self, group: usize) -> Vec<(usize, i64, i64)> {
        let pages = self.metadata.page_index_for_row_group(group);
        let Some((places, ColumnIndexMetaData::INT64(bounds))) =
            pages.page_locations(0).zip(pages.column_index(0))
        else {
            return Vec::new();
        };
        let page = |(at, place): (usize, &PageLocation)| {
            let first = usize::try_from(place.first_row_index).ok()?;
            Some((first, *bounds.min_value(at)?, *bounds.max_value(at)?))
        };
        places.iter().enumerate().filter_map(page).collect()
    }

    /// Returns the rows of a row group that may have this value of a tag, by the bounds of pages; an empty one
    /// is a missing one.
    pub(super) fn tag_pages(&self, group: usize, tag: &str, value: &str) -> Vec<(usize, usize)> {
        let whole = vec![(0, usize::MAX)];
        let Some(at) = self.tags.iter().position(|name| **name == *tag) else {
            return if value.is_empty() { whole } else { Vec::new() };
        };
        let column = Self::tag_column(at);
        let pages = self.metadata.page_index_for_row_group(group);
        let Some((places, ColumnIndexMetaData::BYTE_ARRAY(bounds))) =
            pages.page_locations(column).zip(pages.column_index(column))
        else {
            return whole;
        };
        if value.is_empty() {
            return whole;
        }
        let first = |at: usize| {
            places.get(at).map_or(usize::MAX, |page| {
                usize::try_from(page.first_row_index).unwrap_or(usize::MAX)
            })
        };
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for at in 0..places.len() {
            let value = value.as_bytes();
            // A page without bounds has no value at all.
            let may_have = bounds.min_value(at).zip(bounds.max_value(at));
            if may_have.is_some_and(|(least, most)| least <= value && value <= most) {
                match rows.last_mut() {
                    Some(last) if last.1 == first(at) => last.1 = first(at + 1),
                    _ => rows.push((first(at), first(at + 1))),
                }
            }
        }
        rows
    }

    /// Begins to read column `at` of a row group.
    pub(super) fn column(&self, group: usize, at: usize) -> Result<ColumnCursor, HistoryError> {
        let begin = || {
            let groups = self.metadata.row_groups();
            let group_metadata = groups.get(group).ok_or_else(no_column)?;
            let chunk = group_metadata.columns().get(at).ok_or_else(no_column)?;
            let rows = usize::try_from(group_metadata.num_rows())?;
            let pages = self.metadata.page_index_for_row_group(group);
            let places = pages.page_locations(at).cloned();
            let blocks = Arc::clone(&self.blocks);
            let pages = SerializedPageReader::new(blocks, chunk, rows, places)?;
            ColumnCursor::of(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
        };
        begin().map_err(in_file(&self.path))
    }

    /// Returns the column of tag `at`.
    pub(super) const fn tag_column(at: usize) -> usize {
        1 + at
    }

    /// Returns the column of field `at`.
    pub(super) fn field_column(&self, at: usize) -> usize {
        1 + self.tags.len() + at
    }
}

fn no_column() -> ParquetError {
    ParquetError::General("no such column".to_owned())
}

fn sums(hex: &str) -> Option<Vec<u32>> {
    let digits = hex.as_bytes().chunks(8);
    digits.map(|sum| u32::from_str_radix(str::from_utf8(sum).ok()?, 16).ok()).collect()
}

const fn kind(physical: Physical) -> Option<Kind> {
    match physical {
        Physical::DOUBLE => Some(Kind::Float),
        Physical::INT64 => Some(Kind::Int),
        Physical::BOOLEAN => Some(Kind::Bool),
        Physical::BYTE_ARRAY => Some(Kind::Text),
        Physical::INT32 | Physical::INT96 | Physical::FLOAT | Physical::FIXED_LEN_BYTE_ARRAY => {
            None
        }
    }
}

/// Reads one column of a row group from its first row on.
pub(super) enum ColumnCursor {
    Float(ColumnReaderImpl<DoubleType>),
    Int(ColumnReaderImpl<Int64Type>),
    Bool(ColumnReaderImpl<BoolType>),
    Text(ColumnReaderImpl<ByteArrayType>),
}

impl ColumnCursor {
    fn of(reader: ColumnReader) -> ParquetResult<Self> {
        Ok(match reader {
            ColumnReader::DoubleColumnReader(reader) => Self::Float(reader),
            ColumnReader::Int64ColumnReader(reader) => Self::Int(reader),
            ColumnReader::BoolColumnReader(reader) => Self::Bool(reader),
            ColumnReader::ByteArrayColumnReader(reader) => Self::Text(reader),
            ColumnReader::Int32ColumnReader(_)
            | ColumnReader::Int96ColumnReader(_)
            | ColumnReader::FloatColumnReader(_)
            | ColumnReader::FixedLenByteArrayColumnReader(_) => return Err(no_column()),
        })
    }

    /// Returns an empty chunk of its type.
    pub(super) const fn chunk(&self) -> Chunk {
        Chunk::of(match self {
            Self::Float(_) => Kind::Float,
            Self::Int(_) => Kind::Int,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        })
    }

    /// Passes rows by; whole pages are not read.
    pub(super) fn skip(&mut self, rows: usize) -> ParquetResult<()> {
        let skipped = match self {
            Self::Float(reader) => reader.skip_records(rows),
            Self::Int(reader) => reader.skip_records(rows),
            Self::Bool(reader) => reader.skip_records(rows),
            Self::Text(reader) => reader.skip_records(rows),
        };
        if skipped? == rows { Ok(()) } else { Err(too_short()) }
    }

    /// Adds the next rows to `chunk`, which [`ColumnCursor::chunk`] made.
    pub(super) fn read(&mut self, rows: usize, chunk: &mut Chunk) -> ParquetResult<()> {
        let Chunk { levels, values } = chunk;
        match (self, values) {
            (Self::Float(reader), Values::Float(values)) => read(reader, rows, levels, values),
            (Self::Int(reader), Values::Int(values)) => read(reader, rows, levels, values),
            (Self::Bool(reader), Values::Bool(values)) => read(reader, rows, levels, values),
            (Self::Text(reader), Values::Text(values)) => read(reader, rows, levels, values),
            (Self::Float(_) | Self::Int(_) | Self::Bool(_) | Self::Text(_), _) => Err(no_column()),
        }
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> ParquetResult<()> {
    let (read, _, _) = reader.read_records(rows, Some(levels), None, values)?;
    if read == rows { Ok(()) } else { Err(too_short()) }
}

fn too_short() -> ParquetError {
    ParquetError::EOF("a column has fewer rows than its group".to_owned())
}
