//! The packs that come with Tianlu are right as they stand.
#![expect(clippy::unwrap_used, reason = "helpers of a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rules::RuleSet;
use telemetry::document::Problems;
use telemetry::profile::Profile;

fn read(dir: &str) -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs").join(dir);
    let mut files: Vec<PathBuf> =
        dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn profiles(problems: &Problems) -> Vec<Profile> {
    read("profiles")
        .iter()
        .filter_map(|(file, text)| Profile::parse(file, text, problems))
        .collect()
}

#[test]
fn all_packs_load_together_and_each_rule_watches_a_profile() {
    let problems = Problems::default();
    let profiles = profiles(&problems);
    let rules: Vec<(String, String)> = ["soil", "traffic", "air"]
        .iter()
        .flat_map(|domain| read(&format!("rules/{domain}")))
        .collect();
    let set = RuleSet::load(&rules, &profiles, &problems);
    let found: Vec<String> = problems.take().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(set.rules().len(), rules.len());
    let mut watched: BTreeMap<&str, usize> = BTreeMap::new();
    for bound in (0..profiles.len()).flat_map(|profile| set.of_profile(profile)) {
        *watched.entry(bound.rule().name()).or_default() += 1;
    }
    assert_eq!(watched.len(), rules.len(), "a rule watches nothing");
}

#[test]
fn each_domain_loads_alone_with_its_profiles() {
    for domain in ["soil", "traffic", "air"] {
        let problems = Problems::default();
        let mut profiles = profiles(&problems);
        profiles.retain(|profile| profile.domain.as_str() == domain);
        let set = RuleSet::load(&read(&format!("rules/{domain}")), &profiles, &problems);
        assert!(problems.is_empty() && !set.rules().is_empty(), "{domain}");
    }
}

#[test]
fn a_file_is_named_after_its_rule_and_names_the_source_of_its_limits() {
    for (file, text) in
        ["soil", "traffic", "air"].iter().flat_map(|domain| read(&format!("rules/{domain}")))
    {
        let name = file.strip_suffix(".toml").unwrap();
        assert!(text.contains(&format!("\nname = \"{name}\"\n")), "{file}");
        assert!(text.starts_with("# "), "{file} begins with its source");
    }
}
