//! Rows in memory, in the order in which they were taken.
//!
//! A row costs its place in a few long lists and no allocation of its own. Rows have numbers that go on from
//! one list to the next, and each names the one before it of the same series: so the rows of a series are
//! found through the tail and through tails that a flush is writing.

use super::value::Value;

/// What a row and a cell cost, with their share of the room that lists grow into.
const ROW_BYTES: usize = 40;
const CELL_BYTES: usize = 12;

/// A cell on its way into a row: a column's number and its value.
pub(super) type Cell = (u16, Value);

/// A row without its cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) time: i64,
    /// Number of the row before it of the same series; [`Rows::NONE`]: there is none in memory.
    pub(super) previous: u64,
    pub(super) series: u32,
    /// Number of cells of this row and those before it.
    end: u32,
}

/// Rows, the older ones first.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Number of the first row.
    first: u64,
    heads: Vec<Head>,
    columns: Vec<u16>,
    /// What a cell holds, by the type of its column; of a text its place among `texts`.
    bits: Vec<u64>,
    texts: Vec<Box<str>>,
    size: Size,
}

/// How much the tail holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Points as they were taken; the same one twice counts twice.
    pub rows: usize,
    /// Bytes of memory, about, those of names that are new since the last freeze included.
    pub bytes: usize,
}

impl Rows {
    /// The number of no row.
    pub(super) const NONE: u64 = u64::MAX;

    /// Returns an empty list whose numbers go on after those of this one.
    pub(super) fn next(&self) -> Self {
        Self { first: self.first + self.heads.len() as u64, ..Self::default() }
    }

    pub(super) const fn size(&self) -> Size {
        self.size
    }

    pub(super) const fn heads(&self) -> &[Head] {
        self.heads.as_slice()
    }

    /// Counts memory that belongs to no row.
    pub(super) const fn add_bytes(&mut self, bytes: usize) {
        self.size.bytes += bytes;
    }

    /// Adds a row and returns its number; `None`: there is no room for more.
    pub(super) fn push(
        &mut self,
        (series, time): (u32, i64),
        previous: u64,
        cells: &mut Vec<Cell>,
    ) -> Option<u64> {
        let end = u32::try_from(self.bits.len() + cells.len()).ok()?;
        // A place among the rows has 32 bits in a flush.
        let at = u32::try_from(self.heads.len()).ok()?;
        self.size.rows += 1;
        self.size.bytes += ROW_BYTES + CELL_BYTES * cells.len();
        for (column, value) in cells.drain(..) {
            self.columns.push(column);
            let bits = match value {
                Value::Float(number) => number.to_bits(),
                Value::Int(number) => number.cast_unsigned(),
                Value::Bool(truth) => u64::from(truth),
                Value::Text(text) => {
                    self.size.bytes += size_of::<Box<str>>() + text.len();
                    self.texts.push(text);
                    self.texts.len() as u64 - 1
                }
            };
            self.bits.push(bits);
        }
        self.heads.push(Head { time, previous, series, end });
        Some(self.first + u64::from(at))
    }

    /// Returns the place of the row of this number; `None`: it is in another list or in none.
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (at < self.heads.len()).then_some(at)
    }

    /// Returns the cells of the row at a place: column and bits.
    pub(super) fn cells(&self, at: usize) -> impl Iterator<Item = (u16, u64)> {
        let end = |at: usize| self.heads.get(at).map_or(0, |head| head.end as usize);
        let range = at.checked_sub(1).map_or(0, end)..end(at);
        let columns = self.columns.get(range.clone()).unwrap_or_default();
        let bits = self.bits.get(range).unwrap_or_default();
        columns.iter().copied().zip(bits.iter().copied())
    }

    /// Returns the text of a cell.
    pub(super) fn text(&self, bits: u64) -> &str {
        let at = usize::try_from(bits).ok();
        at.and_then(|at| self.texts.get(at)).map_or("", |text| text)
    }
}

/// Sets a cell: the newer value of a field replaces the older one.
pub(super) fn put(cells: &mut Vec<Cell>, column: u16, value: Value) {
    match cells.iter_mut().find(|(known, _)| *known == column) {
        Some((_, known)) => *known = value,
        None => cells.push((column, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_cells_and_numbers_go_on_in_the_next_list() {
        let mut rows = Rows::default();
        let mut cells = vec![(0, Value::Float(1.5)), (2, Value::Text("a".into()))];
        assert_eq!(rows.push((7, 10), Rows::NONE, &mut cells), Some(0));
        assert_eq!(rows.push((8, 5), 0, &mut vec![(1, Value::Int(-3))]), Some(1));
        let first: Vec<(u16, u64)> = rows.cells(0).collect();
        assert_eq!(first, [(0, 1.5_f64.to_bits()), (2, 0)]);
        assert_eq!(rows.text(0), "a");
        assert_eq!(rows.cells(1).collect::<Vec<_>>(), [(1, (-3_i64).cast_unsigned())]);
        assert_eq!((rows.place(1), rows.place(2), rows.place(Rows::NONE)), (Some(1), None, None));
        let mut next = rows.next();
        assert_eq!(next.push((7, 11), 0, &mut vec![(1, Value::Bool(true))]), Some(2));
        assert_eq!((next.place(1), next.place(2)), (None, Some(0)));
        assert_eq!(rows.size().rows, 2);
    }
}
