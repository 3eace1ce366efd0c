//! Where things lie in the data folder.

use std::path::{Path, PathBuf};

/// The data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Names the folder; nothing is created.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of the journal's segments.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Returns the folder of the outbox's segments.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    /// Returns the folder of the configurations, each named by its hash.
    #[must_use]
    pub fn bundles(&self) -> PathBuf {
        self.root.join("configs")
    }

    /// Returns the folder of the snapshots, each named by its position.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Returns the folder of the sinks' cursors and queues.
    #[must_use]
    pub fn cursors(&self) -> PathBuf {
        self.root.join("cursors")
    }

    /// Returns the file of the store's cursor.
    #[must_use]
    pub fn store_cursor(&self) -> PathBuf {
        self.cursors().join("store.cursor")
    }

    /// Returns the file of a notifier's queue.
    #[must_use]
    pub fn notifier_queue(&self, name: &str) -> PathBuf {
        self.cursors().join(format!("notifier-{name}.redb"))
    }
}
