//! The intake buffer between the task that polls and the journal's side. Bounded by bytes.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::source::{Batch, Incoming};

/// Batches that may wait; the bound by bytes comes first, unless they are tiny.
const BATCHES_MOST: usize = 4096;
/// What a message costs beside its bytes.
const OVERHEAD: usize = 128;

/// The sending side. Giving never waits.
#[derive(Debug)]
pub(crate) struct Handover {
    to_journal: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
    capacity: u32,
}

/// Why a batch was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room now.
    Full(Vec<Incoming>),
    /// The journal's side is gone.
    Closed,
}

impl Handover {
    /// `capacity`: in bytes.
    pub(crate) fn new(capacity: u32) -> (Self, mpsc::Receiver<Batch>) {
        let (to_journal, batches) = mpsc::channel(BATCHES_MOST);
        let permits = usize::try_from(capacity).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        (Self { to_journal, room: Arc::new(Semaphore::new(permits)), capacity }, batches)
    }

    /// Gives a batch away, all or nothing. One larger than the whole buffer takes all of it.
    pub(crate) fn give(&self, uplinks: Vec<Incoming>) -> Result<(), Refused> {
        let slot = match self.to_journal.try_reserve() {
            Ok(slot) => slot,
            Err(mpsc::error::TrySendError::Full(())) => return Err(Refused::Full(uplinks)),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(Refused::Closed),
        };
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(self.cost(&uplinks)) else {
            return Err(Refused::Full(uplinks));
        };
        slot.send(Batch::new(uplinks, Some(room)));
        Ok(())
    }

    fn cost(&self, uplinks: &[Incoming]) -> u32 {
        let bytes: usize = uplinks.iter().map(|u| u.topic.len() + u.payload.len() + OVERHEAD).sum();
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity)
    }

    /// Waits until `uplinks` would be taken, or the journal's side is gone.
    pub(crate) async fn room_for(&self, uplinks: &[Incoming]) {
        self.wait(self.cost(uplinks)).await;
    }

    /// Waits until the buffer is at least half empty, or the journal's side is gone.
    pub(crate) async fn half_empty(&self) {
        self.wait(self.capacity / 2).await;
    }

    async fn wait(&self, bytes: u32) {
        tokio::select! {
            () = self.to_journal.closed() => {}
            // Nobody else gives, so room that is there now is there afterwards.
            taken = self.room.acquire_many(bytes) => {
                drop(taken);
                drop(self.to_journal.reserve().await);
            }
        }
    }

    /// Waits until the journal's side is gone.
    pub(crate) async fn closed(&self) {
        self.to_journal.closed().await;
    }

    /// Returns whether the journal's side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.to_journal.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;
    use bytes::Bytes;

    fn uplinks(len: usize) -> Vec<Incoming> {
        let payload = Bytes::from(vec![0; len]);
        vec![Incoming {
            source: SourceId(0),
            topic: Bytes::new(),
            payload,
            ack: None,
            oversize: None,
        }]
    }

    #[tokio::test]
    async fn a_full_buffer_gives_the_batch_back_and_has_room_once_a_batch_is_dropped() {
        let (handover, mut batches) = Handover::new(1000);
        assert_eq!(handover.give(uplinks(700)), Ok(()));
        let refused = handover.give(uplinks(200));
        assert_eq!(refused, Err(Refused::Full(uplinks(200))));
        let batch = batches.recv().await.unwrap();
        assert_eq!(
            handover.give(uplinks(200)),
            Err(Refused::Full(uplinks(200))),
            "received is not dropped"
        );
        drop(batch);
        handover.room_for(&uplinks(200)).await;
        assert_eq!(handover.give(uplinks(200)), Ok(()));
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_buffer_passes_alone() {
        let (handover, mut batches) = Handover::new(1000);
        assert_eq!(handover.give(uplinks(5000)), Ok(()));
        assert_eq!(handover.give(uplinks(0)), Err(Refused::Full(uplinks(0))));
        assert_eq!(batches.recv().await.unwrap().uplinks(), uplinks(5000));
        assert_eq!(handover.give(uplinks(0)), Ok(()));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_journal_that_is_gone() {
        let (handover, batches) = Handover::new(10);
        assert_eq!(handover.give(uplinks(10)), Ok(()));
        drop(batches);
        handover.half_empty().await;
        assert_eq!(handover.give(uplinks(1)), Err(Refused::Closed));
    }
}
