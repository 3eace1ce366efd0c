//! Rows in memory.

use std::collections::BTreeMap;

use super::value::Value;

/// What a row costs beside its cells: its time, its place, its share of allocations.
const ROW_BYTES: usize = 64;

/// Cells of one point, in no order: a column's number and its value.
pub(super) type Row = Vec<(u16, Value)>;

/// Rows of one series. They mostly come in order of time and are appended; the others stand in a tree, so
/// that a device that sends its backlog backwards costs no more.
#[derive(Debug, Default)]
pub(super) struct Rows {
    in_order: Vec<(i64, Row)>,
    late: BTreeMap<i64, Row>,
}

impl Rows {
    /// Returns the row of a time, a new and empty one where there is none.
    pub(super) fn at(&mut self, time: i64) -> &mut Row {
        let Self { in_order, late } = self;
        if in_order.last().is_none_or(|(last, _)| *last < time) {
            in_order.push((time, Row::new()));
        }
        let is_last = in_order.last().is_some_and(|(last, _)| *last == time);
        let place = if is_last {
            in_order.len().checked_sub(1)
        } else {
            in_order.binary_search_by_key(&time, |(time, _)| *time).ok()
        };
        match place.and_then(|place| in_order.get_mut(place)) {
            Some((_, row)) => row,
            None => late.entry(time).or_default(),
        }
    }

    /// Returns the rows of `from..to`; those in order, then the late ones.
    pub(super) fn within(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &Row)> {
        let first = self.in_order.partition_point(|(time, _)| *time < from);
        let last = self.in_order.partition_point(|(time, _)| *time < to).max(first);
        let in_order = self.in_order.get(first..last).unwrap_or_default();
        let late = (from < to).then(|| self.late.range(from..to)).into_iter().flatten();
        in_order.iter().map(|(time, row)| (*time, row)).chain(late.map(|(time, row)| (*time, row)))
    }

    /// Returns every row; those in order, then the late ones.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Row)> {
        let in_order = self.in_order.iter().map(|(time, row)| (*time, row));
        in_order.chain(self.late.iter().map(|(time, row)| (*time, row)))
    }
}

/// How much the tail holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Points; one that was merged with another counts once.
    pub rows: usize,
    /// Bytes of memory, about.
    pub bytes: usize,
}

/// Puts the cells of a point into its row.
pub(super) fn insert(row: &mut Row, new: Row, size: &mut Size) {
    let bytes = |row: &Row| -> usize {
        row.iter().map(|(_, value)| size_of::<(u16, Value)>() + value.heap_bytes()).sum()
    };
    if row.is_empty() {
        *row = new;
        size.rows += 1;
        size.bytes += ROW_BYTES + bytes(row);
        return;
    }
    size.bytes = size.bytes.saturating_sub(bytes(row));
    for (column, value) in new {
        put(row, column, value);
    }
    size.bytes += bytes(row);
}

/// Sets a cell: the newer value of a field replaces the older one.
pub(super) fn put(row: &mut Row, column: u16, value: Value) {
    match row.iter_mut().find(|(known, _)| *known == column) {
        Some((_, known)) => *known = value,
        None => row.push((column, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_any_order_are_found_once_each() {
        let mut rows = Rows::default();
        let mut size = Size::default();
        let times = [5, 9, 7, 9, 5, 1, 7, 12, 3, 9];
        for (number, time) in (0_u16..).zip(times) {
            insert(rows.at(time), vec![(number % 2, Value::Int(i64::from(number)))], &mut size);
        }
        let mut found: Vec<i64> = rows.iter().map(|(time, _)| time).collect();
        found.sort_unstable();
        assert_eq!(found, [1, 3, 5, 7, 9, 12]);
        assert_eq!(size.rows, 6);
        assert_eq!(rows.at(9), &vec![(1, Value::Int(9))], "the newer value of a field stands");
        assert_eq!(rows.at(5), &vec![(0, Value::Int(4))]);
        let mut within: Vec<i64> = rows.within(3, 9).map(|(time, _)| time).collect();
        within.sort_unstable();
        assert_eq!(within, [3, 5, 7]);
        assert_eq!(rows.within(9, 3).count(), 0);
    }
}
