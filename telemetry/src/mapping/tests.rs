use super::*;
use crate::profile::{Profile, sample};
use crate::reading::Value;
use crate::shared_data;
use crate::text::Lang;

const AIR: &str = "name = 'air-station'\ndomain = 'air'\nmeasurement = 'air'\ninterval = '1h'\ncodec = 'json'\n\
    [[properties]]\nname = 'pm2_5_ug_m3'\npath = 'pm2_5'\nunit = 'ug/m3'\n\
    [[properties]]\nname = 'co_mg_m3'\npath = 'co'\nunit = 'mg/m3'\nrange = [0.0, 100.0]\n\
    [[properties]]\nname = 'wind'\npath = 'wd'\ntype = 'string'\nunit = '1'\n";
const ROAD: &str = "name = 'road'\ndomain = 'traffic'\nmeasurement = 'traffic'\ninterval = '5m'\ncodec = 'json'\n\
    [[properties]]\nname = 'speed_km_h'\npath = 'speed'\nunit = 'km/h'\n";
const LONG: &str = "profile = 'air-station'\nsite = { constant = 'beijing' }\ndevice = { filename = '^([A-Za-z]+)' }\n\
    time = { column = 'dt', format = 'rfc3339' }\n\
    [[columns]]\ncolumn = 'PM2.5'\nproperty = 'pm2_5_ug_m3'\nmissing = ['NA', '-9999']\n\
    [[columns]]\ncolumn = 'CO'\nproperty = 'co_mg_m3'\nunit = 'ug/m3'\n\
    [[columns]]\ncolumn = 'wd'\nproperty = 'wind'\n";
const WIDE: &str = "profile = 'road'\nlayout = 'wide'\ndevice = { header = true }\nvalue = 'speed_km_h'\nunit = 'mph'\nmissing = '0'\n\
    ignore = ['note']\ntime = { start = '2012-03-01T00:00:00-08:00', step = '5m', column = 'step_5min' }\n";

fn mapping(text: &str) -> Mapping {
    let problems = Problems::default();
    let mapping = Mapping::parse("m.toml", text, &problems);
    assert!(problems.is_empty(), "{:#?}", problems.take());
    mapping.unwrap()
}

fn rows(mapping: &Mapping, profile: &Profile, name: &str, text: &str) -> Vec<String> {
    let problems = Problems::default();
    let bound = mapping.bind(profile, &problems).unwrap();
    bound
        .read(name, text.as_bytes())
        .unwrap()
        .map(|row| row.map_or_else(|error| error.to_string(), |row| shown(&row)))
        .collect()
}

fn shown(row: &Row) -> String {
    let value = |value: &Value| match value {
        Value::Float(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Text(text) => text.to_string(),
    };
    let observations = row.reading.observations.iter().map(|one| {
        let flags: String = one.flags.codes().map(|code| format!("!{code}")).collect();
        format!("{}{flags}", one.value.as_ref().map_or_else(String::new, value))
    });
    let at = row.reading.sampled_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let site = row.site.as_deref().unwrap_or("-");
    format!(
        "{}: {}/{site}/{} {at} {}",
        row.line,
        row.tenant,
        row.device,
        observations.collect::<Vec<_>>().join(" ")
    )
}

#[test]
fn a_long_file_gives_a_reading_for_each_row() {
    let text = "\u{feff}dt,PM2.5,wd,CO,unused\n2013-03-01T00:00:00+08:00,4,NNW,300,\n2013-03-01T01:00:00+08:00,-9999.0,,x,\n\
        soon,NA,N,200000,\n1,2\n";
    assert_eq!(
        rows(&mapping(LONG), &sample(AIR), "Dongsi_2013.csv", text),
        [
            "2: default/beijing/Dongsi 2013-02-28T16:00:00Z 4 0.3 NNW",
            "3: default/beijing/Dongsi 2013-02-28T17:00:00Z !missing !type !missing",
            "4: default/beijing/Dongsi - !missing 200!range N",
            "line 5: the row has 2 cells, the header 5",
        ]
    );
}

#[test]
fn a_wide_file_gives_a_reading_for_each_cell_with_a_value() {
    let text = "step_5min,773869,767542,note\n0,64.375,0,a\n2,,67.125,b\n";
    assert_eq!(
        rows(&mapping(WIDE), &sample(ROAD), "speed.csv", text),
        [
            "2: default/-/773869 2012-03-01T08:00:00Z 103.60152",
            "3: default/-/767542 2012-03-01T08:10:00Z 108.0272160000".trim_end_matches('0'),
        ]
    );
}

#[test]
fn time_may_stand_in_several_columns_and_names_in_columns() {
    let text = LONG
        .replace(
            "{ column = 'dt', format = 'rfc3339' }",
            "{ columns = ['y', 'm', 'd', 'h'], format = '%Y %m %d %H', zone = 'Asia/Shanghai' }",
        )
        .replace("{ filename = '^([A-Za-z]+)' }", "{ column = 'station' }")
        .replace("{ constant = 'beijing' }", "{ column = 'city' }");
    let csv =
        "y,m,d,h,PM2.5,CO,wd,station,city\n2013,3,1,0,4,300,N,Dongsi,bj\n2013,3,1,1,4,300,N,,bj\n";
    assert_eq!(
        rows(&mapping(&text), &sample(AIR), "x.csv", csv),
        ["2: default/bj/Dongsi 2013-02-28T16:00:00Z 4 0.3 N", "line 3: the row names no device"]
    );
}

#[test]
fn rows_without_a_time_are_counted_and_a_bad_one_counts_too() {
    let text = LONG.replace(
        "{ column = 'dt', format = 'rfc3339' }",
        "{ start = '2020-01-01T00:00:00Z', step = '1h' }",
    );
    let text =
        format!("delimiter = ';'\nreceived_at = {{ column = 'at', format = 'unix_s' }}\n{text}");
    let csv = "PM2.5;CO;wd;at\n1;1;N;5\n1\n3;1;N;6\n";
    let (mapping, profile, problems) = (mapping(&text), sample(AIR), Problems::default());
    let bound = mapping.bind(&profile, &problems).unwrap();
    let found: Vec<_> =
        bound.read("Dongsi", csv.as_bytes()).unwrap().filter_map(Result::ok).collect();
    let times: Vec<_> =
        found.iter().map(|row| row.reading.sampled_at.unwrap().to_string()).collect();
    assert_eq!(times, ["2020-01-01T00:00:00Z", "2020-01-01T02:00:00Z"]);
    assert_eq!(found[1].received_at.unwrap().to_string(), "1970-01-01T00:00:06Z");
}

/// Guarantees: what no device, site or tenant can be called is told; no row has it.
#[test]
fn constants_are_names() {
    let long = "\u{3bc}".repeat(129);
    for (text, key) in [
        (LONG.replace("'beijing'", "''"), "site.constant"),
        (LONG.replace("'beijing'", &format!("'{long}'")), "site.constant"),
        (LONG.replace("{ filename = '^([A-Za-z]+)' }", "{ constant = '' }"), "device.constant"),
        (
            LONG.replace("{ filename = '^([A-Za-z]+)' }", r#"{ constant = "a\u0007" }"#),
            "device.constant",
        ),
        (format!("tenant = ''\n{LONG}"), "tenant"),
    ] {
        let problems = Problems::default();
        let mapping = Mapping::parse("m.toml", &text, &problems);
        let told: Vec<String> = problems.take().into_iter().map(|problem| problem.key).collect();
        assert_eq!(told, [key], "{text}");
        assert_eq!(mapping.is_none(), key == "device.constant");
    }
}

#[test]
fn a_file_that_does_not_fit_says_why() {
    let (long, air, problems) = (mapping(LONG), sample(AIR), Problems::default());
    let bound = long.bind(&air, &problems).unwrap();
    let open = |name: &str, text: &str| {
        bound.read(name, text.as_bytes()).err().map(|error| error.to_string())
    };
    assert_eq!(
        open("Dongsi.csv", "dt,PM2_5,wd,CO\n").as_deref(),
        Some("the header has no column `PM2.5`, but `PM2_5`")
    );
    assert_eq!(
        open("2013.csv", "dt,PM2.5,wd,CO\n").as_deref(),
        Some("the file name `2013.csv` gives no device or site")
    );
    assert_eq!(open("Dongsi.csv", "").as_deref(), Some("the header has no column `dt`"));
}

#[test]
fn every_problem_of_a_mapping_is_reported_at_once() {
    let text = "profil = 'x'\nlayout = 'broad'\ndelimiter = ';;'\nsite = { constant = 'a', column = 'b' }\n\
        device = { filename = '(' }\ntime = { column = 'dt', format = '%Y-%m-%d', colour = 1 }\nreceived_at = { start = 'now', step = 'x' }\n\
        [[columns]]\ncolumn = 'a'\n[[columns]]\ncolumn = 'b'\nproperty = 'p'\n[[columns]]\ncolumn = 'c'\nproperty = 'p'\n";
    let problems = Problems::default();
    assert!(Mapping::parse("m.toml", text, &problems).is_none());
    let found: Vec<String> = problems.take().iter().map(|problem| problem.show(Lang::En)).collect();
    let expected = [
        "m.toml: profile: the required key `profile` is missing -> add `profile` (a string)",
        "m.toml:1: profil = \"x\": unknown key `profil` -> did you mean `profile`?",
        "m.toml:2: layout = \"broad\": not one of the choices -> choose one of: long, wide",
        "m.toml:3: delimiter = \";;\": not a delimiter -> write one ASCII character, such as `,`, `;` or `\\t`",
        "m.toml:4: site: exactly one source of the name is needed -> choose one of `constant`, `column`, `filename`",
        "m.toml:5: device.filename = \"(\": not a regular expression",
        "m.toml:6: time.colour = 1: unknown key `colour` -> did you mean `column`?",
        "m.toml:6: time.format = \"%Y-%m-%d\": the pattern has no offset and there is no `zone` -> add `zone`, such as `zone = \"Asia/Shanghai\"`",
        "m.toml:7: received_at.start = \"now\": not an RFC 3339 time -> write it like `2012-03-01T00:00:00Z`",
        "m.toml:7: received_at.step = \"x\": not a duration -> write it like `90s`, `15m`, `2h` or `30d`",
        "m.toml:8: columns[0].property: the required key `property` is missing -> add `property` (a string)",
        "m.toml:15: columns[2].property = \"p\": the property `p` stands twice -> remove one of the two columns",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn columns_are_checked_against_the_profile() {
    let text = LONG
        .replace("'co_mg_m3'\nunit = 'ug/m3'", "'co_mg_m3'\nunit = 'ppb'")
        .replace("'wind'", "'winds'");
    let problems = Problems::default();
    assert!(mapping(&text).bind(&sample(AIR), &problems).is_none());
    let found: Vec<String> = problems.take().iter().map(|problem| problem.show(Lang::En)).collect();
    assert_eq!(
        found,
        [
            "m.toml:11: unit = \"ppb\": `ppb` does not convert to `mg/m3` -> units that convert: mg/m3, ug/m3, ng/m3, g/m3, mg/L, ug/L",
            "m.toml:15: property = \"winds\": profile `air-station` has no property `winds` -> did you mean `wind`?",
        ]
    );
}

/// Reference: 35,064 rows of a real station, with the share of missing values that its source names.
#[test]
fn a_real_station_is_read_whole() {
    let Some(bytes) = shared_data::read("air-beijing/Dongsi.csv.gz") else { return };
    let (mapping, profile, problems) = (mapping(LONG), sample(AIR), Problems::default());
    let bound = mapping.bind(&profile, &problems).unwrap();
    let rows: Vec<Row> = bound.read("Dongsi.csv", &*bytes).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 35_064);
    let hour_nanos = 3_600_000_000_000;
    assert!(rows.windows(2).all(|two| {
        let [a, b] = [0, 1].map(|at| two[at].reading.sampled_at.unwrap().as_nanos());
        b - a == hour_nanos
    }));
    let missing = rows.iter().filter(|row| row.reading.observations[0].value.is_none()).count();
    assert!((350..1754).contains(&missing), "{missing}");
}

#[test]
fn a_week_of_a_hundred_real_detectors_is_read_whole() {
    let Some(bytes) = shared_data::read("traffic-metr-la/speed_mph.csv.gz") else { return };
    let (mapping, profile, problems) = (mapping(WIDE), sample(ROAD), Problems::default());
    let bound = mapping.bind(&profile, &problems).unwrap();
    let rows: Vec<Row> =
        bound.read("speed_mph.csv", &*bytes).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 104 * 2016);
    let speed =
        |row: &Row| row.reading.observations[0].value.as_ref().and_then(Value::as_number).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    let mean = rows.iter().map(speed).sum::<f64>() / rows.len() as f64;
    assert!((mean / 1.609_344 - 58.7).abs() < 0.05, "{mean}");
}
