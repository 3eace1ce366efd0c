//! A clock for the service that the test turns, by libfaketime; monotonic time goes on as it does.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::place::missing;

/// Where Debian's `libfaketime` lies below the folder of libraries.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A clock that can be turned.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    dir: TempDir,
}

impl Clock {
    /// Makes a clock that is right; `None`: libfaketime is not installed.
    #[must_use]
    pub fn new() -> Option<Self> {
        let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let library = Path::new(&folder).join(LIBRARY);
        if !library.is_file() {
            missing("libfaketime (tests/services/get fetches it)");
            return None;
        }
        let clock = Self { library, dir: TempDir::new().unwrap() };
        clock.turn("+0");
        Some(clock)
    }

    /// Sets how far the clock is from the real one, as libfaketime writes it: `+3d`, `-3d`, `+0`.
    pub fn turn(&self, by: &str) {
        // Moved into place, so that nobody reads half of it.
        let new = self.dir.path().join("new");
        fs::write(&new, by).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// Returns the environment of a process that lives by this clock.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), text(self.library.clone())),
            ("FAKETIME_TIMESTAMP_FILE".to_owned(), text(self.file())),
            ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }
}
