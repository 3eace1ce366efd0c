//! Finds and reads the files that folders of the configuration hold.

use std::fmt::Display;
use std::io;
use std::path::{Component, Path, PathBuf};

use telemetry::document::Problems;
use telemetry::problem::Problem;
use telemetry::text::say;

use crate::config::Dirs;
use crate::text_file::{self, TextError};

/// Bounds the descent into folders of rules, which may hold links to themselves.
const MOST_DEPTH: usize = 8;
/// Largest file that is read as configuration, in bytes: a registry of a million devices.
const MOST_BYTES: u64 = 256 << 20;

/// One file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// What it is.
    pub kind: SourceKind,
    /// Its name relative to the folder of the configuration, with `/`: the same on every machine.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path as problems name it.
    pub(super) path: String,
    /// Its name and text.
    pub(super) source: SourceText,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// A device profile.
    Profile,
    /// The registry.
    Registry,
    /// A rule.
    Rule,
}

/// Reads every `*.toml` of the folders, sorted by path; a folder that is only the default may be absent.
pub(super) fn below(dirs: &Dirs, kind: SourceKind, base: &Path, problems: &Problems) -> Vec<Found> {
    let mut paths = Vec::new();
    for dir in &dirs.dirs {
        if dirs.may_be_absent && !dir.exists() {
            continue;
        }
        // Rules may be many, and stand in folders of folders.
        let depth = if kind == SourceKind::Rule { MOST_DEPTH } else { 0 };
        if let Err(error) = collect(dir, depth, &mut paths) {
            note((dir, None), "tianlu.dir.unreadable", &error, problems);
        }
    }
    paths.sort();
    paths.dedup();
    paths.iter().filter_map(|path| one(path, kind, base, problems)).collect()
}

fn collect(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_none_or(|name| name.starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, out)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            out.push(path);
        }
    }
    Ok(())
}

/// Reads one file.
pub(super) fn one(
    path: &Path,
    kind: SourceKind,
    base: &Path,
    problems: &Problems,
) -> Option<Found> {
    let text = text(path, problems)?;
    Some(Found {
        path: path.display().to_string(),
        source: SourceText { kind, name: name(path, base), text },
    })
}

/// Reads the text of a file; notes why it cannot be read.
pub(super) fn text(path: &Path, problems: &Problems) -> Option<String> {
    match text_file::read(path, MOST_BYTES) {
        Ok(text) => Some(text),
        Err(TextError::Io(error)) => {
            note((path, None), "tianlu.file.unreadable", &error, problems);
            None
        }
        Err(TextError::NotUtf8 { line }) => {
            note((path, Some(line)), "tianlu.file.not_utf8", &"", problems);
            None
        }
    }
}

fn note((path, line): (&Path, Option<u32>), name: &str, error: &dyn Display, problems: &Problems) {
    let args: [(&str, &dyn Display); 2] = [("path", &path.display()), ("error", error)];
    let (what, remedy) = (say(name, &args), say(&format!("{name}.remedy"), &args));
    let (file, key, value) = (path.display().to_string(), String::new(), String::new());
    problems.add(Problem { file, line, key, value, what, remedy });
}

fn name(path: &Path, base: &Path) -> String {
    let relative = path.strip_prefix(base).unwrap_or(path);
    let parts = relative.components().filter(|part| !matches!(part, Component::CurDir));
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
