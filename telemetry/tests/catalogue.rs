//! The catalogue of user-facing text and the source agree.
#![expect(clippy::unwrap_used, reason = "a test stops at what is wrong")]

use std::collections::BTreeSet;
use std::path::Path;

const CATALOGUE: &str = include_str!("../catalogue/telemetry.toml");

fn sources(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else {
            out.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_text_that_is_said_stands_in_the_catalogue_and_every_text_there_is_used() {
    let known: BTreeSet<String> =
        CATALOGUE.parse::<toml::Table>().unwrap().into_iter().map(|(key, _)| key).collect();
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let quoted: BTreeSet<&str> = source.split('"').collect();
    let unused: Vec<&String> = known.iter().filter(|key| !quoted.contains(key.as_str())).collect();
    assert!(unused.is_empty(), "never said: {unused:?}");
    let said = source.split("say(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let unknown: Vec<&str> =
        said.filter(|key| key.contains('.') && !known.contains(*key)).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
}
