//! The dead letters of a data folder whose service is not running.
//!
//! A redrive is a record of the journal, as it is of the running service; the next start applies it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::engine::clock::JournalClock;
use ingest::engine::layout::Layout;
use ingest::engine::recovery::{Recovered, recover};
use journal::{Appended, Disk, ReadFrom, RealDisk};
use pipeline::letter::Letter;
use pipeline::record::{Record, Redrive};
use pipeline::{Head, OutboxRecord};
use telemetry::problem::chain;

use super::{Choice, DeadLetter, DeadLetterError, DeadLetterSource};

/// The dead letters of a folder.
struct Folder {
    dir: PathBuf,
    max_bytes: u64,
}

/// Opens the dead letters of a data folder; `None`: no service has ever written there.
pub(super) fn open(dir: &Path, max_bytes: u64) -> Option<Box<dyn DeadLetterSource>> {
    let is_there = Layout::new(dir).journal().is_dir();
    is_there.then(|| -> Box<dyn DeadLetterSource> {
        Box::new(Folder { dir: dir.to_owned(), max_bytes })
    })
}

fn folder(error: &dyn std::error::Error) -> DeadLetterError {
    DeadLetterError::Folder { detail: chain(error) }
}

impl Folder {
    /// Opens the folder as its only user, and derives the state up to the journal's end.
    fn state(&self) -> Result<Recovered, DeadLetterError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let opened = recover(&disk, &Layout::new(&self.dir), self.max_bytes, None);
        let mut recovered = opened.map_err(|error| folder(&error))?;
        let mut journal =
            recovered.journal.reader(ReadFrom::Position(recovered.pipeline.position() + 1));
        let mut out = OutboxRecord::default();
        while let Some(record) = journal.next().map_err(|error| folder(&error))? {
            let head = Head { position: record.position, ordinal: record.ordinal };
            let applied = recovered.pipeline.apply(
                head,
                record.kind,
                record.payload,
                &*recovered.bundles,
                &mut out,
            );
            applied.map_err(|error| folder(&error))?;
        }
        Ok(recovered)
    }
}

impl DeadLetterSource for Folder {
    fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let recovered = self.state()?;
        let read = |letter: &Letter| {
            let mut line = Vec::new();
            letter.write_json(&mut line);
            serde_json::from_slice(&line).map_err(|error| folder(&error))
        };
        recovered.pipeline.letters().iter().map(read).collect()
    }

    fn redrive(&self, choice: &Choice) -> Result<u64, DeadLetterError> {
        let mut recovered = self.state()?;
        let mut clock = JournalClock::starting_after(recovered.last_time);
        let fits = |letter: &&Letter| {
            choice.reason.as_ref().is_none_or(|reason| reason == letter.reason.code())
                && choice.id.as_ref().is_none_or(|id| *id == letter.id())
        };
        let chosen: Vec<Letter> =
            recovered.pipeline.letters().iter().filter(fits).cloned().collect();
        let mut count = 0;
        for letter in chosen {
            count += 1;
            let record = Record::Redrive(Redrive {
                at_nanos: clock.now().as_nanos(),
                letter: letter.id(),
                element: letter.redrive_element(),
                origin: Arc::unwrap_or_clone(letter.origin),
            });
            let (position, ordinal) = (recovered.end.position + count, recovered.end.ordinal);
            let payload = record.encode();
            let appended =
                Appended { kind: record.kind().code(), position, ordinal, payload: &payload };
            recovered.journal.append(appended).map_err(|error| folder(&error))?;
        }
        recovered.journal.sync().map_err(|error| folder(&error))?;
        Ok(count)
    }
}
