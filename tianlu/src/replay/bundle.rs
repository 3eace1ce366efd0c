//! The texts that a replay judges by, read from folders.

use std::io;
use std::path::{Path, PathBuf};

use pipeline::Bundle;
use pipeline::config::{SourceFile, UnknownDevice};
use telemetry::document::Problems;

use crate::playback::fault::problem;
use crate::text_file::{self, TextError};

/// Bounds the descent into folders of rules, which may hold links to themselves.
const DEPTH_MAX: usize = 8;
/// Readings remembered per device, as a service does unless it is told otherwise.
const IDENTITY_MEMORY: u32 = 32;
/// Largest row that is taken, in bytes: 16 MiB, as of an uplink.
pub(super) const ROW_BYTES_MAX: u64 = 16 << 20;

/// Makes the bundle of a file replay: no routes, since the mapping names the profile; every device is taken.
pub(super) fn bundle(
    profiles: Vec<SourceFile>,
    rules: Vec<SourceFile>,
    registry: Option<SourceFile>,
) -> Bundle {
    Bundle {
        profiles,
        rules,
        registry,
        uplinks: Vec::new(),
        unknown: UnknownDevice::Accept,
        identity_memory: IDENTITY_MEMORY,
        max_payload: vec![ROW_BYTES_MAX],
    }
}

/// Reads every rule of a folder and of the folders in it, sorted by path.
pub(super) fn rules(dir: &Path, problems: &Problems) -> Vec<SourceFile> {
    below(dir, DEPTH_MAX, problems)
}

/// Reads every profile of a folder, sorted by path.
pub(super) fn profiles(dir: &Path, problems: &Problems) -> Vec<SourceFile> {
    below(dir, 0, problems)
}

fn below(dir: &Path, depth: usize, problems: &Problems) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    if let Err(error) = collect(dir, depth, &mut paths) {
        let place = dir.display().to_string();
        problems.add(problem((&place, None), "tianlu.replay.folder", &[("error", &error)]));
    }
    paths.sort();
    paths.iter().filter_map(|path| text(path, problems)).collect()
}

fn collect(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_none_or(|name| name.starts_with('.')) {
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

/// Reads a text file; notes why it cannot be read.
pub(super) fn text(path: &Path, problems: &Problems) -> Option<SourceFile> {
    let name = path.display().to_string();
    let fault = match text_file::read(path, u64::MAX) {
        Ok(text) => return Some(SourceFile { name, text }),
        Err(TextError::Io(error)) => {
            problem((&name, None), "tianlu.playback.unreadable", &[("error", &error)])
        }
        Err(TextError::NotUtf8 { line }) => {
            problem((&name, Some(line)), "tianlu.file.not_utf8", &[])
        }
    };
    problems.add(fault);
    None
}
