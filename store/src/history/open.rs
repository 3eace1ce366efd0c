//! Opening: what a crash left half done is finished or taken away, what is foreign is left alone.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{DiskFile, atomic_write, read_file};

use super::HistoryOptions;
use super::disk::HistoryDisk;
use super::error::{HistoryError, at};
use super::files::{Entry, Files};
use super::manifest::{self, Manifest, Unreadable};
use super::name::{self, FileName, SET_ASIDE, Span, TEMPORARY};
use super::sink::with_suffix;

const LOCK: &str = "LOCK";

/// What was found in the folder.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) lock: Arc<dyn DiskFile>,
    pub(super) manifest: Manifest,
    pub(super) files: Files,
    /// The first number that no flush has had.
    pub(super) next: u64,
    /// Files set aside as damaged, now or before.
    pub(super) damaged: u64,
}

/// Opens the folder, making it where there is none.
pub(super) fn open(
    disk: &dyn HistoryDisk,
    options: &HistoryOptions,
) -> Result<Found, HistoryError> {
    let dir = options.dir.as_path();
    disk.create_dir_all(dir).map_err(at(dir))?;
    let lock = take_lock(disk, &dir.join(LOCK))?;
    let mut listing = Listing::read(disk, dir)?;
    let manifest = match read_manifest(disk, dir)? {
        Some(manifest) => manifest,
        None => make_manifest(disk, dir, &mut listing)?,
    };
    let seen = listing.files.iter().map(|file| file.name.last).max().unwrap_or(0);
    listing.clear_up(disk, manifest.flush)?;
    let entries = listing
        .files
        .into_iter()
        .map(|file| Entry::new(file.measurement, &file.folder, file.name, file.bytes, None));
    let files = Files::default().changed(&entries.collect::<Vec<_>>(), &[]);
    let next = seen.max(manifest.flush) + 1;
    Ok(Found { lock, manifest, files, next, damaged: listing.damaged })
}

fn take_lock(disk: &dyn HistoryDisk, path: &Path) -> Result<Arc<dyn DiskFile>, HistoryError> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => disk.create(path),
        opened => opened,
    };
    let file = file.map_err(at(path))?;
    if file.try_lock().map_err(at(path))? {
        Ok(file)
    } else {
        Err(HistoryError::Locked { path: path.to_owned() })
    }
}

/// Returns the manifest; `None`: there is none that can be read.
fn read_manifest(disk: &dyn HistoryDisk, dir: &Path) -> Result<Option<Manifest>, HistoryError> {
    let path = dir.join(manifest::FILE);
    let bytes = match read_file(disk, &path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(at(&path))?,
    };
    match Manifest::decode(&bytes) {
        Ok(manifest) => {
            // The name may be in the cache alone: files are removed by what the manifest says.
            disk.sync_dir(dir).map_err(at(dir))?;
            Ok(Some(manifest))
        }
        Err(Unreadable::Newer(format)) => Err(HistoryError::Newer { path, format }),
        Err(Unreadable::Damaged) => {
            tracing::warn!(file = %path.display(), "the manifest of the history is damaged and set aside");
            disk.rename(&path, &with_suffix(&path, SET_ASIDE)).map_err(at(&path))?;
            Ok(None)
        }
    }
}

/// Writes a manifest where there is none: of an empty history, or of what the files hold. The cursor is
/// lost then: the engine begins at its outbox's oldest entry, and what is written twice stays one point.
fn make_manifest(
    disk: &dyn HistoryDisk,
    dir: &Path,
    listing: &mut Listing,
) -> Result<Manifest, HistoryError> {
    let flush = listing.files.iter().map(|file| file.name.last).max().unwrap_or(0);
    if flush > 0 {
        tracing::warn!(dir = %dir.display(), "the history has lost its manifest; its files are kept, its cursor is not");
        listing.damaged += 1;
    }
    let manifest = Manifest { flush, cursor: None };
    let path = dir.join(manifest::FILE);
    atomic_write(disk, &path, &manifest.encode()).map_err(at(&path))?;
    Ok(manifest)
}

#[derive(Debug)]
struct Listed {
    measurement: Arc<str>,
    folder: PathBuf,
    name: FileName,
    bytes: u64,
}

impl Listed {
    fn path(&self) -> PathBuf {
        self.folder.join(self.name.to_string())
    }
}

#[derive(Debug, Default)]
struct Listing {
    files: Vec<Listed>,
    leftovers: Vec<PathBuf>,
    damaged: u64,
    foreign: u64,
}

impl Listing {
    fn read(disk: &dyn HistoryDisk, dir: &Path) -> Result<Self, HistoryError> {
        let mut listing = Self::default();
        for name in disk.folders(dir).map_err(at(dir))? {
            match name::measurement(&name) {
                Some(measurement) => listing.folder(disk, &dir.join(name), &measurement.into())?,
                None => listing.foreign += 1,
            }
        }
        if listing.foreign > 0 {
            tracing::warn!(dir = %dir.display(), files = listing.foreign, "the history's folder holds what is not its own; it is ignored");
        }
        Ok(listing)
    }

    fn folder(
        &mut self,
        disk: &dyn HistoryDisk,
        folder: &Path,
        measurement: &Arc<str>,
    ) -> Result<(), HistoryError> {
        for name in disk.list(folder).map_err(at(folder))? {
            let path = folder.join(&name);
            if let Some(parsed) = FileName::parse(&name) {
                let bytes = disk.open(&path).and_then(|file| file.len()).map_err(at(&path))?;
                let folder = folder.to_owned();
                let measurement = Arc::clone(measurement);
                self.files.push(Listed { measurement, folder, name: parsed, bytes });
            } else if name.ends_with(TEMPORARY) {
                self.leftovers.push(path);
            } else if name.ends_with(SET_ASIDE) {
                self.damaged += 1;
            } else {
                self.foreign += 1;
            }
        }
        Ok(())
    }

    /// Removes files of flushes that do not count, files whose rows are in merged ones, and what was
    /// being written.
    fn clear_up(&mut self, disk: &dyn HistoryDisk, flush: u64) -> Result<(), HistoryError> {
        let mut gone = std::mem::take(&mut self.leftovers);
        let orphans = self.files.extract_if(.., |file| file.name.last > flush);
        gone.extend(orphans.map(|file| file.path()));
        let superseded = self.take_superseded();
        // A merged file's name may be in the cache alone: durable first, then its sources go.
        sync_folders(disk, &superseded)?;
        gone.extend(superseded);
        for path in &gone {
            disk.remove(path).map_err(at(path))?;
        }
        // Before the next flush can count: its number must not bring an orphan back.
        sync_folders(disk, &gone)
    }

    fn take_superseded(&mut self) -> Vec<PathBuf> {
        let mut merged: HashMap<(Arc<str>, Span), Vec<FileName>> = HashMap::new();
        let is_merged = |file: &&Listed| {
            file.name.first < file.name.last || matches!(file.name.span, Span::Month(_))
        };
        for file in self.files.iter().filter(is_merged) {
            let month = (Arc::clone(&file.measurement), file.name.span.month());
            merged.entry(month).or_default().push(file.name);
        }
        let superseded = self.files.extract_if(.., |file| {
            let month = (Arc::clone(&file.measurement), file.name.span.month());
            let merged = merged.get(&month).into_iter().flatten();
            merged.into_iter().any(|other| other.supersedes(&file.name))
        });
        superseded.map(|file| file.path()).collect()
    }
}

fn sync_folders(disk: &dyn HistoryDisk, paths: &[PathBuf]) -> Result<(), HistoryError> {
    let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    folders.into_iter().try_for_each(|folder| disk.sync_dir(folder).map_err(at(folder)))
}
