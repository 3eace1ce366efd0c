use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::shared_data;

#[test]
fn a_line_is_measurement_tags_fields_and_time() {
    let line = parse_line(
        r#"soil,site=北\ 田,device=s\,1 a=1,b=-2i,c=3u,d=t,e="x \"y\" \\ z" 1763856000000000000"#,
    )
    .unwrap();
    assert_eq!(line.measurement, "soil");
    let tags: Vec<_> = line.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(tags, [("site", "北 田"), ("device", "s,1")]);
    let values: Vec<FieldValue<'_>> = line.fields.into_iter().map(|(_, value)| value).collect();
    let text = FieldValue::Text(r#"x "y" \ z"#.into());
    assert_eq!(
        values,
        [
            FieldValue::Float(1.0),
            FieldValue::Int(-2),
            FieldValue::Unsigned(3),
            FieldValue::Bool(true),
            text
        ]
    );
    assert_eq!(line.time, Some(1_763_856_000_000_000_000));
}

#[test]
fn each_part_that_is_wrong_is_named() {
    let cases = [
        ("", LineError::Measurement),
        (",a=1 b=1", LineError::Measurement),
        ("m,a b=1", LineError::Tag),
        ("m,a= b=1", LineError::Tag),
        ("m,a=1,a=2 b=1", LineError::TagTwice),
        ("m", LineError::Field),
        ("m a", LineError::Field),
        ("m a=", LineError::Value),
        ("m a=+1", LineError::Value),
        ("m a=1e999", LineError::Value),
        ("m a=NaN", LineError::Value),
        ("m a=\"x", LineError::Value),
        ("m a=9223372036854775808i", LineError::Value),
        ("m a=1 9223372036854775808", LineError::Time),
        ("m a=1 12 x", LineError::Trailing),
        ("m a=1\nm a=2", LineError::Trailing),
    ];
    for (line, error) in cases {
        assert_eq!(parse_line(line).unwrap_err(), error, "{line}");
    }
}

#[test]
fn after_a_wrong_line_the_next_is_read() {
    let text = "# comment\n\nm a=1 1\nwrong\n  m a=\"two\nlines\" 2\r\nm a=3";
    let found: Vec<_> = lines(text).map(|line| line.map(|line| line.time)).collect();
    assert_eq!(found, [Ok(Some(1)), Err(LineError::Field), Ok(Some(2)), Ok(None)]);
}

/// Reference: the corpus of the authors of line protocol, 3,360 cases.
#[test]
fn the_corpus_is_read_as_its_authors_read_it() {
    let Some(bytes) = shared_data::read("line-protocol-corpus/corpus.json.gz") else { return };
    let corpus: Value = serde_json::from_slice(&bytes).unwrap();
    let mut wrong = Vec::new();
    for (key, case) in corpus["decode"].as_object().unwrap() {
        let text = &case["input"]["text"];
        let binary = text.get("binary").and_then(Value::as_str).map(shared_data::of_base64);
        let text = binary.unwrap_or_else(|| text.as_str().unwrap().as_bytes().to_vec());
        let expected = case["output"]
            .get("result")
            .map(|points| points.as_array().unwrap().iter().map(known).collect());
        let found: Option<Vec<BTreeMap<String, String>>> =
            std::str::from_utf8(&text).ok().and_then(|text| {
                let all: Result<Vec<_>, LineError> =
                    lines(text).map(|line| line.map(|line| shown(&line, &case["input"]))).collect();
                all.ok()
            });
        if found != expected {
            wrong.push(format!(
                "{key}: {:?}\n found {found:?}\n known {expected:?}",
                String::from_utf8_lossy(&text)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn shown(line: &Line<'_>, input: &Value) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([("name".to_owned(), line.measurement.to_string())]);
    for (name, value) in &line.tags {
        out.insert(format!("tag {name}"), value.to_string());
    }
    for (name, value) in &line.fields {
        let text = match value {
            FieldValue::Float(number) => format!("float {number:e}"),
            FieldValue::Int(number) => format!("int {number}"),
            FieldValue::Unsigned(number) => format!("uint {number}"),
            FieldValue::Bool(truth) => format!("bool {truth}"),
            FieldValue::Text(text) => format!("string {text}"),
        };
        out.insert(format!("field {name}"), text);
    }
    let each = match input["precision"].as_str().unwrap() {
        "1s" => 1_000_000_000,
        "1ms" => 1_000_000,
        "1µs" => 1000,
        _ => 1,
    };
    let time = line.time.map_or_else(|| input["defaultTime"].as_i64().unwrap(), |time| time * each);
    out.insert("time".to_owned(), time.to_string());
    out
}

fn known(point: &Value) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([("name".to_owned(), text_of(&point["name"]))]);
    for tag in point["tags"].as_array().unwrap() {
        out.insert(format!("tag {}", text_of(&tag["key"])), text_of(&tag["value"]));
    }
    for field in point["fields"].as_array().unwrap() {
        let (kind, value) = field["value"].as_object().unwrap().iter().next().unwrap();
        let text = match kind.as_str() {
            "float" => format!("float {:e}", value.as_f64().unwrap()),
            "string" | "bool" | "int" | "uint" => format!("{kind} {}", text_of(value)),
            other => panic!("{other}"),
        };
        out.insert(format!("field {}", text_of(&field["key"])), text);
    }
    out.insert("time".to_owned(), point["time"].to_string());
    out
}

fn text_of(value: &Value) -> String {
    if let Some(binary) = value.get("binary").and_then(Value::as_str) {
        return String::from_utf8_lossy(&shared_data::of_base64(binary)).into_owned();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_the_reader_panic_or_stand_still(text in "[a-c,= \\\\\"\n\r#1ite.+-]{0,60}|.{0,60}") {
        prop_assert!(lines(&text).count() <= text.len());
        let _line = parse_line(&text);
    }
}
