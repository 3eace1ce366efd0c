//! Series: which tags, in which order.

use std::cmp::Ordering;
use std::sync::Arc;

/// The tags of a series, in the order of [`tag_order`]; the measurement stands elsewhere.
///
/// Its order is the order of rows in a file: column by column, a missing tag first. It does not depend
/// on which other columns a file has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Series(pub(super) Box<[(Arc<str>, Arc<str>)]>);

impl Series {
    /// Returns the value of a tag; a missing one is empty.
    pub(super) fn tag(&self, name: &str) -> &str {
        self.get(name).map_or("", |value| &**value)
    }

    /// Returns whether it is one of a device.
    pub(super) fn is_of(&self, tenant: &str, device: &str) -> bool {
        self.tag("tenant") == tenant && self.tag("device") == device
    }

    /// Returns the value of a tag where it has one.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (self.0.iter(), other.0.iter());
        loop {
            let (a, b) = match (left.next(), right.next()) {
                (Some(a), Some(b)) => (a, b),
                // The one that has a column more is greater: a missing tag comes first.
                (a, b) => return a.is_some().cmp(&b.is_some()),
            };
            // Mostly both have the same columns, and texts are shared: that is seen without reading them.
            let same_column = Arc::ptr_eq(&a.0, &b.0) || a.0 == b.0;
            let order = if same_column { Ordering::Equal } else { tag_order(&a.0, &b.0) };
            match order {
                Ordering::Equal if Arc::ptr_eq(&a.1, &b.1) || a.1 == b.1 => {}
                Ordering::Equal => return a.1.cmp(&b.1),
                // `a` has a column that `b` lacks.
                Ordering::Less => return Ordering::Greater,
                Ordering::Greater => return Ordering::Less,
            }
        }
    }
}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders tag columns: tenant and device first, since every query names them, then by name.
pub(super) fn tag_order(a: &str, b: &str) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
}

fn rank(name: &str) -> u8 {
    match name {
        "tenant" => 0,
        "device" => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(tags: &[(&str, &str)]) -> Series {
        let mut tags: Vec<(Arc<str>, Arc<str>)> =
            tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        tags.sort_by(|a, b| tag_order(&a.0, &b.0));
        Series(tags.into())
    }

    #[test]
    fn series_are_ordered_column_by_column_with_missing_tags_first() {
        let columns = ["tenant", "device", "a", "z"];
        let mut all = Vec::new();
        for bits in 0_u32..81 {
            let digit = |at: u32| (bits / 3_u32.pow(at)) % 3;
            let values = [0, 1, 2, 3].map(|at| ["", "1", "2"][digit(at) as usize]);
            let tags: Vec<(&str, &str)> =
                columns.into_iter().zip(values).filter(|(_, value)| !value.is_empty()).collect();
            all.push((values, series(&tags)));
        }
        for (row, one) in &all {
            for (other_row, other) in &all {
                assert_eq!(one.cmp(other), row.cmp(other_row), "{row:?} {other_row:?}");
            }
        }
    }
}
