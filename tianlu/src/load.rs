//! Loads everything a configuration names: profiles, registry, rules, with all problems together.

mod files;
mod stand_in;

use std::collections::BTreeMap;
use std::path::Path;

use rules::RuleSet;
use telemetry::document::{NodeValue, Problems, parse_tree};
use telemetry::problem::Problem;
use telemetry::profile::Profile;
use telemetry::registry::Registry;
use telemetry::text::say;

use crate::config::{Config, Dirs, KnownProfile, Layers, no_profile};

use files::Found;
pub use files::{SourceKind, SourceText};

/// A configuration with everything it names, free of problems.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The device profiles, sorted by name, each name once. A rule set refers to them by index.
    pub profiles: Vec<Profile>,
    /// The registry; empty where there is no file.
    pub registry: Registry,
    /// The rules, bound to `profiles`.
    pub rules: RuleSet,
    /// The raw texts of profiles, registry and rules as they stand in their files, in this order, each
    /// kind sorted by path: what an activated configuration is stored as.
    pub sources: Vec<SourceText>,
}

/// Loads a configuration.
///
/// # Errors
///
/// Every problem of every file, sorted by file and line.
pub fn load(path: &Path, layers: &Layers) -> Result<Loaded, Vec<Problem>> {
    match load_readable(path, layers) {
        (Some(loaded), problems) if problems.is_empty() => Ok(loaded),
        (_, problems) => Err(problems),
    }
}

/// Loads what is readable of a configuration, and every problem of it; for reports only, since what was
/// not readable has its default or is left out.
#[must_use]
pub fn load_readable(path: &Path, layers: &Layers) -> (Option<Loaded>, Vec<Problem>) {
    let problems = Problems::default();
    let loaded = read(path, layers, &problems);
    (loaded, problems.take())
}

fn read(path: &Path, layers: &Layers, problems: &Problems) -> Option<Loaded> {
    let text = files::text(path, problems)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let (mut profile_files, mut profiles, mut stand_ins) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = Vec::new();
    let mut profiles_in = |dirs: &Dirs| {
        profile_files = files::below(dirs, SourceKind::Profile, base, problems);
        (profiles, stand_ins) = self::profiles(&profile_files, problems);
        names = profile_names(&profile_files);
        names.iter().map(|name| known_profile(name, &profiles)).collect()
    };
    let config = Config::parse(path, &text, layers, Some(&mut profiles_in), problems);
    let registry_file = config.devices.file.as_deref();
    let registry_file =
        registry_file.and_then(|file| files::one(file, SourceKind::Registry, base, problems));
    let registry = registry_file.as_ref().map(|found| {
        check_registry(found, &names, problems);
        Registry::parse(&found.path, &found.source.text, problems)
    });
    let rule_files = files::below(&config.rules, SourceKind::Rule, base, problems);
    // A stand-in is there only where its file has a problem, so that these rules are for checks then.
    let judged: Vec<Profile> = profiles.iter().cloned().chain(stand_ins).collect();
    let rules = RuleSet::load(&pairs(&rule_files), &judged, problems);
    let sources = profile_files.into_iter().chain(registry_file).chain(rule_files);
    let sources = sources.map(|found| found.source).collect();
    Some(Loaded { config, profiles, registry: registry.unwrap_or_default(), rules, sources })
}

/// Reads the rules of a folder, and the profiles of another where one is given.
///
/// Without profiles the properties that rules name are not checked.
///
/// # Errors
///
/// Every problem of every file.
pub fn load_rules(rules: &Path, profiles: Option<&Path>) -> Result<RuleSet, Vec<Problem>> {
    let problems = Problems::default();
    let dirs = |dir: &Path| Dirs { dirs: vec![dir.to_path_buf()], may_be_absent: false };
    let profiles = match profiles {
        Some(dir) => {
            let (profiles, stand_ins) = self::profiles(
                &files::below(&dirs(dir), SourceKind::Profile, dir, &problems),
                &problems,
            );
            profiles.into_iter().chain(stand_ins).collect()
        }
        None => Vec::new(),
    };
    let found = files::below(&dirs(rules), SourceKind::Rule, rules, &problems);
    let set = RuleSet::load(&pairs(&found), &profiles, &problems);
    let found = problems.take();
    if found.is_empty() { Ok(set) } else { Err(found) }
}

fn pairs(found: &[Found]) -> Vec<(String, String)> {
    found.iter().map(|found| (found.path.clone(), found.source.text.clone())).collect()
}

/// Parses profiles, and makes stand-ins for those that cannot be used. Of two with one name the first
/// stays and the second is a problem.
fn profiles(found: &[Found], problems: &Problems) -> (Vec<Profile>, Vec<Profile>) {
    let mut by_name: BTreeMap<String, (Profile, &str)> = BTreeMap::new();
    let mut stand_ins = Vec::new();
    for file in found {
        let Some(profile) = Profile::parse(&file.path, &file.source.text, problems) else {
            stand_ins.extend(stand_in::stand_ins(file));
            continue;
        };
        if let Some((_, first)) = by_name.get(&profile.name) {
            let what = say("tianlu.profile.twice", &[("first", first)]);
            let remedy = say("tianlu.profile.twice.remedy", &[]);
            let (key, value) = ("name".to_owned(), format!("\"{}\"", profile.name));
            problems.add(Problem { file: file.path.clone(), line: None, key, value, what, remedy });
        } else {
            by_name.insert(profile.name.clone(), (profile, &file.path));
        }
    }
    (by_name.into_values().map(|(profile, _)| profile).collect(), stand_ins)
}

fn known_profile(name: &str, profiles: &[Profile]) -> KnownProfile {
    let profile = profiles.iter().find(|profile| profile.name == name);
    // Of one with a problem nothing is known.
    let may_name_devices = profile.is_none_or(Profile::names_devices);
    KnownProfile { name: name.to_owned(), may_name_devices }
}

/// Returns the names that profiles bear, also of those with problems: whoever refers to one of them made
/// no mistake.
fn profile_names(found: &[Found]) -> Vec<String> {
    let unheard = Problems::default();
    let name = |found: &Found| {
        let tree = parse_tree(&found.path, &found.source.text, &unheard);
        if let Some(NodeValue::Text(name)) = tree.get("name").map(|node| &node.value) {
            Some(name.clone())
        } else {
            None
        }
    };
    found.iter().filter_map(name).collect()
}

/// Notes each profile of the registry that does not exist, with its line.
fn check_registry(found: &Found, profiles: &[String], problems: &Problems) {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(found.source.text.as_bytes());
    let column =
        reader.headers().ok().and_then(|headers| headers.iter().position(|name| name == "profile"));
    let Some(column) = column else { return };
    for row in reader.records().flatten() {
        let Some(name) = row.get(column).filter(|name| !name.is_empty()) else { continue };
        if profiles.iter().any(|known| known == name) {
            continue;
        }
        let (what, remedy) = no_profile(name, profiles);
        let line = row.position().and_then(|at| u32::try_from(at.line()).ok());
        let (file, key, value) = (found.path.clone(), "profile".to_owned(), format!("\"{name}\""));
        problems.add(Problem { file, line, key, value, what, remedy });
    }
}

#[cfg(test)]
mod tests;
