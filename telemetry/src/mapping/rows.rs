//! Reads the rows of a file by a mapping.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use super::bind::{Bound, Target};
use super::{Layout, Naming, TimeSource};
use crate::codec::{Collector, Scalar, cell};
use crate::document::nearest;
use crate::reading::{Element, Reading};
use crate::time::{EventTime, IngestTime};
use crate::time_format::TimeFormat;
use crate::topic::is_name;

/// Why a file cannot be read by a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a CSV header.
    #[error("the header is not CSV: {0}")]
    Header(String),
    /// The header lacks a column that the mapping names.
    #[error("the header has no column `{column}`{}", near.as_ref().map(|near| format!(", but `{near}`")).unwrap_or_default())]
    NoColumn {
        /// The name in the mapping.
        column: String,
        /// The nearest name in the header.
        near: Option<String>,
    },
    /// The pattern finds nothing in the name of the file, or what no device can be called.
    #[error("the file name `{name}` gives no device or site")]
    FileName {
        /// The name of the file.
        name: String,
    },
}

/// Why one row gave nothing; the next may be good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct RowError {
    /// Line in the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub detail: String,
}

/// One reading with what the mapping knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Line in the file, from 1.
    pub line: u64,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The site; `None`: the registry knows it.
    pub site: Option<Arc<str>>,
    /// The device.
    pub device: Arc<str>,
    /// The ingest time, where the rows have one.
    pub received_at: Option<IngestTime>,
    /// The reading with its event time; its own `device` is empty.
    pub reading: Reading,
}

#[derive(Debug)]
enum Name {
    Same(Arc<str>),
    Column(usize),
}

#[derive(Debug)]
enum Time<'a> {
    Columns(Vec<usize>, &'a TimeFormat),
    Steps { start: EventTime, step_nanos: i64, column: Option<usize> },
}

/// The rows of a file, in its order.
///
/// In a wide layout a cell without a value is no reading: the form has no other way to say that none came.
pub struct Rows<'a, R> {
    csv: csv::Reader<R>,
    record: csv::StringRecord,
    /// The record last read, where it is not UTF-8.
    foreign: Option<csv::ByteRecord>,
    delimiter: u8,
    width: usize,
    count: i64,
    is_over: bool,
    tenant: Arc<str>,
    site: Option<Name>,
    device: Option<Name>,
    time: Time<'a>,
    received_at: Option<Time<'a>>,
    columns: Vec<(usize, Target)>,
    /// Wide: each column that is a device, with its name.
    devices: Vec<(usize, Arc<str>)>,
    collector: Collector<'a>,
    ready: VecDeque<Row>,
    times_only: bool,
}

impl<'a, R: Read> Rows<'a, R> {
    pub(super) fn open(bound: Bound<'a>, file_name: &str, input: R) -> Result<Self, OpenError> {
        let mapping = bound.mapping;
        let mut csv = csv::ReaderBuilder::new()
            .flexible(true)
            .delimiter(mapping.delimiter)
            .from_reader(input);
        let header = csv.headers().map_err(|error| OpenError::Header(error.to_string()))?;
        let header: Vec<String> = header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            .collect();
        let naming = |naming: &Option<Naming>| {
            naming.as_ref().map(|one| name_of(one, &header, file_name)).transpose()
        };
        let (site, device) = (naming(&mapping.site)?, naming(&mapping.device)?);
        let time = time_of(&mapping.time, &header)?;
        let received_at =
            mapping.received_at.as_ref().map(|source| time_of(source, &header)).transpose()?;
        let mut columns = Vec::new();
        for (column, target) in mapping.columns.iter().zip(bound.targets()) {
            let is_named = mapping.layout == Layout::Long;
            columns.push((if is_named { find(&header, &column.column)? } else { 0 }, target));
        }
        let mut devices = Vec::new();
        if mapping.layout == Layout::Wide {
            let of_time =
                [Some(&time), received_at.as_ref()].into_iter().flatten().flat_map(Time::columns);
            let taken: Vec<usize> = of_time.collect();
            let is_device = |(at, name): &(usize, &String)| {
                !taken.contains(at) && !mapping.ignore.contains(name) && is_name(name)
            };
            let named = header.iter().enumerate().filter(is_device);
            devices = named.map(|(at, name)| (at, name.as_str().into())).collect();
        }
        Ok(Self {
            csv,
            record: csv::StringRecord::new(),
            foreign: None,
            delimiter: mapping.delimiter,
            width: header.len(),
            count: 0,
            is_over: false,
            tenant: mapping.tenant.as_str().into(),
            site,
            device,
            time,
            received_at,
            columns,
            devices,
            collector: Collector::new(bound.profile),
            ready: VecDeque::new(),
            times_only: false,
        })
    }

    /// Leaves the cells alone from now on: readings have their times and devices, but no values.
    pub fn read_times_only(&mut self) {
        self.times_only = true;
    }

    /// Returns how many records were read, good or bad.
    pub fn records(&self) -> u64 {
        u64::try_from(self.count).unwrap_or(0)
    }

    /// Appends the record that the last row or error came of, as one line of CSV without its line break.
    pub fn write_raw(&self, out: &mut Vec<u8>) {
        let cells = self.foreign.as_ref().unwrap_or_else(|| self.record.as_byte_record());
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                out.push(self.delimiter);
            }
            let is_plain =
                |byte: &u8| *byte != self.delimiter && !matches!(byte, b'"' | b'\n' | b'\r');
            if cell.iter().all(is_plain) {
                out.extend_from_slice(cell);
                continue;
            }
            out.push(b'"');
            for byte in cell {
                out.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
            }
            out.push(b'"');
        }
    }

    /// Reads the next record; `false`: there is none.
    fn read_record(&mut self) -> Result<bool, RowError> {
        let mut bytes = std::mem::take(&mut self.record).into_byte_record();
        self.foreign = None;
        let line = self.csv.position().line();
        match self.csv.read_byte_record(&mut bytes) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                // A broken source would answer the same for ever.
                self.is_over = matches!(error.kind(), csv::ErrorKind::Io(_));
                self.count = self.count.saturating_add(1);
                return Err(RowError { line, detail: error.to_string() });
            }
        }
        match csv::StringRecord::from_byte_record(bytes) {
            Ok(record) => self.record = record,
            Err(error) => {
                // Text that is not UTF-8 spoils one record only.
                let detail = error.to_string();
                let bytes = error.into_byte_record();
                let line = bytes.position().map_or(line, csv::Position::line);
                self.foreign = Some(bytes);
                self.count = self.count.saturating_add(1);
                return Err(RowError { line, detail });
            }
        }
        Ok(true)
    }

    /// Reads the next record into `ready`; `false`: there is none.
    fn advance(&mut self) -> Result<bool, RowError> {
        if !self.read_record()? {
            return Ok(false);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let step = self.count;
        self.count = self.count.saturating_add(1);
        if self.record.len() != self.width {
            let detail =
                format!("the row has {} cells, the header {}", self.record.len(), self.width);
            return Err(RowError { line, detail });
        }
        let at = self.time.read(&self.record, step);
        let received_at = self.received_at.as_ref().and_then(|time| time.read(&self.record, step));
        let received_at = received_at.map(EventTime::as_ingest);
        let site = self.site.as_ref().and_then(|name| name.read(&self.record));
        let row = |device, reading| Row {
            line,
            tenant: Arc::clone(&self.tenant),
            site: site.clone(),
            device,
            received_at,
            reading,
        };
        if self.device.is_none() {
            let Some((_, target)) = self.columns.first() else { return Ok(true) };
            for (column, device) in &self.devices {
                if !self.times_only {
                    let text = self.record.get(*column).unwrap_or_default();
                    if target.is_missing(text) {
                        continue;
                    }
                    self.collector.set_converted(
                        target.property,
                        cell(target.kind, text),
                        target.convert.as_ref(),
                    );
                }
                self.collector.set_time(at);
                if let Element::Reading(reading) = self.collector.finish() {
                    self.ready.push_back(row(Arc::clone(device), reading));
                }
            }
            return Ok(true);
        }
        let Some(device) = self.device.as_ref().and_then(|name| name.read(&self.record)) else {
            return Err(RowError { line, detail: "the row names no device".to_owned() });
        };
        let columns = if self.times_only { &[] } else { self.columns.as_slice() };
        for (column, target) in columns {
            let text = self.record.get(*column).unwrap_or_default();
            let scalar =
                if target.is_missing(text) { Scalar::Null } else { cell(target.kind, text) };
            self.collector.set_converted(target.property, scalar, target.convert.as_ref());
        }
        self.collector.set_time(at);
        if let Element::Reading(reading) = self.collector.finish() {
            self.ready.push_back(row(device, reading));
        }
        Ok(true)
    }
}

impl<R: Read> Iterator for Rows<'_, R> {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Some(Ok(row));
            }
            if self.is_over {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => self.is_over = true,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn find(header: &[String], column: &str) -> Result<usize, OpenError> {
    let found = header.iter().position(|name| name == column);
    found.ok_or_else(|| {
        let names: Vec<&str> = header.iter().map(String::as_str).collect();
        OpenError::NoColumn {
            column: column.to_owned(),
            near: nearest(column, &names).map(str::to_owned),
        }
    })
}

fn name_of(naming: &Naming, header: &[String], file_name: &str) -> Result<Name, OpenError> {
    let pattern = match naming {
        Naming::Constant(text) => return Ok(Name::Same(text.as_str().into())),
        Naming::Column(column) => return find(header, column).map(Name::Column),
        Naming::Filename(pattern) => pattern,
    };
    let groups = pattern.captures(file_name);
    let found = groups.as_ref().and_then(|groups| groups.get(1).or_else(|| groups.get(0)));
    let found = found.map(|found| found.as_str()).filter(|name| is_name(name));
    found
        .map(|name| Name::Same(name.into()))
        .ok_or_else(|| OpenError::FileName { name: file_name.to_owned() })
}

fn time_of<'a>(source: &'a TimeSource, header: &[String]) -> Result<Time<'a>, OpenError> {
    match source {
        TimeSource::Columns(names, format) => {
            let columns: Result<Vec<usize>, OpenError> =
                names.iter().map(|name| find(header, name)).collect();
            Ok(Time::Columns(columns?, format))
        }
        TimeSource::Steps { start, step, column } => {
            let column = column.as_deref().map(|name| find(header, name)).transpose()?;
            let step_nanos = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX);
            Ok(Time::Steps { start: *start, step_nanos, column })
        }
    }
}

impl Name {
    fn read(&self, record: &csv::StringRecord) -> Option<Arc<str>> {
        match self {
            Self::Same(name) => Some(Arc::clone(name)),
            Self::Column(column) => {
                record.get(*column).map(str::trim).filter(|name| is_name(name)).map(Arc::from)
            }
        }
    }
}

impl Time<'_> {
    fn columns(&self) -> Vec<usize> {
        match self {
            Self::Columns(columns, _) => columns.clone(),
            Self::Steps { column, .. } => column.iter().copied().collect(),
        }
    }

    /// Reads the time of a row; one that cannot be held is none.
    fn read(&self, record: &csv::StringRecord, step: i64) -> Option<EventTime> {
        self.at(record, step).filter(EventTime::is_held)
    }

    fn at(&self, record: &csv::StringRecord, step: i64) -> Option<EventTime> {
        match self {
            Self::Columns(columns, format) => match columns.as_slice() {
                [only] => format.of_text(record.get(*only)?),
                several => {
                    let cells: Option<Vec<&str>> =
                        several.iter().map(|column| record.get(*column).map(str::trim)).collect();
                    format.of_text(&cells?.join(" "))
                }
            },
            Self::Steps { start, step_nanos, column } => {
                let step = match column {
                    Some(column) => record.get(*column)?.trim().parse().ok()?,
                    None => step,
                };
                Some(EventTime::from_nanos(
                    start.as_nanos().saturating_add(step.saturating_mul(*step_nanos)),
                ))
            }
        }
    }
}
