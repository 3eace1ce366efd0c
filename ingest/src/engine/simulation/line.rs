//! Reads line protocol: a reader of its own, so that the product's writer is not its own judge.

use std::collections::BTreeMap;

/// A series and a time.
pub(super) type Place = (String, i64);
/// Values as text, by name.
pub(super) type Values = BTreeMap<String, String>;

/// Reads a line: series, time, values.
pub(super) fn read(line: &[u8]) -> (Place, Values) {
    let line = std::str::from_utf8(line).unwrap().trim_end();
    let (series, rest) = line.split_once(' ').unwrap();
    let (fields, time) = rest.rsplit_once(' ').unwrap();
    let mut values = Values::new();
    let (mut quoted, mut begin) = (false, 0);
    for (at, letter) in fields.char_indices().chain([(fields.len(), ',')]) {
        quoted ^= letter == '"';
        if letter == ',' && !quoted {
            let (name, value) = fields[begin..at].split_once('=').unwrap();
            values.insert(name.to_owned(), value.to_owned());
            begin = at + 1;
        }
    }
    let time = time.parse().unwrap_or_else(|_| panic!("no time: {line}"));
    ((series.to_owned(), time), values)
}

/// Returns the value of a tag of a series.
pub(super) fn tag<'s>(series: &'s str, name: &str) -> &'s str {
    let mut tags = series.split(',').skip(1).filter_map(|tag| tag.split_once('='));
    tags.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}
