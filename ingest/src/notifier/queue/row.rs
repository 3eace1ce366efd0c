//! Tables of the queue file and what stands in them.
//!
//! `DUE` holds only what may be sent: a `resolved` whose `firing` still waits is in `WAITING` alone, and
//! enters `DUE` when the firing ends.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use telemetry::time::IngestTime;

use super::super::{AlertState, Notice, OutboxKey, Reason, ReasonCode, Severity};
use super::outcome::{EngineError, LogEntry, Status};

/// Version of the tables; a change of any type below counts it up.
pub(super) const FORMAT: u64 = 1;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const CURSOR: TableDefinition<'_, (), OutboxKey> = TableDefinition::new("cursor");
pub(super) const ENTRIES: TableDefinition<'_, u64, Row<'_>> = TableDefinition::new("entries");
pub(super) const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
pub(super) const KEYS: TableDefinition<'_, (&str, u8), u64> = TableDefinition::new("keys");
pub(super) const WAITING: TableDefinition<'_, u64, ()> = TableDefinition::new("waiting");
pub(super) const DUE: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("due");
pub(super) const ENDED: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("ended");

/// Alert id, (alert state, severity), (accepted_at, next_try_at or ended_at in ns), tries, status,
/// (reason code or empty, receipt or detail).
pub(super) type Row<'a> = (&'a str, (u8, u8), (i64, i64), u32, u8, (&'a str, &'a str));

const WAITS: u8 = 0;
const DELIVERED: u8 = 1;
const FAILED: u8 = 2;

/// Everything about a notice but its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) state: AlertState,
    pub(super) severity: Severity,
    pub(super) accepted_at: IngestTime,
    pub(super) tries: u32,
    pub(super) status: Status,
}

impl Entry {
    pub(super) fn new(notice: &Notice, now: IngestTime) -> Self {
        Self {
            id: notice.id.clone(),
            state: notice.state,
            severity: notice.severity,
            accepted_at: now,
            tries: 0,
            status: Status::Waiting { next_try_at: now, last: None },
        }
    }

    pub(super) fn read(
        (id, (state, severity), (accepted, changed), tries, status, note): Row<'_>,
    ) -> Self {
        let reason = || Reason { code: ReasonCode::parse(note.0), detail: note.1.to_owned() };
        let at = IngestTime::from_nanos(changed);
        let status = match status {
            DELIVERED => Status::Delivered { ended_at: at, receipt: note.1.to_owned() },
            FAILED => Status::Failed { ended_at: at, reason: reason() },
            _ => Status::Waiting { next_try_at: at, last: (!note.0.is_empty()).then(reason) },
        };
        Self {
            id: id.to_owned(),
            state: AlertState::from_code(state),
            severity: Severity::from_code(severity),
            accepted_at: IngestTime::from_nanos(accepted),
            tries,
            status,
        }
    }

    pub(super) fn row(&self) -> Row<'_> {
        let (status, at, note) = match &self.status {
            Status::Waiting { next_try_at, last: None } => (WAITS, next_try_at, ("", "")),
            Status::Waiting { next_try_at, last: Some(last) } => (WAITS, next_try_at, note(last)),
            Status::Delivered { ended_at, receipt } => {
                (DELIVERED, ended_at, ("", receipt.as_str()))
            }
            Status::Failed { ended_at, reason } => (FAILED, ended_at, note(reason)),
        };
        let times = (self.accepted_at.as_nanos(), at.as_nanos());
        (&self.id, (self.state.code(), self.severity.code()), times, self.tries, status, note)
    }

    pub(super) const fn next_try_at(&self) -> Option<IngestTime> {
        match &self.status {
            Status::Waiting { next_try_at, .. } => Some(*next_try_at),
            Status::Delivered { .. } | Status::Failed { .. } => None,
        }
    }

    pub(super) fn into_log(self) -> LogEntry {
        let Self { id, state, severity, accepted_at, tries, status } = self;
        LogEntry { id, state, severity, accepted_at, tries, status }
    }
}

fn note(reason: &Reason) -> (&str, &str) {
    (reason.code.as_str(), &reason.detail)
}

/// All tables of one write transaction.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) cursor: Table<'t, (), OutboxKey>,
    pub(super) entries: Table<'t, u64, Row<'static>>,
    pub(super) bodies: Table<'t, u64, &'static [u8]>,
    pub(super) keys: Table<'t, (&'static str, u8), u64>,
    pub(super) waiting: Table<'t, u64, ()>,
    pub(super) due: Table<'t, (i64, u64), ()>,
    pub(super) ended: Table<'t, (i64, u64), ()>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, EngineError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            cursor: transaction.open_table(CURSOR)?,
            entries: transaction.open_table(ENTRIES)?,
            bodies: transaction.open_table(BODIES)?,
            keys: transaction.open_table(KEYS)?,
            waiting: transaction.open_table(WAITING)?,
            due: transaction.open_table(DUE)?,
            ended: transaction.open_table(ENDED)?,
        })
    }

    pub(super) fn entry(&self, key: u64) -> Result<Option<Entry>, EngineError> {
        Ok(self.entries.get(key)?.map(|row| Entry::read(row.value())))
    }

    /// Stores a new notice; it is due at once unless the firing of its alert still waits.
    pub(super) fn add(&mut self, notice: &Notice, now: IngestTime) -> Result<(), EngineError> {
        let next = self.meta.get("next_key")?.map_or(0, |key| key.value());
        self.meta.insert("next_key", next.saturating_add(1))?;
        let entry = Entry::new(notice, now);
        self.entries.insert(next, entry.row())?;
        self.bodies.insert(next, notice.body.as_ref())?;
        self.keys.insert((notice.id.as_str(), notice.state.code()), next)?;
        self.waiting.insert(next, ())?;
        if !self.has_waiting_firing(&entry)? {
            self.due.insert((now.as_nanos(), next), ())?;
        }
        Ok(())
    }

    fn has_waiting_firing(&self, entry: &Entry) -> Result<bool, EngineError> {
        if entry.state == AlertState::Firing {
            return Ok(false);
        }
        let firing =
            self.keys.get((entry.id.as_str(), AlertState::Firing.code()))?.map(|key| key.value());
        Ok(match firing {
            Some(firing) => self.waiting.get(firing)?.is_some(),
            None => false,
        })
    }

    /// Moves a waiting notice to its next try.
    pub(super) fn postpone(
        &mut self,
        key: u64,
        mut entry: Entry,
        status: Status,
    ) -> Result<(), EngineError> {
        let from = entry.next_try_at();
        entry.status = status;
        if let (Some(from), Some(to)) = (from, entry.next_try_at()) {
            self.due.remove((from.as_nanos(), key))?;
            self.due.insert((to.as_nanos(), key), ())?;
        }
        self.entries.insert(key, entry.row())?;
        Ok(())
    }

    /// Ends a waiting notice and lets the `resolved` that waited for it go.
    pub(super) fn end(
        &mut self,
        key: u64,
        mut entry: Entry,
        status: Status,
    ) -> Result<(), EngineError> {
        let (Status::Delivered { ended_at, .. } | Status::Failed { ended_at, .. }) = status else {
            debug_assert!(false, "a notice that ends is delivered or failed");
            return Ok(());
        };
        if let Some(from) = entry.next_try_at() {
            self.due.remove((from.as_nanos(), key))?;
        }
        self.waiting.remove(key)?;
        self.bodies.remove(key)?;
        self.ended.insert((ended_at.as_nanos(), key), ())?;
        entry.status = status;
        self.entries.insert(key, entry.row())?;
        if entry.state == AlertState::Firing { self.release(&entry.id) } else { Ok(()) }
    }

    fn release(&mut self, id: &str) -> Result<(), EngineError> {
        let resolved = self.keys.get((id, AlertState::Resolved.code()))?.map(|key| key.value());
        let Some(key) = resolved else { return Ok(()) };
        let entry = self.entry(key)?;
        if let Some(at) = entry.and_then(|entry| entry.next_try_at()) {
            self.due.insert((at.as_nanos(), key), ())?;
        }
        Ok(())
    }

    /// Forgets an ended notice, also for idempotence.
    pub(super) fn forget(&mut self, key: u64) -> Result<(), EngineError> {
        if let Some(entry) = self.entry(key)? {
            self.keys.remove((entry.id.as_str(), entry.state.code()))?;
        }
        self.entries.remove(key)?;
        Ok(())
    }
}
