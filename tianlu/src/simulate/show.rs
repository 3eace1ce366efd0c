//! `simulate list` and `simulate describe`.

use serde_json::{Value, json};
use simulator::{Part, Scenario, Site};
use telemetry::text::{Lang, say};
use telemetry::time::show_duration;

use super::plan::scenario;
use crate::out::{self, Format};
use crate::playback::fault::Fault;

/// Lists the built-in scenarios.
pub(super) fn list(format: Format, lang: Lang) {
    let all: Vec<Scenario> = Scenario::list().collect();
    match format {
        Format::Json => out::json(&all.iter().map(summary_json).collect()),
        Format::Text => {
            let rows: Vec<Vec<String>> = all
                .iter()
                .map(|one| vec![one.name.clone(), one.devices().to_string(), one.about.show(lang)])
                .collect();
            out::table(&header(&["name", "devices", "about"], lang), &rows);
        }
    }
}

/// Says what a scenario has.
pub(super) fn describe(wanted: &str, format: Format, lang: Lang) -> Result<(), Fault> {
    let scenario = scenario(wanted)?;
    match format {
        Format::Json => {
            let mut told = summary_json(&scenario);
            let parts = parts(&scenario).map(|(site, part)| part_json(site, part));
            if let Value::Object(members) = &mut told {
                members.insert("parts".to_owned(), parts.collect());
            }
            out::json(&told);
        }
        Format::Text => {
            out::line(&format!("{}: {}", scenario.name, scenario.about.show(lang)));
            let columns = ["site", "kind", "devices", "interval", "profile", "region", "place"];
            let rows: Vec<Vec<String>> =
                parts(&scenario).map(|(site, part)| row(site, part, lang)).collect();
            out::table(&header(&columns, lang), &rows);
        }
    }
    Ok(())
}

fn parts(scenario: &Scenario) -> impl Iterator<Item = (&Site, &Part)> {
    scenario.sites.iter().flat_map(|site| site.parts.iter().map(move |part| (site, part)))
}

fn header(columns: &[&str], lang: Lang) -> Vec<String> {
    let name = |column: &&str| say(&format!("tianlu.simulate.column.{column}"), &[]).show(lang);
    columns.iter().map(name).collect()
}

fn row(site: &Site, part: &Part, lang: Lang) -> Vec<String> {
    vec![
        site.site.clone(),
        part.kind.as_str().to_owned(),
        part.devices.to_string(),
        show_duration(part.interval),
        part.profile.clone(),
        site.region.clone(),
        site.name.show(lang),
    ]
}

fn summary_json(scenario: &Scenario) -> Value {
    json!({
        "name": scenario.name,
        "devices": scenario.devices(),
        "about": out::text_json(&scenario.about),
    })
}

fn part_json(site: &Site, part: &Part) -> Value {
    json!({
        "site": site.site,
        "site_name": out::text_json(&site.name),
        "region": site.region,
        "lat": site.place.0,
        "lon": site.place.1,
        "kind": part.kind.as_str(),
        "devices": part.devices,
        "interval": show_duration(part.interval),
        "profile": part.profile,
    })
}
