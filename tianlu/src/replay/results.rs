//! What comes out of the pipeline: written where it was asked for, and counted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pipeline::{Account, Entries, EntryKind, OutboxRecord, Pipeline};
use serde::Deserialize;
use telemetry::time::IngestTime;

use super::outputs::Outputs;
use super::summary::{RuleCount, Summary};
use crate::playback::fault::Fault;

/// Writes and counts results.
#[derive(Debug)]
pub(super) struct Results {
    outputs: Outputs,
    flags: Flags,
    rules: BTreeMap<String, RuleCount>,
    span: Option<(IngestTime, IngestTime)>,
}

/// How often each flag stands in the points.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// Of values.
    pub(super) values: BTreeMap<String, u64>,
    /// Of times.
    pub(super) times: BTreeMap<String, u64>,
}

/// The part of an alert line that is counted.
#[derive(Deserialize)]
struct AlertLine<'a> {
    #[serde(borrow)]
    rule: Cow<'a, str>,
    state: &'a str,
    severity: &'a str,
}

impl Results {
    /// Begins.
    pub(super) fn new(outputs: Outputs) -> Self {
        Self { outputs, flags: Flags::default(), rules: BTreeMap::new(), span: None }
    }

    /// Notes the time of a record.
    pub(super) fn note_time(&mut self, at: IngestTime) {
        let (from, to) = self.span.get_or_insert((at, at));
        *from = (*from).min(at);
        *to = (*to).max(at);
    }

    /// Takes the results of one position.
    pub(super) fn take(&mut self, record: &OutboxRecord) -> Result<(), Fault> {
        for entry in Entries::of(record.bytes()).into_iter().flatten() {
            let sink = match entry.kind {
                EntryKind::Point => {
                    self.flags.count(entry.data);
                    &mut self.outputs.points
                }
                EntryKind::DeadReading | EntryKind::DeadUplink | EntryKind::StoreLetter => {
                    &mut self.outputs.dead
                }
                EntryKind::Alert => {
                    count_alert(&mut self.rules, entry.data);
                    &mut self.outputs.alerts
                }
                EntryKind::Duplicate => continue,
            };
            if let Some(sink) = sink {
                sink.line(entry.data)?;
            }
        }
        Ok(())
    }

    /// Hands everything gathered to the system.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        self.outputs.flush()
    }

    /// Returns the counts: what the pipeline's account has more than `before`.
    pub(super) fn summary(self, rows: u64, before: &Account, pipeline: &Pipeline) -> Summary {
        let mut rules = self.rules;
        for alert in pipeline.firing() {
            let rule = rules.entry(alert.rule.to_string()).or_default();
            alert.severity.as_str().clone_into(&mut rule.severity);
            rule.firing += 1;
        }
        Summary::of(rows, (before, pipeline.account()), (self.flags, rules), self.span)
    }
}

fn count_alert(rules: &mut BTreeMap<String, RuleCount>, line: &[u8]) {
    let Ok(alert) = serde_json::from_slice::<AlertLine<'_>>(line) else {
        debug_assert!(false, "an alert line is JSON");
        return;
    };
    if !rules.contains_key(&*alert.rule) {
        rules.insert(alert.rule.clone().into_owned(), RuleCount::default());
    }
    let Some(rule) = rules.get_mut(&*alert.rule) else { return };
    alert.severity.clone_into(&mut rule.severity);
    match alert.state {
        "firing" => rule.raised += 1,
        _ => rule.resolved += 1,
    }
}

impl Flags {
    /// Counts the flags of a point, in one pass over its line.
    fn count(&mut self, line: &[u8]) {
        let mut rest = line.get(fields_at(line)..).unwrap_or_default();
        while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
            let (before, after) = rest.split_at(quote);
            let text = after.get(1..).unwrap_or_default();
            let end = text_end(text);
            let (value, behind) = text.split_at(end);
            if before.ends_with(b"_flag=") {
                // A property cannot be called `time`.
                let is_time = before.ends_with(b" time_flag=") || before.ends_with(b",time_flag=");
                let counts = if is_time { &mut self.times } else { &mut self.values };
                value.split(|byte| *byte == b',').for_each(|code| count_code(counts, code));
            }
            rest = behind.get(1..).unwrap_or_default();
        }
    }
}

/// Returns where the fields begin: a name or tag may hold a quote, and a space only behind a backslash.
fn fields_at(line: &[u8]) -> usize {
    let mut before = b' ';
    let space = line.iter().position(|byte| {
        let is_space = *byte == b' ' && before != b'\\';
        before = *byte;
        is_space
    });
    space.unwrap_or(line.len())
}

/// Returns where a quoted text ends.
fn text_end(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.unwrap_or(text.len())
}

fn count_code(counts: &mut BTreeMap<String, u64>, code: &[u8]) {
    let Ok(code) = std::str::from_utf8(code) else { return };
    match counts.get_mut(code) {
        Some(count) => *count += 1,
        None => drop(counts.insert(code.to_owned(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_counted_and_texts_are_none() {
        let mut flags = Flags::default();
        flags.count(br#"air,device="x\ y a=1,a_flag="late,range",b_flag="missing",note="c_flag=\"late\\",time_flag="past" 5"#);
        flags.count(b"air a=1 5\n");
        flags.count(br#"air time_flag="future",wet_time_flag="type",w=1 5"#);
        let of = |counts: &BTreeMap<String, u64>| {
            counts
                .iter()
                .map(|(code, count)| format!("{code}={count}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of(&flags.values), "late=1 missing=1 range=1 type=1");
        assert_eq!(of(&flags.times), "future=1 past=1");
    }
}
