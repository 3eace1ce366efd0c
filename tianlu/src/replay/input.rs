//! One input file as a row of readings, each with the time that it stands at.

mod file;
mod lines;
mod names;
mod points;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry::reading::Element;

use super::plan::Plan;
use crate::playback::fault::Fault;
use file::{Kind, Opened};
use lines::Lines;
use table::Table;

/// One reading of a file, or a row that gave none.
#[derive(Debug)]
pub(super) struct Item {
    /// Order among all inputs: nanoseconds of journal time.
    pub(super) key: i64,
    /// The reading's `received_at`, nanoseconds.
    pub(super) received_at: i64,
    /// Whose device it is.
    pub(super) tenant: Arc<str>,
    /// Where the device stands, as far as the row or the mapping says.
    pub(super) site: Option<Arc<str>>,
    /// The device; empty: the row did not tell.
    pub(super) device: Arc<str>,
    /// The row as it stands in the file.
    pub(super) raw: Arc<[u8]>,
    /// What became of it.
    pub(super) element: Element,
}

/// A reading as a source finds it, before it has its place in time.
#[derive(Debug)]
pub(super) struct Found {
    received_at: Option<i64>,
    tenant: Arc<str>,
    site: Option<Arc<str>>,
    device: Arc<str>,
    raw: Arc<[u8]>,
    element: Element,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Input<'a> {
    path: PathBuf,
    source: Source<'a>,
    failure: file::Failure,
    clock: RowClock,
}

#[derive(Debug)]
enum Source<'a> {
    Table(Box<Table<'a>>),
    Lines(Box<Lines<'a>>),
}

/// What a first pass over a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scan {
    /// How many readings and bad rows there are; in a wide table at most.
    pub(super) items: u64,
    /// The first time in it; rows before it stand there too.
    pub(super) first: Option<i64>,
    /// Whether a row has an earlier time than the one before.
    pub(super) is_backward: bool,
}

/// Gives each row its time: its own, else that of the row before.
#[derive(Debug, Clone, Copy)]
struct RowClock {
    last: i64,
    since: i64,
}

impl<'a> Input<'a> {
    /// Looks through a file and opens it anew at its beginning.
    pub(super) fn open(plan: &'a Plan, path: &Path) -> Result<(Self, Scan), Fault> {
        let mut input = Self::begin(plan, path, 0)?;
        if let Source::Table(table) = &mut input.source {
            table.read_times_only();
        }
        let mut scan = Scan::default();
        let mut last = i64::MIN;
        while let Some(found) = input.find()? {
            scan.items += 1;
            let Some(at) = time_of(&found) else { continue };
            scan.first.get_or_insert(at);
            scan.is_backward |= at < last;
            last = at;
        }
        if scan.first.is_none() && scan.items > 0 {
            let place = path.display().to_string();
            return Err(Fault::failed(&place, "tianlu.replay.no_time", &[]));
        }
        Ok((Self::begin(plan, path, scan.first.unwrap_or(0))?, scan))
    }

    fn begin(plan: &'a Plan, path: &Path, first: i64) -> Result<Self, Fault> {
        let opened = Opened::open(path)?;
        let failure = opened.failure.clone();
        let source = match opened.kind {
            Kind::Table => Source::Table(Box::new(Table::open(plan, path, opened)?)),
            Kind::Json | Kind::Points => Source::Lines(Box::new(Lines::open(plan, path, opened)?)),
        };
        let clock = RowClock { last: first, since: 0 };
        Ok(Self { path: path.to_owned(), source, failure, clock })
    }

    /// Returns the next reading or bad row.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Fault> {
        let Some(found) = self.find()? else { return Ok(None) };
        let (key, received_at) = self.clock.place(&found);
        let Found { tenant, site, device, raw, element, .. } = found;
        Ok(Some(Item { key, received_at, tenant, site, device, raw, element }))
    }

    /// Returns how many rows were read.
    pub(super) fn rows(&self) -> u64 {
        match &self.source {
            Source::Table(table) => table.rows(),
            Source::Lines(lines) => lines.rows(),
        }
    }

    fn find(&mut self) -> Result<Option<Found>, Fault> {
        let (found, line) = match &mut self.source {
            Source::Table(table) => (table.next(), table.line()),
            Source::Lines(lines) => (lines.next(), lines.line()),
        };
        match self.failure.take() {
            Some(error) => Err(Fault::unreadable(&self.path, Some(line), &error)),
            None => Ok(found),
        }
    }
}

/// Returns when a row counts as taken in, where it tells.
fn time_of(found: &Found) -> Option<i64> {
    let sampled_at = match &found.element {
        Element::Reading(reading) => reading.sampled_at,
        Element::Bad(_) => None,
    };
    found.received_at.or(sampled_at.map(telemetry::time::EventTime::as_nanos))
}

impl RowClock {
    /// Returns the key and the `received_at` of a row.
    fn place(&mut self, found: &Found) -> (i64, i64) {
        if let Some(at) = time_of(found) {
            *self = Self { last: at, since: 0 };
            return (at, at);
        }
        if matches!(found.element, Element::Bad(_)) {
            return (self.last, self.last);
        }
        self.since += 1;
        (self.last, self.last.saturating_add(self.since))
    }
}
