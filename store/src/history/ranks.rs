//! The order of series, kept from flush to flush: rows are sorted by whole numbers, and only names that are
//! new are compared as text. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::names::Known;
use super::series::Series;

/// Where each series stands among all.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    /// Whose numbers they are: names are forgotten now and then.
    generation: u64,
    /// Measurement of each series, by its number.
    measurements: Vec<u32>,
    series: Vec<Arc<Series>>,
    /// Rank of each series, by its number.
    ranks: Vec<u32>,
    /// Numbers in order of rank.
    order: Vec<u32>,
}

impl Ranks {
    /// Returns how many series of this generation are known; others are forgotten.
    pub(super) fn known(&mut self, generation: u64) -> usize {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        self.series.len()
    }

    /// Takes the series behind those that are known; [`Ranks::sort`] gives them ranks.
    pub(super) fn learn(&mut self, new: &[Known]) {
        self.measurements.extend(new.iter().map(|known| known.measurement));
        self.series.extend(new.iter().map(|known| Arc::clone(&known.series)));
    }

    /// Gives a rank to each series.
    pub(super) fn sort(&mut self) {
        let new = sorted(&self.series, self.order.len());
        if new.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.order);
        self.order.reserve(self.series.len());
        let mut rest = old.as_slice();
        for id in new {
            let is_before = |known: &u32| self.of(*known).cmp(&self.of(id)).is_lt();
            // Near by mostly: what is new is sorted, too.
            let mut near = 1;
            while rest.get(near - 1).is_some_and(is_before) {
                near *= 2;
            }
            let near = rest.get(..near).unwrap_or(rest);
            let (before, behind) = rest.split_at(near.partition_point(is_before));
            self.order.extend_from_slice(before);
            self.order.push(id);
            rest = behind;
        }
        self.order.extend_from_slice(rest);
        self.ranks.resize(self.series.len(), 0);
        for (rank, id) in (0..).zip(&self.order) {
            if let Some(place) = self.ranks.get_mut(*id as usize) {
                *place = rank;
            }
        }
    }

    fn of(&self, id: u32) -> Option<&Arc<Series>> {
        self.series.get(id as usize)
    }

    /// Returns measurement and rank of a series.
    pub(super) fn get(&self, id: u32) -> (u32, u32) {
        let of = |list: &[u32]| list.get(id as usize).copied().unwrap_or(u32::MAX);
        (of(&self.measurements), of(&self.ranks))
    }

    /// Returns the series of a rank.
    pub(super) fn series(&self, rank: u32) -> Option<&Arc<Series>> {
        self.of(*self.order.get(rank as usize)?)
    }
}

/// Returns the numbers of the series from `first` on, in order.
fn sorted(series: &[Arc<Series>], first: usize) -> Vec<u32> {
    let new = series.get(first..).unwrap_or_default();
    let tenants: BTreeSet<&str> =
        new.iter().filter_map(|series| series.get("tenant")).map(|text| &**text).collect();
    let tenants: HashMap<&str, u32> = tenants.into_iter().zip(1..).collect();
    // Tenant and device come first, and most devices differ in their first letters.
    let key = |series: &Series| {
        let tenant = series.get("tenant").and_then(|tenant| tenants.get(&**tenant));
        (tenant.copied().unwrap_or(0), series.get("device").map(|device| letters(device)))
    };
    let first = u32::try_from(first).unwrap_or(u32::MAX);
    let numbered = (first..).zip(new);
    let mut keyed: Vec<_> = numbered.map(|(id, series)| (key(series), id)).collect();
    let of = |id: u32| series.get(id as usize);
    keyed.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| of(a.1).cmp(&of(b.1))).then_with(|| a.1.cmp(&b.1))
    });
    keyed.into_iter().map(|(_, id)| id).collect()
}

/// Returns the first letters of a text as numbers of the same order.
fn letters(text: &str) -> [u64; 3] {
    let mut bytes = [0; 24];
    for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    let (words, _) = bytes.as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_be_bytes(*word));
    [word(0), word(1), word(2)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::names::Names;
    use telemetry::line_protocol::parse_line;

    #[test]
    fn ranks_follow_the_order_of_series_as_they_come() {
        let mut names = Names::default();
        let mut ranks = Ranks::default();
        for round in 0..4_u32 {
            for n in 0..60 {
                let n = (n * 37 + round * 13) % 97;
                let device = ["d", "soil-of-the-northern-greenhouse-", "土"][n as usize % 3];
                let tags = match n % 5 {
                    0 => String::new(),
                    1 => format!(",device={device}{n}"),
                    2 => format!(",tenant=t{},device={device}", n % 4),
                    _ => format!(",tenant=t{},device={device}{n},site=s{}", n % 2, n % 7),
                };
                let line = format!("m{}{tags} f=1 5", n % 2);
                names.intern("", &parse_line(&line).unwrap()).unwrap();
            }
            let known = ranks.known(0);
            ranks.learn(names.from(known));
            ranks.sort();
            let all = names.from(0);
            assert_eq!(ranks.order.len(), all.len());
            let ordered: Vec<&Arc<Series>> = (0..).map_while(|rank| ranks.series(rank)).collect();
            assert!(ordered.is_sorted() && ordered.len() == all.len());
            for (id, known) in (0..).zip(all) {
                let (measurement, rank) = ranks.get(id);
                assert_eq!(measurement, known.measurement);
                assert!(Arc::ptr_eq(ranks.series(rank).unwrap(), &known.series));
            }
        }
        assert_eq!(ranks.known(1), 0, "of another generation");
    }
}
