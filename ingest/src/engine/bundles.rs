//! Configurations on disk: written and fsynced before a record names them, kept while one does.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Disk, atomic_write, read_file};
use pipeline::{ActiveConfig, Bundle, ConfigSource};

/// The folder of configurations, each built once.
#[derive(Debug)]
pub struct Bundles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    built: Mutex<BTreeMap<String, Arc<ActiveConfig>>>,
}

impl Bundles {
    /// Opens the folder; [`Bundles::keep`] creates it.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir, built: Mutex::default() }
    }

    /// Writes a bundle durably under its hash, unless it is there, and returns the hash.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn keep(&self, bundle: &Bundle, built: Arc<ActiveConfig>) -> io::Result<String> {
        let hash = bundle.hash();
        let path = self.path(&hash);
        let there = read_file(&*self.disk, &path)
            .is_ok_and(|bytes| Bundle::from_bytes(&bytes).as_ref() == Some(bundle));
        if !there {
            self.disk.create_dir_all(&self.dir)?;
            atomic_write(&*self.disk, &path, &bundle.to_bytes())?;
        }
        self.built.lock().unwrap_or_else(PoisonError::into_inner).insert(hash.clone(), built);
        Ok(hash)
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.dir.join(format!("{hash}.json"))
    }
}

impl ConfigSource for Bundles {
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = built.get(hash) {
            return Some(Arc::clone(config));
        }
        let bytes = read_file(&*self.disk, &self.path(hash)).ok()?;
        let bundle = Bundle::from_bytes(&bytes).filter(|bundle| bundle.hash() == hash)?;
        match ActiveConfig::build(&bundle) {
            Ok(config) => {
                built.insert(hash.to_owned(), Arc::clone(&config));
                Some(config)
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(%problem, hash, "a kept configuration no longer builds");
                }
                None
            }
        }
    }
}
