//! What has come from the follower and is not in the queue yet: pure.

use std::collections::VecDeque;
use std::time::Duration;

use telemetry::time::IngestTime;

use super::{Batch, OutboxKey, Severity};

/// Notices in one transaction.
const CHUNK: usize = 500;
/// How long a cursor that passed no notice may stay in memory: after a crash the follower reads that much
/// again and finds nothing to tell. Without it, every entry of the outbox would cost an fsync.
const IDLE_CURSOR_WAIT: Duration = Duration::from_secs(5);

/// Holds at most about two chunks; while it is full, the feed waits and with it the follower.
#[derive(Debug, Default)]
pub(super) struct Intake {
    held: VecDeque<Batch>,
    full_since: Option<IngestTime>,
    idle: Option<(OutboxKey, IngestTime)>,
}

impl Intake {
    /// Takes a batch in without the notices below `min_severity`.
    pub(super) fn handle_batch(&mut self, now: IngestTime, batch: Batch, min_severity: Severity) {
        let Batch { mut notices, cursor } = batch;
        notices.retain(|notice| notice.severity >= min_severity);
        while notices.len() > CHUNK {
            let rest = notices.split_off(CHUNK);
            // The cursor belongs to the last chunk: it must not pass notices that are not durable.
            self.held.push_back(Batch { notices, cursor: None });
            notices = rest;
        }
        match self.held.back_mut() {
            Some(last) if last.notices.len().saturating_add(notices.len()) <= CHUNK => {
                last.notices.append(&mut notices);
                last.cursor = cursor.or(last.cursor);
            }
            None if notices.is_empty() => {
                let since = self.idle.map_or(now, |(_, since)| since);
                self.idle = cursor.map(|cursor| (cursor, since)).or(self.idle);
            }
            Some(_) | None => self.held.push_back(Batch { notices, cursor }),
        }
    }

    /// The front batch is durable. `roomy`: without having made room for it.
    pub(super) fn handle_accepted(&mut self, roomy: bool) {
        let accepted = self.held.pop_front();
        if accepted.is_some_and(|batch| batch.cursor.is_some()) {
            self.idle = None;
        }
        if roomy {
            self.full_since = None;
        }
    }

    /// The queue is full. Returns whether it has been for `patience`, so that room is to be made.
    pub(super) fn handle_full(&mut self, now: IngestTime, patience: Duration) -> bool {
        now.since(*self.full_since.get_or_insert(now)) >= patience
    }

    /// The idle cursor is durable.
    pub(super) fn handle_idle_saved(&mut self) {
        self.idle = None;
    }

    /// Returns the batch to be stored next.
    pub(super) fn front(&self) -> Option<&Batch> {
        self.held.front()
    }

    /// Returns whether another batch may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.held.iter().map(|batch| batch.notices.len()).sum::<usize>() < CHUNK
    }

    /// Returns whether the queue was full at the last look.
    pub(super) const fn is_full(&self) -> bool {
        self.full_since.is_some()
    }

    /// Returns the cursor that waits without notices, where nothing stands before it.
    pub(super) fn idle(&self) -> Option<OutboxKey> {
        self.idle.filter(|_| self.held.is_empty()).map(|(cursor, _)| cursor)
    }

    /// Returns when there is something to do: save the idle cursor, or make room.
    pub(super) fn poll_timeout(&self, patience: Duration) -> Option<IngestTime> {
        let full =
            self.full_since.filter(|_| !self.held.is_empty()).map(|since| since.plus(patience));
        let idle = self
            .idle
            .filter(|_| self.held.is_empty())
            .map(|(_, since)| since.plus(IDLE_CURSOR_WAIT));
        full.into_iter().chain(idle).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{T0, firing};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn small_batches_share_a_transaction_and_large_ones_are_split() {
        let mut intake = Intake::default();
        let many = |from: usize, count: usize| {
            (from..from + count).map(|n| firing(&n.to_string())).collect()
        };
        intake.handle_batch(
            T0,
            Batch { notices: many(0, 2), cursor: Some((7, 1)) },
            Severity::Blue,
        );
        intake.handle_batch(T0, Batch { notices: many(2, 1), cursor: None }, Severity::Blue);
        assert_eq!(front(&intake), (3, Some((7, 1))));
        assert!(intake.has_room());
        intake.handle_batch(
            T0,
            Batch { notices: many(3, 1_100), cursor: Some((8, 0)) },
            Severity::Blue,
        );
        assert!(!intake.has_room());
        let mut seen = Vec::new();
        while intake.front().is_some() {
            seen.push(front(&intake));
            intake.handle_accepted(true);
        }
        assert_eq!(seen, [(3, Some((7, 1))), (500, None), (500, None), (100, Some((8, 0)))]);
    }

    #[test]
    fn a_cursor_without_notices_waits_five_seconds_and_never_overtakes_notices() {
        let mut intake = Intake::default();
        intake.handle_batch(T0, Batch { notices: vec![], cursor: Some((1, 0)) }, Severity::Blue);
        let later = T0.plus(Duration::from_secs(1));
        intake.handle_batch(later, Batch { notices: vec![], cursor: Some((2, 0)) }, Severity::Blue);
        assert_eq!((intake.idle(), intake.front()), (Some((2, 0)), None));
        assert_eq!(intake.poll_timeout(PATIENCE), Some(T0.plus(IDLE_CURSOR_WAIT)));

        let told = Batch { notices: vec![firing("a")], cursor: Some((3, 0)) };
        intake.handle_batch(later, told, Severity::Blue);
        intake.handle_batch(later, Batch { notices: vec![], cursor: Some((4, 0)) }, Severity::Blue);
        assert_eq!((intake.idle(), front(&intake)), (None, (1, Some((4, 0)))));
        intake.handle_accepted(true);
        assert_eq!(intake.poll_timeout(PATIENCE), None);
    }

    #[test]
    fn notices_below_the_least_severity_only_move_the_cursor() {
        let mut intake = Intake::default();
        intake.handle_batch(
            T0,
            Batch { notices: vec![firing("a")], cursor: Some((1, 0)) },
            Severity::Red,
        );
        assert_eq!((intake.front(), intake.idle()), (None, Some((1, 0))));
    }

    #[test]
    fn room_is_made_after_the_patience_and_then_without_delay_until_there_is_room() {
        let mut intake = Intake::default();
        intake.handle_batch(T0, Batch { notices: vec![firing("a")], cursor: None }, Severity::Blue);
        assert!(!intake.handle_full(T0, PATIENCE));
        assert_eq!(intake.poll_timeout(PATIENCE), Some(T0.plus(PATIENCE)));
        assert!(intake.handle_full(T0.plus(PATIENCE), PATIENCE));
        intake.handle_accepted(false);
        assert!(intake.handle_full(T0.plus(PATIENCE), PATIENCE));
        intake.handle_accepted(true);
        assert!(!intake.is_full());
    }

    fn front(intake: &Intake) -> (usize, Option<OutboxKey>) {
        intake.front().map(|batch| (batch.notices.len(), batch.cursor)).unwrap()
    }
}
