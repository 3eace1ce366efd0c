//! When the driver snapshots, and what it frees afterwards.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pipeline::snapshot::Copied;
use telemetry::problem::chain;
use tokio::time::Instant;

use crate::engine::driver::Driver;
use crate::engine::halt::Halt;
use crate::engine::orders::Order;
use crate::engine::progress::{Mark, Progress, Taking};
use crate::engine::recovery::keep_snapshot;

/// Time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
/// Records between two snapshots at most: what a restart derives again at about 400,000 a second.
const SNAPSHOT_RECORDS_MAX: u64 = 2_000_000;
/// Bytes copied after each turn: a millisecond or two. In tests so few that records come in between.
const COPIED_BYTES: usize = if cfg!(test) { 300 } else { 1 << 20 };

impl Driver {
    /// Begins a snapshot when it is time, or goes on with the one that is being taken.
    pub(super) fn go_on_with_snapshot(
        &mut self,
        progress: &mut Progress,
        now: Instant,
    ) -> Result<(), Halt> {
        if let Some(position) = progress.taking.position()
            && let Some(done) = self.kept.done()
        {
            self.give_up_snapshot(progress);
            match done {
                Ok(oldest) => {
                    tracing::debug!(position, "snapshot");
                    progress.snapshot_at = position;
                    self.free(oldest, progress, now);
                }
                Err(error) => {
                    tracing::error!(%error, "snapshot not written; the one before stands");
                }
            }
            return Ok(());
        }
        match progress.taking {
            Taking::None => {
                let waited = now.saturating_duration_since(progress.last_snapshot);
                let is_due = progress.records_since > 0 && waited >= SNAPSHOT_INTERVAL;
                if progress.records_since >= SNAPSHOT_RECORDS_MAX || is_due {
                    self.begin_snapshot(progress, now)?;
                }
            }
            Taking::Copying(position) => self.copy_piece(progress, position),
            Taking::Writing(_) => {}
        }
        Ok(())
    }

    /// Cuts here, with the outbox fsynced up to it.
    fn begin_snapshot(&mut self, progress: &mut Progress, now: Instant) -> Result<(), Halt> {
        // One given up may still be on its way to the disk.
        if !self.kept.has_room() {
            return Ok(());
        }
        progress.last_snapshot = now;
        progress.records_since = 0;
        if !self.outbox_is_durable()? {
            return Ok(());
        }
        let position = self.pipeline.position();
        if self.kept.begin(position) {
            self.pipeline.begin_snapshot();
            progress.taking = Taking::Copying(position);
        }
        Ok(())
    }

    /// Copies a piece and hands it over, if the disk keeps up.
    fn copy_piece(&mut self, progress: &mut Progress, position: u64) {
        if !self.kept.has_room() {
            return;
        }
        let mut piece = Vec::with_capacity(COPIED_BYTES + COPIED_BYTES / 4);
        let copied = self.pipeline.copy_snapshot(&mut piece, COPIED_BYTES);
        let is_taken = match copied {
            Copied::Part => piece.is_empty() || self.kept.put(piece),
            Copied::All => {
                progress.taking = Taking::Writing(position);
                self.kept.put(piece) && self.kept.end()
            }
            Copied::None => false,
        };
        if !is_taken {
            self.give_up_snapshot(progress);
            // The configuration has changed: the next snapshot is due at once.
            progress.records_since = SNAPSHOT_RECORDS_MAX;
        }
    }

    /// Gives up the snapshot that is being taken: it does not appear from here on, unless it has.
    pub(super) fn give_up_snapshot(&mut self, progress: &mut Progress) {
        progress.taking = Taking::None;
        self.kept.give_up();
        self.pipeline.drop_snapshot();
    }

    /// Snapshots at once, at the end.
    pub(super) fn snapshot(&mut self, progress: &mut Progress, now: Instant) -> Result<(), Halt> {
        self.give_up_snapshot(progress);
        if !self.outbox_is_durable()? {
            return Ok(());
        }
        let (head, body) = (self.pipeline.snapshot_head(), self.pipeline.snapshot());
        match keep_snapshot(&*self.disk, &self.layout, &head, &body) {
            Ok(oldest) => {
                tracing::debug!(position = head.position, bytes = body.len(), "snapshot");
                progress.snapshot_at = head.position;
                self.free(oldest, progress, now);
            }
            Err(error) => {
                tracing::error!(%error, "snapshot not written; the one before stands");
            }
        }
        Ok(())
    }

    /// Fsyncs the outbox: a snapshot counts only with what led to it. `false` while the disk is full.
    fn outbox_is_durable(&mut self) -> Result<bool, Halt> {
        match self.outbox.sync() {
            Ok(_) => Ok(true),
            Err(error) if error.is_full() => {
                tracing::error!(error = %chain(&error), "outbox not durable; no snapshot now");
                Ok(false)
            }
            // These results are gone, and the sinks may not have read them.
            Err(error) => Err(Halt::Outbox(error)),
        }
    }

    /// Cuts both logs below what snapshots and the store need; the journal keeps `keep` more where there is room.
    fn free(&mut self, oldest_snapshot: u64, progress: &mut Progress, now: Instant) {
        progress.marks.push_back(Mark { position: progress.snapshot_at, at: now });
        let settled = self.shared.store_position.load(Ordering::Acquire);
        // The store's cursor stands at a result: where it has settled them all, what came without any holds nothing.
        let needed = if settled >= self.outbox.end().position {
            oldest_snapshot
        } else {
            oldest_snapshot.min(settled)
        };
        let is_tight = self.space.used() > self.keep_until_bytes;
        let mut cut = 0;
        while let Some(mark) = progress.marks.front() {
            if mark.position > needed
                || (!is_tight && now.saturating_duration_since(mark.at) < self.keep)
            {
                break;
            }
            cut = mark.position;
            progress.marks.pop_front();
        }
        if is_tight {
            cut = needed;
        }
        if cut > 0 && self.orders.0.try_send(Order::Cut(cut)).is_err() {
            tracing::debug!("the writer is busy; cut next time");
        }
        if let Err(error) = self.outbox.cut_before(needed) {
            tracing::warn!(error = %chain(&error), "the outbox could not be cut; tried again later");
        }
        self.space.outbox.store(self.outbox.bytes(), Ordering::Relaxed);
    }
}
