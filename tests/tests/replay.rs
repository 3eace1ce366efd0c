//! Recorded data through `tianlu replay`: what its README says of rows, sentinels, zones and repeats comes out,
//! and twice the same bytes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proof::letters::{list, text};
use proof::line::{Line, read};
use proof::place::{shared_data, workspace};
use proof::tianlu::run_with;
use serde_json::Value;
use tempfile::TempDir;

const HOUR_NS: i64 = 3_600_000_000_000;

/// What one reading must come to: its property names to the value, `None` for a missing one.
type Told = BTreeMap<&'static str, Option<f64>>;
/// Device and nanoseconds to reading.
type AllTold = BTreeMap<(String, i64), Told>;

struct Replayed {
    points: String,
    alerts: String,
    dead: Vec<Value>,
    summary: Value,
}

struct Source<'a> {
    inputs: Vec<PathBuf>,
    mapping: &'a str,
    profiles: &'a str,
    rules: Option<&'a str>,
}

/// Replays twice, the second time in another zone and language, and compares every byte.
fn replay(source: &Source<'_>) -> Replayed {
    let dir = TempDir::new().unwrap();
    let first = replay_once(source, dir.path(), "first", &[("TZ", "UTC")]);
    let second = replay_once(
        source,
        dir.path(),
        "second",
        &[("TZ", "Asia/Kolkata"), ("LANG", "zh_CN.UTF-8")],
    );
    for (kind, (one, other)) in
        ["points", "alerts", "dead letters", "summary"].iter().zip(first.iter().zip(&second))
    {
        assert!(one == other, "the {kind} of two replays differ");
    }
    let [points, alerts, dead, summary] = first;
    Replayed { points, alerts, dead: list(&dead), summary: serde_json::from_str(&summary).unwrap() }
}

fn replay_once(
    source: &Source<'_>,
    dir: &Path,
    name: &str,
    environment: &[(&str, &str)],
) -> [String; 4] {
    let packs = workspace().join("packs");
    let mut args = vec!["replay".to_owned()];
    args.extend(source.inputs.iter().map(|input| input.display().to_string()));
    let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    option("mapping", packs.join("mappings").join(source.mapping).display().to_string());
    option("profiles", packs.join(source.profiles).display().to_string());
    if let Some(rules) = source.rules {
        option("rules", packs.join(rules).display().to_string());
    }
    option("speed", "max".to_owned());
    let files = ["points.lp", "alerts.ndjson", "dead.ndjson", "summary.json"]
        .map(|kind| format!("{name}.{kind}"));
    for (kind, file) in ["points", "alerts", "dead", "summary"].iter().zip(&files) {
        option(kind, file.clone());
    }
    drop(run_with(dir, &args, environment).ended(0));
    files.map(|file| fs::read_to_string(dir.join(&file)).unwrap_or_else(|e| panic!("{file}: {e}")))
}

/// Reads a gzip CSV; each row by column name.
fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

fn number(cell: &str, sentinels: &[&str]) -> Option<f64> {
    (!sentinels.contains(&cell)).then(|| cell.parse().unwrap())
}

fn nanos(local: DateTime, zone: &TimeZone) -> i64 {
    let at = zone.to_ambiguous_zoned_datetime(local).earlier().unwrap().timestamp().as_nanosecond();
    i64::try_from(at).unwrap()
}

/// Compares every point with what was told, value by value; ranges are those of the profiles used here.
fn assert_points(points: &str, told: &AllTold, range: impl Fn(&str) -> (f64, f64)) {
    let mut found: BTreeMap<(String, i64), Line> = BTreeMap::new();
    for line in points.lines().map(read) {
        let before = found.insert((line.tags["device"].clone(), line.at), line.clone());
        assert!(before.is_none(), "twice: {line:?}");
    }
    assert_eq!(found.len(), told.len());
    for (key, properties) in told {
        let line = found.get(key).unwrap_or_else(|| panic!("no point of {key:?}"));
        let mut expected = 0;
        for (name, value) in properties {
            let flag = line.fields.get(&format!("{name}_flag")).map(String::as_str);
            let Some(value) = value else {
                assert_eq!(
                    (flag, line.fields.get(*name)),
                    (Some("missing"), None),
                    "{name} of {line:?}"
                );
                expected += 1;
                continue;
            };
            let stored: f64 = line.fields[*name].parse().unwrap();
            assert!(
                (stored - value).abs() <= value.abs() * 1e-11,
                "{name}: {value} told, {line:?}"
            );
            let (least, most) = range(name);
            let in_range = (least..=most).contains(value);
            assert_eq!(flag, (!in_range).then_some("range"), "{name} of {line:?}");
            expected += if in_range { 1 } else { 2 };
        }
        assert_eq!(line.fields.len(), expected, "{line:?}");
    }
}

/// The summary holds the balance: nothing is held, and each sum is exact.
fn assert_summary(replayed: &Replayed, decoded: usize, duplicate: usize) {
    let readings = &replayed.summary["readings"];
    let of = |key: &str| {
        readings[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {}", replayed.summary))
    };
    let count = |n: usize| u64::try_from(n).unwrap();
    assert_eq!((of("decoded"), of("duplicate"), of("held")), (count(decoded), count(duplicate), 0));
    assert_eq!(
        (of("stored"), of("dead")),
        (count(replayed.points.lines().count()), count(replayed.dead.len()))
    );
    assert_eq!(of("decoded"), of("stored") + of("dead") + of("duplicate"));
}

/// Scenario: six stations, 35,064 hours each, with the rules of the air pack.
/// Guarantees: 210,384 points at the hour of the source's +08:00, CO in mg/m3, each empty cell `missing`; alerts.
#[test]
fn beijing_air_comes_out_hour_by_hour() {
    let Some(folder) = shared_data("air-beijing") else { return };
    let stations = ["Aotizhongxin", "Changping", "Dongsi", "Guanyuan", "Huairou", "Tiantan"];
    let inputs: Vec<_> =
        stations.iter().map(|station| folder.join(format!("{station}.csv.gz"))).collect();
    let columns = [
        ("PM2.5", "pm2_5_ug_m3", 1.0),
        ("PM10", "pm10_ug_m3", 1.0),
        ("SO2", "so2_ug_m3", 1.0),
        ("NO2", "no2_ug_m3", 1.0),
        ("CO", "co_mg_m3", 0.001),
        ("O3", "o3_ug_m3", 1.0),
        ("TEMP", "air_temp_c", 1.0),
        ("PRES", "pressure_hpa", 1.0),
        ("DEWP", "dew_point_c", 1.0),
        ("RAIN", "rain_mm", 1.0),
        ("WSPM", "wind_speed_m_s", 1.0),
    ];
    let mut told = AllTold::new();
    for (station, input) in stations.iter().zip(&inputs) {
        for (hour, row) in rows(input).iter().enumerate() {
            // The first label is 2013-03-01T00:00:00+08:00, and no hour is left out.
            let at = 1_362_067_200_000_000_000 + i64::try_from(hour).unwrap() * HOUR_NS;
            let cell = |&(column, name, factor): &(&str, &'static str, f64)| {
                (name, number(&row[column], &[""]).map(|value| value * factor))
            };
            told.insert(((*station).to_owned(), at), columns.iter().map(cell).collect());
        }
    }
    let source = Source {
        inputs,
        mapping: "air-beijing.toml",
        profiles: "profiles",
        rules: Some("rules/air"),
    };
    let replayed = replay(&source);
    assert_points(&replayed.points, &told, |_| (-100.0, 10_000.0));
    assert_eq!(replayed.dead.len(), 0);
    assert_summary(&replayed, 210_384, 0);
    let alerts = list(&replayed.alerts);
    assert!(
        alerts
            .iter()
            .any(|alert| text(alert, "state") == "firing" && text(alert, "site") == "beijing")
    );
    assert!(alerts.iter().all(|alert| stations.contains(&text(alert, "device"))));
}

/// Scenario: 104 detectors in one wide file of 2,016 numbered steps of five minutes.
/// Guarantees: a point a cell, seven days from the start the mapping names.
#[test]
fn los_angeles_speeds_come_out_cell_by_cell() {
    let Some(folder) = shared_data("traffic-metr-la") else { return };
    let input = folder.join("speed_mph.csv.gz");
    let mut told = AllTold::new();
    for row in rows(&input) {
        let step: i64 = row["step_5min"].parse().unwrap();
        let at = 1_330_560_000_000_000_000 + step * HOUR_NS / 12;
        for (sensor, cell) in row.iter().filter(|(column, _)| *column != "step_5min") {
            told.insert((sensor.clone(), at), Told::from([("speed_mph", number(cell, &[]))]));
        }
    }
    let source = Source {
        inputs: vec![input],
        mapping: "traffic-metr-la.toml",
        profiles: "mappings/profiles",
        rules: None,
    };
    let replayed = replay(&source);
    assert_points(&replayed.points, &told, |_| (0.0, 100.0));
    assert_summary(&replayed, 104 * 2016, 0);
    assert_eq!((replayed.dead.len(), replayed.alerts.as_str()), (0, ""));
}

/// Scenario: 20,344 hourly rows in local time, 2,853 of them with the time of an earlier one.
/// Guarantees: the first row of each hour is stored, at its hour in UTC; a row with the same numbers is a
/// duplicate, one with other numbers a `time_conflict`, and together they are all; 0 K is flagged, and kept.
#[test]
fn repeated_hours_of_i94_are_duplicates_or_conflicts_and_add_up() {
    let Some(folder) = shared_data("traffic-i94-hourly") else { return };
    let input = folder.join("2012-2015.csv.gz");
    let chicago = TimeZone::get("America/Chicago").unwrap();
    let (mut told, mut duplicates, mut conflicts) = (AllTold::new(), 0, 0);
    let all = rows(&input);
    for row in &all {
        let at = nanos(row["date_time"].replace(' ', "T").parse().unwrap(), &chicago);
        let cell = |column: &str| number(&row[column], &[]).unwrap();
        let reading = Told::from([
            ("flow_veh_per_h", Some(cell("traffic_volume"))),
            ("air_temp_c", Some(((cell("temp") - 273.15) * 1e6).round() / 1e6)),
            ("rain_mm", Some(cell("rain_1h"))),
            ("snow_mm", Some(cell("snow_1h"))),
            ("cloud_cover_pct", Some(cell("clouds_all"))),
        ]);
        match told.get(&("i94-301-westbound".to_owned(), at)) {
            None => drop(told.insert(("i94-301-westbound".to_owned(), at), reading)),
            Some(first) if *first == reading => duplicates += 1,
            Some(_) => conflicts += 1,
        }
    }
    assert_eq!(
        (all.len(), told.len(), duplicates + conflicts),
        (20_344, 17_491, 2853),
        "as its README says"
    );
    let source = Source {
        inputs: vec![input],
        mapping: "traffic-i94-hourly.toml",
        profiles: "mappings/profiles",
        rules: None,
    };
    let replayed = replay(&source);
    assert_points(&replayed.points, &told, |name| {
        if name == "air_temp_c" { (-60.0, 60.0) } else { (0.0, 20_000.0) }
    });
    assert_eq!(replayed.points.matches("air_temp_c_flag=\"range\"").count(), 10);
    assert_eq!(replayed.dead.len(), conflicts);
    assert!(replayed.dead.iter().all(|letter| text(letter, "reason") == "time_conflict"));
    assert_summary(&replayed, 20_344, duplicates);
}

/// Scenario: three years of days in local standard time, -9999 and -99 for missing, one value above its range.
/// Guarantees: each day stands at 06:00 UTC, summer and winter; sentinels are `missing`, never numbers.
#[test]
fn sentinels_of_manhattan_are_missing_and_days_stand_at_local_standard_midnight() {
    let Some(folder) = shared_data("soil-uscrn-manhattan-ks") else { return };
    let input = folder.join("daily.csv.gz");
    let columns = [
        ("P_DAILY_CALC", "rain_mm"),
        ("SOLARAD_DAILY", "solar_mj_m2"),
        ("T_DAILY_MAX", "air_temp_max_c"),
        ("T_DAILY_MIN", "air_temp_min_c"),
        ("T_DAILY_AVG", "air_temp_avg_c"),
        ("RH_DAILY_AVG", "rh_avg_pct"),
        ("SOIL_MOISTURE_5_DAILY", "soil_moisture_5cm"),
        ("SOIL_MOISTURE_10_DAILY", "soil_moisture_10cm"),
        ("SOIL_MOISTURE_20_DAILY", "soil_moisture_20cm"),
        ("SOIL_MOISTURE_50_DAILY", "soil_moisture_50cm"),
        ("SOIL_MOISTURE_100_DAILY", "soil_moisture_100cm"),
        ("SOIL_TEMP_5_DAILY", "soil_temp_5cm_c"),
        ("SOIL_TEMP_10_DAILY", "soil_temp_10cm_c"),
        ("SOIL_TEMP_20_DAILY", "soil_temp_20cm_c"),
        ("SOIL_TEMP_50_DAILY", "soil_temp_50cm_c"),
        ("SOIL_TEMP_100_DAILY", "soil_temp_100cm_c"),
    ];
    let (mut told, mut empty) = (AllTold::new(), 0);
    let all = rows(&input);
    for (day, row) in all.iter().enumerate() {
        let at = 1_262_304_000_000_000_000 + (i64::try_from(day).unwrap() * 24 + 6) * HOUR_NS;
        let reading: Told = columns
            .iter()
            .map(|(column, name)| (*name, number(&row[*column], &["-9999", "-99"])))
            .collect();
        if reading.values().all(Option::is_none) {
            empty += 1;
        } else {
            told.insert((row["WBANNO"].clone(), at), reading);
        }
    }
    let missing =
        told.values().filter(|reading| reading["soil_moisture_5cm"].is_none()).count() + empty;
    assert_eq!((all.len(), missing), (1096, 66), "as its README says");
    let source = Source {
        inputs: vec![input],
        mapping: "soil-uscrn.toml",
        profiles: "mappings/profiles",
        rules: None,
    };
    let replayed = replay(&source);
    let range = |name: &str| match name {
        name if name.starts_with("soil_moisture") => (0.0, 0.6),
        "rain_mm" | "solar_mj_m2" | "rh_avg_pct" => (0.0, 500.0),
        _ => (-60.0, 60.0),
    };
    assert_points(&replayed.points, &told, range);
    assert_eq!(replayed.dead.len(), empty);
    assert!(replayed.dead.iter().all(|letter| text(letter, "reason") == "no_value"));
    assert_summary(&replayed, 1096, 0);
}
