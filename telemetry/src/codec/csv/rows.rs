//! The rows of a CSV text, without a reader of its own for each: building the tables of one costs several times what
//! decoding a row does.

use std::cell::RefCell;

use csv_core::{ReadRecordResult, Reader};

thread_local! {
    // A copy would do, but one made by `clone` (0.1.13) lacks all tables but one.
    static READER: RefCell<Reader> = RefCell::new(Reader::new());
}

/// Reads a text row by row, by RFC 4180: empty lines are left out, a mark of the byte order in front as well.
pub(super) struct Rows<'a> {
    reader: &'a mut Reader,
    rest: &'a [u8],
    /// The cells of the row at hand, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    width: usize,
}

impl Rows<'_> {
    /// Lends the rows of a text. Not to be called again within.
    pub(super) fn with<T>(text: &str, read: impl FnOnce(Rows<'_>) -> T) -> T {
        READER.with_borrow_mut(|reader| {
            reader.reset();
            read(Rows {
                reader,
                rest: text.as_bytes(),
                // No row has more bytes than the text.
                bytes: vec![0; text.len()],
                ends: vec![0; 16],
                width: 0,
            })
        })
    }

    /// Goes to the next row; `false`: there is none.
    pub(super) fn advance(&mut self) -> bool {
        let (mut bytes, mut ends) = (0, 0);
        loop {
            let free = self.bytes.get_mut(bytes..).unwrap_or_default();
            let free_ends = self.ends.get_mut(ends..).unwrap_or_default();
            let (result, taken, written, ended) =
                self.reader.read_record(self.rest, free, free_ends);
            self.rest = self.rest.get(taken..).unwrap_or_default();
            (bytes, ends) = (bytes + written, ends + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2 + 1, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2 + 1, 0),
                ReadRecordResult::Record => {
                    self.width = ends;
                    return true;
                }
                ReadRecordResult::End => return false,
            }
        }
    }

    /// Returns how many cells the row has.
    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Returns the cells of the row.
    pub(super) fn cells(&self) -> impl Iterator<Item = &str> {
        let ends = self.ends.get(..self.width).unwrap_or_default();
        let begins = std::iter::once(&0).chain(ends);
        begins.zip(ends).map(|(begin, end)| {
            let cell = self.bytes.get(*begin..*end).unwrap_or_default();
            // Cut from a text at ASCII letters only.
            std::str::from_utf8(cell).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        Rows::with(text, |mut rows| {
            let mut all = Vec::new();
            while rows.advance() {
                assert_eq!(rows.cells().count(), rows.width());
                all.push(rows.cells().map(str::to_owned).collect());
            }
            all
        })
    }

    #[test]
    fn rows_of_any_width_and_quoting() {
        let wide = vec!["土"; 40].join(",");
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n", vec![]),
            ("a", vec![vec!["a"]]),
            ("\u{feff}a,b\r\n\"c,\"\"d\"\"\n\",\n", vec![vec!["a", "b"], vec!["c,\"d\"\n", ""]]),
            (&wide, vec![vec!["土"; 40]]),
        ] {
            assert_eq!(rows(text), expected, "{text}");
        }
    }

    proptest! {
        /// Guarantees: the rows are those of the reader of the crate `csv`.
        #[test]
        fn they_are_what_the_library_reads(text in "[ab\",\r\n\u{feff}土 ]{0,80}") {
            let mut reader = csv::ReaderBuilder::new()
                .flexible(true)
                .has_headers(false)
                .from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> = reader
                .records()
                .map(|row| row.unwrap().iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(rows(&text), expected);
        }
    }
}
