//! Rows of memory in the order of a file. Pure.
//!
//! What a row is sorted by is one number: rank of its series, time within the day, and its place, the older
//! ones first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::HistoryError;
use super::name::{DAY_NANOS, Span};
use super::ranks::Ranks;
use super::series::tag_order;
use super::tail::{Memtable, MonthColumns};
use super::writer::{Layout, Writer};

/// Bits of a memtable's number and of a place in it, and those of a time within its day.
const PLACE_BITS: u32 = 48;
const TIME_BITS: u32 = 48;

/// Rows of one measurement and day.
#[derive(Debug)]
pub(super) struct Sorted<'a> {
    pub(super) measurement: &'a Arc<str>,
    pub(super) day: i32,
    columns: &'a MonthColumns,
    memtables: &'a [Arc<Memtable>],
    ranks: &'a Ranks,
    rows: Vec<u128>,
}

/// Sorts the rows of memtables, the older ones first among them.
pub(super) fn sorted<'a>(memtables: &'a [Arc<Memtable>], ranks: &'a Ranks) -> Vec<Sorted<'a>> {
    let mut parts: BTreeMap<(u32, i32), Vec<u128>> = BTreeMap::new();
    for (memtable, at) in memtables.iter().zip(0_u64..) {
        let mut current = ((u32::MAX, i32::MAX), Vec::new());
        for (head, place) in memtable.rows.heads().iter().zip(at << 32..) {
            let (measurement, rank) = ranks.get(head.series);
            let part = (measurement, Span::day_of(head.time));
            if part != current.0 {
                parts.insert(current.0, std::mem::take(&mut current.1));
                current = (part, parts.remove(&part).unwrap_or_default());
            }
            let time = head.time.rem_euclid(DAY_NANOS).unsigned_abs();
            let key = u128::from(rank) << (TIME_BITS + PLACE_BITS)
                | u128::from(time) << PLACE_BITS
                | u128::from(place);
            current.1.push(key);
        }
        parts.insert(current.0, current.1);
    }
    // The last memtable knows every name and column of those before.
    let Some(newest) = memtables.last() else { return Vec::new() };
    let part = |((number, day), mut rows): ((u32, i32), Vec<u128>)| {
        let measurement = newest.measurements.get(number as usize)?;
        let columns = newest.months.get(&(number, Span::Day(day).month()))?;
        rows.sort_unstable();
        Some(Sorted { measurement, day, columns, memtables, ranks, rows })
    };
    parts.into_iter().filter(|(_, rows)| !rows.is_empty()).filter_map(part).collect()
}

impl Sorted<'_> {
    /// Returns the columns that have a value, and where each column of the month stands among its fields.
    ///
    /// # Errors
    /// [`HistoryError::TwoTypes`].
    pub(super) fn layout(&self) -> Result<(Layout, Vec<Option<usize>>), HistoryError> {
        let mut fields: Vec<usize> = self.used_fields();
        let name = |at: &usize| self.columns.fields.get(*at).map(|field| &field.name);
        fields.sort_by(|a, b| name(a).cmp(&name(b)));
        let mut places = vec![None; self.columns.fields.len()];
        for (place, at) in fields.iter().enumerate() {
            if let Some(known) = places.get_mut(*at) {
                *known = Some(place);
            }
        }
        let tags = self.used_tags();
        if let Some(column) = tags.iter().find(|tag| fields.iter().any(|at| name(at) == Some(tag)))
        {
            return Err(HistoryError::TwoTypes { column: (**column).into() });
        }
        let field = |at: &usize| self.columns.fields.get(*at).cloned();
        Ok((Layout { tags, fields: fields.iter().filter_map(field).collect() }, places))
    }

    fn used_fields(&self) -> Vec<usize> {
        let mut is_used = vec![false; self.columns.fields.len()];
        let mut used = Vec::new();
        for key in &self.rows {
            let Some((memtable, at)) = self.place(*key) else { continue };
            for (column, _) in memtable.rows.cells(at) {
                let column = usize::from(column);
                if let Some(is_used) = is_used.get_mut(column).filter(|is_used| !**is_used) {
                    *is_used = true;
                    used.push(column);
                }
            }
            if used.len() == is_used.len() {
                break;
            }
        }
        used
    }

    fn used_tags(&self) -> Vec<Arc<str>> {
        let mut tags: Vec<Arc<str>> = Vec::new();
        let mut last = None;
        for rank in self.rows.iter().map(|key| rank(*key)) {
            if last.replace(rank) == Some(rank) {
                continue;
            }
            for (name, _) in self.ranks.series(rank).into_iter().flat_map(|series| &series.0) {
                if !tags.iter().any(|known| Arc::ptr_eq(known, name) || known == name) {
                    tags.push(Arc::clone(name));
                }
            }
            if tags.len() >= self.columns.tags.len() {
                break;
            }
        }
        tags.sort_by(|a, b| tag_order(a, b));
        tags
    }

    fn place(&self, key: u128) -> Option<(&Memtable, usize)> {
        // The lowest bits.
        let place = (key & ((1 << PLACE_BITS) - 1)) as u64;
        let memtable = self.memtables.get(usize::try_from(place >> 32).ok()?)?;
        Some((memtable, usize::try_from(place & u64::from(u32::MAX)).ok()?))
    }

    /// Writes the rows; of the same series and time, the newest value of each field stands.
    pub(super) fn write(
        &self,
        places: &[Option<usize>],
        out: &mut Writer<'_>,
    ) -> Result<(), HistoryError> {
        let mut last = None;
        let field = |column: u16| places.get(usize::from(column)).copied().flatten();
        for same in self.rows.chunk_by(|a, b| a >> PLACE_BITS == b >> PLACE_BITS) {
            let Some(key) = same.first() else { continue };
            let rank = rank(*key);
            if last.replace(rank) != Some(rank)
                && let Some(series) = self.ranks.series(rank)
            {
                out.series(series);
            }
            let rows = || same.iter().rev().filter_map(|key| self.place(*key));
            let time = rows().next().and_then(|(memtable, at)| memtable.rows.heads().get(at));
            out.row(time.map_or(0, |head| head.time))?;
            let mut seen = Vec::new();
            for (memtable, at) in rows() {
                for (column, bits) in memtable.rows.cells(at) {
                    if same.len() > 1 {
                        if seen.contains(&column) {
                            continue;
                        }
                        seen.push(column);
                    }
                    if let Some(at) = field(column) {
                        out.bits(at, bits, &memtable.rows);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the rank in a key.
const fn rank(key: u128) -> u32 {
    // The highest bits.
    (key >> (TIME_BITS + PLACE_BITS)) as u32
}
