//! The profiles and rules of the packs as texts in the program, so that a first run needs no file.

use pipeline::config::SourceFile;

/// Names and texts of the profiles.
pub const PROFILES: [(&str, &str); 6] = [
    ("profiles/air-station.toml", include_str!("../../packs/profiles/air-station.toml")),
    ("profiles/soil-5in1.toml", include_str!("../../packs/profiles/soil-5in1.toml")),
    ("profiles/traffic-arterial.toml", include_str!("../../packs/profiles/traffic-arterial.toml")),
    ("profiles/traffic-detector.toml", include_str!("../../packs/profiles/traffic-detector.toml")),
    ("profiles/water-level.toml", include_str!("../../packs/profiles/water-level.toml")),
    ("profiles/weather-station.toml", include_str!("../../packs/profiles/weather-station.toml")),
];

/// Names and texts of the rules.
pub const RULES: [(&str, &str); 45] = [
    ("rules/air/air-co-heavy.toml", include_str!("../../packs/rules/air/air-co-heavy.toml")),
    ("rules/air/air-co-light.toml", include_str!("../../packs/rules/air/air-co-light.toml")),
    ("rules/air/air-co-moderate.toml", include_str!("../../packs/rules/air/air-co-moderate.toml")),
    ("rules/air/air-co-severe.toml", include_str!("../../packs/rules/air/air-co-severe.toml")),
    ("rules/air/air-no-data.toml", include_str!("../../packs/rules/air/air-no-data.toml")),
    ("rules/air/air-no2-heavy.toml", include_str!("../../packs/rules/air/air-no2-heavy.toml")),
    ("rules/air/air-no2-light.toml", include_str!("../../packs/rules/air/air-no2-light.toml")),
    (
        "rules/air/air-no2-moderate.toml",
        include_str!("../../packs/rules/air/air-no2-moderate.toml"),
    ),
    ("rules/air/air-no2-severe.toml", include_str!("../../packs/rules/air/air-no2-severe.toml")),
    ("rules/air/air-o3-heavy.toml", include_str!("../../packs/rules/air/air-o3-heavy.toml")),
    ("rules/air/air-o3-light.toml", include_str!("../../packs/rules/air/air-o3-light.toml")),
    ("rules/air/air-o3-moderate.toml", include_str!("../../packs/rules/air/air-o3-moderate.toml")),
    ("rules/air/air-o3-severe.toml", include_str!("../../packs/rules/air/air-o3-severe.toml")),
    ("rules/air/air-pm10-heavy.toml", include_str!("../../packs/rules/air/air-pm10-heavy.toml")),
    ("rules/air/air-pm10-light.toml", include_str!("../../packs/rules/air/air-pm10-light.toml")),
    (
        "rules/air/air-pm10-moderate.toml",
        include_str!("../../packs/rules/air/air-pm10-moderate.toml"),
    ),
    ("rules/air/air-pm10-severe.toml", include_str!("../../packs/rules/air/air-pm10-severe.toml")),
    ("rules/air/air-pm2-5-heavy.toml", include_str!("../../packs/rules/air/air-pm2-5-heavy.toml")),
    ("rules/air/air-pm2-5-light.toml", include_str!("../../packs/rules/air/air-pm2-5-light.toml")),
    (
        "rules/air/air-pm2-5-moderate.toml",
        include_str!("../../packs/rules/air/air-pm2-5-moderate.toml"),
    ),
    (
        "rules/air/air-pm2-5-severe.toml",
        include_str!("../../packs/rules/air/air-pm2-5-severe.toml"),
    ),
    ("rules/air/air-so2-light.toml", include_str!("../../packs/rules/air/air-so2-light.toml")),
    (
        "rules/air/air-so2-moderate.toml",
        include_str!("../../packs/rules/air/air-so2-moderate.toml"),
    ),
    ("rules/soil/frost-blue.toml", include_str!("../../packs/rules/soil/frost-blue.toml")),
    ("rules/soil/frost-orange.toml", include_str!("../../packs/rules/soil/frost-orange.toml")),
    ("rules/soil/frost-yellow.toml", include_str!("../../packs/rules/soil/frost-yellow.toml")),
    ("rules/soil/heat-orange.toml", include_str!("../../packs/rules/soil/heat-orange.toml")),
    ("rules/soil/heat-red.toml", include_str!("../../packs/rules/soil/heat-red.toml")),
    (
        "rules/soil/soil-drought-extreme.toml",
        include_str!("../../packs/rules/soil/soil-drought-extreme.toml"),
    ),
    (
        "rules/soil/soil-drought-light.toml",
        include_str!("../../packs/rules/soil/soil-drought-light.toml"),
    ),
    (
        "rules/soil/soil-drought-moderate.toml",
        include_str!("../../packs/rules/soil/soil-drought-moderate.toml"),
    ),
    (
        "rules/soil/soil-drought-severe.toml",
        include_str!("../../packs/rules/soil/soil-drought-severe.toml"),
    ),
    ("rules/soil/soil-no-data.toml", include_str!("../../packs/rules/soil/soil-no-data.toml")),
    (
        "rules/soil/soil-waterlogged.toml",
        include_str!("../../packs/rules/soil/soil-waterlogged.toml"),
    ),
    (
        "rules/traffic/arterial-congestion-light.toml",
        include_str!("../../packs/rules/traffic/arterial-congestion-light.toml"),
    ),
    (
        "rules/traffic/arterial-congestion-moderate.toml",
        include_str!("../../packs/rules/traffic/arterial-congestion-moderate.toml"),
    ),
    (
        "rules/traffic/arterial-congestion-severe.toml",
        include_str!("../../packs/rules/traffic/arterial-congestion-severe.toml"),
    ),
    (
        "rules/traffic/detector-chatter.toml",
        include_str!("../../packs/rules/traffic/detector-chatter.toml"),
    ),
    (
        "rules/traffic/detector-inconsistent.toml",
        include_str!("../../packs/rules/traffic/detector-inconsistent.toml"),
    ),
    (
        "rules/traffic/detector-locked-on.toml",
        include_str!("../../packs/rules/traffic/detector-locked-on.toml"),
    ),
    (
        "rules/traffic/detector-no-hits.toml",
        include_str!("../../packs/rules/traffic/detector-no-hits.toml"),
    ),
    (
        "rules/traffic/expressway-congestion-light.toml",
        include_str!("../../packs/rules/traffic/expressway-congestion-light.toml"),
    ),
    (
        "rules/traffic/expressway-congestion-moderate.toml",
        include_str!("../../packs/rules/traffic/expressway-congestion-moderate.toml"),
    ),
    (
        "rules/traffic/expressway-congestion-severe.toml",
        include_str!("../../packs/rules/traffic/expressway-congestion-severe.toml"),
    ),
    (
        "rules/traffic/traffic-no-data.toml",
        include_str!("../../packs/rules/traffic/traffic-no-data.toml"),
    ),
];

/// Returns texts as the files that a configuration is made of.
#[must_use]
pub fn files(texts: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(name, text): &(&str, &str)| SourceFile {
        name: format!("packs/{name}"),
        text: (*text).to_owned(),
    };
    texts.iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Guarantees: the texts are the files of the folder `packs`, all of them.
    #[test]
    fn the_texts_are_the_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs");
        let of = |folder: &str| -> Vec<PathBuf> {
            let entries = root.join(folder).read_dir().unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let read = |paths: Vec<PathBuf>| -> BTreeMap<String, String> {
            let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
            paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
        };
        let texts = |texts: &[(&str, &str)]| -> BTreeMap<String, String> {
            texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(texts(&PROFILES), read(of("profiles")));
        let rules = ["rules/air", "rules/soil", "rules/traffic"].into_iter().flat_map(of).collect();
        assert_eq!(texts(&RULES), read(rules));
    }
}
