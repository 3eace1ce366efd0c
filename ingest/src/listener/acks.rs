//! What is durable, told from the journal's thread to the loop. Never waits for the network.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::source::{AckToken, Acknowledge};

/// How far the records are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Grows when records could not be made durable; tokens of an older epoch are void.
    pub(crate) epoch: u64,
    /// Number of the last durable record.
    pub(crate) durable: u64,
    /// Records handed over in this epoch and not durable yet.
    unacked: usize,
    /// Messages that all connections together may have in flight.
    window: usize,
}

/// The way from the journal's side to the loop.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    progress: Mutex<Progress>,
    bell: Notify,
}

impl Acks {
    /// Notes records that were handed over under `epoch`.
    pub(crate) fn handed_over(&self, epoch: u64, records: usize) {
        let mut progress = self.locked();
        if progress.epoch == epoch {
            progress.unacked += records;
        }
    }

    pub(crate) fn set_window(&self, window: usize) {
        self.locked().window = window;
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.locked()
    }

    /// Waits for a change.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }

    fn locked(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acknowledge for Acks {
    fn acknowledge(&self, tokens: &[AckToken]) {
        {
            let mut progress = self.locked();
            let epoch = progress.epoch;
            let ours = tokens.iter().filter(|token| token.epoch() == epoch);
            let (count, last) =
                ours.fold((0, 0), |(count, last), token| (count + 1, token.sequence().max(last)));
            progress.unacked = progress.unacked.saturating_sub(count);
            progress.durable = progress.durable.max(last);
        }
        self.bell.notify_one();
    }

    fn send_again(&self) {
        {
            let mut progress = self.locked();
            progress.epoch += 1;
            progress.unacked = 0;
        }
        self.bell.notify_one();
    }

    fn unacked(&self) -> usize {
        self.locked().unacked
    }

    fn window(&self) -> usize {
        self.locked().window.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_an_older_epoch_make_nothing_durable() {
        let acks = Acks::default();
        assert_eq!(acks.window(), 1, "a window of 0 would always be used up");
        acks.handed_over(0, 3);
        acks.acknowledge(&[AckToken::new(0, 1), AckToken::new(0, 2)]);
        assert_eq!((acks.progress().durable, acks.unacked()), (2, 1));
        acks.send_again();
        acks.handed_over(0, 1);
        acks.acknowledge(&[AckToken::new(0, 3), AckToken::new(0, 4)]);
        assert_eq!((acks.progress().durable, acks.unacked()), (2, 0));
        acks.handed_over(1, 1);
        acks.acknowledge(&[AckToken::new(1, 5)]);
        assert_eq!((acks.progress().durable, acks.unacked()), (5, 0));
    }
}
