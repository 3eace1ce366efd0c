//! Names of series: each has a number as long as it is remembered. Pure.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use telemetry::line_protocol::Line;

use super::name::Span;
use super::rows::Rows;
use super::series::{Series, tag_order};

/// What a series costs beside the text of its line, about.
const SERIES_BYTES: usize = 256;
/// Most texts that series share.
const SHARED_MAX: usize = 1 << 16;
/// No series.
const NONE: u32 = u32::MAX;

/// What is known of a series.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) measurement: u32,
    /// The series before it whose tags, or tenant and device, have the same hash.
    same_tags: u32,
    same_device: u32,
    /// The day and month of its last point that was taken: its tags are among that month's columns.
    pub(super) last: Option<(i32, Span)>,
    /// Number of its last row, in memory or not.
    pub(super) last_row: u64,
    pub(super) series: Arc<Series>,
}

/// The names; numbers count until they are forgotten, all at once.
#[derive(Debug, Default)]
pub(super) struct Names {
    measurements: Vec<Arc<str>>,
    /// The same series may be written in more ways than one.
    by_prefix: HashMap<Box<str>, u32>,
    by_tags: HashMap<u64, u32>,
    by_device: HashMap<u64, u32>,
    known: Vec<Known>,
    /// Names of tags, and values that many series have.
    shared: HashSet<Arc<str>>,
    hasher: RandomState,
    bytes: usize,
}

impl Names {
    /// Returns the memory that they take, about.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn by_prefix(&self, prefix: &str) -> Option<u32> {
        self.by_prefix.get(prefix).copied()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Known> {
        self.known.get_mut(id as usize)
    }

    /// Returns the series from a number on, in order of their numbers.
    pub(super) fn from(&self, first: usize) -> &[Known] {
        self.known.get(first..).unwrap_or_default()
    }

    pub(super) fn measurement(&self, number: u32) -> Option<&Arc<str>> {
        self.measurements.get(number as usize)
    }

    pub(super) fn measurements(&self) -> &[Arc<str>] {
        &self.measurements
    }

    /// Returns the number of a measurement, a new one where it has none.
    pub(super) fn number(&mut self, measurement: &str) -> u32 {
        let at = self.measurements.iter().position(|known| **known == *measurement);
        let at = at.unwrap_or_else(|| {
            self.measurements.push(measurement.into());
            self.measurements.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Returns the number of the series of a line that begins with `prefix`; `None`: there are too many.
    pub(super) fn intern(&mut self, prefix: &str, line: &Line<'_>) -> Option<u32> {
        let measurement = self.number(&line.measurement);
        let mut tags: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(line.tags.len());
        for (name, value) in &line.tags {
            let value = if name == "device" { (&**value).into() } else { self.share(value) };
            tags.push((self.share(name), value));
        }
        tags.sort_by(|a, b| tag_order(&a.0, &b.0));
        let series = Series(tags.into());
        let hash = self.hasher.hash_one((measurement, &series));
        let id = match self.find(hash, measurement, &series) {
            Some(id) => id,
            None => self.add(hash, measurement, series)?,
        };
        if !prefix.is_empty() {
            self.by_prefix.insert(prefix.into(), id);
            self.bytes += SERIES_BYTES + 2 * prefix.len();
        }
        Some(id)
    }

    fn find(&self, hash: u64, measurement: u32, series: &Series) -> Option<u32> {
        let mut at = *self.by_tags.get(&hash)?;
        while let Some(known) = self.known.get(at as usize) {
            if known.measurement == measurement && *known.series == *series {
                return Some(at);
            }
            at = known.same_tags;
        }
        None
    }

    fn add(&mut self, hash: u64, measurement: u32, series: Series) -> Option<u32> {
        let id = u32::try_from(self.known.len()).ok().filter(|id| *id != NONE)?;
        let device = self.device_hash(series.tag("tenant"), series.tag("device"));
        self.known.push(Known {
            measurement,
            same_tags: self.by_tags.insert(hash, id).unwrap_or(NONE),
            same_device: self.by_device.insert(device, id).unwrap_or(NONE),
            last: None,
            last_row: Rows::NONE,
            series: Arc::new(series),
        });
        Some(id)
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.shared.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        if self.shared.len() < SHARED_MAX {
            self.shared.insert(Arc::clone(&new));
        }
        new
    }

    fn device_hash(&self, tenant: &str, device: &str) -> u64 {
        self.hasher.hash_one((tenant, device))
    }

    /// Returns the series of one device.
    pub(super) fn device(&self, tenant: &str, device: &str) -> Vec<&Known> {
        let mut found = Vec::new();
        let mut at = self.by_device.get(&self.device_hash(tenant, device)).copied().unwrap_or(NONE);
        while let Some(known) = self.known.get(at as usize) {
            if known.series.is_of(tenant, device) {
                found.push(known);
            }
            at = known.same_device;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::line_protocol::parse_line;

    #[test]
    fn a_series_has_one_number_however_it_is_written() {
        let mut names = Names::default();
        let mut intern = |prefix: &str| {
            let text = format!("{prefix} f=1 5");
            names.intern(prefix, &parse_line(&text).unwrap()).unwrap()
        };
        let first = intern("m,device=d,tenant=t");
        assert_eq!(intern("m,tenant=t,device=d"), first);
        let others =
            [intern("n,device=d,tenant=t"), intern("m,device=d,tenant=t,a=1"), intern("m")];
        assert_eq!([first, others[0], others[1], others[2]], [0, 1, 2, 3]);
        assert_eq!(names.by_prefix("m,tenant=t,device=d"), Some(first));
        assert_eq!(names.device("t", "d").len(), 3);
        assert_eq!(names.device("", "").len(), 1);
        assert!(names.device("t", "e").is_empty());
        assert!(names.bytes() > 0);
    }
}
