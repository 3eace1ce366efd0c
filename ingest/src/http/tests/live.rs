//! The live feed.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{PATIENCE, Server};
use crate::http::Limits;

fn unlimited() -> Limits {
    Limits { readings_per_s_max: u32::MAX, ..Limits::default() }
}

/// Reads a raw connection until a text comes.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while !String::from_utf8_lossy(&text).contains(wanted) {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "closed before `{wanted}`");
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn watch_raw(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut stream, "retry: 3000").await;
    stream
}

#[tokio::test]
async fn readings_and_alerts_come_as_they_are_published() {
    let server = Server::start();
    let mut live = server.live("", None).await;
    let payload = r#"[{"d":"d1","ts":1763856000,"m":0.11},{"d":"d1","ts":1763856060,"m":0.9}]"#;
    let position = server.fake.uplink("farm/east/d1", payload);
    let events = live.events(3).await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["reading", "reading", "alert"]);
    assert_eq!(events[0].id, format!("{position}.0"));
    assert_eq!(
        events[1].data,
        json!({
            "tenant": "farm", "site": "east", "device": "d1", "measurement": "soil",
            "sampled_at": "2025-11-23T00:01:00Z", "received_at": "2025-11-23T00:00:01Z",
            "values": {"moisture": 0.9}, "flags": {"moisture": ["range"]},
            "time_flag": null, "sampled_at_raw": null, "tags": {}
        })
    );
    assert_eq!(events[2].data["rule"], "dry");
    assert_eq!(events[2].data["message"]["en"], "d1 is dry");
}

#[tokio::test]
async fn a_filter_keeps_what_is_asked_for_only() {
    let server = Server::start();
    let mut live = server.live("?tenant=farm&site=east&device=b", None).await;
    server.fake.uplink(
        "farm/east/x",
        r#"[{"d":"a","ts":1763856000,"m":0.1},{"d":"b","ts":1763856000,"m":0.2}]"#,
    );
    server.fake.uplink("other/east/b", r#"[{"d":"b","ts":1763856001,"m":0.1}]"#);
    server.fake.uplink("farm/east/x", r#"[{"d":"b","ts":1763856002,"m":0.1}]"#);
    let events = live.events(3).await;
    let shown: Vec<_> =
        events.iter().map(|event| (event.name.as_str(), &event.data["tenant"])).collect();
    let farm = json!("farm");
    assert_eq!(shown, [("reading", &farm), ("reading", &farm), ("alert", &farm)]);
    assert_eq!(events[0].data["values"]["moisture"], 0.2);
}

#[tokio::test]
async fn a_client_that_comes_back_goes_on_after_its_last_event() {
    let server = Server::start();
    server.fake.readings("d", 0..3);
    let second = server.fake.readings("d", 3..6);
    for (last, expected) in [
        ("1.0", vec![format!("{}.0", second - 1), format!("{}.1", second - 1)]),
        (&format!("{second}.0"), vec![format!("{second}.1"), format!("{second}.2")]),
        (&format!("{}.2", second - 1), vec![format!("{second}.0"), format!("{second}.1")]),
    ] {
        let mut live = server.live("", Some(last)).await;
        let ids: Vec<String> = live.events(2).await.into_iter().map(|event| event.id).collect();
        assert_eq!(ids, expected, "after {last}");
    }
}

#[tokio::test]
async fn what_cannot_be_resumed_is_told_and_the_feed_goes_on() {
    let server = Server::start();
    server.fake.readings("d", 0..3);
    server.fake.cut_outbox();
    for (last, reason) in
        [("2.0", "cut"), ("99999999.0", "unknown_id"), ("yesterday", "unknown_id")]
    {
        let mut live = server.live("?device=d", Some(last)).await;
        let gap = live.event().await;
        assert_eq!(
            (gap.name.as_str(), &gap.data),
            ("gap", &json!({"reason": reason, "missed": null})),
            "{last}"
        );
        let position = server.fake.uplink("farm/east/d", &format!(r#"[{{"d":"d","ts":{}}}]"#, 0));
        assert!(position > 2);
        let number = i64::try_from(position).unwrap() + 10;
        let position = server.fake.readings("d", number..number + 1);
        assert_eq!(live.event().await.id, format!("{position}.0"), "{last}");
        // The gap's own place can be resumed: nothing is missed after it.
        let mut again = server.live("?device=d", Some(&gap.id)).await;
        assert_eq!(again.event().await.id, format!("{position}.0"), "{last}");
    }
}

#[tokio::test]
async fn what_is_damaged_is_told_where_it_stood() {
    let server = Server::start();
    server.fake.readings("d", 0..1);
    let second = server.fake.readings("bad", 0..1);
    let third = server.fake.readings("d", 1..2);
    server.fake.damage("device=bad");
    let mut live = server.live("", Some("1.0")).await;
    let events = live.events(3).await;
    let shown: Vec<_> = events.iter().map(|event| (&*event.name, &*event.id)).collect();
    let (first, third) = (format!("{}.0", second - 1), format!("{third}.0"));
    assert_eq!(shown, [("reading", &*first), ("gap", &*first), ("reading", &*third)]);
    assert_eq!(events[1].data, json!({"reason": "damaged", "missed": null}));
}

#[tokio::test]
async fn beyond_the_rate_readings_are_skipped_and_counted_but_alerts_are_not() {
    let server = Server::start_with(Limits { readings_per_s_max: 10, ..Limits::default() }, None);
    let mut live = server.live("?device=d", None).await;
    let mut elements: Vec<String> =
        (0..40).map(|n| format!(r#"{{"d":"d","ts":{},"m":0.3}}"#, 1_763_850_000 + n)).collect();
    elements.push(r#"{"d":"d","ts":1763850100,"m":0.1}"#.to_owned());
    let position = server.fake.uplink("farm/east/d", &format!("[{}]", elements.join(",")));
    server.fake.readings("d", 0..7);
    let events = live.events(12).await;
    assert!(events[..10].iter().all(|event| event.name == "reading"));
    assert_eq!(events[10].data, json!({"reason": "rate", "missed": 31}));
    assert_eq!(events[10].id, format!("{position}.40"));
    assert_eq!((&*events[11].name, &events[11].id), ("alert", &format!("{position}.41")));
    // What was skipped after the alert is told when the second is over.
    let mut rest = 7;
    while rest > 0 {
        let event = live.event().await;
        rest -= event.data["missed"].as_u64().unwrap_or(1);
    }
}

#[tokio::test]
async fn a_client_that_resumes_waits_for_its_rate_and_misses_nothing() {
    let server = Server::start_with(Limits { readings_per_s_max: 20, ..Limits::default() }, None);
    for number in 0..45 {
        server.fake.readings("d", number..number + 1);
    }
    let mut live = server.live("", Some("1.0")).await;
    let events = live.events(45).await;
    assert!(events.iter().all(|event| event.name == "reading"));
    let ids: Vec<String> = events.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, (2..47).map(|position| format!("{position}.0")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    const CHUNK: i64 = 2_000;
    const CHUNKS: i64 = 15;
    let server = Server::start_with(unlimited(), None);
    let mut slow = watch_raw(&server).await;
    let mut quick = server.live("", None).await;
    let mut last = 0;
    for chunk in 0..CHUNKS {
        last = server.fake.readings("d", chunk * CHUNK..(chunk + 1) * CHUNK);
    }
    let count = usize::try_from(CHUNK * CHUNKS).unwrap();
    let events = quick.events(count).await;
    assert!(events.iter().all(|event| event.name == "reading"));
    assert_eq!(server.get("/healthz").await.status, 200);
    let text = read_until(&mut slow, &format!("id: {last}.{}\n", CHUNK - 1)).await;
    assert_eq!(text.matches("event: reading").count(), count);
    assert_eq!(text.matches("event: gap").count(), 0);
}

#[tokio::test]
async fn only_so_many_watch_at_once_and_who_leaves_makes_room() {
    let server = Server::start_with(Limits { watchers_max: 1, ..Limits::default() }, None);
    let first = server.live("", None).await;
    let refused =
        server.ask(reqwest::Method::GET, "/api/v1/live", &[("accept-language", "en")], "").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("busy")));
    assert_eq!(refused.header("retry-after"), "5");
    drop(first);
    let freed = async {
        while server.client.get(server.url("/api/v1/live")).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
}

#[tokio::test]
async fn a_quiet_feed_beats_and_tells_where_it_stands() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let server = Server::start_with(limits, None);
    let position = server.fake.readings("other", 0..1);
    let mut live = server.live("?device=d", None).await;
    assert_eq!(live.block().await, Some(format!(":\nid: {position}.{}", u32::MAX)));
    let position = server.fake.readings("other", 1..3);
    let moved = format!(":\nid: {position}.1");
    while live.block().await.unwrap() != moved {}
}

#[tokio::test]
async fn feeds_end_when_the_server_stops() {
    let mut server = Server::start();
    let mut live = server.live("", None).await;
    // This one never ends its request.
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    stuck.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    drop(server.stop.take());
    assert_eq!(live.block().await, None);
    let stopped = timeout(Duration::from_secs(5), &mut server.task).await;
    assert!(stopped.unwrap().unwrap().is_ok());
}
