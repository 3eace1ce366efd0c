//! Which files to merge next. Pure.
//!
//! - **While a day grows**, the newest files are merged once eight of them span about the same number of
//!   flushes: its files, and how often a row is rewritten, grow with the logarithm of its flushes, whatever
//!   the sizes.
//! - **A day that is over** and quiet becomes one file.
//! - **A month that is over** and quiet becomes one file where it is small: the overhead of a file would
//!   be more than its data. It is deleted as a whole, so its first day is kept up to a month longer.
//!
//! Only files that follow each other in age are merged, so the range of flushes in a name is enough to
//! tell what is newer and what a merged file stands for.

use std::collections::BTreeMap;
use std::time::Duration;

use telemetry::time::EventTime;

use super::name::{FileName, Span};

/// Files of one level that are merged at once. A level spans eight times the flushes of the one below, so
/// eight files of one level make a file of a higher one.
const FAN_IN: usize = 8;
/// Most files merged at once: each is open and holds a batch.
const FILES_MAX: usize = 64;
/// How long after its end, and after the last flush into it, a day is whole.
const DAY_QUIET: Duration = Duration::from_hours(1);
/// The same for a month.
const MONTH_QUIET: Duration = Duration::from_hours(24);
/// A month of more bytes keeps its days apart.
const MONTH_BYTES_MAX: u64 = 64 << 20;

/// What the policy knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: FileName,
    pub(super) bytes: u64,
    pub(super) flushed_at: EventTime,
}

/// A merge to do: files by their place among the candidates, and what the result covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) files: Vec<usize>,
    pub(super) span: Span,
}

/// Returns the merges that are due among the files of one measurement, which stand with the older ones
/// first; days before months.
pub(super) fn due_merges(files: &[Candidate], now: EventTime) -> Vec<Merge> {
    let mut days: BTreeMap<Span, Vec<usize>> = BTreeMap::new();
    let mut months: BTreeMap<Span, Vec<usize>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        if matches!(file.name.span, Span::Day(_)) {
            days.entry(file.name.span).or_default().push(at);
        }
        months.entry(file.name.span.month()).or_default().push(at);
    }
    let days = days.into_iter().filter_map(|(span, members)| {
        day_merge(files, &members, span, now).map(|files| Merge { files, span })
    });
    let mut due: Vec<Merge> = days.collect();
    for (span, members) in months {
        let is_small = members.len() > 1
            && members.len() <= FILES_MAX
            && bytes(files, &members) <= MONTH_BYTES_MAX;
        if is_small && is_quiet(files, &members, span, (now, MONTH_QUIET)) {
            due.push(Merge { files: members, span });
        }
    }
    due
}

fn day_merge(
    files: &[Candidate],
    members: &[usize],
    span: Span,
    now: EventTime,
) -> Option<Vec<usize>> {
    if members.len() > 1 && is_quiet(files, members, span, (now, DAY_QUIET)) {
        return Some(members.iter().take(FILES_MAX).copied().collect());
    }
    let level = |at: &usize| files.get(*at).map_or(0, |file| level(&file.name));
    let highest = members.iter().map(level).max()?;
    let due = (0..=highest).find_map(|wanted| {
        let newest: Vec<u32> =
            members.iter().rev().map(level).take_while(|level| *level <= wanted).collect();
        let alike = newest.iter().filter(|level| **level == wanted).count();
        (alike >= FAN_IN).then_some(newest.len())
    });
    let due = due.or_else(|| (members.len() >= FILES_MAX).then_some(FILES_MAX))?;
    Some(newest_of(members, due.min(FILES_MAX)))
}

/// Returns how many times the flushes of a file can be divided by [`FAN_IN`].
const fn level(name: &FileName) -> u32 {
    let flushes = name.last.saturating_sub(name.first).saturating_add(1);
    flushes.ilog2() / FAN_IN.ilog2()
}

fn newest_of(members: &[usize], count: usize) -> Vec<usize> {
    members.iter().skip(members.len().saturating_sub(count)).copied().collect()
}

fn is_quiet(
    files: &[Candidate],
    members: &[usize],
    span: Span,
    (now, quiet): (EventTime, Duration),
) -> bool {
    let before = now.minus(quiet);
    let of = |at: &usize| files.get(*at);
    span.end() <= before.as_nanos()
        && members.iter().filter_map(of).all(|file| file.flushed_at <= before)
}

fn bytes(files: &[Candidate], members: &[usize]) -> u64 {
    members.iter().filter_map(|at| files.get(*at)).map(|file| file.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::time::parse_rfc3339;

    fn at(text: &str) -> EventTime {
        parse_rfc3339(text).unwrap()
    }

    fn day(text: &str) -> Span {
        Span::Day(Span::day_of(at(&format!("{text}T00:00:00Z")).as_nanos()))
    }

    fn file(span: Span, (first, last): (u64, u64), bytes: u64, flushed_at: EventTime) -> Candidate {
        let name = FileName { span, first, last, tail_bytes: 0, tail_crc: 0 };
        Candidate { name, bytes, flushed_at }
    }

    /// Merges until nothing is due.
    fn settle(files: &mut Vec<Candidate>, now: EventTime, rewritten: &mut u64) {
        while let Some(merge) = due_merges(files, now).into_iter().next() {
            let members: Vec<Candidate> = merge.files.iter().map(|at| files[*at]).collect();
            let first = members.iter().map(|file| file.name.first).min().unwrap();
            let last = members.iter().map(|file| file.name.last).max().unwrap();
            let bytes = members.iter().map(|file| file.bytes).sum();
            *rewritten += bytes;
            let flushed_at = members.iter().map(|file| file.flushed_at).max().unwrap();
            files.retain(|file| !members.contains(file));
            files.push(file(merge.span, (first, last), bytes, flushed_at));
            files.sort_by_key(|file| (file.name.last, file.name.first, file.name));
        }
    }

    #[test]
    fn a_day_of_flushes_stays_few_files_and_its_rows_are_rewritten_a_few_times() {
        for sizes in [&[100][..], &[1, 100], &[1, 10, 100, 1_000], &[500, 3, 3, 3, 3]] {
            let (mut files, mut rewritten, mut total, mut most) = (Vec::new(), 0, 0, 0);
            let start = at("2026-11-25T00:00:00Z");
            for flush in 1..=8_640_u64 {
                let now = start.plus(Duration::from_secs(10 * flush - 1));
                let bytes = sizes[usize::try_from(flush).unwrap() % sizes.len()];
                files.push(file(day("2026-11-25"), (flush, flush), bytes, now));
                total += bytes;
                settle(&mut files, now, &mut rewritten);
                most = most.max(files.len());
            }
            assert!(most <= 5 * FAN_IN, "{most} files with {sizes:?}");
            assert!(rewritten <= 5 * total, "{rewritten} of {total} with {sizes:?}");
            settle(&mut files, at("2026-11-26T00:30:00Z"), &mut rewritten);
            assert!(files.len() > 1, "half an hour after its end the day may still grow");
            settle(&mut files, at("2026-11-26T01:00:00Z"), &mut rewritten);
            assert_eq!(files.len(), 1);
        }
    }

    #[test]
    fn a_small_month_becomes_one_file_and_a_large_one_stays_days() {
        let quiet = EventTime::from_nanos(i64::MIN);
        let days = ["2026-10-30", "2026-10-31", "2026-11-01"];
        for (bytes, left) in [(1_000, 2), (MONTH_BYTES_MAX / 2 + 1, 3)] {
            let numbered = (1_u64..).zip(days);
            let mut files: Vec<Candidate> =
                numbered.map(|(n, text)| file(day(text), (n, n), bytes, quiet)).collect();
            settle(&mut files, at("2026-11-01T23:59:59Z"), &mut 0);
            assert_eq!(files.len(), 3, "October is over for less than a day");
            settle(&mut files, at("2026-11-02T00:00:00Z"), &mut 0);
            assert_eq!(files.len(), left);
            let late = at("2026-11-02T00:00:00Z");
            files.push(file(day("2026-10-30"), (9, 9), bytes, late));
            settle(&mut files, at("2026-11-02T00:30:00Z"), &mut 0);
            assert_eq!(files.len(), left + 1, "late data waits until it is quiet");
            settle(&mut files, at("2026-11-03T00:00:00Z"), &mut 0);
            assert_eq!(files.len(), left);
        }
    }
}
