use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::flag::ValueFlags;
use crate::line_protocol::{
    FieldValue, lines, parse_line, write_key, write_measurement, write_text,
};
use crate::profile::sample;
use crate::shared_data;
use crate::time::EventTime;

const PROFILE: &str = "name = 'p'\ndomain = 'soil'\nmeasurement = 'soil'\ninterval = '15m'\ncodec = 'json'\ntags = ['depth class']\n\
    [[properties]]\nname = 'wet'\npath = 'wet'\nunit = 'm3/m3'\n\
    [[properties]]\nname = 'count'\npath = 'count'\ntype = 'int'\nunit = '1'\n\
    [[properties]]\nname = 'is_open'\npath = 'is_open'\ntype = 'bool'\nunit = '1'\n\
    [[properties]]\nname = 'note'\npath = 'note'\ntype = 'string'\nunit = '1'\n\
    [[properties]]\nname = 'alpha'\npath = 'alpha'\nunit = 'C'\n";

fn one(property: u16, value: Option<Value>, flags: ValueFlags) -> Observation {
    Observation { property, value, flags }
}

fn reading(observations: Vec<Observation>) -> Reading {
    Reading { observations: observations.into(), ..Reading::default() }
}

fn write(head: &PointHead<'_>, reading: &Reading, stamp: &Stamp) -> Option<String> {
    let mut out = b"before".to_vec();
    let is_written = write_reading(&mut out, &sample(PROFILE), head, reading, stamp);
    let text = String::from_utf8(out.split_off("before".len())).ok()?;
    assert_eq!((out.as_slice(), is_written), (&b"before"[..], !text.is_empty()));
    is_written.then_some(text)
}

const HEAD: PointHead<'_> =
    PointHead { tenant: "farm", site: "北 田", device: "s-01", tags: &[("depth class", "a=b")] };
const STAMP: Stamp =
    Stamp { at_nanos: 1_763_856_000_000_000_000, flag: None, sampled_at_raw: None };

#[test]
fn a_line_has_sorted_tags_and_fields_with_flags_beside_their_values() {
    let everything = reading(vec![
        one(0, Some(Value::Float(0.231)), ValueFlags::GOOD),
        one(1, Some(Value::Int(-7)), ValueFlags::RANGE.with(ValueFlags::LATE)),
        one(2, Some(Value::Bool(true)), ValueFlags::GOOD),
        one(3, Some(Value::Text("a \"b\" \\ \n c".into())), ValueFlags::GOOD),
        one(4, None, ValueFlags::MISSING),
    ]);
    assert_eq!(
        write(&HEAD, &everything, &STAMP).unwrap(),
        "soil,depth\\ class=a\\=b,device=s-01,site=北\\ 田,tenant=farm \
         alpha_flag=\"missing\",count=-7i,count_flag=\"late,range\",is_open=true,note=\"a \\\"b\\\" \\\\   c\",wet=0.231 \
         1763856000000000000\n"
    );
    let future = Stamp { at_nanos: 5, flag: Some(TimeFlag::Future), sampled_at_raw: Some(-3) };
    let head = PointHead { site: "", tags: &[], ..HEAD };
    let short = reading(vec![one(0, Some(Value::Float(1.0)), ValueFlags::GOOD)]);
    assert_eq!(
        write(&head, &short, &future).unwrap(),
        "soil,device=s-01,tenant=farm sampled_at_raw=-3i,time_flag=\"future\",wet=1 5\n"
    );
}

#[test]
fn a_reading_without_a_value_is_not_written() {
    assert_eq!(write(&HEAD, &reading(vec![]), &STAMP), None);
    assert_eq!(write(&HEAD, &reading(vec![one(0, None, ValueFlags::TYPE)]), &STAMP), None);
}

#[test]
fn floats_are_the_shortest_text_that_reads_back() {
    for (number, text) in [
        (0.0, "0"),
        (1e16, "1e16"),
        (6_632_243.0, "6632243"),
        (0.1 + 0.2, "0.30000000000000004"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (-0.64, "-0.64"),
    ] {
        let line = write(
            &HEAD,
            &reading(vec![one(0, Some(Value::Float(number)), ValueFlags::GOOD)]),
            &STAMP,
        )
        .unwrap();
        assert!(line.contains(&format!(" wet={text} ")), "{line}");
    }
}

#[test]
fn no_name_can_break_out_of_its_place() {
    let mut out = Vec::new();
    for text in ["a\nb", "a\\", "\\", "a\\,b=c d", "\r\t\u{7f}x", "a\\\\"] {
        out.clear();
        write_key(&mut out, text);
        out.extend_from_slice(b"=v f=1");
        let line = format!("m,{}", String::from_utf8(out.clone()).unwrap());
        let read = parse_line(&line).unwrap();
        assert_eq!((read.tags.len(), read.fields.len()), (1, 1), "{line}");
    }
}

/// Reference: the corpus of the authors of line protocol. Floats are spelled differently there (`6.6e+06`),
/// so the case is written with our escapes and its own spelling of the numbers.
#[test]
fn the_corpus_is_written_as_its_authors_write_it() {
    let Some(bytes) = shared_data::read("line-protocol-corpus/corpus.json.gz") else { return };
    let corpus: Json = serde_json::from_slice(&bytes).unwrap();
    let mut count = 0;
    for (key, case) in corpus["encode"].as_object().unwrap() {
        let Some(expected) = case["output"]["result"].as_str() else { continue };
        let read: Vec<_> = lines(expected).map(Result::unwrap).collect();
        let point = &case["input"]["point"];
        let mut out = Vec::new();
        write_measurement(&mut out, point["name"].as_str().unwrap());
        for tag in point["tags"].as_array().unwrap() {
            out.push(b',');
            write_key(&mut out, tag["key"].as_str().unwrap());
            out.push(b'=');
            write_key(&mut out, tag["value"].as_str().unwrap());
        }
        for (index, field) in point["fields"].as_array().unwrap().iter().enumerate() {
            out.push(if index == 0 { b' ' } else { b',' });
            let name = field["key"].as_str().unwrap();
            let start = out.len();
            write_key(&mut out, name);
            out.push(b'=');
            let (_, value) = field["value"].as_object().unwrap().iter().next().unwrap();
            if let Json::String(text) = value {
                write_text(&mut out, text);
                continue;
            }
            let written = String::from_utf8(out[start..].to_vec()).unwrap();
            let at = expected.find(&written).unwrap() + written.len();
            let number = expected.get(at..).unwrap().split([',', ' ']).next().unwrap();
            out.extend_from_slice(number.as_bytes());
            if let FieldValue::Float(number) = read[0].fields[index].1 {
                let ours = ryu::Buffer::new().format_finite(number).parse::<f64>().unwrap();
                assert_eq!(Some(ours), value.as_f64(), "{key}");
            }
        }
        let start = point["time"].as_i64().unwrap();
        out.extend_from_slice(format!(" {start}").as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{key}");
        count += 1;
    }
    assert_eq!(count, 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Scenario: values, names and times of any kind, hostile ones too.
    /// Guarantees: one line, which reads back as the same values, and through the codec as the same reading.
    #[test]
    fn what_is_written_reads_back(
        float in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        int in any::<i64>(),
        truth in any::<bool>(),
        text in "[^\\p{Cc}]{0,20}",
        names in prop::array::uniform3(".{1,12}"),
        at_nanos in any::<i64>(),
    ) {
        let observations = vec![
            one(0, Some(Value::Float(float + 0.0)), ValueFlags::GOOD),
            one(1, Some(Value::Int(int)), ValueFlags::GOOD),
            one(2, Some(Value::Bool(truth)), ValueFlags::GOOD),
            one(3, Some(Value::Text(text.into())), ValueFlags::GOOD),
            one(4, None, ValueFlags::TYPE),
        ];
        let [tenant, site, device] = &names;
        let mut written = reading(observations);
        written.sampled_at = Some(EventTime::from_nanos(at_nanos));
        let stamp = Stamp { at_nanos, ..STAMP };
        let line = write(&PointHead { tenant, site, device, tags: &[] }, &written, &stamp).unwrap();
        prop_assert_eq!(line.lines().count(), 1);
        let text = PROFILE.replace("codec = 'json'\ntags = ['depth class']", "codec = 'line_protocol'");
        let decoded = crate::codec::decode(&sample(&text), line.as_bytes()).unwrap();
        prop_assert_eq!(decoded.elements, vec![crate::reading::Element::Reading(written)]);
    }
}
