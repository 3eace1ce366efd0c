//! Events as bytes.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::Write as _;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use telemetry::line_protocol::{FieldValue, Line, parse_line};
use telemetry::time::{EventTime, IngestTime};

/// Suffix of the field that holds a property's flags.
const FLAG: &str = "_flag";
const TIME_FLAG: &str = "time_flag";
const SAMPLED_AT_RAW: &str = "sampled_at_raw";

/// Place of an entry in the outbox: what `id:` says and `Last-Event-ID` gives back. The index `u32::MAX`
/// stands after every entry of its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventId {
    /// Position of the record.
    pub(super) position: u64,
    /// Number of the entry in it, from 0.
    pub(super) index: u32,
}

impl EventId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (position, index) = text.trim().split_once('.')?;
        Some(Self { position: position.parse().ok()?, index: index.parse().ok()? })
    }
}

impl Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.index)
    }
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GapReason {
    /// What came next is not kept any more; the feed goes on with what comes from now on.
    Cut,
    /// `Last-Event-ID` is none that was given out here; the feed goes on with what comes from now on.
    UnknownId,
    /// There were more readings than a client gets.
    Rate,
    /// A part of the outbox is unreadable.
    Damaged,
}

/// Tells a client that something is missing before the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Gap {
    /// Why.
    pub(super) reason: GapReason,
    /// How many readings that it would have got; `None`: not known.
    pub(super) missed: Option<u64>,
}

/// Appends a gap; what is missing stands up to `id`.
pub(super) fn write_gap(out: &mut Vec<u8>, id: EventId, gap: Gap) {
    write_head(out, "gap", id);
    write_json(out, &gap);
    end(out);
}

/// Appends an alert, given as its line.
pub(super) fn write_alert(out: &mut Vec<u8>, id: EventId, line: &[u8]) {
    write_head(out, "alert", id);
    out.extend_from_slice(line);
    end(out);
}

/// Appends a reading, given as the line of its point. `false`: it is not one, and nothing is appended.
pub(super) fn write_reading(
    out: &mut Vec<u8>,
    id: EventId,
    received_at: IngestTime,
    line: &[u8],
) -> bool {
    let Some(point) = std::str::from_utf8(line).ok().and_then(|text| parse_line(text).ok()) else {
        debug_assert!(false, "a point of the outbox is a line");
        return false;
    };
    write_head(out, "reading", id);
    write_json(out, &Reading { point: &point, received_at });
    end(out);
    true
}

/// Appends what keeps a quiet connection alive. The id alone makes no event, and yet moves the place where
/// the client would go on.
pub(super) fn write_heartbeat(out: &mut Vec<u8>, id: Option<EventId>) {
    out.extend_from_slice(b":\n");
    if let Some(id) = id {
        write_text(out, format_args!("id: {id}\n"));
    }
    out.push(b'\n');
}

fn write_head(out: &mut Vec<u8>, event: &str, id: EventId) {
    write_text(out, format_args!("event: {event}\nid: {id}\ndata: "));
}

fn write_text(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a vector takes any bytes");
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "an event is always writable as JSON: {written:?}");
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}

/// A point as the live feed shows it.
struct Reading<'a> {
    point: &'a Line<'a>,
    received_at: IngestTime,
}

impl Serialize for Reading<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let point = self.point;
        let tag = |name| point.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let at = EventTime::from_nanos(point.time.ok_or_else(|| S::Error::custom("no time"))?);
        let mut map = serializer.serialize_map(None)?;
        for name in ["tenant", "site", "device"] {
            map.serialize_entry(name, &tag(name))?;
        }
        map.serialize_entry("measurement", &point.measurement)?;
        map.serialize_entry("sampled_at", &Shown(at))?;
        map.serialize_entry("received_at", &Shown(self.received_at))?;
        map.serialize_entry("values", &Values(point))?;
        map.serialize_entry("flags", &Flags(point))?;
        map.serialize_entry(TIME_FLAG, &text_field(point, TIME_FLAG))?;
        map.serialize_entry(SAMPLED_AT_RAW, &raw_time(point).map(Shown))?;
        map.serialize_entry("tags", &Tags(point))?;
        map.end()
    }
}

fn text_field<'a>(point: &'a Line<'_>, name: &str) -> Option<&'a str> {
    point.fields.iter().find(|(known, _)| known == name).and_then(|(_, value)| as_text(value))
}

fn as_text<'a>(value: &'a FieldValue<'_>) -> Option<&'a str> {
    if let FieldValue::Text(text) = value { Some(text) } else { None }
}

fn raw_time(point: &Line<'_>) -> Option<EventTime> {
    point.fields.iter().find(|(known, _)| known == SAMPLED_AT_RAW).and_then(|(_, value)| {
        if let FieldValue::Int(nanos) = value { Some(EventTime::from_nanos(*nanos)) } else { None }
    })
}

/// Returns the property whose flags a field holds.
fn flagged<'a>(name: &'a str, value: &FieldValue<'_>) -> Option<&'a str> {
    as_text(value).and(name.strip_suffix(FLAG)).filter(|_| name != TIME_FLAG)
}

struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Values<'a>(&'a Line<'a>);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_value = |(name, value): &&(Cow<'_, str>, FieldValue<'_>)| {
            name != TIME_FLAG && name != SAMPLED_AT_RAW && flagged(name, value).is_none()
        };
        let shown = self.0.fields.iter().filter(is_value).map(|(name, value)| (name, Value(value)));
        serializer.collect_map(shown)
    }
}

struct Value<'a>(&'a FieldValue<'a>);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            FieldValue::Float(number) => serializer.serialize_f64(*number),
            FieldValue::Int(number) => serializer.serialize_i64(*number),
            FieldValue::Unsigned(number) => serializer.serialize_u64(*number),
            FieldValue::Bool(truth) => serializer.serialize_bool(*truth),
            FieldValue::Text(text) => serializer.serialize_str(text),
        }
    }
}

struct Flags<'a>(&'a Line<'a>);

impl Serialize for Flags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.fields.iter().filter_map(|(name, value)| {
            let codes: Vec<&str> = as_text(value)?.split(',').collect();
            Some((flagged(name, value)?, codes))
        }))
    }
}

struct Tags<'a>(&'a Line<'a>);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = |(name, _): &&(Cow<'_, str>, Cow<'_, str>)| {
            !matches!(&**name, "tenant" | "site" | "device")
        };
        serializer.collect_map(self.0.tags.iter().filter(own).map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let mut out = Vec::new();
        let id = EventId { position: 7, index: 2 };
        assert!(write_reading(
            &mut out,
            id,
            IngestTime::from_nanos(2_000_000_000),
            line.as_bytes()
        ));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reading_is_one_event_with_its_place() {
        assert_eq!(
            shown(
                r#"soil,crop=rice,device=d\ 1,site=东坡,tenant=t m=0.7,m_flag="range,late",note="a\"b",on=true,t_flag="missing",n=5i 1000000000"#
            ),
            concat!(
                "event: reading\nid: 7.2\n",
                r#"data: {"tenant":"t","site":"东坡","device":"d 1","measurement":"soil","#,
                r#""sampled_at":"1970-01-01T00:00:01Z","received_at":"1970-01-01T00:00:02Z","#,
                r#""values":{"m":0.7,"note":"a\"b","on":true,"n":5},"#,
                r#""flags":{"m":["range","late"],"t":["missing"]},"#,
                r#""time_flag":null,"sampled_at_raw":null,"tags":{"crop":"rice"}}"#,
                "\n\n"
            )
        );
    }

    #[test]
    fn an_untrusted_time_keeps_the_original() {
        let text =
            shown(r#"soil,device=d m=1,sampled_at_raw=5000000000i,time_flag="future" 2000000000"#);
        assert!(
            text.contains(r#""time_flag":"future","sampled_at_raw":"1970-01-01T00:00:05Z""#),
            "{text}"
        );
        assert!(
            text.contains(r#""site":null"#) && text.contains(r#""values":{"m":1.0},"flags":{}"#),
            "{text}"
        );
    }

    #[test]
    fn an_id_reads_back_as_written() {
        let id = EventId { position: u64::MAX, index: 3 };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for wrong in ["", "7", "7.", ".1", "7.1.2", "a.b", "-1.0", "7.4294967296"] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_heartbeat_moves_the_place_without_an_event() {
        let mut out = Vec::new();
        write_heartbeat(&mut out, None);
        write_heartbeat(&mut out, Some(EventId { position: 1, index: 0 }));
        assert_eq!(out, b":\n\n:\nid: 1.0\n\n");
    }
}
