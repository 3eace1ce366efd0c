//! The writer and reader against a real influxd, with a scripted proxy before it where it must fail.
//!
//! One server is shared by all tests, each with a bucket of its own. Where there is no influxd the tests
//! say so and return; with `CI=true` they fail.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests: clippy's exception covers test functions only"
)]

mod faults;
mod proxy;
mod read;
mod restart;
mod server;
mod write;

use std::ops::Deref;
use std::sync::Arc;

use store::{
    Batch, BatchBuilder, BatchLimits, Entry, EntryKey, Influx, InfluxOptions, Outcome, RejectReason,
};

pub(crate) use proxy::{Act, Proxy};
pub(crate) use server::{Influxd, TOKEN, shared};

/// A day in nanoseconds.
pub(crate) const DAY: i64 = 86_400_000_000_000;

/// A folder that holds a token file, and options that name it.
pub(crate) struct Setting {
    pub(crate) options: InfluxOptions,
    folder: Arc<tempfile::TempDir>,
}

/// A client whose token file stays as long as it.
#[derive(Debug)]
pub(crate) struct Opened {
    influx: Influx,
    _folder: Arc<tempfile::TempDir>,
}

impl Deref for Opened {
    type Target = Influx;

    fn deref(&self) -> &Influx {
        &self.influx
    }
}

impl Setting {
    pub(crate) fn new(url: &str, bucket: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let options = InfluxOptions::new(url, "farm", bucket, folder.path().join("token"));
        let setting = Self { options, folder };
        setting.token(&format!("{TOKEN}\n"));
        setting
    }

    pub(crate) fn token(&self, token: &str) {
        std::fs::write(&self.options.token_file, token).unwrap();
    }

    pub(crate) fn open(&self) -> Opened {
        Opened { influx: Influx::open(&self.options).unwrap(), _folder: Arc::clone(&self.folder) }
    }
}

pub(crate) fn batch<L: AsRef<str>>(lines: &[L]) -> Batch {
    let mut builder = BatchBuilder::new(BatchLimits::default());
    for (index, line) in (0..).zip(lines) {
        builder
            .push(Entry { key: EntryKey { position: 40, index }, line: line.as_ref().as_bytes() })
            .unwrap();
    }
    builder.seal().unwrap()
}

/// Returns the indices that were rejected, with their reasons.
pub(crate) fn rejected(outcome: &Outcome) -> Vec<(u32, RejectReason)> {
    outcome.rejected.iter().map(|one| (one.key.index, one.reason)).collect()
}

/// Returns now, to the second, in nanoseconds.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap() * 1_000_000_000
}
