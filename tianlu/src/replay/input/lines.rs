//! Files of one uplink a line: JSON objects, or line protocol.

use std::collections::VecDeque;
use std::io::{BufRead, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use telemetry::codec::decode;
use telemetry::mapping::{Mapping, TimeSource};
use telemetry::profile::{CodecKind, Profile};
use telemetry::reading::{Element, Reading};
use telemetry::time::EventTime;

use super::super::bundle::ROW_BYTES_MAX;
use super::super::plan::Plan;
use super::Found;
use super::file::{Kind, Opened};
use super::names::{Name, Names};
use super::points;
use crate::playback::fault::Fault;

/// The lines of a file; each may hold several readings.
pub(super) struct Lines<'a> {
    reader: Box<dyn BufRead>,
    form: Kind,
    profile: Profile,
    mapping: &'a Mapping,
    names: Names,
    /// Whether names or times stand in entries that the codec does not read.
    reads_entries: bool,
    line: u64,
    rows: u64,
    buffer: Vec<u8>,
    ready: VecDeque<Found>,
}

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("line", &self.line).finish_non_exhaustive()
    }
}

impl<'a> Lines<'a> {
    /// Begins to read.
    pub(super) fn open(plan: &'a Plan, path: &Path, opened: Opened) -> Result<Self, Fault> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(profile) = plan.profile() else { return Err(Fault::Wrong(Vec::new())) };
        let profile = match opened.kind {
            Kind::Points => points::profile_of_points(profile)?,
            Kind::Table | Kind::Json => {
                let mut profile = profile.clone();
                profile.codec = CodecKind::Json;
                profile
            }
        };
        let names = Names::of(&plan.mapping, name);
        let is_key = |name: &Option<Name>| matches!(name, Some(Name::Key(_)));
        let reads_entries = is_key(&names.site)
            || is_key(&names.device)
            || profile.time.path.is_none()
            || plan.mapping.received_at.is_some();
        Ok(Self {
            reader: opened.reader,
            form: opened.kind,
            profile,
            mapping: &plan.mapping,
            names,
            reads_entries,
            line: 0,
            rows: 0,
            buffer: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    /// Returns the next reading or bad line.
    pub(super) fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(found);
            }
            let is_whole = self.read_line()?;
            let mut buffer = std::mem::take(&mut self.buffer);
            let line = trimmed(&buffer, self.line == 1);
            if !(line.is_empty() || self.form == Kind::Points && line.starts_with(b"#")) {
                self.rows += 1;
                match (is_whole, self.form) {
                    (false, _) => {
                        let detail = format!("the line is longer than {ROW_BYTES_MAX} bytes");
                        self.ready.push_back(self.names.bad(line.into(), &detail));
                    }
                    (true, Kind::Points) => {
                        self.ready.push_back(points::found(&self.profile, &self.names, line));
                    }
                    (true, Kind::Table | Kind::Json) => self.take_json(line),
                }
            }
            buffer.clear();
            self.buffer = buffer;
        }
    }

    /// Returns the line read last.
    pub(super) const fn line(&self) -> u64 {
        self.line
    }

    /// Returns how many lines with something in them were read.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads a line into the buffer; `false`: only its beginning, since it is too long.
    fn read_line(&mut self) -> Option<bool> {
        // An error is noted where the file is read, see `Failure`; here the file just ends.
        let most = ROW_BYTES_MAX + 1;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer).ok()?;
        if read == 0 {
            return None;
        }
        self.line += 1;
        if u64::try_from(read) != Ok(most) || self.buffer.ends_with(b"\n") {
            return Some(true);
        }
        self.reader.skip_until(b'\n').ok()?;
        // What a letter keeps of a payload that is too large.
        self.buffer.truncate(pipeline::letter::PAYLOAD_KEPT_MAX);
        Some(false)
    }

    fn take_json(&mut self, line: &[u8]) {
        let raw: Arc<[u8]> = line.into();
        let decoded = match decode(&self.profile, line) {
            Ok(decoded) => decoded,
            Err(error) => return self.ready.push_back(self.names.bad(raw, &error.to_string())),
        };
        let entries: Value = if self.reads_entries {
            serde_json::from_slice(line).unwrap_or_default()
        } else {
            Value::Null
        };
        let entry = |key: &str| match entries.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let site = Name::read(self.names.site.as_ref(), entry);
        let named = Name::read(self.names.device.as_ref(), entry);
        let received_at = self.mapping.received_at.as_ref();
        let received_at = received_at.and_then(|source| time(source, self.rows, entry));
        for element in decoded.elements {
            let mut reading = match element {
                Element::Reading(reading) => reading,
                Element::Bad(detail) => {
                    self.ready.push_back(self.names.bad(Arc::clone(&raw), &detail));
                    continue;
                }
            };
            let Some(device) = device_of(&reading).or_else(|| named.clone()) else {
                let detail = "the line names no device";
                self.ready.push_back(self.names.bad(Arc::clone(&raw), detail));
                continue;
            };
            if self.profile.time.path.is_none() {
                reading.sampled_at = time(&self.mapping.time, self.rows, entry);
            }
            self.ready.push_back(Found {
                received_at: received_at.map(EventTime::as_nanos),
                tenant: Arc::clone(&self.names.tenant),
                site: site.clone(),
                device,
                raw: Arc::clone(&raw),
                element: Element::Reading(reading),
            });
        }
    }
}

fn device_of(reading: &Reading) -> Option<Arc<str>> {
    reading.device.as_deref().map(Arc::from)
}

/// Returns a time that the mapping names: of entries of the object instead of columns, or by counting lines. One that
/// cannot be held is none.
fn time(
    source: &TimeSource,
    row: u64,
    entry: impl Fn(&str) -> Option<String>,
) -> Option<EventTime> {
    named_time(source, row, entry).filter(EventTime::is_held)
}

fn named_time(
    source: &TimeSource,
    row: u64,
    entry: impl Fn(&str) -> Option<String>,
) -> Option<EventTime> {
    match source {
        TimeSource::Columns(columns, format) => {
            let cells: Option<Vec<String>> = columns.iter().map(|column| entry(column)).collect();
            format.of_text(&cells?.join(" "))
        }
        TimeSource::Steps { start, step, column } => {
            let counted = match column {
                Some(column) => entry(column)?.trim().parse().ok()?,
                None => i64::try_from(row).ok()?.saturating_sub(1),
            };
            let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX);
            let at = start.as_nanos().saturating_add(step.saturating_mul(counted));
            Some(EventTime::from_nanos(at))
        }
    }
}

fn trimmed(line: &[u8], is_first: bool) -> &[u8] {
    let line = if is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
    line.trim_ascii()
}
