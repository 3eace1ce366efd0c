//! The replay window: what a store acknowledged and may have lost.

use std::time::Duration;

use crate::{Act, Influxd, Opened, Proxy, Setting, batch, now, shared};

fn one(device: &str) -> store::Batch {
    batch(&[format!("m,device={device} x=1 {}", now())])
}

/// Writes until a connection is used that the kill did not break.
async fn write(store: &Opened, points: &store::Batch) -> store::Outcome {
    loop {
        match store.writer.write(points).await {
            Ok(outcome) => return outcome,
            Err(error) => assert_eq!(error.code(), "unreachable"),
        }
    }
}

/// Scenario: kill -9 between two writes, seen as a failed write; the store comes back without what it had
/// acknowledged last. Later it is restarted so fast that no write fails.
/// Guarantees: the window is sent again before the next batch, both times; nothing is missing.
#[tokio::test]
async fn what_a_killed_store_lost_is_sent_again() {
    let Some(mut server) = Influxd::start() else { return };
    let store = Setting::new(&server.url(), "telemetry").open();
    for device in ["a", "b"] {
        assert_eq!(store.writer.write(&one(device)).await.unwrap().replayed, 0);
    }
    server.kill();
    assert_eq!(store.writer.write(&one("c")).await.unwrap_err().code(), "unreachable");
    server.wipe();
    assert!(server.rows("telemetry").is_empty());
    let outcome = write(&store, &one("c")).await;
    assert_eq!((outcome.stored, outcome.replayed), (1, 2));
    assert_eq!(server.rows("telemetry").len(), 3);

    server.kill();
    server.run();
    assert_eq!(server.rows("telemetry").len(), 3, "InfluxDB keeps what it acknowledged");
    assert_eq!(write(&store, &one("d")).await.replayed, 3);
    assert_eq!(server.rows("telemetry").len(), 4);
}

/// Scenario: a restart between two writes, and nothing to write after it.
/// Guarantees: a probe sees the new start time, and `settle` sends the window again, once.
#[tokio::test]
async fn a_restart_is_seen_without_a_write() {
    let Some(mut server) = Influxd::start() else { return };
    let store = Setting::new(&server.url(), "telemetry").open();
    store.writer.write(&one("a")).await.unwrap();
    server.wipe();
    // A request on a connection of the old process fails; the next one does not.
    while store.writer.probe().await.is_err() {}
    assert_eq!(store.writer.settle().await.unwrap(), 1);
    assert_eq!(store.writer.settle().await.unwrap(), 0);
    assert_eq!(server.rows("telemetry").len(), 1);
}

/// Scenario: the connection breaks during a write, and again during the replay that follows.
/// Guarantees: the replay is due until it succeeded; points that were rejected are not in it.
#[tokio::test]
async fn a_replay_that_fails_stays_due() {
    let Some(server) = shared() else { return };
    server.bucket("replay", 0);
    let proxy = Proxy::start(server.address(), "", &[]).await;
    let store = Setting::new(&proxy.url(), "replay").open();
    let mixed =
        batch(&[format!("m,device=a x=1 {}", now()), format!("m,device=bad time=1 {}", now())]);
    assert_eq!(store.writer.write(&mixed).await.unwrap().rejected.len(), 1);
    proxy.then(&[Act::Close, Act::Close]);
    for _ in 0..2 {
        assert_eq!(store.writer.write(&one("b")).await.unwrap_err().code(), "unreachable");
    }
    let before = proxy.writes().len();
    assert_eq!(store.writer.write(&one("b")).await.unwrap().replayed, 1);
    let writes = proxy.writes();
    assert_eq!(writes.len(), before + 2);
    assert!(
        writes[before].body.starts_with(b"m,device=a x=1 ")
            && !writes[before].body.windows(3).any(|w| w == b"bad")
    );
}

/// Scenario: the replay window is switched off.
/// Guarantees: nothing is kept or sent again.
#[tokio::test]
async fn without_a_window_nothing_is_sent_again() {
    let Some(server) = shared() else { return };
    server.bucket("no-window", 0);
    let proxy = Proxy::start(server.address(), "", &[Act::Pass, Act::Close]).await;
    let mut setting = Setting::new(&proxy.url(), "no-window");
    setting.options.replay_window = Duration::ZERO;
    let store = setting.open();
    store.writer.write(&one("a")).await.unwrap();
    store.writer.write(&one("b")).await.unwrap_err();
    assert_eq!(store.writer.write(&one("b")).await.unwrap().replayed, 0);
    assert_eq!(store.writer.replay_overflowed(), 0);
}
