//! The memory tail: what was taken and is in no file yet.
//!
//! Pure. It ends as a [`Memtable`] that a flush writes; the next one begins empty. What it remembers
//! beyond that, names of series and types of columns, can be forgotten and found again.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry::line_protocol::{Line, parse_line};
use telemetry::time::EventTime;

use super::name::{Span, folder};
use super::names::Names;
use super::rows::{Cell, Rows, put};
use super::series::Series;
use super::value::{Column, Kind, Value};
use crate::RejectReason;

/// Memory of names of series remembered beyond a flush: some 1.3 million of them.
const NAMES_BYTES_KEPT: usize = 512 << 20;
/// Most months whose columns are remembered beyond a flush.
const MONTHS_KEPT: usize = 4_096;
/// Most fields of a measurement in one month.
pub(super) const FIELDS_MAX: usize = 4_096;

/// Takes the points of one series: its measurement, its tags, times and values.
pub(super) type Show<'a> = dyn FnMut(&Arc<str>, &Arc<Series>, Vec<(i64, f64)>) + 'a;

/// Columns of measurements, by number of the measurement and month.
pub(super) type Months = HashMap<(u32, Span), Arc<MonthColumns>>;

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

    /// Returns number and type of a field's column.
    fn find(&self, name: &str) -> Option<(usize, Kind)> {
        let at = self.fields.iter().position(|field| *field.name == *name)?;
        Some((at, self.fields.get(at)?.kind))
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
    /// Number of the freeze that ended it.
    pub(super) number: u64,
    pub(super) rows: Rows,
    pub(super) months: Months,
    /// Names of measurements, by number.
    pub(super) measurements: Vec<Arc<str>>,
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

/// What was taken since the last freeze.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) names: Names,
    /// How often names were forgotten.
    pub(super) generation: u64,
    pub(super) months: Months,
    pub(super) rows: Rows,
    /// Cells of the line at hand.
    cells: Vec<Cell>,
}

impl Tail {
    /// Takes the text of a line; `bound` is the first time that is kept.
    pub(super) fn take(&mut self, text: &str, bound: i64) -> Taken {
        self.take_or_refuse(text, bound)
            .unwrap_or_else(|(reason, detail)| Taken::No(reason, detail))
    }

    fn take_or_refuse(&mut self, text: &str, bound: i64) -> Result<Taken, Refusal> {
        let prefix = prefix(text);
        let known = self.names.by_prefix(prefix);
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
        let Self { names, months, rows, cells: row, .. } = self;
        let Some(known) = names.get_mut(id) else { return Ok(Taken::Yes) };
        let last = known.last.filter(|(last, _)| *last == day);
        let month = last.map_or_else(|| Span::Day(day).month(), |(_, month)| month);
        let Some(columns) = months.get_mut(&(known.measurement, month)) else {
            let number = known.measurement;
            let measurement = names.measurement(number).cloned().unwrap_or_default();
            return Ok(Taken::UnknownMonth { measurement, month });
        };
        if last.is_none() {
            columns.check_tags(&known.series)?;
        }
        cells(columns, line, row)?;
        let pushed = rows.push((id, time), known.last_row, row);
        known.last_row = pushed.ok_or_else(|| refused("too many points in memory".to_owned()))?;
        if last.is_none() {
            let mut tags = known.series.0.iter().map(|(name, _)| name);
            if !tags.clone().all(|tag| columns.tags.contains(tag)) {
                Arc::make_mut(columns).add(&[], &mut tags);
            }
            known.last = Some((day, month));
        }
        Ok(Taken::Yes)
    }

    /// Remembers the columns that a month has in files.
    pub(super) fn learn(&mut self, measurement: &Arc<str>, month: Span, columns: MonthColumns) {
        let number = self.names.number(measurement);
        self.months.entry((number, month)).or_insert_with(|| Arc::new(columns));
    }

    fn intern(&mut self, prefix: &str, line: &Line<'_>) -> Result<u32, Refusal> {
        if folder(&line.measurement).is_none() {
            return Err(refused("the name of the measurement is too long for a folder".to_owned()));
        }
        if line.tags.iter().any(|(name, _)| name == "time") {
            return Err(refused("a tag has the name `time`".to_owned()));
        }
        let before = self.names.bytes();
        let id = self.names.intern(prefix, line);
        self.rows.add_bytes(self.names.bytes() - before);
        id.ok_or_else(|| refused("too many series".to_owned()))
    }

    /// Ends it with a number: what it holds is returned, and the next one begins. `None`: it holds no row.
    pub(super) fn freeze(&mut self, number: u64) -> Option<Memtable> {
        let next = self.rows.next();
        let rows = std::mem::replace(&mut self.rows, next);
        if rows.heads().is_empty() {
            return None;
        }
        Some(Memtable {
            number,
            rows,
            months: self.months.clone(),
            measurements: self.names.measurements().to_vec(),
        })
    }

    /// Forgets names and columns where they are too many. Nothing frozen may be left that has them; while
    /// it holds rows itself it waits for the next time.
    pub(super) fn forget(&mut self) {
        self.forget_above(NAMES_BYTES_KEPT);
    }

    /// Returns whether names or columns are to be forgotten as soon as nothing in memory has them.
    pub(super) fn has_too_many_names(&self) -> bool {
        self.has_names_above(NAMES_BYTES_KEPT)
    }

    fn has_names_above(&self, bytes: usize) -> bool {
        self.names.bytes() > bytes || self.months.len() > MONTHS_KEPT
    }

    fn forget_above(&mut self, bytes: usize) {
        if self.has_names_above(bytes) && self.rows.heads().is_empty() {
            let rows = self.rows.next();
            *self = Self { generation: self.generation + 1, rows, ..Self::default() };
        }
    }

    /// Shows the points of one property of a device that are in memory: measurement, series, and times with
    /// values as numbers, the older ones first. `frozen` are the tails before this one.
    pub(super) fn device_points(
        &self,
        (tenant, device, property): (&str, &str, &str),
        frozen: &[Arc<Memtable>],
        show: &mut Show<'_>,
    ) {
        for known in self.names.device(tenant, device) {
            let Some(name) = self.names.measurement(known.measurement) else { continue };
            let mut points = Vec::new();
            let mut number = known.last_row;
            let mut column: Option<(i32, Option<(usize, Kind)>)> = None;
            let lists = || std::iter::once(&self.rows).chain(frozen.iter().map(|old| &old.rows));
            while let Some((rows, at)) = lists().find_map(|rows| Some((rows, rows.place(number)?)))
                && let Some(head) = rows.heads().get(at)
            {
                number = head.previous;
                let day = Span::day_of(head.time);
                let found = column.filter(|(known, _)| *known == day).unwrap_or_else(|| {
                    let month = (known.measurement, Span::Day(day).month());
                    (day, self.months.get(&month).and_then(|columns| columns.find(property)))
                });
                column = Some(found);
                let Some((wanted, kind)) = found.1 else { continue };
                let cell = rows.cells(at).find(|(column, _)| usize::from(*column) == wanted);
                if let Some(value) = cell.and_then(|(_, bits)| kind.number(bits)) {
                    points.push((head.time, value));
                }
            }
            points.reverse();
            if !points.is_empty() {
                show(name, &known.series, points);
            }
        }
    }
}

/// Finds the columns of a line's fields; new ones are added only when the whole line is taken.
fn cells(
    columns: &mut Arc<MonthColumns>,
    line: &Line<'_>,
    row: &mut Vec<Cell>,
) -> Result<(), Refusal> {
    let before = columns.fields.len();
    row.clear();
    let found = cells_or_refusal(columns, line, row);
    if found.is_err() && columns.fields.len() > before {
        Arc::make_mut(columns).fields.truncate(before);
    }
    found
}

fn cells_or_refusal(
    columns: &mut Arc<MonthColumns>,
    line: &Line<'_>,
    row: &mut Vec<Cell>,
) -> Result<(), Refusal> {
    let mut next = 0;
    for (name, value) in &line.fields {
        let value = Value::of(value.clone())
            .ok_or_else(|| refused(format!("`{name}` is too large for a whole number")))?;
        // Lines of one profile name their fields in one order: the column is mostly the next one.
        let at = match columns.fields.get(next) {
            Some(field) if *field.name == **name => next,
            _ => match columns.fields.iter().position(|field| *field.name == **name) {
                Some(at) => at,
                None => add_field(Arc::make_mut(columns), name, &value)?,
            },
        };
        next = at + 1;
        let kind = columns.fields.get(at).map_or(value.kind(), |field| field.kind);
        if kind != value.kind() {
            let (is, was) = (value.kind().name(), kind.name());
            let detail = format!("`{name}` is {is}, but {was} in this month's points");
            return Err((RejectReason::TypeConflict, detail));
        }
        put(row, u16::try_from(at).unwrap_or(u16::MAX), value);
    }
    Ok(())
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
        assert_eq!(tail.rows.size().rows, 4);
    }

    #[test]
    fn names_are_forgotten_only_when_no_row_needs_them_and_rows_are_found_through_frozen_tails() {
        let mut tail = Tail::default();
        let learn = |tail: &mut Tail| {
            tail.learn(&"m".into(), Span::Day(0).month(), MonthColumns::default());
        };
        let points = |tail: &Tail, frozen: &[Arc<Memtable>]| {
            let mut found = Vec::new();
            let mut show = |_: &Arc<str>, _: &Arc<Series>, points: Vec<(i64, f64)>| found = points;
            tail.device_points(("", "d", "f"), frozen, &mut show);
            found
        };
        tail.names.number("m");
        learn(&mut tail);
        assert!(matches!(tail.take("m,device=d f=1 5", i64::MIN), Taken::Yes));
        assert!(matches!(tail.take("m,device=e f=9 5", i64::MIN), Taken::Yes));
        let frozen = [Arc::new(tail.freeze(1).unwrap())];
        assert!(matches!(tail.take("m,device=d f=2,g=1 5", i64::MIN), Taken::Yes));
        assert!(matches!(tail.take("m,device=d g=1 6", i64::MIN), Taken::Yes));
        assert_eq!(points(&tail, &frozen), [(5, 1.0), (5, 2.0)], "the newer one last");
        assert_eq!(points(&tail, &[]), [(5, 2.0)], "what is in a file is no longer in memory");
        tail.forget_above(0);
        assert_eq!(tail.generation, 0, "it has rows");
        let _written = tail.freeze(1).unwrap();
        tail.forget_above(0);
        assert_eq!((tail.generation, tail.names.bytes()), (1, 0));
        let unknown = tail.take("m,device=d f=3 7", i64::MIN);
        assert!(matches!(unknown, Taken::UnknownMonth { .. }), "{unknown:?}");
        learn(&mut tail);
        assert!(matches!(tail.take("m,device=d f=3 7", i64::MIN), Taken::Yes));
        assert_eq!(points(&tail, &[]), [(7, 3.0)]);
    }
}
