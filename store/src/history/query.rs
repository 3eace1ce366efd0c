//! Reading: values of one property of one device, from files and tail.
//!
//! A read holds a view: the list of files and a copy of the tail's rows that it wants, taken at one
//! moment. So it never waits for a flush, sees each point once, and no file is removed under it. It goes
//! through time in stretches that no file crosses, a day or a month, and holds the values of one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use telemetry::time::EventTime;

use super::error::{HistoryError, in_file};
use super::files::{Entry, Files};
use super::index::Run;
use super::name::Span;
use super::reader::Parquet;
use super::series::Series;
use super::value::Kind;
use super::writer::{Chunk, Values};
use super::{History, Window, lock};
use crate::{POINTS_MAX, RangeQuery, ReadError};

/// Most values of one day or month held at once.
const STRETCH_MAX: usize = 4_000_000;

type Points = Vec<(i64, f64)>;
/// Takes the points of one stretch.
type Show<'a> = dyn FnMut(&[(i64, f64)]) -> Result<(), ReadError> + 'a;
/// A series across measurements.
type Key = (Arc<str>, Arc<Series>);

/// What a read sees.
#[derive(Debug)]
struct View {
    files: Arc<Files>,
    /// Points of the tail in order of time, of one time the older ones first.
    tail: Vec<(Key, Points)>,
}

impl History {
    /// Reads values in order of time, at most [`POINTS_MAX`]; with a step the mean of each window, as
    /// [`crate::Store::range`]. Text values are left out, truth is 1 or 0.
    ///
    /// # Errors
    /// [`ReadError::TooMany`], [`ReadError::History`].
    pub fn range(&self, query: &RangeQuery) -> Result<Vec<(EventTime, f64)>, ReadError> {
        if query.step.is_some_and(|step| !step.is_zero()) {
            let windows = self.windows(query)?;
            return Ok(windows.into_iter().map(|window| (window.start, window.mean)).collect());
        }
        let mut points = Vec::new();
        self.each_stretch(query, &mut |stretch| {
            points
                .extend(stretch.iter().map(|(time, value)| (EventTime::from_nanos(*time), *value)));
            if points.len() > POINTS_MAX { Err(ReadError::TooMany) } else { Ok(()) }
        })?;
        Ok(points)
    }

    /// Reads mean, least, greatest and count of each window of `query.step` that has values. Windows
    /// begin at multiples of the step since 1970; without a step the whole range is one.
    ///
    /// # Errors
    /// [`ReadError::TooMany`], [`ReadError::History`].
    pub fn windows(&self, query: &RangeQuery) -> Result<Vec<Window>, ReadError> {
        let mut windows: Vec<Window> = Vec::new();
        self.each_stretch(query, &mut |stretch| {
            for (time, value) in stretch {
                let start = window_start(*time, query);
                match windows.last_mut() {
                    Some(window) if window.start == start => window.add(*value),
                    _ => windows.push(Window::of(start, *value)),
                }
            }
            if windows.len() > POINTS_MAX { Err(ReadError::TooMany) } else { Ok(()) }
        })?;
        Ok(windows)
    }

    /// Reads the newest value within `from..to`; `step` counts for nothing.
    ///
    /// # Errors
    /// [`ReadError::TooMany`], [`ReadError::History`].
    pub fn latest(&self, query: &RangeQuery) -> Result<Option<(EventTime, f64)>, ReadError> {
        let view = self.view(query);
        for (from, to) in view.stretches(query).into_iter().rev() {
            let points = self.stretch(&view, query, from, to)?;
            if let Some((time, value)) = points.last() {
                return Ok(Some((EventTime::from_nanos(*time), *value)));
            }
        }
        Ok(None)
    }

    fn each_stretch(&self, query: &RangeQuery, show: &mut Show<'_>) -> Result<(), ReadError> {
        let view = self.view(query);
        for (from, to) in view.stretches(query) {
            show(&self.stretch(&view, query, from, to)?)?;
        }
        Ok(())
    }

    fn view(&self, query: &RangeQuery) -> View {
        let (from, to) = (query.from.as_nanos(), query.to.as_nanos());
        let mut tail = Vec::new();
        let mut add = |name: &Arc<str>, series: &Arc<Series>, mut points: Points| {
            if query.measurement.as_ref().is_some_and(|wanted| **wanted != **name) {
                return;
            }
            points.retain(|(time, _)| from <= *time && *time < to);
            points.sort_by_key(|(time, _)| *time);
            if !points.is_empty() {
                tail.push(((Arc::clone(name), Arc::clone(series)), points));
            }
        };
        let state = lock(&self.state);
        let wanted = (query.tenant.as_str(), query.device.as_str(), query.property.as_str());
        state.tail.device_points(wanted, &state.frozen, &mut add);
        let files = Arc::clone(&state.files);
        drop(state);
        View { files, tail }
    }

    /// Reads a stretch: each point once, in order of time.
    fn stretch(
        &self,
        view: &View,
        query: &RangeQuery,
        from: i64,
        to: i64,
    ) -> Result<Points, ReadError> {
        let mut found: BTreeMap<Key, Vec<Points>> = BTreeMap::new();
        let mut held = 0;
        for entry in view.files(query, from, to) {
            for (series, points) in self.file_points(entry, query, from, to)? {
                held += points.len();
                let key = (Arc::clone(&entry.measurement), series);
                found.entry(key).or_default().push(points);
            }
            if held > STRETCH_MAX {
                return Err(ReadError::TooMany);
            }
        }
        for (key, points) in &view.tail {
            let within = |point: &&(i64, f64)| from <= point.0 && point.0 < to;
            let points: Points = points.iter().filter(within).copied().collect();
            found.entry(key.clone()).or_default().push(points);
        }
        let mut series: Vec<Points> = found.into_values().map(newest).collect();
        if series.len() == 1 {
            return Ok(series.pop().unwrap_or_default());
        }
        let mut all = series.concat();
        all.sort_by_key(|(time, _)| *time);
        Ok(all)
    }

    /// Reads what a file has; nothing where it is damaged.
    fn file_points(
        &self,
        entry: &Entry,
        query: &RangeQuery,
        from: i64,
        to: i64,
    ) -> Result<Vec<(Arc<Series>, Points)>, ReadError> {
        match self.intact_file_points(entry, query, from, to) {
            Err(HistoryError::Damaged { .. }) => {
                self.found_damaged(entry);
                Ok(Vec::new())
            }
            read => read.map_err(|error| ReadError::History(Box::new(error))),
        }
    }

    fn intact_file_points(
        &self,
        entry: &Entry,
        query: &RangeQuery,
        from: i64,
        to: i64,
    ) -> Result<Vec<(Arc<Series>, Points)>, HistoryError> {
        let file = self.open_files.get(entry)?;
        let field = file.fields.iter().position(|field| *field.name == *query.property);
        let Some(field) = field else { return Ok(Vec::new()) };
        if file.fields.get(field).is_none_or(|field| field.kind == Kind::Text) {
            return Ok(Vec::new());
        }
        let runs = file.device(&query.tenant, &query.device)?;
        runs.iter()
            .map(|run| Ok((Arc::clone(&run.series), run_points(&file, run, field, from, to)?)))
            .collect()
    }
}

impl View {
    fn files<'a>(
        &'a self,
        query: &'a RangeQuery,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let wanted = |name: &str| query.measurement.as_ref().is_none_or(|wanted| wanted == name);
        let (from, to) = (EventTime::from_nanos(from), EventTime::from_nanos(to));
        let files = self.files.measurements().filter(move |(name, _)| wanted(name));
        let files = files.flat_map(|(_, files)| files);
        files.filter(move |entry| entry.name.span.overlaps(from, to) && !entry.is_damaged())
    }

    /// Returns stretches of time that hold everything and that no file crosses, in order.
    fn stretches(&self, query: &RangeQuery) -> Vec<(i64, i64)> {
        let (from, to) = (query.from.as_nanos(), query.to.as_nanos());
        let files = self.files(query, from, to).map(|entry| entry.name.span);
        let tail = self.tail.iter().flat_map(|(_, points)| points);
        let mut days: Vec<i32> = tail.map(|(time, _)| Span::day_of(*time)).collect();
        days.dedup();
        let mut spans: Vec<Span> = files.chain(days.into_iter().map(Span::Day)).collect();
        spans.sort_by_key(|span| span.days());
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        for span in spans {
            let (start, end) = (span.start().max(from), span.end().min(to));
            match stretches.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                _ if start < end => stretches.push((start, end)),
                _ => {}
            }
        }
        stretches
    }
}

/// Merges points of one series, the older sources first: of one time the newest stands.
fn newest(mut sources: Vec<Points>) -> Points {
    if sources.len() == 1 && sources.iter().flatten().is_sorted_by(|a, b| a.0 < b.0) {
        return sources.pop().unwrap_or_default();
    }
    let mut all = sources.concat();
    // Stable: of one time the older source stays first.
    all.sort_by_key(|(time, _)| *time);
    let mut points = Points::with_capacity(all.len());
    for (time, value) in all {
        match points.last_mut() {
            Some(last) if last.0 == time => last.1 = value,
            _ => points.push((time, value)),
        }
    }
    points
}

/// Reads the values of one series and field in `from..to`.
fn run_points(
    file: &Parquet,
    run: &Run,
    field: usize,
    from: i64,
    to: i64,
) -> Result<Points, HistoryError> {
    let mut points = Points::new();
    let mut group_first = 0;
    for (group, rows) in file.groups().enumerate() {
        let first = run.first.max(group_first);
        let last = (run.first + run.rows).min(group_first + rows);
        if first < last {
            let rows = (first - group_first, last - group_first);
            group_points(file, (group, field), rows, (from, to), &mut points)?;
        }
        group_first += rows;
    }
    Ok(points)
}

fn group_points(
    file: &Parquet,
    (group, field): (usize, usize),
    rows: (usize, usize),
    (from, to): (i64, i64),
    points: &mut Points,
) -> Result<(), HistoryError> {
    let (first, last) = narrowed(&file.time_pages(group), rows, (from, to));
    let times = read_rows(file, group, 0, (first, last))?;
    let Values::Int(times) = &times.values else { return Ok(()) };
    let skip = times.partition_point(|time| *time < from);
    let end = times.partition_point(|time| *time < to);
    let Some(times) = times.get(skip..end).filter(|times| !times.is_empty()) else {
        return Ok(());
    };
    let column = file.field_column(field);
    let values = read_rows(file, group, column, (first + skip, first + end))?;
    let there = times.iter().zip(&values.levels).filter(|(_, level)| **level == 1);
    let there = there.map(|(time, _)| *time);
    match &values.values {
        Values::Float(values) => points.extend(there.zip(values.iter().copied())),
        Values::Int(values) => points.extend(there.zip(values.iter().map(|value| *value as f64))),
        Values::Bool(values) => {
            points.extend(there.zip(values.iter().map(|truth| f64::from(u8::from(*truth)))));
        }
        Values::Text(_) => {}
    }
    Ok(())
}

fn read_rows(
    file: &Parquet,
    group: usize,
    column: usize,
    (first, last): (usize, usize),
) -> Result<Chunk, HistoryError> {
    let mut cursor = file.column(group, column)?;
    let mut chunk = cursor.chunk();
    if first < last {
        let read = cursor.skip(first).and_then(|()| cursor.read(last - first, &mut chunk));
        read.map_err(in_file(&file.path))?;
    }
    Ok(chunk)
}

/// Leaves out pages within the rows of one series that lie before or after the wanted time.
fn narrowed(
    pages: &[(usize, i64, i64)],
    (mut first, mut last): (usize, usize),
    (from, to): (i64, i64),
) -> (usize, usize) {
    for (at, (start, least, greatest)) in pages.iter().enumerate() {
        let end = pages.get(at + 1).map_or(usize::MAX, |(next, _, _)| *next);
        if *start < first || end > last {
            continue;
        }
        if *greatest < from {
            first = end;
        } else if *least >= to {
            last = *start;
            break;
        }
    }
    (first, last.max(first))
}

fn window_start(time: i64, query: &RangeQuery) -> EventTime {
    let step = query.step.unwrap_or(Duration::ZERO);
    match i64::try_from(step.as_nanos()) {
        Ok(step) if step > 0 => EventTime::from_nanos(time.saturating_sub(time.rem_euclid(step))),
        _ => query.from,
    }
}
