//! What is stored, what is rejected, and who may.

use std::time::Duration;

use store::{BucketState, Remedy, WriteError};

use crate::proxy::header;
use crate::{Act, DAY, Influxd, Proxy, Setting, batch, now, rejected, shared};
use store::RejectReason::{OutsideRetention, StoreRejected, TypeConflict};

fn line(device: &str, value: &str, at: i64) -> String {
    format!("m,device={device} x={value} {at}")
}

fn devices(server: &Influxd, bucket: &str) -> Vec<String> {
    server.rows(bucket).iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect()
}

/// Scenario: values of every kind, at the edges of what a float holds, plain and compressed.
/// Guarantees: InfluxDB has the same values at the same nanosecond.
#[tokio::test]
async fn every_value_arrives_as_it_was_sent() {
    let Some(server) = shared() else { return };
    for (bucket, gzip) in [("values", false), ("values-gzip", true)] {
        server.bucket(bucket, 0);
        let proxy = Proxy::start(server.address(), "", &[]).await;
        let mut setting = Setting::new(&proxy.url(), bucket);
        setting.options.gzip = gzip;
        let values = [
            "0",
            "-0",
            "1",
            "0.1",
            "-273.15",
            "5e-324",
            "1.7976931348623157e308",
            "123456789012.345",
        ];
        let at = |index: usize| 1_795_632_905_378_105_471 + i64::try_from(index).unwrap();
        let mut lines: Vec<_> =
            values.iter().enumerate().map(|(i, value)| line("a", value, at(i))).collect();
        lines.push(format!(r#"m,device=田\ 1\,\= t="a \"quote\" and \\",b=true,i=-7i {}"#, at(0)));
        let outcome = setting.open().writer.write(&batch(&lines)).await.unwrap();
        assert_eq!((outcome.stored, outcome.requests, outcome.rejected.len()), (9, 1, 0));

        let rows = server.rows(bucket);
        for (index, value) in values.iter().enumerate() {
            let end = format!(" 2026-11-25T18:55:05.37810{}Z", 5_471 + index);
            let row =
                rows.iter().find(|row| row.starts_with("a x") && row.ends_with(&end)).unwrap();
            let stored: f64 = row.split(' ').nth(2).unwrap().parse().unwrap();
            let sent: f64 = value.parse().unwrap();
            assert_eq!(stored.to_bits(), sent.to_bits(), "{row}");
        }
        for expected in ["b true", "i -7", r#"t a "quote" and \"#] {
            assert!(
                rows.iter().any(|row| row.contains(&format!("田 1,= {expected} "))),
                "{expected} in {rows:?}"
            );
        }
        let seen = proxy.writes().remove(0);
        assert_eq!(header(&seen.head, "content-encoding"), gzip.then_some("gzip"));
        assert_eq!(seen.body.starts_with(&[0x1f, 0x8b]), gzip);
    }
}

/// Scenario: a field that is a float gets strings and integers among good points.
/// Guarantees: only those are rejected, as `type_conflict`; everything else is there.
#[tokio::test]
async fn a_type_conflict_sets_aside_its_points_alone() {
    let Some(server) = shared() else { return };
    server.bucket("conflict", 0);
    let store = Setting::new(&server.url(), "conflict").open();
    let at = now();
    store.writer.write(&batch(&[line("first", "1", at)])).await.unwrap();
    let lines = [
        line("a", "1", at),
        line("b", "\"text\"", at),
        line("c", "2", at),
        line("d", "3i", at),
        line("e", "\"text\"", at),
        line("f", "true", at),
        line("g", "4", at),
    ];
    let outcome = store.writer.write(&batch(&lines)).await.unwrap();
    assert_eq!(
        rejected(&outcome),
        [(1, TypeConflict), (3, TypeConflict), (4, TypeConflict), (5, TypeConflict)]
    );
    assert!(
        outcome.rejected[0].detail.contains("already exists as type float"),
        "{:?}",
        outcome.rejected[0]
    );
    assert!(outcome.requests <= 10, "{}", outcome.requests);
    assert_eq!(devices(server, "conflict"), ["a", "c", "first", "g"]);
}

/// Scenario: two shards have the field as a float, strings come for both, and for a third shard.
/// Guarantees: each is judged by its own shard, although the answer counts one shard only.
#[tokio::test]
async fn conflicts_in_several_shards_are_all_found() {
    let Some(server) = shared() else { return };
    server.bucket("shards", 0);
    let store = Setting::new(&server.url(), "shards").open();
    let (new, old, older) = (now(), now() - 30 * DAY, now() - 90 * DAY);
    store.writer.write(&batch(&[line("first", "1", new), line("first", "1", old)])).await.unwrap();
    let lines = [
        line("a", "\"s\"", new),
        line("b", "\"s\"", old),
        line("c", "1", old),
        line("d", "\"s\"", older),
        line("e", "1", new),
    ];
    let outcome = store.writer.write(&batch(&lines)).await.unwrap();
    assert_eq!(rejected(&outcome), [(0, TypeConflict), (1, TypeConflict)]);
    // A query over shards with different types shows one of the types only: ask each shard.
    let stored = |at| server.rows_within("shards", at - DAY, at + DAY).len();
    assert_eq!([stored(new), stored(old), stored(older)], [2, 2, 1]);
}

/// Scenario: old points, a type conflict, lines that are none and a forbidden field name in one batch;
/// with a token that may see the bucket's retention and one that may only write.
/// Guarantees: each bad point has its own reason, each good one is stored.
#[tokio::test]
async fn a_mixture_is_told_apart_point_by_point() {
    let Some(server) = shared() else { return };
    for (bucket, actions) in [("mixed-seen", &["read", "write"][..]), ("mixed-blind", &["write"])] {
        let id = server.bucket(bucket, 86_400);
        let setting = Setting::new(&server.url(), bucket);
        setting.token(&server.token(&id, actions));
        let store = setting.open();
        let (at, old) = (now(), now() - 3 * DAY);
        store.writer.write(&batch(&[line("first", "1", at)])).await.unwrap();
        let lines = [
            line("a", "1", at),
            line("old1", "1", old),
            line("text", "\"s\"", at),
            line("none", "", at),
            format!("m,device=time time=1 {at}"),
            line("b", "2", at),
            line("nan", "NaN", at),
            line("old2", "\"s\"", old),
            line("c", "3", at),
        ];
        let outcome = store.writer.write(&batch(&lines)).await.unwrap();
        let expected = [
            (1, OutsideRetention),
            (2, TypeConflict),
            (3, StoreRejected),
            (4, StoreRejected),
            (6, StoreRejected),
            (7, OutsideRetention),
        ];
        assert_eq!(rejected(&outcome), expected, "{bucket}");
        assert!(outcome.requests <= 20, "{bucket}: {}", outcome.requests);
        assert_eq!(devices(server, bucket), ["a", "b", "c", "first"], "{bucket}");
    }
}

/// Scenario: a whole batch of points older than the bucket keeps.
/// Guarantees: settled by the first answer.
#[tokio::test]
async fn a_batch_outside_retention_costs_one_write() {
    let Some(server) = shared() else { return };
    server.bucket("retention", 86_400);
    let store = Setting::new(&server.url(), "retention").open();
    let lines: Vec<_> = (0..500).map(|i| line(&format!("d{i}"), "1", now() - 3 * DAY)).collect();
    let outcome = store.writer.write(&batch(&lines)).await.unwrap();
    assert_eq!((outcome.rejected.len(), outcome.requests), (500, 1));
    assert!(outcome.rejected.iter().all(|one| one.reason == OutsideRetention));
}

/// Scenario: 5,000 points with one that InfluxDB refuses by a name of a field, and 40 % type conflicts.
/// Guarantees: the number of writes stays small, and the others are stored.
#[tokio::test]
async fn poison_in_a_full_batch_costs_few_writes() {
    let Some(server) = shared() else { return };
    server.bucket("poison", 0);
    let store = Setting::new(&server.url(), "poison").open();
    let at = now();
    let mut lines: Vec<_> = (0..5_000).map(|i| line(&format!("d{i:04}"), "1", at)).collect();
    lines[3_217] = format!("m,device=d3217 time=1 {at}");
    let outcome = store.writer.write(&batch(&lines)).await.unwrap();
    assert_eq!(rejected(&outcome), [(3_217, StoreRejected)]);
    assert!(outcome.requests <= 27, "{}", outcome.requests);
    assert_eq!(server.rows("poison").len(), 4_999);

    let bad = |i: usize| i % 5 < 2;
    let lines: Vec<_> = (0..5_000)
        .map(|i| line(&format!("e{i:04}"), if bad(i) { "\"s\"" } else { "1" }, at))
        .collect();
    let outcome = store.writer.write(&batch(&lines)).await.unwrap();
    assert_eq!((outcome.stored, outcome.requests), (3_000, 3));
    assert_eq!(server.rows("poison").len(), 7_999);
}

/// Scenario: the token file is missing, then holds a wrong token, then one that may not write, then the
/// right one.
/// Guarantees: halted with the reason, the batch kept by the caller; the corrected file alone resumes it;
/// no token in any text.
#[tokio::test]
async fn a_corrected_token_resumes_alone() {
    let Some(server) = shared() else { return };
    let id = server.bucket("token", 0);
    let setting = Setting::new(&server.url(), "token");
    std::fs::remove_file(&setting.options.token_file).unwrap();
    let store = setting.open();
    let points = batch(&[line("a", "1", now())]);
    let reading = server.token(&id, &["read"]);
    for (token, code) in [
        (None, "token_file"),
        (Some("wrong-secret"), "unauthorized"),
        (Some(reading.as_str()), "forbidden"),
    ] {
        if let Some(token) = token {
            setting.token(token);
        }
        let error = store.writer.write(&points).await.unwrap_err();
        assert_eq!((error.code(), error.remedy()), (code, Remedy::Halt));
        let shown = format!(
            "{error} {error:?} {} {} {store:?}",
            error.message(store.place()),
            error.advice(store.place())
        );
        assert!(!shown.contains("secret") && !shown.contains(&reading), "{shown}");
    }
    setting.token(crate::TOKEN);
    assert_eq!(store.writer.write(&points).await.unwrap().stored, 1);
    setting.token("wrong-secret");
    assert_eq!(
        store.writer.write(&points).await.unwrap().stored,
        1,
        "the known token is good: no need to look"
    );
    assert_eq!(devices(server, "token"), ["a"]);
}

/// Scenario: the bucket is missing, with a token that may create it and one that may not.
/// Guarantees: created by the first write, or halted with the command that creates it.
#[tokio::test]
async fn a_missing_bucket_is_created_where_the_token_may() {
    let Some(server) = shared() else { return };
    let store = Setting::new(&server.url(), "made by the writer").open();
    assert_eq!(store.writer.write(&batch(&[line("a", "1", now())])).await.unwrap().stored, 1);
    assert_eq!(devices(server, "made by the writer"), ["a"]);
    assert_eq!(
        store.writer.ensure_bucket().await.unwrap(),
        BucketState::Present { retention: None }
    );
    let store = Setting::new(&server.url(), "made at the start").open();
    assert_eq!(
        store.writer.inspect().await.unwrap().1,
        BucketState::Missing,
        "looking creates nothing"
    );
    assert_eq!(store.writer.ensure_bucket().await.unwrap(), BucketState::Created);

    let id = server.bucket("another", 3_600);
    let setting = Setting::new(&server.url(), "not-to-be-made");
    setting.token(&server.token(&id, &["read", "write"]));
    let store = setting.open();
    for error in [
        store.writer.write(&batch(&[line("a", "1", now())])).await.unwrap_err(),
        store.writer.ensure_bucket().await.unwrap_err(),
        store.writer.probe().await.unwrap_err(),
    ] {
        assert!(
            matches!(error, WriteError::BucketMissing { .. }) && error.remedy() == Remedy::Halt,
            "{error:?}"
        );
        assert!(
            error
                .advice(store.place())
                .en
                .contains("influx bucket create --org farm --name not-to-be-made")
        );
    }
    let mut setting = Setting::new(&server.url(), "telemetry");
    setting.options.org = "nobody".to_owned();
    let error = setting.open().writer.write(&batch(&[line("a", "1", now())])).await.unwrap_err();
    assert!(matches!(error, WriteError::OrgMissing), "{error:?}");
}

/// Scenario: a reverse proxy serves InfluxDB below `/influx`.
/// Guarantees: every call keeps the path; without it the error says what is wrong.
#[tokio::test]
async fn a_base_path_is_kept() {
    let Some(server) = shared() else { return };
    server.bucket("base", 0);
    let proxy = Proxy::start(server.address(), "/influx", &[]).await;
    for end in ["/influx", "/influx/"] {
        let store = Setting::new(&format!("{}{end}", proxy.url()), "base").open();
        assert_eq!(store.writer.write(&batch(&[line("a", "1", now())])).await.unwrap().stored, 1);
        assert!(store.writer.probe().await.unwrap().started.is_some());
    }
    let store = Setting::new(&proxy.url(), "base").open();
    for error in [
        store.writer.write(&batch(&[line("a", "1", now())])).await.unwrap_err(),
        store.writer.probe().await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.remedy()), ("no_such_path", Remedy::Halt));
    }
}

/// Scenario: 413 for what is more than a few lines, as proxies answer.
/// Guarantees: halved until it fits; a store that takes nothing rejects nothing by mistake.
#[tokio::test]
async fn what_is_too_large_is_written_in_parts() {
    let Some(server) = shared() else { return };
    server.bucket("large", 0);
    let refuse = Act::Answer(413, "", "too large");
    let proxy = Proxy::start(server.address(), "", &[refuse.clone(), refuse, Act::Pass]).await;
    let mut setting = Setting::new(&proxy.url(), "large");
    setting.options.request_timeout = Duration::from_secs(10);
    let lines: Vec<_> = (0..100).map(|i| line(&format!("d{i}"), "1", now())).collect();
    let outcome = setting.open().writer.write(&batch(&lines)).await.unwrap();
    assert_eq!((outcome.stored, outcome.rejected.len(), outcome.requests), (100, 0, 5));
    assert_eq!(server.rows("large").len(), 100);
}
