//! From the text of a profile to a checked one, with every problem on the way.

use super::time_rule::time_rule;
use super::{
    Batch, CodecKind, Domain, PROPERTIES_MAX, Profile, Property, PropertyType, TAGS_MAX, TagSource,
};
use crate::codec::plan::Plan;
use crate::document::{Problems, Section};
use crate::line_protocol::FieldOrder;
use crate::path::Path;
use crate::text::say;
use crate::unit::{Conversion, Unit};

const CODECS: [(&str, CodecKind); 4] = [
    ("json", CodecKind::Json),
    ("frame", CodecKind::Frame),
    ("line_protocol", CodecKind::LineProtocol),
    ("csv", CodecKind::Csv),
];
const TYPES: [(&str, PropertyType); 4] = [
    ("float", PropertyType::Float),
    ("int", PropertyType::Int),
    ("bool", PropertyType::Bool),
    ("string", PropertyType::Text),
];
/// Tags that every point has.
const OWN_TAGS: [&str; 3] = ["tenant", "site", "device"];
/// Fields that Tianlu or the store keeps for itself.
const OWN_FIELDS: [&str; 3] = ["time", "time_flag", "sampled_at_raw"];

pub(super) fn profile(file: &str, text: &str, problems: &Problems) -> Option<Profile> {
    let mut section = Section::parse(file, text, problems);
    let name = section.required_text("name");
    let domain = required_choice(&mut section, "domain", &Domain::ALL);
    let measurement =
        section.required_text("measurement").filter(|text| check_measurement(&section, text));
    let interval = section.required_duration("interval");
    if interval.is_some_and(|interval| interval.is_zero()) {
        section.problem(
            "interval",
            say("profile.interval", &[]),
            say("profile.interval.remedy", &[]),
        );
    }
    let codec = required_choice(&mut section, "codec", &CODECS);
    let tags = tags(&mut section);
    let batch = section.table("batch").map(batch);
    let time = time_rule(section.table("time"), codec);
    let sequence = section.table("sequence").and_then(|mut below| {
        let path = required_path(&mut below, "path");
        below.finish();
        path
    });
    let (properties, is_whole) = properties(&mut section, &tags);
    section.finish();
    let (domain, codec) = (domain?, codec?);
    let (name, measurement, interval) = (name?, measurement?, interval?);
    if properties.is_empty() || !is_whole {
        return None;
    }
    let plan = Plan::default();
    let fields = FieldOrder::of(&measurement, &properties);
    let mut profile = Profile {
        name,
        domain,
        measurement,
        interval,
        codec,
        tags,
        batch,
        time,
        sequence,
        properties,
        plan,
        fields,
    };
    profile.plan = Plan::of(&profile);
    Some(profile)
}

fn required_choice<T: Clone>(
    section: &mut Section,
    key: &'static str,
    choices: &[(&str, T)],
) -> Option<T> {
    if !section.has(key) {
        section.missing(key, "kind.string");
    }
    section.choice(key, choices)
}

/// Reads a path that may be empty.
pub(super) fn path(section: &mut Section, key: &'static str) -> Option<Path> {
    let text = section.text(key)?;
    let path = Path::parse(&text);
    if path.is_none() {
        section.problem(key, say("profile.path", &[]), say("profile.path.remedy", &[]));
    }
    path
}

fn required_path(section: &mut Section, key: &'static str) -> Option<Path> {
    section.required_text(key).and_then(|_| path(section, key))
}

fn batch(mut section: Section) -> Batch {
    if !section.has("path") {
        section.missing("path", "kind.string");
    }
    let array = path(&mut section, "path");
    let device = path(&mut section, "device");
    if device.as_ref().is_some_and(|path| path.steps().is_empty()) {
        section.problem("device", say("document.empty", &[]), say("document.empty.remedy", &[]));
    }
    section.finish();
    // A wrong path is already a problem; the root stands in for it while the rest is checked.
    Batch { path: array.unwrap_or_else(Path::root), device }
}

fn tags(section: &mut Section) -> Vec<TagSource> {
    let mut tags: Vec<TagSource> = Vec::new();
    for written in section.texts("tags").unwrap_or_default() {
        let path = Path::parse(&written);
        let name = path.as_ref().and_then(Path::last_key).map(str::to_owned);
        let wrong = |what: &str, remedy: &str| {
            let shown = crate::problem::excerpt(&format!("\"{written}\""));
            section.problem_with("tags", shown, say(what, &[("name", &written)]), say(remedy, &[]));
        };
        let (Some(path), Some(name)) = (path, name) else {
            wrong("profile.path", "profile.path.remedy");
            continue;
        };
        if !is_safe(&name)
            || OWN_TAGS.contains(&name.as_str())
            || tags.iter().any(|tag| tag.name == name)
        {
            wrong("profile.tag", "profile.tag.remedy");
            continue;
        }
        tags.push(TagSource { name, path });
    }
    if tags.len() > TAGS_MAX {
        let args: [(&str, &dyn std::fmt::Display); 1] = [("most", &TAGS_MAX)];
        section.problem(
            "tags",
            say("profile.too_many_tags", &args),
            say("profile.too_many_tags.remedy", &args),
        );
        tags.truncate(TAGS_MAX);
    }
    tags
}

/// Reads the properties; the second says whether each of them could be read.
fn properties(section: &mut Section, tags: &[TagSource]) -> (Vec<Property>, bool) {
    if !section.has("properties") {
        section.missing("properties", "kind.tables");
    }
    let tables = section.tables("properties");
    if tables.len() > PROPERTIES_MAX {
        let args: [(&str, &dyn std::fmt::Display); 1] = [("most", &PROPERTIES_MAX)];
        let what = say("profile.too_many_properties", &args);
        section.problem_with(
            "properties",
            tables.len().to_string(),
            what,
            say("profile.too_many_properties.remedy", &args),
        );
        return (Vec::new(), false);
    }
    let mut names: Vec<String> = OWN_FIELDS.iter().map(|name| (*name).to_owned()).collect();
    names.extend(tags.iter().map(|tag| tag.name.clone()));
    names.extend(OWN_TAGS.iter().map(|name| (*name).to_owned()));
    let (mut found, mut is_whole) = (Vec::new(), true);
    for mut table in tables {
        let property = property(&mut table, &mut names);
        table.finish();
        is_whole &= property.is_some();
        found.extend(property);
    }
    (found, is_whole)
}

fn property(section: &mut Section, names: &mut Vec<String>) -> Option<Property> {
    let name = section.required_text("name").filter(|name| check_name(section, name, names));
    let path = required_path(section, "path");
    let kind = section
        .choice("type", &TYPES)
        .or_else(|| (!section.has("type")).then_some(PropertyType::Float));
    let unit = section.required_text("unit").map(|text| Unit::parse(&text));
    let is_number = kind.is_none_or(|kind| matches!(kind, PropertyType::Float | PropertyType::Int));
    for key in ["range", "resolution"].iter().filter(|key| !is_number && section.has(key)) {
        section.problem(
            key,
            say("profile.not_a_number", &[]),
            say("profile.not_a_number.remedy", &[]),
        );
    }
    let range = range(section);
    let resolution = section.number("resolution");
    if resolution.is_some_and(|step| step <= 0.0) {
        section.problem(
            "resolution",
            say("profile.resolution", &[]),
            say("profile.resolution.remedy", &[]),
        );
    }
    let convert = section.table("convert").and_then(|table| conversion(table, unit.as_ref()));
    if section.has("convert") && kind.is_some_and(|kind| kind != PropertyType::Float) {
        section.problem(
            "convert",
            say("profile.convert_type", &[]),
            say("profile.convert_type.remedy", &[]),
        );
    }
    let required = section.truth("required").unwrap_or(false);
    let (name, path, kind, unit) = (name?, path?, kind?, unit?);
    Some(Property { name, path, kind, unit, range, resolution, convert, required })
}

fn range(section: &mut Section) -> Option<(f64, f64)> {
    let ends = section.numbers("range")?;
    if let [least, most] = *ends
        && least <= most
    {
        return Some((least, most));
    }
    section.problem("range", say("profile.range", &[]), say("profile.range.remedy", &[]));
    None
}

fn conversion(mut section: Section, to: Option<&Unit>) -> Option<Conversion> {
    let from = section.required_text("from").map(|text| Unit::parse(&text));
    let found = check_conversion(&section, "from", from.as_ref(), to);
    section.finish();
    found
}

/// Returns the conversion between two units, or notes that there is none.
fn check_conversion(
    section: &Section,
    key: &str,
    from: Option<&Unit>,
    to: Option<&Unit>,
) -> Option<Conversion> {
    let (from, to) = (from?, to?);
    let found = from.conversion_to(to);
    if found.is_none() {
        let remedy = match from.suggestion() {
            Some(known) if !from.is_known() => say("document.did_you_mean", &[("known", &known)]),
            Some(_) | None => {
                say("unit.convert.remedy", &[("units", &to.same_dimension().join(", "))])
            }
        };
        section.problem(key, say("unit.convert", &[("from", from), ("to", to)]), remedy);
    }
    found
}

fn check_measurement(section: &Section, text: &str) -> bool {
    let is_good = is_safe(text);
    if !is_good {
        section.problem(
            "measurement",
            say("profile.measurement", &[]),
            say("profile.measurement.remedy", &[]),
        );
    }
    is_good
}

/// Names of measurements and tags: what line protocol and every store carry without a special case.
fn is_safe(text: &str) -> bool {
    !text.starts_with(['_', '#']) && !text.contains(|c: char| c.is_control() || c == '\\')
}

/// A property may be named in a rule, so its name is what an expression takes for a name.
fn check_name(section: &Section, name: &str, names: &mut Vec<String>) -> bool {
    let starts_well = name.starts_with(char::is_alphabetic);
    if !starts_well || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        section.problem("name", say("profile.name", &[]), say("profile.name.remedy", &[]));
        return false;
    }
    let flag = format!("{name}_flag");
    if names.iter().any(|taken| *taken == name || *taken == flag) {
        section.problem(
            "name",
            say("profile.name_taken", &[("name", &name)]),
            say("profile.name_taken.remedy", &[]),
        );
        return false;
    }
    names.push(name.to_owned());
    names.push(flag);
    true
}
