//! What ends a replay or simulation early.

use std::fmt::Display;
use std::path::Path;

use telemetry::problem::Problem;
use telemetry::text::say;

/// Why it ends early, each with its remedy.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Wrong usage, mapping, profile, registry or rules: exit code 2.
    Wrong(Vec<Problem>),
    /// Failed while working: exit code 1.
    Failed(Box<Problem>),
    /// Whoever read standard output has gone away, as behind `| head`: no fault of anybody.
    ReaderGone,
}

impl Fault {
    /// An argument that does not fit; `key` names a text of the catalogue that has a `.remedy`.
    pub(crate) fn wrong(argument: &str, key: &str, args: &[(&str, &dyn Display)]) -> Self {
        Self::Wrong(vec![problem((argument, None), key, args)])
    }

    /// Something that cannot be read, written or reached; `key` as for [`Fault::wrong`].
    pub(crate) fn failed(place: &str, key: &str, args: &[(&str, &dyn Display)]) -> Self {
        Self::Failed(Box::new(problem((place, None), key, args)))
    }

    /// A file that cannot be read from a line on.
    pub(crate) fn unreadable(path: &Path, line: Option<u64>, error: &dyn Display) -> Self {
        let line = line.and_then(|line| u32::try_from(line).ok());
        let place = path.display().to_string();
        let args: [(&str, &dyn Display); 1] = [("error", error)];
        Self::Failed(Box::new(problem((&place, line), "tianlu.playback.unreadable", &args)))
    }
}

/// Makes a problem of a text and its remedy.
pub(crate) fn problem(
    (file, line): (&str, Option<u32>),
    key: &str,
    args: &[(&str, &dyn Display)],
) -> Problem {
    Problem {
        file: file.to_owned(),
        line,
        key: String::new(),
        value: String::new(),
        what: say(key, args),
        remedy: say(&format!("{key}.remedy"), args),
    }
}
