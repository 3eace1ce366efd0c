use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::fake::{Counts, Endpoint, T0, delivered, firing, resolved, unreachable};
use super::super::{LogEntry, Notice, OutboxKey, QueueLimits, Status};
use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

/// Scenario: the endpoint fails twice and then answers.
/// Guarantees: tries follow the back-off, the resolved waits for its firing, all is counted and logged.
#[tokio::test(start_paused = true)]
async fn a_firing_is_tried_until_delivered_and_its_resolved_follows() {
    let endpoint =
        Endpoint::new(MS * 10).answers("a:firing", [unreachable(), unreachable(), delivered()]);
    let bench = Bench::start(endpoint, |_| {});
    bench.feed([firing("a"), resolved("a")], (1, 0)).await;
    assert_eq!(bench.counts.wait_for(|counts| counts.0 == 2).await, (2, 0, 2));
    let tries = bench.endpoint.tries();
    let keys: Vec<_> = tries.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(keys, ["a:firing", "a:firing", "a:firing", "a:resolved"]);
    let waits: Vec<_> = tries.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!((S..S + MS * 50).contains(&waits[0]), "{waits:?}");
    assert!((S..S * 2 + MS * 50).contains(&waits[1]), "{waits:?}");
    let log = bench.stop().await;
    assert!(log.iter().all(|entry| matches!(entry.status, Status::Delivered { .. })), "{log:?}");
}

/// Scenario: 40 alerts while the endpoint takes 100 ms each.
/// Guarantees: eight are under way at once, not more, and each is sent once.
#[tokio::test(start_paused = true)]
async fn eight_deliveries_are_under_way_at_once() {
    let bench = Bench::start(Endpoint::new(MS * 100), |_| {});
    let many: Vec<_> = (0..40).map(|n| firing(&n.to_string())).collect();
    bench.feed(many, (1, 0)).await;
    assert_eq!(bench.counts.wait_for(|counts| counts.0 == 40).await, (40, 0, 0));
    assert_eq!(bench.endpoint.most_together(), 8);
    assert_eq!(bench.endpoint.tries().len(), 40);
}

/// Scenario: the endpoint is away while 50 alerts wait, for ten minutes.
/// Guarantees: the outage costs tries of the endpoint, not of every alert, and afterwards all arrive.
#[tokio::test(start_paused = true)]
async fn an_outage_costs_one_probe_at_a_time() {
    let keys: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let endpoint = keys.iter().fold(Endpoint::new(MS), |endpoint, id| {
        endpoint.answers(&format!("{id}:firing"), [unreachable()])
    });
    let bench = Bench::start(endpoint, |_| {});
    bench.feed(keys.iter().map(|id| firing(id)), (1, 0)).await;
    tokio::time::sleep(S * 600).await;
    let tries = bench.endpoint.tries().len();
    assert!((10..30).contains(&tries), "{tries} tries");
    for id in &keys {
        bench.endpoint.now_answers(&format!("{id}:firing"), delivered());
    }
    let counts = bench.counts.wait_for(|counts| counts.0 == 50).await;
    assert_eq!((counts.0, counts.1), (50, 0));
}

/// Scenario: one alert fails for ever, others keep coming.
/// Guarantees: the others are delivered within seconds.
#[tokio::test(start_paused = true)]
async fn one_notice_that_always_fails_does_not_stop_the_others() {
    let bench = Bench::start(Endpoint::new(MS).answers("bad:firing", [unreachable()]), |_| {});
    bench.feed([firing("bad")], (1, 0)).await;
    bench.feed((0..20).map(|n| firing(&n.to_string())), (2, 0)).await;
    bench.counts.wait_for(|counts| counts.0 == 20).await;
    assert!(bench.clock.now().since(T0) < S * 10, "{:?}", bench.clock.now().since(T0));
}

/// Scenario: an endpoint that is away for more than seven days.
/// Guarantees: what waited that long is failed as expired and counted.
#[tokio::test(start_paused = true)]
async fn notices_expire_after_seven_days_without_the_endpoint() {
    let endpoint = ["a", "b", "c"].iter().fold(Endpoint::new(MS), |endpoint, id| {
        endpoint.answers(&format!("{id}:firing"), [unreachable()])
    });
    let bench = Bench::start(endpoint, |_| {});
    bench.feed([firing("a"), firing("b"), firing("c")], (1, 0)).await;
    let counts = bench.counts.wait_for(|counts| counts.1 == 3).await;
    assert_eq!(counts.0, 0);
    let age = bench.clock.now().since(T0);
    assert!((GIVE_UP_AFTER..GIVE_UP_AFTER + S * 600).contains(&age), "{age:?}");
    let log = bench.stop().await;
    let expired = |entry: &LogEntry| match &entry.status {
        Status::Failed { reason, .. } => {
            reason.code == ReasonCode::Expired && reason.detail == "unreachable refused"
        }
        Status::Delivered { .. } | Status::Waiting { .. } => false,
    };
    assert!(log.iter().all(expired), "{log:?}");
}

/// Scenario: a queue of three places before a dead endpoint, and five alerts.
/// Guarantees: the cursor stands still for the patience; then the oldest are failed, counted, and the newest wait.
#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_the_cursor_and_then_fails_the_oldest() {
    let endpoint = (0..5).fold(Endpoint::new(MS), |endpoint, id| {
        endpoint.answers(&format!("{id}:firing"), [unreachable()])
    });
    let limits = QueueLimits { waiting_max: 3, ..QueueLimits::default() };
    let bench = Bench::start_with(endpoint, limits, |_| {});
    bench.feed((0..3).map(|n| firing(&n.to_string())), (1, 0)).await;
    bench.endpoint.wait_for(1).await;
    bench.feed((3..5).map(|n| firing(&n.to_string())), (2, 0)).await;
    tokio::time::sleep(S * 4).await;
    assert_eq!(bench.queue.cursor().unwrap(), Some((1, 0)));
    let counts = bench.counts.wait_for(|counts| counts.1 == 2).await;
    assert_eq!((counts.0, counts.1), (0, 2));
    assert!(bench.clock.now().since(T0) < S * 7);
    let log = bench.stop().await;
    let waiting: Vec<_> =
        log.iter().filter(|e| matches!(e.status, Status::Waiting { .. })).collect();
    assert_eq!(waiting.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["4", "3", "2"]);
}

/// Scenario: stop while nothing is wrong, with alerts still in the feed.
/// Guarantees: they are stored and delivered before the end, and the cursor with them.
#[tokio::test(start_paused = true)]
async fn the_end_delivers_what_stands_in_the_feed() {
    let bench = Bench::start(Endpoint::new(MS * 20), |_| {});
    bench.feed((0..20).map(|n| firing(&n.to_string())), (9, 4)).await;
    let (queue, counts) = (Arc::clone(&bench.queue), Arc::clone(&bench.counts));
    bench.stop().await;
    assert_eq!(*counts.0.borrow(), (20, 0, 0));
    assert_eq!(queue.cursor().unwrap(), Some((9, 4)));
}

/// Scenario: stop while the endpoint hangs.
/// Guarantees: the end comes within two seconds and the alert still waits.
#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_an_endpoint_that_hangs() {
    let bench = Bench::start(Endpoint::new(S * 3_600), |_| {});
    bench.feed([firing("a")], (1, 0)).await;
    bench.endpoint.wait_for(1).await;
    let before = bench.clock.now();
    let clock = bench.clock;
    let log = bench.stop().await;
    assert!(clock.now().since(before) <= S * 2);
    assert!(matches!(log[0].status, Status::Waiting { last: None, .. }), "{log:?}");
}

/// Scenario: the endpoint refuses connections at the end; alerts wait.
/// Guarantees: the end comes at once.
#[tokio::test(start_paused = true)]
async fn the_end_is_immediate_when_the_endpoint_is_away() {
    let bench = Bench::start(Endpoint::new(MS).answers("a:firing", [unreachable()]), |_| {});
    bench.feed([firing("a"), firing("b")], (1, 0)).await;
    bench.counts.wait_for(|counts| counts.2 >= 1).await;
    let (before, clock) = (bench.clock.now(), bench.clock);
    bench.stop().await;
    assert!(clock.now().since(before) < MS * 100, "{:?}", clock.now().since(before));
}

/// Scenario: a quiet outbox whose entries hold no alerts.
/// Guarantees: the cursor becomes durable within seconds, and at the end.
#[tokio::test(start_paused = true)]
async fn a_cursor_that_passed_no_alert_is_saved_within_seconds_and_at_the_end() {
    let bench = Bench::start(Endpoint::new(MS), |_| {});
    bench.feed([], (1, 0)).await;
    tokio::time::sleep(S * 4).await;
    assert_eq!(bench.queue.cursor().unwrap(), None);
    tokio::time::sleep(S * 2).await;
    assert_eq!(bench.queue.cursor().unwrap(), Some((1, 0)));
    bench.feed([], (2, 0)).await;
    let queue = Arc::clone(&bench.queue);
    bench.stop().await;
    assert_eq!(queue.cursor().unwrap(), Some((2, 0)));
}

/// Scenario: the least severity is red, a yellow alert comes.
/// Guarantees: it is neither stored nor sent.
#[tokio::test(start_paused = true)]
async fn less_grave_alerts_are_not_told() {
    let bench = Bench::start(Endpoint::new(MS), |options| options.min_severity = Severity::Red);
    bench.feed([firing("a"), Notice { severity: Severity::Red, ..firing("b") }], (1, 0)).await;
    bench.counts.wait_for(|counts| counts.0 == 1).await;
    let log = bench.stop().await;
    assert_eq!(log.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["b"]);
}

/// Scenario: a sender that panics for one alert.
/// Guarantees: the others are delivered; the one is tried again.
#[tokio::test(start_paused = true)]
async fn a_sender_that_panics_stops_nobody() {
    let bench = Bench::start(Endpoint::new(MS).panics_once("bad:firing"), |_| {});
    bench.feed([firing("bad"), firing("good")], (1, 0)).await;
    assert_eq!(bench.counts.wait_for(|counts| counts.0 == 2).await, (2, 0, 1));
}

/// Scenario: the queue's file cannot be opened for a while, with a delivery to be recorded and an alert to be stored.
/// Guarantees: nothing is counted or sent meanwhile; afterwards each alert is delivered and recorded once.
#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_used_holds_everything_up_and_loses_nothing() {
    let bench = Bench::start(Endpoint::new(S), |_| {});
    bench.feed([firing("a")], (1, 0)).await;
    bench.endpoint.wait_for(1).await;
    let (file, away) = (bench.dir.path().join("queue.redb"), bench.dir.path().join("away"));
    bench.queue.leave();
    std::fs::rename(&file, &away).unwrap();
    std::fs::create_dir(&file).unwrap();
    bench.feed([firing("b")], (2, 0)).await;
    tokio::time::sleep(S * 60).await;
    assert_eq!((*bench.counts.0.borrow(), bench.endpoint.tries().len()), ((0, 0, 0), 1));
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(bench.counts.wait_for(|counts| counts.0 == 2).await, (2, 0, 0));
    assert_eq!((bench.endpoint.tries().len(), bench.queue.cursor().unwrap()), (2, Some((2, 0))));
}

struct Bench {
    endpoint: Arc<Endpoint>,
    counts: Arc<Counts>,
    queue: Arc<Queue>,
    clock: Clock,
    feed: mpsc::Sender<Batch>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    dir: TempDir,
}

impl Bench {
    fn start(endpoint: Endpoint, change: impl FnOnce(&mut Options)) -> Self {
        Self::start_with(endpoint, QueueLimits::default(), change)
    }

    fn start_with(
        endpoint: Endpoint,
        limits: QueueLimits,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let queue = Arc::new(Queue::open(&dir.path().join("queue.redb"), limits, T0).unwrap());
        let (endpoint, counts) = (Arc::new(endpoint), Arc::new(Counts::default()));
        let clock = Clock::start(T0);
        let mut options = Options::named("test", Severity::Blue);
        change(&mut options);
        let wiring = Wiring {
            queue: Arc::clone(&queue),
            sender: Arc::clone(&endpoint),
            observer: Arc::clone(&counts),
            clock,
            options,
        };
        let (feed, batches) = mpsc::channel(4);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(run(wiring, batches, async move { drop(stopped.await) }));
        Self { endpoint, counts, queue, clock, feed, stop, running, dir }
    }

    async fn feed(&self, notices: impl IntoIterator<Item = Notice>, cursor: OutboxKey) {
        let batch = Batch { notices: notices.into_iter().collect(), cursor: Some(cursor) };
        self.feed.send(batch).await.unwrap();
    }

    async fn stop(self) -> Vec<LogEntry> {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
        self.queue.log(999).unwrap()
    }
}
