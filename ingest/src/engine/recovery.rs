//! The start: logs opened, snapshot loaded, outbox cut to it; what was derived after it is derived again.

use std::io;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use journal::{
    CursorFile, CutError, Disk, Log, LogOptions, OpenError, ReadFrom, Visible, atomic_write,
    read_file,
};
use pipeline::record::Record;
use pipeline::snapshot::{Part, Restoring, SnapshotError, SnapshotHead};
use pipeline::{ConfigSource, Limits, Pipeline};
use telemetry::time::IngestTime;

use crate::engine::bundles::Bundles;
use crate::engine::damage::FoundDamage;
use crate::engine::layout::Layout;
use crate::engine::store_cursor::StoreCursor;

/// Virtual shards of the pipeline. Results do not depend on the number.
pub const SHARDS: NonZeroU16 = NonZeroU16::MIN.saturating_add(63);
/// Snapshots kept: the newest, and one more in case it is damaged.
const SNAPSHOTS_KEPT: usize = 2;
/// Begins a snapshot's file; the snapshot has checksums of its own.
pub(super) const SNAPSHOT_MAGIC: &[u8; 8] = b"TLsnap\x02\n";
/// As the version before began it: followed by the XXH3 of the rest.
const SNAPSHOT_MAGIC_1: &[u8; 8] = b"TLsnap\x01\n";
/// How the name of a file ends that is being written.
const TEMPORARY: &str = ".tmp";
/// From so many bytes on a snapshot is worth a thread for each core.
const PARALLEL_BYTES_MIN: usize = 4 << 20;
/// Zeros that are written ahead of the records of the journal: the blocks of some hundred small commits.
const ZEROS_AHEAD: u64 = 256 << 10;

/// Why the data folder does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A log does not open.
    #[error("open the {log}")]
    Log {
        /// Which one.
        log: &'static str,
        /// Why.
        #[source]
        source: Box<OpenError>,
    },
    /// The outbox could not be cut to the snapshot.
    #[error("cut the outbox to the snapshot")]
    Cut(#[source] CutError),
    /// A file of the folder could not be read or written.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A snapshot is whole, and its configuration cannot be had: what it knows would be lost with it.
    #[error(
        "restore `{}`: put the folder `configs` back from a backup, or start the version that wrote it",
        path.display()
    )]
    Config {
        /// Which snapshot.
        path: PathBuf,
        /// Which configuration.
        #[source]
        source: SnapshotError,
    },
}

/// The data folder, opened.
#[derive(Debug)]
pub struct Recovered {
    /// The journal's writer.
    pub journal: Log,
    /// The outbox's writer.
    pub outbox: Log,
    /// State at the snapshot.
    pub pipeline: Pipeline,
    /// Position and ordinal to go on above.
    pub end: journal::End,
    /// Time of the journal's last readable record.
    pub last_time: IngestTime,
    /// Configurations.
    pub bundles: Arc<Bundles>,
    /// The store's cursor file and what it holds.
    pub store_cursor: (CursorFile, StoreCursor),
    /// Damage found while opening.
    pub damage: FoundDamage,
}

/// Returns the size of the logs' segments for a budget: a log always has whole segments.
#[must_use]
pub const fn segment_bytes(max_bytes: u64) -> u64 {
    let wanted = max_bytes / 64;
    if wanted < 1 << 20 {
        1 << 20
    } else if wanted > 64 << 20 {
        64 << 20
    } else {
        wanted
    }
}

/// What is opened, and how large.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Bytes of a segment of both logs.
    pub(crate) segment_bytes: u64,
    /// Virtual shards of the pipeline.
    pub(crate) shards: NonZeroU16,
}

/// Opens the data folder. `history` is how far the embedded history says it is: its files are its cursor. The
/// cursor file stands in where the store has changed its kind.
///
/// # Errors
///
/// [`RecoverError`] where a log is in use or the disk refuses; nothing is lost.
pub fn recover(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    max_bytes: u64,
    history: Option<StoreCursor>,
) -> Result<Recovered, RecoverError> {
    let record_bytes_min = 20 << 20; // an uplink of 16 MiB and its head
    let segment_bytes = segment_bytes(max_bytes).max(record_bytes_min);
    recover_sized(disk, layout, Sizes { segment_bytes, shards: SHARDS }, history)
}

/// As [`recover`], in other sizes.
pub(crate) fn recover_sized(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    Sizes { segment_bytes, shards }: Sizes,
    history: Option<StoreCursor>,
) -> Result<Recovered, RecoverError> {
    for dir in [layout.root().to_owned(), layout.snapshots(), layout.cursors(), layout.bundles()] {
        disk.create_dir_all(&dir).map_err(|source| RecoverError::Io {
            doing: "create",
            path: dir,
            source,
        })?;
    }
    let open = |log, dir: &Path, visible| {
        // The outbox is fsynced once a minute.
        let zeros_ahead = if visible == Visible::Durable { ZEROS_AHEAD } else { 0 };
        let options = LogOptions { segment_bytes, visible, zeros_ahead, ..LogOptions::default() };
        Log::open(Arc::clone(disk), dir, options)
            .map_err(|source| RecoverError::Log { log, source: Box::new(source) })
    };
    let (journal, opened) = open("journal", &layout.journal(), Visible::Durable)?;
    let (mut outbox, opened_outbox) = open("outbox", &layout.outbox(), Visible::Written)?;
    let bundles = Arc::new(Bundles::new(Arc::clone(disk), layout.bundles()));
    remove_unfinished(&**disk, layout);
    let pipeline = load_newest(&**disk, layout, &bundles, shards)?;
    let cut_to = pipeline.position();
    outbox.truncate_after(cut_to).map_err(RecoverError::Cut)?;
    let path = layout.store_cursor();
    let file = CursorFile::open(&**disk, &path).map_err(|source| RecoverError::Io {
        doing: "open",
        path,
        source,
    })?;
    let written = file.load().and_then(StoreCursor::from_bytes).unwrap_or_default();
    let cursor = history.filter(|own| own.position > written.position).unwrap_or(written);
    let end = journal::End {
        position: opened.end.position.max(cut_to).max(cursor.position),
        ordinal: opened.end.ordinal.max(pipeline.account().uplink_ordinal),
    };
    tracing::info!(
        journal_end = end.position,
        snapshot = cut_to,
        store_cursor = cursor.position,
        cut_bytes = opened.cut_bytes,
        damaged = opened.damage.bytes,
        "data folder opened"
    );
    Ok(Recovered {
        last_time: last_time(&journal, opened.end.position).max(pipeline.now()),
        journal,
        outbox,
        pipeline,
        end,
        bundles,
        store_cursor: (file, cursor),
        damage: FoundDamage {
            bytes: opened.damage.bytes + opened_outbox.damage.bytes,
            missing_segments: opened.damage.missing_segments
                + opened_outbox.damage.missing_segments,
            ends_early: opened.end.position < cut_to.max(cursor.position),
        },
    })
}

/// Returns the time of the journal's last record.
fn last_time(journal: &Log, position: u64) -> IngestTime {
    let mut reader = journal.reader(ReadFrom::Position(position.max(1)));
    let Ok(Some(last)) = reader.next() else { return IngestTime::default() };
    match Record::decode(last.kind, last.payload) {
        Ok(Record::Uplink(uplink)) => uplink.received_at,
        Ok(Record::Tick(tick)) => IngestTime::from_nanos(tick.at_nanos),
        Ok(Record::Started(started)) => IngestTime::from_nanos(started.at_nanos),
        Ok(Record::ConfigActivated(change)) => IngestTime::from_nanos(change.at_nanos),
        Ok(Record::Rejected(rejected)) => IngestTime::from_nanos(rejected.at_nanos),
        Ok(Record::Redrive(redrive)) => IngestTime::from_nanos(redrive.at_nanos),
        Err(_) => IngestTime::default(),
    }
}

/// Loads the newest snapshot that is whole; an empty state where there is none.
///
/// # Errors
///
/// [`RecoverError::Io`]: none is whole, and the disk did not let one be read that may be. [`RecoverError::Config`]: none
/// is whole with its configuration.
pub(crate) fn load_newest(
    disk: &dyn Disk,
    layout: &Layout,
    bundles: &Bundles,
    shards: NonZeroU16,
) -> Result<Pipeline, RecoverError> {
    let files = list_snapshots(disk, layout).map_err(|source| RecoverError::Io {
        doing: "list",
        path: layout.snapshots(),
        source,
    })?;
    let read = files.into_iter().map(|(_, path)| {
        let bytes = read_file(disk, &path);
        (path, bytes)
    });
    let whole = |bytes| match snapshot_body(bytes).map(|body| restore(&body, shards, bundles)) {
        Some(Ok(state)) => Ok(Some(state)),
        Some(Err(error @ SnapshotError::ConfigMissing(_))) => Err(error),
        Some(Err(_)) | None => Ok(None),
    };
    Ok(first_whole(read, whole)?.unwrap_or_else(|| Pipeline::new(shards, Limits::default())))
}

/// Returns the first that is whole. What may be whole and cannot be read is not passed over for nothing at all.
fn first_whole<T>(
    files: impl Iterator<Item = (PathBuf, io::Result<Vec<u8>>)>,
    whole: impl Fn(Vec<u8>) -> Result<Option<T>, SnapshotError>,
) -> Result<Option<T>, RecoverError> {
    let mut unread = None;
    for (path, read) in files {
        let shown = path.display().to_string();
        match read.map(&whole) {
            Ok(Ok(Some(state))) => return Ok(Some(state)),
            Ok(Ok(None)) => {
                tracing::error!(path = shown, "a snapshot is damaged; an older one serves");
            }
            Ok(Err(error)) => {
                tracing::error!(path = shown, %error, "a snapshot cannot be used; an older one serves");
                unread = Some(RecoverError::Config { path, source: error });
            }
            Err(error) => {
                tracing::error!(path = shown, %error, "a snapshot cannot be read; an older one serves");
                unread = Some(RecoverError::Io { doing: "read", path, source: error });
            }
        }
    }
    unread.map_or(Ok(None), Err)
}

/// Restores a snapshot, a large one with every core.
///
/// # Errors
///
/// [`SnapshotError`] where the bytes are not a snapshot, or its configuration is gone.
pub fn restore(
    bytes: &[u8],
    shards: NonZeroU16,
    configs: &dyn ConfigSource,
) -> Result<Pipeline, SnapshotError> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if cores == 1 || bytes.len() < PARALLEL_BYTES_MIN {
        return Pipeline::restore(bytes, shards, Limits::default(), configs);
    }
    let restoring = Restoring::open(bytes, shards, Limits::default(), configs)?;
    let next = AtomicUsize::new(0);
    let read = || -> Result<Vec<Part>, SnapshotError> {
        let mut parts = Vec::new();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= restoring.parts() {
                return Ok(parts);
            }
            parts.push(restoring.part(part)?);
        }
    };
    let parts: Result<Vec<Vec<Part>>, SnapshotError> = thread::scope(|scope| {
        let readers: Vec<_> = (0..cores).map(|_| scope.spawn(read)).collect();
        let joined = readers.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|parts| parts.unwrap_or(Err(SnapshotError::Unreadable))).collect()
    });
    restoring.finish(parts?.into_iter().flatten().collect())
}

/// Returns the snapshots, the newest first; none where the folder cannot be listed.
#[must_use]
pub fn snapshots(disk: &dyn Disk, layout: &Layout) -> Vec<(u64, PathBuf)> {
    list_snapshots(disk, layout).unwrap_or_default()
}

fn list_snapshots(disk: &dyn Disk, layout: &Layout) -> io::Result<Vec<(u64, PathBuf)>> {
    let dir = layout.snapshots();
    let names = disk.list(&dir)?;
    let position = |name: &str| name.strip_suffix(".snapshot")?.parse::<u64>().ok();
    let mut found: Vec<(u64, PathBuf)> =
        names.iter().filter_map(|name| Some((position(name)?, dir.join(name)))).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Reads a snapshot file. `None`: it is none. Whether it is whole is known once it is restored.
#[must_use]
pub fn read_snapshot(disk: &dyn Disk, path: &Path) -> Option<Vec<u8>> {
    snapshot_body(read_file(disk, path).ok()?)
}

/// Takes the head off a snapshot file's bytes. `None`: they are none.
fn snapshot_body(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let mut head = SNAPSHOT_MAGIC.len();
    if let Some(rest) = bytes.strip_prefix(SNAPSHOT_MAGIC_1) {
        let (sum, body) = rest.split_first_chunk::<8>()?;
        if telemetry::hash::hash64(body) != u64::from_le_bytes(*sum) {
            return None;
        }
        head += sum.len();
    } else if !bytes.starts_with(SNAPSHOT_MAGIC) {
        return None;
    }
    bytes.drain(..head);
    Some(bytes)
}

/// Writes a snapshot durably and removes those no longer kept; returns the position of the oldest kept.
///
/// # Errors
///
/// What the disk says; the snapshots before stand.
pub fn keep_snapshot(
    disk: &dyn Disk,
    layout: &Layout,
    head: &SnapshotHead,
    body: &[u8],
) -> io::Result<u64> {
    let mut bytes = Vec::with_capacity(SNAPSHOT_MAGIC.len() + body.len());
    bytes.extend_from_slice(SNAPSHOT_MAGIC);
    bytes.extend_from_slice(body);
    atomic_write(disk, &snapshot_path(layout, head.position), &bytes)?;
    remove_old(disk, layout)
}

/// Returns the file of a snapshot.
pub(super) fn snapshot_path(layout: &Layout, position: u64) -> PathBuf {
    layout.snapshots().join(format!("{position:020}.snapshot"))
}

/// Returns the file of a snapshot that is being written.
pub(super) fn temporary_path(layout: &Layout, position: u64) -> PathBuf {
    layout.snapshots().join(format!("{position:020}.copy{TEMPORARY}"))
}

/// Removes the snapshots no longer kept; returns the position of the oldest kept.
pub(super) fn remove_old(disk: &dyn Disk, layout: &Layout) -> io::Result<u64> {
    let all = list_snapshots(disk, layout)?;
    for (_, old) in all.iter().skip(SNAPSHOTS_KEPT) {
        disk.remove(old)?;
    }
    Ok(all.iter().take(SNAPSHOTS_KEPT).next_back().map_or(0, |(position, _)| *position))
}

/// Removes what a process that ended while it wrote a snapshot left behind.
fn remove_unfinished(disk: &dyn Disk, layout: &Layout) {
    let dir = layout.snapshots();
    let names = disk.list(&dir).unwrap_or_default();
    for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
        if let Err(error) = disk.remove(&dir.join(name)) {
            tracing::debug!(%error, "an unfinished snapshot could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use journal::sim::SimDisk;

    use super::*;

    /// Scenario: snapshots of which the disk lets some not be read, and some are damaged.
    /// Guarantees: the newest whole one serves; what may be whole is not passed over for an empty state, what is
    /// damaged is.
    #[test]
    fn a_state_that_cannot_be_read_is_not_an_empty_one() {
        let refused = || Err(io::Error::other("I/O error"));
        let first = |files: Vec<io::Result<Vec<u8>>>| {
            let named = files.into_iter().map(|bytes| (PathBuf::from("s"), bytes));
            first_whole(named, |bytes| match &bytes[..] {
                b"bad" => Ok(None),
                b"bare" => Err(SnapshotError::ConfigMissing("1f".to_owned())),
                _ => Ok(Some(bytes)),
            })
        };
        let whole = first(vec![refused(), Ok(b"bad".to_vec()), Ok(b"old".to_vec())]).unwrap();
        assert_eq!(whole, Some(b"old".to_vec()));
        assert_eq!(first(vec![Ok(b"bad".to_vec())]).unwrap(), None);
        let error = first(vec![refused(), Ok(b"bad".to_vec())]).unwrap_err();
        assert!(matches!(error, RecoverError::Io { doing: "read", .. }), "{error}");
        assert_eq!(first(vec![Ok(b"bare".to_vec()), Ok(b"old".to_vec())]).unwrap(), whole);
        let error = first(vec![Ok(b"bare".to_vec()), Ok(b"bad".to_vec())]).unwrap_err();
        assert!(matches!(error, RecoverError::Config { .. }), "{error}");
    }

    /// Scenario: the disk does not let the folder of snapshots be listed. Guarantees: it does not count as empty.
    #[test]
    fn a_folder_that_cannot_be_listed_is_not_an_empty_one() {
        let (disk, layout) = (SimDisk::new(1), Layout::new("/data"));
        disk.create_dir_all(&layout.snapshots()).unwrap();
        let bundles = Bundles::new(Arc::new(disk.clone()), layout.bundles());
        assert!(load_newest(&disk, &layout, &bundles, SHARDS).is_ok());
        disk.stop_after(Some(1));
        let error = load_newest(&disk, &layout, &bundles, SHARDS).unwrap_err();
        assert!(matches!(error, RecoverError::Io { doing: "list", .. }), "{error}");
    }
}
