use super::*;
use crate::document::Problems;
use crate::text::Lang;

/// The profile that the documentation shows, key by key.
const SOIL: &str = r#"
name = "soil-5in1"
domain = "soil"
measurement = "soil"
interval = "15m"
codec = "json"
tags = ["depth_class"]

[batch]
path = "readings"
device = "device"

[time]
path = "ts"
format = "unix_ms"
zone = "Asia/Shanghai"
policy = "check"
future = "2m"
past = "7d"

[sequence]
path = "seq"

[[properties]]
name = "soil_moisture_10cm"
path = "soil_moisture_10cm"
type = "float"
unit = "m3/m3"
range = [0.0, 0.6]
resolution = 0.001
convert = { from = "%" }
required = false
"#;

fn problems_of(text: &str) -> Vec<String> {
    let problems = Problems::default();
    let _profile = Profile::parse("p.toml", text, &problems);
    problems.take().iter().map(|problem| problem.show(Lang::En)).collect()
}

#[test]
fn every_key_of_the_documented_profile_is_read() {
    let profile = sample(SOIL);
    assert_eq!(
        (profile.name.as_str(), profile.domain, profile.codec),
        ("soil-5in1", Domain::Soil, CodecKind::Json)
    );
    assert_eq!(profile.interval, Duration::from_mins(15));
    assert_eq!(profile.tags.first().map(|tag| tag.name.as_str()), Some("depth_class"));
    assert_eq!(profile.batch.as_ref().map(|batch| batch.path.as_str()), Some("readings"));
    assert_eq!(
        (profile.time.future, profile.time.past),
        (Duration::from_mins(2), Duration::from_hours(168))
    );
    assert!(!profile.time.trust_device);
    assert_eq!(profile.sequence.as_ref().map(Path::as_str), Some("seq"));
    let property = profile.property_at(profile.property("soil_moisture_10cm").unwrap()).unwrap();
    assert_eq!((property.range, property.resolution), (Some((0.0, 0.6)), Some(0.001)));
    assert_eq!(property.convert.unwrap().apply(23.1), Some(0.231));
    assert_eq!(profile.property("other"), None);
}

#[test]
fn what_is_not_required_has_its_default() {
    let profile = sample(
        "name = 'p'\ndomain = 'air'\nmeasurement = 'air'\ninterval = '1m'\ncodec = 'json'\n[[properties]]\nname = 'a'\npath = 'a'\nunit = 'furlong'\n",
    );
    assert_eq!(
        (profile.time.future, profile.time.past),
        (Duration::from_mins(2), Duration::from_hours(168))
    );
    assert_eq!(
        (profile.time.path.is_none(), profile.batch.is_none(), profile.sequence.is_none()),
        (true, true, true)
    );
    let property = &profile.properties[0];
    assert_eq!(
        (property.kind, property.required, property.range),
        (PropertyType::Float, false, None)
    );
    assert_eq!(property.unit.as_str(), "furlong", "an exotic unit is accepted as it stands");
}

#[test]
fn every_problem_of_a_profile_is_reported_at_once() {
    let text = "name = ''\ndomain = 'soils'\nmeasurement = '_m'\ninterval = '0s'\ncodec = 'xml'\ntags = ['site', 'a..b', 'ok', 'ok']\n\
        [batch]\ndevices = 'x'\n[time]\npath = 'ts'\nzone = 'Mars'\npolicy = 'trust'\nfuture = 2\n[sequence]\n\
        [[properties]]\nname = '1st'\npath = 'a['\ntype = 'double'\nunit = 'C'\nrange = [5, 1]\n\
        [[properties]]\nname = 'time'\npath = 'b'\nunit = 'furlong'\nconvert = { from = 'm' }\nresolution = 0\n\
        [[properties]]\nname = 'on'\npath = 'c'\ntype = 'bool'\nunit = '1'\nrange = [0, 1]\n\
        [[properties]]\nname = 'on_flag'\npath = 'd'\nunit = 'C'\nconvert = { from = 'kelvinn' }\n";
    let found = problems_of(text);
    let expected = [
        "p.toml:1: name = \"\": must not be empty",
        "p.toml:2: domain = \"soils\": not one of the choices -> did you mean `soil`?",
        "p.toml:3: measurement = \"_m\": not a name for a measurement",
        "p.toml:4: interval = \"0s\": the interval must not be zero",
        "p.toml:5: codec = \"xml\": not one of the choices -> choose one of: json, frame, line_protocol, csv",
        "p.toml:6: tags = \"a..b\": not a path",
        "p.toml:6: tags = \"ok\": `ok` cannot be a tag",
        "p.toml:6: tags = \"site\": `site` cannot be a tag",
        "p.toml:7: batch.path: the required key `path` is missing",
        "p.toml:8: batch.devices = \"x\": unknown key `devices` -> did you mean `device`?",
        "p.toml:9: time.format: the required key `format` is missing",
        "p.toml:11: time.zone = \"Mars\": not a time zone",
        "p.toml:12: time.policy = \"trust\": not one of the choices -> did you mean `trust_device`?",
        "p.toml:13: time.future = 2: expected a string, found an integer",
        "p.toml:14: sequence.path: the required key `path` is missing",
        "p.toml:16: properties[0].name = \"1st\": not a name for a property",
        "p.toml:17: properties[0].path = \"a[\": not a path",
        "p.toml:18: properties[0].type = \"double\": not one of the choices -> choose one of: float, int, bool, string",
        "p.toml:20: properties[0].range = [5, 1]: not a range",
        "p.toml:22: properties[1].name = \"time\": the name `time` is taken",
        "p.toml:25: properties[1].convert.from = \"m\": `m` does not convert to `furlong` -> units that convert: furlong",
        "p.toml:26: properties[1].resolution = 0: a resolution is above zero",
        "p.toml:32: properties[2].range = [0, 1]: only for properties that are numbers",
        "p.toml:34: properties[3].name = \"on_flag\": the name `on_flag` is taken",
        "p.toml:37: properties[3].convert.from = \"kelvinn\": `kelvinn` does not convert to `C` -> units that convert: C, K, F",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "found    {found}\nexpected {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_file_with_nothing_in_it_names_what_is_required() {
    let keys = ["codec", "domain", "interval", "measurement", "name", "properties"];
    let found = problems_of("");
    assert_eq!(found.len(), keys.len(), "{found:#?}");
    for (found, key) in found.iter().zip(keys) {
        assert!(found.starts_with(&format!("p.toml: {key}: the required key")), "{found}");
    }
}
