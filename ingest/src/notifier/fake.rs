//! Notices and an endpoint for tests.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use telemetry::time::IngestTime;
use tokio::sync::watch;

use super::{
    AlertState, Answer, Kind, Letter, Notice, Observer, Reason, ReasonCode, Sender, Severity,
};

pub(super) const T0: IngestTime = IngestTime::from_nanos(1_763_856_000_000_000_000);

pub(super) fn firing(id: &str) -> Notice {
    notice(id, AlertState::Firing)
}

pub(super) fn resolved(id: &str) -> Notice {
    notice(id, AlertState::Resolved)
}

fn notice(id: &str, state: AlertState) -> Notice {
    let body = Bytes::from(format!(r#"{{"id":"{id}","state":"{}"}}"#, state.as_str()));
    Notice { id: id.to_owned(), state, severity: Severity::Yellow, body, origin: Some((1, 0)) }
}

pub(super) fn unreachable() -> Answer {
    Answer::Retry { reason: Reason::new(ReasonCode::Unreachable, "refused"), after: None }
}

pub(super) fn delivered() -> Answer {
    Answer::Delivered { receipt: "200".into() }
}

/// An endpoint whose answers are scripted per idempotency key; the last one repeats. Without a script it delivers.
#[derive(Debug)]
pub(super) struct Endpoint {
    script: Mutex<BTreeMap<String, Vec<Answer>>>,
    /// Every try: (seconds since the start, key), at its beginning.
    tries: watch::Sender<Vec<(Duration, String)>>,
    panics: Mutex<Option<String>>,
    took: Duration,
    started: tokio::time::Instant,
    together: Mutex<(usize, usize)>,
}

impl Endpoint {
    pub(super) fn new(took: Duration) -> Self {
        Self {
            script: Mutex::default(),
            tries: watch::Sender::new(Vec::new()),
            panics: Mutex::default(),
            took,
            started: tokio::time::Instant::now(),
            together: Mutex::default(),
        }
    }

    pub(super) fn answers(self, key: &str, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.script.lock().unwrap().insert(key.to_owned(), answers.into_iter().collect());
        self
    }

    pub(super) fn now_answers(&self, key: &str, answer: Answer) {
        self.script.lock().unwrap().insert(key.to_owned(), vec![answer]);
    }

    pub(super) fn panics_once(self, key: &str) -> Self {
        *self.panics.lock().unwrap() = Some(key.to_owned());
        self
    }

    /// Waits until there were `count` tries and returns them.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<(Duration, String)> {
        let mut tries = self.tries.subscribe();
        tries.wait_for(|tries| tries.len() >= count).await.unwrap().clone()
    }

    pub(super) fn tries(&self) -> Vec<(Duration, String)> {
        self.tries.borrow().clone()
    }

    pub(super) fn most_together(&self) -> usize {
        self.together.lock().unwrap().1
    }
}

impl Sender for Endpoint {
    fn kind(&self) -> Kind {
        Kind::Webhook
    }

    async fn send(&self, letter: &Letter) -> Answer {
        let key = letter.idempotency_key();
        let panics = self.panics.lock().unwrap().take_if(|bad| *bad == key).is_some();
        assert!(!panics, "as the test asked for");
        {
            let mut together = self.together.lock().unwrap();
            together.0 += 1;
            together.1 = together.1.max(together.0);
        }
        self.tries.send_modify(|tries| tries.push((self.started.elapsed(), key.clone())));
        tokio::time::sleep(self.took).await;
        self.together.lock().unwrap().0 -= 1;
        let mut script = self.script.lock().unwrap();
        match script.get_mut(&key) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers.first().cloned().unwrap_or_else(delivered),
            None => delivered(),
        }
    }
}

/// Counts what the notifier tells: (delivered, failed, retried).
#[derive(Debug, Default)]
pub(super) struct Counts(pub(super) watch::Sender<(u64, u64, u64)>);

impl Counts {
    pub(super) async fn wait_for(
        &self,
        reached: impl Fn(&(u64, u64, u64)) -> bool,
    ) -> (u64, u64, u64) {
        *self.0.subscribe().wait_for(|counts| reached(counts)).await.unwrap()
    }
}

impl Observer for Counts {
    fn delivered(&self, _: Kind) {
        self.0.send_modify(|counts| counts.0 += 1);
    }

    fn failed(&self, _: Kind) {
        self.0.send_modify(|counts| counts.1 += 1);
    }

    fn retried(&self, _: Kind) {
        self.0.send_modify(|counts| counts.2 += 1);
    }
}
