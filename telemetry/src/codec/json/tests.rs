use proptest::prelude::*;

use super::*;
use crate::codec::decode;
use crate::flag::ValueFlags;
use crate::profile::sample;
use crate::reading::{Reading, Value};
use crate::shared_data;
use crate::time::EventTime;

const HEAD: &str =
    "name = 'p'\ndomain = 'soil'\nmeasurement = 'soil'\ninterval = '15m'\ncodec = 'json'\n";
const SOIL: &str = "tags = ['depth']\n[time]\npath = 'ts'\nformat = 'unix_ms'\n[sequence]\npath = 'seq'\n\
    [[properties]]\nname = 'wet'\npath = 'soil.wet'\nunit = 'm3/m3'\nrange = [0.0, 0.6]\nconvert = { from = '%' }\n\
    [[properties]]\nname = 'temp'\npath = 't[1].c'\nunit = 'C'\nrequired = true\n\
    [[properties]]\nname = 'count'\npath = 'n'\ntype = 'int'\nunit = '1'\n\
    [[properties]]\nname = 'on'\npath = 'on'\ntype = 'bool'\nunit = '1'\n\
    [[properties]]\nname = 'note'\npath = 'note'\ntype = 'string'\nunit = '1'\n";

fn soil() -> Profile {
    sample(&format!("{HEAD}{SOIL}"))
}

fn plain() -> Profile {
    sample(&format!("{HEAD}[[properties]]\nname = 'v'\npath = 'v'\nunit = '1'\n"))
}

fn batch(path: &str) -> Profile {
    sample(&format!(
        "{HEAD}[batch]\npath = '{path}'\ndevice = 'id'\n[[properties]]\nname = 'v'\npath = 'v'\nunit = '1'\n"
    ))
}

fn read(profile: &Profile, payload: &str) -> Reading {
    let decoded = decode(profile, payload.as_bytes()).unwrap();
    assert!(!decoded.is_batch);
    match decoded.elements.into_iter().next().unwrap() {
        Element::Reading(reading) => reading,
        Element::Bad(why) => panic!("{why}"),
    }
}

/// The value and flags of one property, shown short.
fn shown(reading: &Reading, property: u16) -> String {
    let Some(found) = reading.observations.iter().find(|one| one.property == property) else {
        return "-".into();
    };
    let flags: Vec<&str> = found.flags.codes().collect();
    let value = match &found.value {
        None => "none".to_owned(),
        Some(Value::Float(number)) => number.to_string(),
        Some(Value::Int(number)) => format!("{number}i"),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Text(text)) => format!("{text:?}"),
    };
    [value].into_iter().chain(flags.into_iter().map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

#[test]
fn values_stand_at_their_paths_whatever_the_order() {
    let profile = soil();
    let payload = r#"{"note":"a \"b\"","t":[{"c":1},{"x":[[]],"c":14.2}],"ignored":{"soil":[1,{"wet":9}]},
        "seq":7,"on":false,"soil":{"wet":23.1},"n":5.0,"ts":1763856000000,"depth":10}"#;
    let reading = read(&profile, payload);
    let values: Vec<String> = (0..5).map(|property| shown(&reading, property)).collect();
    assert_eq!(values, ["0.231", "14.2", "5i", "false", r#""a \"b\"""#]);
    assert_eq!(reading.sampled_at, Some(EventTime::from_nanos(1_763_856_000_000_000_000)));
    assert_eq!(reading.sequence, Some(7));
    assert_eq!(reading.tags.as_slice(), [(0, "10".into())]);
    assert_eq!(reading.device, None);
}

#[test]
fn a_value_that_does_not_fit_is_flagged_and_never_zero() {
    let profile = soil();
    let cases = [
        (0, r#"{"soil":{"wet":61}}"#, "0.61 range"),
        (0, r#"{"soil":{"wet":null}}"#, "none missing"),
        (0, r#"{"soil":{}}"#, "-"),
        (0, r#"{"soil":null}"#, "-"),
        (0, r#"{"soil":{"wet":"23"}}"#, "none type"),
        (0, r#"{"soil":{"wet":{"v":1}}}"#, "none type"),
        (0, r#"{"soil":{"wet":[1,2]}}"#, "none type"),
        (0, r#"{"soil":{"wet":true}}"#, "none type"),
        (0, r#"{"soil":{"wet":1e999}}"#, "none type"),
        (0, r#"{"soil":{"wet":-0.0}}"#, "0"),
        (0, r#"{"soil":{"wet":1},"soil":{"wet":2}}"#, "0.02"),
        (1, "{}", "none missing"),
        (1, r#"{"t":[1,{"c":null}]}"#, "none missing"),
        (1, r#"{"t":{"1":{"c":1}}}"#, "none missing"),
        (1, r#"{"t":[0,{"c":18446744073709551615}]}"#, "18446744073709552000"),
        (1, r#"{"t":[0,{"c":0.30000000000000004}]}"#, "0.30000000000000004"),
        (2, r#"{"n":5.5}"#, "none type"),
        (2, r#"{"n":9223372036854775807}"#, "9223372036854775807i"),
        (2, r#"{"n":9223372036854775808}"#, "none type"),
        (2, r#"{"n":-9223372036854775808}"#, "-9223372036854775808i"),
        (2, r#"{"n":-0}"#, "0i"),
        (2, r#"{"n":1e3}"#, "1000i"),
        (3, r#"{"on":1}"#, "none type"),
        (4, r#"{"note":5}"#, "none type"),
        (4, r#"{"note":""}"#, r#""""#),
    ];
    for (property, payload, expected) in cases {
        assert_eq!(shown(&read(&profile, payload), property), expected, "{payload}");
    }
}

#[test]
fn a_time_that_cannot_be_read_is_no_time_and_one_too_far_the_last() {
    let profile = soil();
    for payload in [r#"{"ts":"soon"}"#, r#"{"ts":null}"#, r#"{"ts":[]}"#, r#"{"ts":true}"#, "{}"] {
        assert_eq!(read(&profile, payload).sampled_at, None, "{payload}");
    }
    let last = Some(EventTime::from_nanos(i64::MAX));
    for payload in
        [r#"{"ts":9223372036854775807}"#, r#"{"ts":18446744073709551615}"#, r#"{"ts":1e300}"#]
    {
        assert_eq!(read(&profile, payload).sampled_at, last, "{payload}");
    }
    assert_eq!(
        read(&profile, r#"{"ts":"1763856000000"}"#).sampled_at.unwrap().to_string(),
        "2025-11-23T00:00:00Z"
    );
}

#[test]
fn a_batch_gives_an_element_for_each_entry_good_or_bad() {
    let payload = r#"{"gw":"g","readings":[{"id":"a","v":1},5,{"id":7,"v":2},null,[[1]],{"v":3},{"id":true},{"id":""}],"v":9}"#;
    let decoded = decode(&batch("readings"), payload.as_bytes()).unwrap();
    assert!(decoded.is_batch);
    let found: Vec<String> = decoded
        .elements
        .iter()
        .map(|element| match element {
            Element::Reading(reading) => format!("{:?} {}", reading.device, shown(reading, 0)),
            Element::Bad(why) => why.to_string(),
        })
        .collect();
    let (object, name) = ("the element is not an object", "the element's device is not a name");
    let (a, seven, none) = ("Some(\"a\") 1", "Some(\"7\") 2", "None 3");
    assert_eq!(found, [a, object, seven, object, object, none, name, name]);
}

#[test]
fn the_array_may_be_the_payload_or_lie_deep_and_the_last_of_two_counts() {
    for (path, payload, count) in [
        ("", r#"[{"v":1},{"v":2}]"#, 2),
        ("", "[]", 0),
        ("a.b[1]", r#"{"a":{"b":[0,[{"v":1}]]}}"#, 1),
        ("r", r#"{"r":[{},{}],"r":[{}]}"#, 1),
    ] {
        assert_eq!(
            decode(&batch(path), payload.as_bytes()).unwrap().elements.len(),
            count,
            "{payload}"
        );
    }
}

#[test]
fn what_is_not_a_payload_of_the_profile_is_malformed() {
    let (single, array) = (plain(), batch("readings"));
    for (profile, payload) in [
        (&single, ""),
        (&single, "[]"),
        (&single, "5"),
        (&single, "\"text\""),
        (&single, "{} {}"),
        (&single, "{\"v\":1"),
        (&single, "{\"v\":1}x"),
        (&array, "{}"),
        (&array, r#"{"readings":{}}"#),
        (&array, r#"{"readings":null}"#),
        (&array, "[]"),
        (&array, r#"{"readings":[{"v":1},]}"#),
    ] {
        assert!(
            matches!(decode(profile, payload.as_bytes()), Err(DecodeError::Malformed(_))),
            "{payload}"
        );
    }
    assert!(
        decode(&single, b"{\"v\":1,\"x\":\"\xff\"}").is_err(),
        "not UTF-8, even where nobody looks"
    );
    let many = format!("{{\"readings\":[{}0]}}", "0,".repeat(ELEMENTS_MAX));
    assert!(decode(&array, many.as_bytes()).is_err(), "more elements than the bound");
}

#[test]
fn depth_is_bounded_also_where_nobody_looks() {
    for profile in [plain(), batch(""), batch("a")] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(5000), close.repeat(5000));
            for payload in [
                &deep,
                &format!("{{\"x\":{deep}}}"),
                &format!("[{{\"x\":{deep}}}]"),
                &open.repeat(5000),
            ] {
                assert!(matches!(
                    decode(&profile, payload.as_bytes()),
                    Err(DecodeError::Malformed(_))
                ));
            }
        }
    }
}

#[test]
fn the_detail_of_a_dead_letter_is_short() {
    let payload = format!("\"{}\"", "x".repeat(100_000));
    let DecodeError::Malformed(detail) = decode(&plain(), payload.as_bytes()).unwrap_err();
    assert!(detail.chars().count() <= 161, "{detail}");
}

/// Reference: the JSON parsing test suite (318 payloads).
#[test]
fn the_json_test_suite_is_judged_as_it_asks() {
    let Some(bytes) = shared_data::read("json-test-suite/test_parsing.json.gz") else { return };
    let suite: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
    let (single, array) = (plain(), batch(""));
    let mut seen = [0; 3];
    for (name, encoded) in &suite {
        let payload = shared_data::of_base64(encoded.as_str().unwrap());
        let is_whole = [decode(&single, &payload).is_ok(), decode(&array, &payload).is_ok()];
        // The payload as a value that nobody asks for, beside one that is.
        let inside = [b"{\"x\":", &*payload, b",\"v\":1}"].concat();
        let found = decode(&single, &inside).ok().map(|decoded| decoded.elements);
        let is_read = found.is_some_and(
            |elements| matches!(&*elements, [Element::Reading(one)] if shown(one, 0) == "1"),
        );
        let starts_with =
            |byte: u8| payload.iter().find(|one| !one.is_ascii_whitespace()) == Some(&byte);
        match name.split('_').next().unwrap() {
            "y" => {
                assert!(is_read, "{name} must be read");
                assert_eq!(is_whole, [starts_with(b'{'), starts_with(b'[')], "{name}");
                seen[0] += 1;
            }
            "n" => {
                assert_eq!((is_whole, is_read), ([false, false], false), "{name} must be refused");
                seen[1] += 1;
            }
            _ => seen[2] += 1,
        }
    }
    assert_eq!(seen, [95, 188, 35]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[\\[\\]{}\",:0-9.eE+\\-a-dv ntrufals\\\\]{0,80}",
    ) {
        for profile in [soil(), plain(), batch(""), batch("a")] {
            let _decoded = (decode(&profile, &bytes), decode(&profile, text.as_bytes()));
        }
    }

    /// Scenario: a payload cut anywhere, or with one byte changed.
    /// Guarantees: an answer; a cut one is malformed.
    #[test]
    fn a_damaged_payload_gets_an_answer(cut in 0usize..100, byte in any::<u8>()) {
        let payload = br#"{"ts":1763856000000,"seq":7,"soil":{"wet":23.1},"t":[0,{"c":14.2}],"note":"ok","n":3,"on":true}"#;
        let profile = soil();
        prop_assert!(cut >= payload.len() || decode(&profile, &payload[..cut]).is_err());
        let mut changed = payload.to_vec();
        let at = cut % changed.len();
        changed[at] = byte;
        let _decoded = decode(&profile, &changed);
    }

    #[test]
    fn numbers_come_through_to_the_last_bit(number in prop::num::f64::NORMAL) {
        let reading = read(&plain(), &format!("{{\"v\":{number:?}}}"));
        prop_assert_eq!(&reading.observations[0].value, &Some(Value::Float(number)));
    }

    #[test]
    fn flags_and_values_go_together(payload in "\\{\"v\":(null|1|\"x\"|\\[\\]|1e999|-5)\\}") {
        let reading = read(&plain(), &payload);
        let one = &reading.observations[0];
        prop_assert_eq!(one.value.is_none(), one.flags.has(ValueFlags::MISSING) || one.flags.has(ValueFlags::TYPE));
    }
}
