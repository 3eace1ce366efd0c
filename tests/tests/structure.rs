//! Rules of the house that a machine can check on the files as they are checked in.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proof::place::workspace;

/// Lines of a source file without its tests, at most.
const LINES_MAX: usize = 400;

fn members() -> Vec<String> {
    let root: toml::Table =
        fs::read_to_string(workspace().join("Cargo.toml")).unwrap().parse().unwrap();
    let names = root["workspace"]["members"].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn manifest(member: &str) -> toml::Table {
    fs::read_to_string(workspace().join(member).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Returns the files below a folder of the workspace that end with `ending`, by path.
fn files(folder: &str, ending: &str) -> BTreeMap<String, String> {
    fn walk(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "node_modules", ".git", "data"].contains(&name.as_str())
            {
                walk(&path, ending, into);
            } else if path.is_file() && name.ends_with(ending) {
                into.push(path);
            }
        }
    }
    let root = workspace();
    let mut found = Vec::new();
    walk(&root.join(folder), ending, &mut found);
    let short = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (short(path), fs::read_to_string(path).unwrap_or_default())).collect()
}

/// Returns the sources of all members that end up in the product or the harness, without integration tests.
fn sources() -> BTreeMap<String, String> {
    members().iter().flat_map(|member| files(&format!("{member}/src"), ".rs")).collect()
}

/// Returns the sources of the page, their template strings written as Rust writes format strings.
fn page_sources() -> BTreeMap<String, String> {
    let scripts = files("dashboards/page", ".js").into_iter();
    let all = scripts.chain(files("dashboards/page", ".html"));
    all.map(|(path, text)| (path, text.replace("${", "{").replace('`', "\""))).collect()
}

/// Returns the part of a source above its test module.
fn without_tests(text: &str) -> &str {
    let starts = text.match_indices("#[cfg(test)]").map(|(at, _)| at);
    let of_module = |at: &usize| {
        text.get(*at..).is_some_and(|rest| rest.lines().nth(1).unwrap_or_default().contains("mod "))
    };
    let first = starts.into_iter().find(of_module).unwrap_or(text.len());
    text.get(..first).unwrap()
}

/// Returns the files that are modules of tests only: `#[cfg(test)] mod name;` in another file.
fn test_files() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in sources() {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            let Some(module) = pair[1].strip_suffix(';').and_then(|line| line.split("mod ").nth(1))
            else {
                continue;
            };
            let own = Path::new(&path);
            let is_root = own
                .file_stem()
                .is_some_and(|stem| stem == "lib" || stem == "main" || stem == "mod");
            let folder =
                if is_root { own.parent().unwrap().to_owned() } else { own.with_extension("") };
            found.insert(folder.join(format!("{module}.rs")).to_string_lossy().into_owned());
        }
    }
    found
}

/// Guarantees: the pure crates name no runtime, socket, file or clock library.
#[test]
fn pure_crates_name_no_library_that_reaches_the_world() {
    let allowed = [
        "base64",
        "bincode",
        "bytes",
        "crc32c",
        "csv",
        "csv-core",
        "hashbrown",
        "jiff",
        "regex-lite",
        "rules",
        "ryu",
        "serde",
        "serde_json",
        "sha2",
        "smallvec",
        "strsim",
        "telemetry",
        "thiserror",
        "toml",
        "xxhash-rust",
    ];
    let allowed = BTreeSet::from(allowed);
    for member in ["telemetry", "rules", "pipeline", "simulator"] {
        let manifest = manifest(member);
        let named = manifest["dependencies"].as_table().unwrap();
        let extra: Vec<_> = named.keys().filter(|name| !allowed.contains(name.as_str())).collect();
        assert!(extra.is_empty(), "{member} must stay pure, but names {extra:?}");
    }
}

/// Guarantees: the pure crates call no clock, file, socket, thread or environment of the standard library.
#[test]
fn pure_crates_call_nothing_that_reaches_the_world() {
    let test_files = test_files();
    let banned = [
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "std::process",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
    ];
    for member in ["telemetry", "rules", "pipeline", "simulator"] {
        for (path, text) in files(&format!("{member}/src"), ".rs") {
            if test_files.contains(&path) {
                continue;
            }
            let code =
                without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let found: Vec<_> = banned.iter().filter(|name| line.contains(**name)).collect();
                assert!(found.is_empty(), "{path}: {found:?} in `{}`", line.trim());
            }
        }
    }
}

/// Guarantees: each member takes the lints of the workspace, and says what it is in its first line.
#[test]
fn each_crate_takes_the_lints_and_says_what_it_is() {
    for member in members() {
        let manifest = manifest(&member);
        let taken = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(taken, Some(true), "{member}/Cargo.toml: [lints] workspace = true");
        for root in ["src/lib.rs", "src/main.rs"] {
            if let Ok(text) = fs::read_to_string(workspace().join(&member).join(root)) {
                assert!(text.starts_with("//!"), "{member}/{root} begins with `//!`");
            }
        }
    }
}

/// Guarantees: the only clippy.toml is the one at the root, since a nearer one would replace it.
#[test]
fn there_is_one_clippy_toml() {
    assert!(workspace().join("clippy.toml").is_file());
    for member in members() {
        let own: Vec<_> = files(&member, "clippy.toml").into_keys().collect();
        assert!(own.is_empty(), "{own:?}");
    }
}

/// Guarantees: no source file has more than 400 lines without its tests.
#[test]
fn no_source_file_is_too_long() {
    let lines = |(path, text): (String, String)| (without_tests(&text).lines().count(), path);
    let test_files = test_files();
    let all = sources().into_iter().filter(|(path, _)| !test_files.contains(path));
    let all = all.chain(page_sources()).map(lines);
    let long: Vec<_> = all.filter(|(count, _)| *count > LINES_MAX).collect();
    assert!(long.is_empty(), "longer than {LINES_MAX} lines without tests: {long:?}");
}

/// Guarantees: bincode is never used without a limit: nine hostile bytes would allocate without bound.
#[test]
fn bincode_always_has_a_limit() {
    for (path, text) in sources() {
        for (at, _) in text.match_indices("config::standard()") {
            let statement = text.get(at..).unwrap().split(';').next().unwrap();
            assert!(
                statement.contains(".with_limit"),
                "{path}: `{}`",
                statement.lines().next().unwrap()
            );
        }
    }
}

/// Guarantees: metrics are named in one file.
#[test]
fn metrics_are_named_in_one_place() {
    let macros = ["counter!(", "gauge!(", "histogram!("];
    for (path, text) in sources() {
        if path == "ingest/src/meter.rs" || path.starts_with("tests/") {
            continue;
        }
        let found: Vec<_> = macros.iter().filter(|name| text.contains(**name)).collect();
        assert!(found.is_empty(), "{path} names metrics: {found:?}");
    }
}

/// Guarantees: nothing is left for later in the sources.
#[test]
fn nothing_is_left_undone() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let all = sources()
        .into_iter()
        .chain(page_sources())
        .chain(files("tests", ".rs"))
        .chain(files("packs", ".toml"));
    for (path, text) in all {
        let found: Vec<_> = marks.iter().filter(|mark| text.contains(**mark)).collect();
        assert!(found.is_empty(), "{path}: {found:?}");
    }
}

/// Returns whether code composes this key: `{key}.remedy` of a key that stands in the code, `room.column.{name}`.
fn is_composed(key: &str, literals: &BTreeSet<String>) -> bool {
    literals.iter().filter(|literal| literal.contains('{')).any(|literal| {
        let (before, rest) = literal.split_once('{').unwrap();
        let Some((_, after)) = rest.split_once('}').filter(|(_, after)| !after.contains('{'))
        else {
            return false;
        };
        // Two placeholders with a dot between them would explain every key.
        let is_telling =
            before.len() + after.len() > 3 && (before.ends_with('.') || after.starts_with('.'));
        let middle = key.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        is_telling && middle.is_some_and(|middle| !before.is_empty() || literals.contains(middle))
    })
}

/// Guarantees: each text that code asks for stands in the catalogue, and none stands there unused.
#[test]
fn the_catalogue_and_the_code_name_the_same_texts() {
    let known: BTreeSet<String> = files("telemetry/catalogue", ".toml")
        .into_values()
        .flat_map(|text| text.parse::<toml::Table>().unwrap().into_iter().map(|(key, _)| key))
        .collect();
    let mut asked = BTreeSet::new();
    let mut literals = BTreeSet::new();
    for (path, text) in sources().into_iter().chain(page_sources()) {
        for (at, _) in text.match_indices("say(") {
            let rest = text.get(at + 4..).unwrap().trim_start();
            let key = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            if let Some(key) = key.filter(|key| !key.contains('{')) {
                asked.insert((key.to_owned(), path.clone()));
            }
        }
        literals.extend(text.split('"').map(str::to_owned));
    }
    let unknown: Vec<_> = asked.iter().filter(|(key, _)| !known.contains(key)).collect();
    assert!(unknown.is_empty(), "asked for, but not in the catalogue: {unknown:?}");
    let unused =
        known.iter().filter(|key| !literals.contains(*key) && !is_composed(key, &literals));
    let unused: Vec<_> = unused.collect();
    assert!(unused.is_empty(), "in the catalogue, but never asked for: {unused:?}");
}

/// Guarantees: the profiles, rules and mappings of the packs are TOML; each mapping names a profile that is there.
#[test]
fn packs_are_whole() {
    let packs = files("packs", ".toml");
    let parsed: BTreeMap<_, toml::Table> = packs
        .iter()
        .map(|(path, text)| (path, text.parse().unwrap_or_else(|e| unreachable!("{path}: {e}"))))
        .collect();
    let name =
        |table: &toml::Table| table.get("name").and_then(|name| name.as_str()).map(str::to_owned);
    let profiles: BTreeSet<_> = parsed
        .iter()
        .filter(|(path, _)| path.contains("profiles/"))
        .filter_map(|(_, table)| name(table))
        .collect();
    for (path, table) in parsed
        .iter()
        .filter(|(path, _)| path.starts_with("packs/mappings/") && !path.contains("profiles/"))
    {
        let profile = table["profile"].as_str().unwrap();
        assert!(profiles.contains(profile), "{path} names the profile {profile}");
    }
}
