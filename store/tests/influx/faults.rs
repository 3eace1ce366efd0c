//! A store that is busy, broken, slow or silent.

use std::time::{Duration, Instant};

use store::{Remedy, WriteError};

use crate::{Act, Proxy, Setting, batch, now, shared};

fn one(device: &str) -> store::Batch {
    batch(&[format!("m,device={device} x=1 {}", now())])
}

/// Scenario: the answers of a store in trouble, one after another, then none of it.
/// Guarantees: each has its remedy, and the same batch is stored in the end, once.
#[tokio::test]
async fn trouble_is_answered_by_waiting_as_long_as_the_store_asks() {
    let Some(server) = shared() else { return };
    server.bucket("trouble", 0);
    let dated =
        "Date: Wed, 25 Nov 2026 18:54:34 GMT\r\nRetry-After: Wed, 25 Nov 2026 18:54:49 GMT\r\n";
    let after = |secs| Remedy::After(Duration::from_secs(secs));
    let cases = [
        (Act::Answer(429, "Retry-After: 7\r\n", ""), "busy", after(7)),
        (Act::Answer(503, dated, ""), "busy", after(15)),
        (Act::Answer(503, "Retry-After: 86400\r\n", ""), "busy", after(30)),
        (Act::Answer(429, "", ""), "busy", Remedy::Backoff),
        (
            Act::Answer(500, "", r#"{"code":"internal error","message":"engine"}"#),
            "failed",
            Remedy::Backoff,
        ),
        (Act::Answer(301, "Location: https://elsewhere/\r\n", ""), "request_refused", Remedy::Halt),
        (Act::Close, "unreachable", Remedy::Backoff),
        (Act::LoseAnswer, "unreachable", Remedy::Backoff),
        (Act::Hang, "timed_out", Remedy::Backoff),
    ];
    let acts: Vec<_> = cases.iter().map(|(act, ..)| act.clone()).collect();
    let proxy = Proxy::start(server.address(), "", &acts).await;
    let mut setting = Setting::new(&proxy.url(), "trouble");
    // As long as the store may take to write on a slow disk; only `Hang` takes it all.
    setting.options.request_timeout = Duration::from_secs(5);
    let (store, points) = (setting.open(), one("a"));
    for (act, code, remedy) in cases {
        let error = store.writer.write(&points).await.unwrap_err();
        assert_eq!((error.code(), error.remedy()), (code, remedy), "{act:?}: {error:?}");
    }
    proxy.then(&[Act::Slow(Duration::from_millis(50))]);
    assert_eq!(store.writer.write(&points).await.unwrap().stored, 1);
    assert_eq!(server.rows("trouble").len(), 1);
}

/// Scenario: the store fails in the middle of the search for a bad point.
/// Guarantees: nothing is settled; the same batch is settled rightly on the next try.
#[tokio::test]
async fn a_failure_during_the_search_settles_nothing() {
    let Some(server) = shared() else { return };
    server.bucket("search", 0);
    let proxy = Proxy::start(
        server.address(),
        "",
        &[Act::Pass, Act::Pass, Act::Pass, Act::Answer(500, "", "")],
    )
    .await;
    let store = Setting::new(&proxy.url(), "search").open();
    let mut lines: Vec<_> = (0..64).map(|i| format!("m,device=d{i} x=1 {}", now())).collect();
    lines[20] = format!("m,device=d20 time=1 {}", now());
    let points = batch(&lines);
    assert_eq!(store.writer.write(&points).await.unwrap_err().code(), "failed");
    let outcome = store.writer.write(&points).await.unwrap();
    assert_eq!((outcome.stored, outcome.rejected.len()), (63, 1));
    assert_eq!(server.rows("search").len(), 63);
}

/// Scenario: something before the store answers 400 to everything, whatever the body.
/// Guarantees: halted; not one good point becomes a dead letter.
#[tokio::test]
async fn a_wrong_request_is_not_held_against_the_points() {
    let Some(server) = shared() else { return };
    let proxy = Proxy::start(server.address(), "", &[]).await;
    proxy.always(Act::Answer(
        400,
        "",
        r#"{"code":"invalid","message":"Please provide either orgID or org"}"#,
    ));
    let store = Setting::new(&proxy.url(), "telemetry").open();
    let error = store.writer.write(&one("a")).await.unwrap_err();
    assert!(matches!(error, WriteError::RequestRefused { status: 400, .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Halt);
    assert_eq!(proxy.writes().len(), 2, "the batch, and an empty body");
}

/// Scenario: probes of a good store, one that hangs, one that is gone, and one with another token.
/// Guarantees: the answer comes within the probe's time and says what is wrong.
#[tokio::test]
async fn a_probe_tells_what_is_wrong_in_time() {
    let Some(server) = shared() else { return };
    let setting = Setting::new(&server.url(), "telemetry");
    let health = setting.open().writer.probe().await.unwrap();
    assert!(health.version.is_some() && health.started.is_some(), "{health:?}");
    setting.token("wrong");
    assert_eq!(setting.open().writer.probe().await.unwrap_err().code(), "unauthorized");

    let proxy = Proxy::start(server.address(), "", &[]).await;
    proxy.to_everything(Act::Hang);
    let store = Setting::new(&proxy.url(), "telemetry").open();
    let began = Instant::now();
    let error = store.writer.probe().await.unwrap_err();
    assert_eq!(error.code(), "timed_out");
    // The probe's time, not that of a request; on a busy machine it is told later.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let gone = proxy.url();
    proxy.to_everything(Act::Answer(503, "", "starting"));
    assert_eq!(
        Setting::new(&gone, "telemetry").open().writer.probe().await.unwrap_err().code(),
        "busy"
    );
    drop(proxy);
    tokio::task::yield_now().await;
    let store = Setting::new(&gone, "telemetry").open();
    let error = store.writer.probe().await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(error.message(store.place()).en.contains(&gone), "{}", error.message(store.place()));
}
