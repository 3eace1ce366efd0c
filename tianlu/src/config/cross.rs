//! Checks that look at more than one section.

use std::collections::BTreeMap;

use telemetry::document::{Section, nearest};
use telemetry::text::{Text, say};

use super::KnownProfile;
use super::broker::{Parts, shared};
use super::read::fault;

/// Checks the sources together, then reports the keys of their sections that nobody knows.
pub(super) fn sources(root: &Section, parts: &mut Parts, profiles: Option<&[KnownProfile]>) {
    if parts.mqtt.is_empty()
        && parts.listener.is_none()
        && !root.has("mqtt")
        && !root.has("listener")
    {
        fault(root, "mqtt", "tianlu.source.absent", &[]);
    }
    if parts.uplinks.is_empty() {
        fault(root, "uplinks", "tianlu.uplinks.absent", &[]);
    }
    client_ids(parts);
    reachable(parts);
    if let Some(profiles) = profiles {
        profiles_exist(parts, profiles);
        devices_are_named(parts, profiles);
    }
    finish(parts);
}

fn client_ids(parts: &Parts) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, (section, mqtt)) in parts.mqtt.iter().enumerate() {
        let Some(mqtt) = mqtt else { continue };
        if let Some(first) = seen.get(mqtt.client_id.as_str()) {
            let key = if section.has("client_id") { "client_id" } else { "" };
            fault(
                section,
                key,
                "tianlu.mqtt.same_client_id",
                &[("id", &mqtt.client_id), ("first", first)],
            );
        } else {
            seen.insert(&mqtt.client_id, at);
        }
    }
}

fn reachable(parts: &Parts) {
    let filters: Vec<&str> = parts
        .mqtt
        .iter()
        .filter_map(|(_, mqtt)| mqtt.as_ref())
        .flat_map(|mqtt| &mqtt.topics)
        .map(|t| shared(t))
        .collect();
    // With a listener devices publish where they like; without a readable source nothing can be said.
    let is_known = parts.listener.is_none() && !filters.is_empty();
    let mut earlier: Vec<String> = Vec::new();
    for (section, route) in &parts.uplinks {
        let Some(route) = route else { continue };
        let filter = route.pattern.as_filter();
        if is_known && !filters.iter().any(|subscribed| meet(subscribed, &filter)) {
            let subscribed = filters.join(", ");
            fault(section, "topic", "tianlu.uplinks.unreachable", &[("filters", &subscribed)]);
        }
        if earlier.contains(&filter) {
            fault(section, "topic", "tianlu.uplinks.shadowed", &[]);
        }
        earlier.push(filter);
    }
}

/// A pattern without `{device}` needs a profile whose uplinks name their devices.
fn devices_are_named(parts: &Parts, profiles: &[KnownProfile]) {
    for (section, route) in &parts.uplinks {
        let Some(route) = route.as_ref().filter(|route| !route.pattern.names_device()) else {
            continue;
        };
        let profile = profiles.iter().find(|known| known.name == route.profile);
        if profile.is_some_and(|known| !known.may_name_devices) {
            fault(section, "topic", "tianlu.uplinks.nameless", &[("profile", &route.profile)]);
        }
    }
}

fn profiles_exist(parts: &Parts, profiles: &[KnownProfile]) {
    let profiles: Vec<String> = profiles.iter().map(|known| known.name.clone()).collect();
    for (section, route) in &parts.uplinks {
        let Some(route) = route.as_ref().filter(|route| !profiles.contains(&route.profile)) else {
            continue;
        };
        let (what, remedy) = no_profile(&route.profile, &profiles);
        section.problem("profile", what, remedy);
    }
}

/// Says that a profile does not exist, and which one may be meant.
pub(crate) fn no_profile(name: &str, profiles: &[String]) -> (Text, Text) {
    let known: Vec<&str> = profiles.iter().map(String::as_str).collect();
    let remedy = match nearest(name, &known) {
        Some(meant) => say("document.did_you_mean", &[("known", &meant)]),
        None if known.is_empty() => say("tianlu.profile.none", &[]),
        None => say("tianlu.profile.known", &[("known", &known.join(", "))]),
    };
    (say("tianlu.profile.unknown", &[("profile", &name)]), remedy)
}

/// Says whether some topic matches both filters.
fn meet(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            // `a/#` matches `a` as well.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == y || x == "+" || y == "+" => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

fn finish(parts: &mut Parts) {
    // The sections are used up here, their places in the lists stay.
    let empty =
        |section: &Section| Section::of(section.file(), BTreeMap::new(), &section.problems());
    let sections = parts.mqtt.iter_mut().map(|(section, _)| section);
    let sections = sections.chain(parts.listener.iter_mut().map(|(section, _)| section));
    for section in sections.chain(parts.uplinks.iter_mut().map(|(section, _)| section)) {
        let blank = empty(section);
        std::mem::replace(section, blank).finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_filters_meet_where_one_topic_matches_both() {
        for (a, b, expected) in [
            ("t/+/+/up", "t/a/b/up", true),
            ("t/#", "t/a/b/up", true),
            ("t/#", "t", true),
            ("t/+/up", "t/a/b/up", false),
            ("t/+/down", "t/a/+", true),
            ("t/+/down", "t/a/up", false),
            ("#", "x", true),
        ] {
            assert_eq!(meet(a, b), expected, "{a} {b}");
            assert_eq!(meet(b, a), expected, "{b} {a}");
        }
    }
}
