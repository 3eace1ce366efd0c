//! Finds the points of a batch that the store does not take, with few requests.
//!
//! A part that was refused is settled where the answer settles it (one line; `dropped` says all; older
//! than the retention's bound), and is split otherwise: by what the store's words point at, else in
//! halves of neighbouring series, since bad points come from one measurement or device. The words are a
//! hint only: each part gets its own answer, so that a wrong hint costs requests, never a point.
//!
//! `dropped` below the length of the part says nothing: InfluxDB writes its shards side by side and
//! answers with the first error of one of them.

use std::sync::Arc;

use bytes::Bytes;
use telemetry::time::EventTime;

use crate::answer::{dropped, reason};
use crate::retention::{line_time, named_lower_bound};
use crate::{Batch, DETAIL_MAX, RejectReason, Rejected, cut};

/// The answer to one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of it is stored.
    Taken,
    /// 413.
    TooLarge,
    /// 400 or 422, with the store's words. The good points may be stored already, or not: writing them
    /// again does no harm.
    Refused(Arc<str>),
}

/// Lines that belong together, and what was said about the part they come from.
struct Part {
    lines: Vec<usize>,
    words: Arc<str>,
}

/// One search. Order of calls: `handle_first`, then `poll_part` and `handle_answer` in turn until
/// `poll_part` returns `None`, then `finish`.
pub(crate) struct Isolation<'a> {
    batch: &'a Batch,
    /// Points before this are outside retention.
    oldest: Option<EventTime>,
    requests_left: usize,
    asked: Option<Part>,
    pending: Vec<Part>,
    rejected: Vec<(usize, Rejected)>,
}

impl<'a> Isolation<'a> {
    /// Begins a search with at most `requests_max` requests; `oldest` is the bound of the retention
    /// where it is known.
    pub(crate) const fn new(
        batch: &'a Batch,
        oldest: Option<EventTime>,
        requests_max: usize,
    ) -> Self {
        Self {
            batch,
            oldest,
            requests_left: requests_max,
            asked: None,
            pending: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// Takes the answer to the whole batch.
    pub(crate) fn handle_first(&mut self, verdict: &Verdict) {
        let mut lines: Vec<usize> = (0..self.batch.len()).collect();
        lines.sort_by_key(|at| series(self.batch.line(*at)));
        self.settle(Part { lines, words: Arc::from("") }, verdict);
    }

    /// Returns the body of the next part to write. `None`: every line is settled.
    pub(crate) fn poll_part(&mut self) -> Option<Bytes> {
        debug_assert!(self.asked.is_none(), "the last part has no answer yet");
        let part = self.pending.pop()?;
        let Some(left) = self.requests_left.checked_sub(1) else {
            self.give_up(part);
            return None;
        };
        self.requests_left = left;
        let body = self.batch.pick(part.lines.iter().copied());
        self.asked = Some(part);
        Some(body)
    }

    /// Takes the answer to the part that `poll_part` returned last.
    pub(crate) fn handle_answer(&mut self, verdict: &Verdict) {
        if let Some(part) = self.asked.take() {
            self.settle(part, verdict);
        }
    }

    /// Returns the points that are not taken, in the order of the batch.
    pub(crate) fn finish(mut self) -> Vec<Rejected> {
        debug_assert!(self.pending.is_empty() && self.asked.is_none(), "a line is not settled");
        self.rejected.sort_by_key(|(at, _)| *at);
        self.rejected.into_iter().map(|(_, rejected)| rejected).collect()
    }

    fn settle(&mut self, part: Part, verdict: &Verdict) {
        match verdict {
            Verdict::Taken => {}
            Verdict::TooLarge => match part.lines.as_slice() {
                [only] => {
                    let detail = format!(
                        "413: a line of {} bytes is too large",
                        self.batch.line(*only).len()
                    );
                    self.reject(*only, RejectReason::StoreRejected, &detail);
                }
                _ => self.halve(part.lines, &part.words),
            },
            Verdict::Refused(words) => self.settle_refused(part.lines, words),
        }
    }

    fn settle_refused(&mut self, lines: Vec<usize>, words: &Arc<str>) {
        self.oldest = self.oldest.max(named_lower_bound(words));
        let (old, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|at| self.is_old(*at));
        for at in &old {
            let bound = self.oldest.unwrap_or_default();
            self.reject(
                *at,
                RejectReason::OutsideRetention,
                &format!("older than the bucket keeps ({bound})"),
            );
        }
        if lines.is_empty() {
            return;
        }
        if !old.is_empty() {
            self.pending.push(Part { lines, words: Arc::clone(words) });
        } else if lines.len() == 1 || dropped(words).is_some_and(|count| count >= lines.len()) {
            for at in lines {
                self.reject(at, reason(words), words);
            }
        } else {
            self.split(lines, words);
        }
    }

    fn split(&mut self, lines: Vec<usize>, words: &Arc<str>) {
        let hint = Hint::of(words);
        let (suspects, others): (Vec<_>, Vec<_>) =
            lines.iter().copied().partition(|at| hint.points_at(self.batch.line(*at)));
        if suspects.is_empty() || others.is_empty() {
            self.halve(lines, words);
        } else {
            self.pending.push(Part { lines: suspects, words: Arc::clone(words) });
            self.pending.push(Part { lines: others, words: Arc::clone(words) });
        }
    }

    fn halve(&mut self, mut lines: Vec<usize>, words: &Arc<str>) {
        debug_assert!(lines.len() > 1, "one line is settled by its answer");
        let tail = lines.split_off(lines.len() / 2);
        self.pending.push(Part { lines: tail, words: Arc::clone(words) });
        self.pending.push(Part { lines, words: Arc::clone(words) });
    }

    /// Out of requests: what is left is set aside, and can be redriven, rather than holding the others up.
    fn give_up(&mut self, part: Part) {
        for part in std::iter::once(part).chain(std::mem::take(&mut self.pending)) {
            let detail = format!("not told apart from its neighbours: {}", part.words);
            for at in part.lines {
                self.reject(at, RejectReason::StoreRejected, &detail);
            }
        }
    }

    fn is_old(&self, at: usize) -> bool {
        self.oldest
            .is_some_and(|oldest| line_time(self.batch.line(at)).is_some_and(|time| time < oldest))
    }

    fn reject(&mut self, at: usize, reason: RejectReason, detail: &str) {
        let Some(key) = self.batch.key(at) else { return };
        self.rejected.push((at, Rejected { key, reason, detail: cut(detail, DETAIL_MAX).into() }));
    }
}

/// Returns measurement and tags of a line: all before the first space that is not escaped.
fn series(line: &[u8]) -> &[u8] {
    let mut escaped = false;
    let end = line.iter().position(|byte| {
        let found = *byte == b' ' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        found
    });
    line.get(..end.unwrap_or(line.len())).unwrap_or_default()
}

/// What the store's words point at.
enum Hint<'w> {
    /// `input field "x" on measurement "m" is type string`.
    Field {
        field: String,
        kind: &'w str,
    },
    /// `unable to parse '<the line>': …`, one a line.
    Lines(&'w str),
    Nothing,
}

impl<'w> Hint<'w> {
    fn of(words: &'w str) -> Self {
        let conflict = || {
            let (_, tail) = words.split_once("input field \"")?;
            let (field, tail) = tail.split_once("\" on measurement ")?;
            let (_, tail) = tail.split_once(" is type ")?;
            let kind = tail.split(',').next()?;
            let field = field.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
            Some(Self::Field { field: format!("{field}="), kind })
        };
        if words.contains("unable to parse '") {
            Self::Lines(words)
        } else {
            conflict().unwrap_or(Self::Nothing)
        }
    }

    fn points_at(&self, line: &[u8]) -> bool {
        let Ok(line) = std::str::from_utf8(line) else { return false };
        match self {
            Self::Nothing => false,
            Self::Lines(words) => words.contains(line),
            Self::Field { field, kind } => {
                let value = |separator: char| {
                    line.split_once(&format!("{separator}{field}")).map(|(_, tail)| tail)
                };
                value(',').or_else(|| value(' ')).is_some_and(|tail| kind_of(tail) == *kind)
            }
        }
    }
}

/// Returns InfluxDB's name for the type of the field value that `tail` begins with.
fn kind_of(tail: &str) -> &'static str {
    let value = tail.split([',', ' ']).next().unwrap_or_default();
    match (value.chars().next(), value.chars().last()) {
        (Some('"'), _) => "string",
        (Some('t' | 'T' | 'f' | 'F'), _) => "boolean",
        (_, Some('i')) => "integer",
        (_, Some('u')) => "unsigned",
        _ => "float",
    }
}

#[cfg(test)]
#[path = "isolate_tests.rs"]
mod tests;
