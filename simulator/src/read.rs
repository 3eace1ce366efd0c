//! Reads a scenario file and notes every problem of it.

use std::time::Duration;

use telemetry::document::{Problems, Section};
use telemetry::registry::{DEFAULT_TENANT, is_region};
use telemetry::text::{Text, say};
use telemetry::time::show_duration;
use telemetry::topic::is_name;

use crate::scenario::{
    AirPart, Climate, Episode, Irrigation, Kind, Part, RoadPart, Scenario, Site, SoilPart,
};

/// Most devices that one part of a scenario may name; more come with `--devices`.
const DEVICES_MAX: i64 = 1_000_000;
/// Most points of a road.
const LINE_MAX: usize = 1000;
/// Least times: between two readings; between two waterings or incidents, which are summed up; between two plumes,
/// each of which is there for most of that.
const LEAST: Duration = Duration::from_secs(1);
const LEAST_BETWEEN: Duration = Duration::from_mins(5);
const LEAST_BETWEEN_PLUMES: Duration = Duration::from_hours(12);
/// The longest such time, ten years: times beyond it would leave the calendar.
const MOST: Duration = Duration::from_hours(24 * 3650);

pub(crate) fn scenario(file: &str, text: &str, problems: &Problems) -> Option<Scenario> {
    let before = problems.len();
    let mut root = Section::parse(file, text, problems);
    let name = name_of(&mut root, "name");
    let about = text_of(&mut root, "about");
    let tenant = root.text("tenant").unwrap_or_else(|| DEFAULT_TENANT.to_owned());
    if !is_level(&tenant) {
        not_a_name(&root, "tenant");
    }
    let offset = number(&mut root, "utc_offset_hours", (-12.0, 14.0)).unwrap_or(8.0);
    let sites: Vec<Site> = root.tables("sites").into_iter().filter_map(site).collect();
    if sites.is_empty() && problems.len() == before {
        root.missing("sites", "kind.table");
    }
    root.finish();
    let utc_offset_ms = crate::maths::floor(offset * 3_600_000.0);
    let scenario = Scenario { name: name?, about: about?, tenant, utc_offset_ms, sites };
    (problems.len() == before).then_some(scenario)
}

fn site(mut section: Section) -> Option<Site> {
    let site = name_of(&mut section, "site");
    let name = text_of(&mut section, "name");
    let region = section.required_text("region");
    if region.as_deref().is_some_and(|region| !is_region(region)) {
        section.problem("region", say("registry.region", &[]), say("registry.region.remedy", &[]));
    }
    let lat = required(&mut section, "lat", (-85.0, 85.0));
    let lon = required(&mut section, "lon", (-180.0, 180.0));
    let sky = section.text("sky");
    let climate = section.table("climate").map_or_else(Climate::default, climate);
    let mut parts = Vec::new();
    for table in section.tables("soil") {
        parts.extend(part(table, ("soil-5in1", 900), soil));
    }
    for table in section.tables("road") {
        parts.extend(part(table, ("traffic-detector", 300), road));
    }
    for table in section.tables("air") {
        parts.extend(part(table, ("air-station", 3600), air));
    }
    if parts.is_empty() && !["soil", "road", "air"].iter().any(|kind| section.has(kind)) {
        let (what, remedy) = (say("simulator.empty", &[]), say("simulator.empty.remedy", &[]));
        section.problem("", what, remedy);
    }
    section.finish();
    let (site, name) = (site?, name?);
    let sky = sky.unwrap_or_else(|| site.clone());
    Some(Site { site, name, region: region?, place: (lat?, lon?), sky, climate, parts })
}

impl Default for Climate {
    /// The North China plain.
    fn default() -> Self {
        Self { mean_c: 13.5, annual_c: 14.5, daily_c: 6.3, rainy: 0.14, rain_mm: 11.0 }
    }
}

fn climate(mut section: Section) -> Climate {
    let usual = Climate::default();
    let climate = Climate {
        mean_c: number(&mut section, "mean_c", (-30.0, 40.0)).unwrap_or(usual.mean_c),
        annual_c: number(&mut section, "annual_c", (0.0, 40.0)).unwrap_or(usual.annual_c),
        daily_c: number(&mut section, "daily_c", (0.0, 20.0)).unwrap_or(usual.daily_c),
        rainy: number(&mut section, "rainy", (0.0, 1.0)).unwrap_or(usual.rainy),
        rain_mm: number(&mut section, "rain_mm", (0.0, 200.0)).unwrap_or(usual.rain_mm),
    };
    section.finish();
    climate
}

fn part(
    mut section: Section,
    (profile, interval_s): (&str, u64),
    kind: fn(&mut Section) -> Option<Kind>,
) -> Option<Part> {
    let prefix = name_of(&mut section, "prefix");
    let devices = section.integer("devices", 1..=DEVICES_MAX).unwrap_or(1);
    let name = text_of(&mut section, "name");
    let profile = section.text("profile").unwrap_or_else(|| profile.to_owned());
    let interval = span(&mut section, "interval", LEAST).unwrap_or(Duration::from_secs(interval_s));
    let kind = kind(&mut section);
    section.finish();
    let devices = u32::try_from(devices).unwrap_or(1);
    Some(Part { prefix: prefix?, devices, name: name?, profile, interval, kind: kind? })
}

fn soil(section: &mut Section) -> Option<Kind> {
    let residual = number(section, "residual", (0.0, 0.4)).unwrap_or(0.10);
    let dry_days = number(section, "dry_days", (0.1, 100.0)).unwrap_or(13.5);
    let is_covered = section.truth("covered").unwrap_or(false);
    let irrigation = section.table("irrigation").map(|mut table| {
        let irrigation = (
            required_span(&mut table, "every", LEAST_BETWEEN),
            required_span(&mut table, "first", LEAST),
            required(&mut table, "rise", (0.0, 0.4)),
        );
        table.finish();
        Some(Irrigation { every: irrigation.0?, first: irrigation.1?, rise: irrigation.2? })
    });
    let irrigation = match irrigation {
        Some(irrigation) => Some(irrigation?),
        None => None,
    };
    Some(Kind::Soil(SoilPart { residual, dry_days, is_covered, irrigation }))
}

fn road(section: &mut Section) -> Option<Kind> {
    let line = section.numbers("line").unwrap_or_default();
    let pairs: Vec<(f64, f64)> =
        line.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect();
    let are_places = pairs.iter().all(|(lat, lon)| lat.abs() <= 85.0 && lon.abs() <= 180.0);
    if !line.len().is_multiple_of(2) || pairs.len() > LINE_MAX || !are_places {
        section.problem("line", say("simulator.line", &[]), say("simulator.line.remedy", &[]));
        return None;
    }
    Some(Kind::Road(RoadPart {
        first_km: number(section, "first_km", (0.0, 10_000.0)).unwrap_or(0.0),
        spacing_km: number(section, "spacing_km", (0.05, 20.0)).unwrap_or(0.8),
        line: pairs,
        free_km_h: number(section, "free_km_h", (20.0, 130.0)).unwrap_or(80.0),
        peak_veh_per_h: number(section, "peak_veh_per_h", (10.0, 2000.0)).unwrap_or(1600.0),
        weekend: number(section, "weekend", (0.0, 1.2)).unwrap_or(0.72),
        incident_every: span(section, "incident_every", LEAST_BETWEEN),
        has_bottleneck: section.truth("bottleneck").unwrap_or(false),
    }))
}

fn air(section: &mut Section) -> Option<Kind> {
    let pm2_5_median = number(section, "pm2_5_median", (1.0, 300.0)).unwrap_or(55.0);
    let spread = number(section, "spread", (0.0, 1.5)).unwrap_or(1.07);
    let episode = section.table("episode").map(|mut table| {
        let episode = (
            required_span(&mut table, "every", LEAST_BETWEEN_PLUMES),
            required_span(&mut table, "first", LEAST),
            required(&mut table, "peak", (0.0, 2000.0)),
        );
        table.finish();
        Some(Episode { every: episode.0?, first: episode.1?, peak: episode.2? })
    });
    let episode = match episode {
        Some(episode) => Some(episode?),
        None => None,
    };
    Some(Kind::Air(AirPart { pm2_5_median, spread, episode }))
}

fn number(section: &mut Section, key: &'static str, (least, most): (f64, f64)) -> Option<f64> {
    let number = section.number(key)?;
    if (least..=most).contains(&number) {
        return Some(number);
    }
    let args: [(&str, &dyn std::fmt::Display); 2] = [("least", &least), ("most", &most)];
    section.problem(key, say("simulator.beyond", &args), say("simulator.beyond.remedy", &args));
    None
}

fn required(section: &mut Section, key: &'static str, bounds: (f64, f64)) -> Option<f64> {
    if !section.has(key) {
        section.missing(key, "kind.number");
        return None;
    }
    number(section, key, bounds)
}

fn span(section: &mut Section, key: &'static str, least: Duration) -> Option<Duration> {
    let span = section.duration(key)?;
    if (least..=MOST).contains(&span) && span.subsec_nanos() == 0 {
        return Some(span);
    }
    let (least, most) = (show_duration(least), show_duration(MOST));
    let args: [(&str, &dyn std::fmt::Display); 2] = [("least", &least), ("most", &most)];
    section.problem(key, say("simulator.span", &args), say("simulator.span.remedy", &args));
    None
}

fn required_span(section: &mut Section, key: &'static str, least: Duration) -> Option<Duration> {
    if !section.has(key) {
        section.missing(key, "kind.duration");
        return None;
    }
    span(section, key, least)
}

/// Reads a text, or one in both languages.
fn text_of(section: &mut Section, key: &'static str) -> Option<Text> {
    if !section.has(key) {
        section.missing(key, "rules.kind.message");
        return None;
    }
    let is_plain = matches!(
        section.node(key).map(|node| node.value),
        Some(telemetry::document::NodeValue::Text(_))
    );
    if is_plain {
        return section.text(key).map(Text::plain);
    }
    let mut both = section.table(key)?;
    let (zh, en) = (both.required_text("zh"), both.required_text("en"));
    both.finish();
    Some(Text { zh: zh?, en: en? })
}

/// Reads a name that a level of a topic can carry.
fn name_of(section: &mut Section, key: &'static str) -> Option<String> {
    let name = section.required_text(key)?;
    if is_level(&name) {
        return Some(name);
    }
    not_a_name(section, key);
    None
}

fn not_a_name(section: &Section, key: &str) {
    section.problem(key, say("registry.name", &[]), say("registry.name.remedy", &[]));
}

fn is_level(name: &str) -> bool {
    is_name(name) && !name.contains(['/', '+', '#'])
}

#[cfg(test)]
mod tests {
    use telemetry::text::Lang;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let problems = Problems::default();
        let scenario = scenario("x.toml", text, &problems);
        let shown: Vec<String> = problems.take().iter().map(|one| one.show(Lang::En)).collect();
        assert_eq!(scenario.is_none(), !shown.is_empty());
        shown
    }

    #[test]
    fn every_problem_is_named_with_its_line_and_remedy() {
        let found = problems(
            "name = \"a/b\"\nabout = \"x\"\n[[sites]]\nsite = \"s\"\nname = { zh = \"田\" }\nregion = \"45\"\nlat = 99\n\
             [[sites.soil]]\nprefix = \"p\"\ndevices = 0\nname = \"n\"\nresidul = 0.1\n\
             [[sites]]\nsite = \"t\"\nname = \"t\"\nregion = \"450110\"\nlat = 1\nlon = 1\n\
             [[sites.road]]\nprefix = \"r\"\nname = \"n\"\nline = [1.0, 2.0, 3.0]\nincident_every = \"10ms\"\n",
        );
        let places: Vec<&str> = found.iter().filter_map(|one| one.split(": ").nth(1)).collect();
        let at: Vec<&str> = found.iter().filter_map(|one| one.split(": ").next()).collect();
        assert_eq!(at.len(), places.len());
        let all = found.join("\n");
        for part in [
            "x.toml:1: name = \"a/b\"",
            "sites[0].name.en",
            "sites[0].region = \"45\"",
            "sites[0].lat = 99",
            "sites[0].lon",
            "sites[0].soil[0].devices = 0",
            "residul",
            "sites[1].road[0].line",
        ] {
            assert!(all.contains(part), "{part} in\n{all}");
        }
    }

    #[test]
    fn a_scenario_without_a_site_or_with_an_empty_one_is_refused() {
        assert_eq!(problems("name = \"a\"\nabout = \"b\"\n").len(), 1);
        let empty = "name = \"a\"\nabout = \"b\"\n[[sites]]\nsite = \"s\"\nname = \"s\"\nregion = \"450110\"\nlat = 1\nlon = 1\n";
        assert_eq!(problems(empty).len(), 1);
        let whole = format!("{empty}[[sites.air]]\nprefix = \"a\"\nname = \"n {{n}}\"\n");
        assert_eq!(problems(&whole), [] as [&str; 0]);
    }
}
