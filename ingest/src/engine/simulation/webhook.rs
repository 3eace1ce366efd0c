//! A webhook that fails, hangs and loses its answers, behind the real notifier and its queue.
//!
//! It is told the alerts of a world. Our process is killed, or ends in order, again and again; webhook and queue
//! outlive it. The queue is a real file, since its engine brings its own disk: power failures are not shown here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use journal::sim::Dice;
use telemetry::time::IngestTime;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::clock::START;
use crate::engine::notices::notice;
use crate::notifier::{
    AlertState, Answer, Batch, Clock, Kind, Letter, Notice, Observer, Options, OutboxKey, Queue,
    QueueLimits, Reason, ReasonCode, Sender, Severity, Wiring, run,
};

/// How long everything may take to be told once nothing fails any more: some of the longest waits between two tries.
const TOLD_WITHIN: Duration = Duration::from_secs(3_600);

/// Batches between the follower of the outbox and the notifier.
const FEED: usize = 16;

/// How the webhook answers.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Well,
    Slow,
    /// Asks for so many seconds.
    Busy(u64),
    Failing,
    Hanging,
    /// Takes it, and the answer is lost.
    Unheard,
}

/// What the webhook has taken, in order: idempotency key and body.
type Taken = Vec<(String, Bytes)>;

#[derive(Debug)]
struct Endpoint {
    mode: Mode,
    taken: Taken,
}

#[derive(Debug)]
struct Webhook(Arc<Mutex<Endpoint>>);

#[derive(Debug)]
struct Nobody;

/// What outlives our process.
pub(super) struct Bench {
    notices: Vec<Notice>,
    endpoint: Arc<Mutex<Endpoint>>,
    folder: TempDir,
    now: IngestTime,
    dice: Dice,
}

impl Bench {
    /// Makes a webhook and a queue for the alerts of a world.
    pub(super) fn new(seed: u64, alerts: &BTreeMap<OutboxKey, Vec<u8>>) -> Self {
        let notices = alerts.iter().map(|(key, line)| notice(line, Some(*key)).unwrap());
        Self {
            notices: notices.collect(),
            endpoint: Arc::new(Mutex::new(Endpoint { mode: Mode::Well, taken: Vec::new() })),
            folder: tempfile::tempdir().unwrap(),
            now: IngestTime::from_nanos(START),
            dice: Dice::new(seed ^ 0x3e11),
        }
    }

    /// Lives through some lives, then one in which nothing fails; returns what the webhook was told.
    pub(super) fn tell(mut self) -> (Vec<Notice>, Taken) {
        for _ in 0..2 + self.dice.below(4) {
            self.live(false);
        }
        self.live(true);
        let taken = std::mem::take(&mut self.endpoint.lock().unwrap().taken);
        (self.notices, taken)
    }

    /// A life of our process; with its runtime everything that runs in it is gone.
    fn live(&mut self, is_last: bool) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let passed = runtime.unwrap().block_on(self.life(is_last));
        self.now = self.now.plus(passed + Duration::from_secs(self.dice.below(60)));
    }

    async fn life(&mut self, is_last: bool) -> Duration {
        let began = Instant::now();
        let file = self.folder.path().join("queue.redb");
        let queue = Arc::new(Queue::open(&file, QueueLimits::default(), self.now).unwrap());
        let told = queue.cursor().unwrap().unwrap_or_default();
        let after = |notice: &&Notice| notice.origin > Some(told);
        let mut left: VecDeque<Notice> = self.notices.iter().filter(after).cloned().collect();
        let (feed, fed) = mpsc::channel(FEED);
        let (stop, stopped) = oneshot::channel::<()>();
        let wiring = Wiring {
            queue: Arc::clone(&queue),
            sender: Arc::new(Webhook(Arc::clone(&self.endpoint))),
            observer: Arc::new(Nobody),
            clock: Clock::start(self.now),
            options: Options::named("webhook", Severity::Blue),
        };
        let running = tokio::spawn(run(wiring, fed, async move { drop(stopped.await) }));
        for _ in 0..self.dice.below(20) {
            match self.dice.below(3) {
                0 => feed_some(&mut left, &feed, 1 + self.dice.below(9)).await,
                1 => self.endpoint.lock().unwrap().mode = mode(&mut self.dice),
                _ => {}
            }
            let wait = [0, 7, 900, 20_000][super::step::choice(&mut self.dice, 4)];
            tokio::time::sleep(Duration::from_millis(self.dice.below(1 + wait))).await;
        }
        if is_last {
            self.endpoint.lock().unwrap().mode = Mode::Well;
            feed_some(&mut left, &feed, u64::MAX).await;
            let until = Instant::now() + TOLD_WITHIN;
            let is_told = || feed.capacity() == FEED && queue.pending().unwrap() == 0;
            while !is_told() && Instant::now() < until {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        if is_last || self.dice.below(2) == 0 {
            stop.send(()).unwrap();
            running.await.unwrap();
        }
        began.elapsed()
    }
}

/// Hands over the next notices, as the follower of the outbox does.
async fn feed_some(left: &mut VecDeque<Notice>, feed: &mpsc::Sender<Batch>, most: u64) {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(left.len());
    let notices: Vec<Notice> = left.drain(..most).collect();
    let Some(last) = notices.last() else { return };
    let cursor = last.origin;
    feed.send(Batch { notices, cursor }).await.unwrap();
}

fn mode(dice: &mut Dice) -> Mode {
    match dice.below(7) {
        0 => Mode::Well,
        1 => Mode::Slow,
        2 => Mode::Busy(dice.below(100)),
        3 => Mode::Failing,
        4 => Mode::Hanging,
        _ => Mode::Unheard,
    }
}

impl Sender for Webhook {
    fn kind(&self) -> Kind {
        Kind::Webhook
    }

    async fn send(&self, letter: &Letter) -> Answer {
        let mode = self.0.lock().unwrap().mode;
        let takes_ms = match mode {
            Mode::Hanging => 10_000,
            Mode::Slow => 3_000,
            Mode::Well | Mode::Busy(_) | Mode::Failing | Mode::Unheard => 5,
        };
        tokio::time::sleep(Duration::from_millis(takes_ms)).await;
        if matches!(mode, Mode::Well | Mode::Slow | Mode::Unheard) {
            let taken = (letter.idempotency_key(), letter.body.clone());
            self.0.lock().unwrap().taken.push(taken);
        }
        let again =
            |code, detail: &str, after| Answer::Retry { reason: Reason::new(code, detail), after };
        match mode {
            Mode::Well | Mode::Slow => Answer::Delivered { receipt: "200".to_owned() },
            Mode::Busy(seconds) => {
                again(ReasonCode::Status, "503", Some(Duration::from_secs(seconds)))
            }
            Mode::Failing => again(ReasonCode::Status, "500", None),
            Mode::Hanging | Mode::Unheard => again(ReasonCode::Timeout, "no answer", None),
        }
    }
}

impl Observer for Nobody {
    fn delivered(&self, _: Kind) {}
    fn failed(&self, _: Kind) {}
    fn retried(&self, _: Kind) {}
}

/// Whether everything was told at least once, by the same key in the same words each time, and no alert was raised
/// after it was over.
pub(super) fn judge(notices: &[Notice], taken: &[(String, Bytes)]) -> Result<(), String> {
    let key = |id: &str, state: AlertState| format!("{id}:{}", state.as_str());
    let due: BTreeMap<String, &Bytes> =
        notices.iter().map(|notice| (key(&notice.id, notice.state), &notice.body)).collect();
    let told: BTreeSet<&String> = taken.iter().map(|(key, _)| key).collect();
    if let Some(untold) = due.keys().find(|key| !told.contains(key)) {
        return Err(format!("{untold} was not told"));
    }
    if let Some((key, _)) = taken.iter().find(|(key, body)| due.get(key) != Some(&body)) {
        return Err(format!("{key} was told in other words"));
    }
    let mut over = BTreeSet::new();
    for (key, _) in taken {
        match key.split_once(':') {
            Some((id, "resolved")) => {
                over.insert(id);
            }
            Some((id, _)) if over.contains(id) => {
                return Err(format!("{id} was raised after it was over"));
            }
            _ => {}
        }
    }
    Ok(())
}
