//! Stand-ins for profiles with mistakes, so that the rules about them are checked in the same run.

use telemetry::document::{NodeValue, Problems, parse_tree};
use telemetry::profile::{Domain, Profile};

use super::files::Found;

/// Makes profiles with the name, domain and properties that can be read of a broken file. They serve
/// checks only: whoever loads for work gets the problems of the file instead.
///
/// Where the domain cannot be read there is one for each, since a rule may mean any.
pub(super) fn stand_ins(found: &Found) -> Vec<Profile> {
    let unheard = Problems::default();
    let tree = parse_tree(&found.path, &found.source.text, &unheard);
    let text = |key: &str| match tree.get(key).map(|node| &node.value) {
        Some(NodeValue::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let mut properties = String::new();
    if let Some(NodeValue::Array(items)) = tree.get("properties").map(|node| &node.value) {
        items
            .iter()
            .filter_map(|item| property(&item.value))
            .for_each(|property| properties.push_str(&property));
    }
    let name = text("name").unwrap_or_else(|| "unnamed".to_owned());
    let readable = text("domain").as_deref().and_then(Domain::parse);
    let domains = Domain::ALL
        .iter()
        .filter(|(_, domain)| readable.is_none_or(|readable| readable == *domain));
    let make = |(word, _): &(&str, Domain)| {
        let head = format!(
            "name = {}\ndomain = \"{word}\"\nmeasurement = \"m\"\ninterval = \"1h\"\ncodec = \"json\"\n",
            quoted(&name)
        );
        Profile::parse(&found.path, &format!("{head}{properties}"), &unheard)
    };
    domains.filter_map(make).collect()
}

fn property(value: &NodeValue) -> Option<String> {
    let NodeValue::Table(table) = value else { return None };
    let text = |key: &str| match table.get(key).map(|node| &node.value) {
        Some(NodeValue::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let name = text("name")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let kind = text("type")
        .filter(|kind| ["float", "int", "bool", "string"].contains(kind))
        .unwrap_or("float");
    let body = format!(
        "[[properties]]\nname = \"{name}\"\npath = \"{name}\"\ntype = \"{kind}\"\nunit = \"%\"\n"
    );
    is_name.then_some(body)
}

/// Writes a TOML string. JSON escapes what TOML escapes, but for DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}
