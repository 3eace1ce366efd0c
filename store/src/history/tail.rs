//! The memory tail: what was taken and is in no file yet.
//!
//! Pure. It ends as a [`Memtable`] that a flush writes; the next one begins empty. What it remembers
//! beyond that, names of series and types of columns, can be forgotten and found again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use telemetry::line_protocol::{Line, parse_line};
use telemetry::time::EventTime;

use super::name::{Span, folder};
use super::rows::{Row, Rows, Size, insert, put};
use super::series::{Series, tag_order};
use super::value::{Column, Value};
use crate::RejectReason;

/// Most series remembered beyond a flush.
const SERIES_KEPT: usize = 200_000;
/// Most months whose columns are remembered beyond a flush.
const MONTHS_KEPT: usize = 4_096;
/// Most fields of a measurement in one month.
pub(super) const FIELDS_MAX: usize = 4_096;
/// What the name of a series costs beside its text.
const SERIES_BYTES: usize = 256;

/// Takes the rows of one series: its measurement and tags, the part and its number there, the columns.
pub(super) type Show<'a> = dyn FnMut(&Arc<str>, &Arc<Series>, &Part, u32, &[Column]) + 'a;

/// Rows of one measurement and day, by series.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) series: HashMap<u32, Rows>,
}

/// What columns a measurement has in a UTC month: the longest span of a file, so that any files of one
/// measurement that are merged agree, and what is refused does not depend on what was merged.
#[derive(Debug, Clone, Default)]
pub(super) struct MonthColumns {
    /// Fields; cells name them by their place here.
    pub(super) fields: Vec<Column>,
    /// Names of tags.
    pub(super) tags: Vec<Arc<str>>,
}

impl MonthColumns {
    fn check_tags(&self, series: &Series) -> Result<(), Refusal> {
        let is_field = |name: &Arc<str>| self.fields.iter().any(|field| field.name == *name);
        match series.0.iter().find(|(name, _)| is_field(name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err((RejectReason::TypeConflict, format!("`{name}` is a field, not a tag")))
            }
        }
    }

    /// Adds what it lacks; of two types of one name the first stands.
    pub(super) fn add<'a>(
        &mut self,
        fields: &[Column],
        tags: impl IntoIterator<Item = &'a Arc<str>>,
    ) {
        for field in fields {
            if !self.fields.iter().any(|known| known.name == field.name) {
                self.fields.push(field.clone());
            }
        }
        for tag in tags {
            if !self.tags.contains(tag) {
                self.tags.push(Arc::clone(tag));
            }
        }
    }
}

/// Rows that a flush writes; no longer changed.
#[derive(Debug)]
pub(super) struct Memtable {
    pub(super) parts: Vec<FrozenPart>,
    pub(super) size: Size,
}

/// Rows of one measurement and day in a [`Memtable`].
#[derive(Debug)]
pub(super) struct FrozenPart {
    pub(super) measurement: Arc<str>,
    pub(super) day: i32,
    pub(super) fields: Vec<Column>,
    pub(super) series: HashMap<u32, Arc<Series>>,
    pub(super) part: Part,
}

impl FrozenPart {
    /// Returns the fields that have a value.
    pub(super) fn used_fields(&self) -> Vec<&Column> {
        let mut is_used = vec![false; self.fields.len()];
        let rows = self.part.series.values().flat_map(Rows::iter);
        for (column, _) in rows.flat_map(|(_, row)| row) {
            if let Some(used) = is_used.get_mut(usize::from(*column)) {
                *used = true;
            }
        }
        self.fields.iter().zip(is_used).filter(|(_, used)| *used).map(|(field, _)| field).collect()
    }

    /// Returns the names of its tags.
    pub(super) fn tags(&self) -> Vec<Arc<str>> {
        let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
        for (name, _) in self.series.values().flat_map(|series| &series.0) {
            if !names.contains(name) {
                names.insert(Arc::clone(name));
            }
        }
        names.into_iter().collect()
    }
}

/// What became of a line.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is in the tail.
    Yes,
    /// The columns of this month are not known: [`Tail::learn`] them and take the line again.
    UnknownMonth { measurement: Arc<str>, month: Span },
    /// It is not taken.
    No(RejectReason, String),
}

type Refusal = (RejectReason, String);

const fn refused(detail: String) -> Refusal {
    (RejectReason::StoreRejected, detail)
}

#[derive(Debug)]
struct Known {
    measurement: u32,
    series: Arc<Series>,
    /// The day and month of its last point that was taken: its tags are among that month's columns.
    last: Option<(i32, Span)>,
}

/// What was taken since the last flush.
#[derive(Debug, Default)]
pub(super) struct Tail {
    measurements: Vec<Arc<str>>,
    /// The same series may be written in more ways than one.
    by_prefix: HashMap<Box<str>, u32>,
    by_series: HashMap<(u32, Arc<Series>), u32>,
    series: Vec<Known>,
    by_device: HashMap<(Arc<str>, Arc<str>), Vec<u32>>,
    months: HashMap<(u32, Span), MonthColumns>,
    parts: HashMap<(u32, i32), Part>,
    size: Size,
}

impl Tail {
    /// Returns how much it holds.
    pub(super) const fn size(&self) -> Size {
        self.size
    }

    /// Takes the text of a line; `bound` is the first time that is kept.
    pub(super) fn take(&mut self, text: &str, bound: i64) -> Taken {
        self.take_or_refuse(text, bound)
            .unwrap_or_else(|(reason, detail)| Taken::No(reason, detail))
    }

    fn take_or_refuse(&mut self, text: &str, bound: i64) -> Result<Taken, Refusal> {
        let prefix = prefix(text);
        let known = self.by_prefix.get(prefix).copied().filter(|_| !prefix.is_empty());
        // Measurement and tags of a known series need no reading.
        let behind = known.and_then(|_| fields_only(text, prefix));
        let line = parse_line(behind.unwrap_or(text))
            .map_err(|error| refused(format!("not line protocol: {error}")))?;
        let time = line.time.ok_or_else(|| refused("a line without a time".to_owned()))?;
        if time < bound {
            let bound = EventTime::from_nanos(bound);
            let detail = format!("older than the history keeps ({bound})");
            return Err((RejectReason::OutsideRetention, detail));
        }
        let id = match known {
            Some(id) => id,
            None => self.intern(prefix, &line)?,
        };
        self.place(id, &line, time)
    }

    fn place(&mut self, id: u32, line: &Line<'_>, time: i64) -> Result<Taken, Refusal> {
        let day = Span::day_of(time);
        let Self { series, months, measurements, parts, size, .. } = self;
        let Some(known) = series.get_mut(id as usize) else { return Ok(Taken::Yes) };
        let last = known.last.filter(|(last, _)| *last == day);
        let month = last.map_or_else(|| Span::Day(day).month(), |(_, month)| month);
        let Some(columns) = months.get_mut(&(known.measurement, month)) else {
            let at = known.measurement as usize;
            let measurement = measurements.get(at).cloned().unwrap_or_default();
            return Ok(Taken::UnknownMonth { measurement, month });
        };
        if last.is_none() {
            columns.check_tags(&known.series)?;
        }
        let row = cells(columns, line)?;
        if last.is_none() {
            columns.add(&[], known.series.0.iter().map(|(name, _)| name));
            known.last = Some((day, month));
        }
        let part = parts.entry((known.measurement, day)).or_default();
        insert(part.series.entry(id).or_default().at(time), row, size);
        Ok(Taken::Yes)
    }

    /// Remembers the columns that a month has in files and memtables.
    pub(super) fn learn(&mut self, measurement: &Arc<str>, month: Span, columns: MonthColumns) {
        let number = self.number(measurement);
        self.months.entry((number, month)).or_insert(columns);
    }

    fn number(&mut self, measurement: &str) -> u32 {
        let at = self.measurements.iter().position(|known| **known == *measurement);
        let at = at.unwrap_or_else(|| {
            self.measurements.push(measurement.into());
            self.measurements.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn intern(&mut self, prefix: &str, line: &Line<'_>) -> Result<u32, Refusal> {
        if folder(&line.measurement).is_none() {
            return Err(refused("the name of the measurement is too long for a folder".to_owned()));
        }
        if line.tags.iter().any(|(name, _)| name == "time") {
            return Err(refused("a tag has the name `time`".to_owned()));
        }
        let id =
            u32::try_from(self.series.len()).map_err(|_| refused("too many series".to_owned()))?;
        let measurement = self.number(&line.measurement);
        let tags = line.tags.iter();
        let mut tags: Vec<(Arc<str>, Arc<str>)> =
            tags.map(|(name, value)| ((&**name).into(), (&**value).into())).collect();
        tags.sort_by(|a, b| tag_order(&a.0, &b.0));
        let series = Arc::new(Series(tags.into()));
        let key = (measurement, Arc::clone(&series));
        let id = *self.by_series.entry(key).or_insert(id);
        if !prefix.is_empty() {
            self.by_prefix.insert(prefix.into(), id);
            self.size.bytes += SERIES_BYTES + 2 * prefix.len();
        }
        if id as usize == self.series.len() {
            let device = (series.tag("tenant").into(), series.tag("device").into());
            self.by_device.entry(device).or_default().push(id);
            self.series.push(Known { measurement, series, last: None });
        }
        Ok(id)
    }

    /// Ends it: what it holds is returned, and the next one begins. `None`: it holds nothing.
    pub(super) fn freeze(&mut self) -> Option<Memtable> {
        if self.parts.is_empty() {
            return None;
        }
        let size = std::mem::take(&mut self.size);
        let parts = std::mem::take(&mut self.parts).into_iter();
        let mut parts: Vec<FrozenPart> = parts.map(|(key, part)| self.frozen(key, part)).collect();
        parts.sort_by(|a, b| (&a.measurement, a.day).cmp(&(&b.measurement, b.day)));
        if self.by_prefix.len() > SERIES_KEPT || self.months.len() > MONTHS_KEPT {
            // Everything that its numbers name has just been frozen.
            *self = Self::default();
        }
        Some(Memtable { parts, size })
    }

    fn frozen(&self, (measurement, day): (u32, i32), part: Part) -> FrozenPart {
        let known = |id: &u32| Some((*id, Arc::clone(&self.series.get(*id as usize)?.series)));
        let series = part.series.keys().filter_map(known).collect();
        let fields = self.columns(measurement, day).map(|columns| columns.fields.clone());
        FrozenPart {
            measurement: self.measurements.get(measurement as usize).cloned().unwrap_or_default(),
            day,
            fields: fields.unwrap_or_default(),
            series,
            part,
        }
    }

    fn columns(&self, measurement: u32, day: i32) -> Option<&MonthColumns> {
        self.months.get(&(measurement, Span::Day(day).month()))
    }

    /// Shows every row of one device, by series and time, with the columns its cells name.
    pub(super) fn device_rows(&self, tenant: &str, device: &str, show: &mut Show<'_>) {
        let key = (tenant.into(), device.into());
        for id in self.by_device.get(&key).into_iter().flatten() {
            let Some(known) = self.series.get(*id as usize) else { continue };
            let Some(name) = self.measurements.get(known.measurement as usize) else { continue };
            for ((measurement, day), part) in &self.parts {
                if *measurement == known.measurement
                    && let Some(columns) = self.columns(*measurement, *day)
                {
                    show(name, &known.series, part, *id, &columns.fields);
                }
            }
        }
    }
}

/// Finds the columns of a line's fields; new ones are added only when the whole line is taken.
fn cells(columns: &mut MonthColumns, line: &Line<'_>) -> Result<Row, Refusal> {
    let before = columns.fields.len();
    let found = cells_or_refusal(columns, line);
    if found.is_err() {
        columns.fields.truncate(before);
    }
    found
}

fn cells_or_refusal(columns: &mut MonthColumns, line: &Line<'_>) -> Result<Row, Refusal> {
    let mut row = Row::with_capacity(line.fields.len());
    let mut next = 0;
    for (name, value) in &line.fields {
        let value = Value::of(value.clone())
            .ok_or_else(|| refused(format!("`{name}` is too large for a whole number")))?;
        // Lines of one profile name their fields in one order: the column is mostly the next one.
        let at = match columns.fields.get(next) {
            Some(field) if *field.name == **name => next,
            _ => match columns.fields.iter().position(|field| *field.name == **name) {
                Some(at) => at,
                None => add_field(columns, name, &value)?,
            },
        };
        next = at + 1;
        let kind = columns.fields.get(at).map_or(value.kind(), |field| field.kind);
        if kind != value.kind() {
            let (is, was) = (value.kind().name(), kind.name());
            let detail = format!("`{name}` is {is}, but {was} in this month's points");
            return Err((RejectReason::TypeConflict, detail));
        }
        let column = u16::try_from(at).unwrap_or(u16::MAX);
        if row.iter().any(|(known, _)| *known == column) {
            put(&mut row, column, value);
        } else {
            row.push((column, value));
        }
    }
    Ok(row)
}

fn add_field(columns: &mut MonthColumns, name: &str, value: &Value) -> Result<usize, Refusal> {
    if columns.tags.iter().any(|tag| **tag == *name) {
        return Err((RejectReason::TypeConflict, format!("`{name}` is a tag, not a field")));
    }
    if name == "time" {
        return Err(refused("a field has the name `time`".to_owned()));
    }
    if columns.fields.len() >= FIELDS_MAX {
        return Err(refused(format!("more than {FIELDS_MAX} fields in a measurement and month")));
    }
    columns.fields.push(Column { name: name.into(), kind: value.kind() });
    Ok(columns.fields.len() - 1)
}

/// Returns measurement and tags as they are written: everything before the first space that is not
/// escaped. Empty where a line does not begin at once.
fn prefix(text: &str) -> &str {
    let bytes = text.as_bytes();
    if matches!(bytes.first(), None | Some(b' ' | b'\r' | b'\n' | b'#')) {
        return "";
    }
    let mut before = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b' ' && before != b'\\' {
            return text.get(..at).unwrap_or_default();
        }
        before = *byte;
    }
    text
}

/// Returns a line with the same fields and time whose measurement is the last letter of the prefix;
/// `None`: it is no letter.
fn fields_only<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let last = prefix.len().checked_sub(1)?;
    let is_letter = prefix.as_bytes().get(last).is_some_and(u8::is_ascii_alphanumeric);
    let is_escaped = last > 0 && prefix.as_bytes().get(last - 1) == Some(&b'\\');
    if is_letter && !is_escaped { text.get(last..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_of_a_known_series_takes_what_the_whole_way_takes() {
        for (text, head, short) in [
            ("m,a=b f=1 5", "m,a=b", Some("b f=1 5")),
            ("m,a=b\\ c f=1 5", "m,a=b\\ c", Some("c f=1 5")),
            ("m,a=b\\  f=1 5", "m,a=b\\ ", None),
            ("m,a=土 f=1 5", "m,a=土", None),
            ("m,a=b\\c f=1 5", "m,a=b\\c", None),
            ("m f=\"a b\" 5", "m", Some("m f=\"a b\" 5")),
            ("# m f=1 5", "", None),
            (" m f=1 5", "", None),
            ("", "", None),
        ] {
            assert_eq!(prefix(text), head, "{text}");
            assert_eq!(fields_only(text, head), short, "{text}");
            if let Some(short) = short {
                let (whole, short) = (parse_line(text).unwrap(), parse_line(short).unwrap());
                assert_eq!((whole.fields, whole.time), (short.fields, short.time));
            }
        }
    }

    #[test]
    fn a_refused_line_leaves_no_column_behind() {
        let mut tail = Tail::default();
        let month = Span::Day(0).month();
        let mut take = |text| match tail.take(text, i64::MIN) {
            Taken::UnknownMonth { measurement, .. } => {
                tail.learn(&measurement, month, MonthColumns::default());
                tail.take(text, i64::MIN)
            }
            taken @ (Taken::Yes | Taken::No(..)) => taken,
        };
        assert!(matches!(take("m,a=b f=1 5"), Taken::Yes));
        for text in ["m,a=b new=1,f=1i 6", "m,f=b x=1 6", "m,c=d f=1i 6"] {
            assert!(matches!(take(text), Taken::No(RejectReason::TypeConflict, _)), "{text}");
        }
        for text in ["m,a=b new=1i 6", "m,a=b x=1i 6", "m,a=b c=1 6"] {
            assert!(matches!(take(text), Taken::Yes), "{text}");
        }
        assert_eq!(tail.size().rows, 2);
    }
}
