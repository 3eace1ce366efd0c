//! The demo's data folder: temporary and removed at the end, or kept with what the demo was begun with.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use telemetry::problem::Problem;
use telemetry::text::say;
use tempfile::TempDir;

/// Name of the file that says what a kept folder was begun with.
const BEGUN_WITH: &str = "demo.toml";

/// What decides every value of the demo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BegunWith {
    /// The seed.
    pub(super) seed: u64,
    /// First moment, RFC 3339.
    pub(super) start: String,
}

/// Where the demo keeps its data.
#[derive(Debug)]
pub(super) enum Folder {
    /// Removed when dropped.
    Temporary(TempDir),
    /// Stays, and is gone on with.
    Kept(PathBuf),
}

impl Folder {
    /// Makes or opens the folder.
    ///
    /// # Errors
    ///
    /// A problem that names the folder.
    pub(super) fn open(kept: Option<&Path>) -> Result<Self, Box<Problem>> {
        match kept {
            Some(dir) => fs::create_dir_all(dir)
                .map(|()| Self::Kept(dir.to_owned()))
                .map_err(|error| not_made(dir, &error)),
            None => tempfile::Builder::new()
                .prefix("tianlu-demo-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| not_made(&std::env::temp_dir(), &error)),
        }
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    /// Returns what the folder was begun with; a new one is begun with `wanted` and what is not wanted by default.
    ///
    /// # Errors
    ///
    /// A problem where the folder was begun with something else, or its file is not readable.
    pub(super) fn begun_with(
        &self,
        (seed, start): (Option<u64>, Option<String>),
        default: BegunWith,
    ) -> Result<BegunWith, Box<Problem>> {
        let file = self.path().join(BEGUN_WITH);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let begun = BegunWith {
                    seed: seed.unwrap_or(default.seed),
                    start: start.unwrap_or(default.start),
                };
                let text = toml_of(&begun);
                fs::write(&file, text).map_err(|error| not_made(&file, &error))?;
                return Ok(begun);
            }
            Err(error) => return Err(not_made(&file, &error)),
        };
        let begun: BegunWith =
            toml::from_str(&text).map_err(|error| not_made(&file, &error.message()))?;
        let is_other = |wanted: Option<&str>, had: &str| wanted.is_some_and(|wanted| wanted != had);
        let seed = seed.map(|seed| seed.to_string());
        for (flag, wanted, had) in [
            ("--seed", seed.as_deref(), begun.seed.to_string()),
            ("--start", start.as_deref(), begun.start.clone()),
        ] {
            if is_other(wanted, &had) {
                return Err(Box::new(Problem {
                    file: file.display().to_string(),
                    line: None,
                    key: flag.to_owned(),
                    value: wanted.unwrap_or_default().to_owned(),
                    what: say("tianlu.demo.begun_otherwise", &[("had", &had)]),
                    remedy: say("tianlu.demo.begun_otherwise.remedy", &[("flag", &flag)]),
                }));
            }
        }
        Ok(begun)
    }
}

fn toml_of(begun: &BegunWith) -> String {
    format!("seed = {}\nstart = \"{}\"\n", begun.seed, begun.start)
}

fn not_made(path: &Path, error: &dyn std::fmt::Display) -> Box<Problem> {
    Box::new(Problem {
        file: path.display().to_string(),
        line: None,
        key: "--data".to_owned(),
        value: String::new(),
        what: say("tianlu.demo.folder", &[("error", error)]),
        remedy: say("tianlu.demo.folder.remedy", &[]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> BegunWith {
        BegunWith { seed: 1, start: "2026-11-24T08:00:00Z".to_owned() }
    }

    #[test]
    fn a_kept_folder_goes_on_with_what_it_was_begun_with() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(dir.path())).unwrap();
        let begun = folder.begun_with((Some(7), None), default()).unwrap();
        assert_eq!(begun, BegunWith { seed: 7, ..default() });
        let later = BegunWith { seed: 1, start: "2026-12-01T00:00:00Z".to_owned() };
        assert_eq!(folder.begun_with((None, None), later.clone()).unwrap(), begun);
        assert_eq!(folder.begun_with((Some(7), None), later.clone()).unwrap(), begun);
        let problem = folder.begun_with((Some(8), None), later).unwrap_err();
        assert_eq!((problem.key.as_str(), problem.value.as_str()), ("--seed", "8"));
    }

    #[test]
    fn a_temporary_folder_is_removed() {
        let folder = Folder::open(None).unwrap();
        let path = folder.path().to_owned();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }
}
