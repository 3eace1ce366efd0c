//! The durable queue of one notifier: a redb file, one fsynced transaction a change.
//!
//! Every call may touch the disk and blocks; the task calls it off the runtime's threads.

mod outcome;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError};
use telemetry::time::IngestTime;

use self::outcome::EngineError;
pub use self::outcome::{
    Acceptance, Due, GiveUp, LogEntry, QueueError, QueueLimits, Settlement, Status,
};
use self::row::{CURSOR, DUE, ENTRIES, Entry, FORMAT, Tables, WAITING};
use super::{Letter, Notice, OutboxKey, RETRY_AFTER_MAX, Verdict};

/// Pages kept in memory for each queue; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 4 << 20;
/// Ended notices forgotten in one transaction, so that none takes long.
const PRUNE_MAX: usize = 1_000;

/// The durable queue of one notifier. Cheap to share behind an `Arc`; calls take turns.
#[derive(Debug)]
pub struct Queue {
    path: PathBuf,
    limits: QueueLimits,
    /// `None` after a failed transaction: the engine serves nothing more until the file is opened again.
    slot: Mutex<Option<Database>>,
}

impl Queue {
    /// Opens the queue file, or makes it. `now` bounds due times that a wrong clock left behind.
    ///
    /// # Errors
    ///
    /// [`QueueError::Open`], [`QueueError::Format`], or [`QueueError::Storage`].
    pub fn open(path: &Path, limits: QueueLimits, now: IngestTime) -> Result<Self, QueueError> {
        let queue = Self { path: path.to_owned(), limits, slot: Mutex::new(None) };
        queue.write(|tables| {
            tables.meta.insert("format", FORMAT)?;
            let latest = now.plus(RETRY_AFTER_MAX).as_nanos();
            let mut wrong = Vec::new();
            for row in tables.due.range((latest.saturating_add(1), 0)..)? {
                wrong.push(row?.0.value().1);
            }
            for key in wrong {
                if let Some(entry) = tables.entry(key)? {
                    let last = match &entry.status {
                        Status::Waiting { last, .. } => last.clone(),
                        Status::Delivered { .. } | Status::Failed { .. } => None,
                    };
                    tables.postpone(key, entry, Status::Waiting { next_try_at: now, last })?;
                }
            }
            queue.prune(tables, now)
        })?;
        Ok(queue)
    }

    /// Returns the cursor: the last outbox entry whose notices are durable here. `None`: a new notifier,
    /// which begins at the outbox's end.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the file cannot be read.
    pub fn cursor(&self) -> Result<Option<OutboxKey>, QueueError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(CURSOR)?;
            Ok(table.get(())?.map(|cursor| cursor.value()))
        })
    }

    /// Stores notices and cursor in one durable transaction. Notices known by (id, state) are left as they
    /// are. The cursor is stored as given, since it steps back after a crash with an upgrade.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when it is not durable; neither notices nor cursor took effect.
    pub fn accept(
        &self,
        notices: &[Notice],
        cursor: Option<OutboxKey>,
        now: IngestTime,
    ) -> Result<Acceptance, QueueError> {
        let mut full = None;
        let accepted = self.write(|tables| {
            let mut seen = BTreeSet::new();
            let mut new = Vec::new();
            for notice in notices {
                let key = (notice.id.as_str(), notice.state.code());
                if tables.keys.get(key)?.is_none() && seen.insert(key) {
                    new.push(notice);
                }
            }
            let count = u64::try_from(new.len()).unwrap_or(u64::MAX);
            let needed = tables.waiting.len()?.saturating_add(count);
            if count > 0 && needed > self.limits.waiting_max {
                full = Some(needed - self.limits.waiting_max);
                return Ok(0);
            }
            for notice in new {
                tables.add(notice, now)?;
            }
            if let Some(cursor) = cursor {
                tables.cursor.insert((), cursor)?;
            }
            Ok(count)
        })?;
        Ok(full
            .map_or(Acceptance::Accepted { new: accepted }, |missing| Acceptance::Full { missing }))
    }

    /// Returns at most `most` letters that are due at `now`, leaving out those in `airborne`.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the file cannot be read.
    pub fn due(
        &self,
        now: IngestTime,
        most: usize,
        airborne: &BTreeSet<u64>,
    ) -> Result<Due, QueueError> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            let entries = transaction.open_table(ENTRIES)?;
            let bodies = transaction.open_table(row::BODIES)?;
            let mut due = Due::default();
            for row in transaction.open_table(DUE)?.iter()? {
                let (at, key) = row?.0.value();
                if airborne.contains(&key) {
                    continue;
                }
                if at > now.as_nanos() || due.letters.len() >= most {
                    due.next_at = Some(IngestTime::from_nanos(at));
                    break;
                }
                if let (Some(row), Some(body)) = (entries.get(key)?, bodies.get(key)?) {
                    let Entry { id, state, severity, accepted_at, tries, .. } =
                        Entry::read(row.value());
                    let body = Bytes::copy_from_slice(body.value());
                    due.letters.push(Letter { key, id, state, severity, body, accepted_at, tries });
                }
            }
            Ok(due)
        })
    }

    /// Records outcomes in one durable transaction. Unknown and ended letters are left as they are.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when it is not durable; nothing took effect.
    pub fn settle(&self, settlements: &[Settlement], now: IngestTime) -> Result<(), QueueError> {
        self.write(|tables| {
            for Settlement { key, verdict } in settlements {
                let Some(mut entry) = tables.entry(*key)? else { continue };
                if entry.next_try_at().is_none() {
                    continue;
                }
                entry.tries = entry.tries.saturating_add(1);
                match verdict.clone() {
                    Verdict::Delivered { receipt } => {
                        tables.end(*key, entry, Status::Delivered { ended_at: now, receipt })?;
                    }
                    Verdict::Failed { reason } => {
                        tables.end(*key, entry, Status::Failed { ended_at: now, reason })?;
                    }
                    Verdict::Waiting { reason, next_try_at } => {
                        let status = Status::Waiting { next_try_at, last: Some(reason) };
                        tables.postpone(*key, entry, status)?;
                    }
                }
            }
            self.prune(tables, now)
        })
    }

    /// Fails at most `most` waiting notices, oldest first, that were accepted at or before `until`, leaving
    /// out those in `airborne`. Returns their ids.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when it is not durable; nothing took effect.
    pub fn give_up(
        &self,
        request: &GiveUp<'_>,
        now: IngestTime,
    ) -> Result<Vec<String>, QueueError> {
        let keys = self.with(|database| {
            let transaction = database.begin_read()?;
            let entries = transaction.open_table(ENTRIES)?;
            let mut keys = Vec::new();
            for row in transaction.open_table(WAITING)?.iter()? {
                let key = row?.0.value();
                let entry = entries.get(key)?.map(|row| Entry::read(row.value()));
                let old = entry.is_some_and(|entry| entry.accepted_at <= request.until);
                // Waiting stands in order of acceptance: what follows is younger.
                if !old || keys.len() >= request.most {
                    break;
                }
                if !request.airborne.contains(&key) {
                    keys.push(key);
                }
            }
            Ok(keys)
        })?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|tables| {
            let mut ids = Vec::with_capacity(keys.len());
            for key in keys {
                let Some(entry) = tables.entry(key)? else { continue };
                ids.push(entry.id.clone());
                tables.end(
                    key,
                    entry,
                    Status::Failed { ended_at: now, reason: request.reason.clone() },
                )?;
            }
            self.prune(tables, now)?;
            Ok(ids)
        })
    }

    /// Returns the delivery log, newest notice first: waiting ones and those that ended lately.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the file cannot be read.
    pub fn log(&self, limit: usize) -> Result<Vec<LogEntry>, QueueError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let mut log = Vec::new();
            for row in table.iter()?.rev().take(limit) {
                log.push(Entry::read(row?.1.value()).into_log());
            }
            Ok(log)
        })
    }

    /// Returns how many notices wait.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the file cannot be read.
    pub fn pending(&self) -> Result<u64, QueueError> {
        self.with(|database| Ok(database.begin_read()?.open_table(WAITING)?.len()?))
    }

    /// Leaves the file, as after a failed transaction.
    #[cfg(test)]
    pub(super) fn leave(&self) {
        self.slot.lock().unwrap().take();
    }

    fn prune(&self, tables: &mut Tables<'_>, now: IngestTime) -> Result<(), EngineError> {
        let keep_from = now.minus(self.limits.ended_keep).as_nanos();
        for _ in 0..PRUNE_MAX {
            let oldest = tables.ended.first()?.map(|(key, _)| key.value());
            let Some((ended_at, key)) = oldest else { break };
            if ended_at >= keep_from && tables.ended.len()? <= self.limits.ended_max {
                break;
            }
            tables.ended.remove((ended_at, key))?;
            tables.forget(key)?;
        }
        Ok(())
    }

    fn write<R>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<R, EngineError>,
    ) -> Result<R, QueueError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let done = work(&mut Tables::open(&transaction)?)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    fn with<R>(
        &self,
        work: impl FnOnce(&Database) -> Result<R, EngineError>,
    ) -> Result<R, QueueError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match slot.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let done = work(&database).map_err(|EngineError(source)| QueueError::Storage(source))?;
        *slot = Some(database);
        Ok(done)
    }
}

fn open(path: &Path) -> Result<Database, QueueError> {
    let failed = |EngineError(source)| QueueError::Open { path: path.to_owned(), source };
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let database = database.map_err(|error| failed(error.into()))?;
    match stored_format(&database).map_err(failed)? {
        None | Some(FORMAT) => Ok(database),
        Some(found) => Err(QueueError::Format { path: path.to_owned(), found }),
    }
}

fn stored_format(database: &Database) -> Result<Option<u64>, EngineError> {
    match database.begin_read()?.open_table(row::META) {
        Ok(table) => Ok(table.get("format")?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
