//! The seam to the disk: the journal's, and one call more.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use journal::sim::SimDisk;
use journal::{Disk, RealDisk};

/// A disk that also tells which folders stand in a folder.
pub trait HistoryDisk: Disk {
    /// Returns the names of the folders in `dir`, in no order; names that are no UTF-8 are left out.
    ///
    /// # Errors
    /// What the system says.
    fn folders(&self, dir: &Path) -> io::Result<Vec<String>>;
}

impl HistoryDisk for RealDisk {
    fn folders(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }
}

impl HistoryDisk for SimDisk {
    fn folders(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A call like another, so that the machine may stop at it.
        self.list(dir)?;
        let paths = self.paths();
        let below = paths.iter().filter_map(|path| path.strip_prefix(dir).ok());
        let folder = |path: &Path| {
            let mut parts = path.components();
            let first = parts.next()?.as_os_str().to_str()?.to_owned();
            parts.next().map(|_| first)
        };
        let names: BTreeSet<String> = below.filter_map(folder).collect();
        Ok(names.into_iter().collect())
    }
}
