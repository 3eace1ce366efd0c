//! Tries that are under way.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry::time::IngestTime;
use tokio::task::{Id, JoinError, JoinSet};

use super::{Answer, Attempt, Letter, Reason, ReasonCode, Sender};

/// What a try under way is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) key: u64,
    pub(super) alert: String,
    pub(super) attempt: Attempt,
    pub(super) began_at: IngestTime,
}

/// Each try runs in a task of its own, so that none can stop the others.
#[derive(Debug, Default)]
pub(super) struct Flights {
    tries: JoinSet<Answer>,
    /// Looked up by task, never iterated.
    about: HashMap<Id, Flight>,
}

impl Flights {
    pub(super) fn launch<S: Sender>(&mut self, sender: &Arc<S>, letter: Letter, now: IngestTime) {
        let flight = Flight {
            key: letter.key,
            alert: letter.id.clone(),
            attempt: Attempt {
                accepted_at: letter.accepted_at,
                number: letter.tries.saturating_add(1),
            },
            began_at: now,
        };
        let sender = Arc::clone(sender);
        let handle = self.tries.spawn(async move { sender.send(&letter).await });
        self.about.insert(handle.id(), flight);
    }

    pub(super) fn len(&self) -> usize {
        self.tries.len()
    }

    /// Waits until at least one try ends, and returns all that have ended; waits for ever where none is
    /// under way. Nothing is lost when the wait is given up.
    pub(super) async fn landed(&mut self) -> Vec<(Flight, Answer)> {
        let Some(first) = self.tries.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let mut landed = Vec::new();
        let mut next = Some(first);
        while let Some(ended) = next {
            let (id, answer) = ended.unwrap_or_else(|error| (error.id(), broken(&error)));
            if let Some(flight) = self.about.remove(&id) {
                landed.push((flight, answer));
            }
            next = self.tries.try_join_next_with_id();
        }
        landed
    }

    /// Ends what is still under way; it stays in the queue and is sent again.
    pub(super) async fn abort(&mut self) {
        self.tries.shutdown().await;
        self.about.clear();
    }
}

fn broken(error: &JoinError) -> Answer {
    Answer::Retry { reason: Reason::new(ReasonCode::Internal, &error.to_string()), after: None }
}
