//! Whole folders: what is loaded of them, and which problems they give.

use std::fs;

use super::*;

const CONFIG: &str = "\
[mqtt]
url = \"mqtt://127.0.0.1:1883\"
topics = [\"t/#\"]
[[uplinks]]
topic = \"t/{device}\"
profile = \"soil\"
[store]
kind = \"influxdb2\"
url = \"http://127.0.0.1:8086\"
org = \"farm\"
bucket = \"telemetry\"
token_file = \"token\"
";
const PROFILE: &str = "\
name = \"soil\"
domain = \"soil\"
measurement = \"soil\"
interval = \"15m\"
codec = \"json\"
[[properties]]
name = \"moisture\"
path = \"m\"
unit = \"m3/m3\"
";
const RULE: &str = "\
name = \"dry\"
scope = { profile = \"soil\" }
when = \"moisture < 0.12\"
severity = \"yellow\"
message = { zh = \"旱\", en = \"dry\" }
";

fn farm(profile: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["profiles", "rules/soil"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let files = [
        ("tianlu.toml", CONFIG),
        ("profiles/soil.toml", profile),
        ("rules/soil/dry.toml", RULE),
        ("rules/.hidden.toml", "nonsense"),
        ("devices.csv", "tenant,device,profile\ndefault,d1,soil\n"),
        ("token", "t"),
    ];
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn read_in(dir: &tempfile::TempDir) -> Result<Loaded, Vec<Problem>> {
    load(&dir.path().join("tianlu.toml"), &Layers::default())
}

#[test]
fn the_texts_are_the_same_wherever_the_folder_stands() {
    let (here, there) = (farm(PROFILE), farm(PROFILE));
    let (here, there) = (read_in(&here).unwrap(), read_in(&there).unwrap());
    assert_eq!(here.sources, there.sources);
    let names: Vec<&str> = here.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["profiles/soil.toml", "devices.csv", "rules/soil/dry.toml"]);
    assert_eq!((here.profiles.len(), here.registry.len(), here.rules.rules().len()), (1, 1, 1));
    assert_eq!(here.rules.of_profile(0).len(), 1);
}

#[test]
fn a_broken_profile_still_serves_the_checks_of_rules_and_routes() {
    for (from, to) in
        [("\"15m\"", "\"often\""), ("\"m3/m3\"", "5"), ("domain = \"soil\"", "domain = \"soul\"")]
    {
        let found = read_in(&farm(&PROFILE.replace(from, to))).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].file.ends_with("profiles/soil.toml"), "{found:?}");
        let dir = farm(&PROFILE.replace(from, to).replace("\"moisture\"", "\"wetness\""));
        let found = read_in(&dir).unwrap_err();
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
