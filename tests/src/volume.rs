//! A small file system of its own, mounted where the tests run as root.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::missing;

/// A mounted tmpfs; dropping it unmounts it.
#[derive(Debug)]
pub struct Volume {
    at: PathBuf,
}

impl Volume {
    /// Mounts one of `mebibytes` at a folder, which is created; `None`: that is not allowed here.
    #[must_use]
    pub fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            missing("the right to mount a tmpfs (run the tests as root)");
            return None;
        }
        Some(Self { at: at.to_owned() })
    }

    /// Takes all space that is left.
    #[must_use]
    pub fn fill(&self) -> Filler {
        let path = self.at.join("filler");
        let mut file = File::create(&path).unwrap();
        for block in [vec![0; 1 << 20], vec![0; 4096]] {
            while file.write_all(&block).is_ok() {}
        }
        Filler { path }
    }

    /// Makes it read-only.
    pub fn freeze(&self) {
        self.remount("remount,ro");
    }

    /// Lets it be written again.
    pub fn thaw(&self) {
        self.remount("remount,rw");
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount").args(["-o", option]).arg(&self.at).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process that a failing test leaves behind may still have files open there.
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

/// A file that takes the space of a volume.
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
}

impl Filler {
    /// Gives the space back.
    pub fn release(self) {
        std::fs::remove_file(self.path).unwrap();
    }
}
