//! Flux queries and their answers, without a network.

use std::fmt::Write as _;
use std::time::Duration;

use telemetry::time::{EventTime, parse_rfc3339};

use crate::{DETAIL_MAX, POINTS_MAX, RangeQuery, ReadError, cut};

/// Returns the query for a range of values; one more than [`POINTS_MAX`], so that too many are seen.
pub(crate) fn range(bucket: &str, query: &RangeQuery) -> String {
    let mut flux = select(bucket, query);
    flux.push_str(NUMBERS);
    if let Some(step) = query.step.filter(|step| !step.is_zero()) {
        let nanos = step.as_nanos();
        let _infallible = write!(
            flux,
            " |> aggregateWindow(every: {nanos}ns, fn: mean, createEmpty: false, timeSrc: \"_start\")"
        );
    }
    let limit = POINTS_MAX + 1;
    let _infallible = write!(flux, "{ORDERED} |> limit(n: {limit})");
    flux
}

/// Returns the query for the newest value.
pub(crate) fn latest(bucket: &str, query: &RangeQuery) -> String {
    // `last` before anything else: the store then reads the end of each series only.
    format!("{} |> last(){NUMBERS}{ORDERED} |> tail(n: 1)", select(bucket, query))
}

/// A type of its own for each shard is possible in InfluxDB: text is left out before it breaks `toFloat`.
const NUMBERS: &str = " |> filter(fn: (r) => types.isNumeric(v: r._value) or types.isType(v: r._value, type: \"bool\")) \
                       |> toFloat() |> group()";
const ORDERED: &str = " |> keep(columns: [\"_time\", \"_value\"]) |> sort(columns: [\"_time\"])";

fn select(bucket: &str, query: &RangeQuery) -> String {
    let measurement =
        query.measurement.as_deref().map(|name| format!("r._measurement == {} and ", quote(name)));
    format!(
        "import \"types\" from(bucket: {}) |> range(start: {}, stop: {}) \
         |> filter(fn: (r) => {}r._field == {} and r.tenant == {} and r.device == {})",
        quote(bucket),
        query.from,
        query.to,
        measurement.unwrap_or_default(),
        quote(&query.property),
        quote(&query.tenant),
        quote(&query.device),
    )
}

/// Writes a string of Flux that is exactly `text`, whatever stands in it.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            // `${` begins an expression inside a string.
            '$' if rest.peek() == Some(&'{') => out.push_str("\\$"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _infallible = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Reads the CSV of an answer: columns `_time` and `_value` of every table, or the error it ends with.
/// Times are moved back to the start of their window where there is a `step`.
///
/// # Errors
///
/// [`ReadError::Query`], [`ReadError::Answer`], [`ReadError::TooMany`].
pub(crate) fn parse(
    body: &[u8],
    step: Option<Duration>,
) -> Result<Vec<(EventTime, f64)>, ReadError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let mut points = Vec::new();
    let mut columns: Option<(usize, usize)> = None;
    for record in reader.records() {
        let record = record.map_err(|error| ReadError::Answer(error.to_string().into()))?;
        let column = |name| record.iter().position(|cell| cell == name);
        if let (Some(time), Some(value)) = (column("_time"), column("_value")) {
            columns = Some((time, value));
        } else if column("error").is_some() && column("reference").is_some() {
            let detail = reader.records().next().and_then(Result::ok);
            let detail = detail
                .as_ref()
                .and_then(|row| row.iter().find(|cell| !cell.is_empty()))
                .unwrap_or("?");
            return Err(ReadError::Query(cut(detail, DETAIL_MAX).into()));
        } else {
            let Some((time, value)) = columns else {
                return Err(ReadError::Answer("a row stands before its header".into()));
            };
            points.extend(point(record.get(time), record.get(value), step)?);
        }
        if points.len() > POINTS_MAX {
            return Err(ReadError::TooMany);
        }
    }
    Ok(points)
}

/// Reads one row; `None` for a value that is absent or not finite.
fn point(
    time: Option<&str>,
    value: Option<&str>,
    step: Option<Duration>,
) -> Result<Option<(EventTime, f64)>, ReadError> {
    let (Some(time), Some(value)) = (time, value) else {
        return Err(ReadError::Answer("a row is too short".into()));
    };
    let wrong = |cell: &str| ReadError::Answer(format!("`{}` in a row", cut(cell, 40)).into());
    let at = parse_rfc3339(time).ok_or_else(|| wrong(time))?;
    if value.is_empty() {
        return Ok(None);
    }
    let value: f64 = value.parse().map_err(|_| wrong(value))?;
    Ok(value.is_finite().then_some((window_start(at, step), value)))
}

/// The first window of a query begins at the query's start: move it to where the window really begins.
fn window_start(at: EventTime, step: Option<Duration>) -> EventTime {
    let step = step.and_then(|step| i64::try_from(step.as_nanos()).ok()).filter(|step| *step > 0);
    step.map_or(at, |step| {
        EventTime::from_nanos(at.as_nanos().saturating_sub(at.as_nanos().rem_euclid(step)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_in_a_name_leaves_its_string() {
        for (text, quoted) in [
            ("soil", r#""soil""#),
            ("田 1", r#""田 1""#),
            (r#"a" or true or r.x == "b"#, r#""a\" or true or r.x == \"b""#),
            ("${1+1} $5", r#""\${1+1} $5""#),
            ("\\", r#""\\""#),
            ("\\${", r#""\\\${""#),
            ("a\nb\r\t\0", r#""a\nb\r\t\x00""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn tables_headers_and_blank_lines_are_read_in_any_order_of_columns() {
        let body = b",result,table,_time,_value\r\n,_result,0,2026-11-25T18:55:05.5Z,1.5\r\n,_result,0,2026-11-25T19:00:00Z,\r\n\r\n,result,table,_value,_time\r\n,_result,1,2,2026-11-25T19:01:00Z\r\n,_result,1,NaN,2026-11-25T19:02:00Z\r\n\r\n";
        let points = parse(body, None).unwrap();
        let shown: Vec<_> = points.iter().map(|(at, value)| format!("{at} {value}")).collect();
        assert_eq!(shown, ["2026-11-25T18:55:05.5Z 1.5", "2026-11-25T19:01:00Z 2"]);
        let windows = parse(body, Some(Duration::from_mins(15))).unwrap();
        assert_eq!(windows[0].0.to_string(), "2026-11-25T18:45:00Z");
        assert!(parse(b"", None).unwrap().is_empty());
        assert!(parse(b"\r\n\r\n", None).unwrap().is_empty());
    }

    #[test]
    fn an_error_in_the_answer_is_an_error() {
        let late = b",result,table,_time,_value\r\n,_result,0,2026-11-25T18:55:05Z,1\r\n\r\n,error,reference\r\n,out of memory,897\r\n";
        assert!(
            matches!(parse(late, None), Err(ReadError::Query(detail)) if &*detail == "out of memory")
        );
        for wrong in [
            &b"<html>"[..],
            b"_time,_value\nyesterday,1\n",
            b"_time,_value\n2026-11-25T18:55:05Z,one\n",
            b"_time,_value\n2026-11-25T18:55:05Z\n",
            b"_time,_value\n\xff\xfe,1\n",
        ] {
            assert!(matches!(parse(wrong, None), Err(ReadError::Answer(_))), "{wrong:?}");
        }
    }

    #[test]
    fn more_values_than_the_bound_are_an_error_and_not_a_cut_series() {
        let mut body = "_time,_value\n".to_owned();
        body.push_str(&"2026-11-25T18:55:05Z,1\n".repeat(POINTS_MAX + 1));
        assert!(matches!(parse(body.as_bytes(), None), Err(ReadError::TooMany)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Guarantees: no answer makes the reader panic.
        #[test]
        fn no_answer_panics(body in prop::collection::vec(any::<u8>(), 0..300), cut_at in 0_usize..200) {
            drop(parse(&body, None));
            let good = b",result,table,_time,_value\r\n,_result,0,2026-11-25T18:55:05.5Z,1.5\r\n\r\n,error,reference\r\n,x,1\r\n";
            drop(parse(good.get(..cut_at).unwrap_or(good), Some(Duration::from_secs(1))));
        }
    }
}
