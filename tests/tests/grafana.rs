//! The Grafana dashboard: it asks for what the profiles of the packs have, and InfluxDB answers.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use proof::influx::Influx;
use proof::place::workspace;
use proof::wait::now_ms;
use serde_json::Value;

/// Measurement to fields, as profiles have them.
type Schema = BTreeMap<String, BTreeSet<String>>;

fn grafana() -> PathBuf {
    workspace().join("dashboards/grafana")
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(grafana().join("tianlu.json")).unwrap()).unwrap()
}

fn schema() -> Schema {
    let mut schema = Schema::new();
    for entry in fs::read_dir(workspace().join("packs/profiles")).unwrap() {
        let profile: toml::Table =
            fs::read_to_string(entry.unwrap().path()).unwrap().parse().unwrap();
        let fields = schema.entry(profile["measurement"].as_str().unwrap().to_owned()).or_default();
        let properties = profile["properties"].as_array().unwrap();
        fields.extend(properties.iter().map(|property| property["name"].as_str().unwrap().into()));
    }
    schema
}

/// Returns what asks InfluxDB, with the title of its panel or the name of its variable.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let of = |holder: &Value, name: &str| {
        (holder[name].as_str().unwrap().to_owned(), holder["query"].as_str().map(str::to_owned))
    };
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let mut found: Vec<_> = variables
        .iter()
        .map(|variable| of(variable, "name"))
        .map(|(name, query)| (name, query.unwrap()))
        .collect();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().unwrap().to_owned();
            found.push((title, target["query"].as_str().unwrap().to_owned()));
        }
    }
    found
}

/// Returns the texts that a query compares a column with.
fn compared(query: &str, column: &str) -> Vec<String> {
    let start = format!("r.{column} == \"");
    let parts = query.split(start.as_str()).skip(1);
    parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

/// Returns the columns that a query reads of its rows.
fn columns(query: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let of_row = query.match_indices("r.").filter(|(at, _)| {
        query.get(..*at).unwrap().chars().next_back().is_none_or(|before| !is_name(before))
    });
    of_row
        .map(|(at, _)| query.get(at + 2..).unwrap().split(|c| !is_name(c)).next().unwrap().into())
        .collect()
}

/// Guarantees: each query names a measurement of the packs' profiles and fields that it has, our tags, the bucket.
#[test]
fn each_query_names_what_the_profiles_have() {
    let schema = schema();
    let queries = queries();
    assert!(queries.len() >= 12, "{queries:?}");
    let known = BTreeSet::from(["_measurement", "_field", "site", "device"].map(str::to_owned));
    for (title, query) in &queries {
        assert!(query.contains("bucket: \"telemetry\""), "{title}: {query}");
        let read = columns(query);
        assert!(read.is_subset(&known), "{title} reads {read:?}");
        let (measurements, fields) = (compared(query, "_measurement"), compared(query, "_field"));
        for measurement in &measurements {
            let has = schema.get(measurement);
            let has = has.unwrap_or_else(|| panic!("{title}: no profile writes `{measurement}`"));
            assert!(fields.iter().any(|field| has.contains(field)), "{title}: {query}");
        }
        for field in &fields {
            let has = measurements.iter().any(|measurement| schema[measurement].contains(field));
            assert!(has, "{title}: no profile of {measurements:?} has `{field}`");
        }
        let asks_for_flags = query.contains("r._field =~ /_flag$/");
        let is_variable = query.contains("schema.tagValues");
        assert!(!fields.is_empty() || asks_for_flags || is_variable, "{title}: {query}");
    }
}

/// Guarantees: soil, traffic and air each have a panel, all titles are Chinese and English, all panels ask the one
/// data source that is provisioned.
#[test]
fn the_domains_are_there_in_both_languages() {
    let asked: BTreeSet<_> =
        queries().iter().flat_map(|(_, query)| compared(query, "_field")).collect();
    for field in
        ["soil_moisture_10cm", "flow_veh_per_h", "speed_km_h", "occupancy_pct", "pm2_5_ug_m3"]
    {
        assert!(asked.contains(field), "no panel shows {field}");
    }
    let source =
        fs::read_to_string(grafana().join("provisioning/datasources/influxdb.yaml")).unwrap();
    let dashboard = dashboard();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let is_chinese = title.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        assert!(is_chinese && title.chars().any(|c| c.is_ascii_alphabetic()), "{title}");
        if panel["type"] != "row" {
            let uid = panel["datasource"]["uid"].as_str().unwrap();
            assert!(source.contains(&format!("uid: {uid}\n")), "{title} asks {uid}");
        }
    }
}

/// Guarantees: panels neither overlap nor leave the grid of 24 columns, and have ids of their own.
#[test]
fn panels_have_a_place_of_their_own() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for y in side("y")..side("y") + side("h") {
            for x in side("x")..side("x") + side("w") {
                assert!(taken.insert((x, y)), "{} stands on another panel", panel["title"]);
            }
        }
    }
}

/// Replaces what Grafana replaces: its variables in text, and `v`.
fn as_asked(query: &str) -> String {
    let text = query.replace("${site:regex}", "(s1|s2)").replace("${device:regex}", ".*");
    assert!(!text.contains("${"), "{text}");
    let v = "option v = {timeRangeStart: -6h, timeRangeStop: now(), windowPeriod: 1m}";
    let (imports, rest): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.starts_with("import "));
    [imports.join("\n"), v.to_owned(), rest.join("\n")].join("\n")
}

/// Scenario: one point of each profile, with every field and a flag, in a real InfluxDB.
/// Guarantees: each query is one that InfluxDB takes, and it finds what was written.
#[test]
fn influxdb_answers_each_query() {
    let Some(influx) = Influx::start() else { return };
    let at = now_ms() - 600_000;
    for (measurement, fields) in schema() {
        let values: Vec<_> = fields.iter().map(|field| format!("{field}=1.5")).collect();
        let flag = format!("{}_flag=\"range\"", fields.first().unwrap());
        let tags = format!("tenant=default,site=s1,device={measurement}-1");
        influx.write(&format!("{measurement},{tags} {},{flag} {at}000000\n", values.join(",")));
    }
    for (title, query) in queries() {
        let query = as_asked(&query);
        // Its own reader leaves times out, and wants a column that is never empty.
        let rows = influx.query(&query);
        assert!(!rows.is_empty(), "{title} found nothing: {query}");
        for field in compared(&query, "_field") {
            let found = rows.iter().any(|row| row["_field"] == field.as_str());
            assert!(found, "{title} did not find {field}: {rows:?}");
        }
    }
}
