//! The API over a real socket, against a desk with a real pipeline and outbox.

mod client;
mod fake;
mod live;
mod page;

use std::sync::atomic::Ordering;
use std::time::Duration;

use pipeline::Reason;
use reqwest::Method;
use serde_json::json;
use store::RangeQuery;
use telemetry::text::Text;
use telemetry::time::{EventTime, parse_rfc3339};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{LetterChoice, Limits, NotReady, Unavailable};
use client::{Answer, PATIENCE, Server};

const ZH: [(&str, &str); 1] = [("accept-language", "zh-CN,zh;q=0.9,en;q=0.8")];
const EN: [(&str, &str); 1] = [("accept-language", "en-GB")];
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const RANGE: &str = "/api/v1/range?tenant=farm&device=d&property=m&from=2026-01-01T00:00:00Z";

#[tokio::test]
async fn every_route_answers_with_its_shape() {
    let server = Server::start();
    server.fake.uplink("farm/east/a", r#"[{"d":"a","ts":1763856000,"m":0.11},7]"#);
    server.fake.uplink("nowhere", "{}");
    *server.fake.history.lock().unwrap() = Ok(vec![(EventTime::from_nanos(0), 0.231)]);
    for (path, pointer, expected) in [
        ("/healthz", "/status", json!("alive")),
        ("/readyz", "", json!({"reasons": []})),
        ("/api/v1/balance", "/as_of", json!("2025-11-23T00:00:02Z")),
        (
            "/api/v1/balance",
            "/uplinks",
            json!({"received": 2, "decoded": 1, "dead": 1, "lost": 0, "held": 0}),
        ),
        (
            "/api/v1/balance",
            "/readings",
            json!({"decoded": 2, "stored": 1, "dead": 1, "duplicate": 0, "held": 0}),
        ),
        ("/api/v1/balance", "/redriven", json!(0)),
        ("/api/v1/devices", "/devices/0/device", json!("a")),
        ("/api/v1/devices/farm/a", "/latest/0/value", json!(0.11)),
        ("/api/v1/devices/farm/a", "/tenant", json!("farm")),
        ("/api/v1/alerts", "/alerts/0/state", json!("firing")),
        ("/api/v1/alerts?state=firing", "/alerts/0/rule", json!("dry")),
        ("/api/v1/alerts?state=resolved", "/alerts", json!([])),
        ("/api/v1/deadletters", "/deadletters/0/reason", json!("bad_element")),
        ("/api/v1/deadletters", "/deadletters/1/reason", json!("unknown_topic")),
        ("/api/v1/deadletters/3-0", "/topic", json!("nowhere")),
        (
            &format!("{RANGE}&to=2026-01-02T00:00:00Z"),
            "",
            json!({"points": [["1970-01-01T00:00:00Z", 0.231]]}),
        ),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn metrics_show_the_account() {
    let server = Server::start();
    server.fake.readings("d", 0..2);
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in ["# TYPE tianlu_uplinks_received_total counter", "tianlu_build_info{version="] {
        assert!(answer.text.contains(line), "{line} in\n{}", answer.text);
    }
}

/// A request that is wrong (method, path, body); its status, and words of its detail in Chinese and English.
type Wrong = (&'static str, u16, [&'static str; 2]);

const WRONGS: [Wrong; 23] = [
    ("GET /api/v1/nothing", 404, ["没有路径", "no path `/api/v1/nothing`"]),
    ("GET /page/none", 404, ["没有路径", "no path"]),
    ("POST /api/v1/alerts", 405, ["不支持方法 POST", "has no method POST"]),
    ("GET /api/v1/deadletters/redrive", 405, ["不支持方法 GET", "has no method GET"]),
    ("GET /api/v1/devices/farm/x", 404, ["没有设备", "no device `x`"]),
    ("GET /api/v1/devices/farm/%ff", 400, ["UTF-8 文本", "text in UTF-8"]),
    ("GET /api/v1/devices?x=1", 400, ["没有参数", "this path has none"]),
    ("GET /api/v1/alerts?sate=firing", 400, ["可用：state", "there are: state"]),
    ("GET /api/v1/alerts?state=on", 400, ["可用：firing, resolved", "there is no `on`"]),
    ("GET /api/v1/alerts?state=", 400, ["为空", "is empty"]),
    ("GET /api/v1/deadletters?limit=0", 400, ["整数", "whole number above zero"]),
    ("GET /api/v1/deadletters?reason=x", 400, ["可用：malformed", "there are: malformed"]),
    ("GET /api/v1/deadletters?after=x", 400, ["死信编号", "not the id"]),
    ("GET /api/v1/deadletters/1-0", 404, ["待处理死信", "no dead letter `1-0`"]),
    ("POST /api/v1/deadletters/redrive", 415, ["请以", "send it with"]),
    ("POST /api/v1/deadletters/redrive {", 400, ["不可读", "cannot be read"]),
    (
        "POST /api/v1/deadletters/redrive {\"ids\":1}",
        400,
        ["须为 JSON 对象", "must be a JSON object"],
    ),
    ("POST /api/v1/deadletters/redrive []", 400, ["须为 JSON 对象", "must be a JSON object"]),
    ("POST /api/v1/deadletters/redrive [\"malformed\"]", 400, ["须为", "must be"]),
    ("POST /api/v1/deadletters/redrive null", 400, ["须为", "must be"]),
    ("POST /api/v1/deadletters/redrive {\"reason\":\"x\"}", 400, ["没有 “x”", "there is no `x`"]),
    ("POST /api/v1/deadletters/redrive {\"id\":\"x\"}", 400, ["死信编号", "not the id"]),
    ("GET /api/v1/live?sie=1", 400, ["未知参数 “sie”", "unknown parameter `sie`"]),
];

/// What stands after the parameters of [`RANGE`] that are right.
const WRONG_RANGES: [Wrong; 9] = [
    ("", 400, ["缺少参数 “to”", "`to` is missing"]),
    ("&to=tomorrow", 400, ["不是 RFC 3339", "not a time in RFC 3339"]),
    ("&to=2026-01-02T00:00:00+08:00", 400, ["须写作 %2B", "write `+` as %2B"]),
    ("&to=2025-01-01T00:00:00Z", 400, ["必须早于", "must be before"]),
    ("&to=2026-01-02T00:00:00Z&step=1x", 400, ["时长", "not a duration"]),
    ("&to=2026-01-02T00:00:00Z&step=0s", 400, ["时长", "not a duration"]),
    ("&to=2026-01-02T00:00:00Z&step=100ms", 400, ["会超过", "more than 100000 values"]),
    ("&to=2026-01-02T00:00:00Z&to=x", 400, ["出现了两次", "stands twice"]),
    ("&to=2026-01-02T00:00:00Z&steps=1m", 400, ["未知参数", "unknown parameter `steps`"]),
];

const fn code_of(status: u16) -> &'static str {
    match status {
        400 => "bad_request",
        404 => "not_found",
        405 => "method_not_allowed",
        413 => "body_too_large",
        _ => "not_json",
    }
}

/// Checks a problem in each language: only the words of the languages that are wanted are in it.
async fn check_problem(server: &Server, request: &str, status: u16, words: [&str; 2]) {
    let mut parts = request.splitn(3, ' ');
    let mut part = || parts.next().unwrap_or_default();
    let (method, path, body) = (part().parse::<Method>().unwrap(), part(), part());
    let json = [JSON];
    let content = if body.is_empty() { &[] } else { &json[..] };
    for (language, expected) in
        [(&ZH[..], [true, false]), (&EN[..], [false, true]), (&[], [true; 2])]
    {
        let headers: Vec<_> = content.iter().chain(language).copied().collect();
        let answer = server.ask(method.clone(), path, &headers, body).await;
        let (problem, code) = (answer.json(), code_of(status));
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
        assert_eq!(problem["type"], format!("urn:tianlu:problem:{code}"));
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(words.map(|word| detail.contains(word)), expected, "{path}: {detail}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_languages_of_the_reader() {
    let server = Server::start();
    for (request, status, words) in WRONGS {
        check_problem(&server, request, status, words).await;
    }
    for (rest, status, words) in WRONG_RANGES {
        check_problem(&server, &format!("GET {RANGE}{rest}"), status, words).await;
    }
    let large = format!("POST /api/v1/deadletters/redrive {}", "x".repeat((64 << 10) + 1));
    check_problem(&server, &large, 413, ["请求体最多 65536", "at most 65536 bytes"]).await;
}

#[tokio::test]
async fn a_wrong_method_learns_the_right_one() {
    let server = Server::start();
    let answer = server.ask(Method::DELETE, "/api/v1/devices", &[], "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn without_the_token_only_life_is_shown() {
    let server = Server::start_with(Limits::default(), Some("geheim"));
    server.fake.readings("d", 0..1);
    let with = |authorization: &'static str| [("authorization", authorization), EN[0]];
    for path in ["/readyz", "/metrics", "/api/v1/balance", "/api/v1/live", "/nothing"] {
        for (headers, word) in [(&EN[..], "missing"), (&with("Bearer falsch")[..], "not the one")] {
            let answer = server.ask(Method::GET, path, headers, "").await;
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, "Bearer realm=\"tianlu\""),
                "{path}"
            );
            assert_eq!(answer.json()["code"], "unauthorized");
            assert!(
                answer.json()["detail"].as_str().unwrap().contains(word),
                "{path}: {}",
                answer.text
            );
        }
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    for (path, status) in [("/readyz", 200), ("/api/v1/balance", 200), ("/nothing", 404)] {
        let answer = server.ask(Method::GET, path, &with("Bearer geheim"), "").await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_ready_is_told_with_its_remedy() {
    let server = Server::start();
    let text = |zh: &str, en: &str| Text { zh: zh.to_owned(), en: en.to_owned() };
    let trouble = NotReady {
        blocks: true,
        part: "store",
        message: text("连不上", "no connection"),
        remedy: text("启动它", "start it"),
    };
    server.fake.troubles.lock().unwrap().push(trouble);
    server.fake.is_recovering.store(true, Ordering::Relaxed);
    for (language, message, remedy) in [
        (&ZH[..], "连不上", "启动它"),
        (&EN[..], "no connection", "start it"),
        (&[], "连不上 / no connection", "启动它 / start it"),
    ] {
        let answer = server.ask(Method::GET, "/readyz", language, "").await;
        let reason = json!({"part": "store", "message": message, "remedy": remedy});
        assert_eq!((answer.status, answer.json()), (503, json!({"reasons": [reason]})));
    }
    server.fake.troubles.lock().unwrap().iter_mut().for_each(|one| one.blocks = false);
    let answer = server.ask(Method::GET, "/readyz", &EN, "").await;
    let note = json!({"part": "store", "message": "no connection", "remedy": "start it"});
    assert_eq!((answer.status, answer.json()), (200, json!({"reasons": [], "notes": [note]})));
    let answer = server.get("/api/v1/balance").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("recovering")));
    assert_eq!(answer.header("retry-after"), "5");
}

/// An answer that nothing is there would be believed: at each stop HTTP outlives the pipeline for a moment.
#[tokio::test]
async fn a_pipeline_that_has_ended_is_not_an_empty_one() {
    let server = Server::start();
    server.fake.uplink("farm/east/a", r#"[{"d":"a","ts":1763856000,"m":0.11},7]"#);
    server.fake.has_ended.store(true, Ordering::Relaxed);
    for path in [
        "alerts",
        "alerts?state=firing",
        "devices",
        "devices/farm/a",
        "sites",
        "rules",
        "profiles",
        "matrix?property=moisture&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step=1h",
        "deadletters",
        "deadletters/2-1",
    ] {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        let code = answer.json()["code"].clone();
        assert_eq!((answer.status, code), (503, json!("unavailable")), "{path}: {}", answer.text);
        assert_eq!(answer.header("retry-after"), "5", "{path}");
    }
}

#[tokio::test]
async fn a_list_of_letters_that_cannot_go_on_is_broken_off() {
    let server = Server::start();
    for _ in 0..50 {
        server.fake.uplink("nowhere", "{");
    }
    server.fake.ends_after_a_page.store(true, Ordering::Relaxed);
    let asked = server.client.get(server.url("/api/v1/deadletters")).send();
    // It breaks before or after the first page has left.
    let text = async { asked.await?.text().await }.await;
    assert!(text.is_err(), "half a list looks whole: {text:?}");
}

fn ids(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    let letters = answer["deadletters"].as_array().unwrap().iter();
    letters.map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_whole_in_parts_and_by_reason() {
    let server = Server::start();
    assert_eq!(server.get("/api/v1/deadletters").await.json(), json!({"deadletters": []}));
    for number in 0..50 {
        server.fake.uplink(if number % 2 == 0 { "nowhere" } else { "farm/east/d" }, "{");
    }
    let all = ids(&server.get("/api/v1/deadletters").await);
    assert_eq!(all.len(), 50);
    for (query, expected) in [
        ("limit=3", all[..3].to_vec()),
        ("limit=16", all[..16].to_vec()),
        (&format!("after={}", all[9]), all[10..].to_vec()),
        (&format!("after={}&limit=33", all[9]), all[10..43].to_vec()),
        ("reason=malformed", all.iter().skip(1).step_by(2).cloned().collect()),
        ("reason=no_value", Vec::new()),
    ] {
        assert_eq!(
            ids(&server.get(&format!("/api/v1/deadletters?{query}")).await),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_redrive_says_how_many() {
    let server = Server::start();
    for (body, reason, id) in [
        (r#"{"reason":null,"id":null}"#, None, None),
        (r#"{"reason":"malformed"}"#, Some(Reason::Malformed), None),
        (r#"{"id":"3-0"}"#, None, Some("3-0".to_owned())),
        ("{}", None, None),
    ] {
        let answer = server.ask(Method::POST, "/api/v1/deadletters/redrive", &[JSON], body).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"redriven": 2})), "{body}");
        let asked = server.fake.redriven.lock().unwrap().pop();
        assert_eq!(asked, Some(LetterChoice { reason, id }), "{body}");
    }
}

#[tokio::test]
async fn a_command_is_queued_or_it_says_why_not() {
    let server = Server::start();
    let bytes = ("content-type", "application/octet-stream");
    let text = ("content-type", "text/plain");
    let long = "x".repeat(crate::listener::COMMAND_BYTES_MAX + 1);
    for (device, kind, body, status) in [
        ("listens", JSON, r#"{"valve":"open"}"#, 202),
        ("listens", bytes, "on", 202),
        ("listens", text, "on", 415),
        ("listens", bytes, &long, 413),
        ("away", JSON, "1", 404),
        ("full", JSON, "1", 503),
        ("none", JSON, "1", 404),
    ] {
        let path = format!("/api/v1/devices/t/{device}/commands");
        let answer = server.ask(Method::POST, &path, &[kind], body).await;
        assert_eq!(answer.status, status, "{device} {}", kind.1);
    }
}

#[tokio::test]
async fn a_range_is_asked_of_the_store_as_it_was_given() {
    let server = Server::start();
    let path = "/api/v1/range?tenant=a%20b&device=%E4%B8%80&property=m&measurement=soil&from=2026-01-01T08:00:00%2B08:00&to=2026-01-02T00:00:00Z&step=15m";
    assert_eq!(server.get(path).await.json(), json!({"points": []}));
    let asked = server.fake.asked.lock().unwrap().take();
    assert_eq!(
        asked,
        Some(RangeQuery {
            measurement: Some("soil".to_owned()),
            tenant: "a b".to_owned(),
            device: "一".to_owned(),
            property: "m".to_owned(),
            from: parse_rfc3339("2026-01-01T00:00:00Z").unwrap(),
            to: parse_rfc3339("2026-01-02T00:00:00Z").unwrap(),
            step: Some(Duration::from_mins(15)),
        })
    );
    for (is_too_much, status) in [(false, 503), (true, 400)] {
        let message = Text::plain("the store says no");
        *server.fake.history.lock().unwrap() = Err(Unavailable { is_too_much, message });
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["detail"].as_str()),
            (status, Some("the store says no"))
        );
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let limits =
        Limits { answer_max: Duration::from_millis(50), large_max: 1, ..Limits::default() };
    let server = Server::start_with(limits, None);
    server.fake.never_answers.store(true, Ordering::Relaxed);
    let path = format!("{RANGE}&to=2026-01-02T00:00:00Z");
    let answer = server.get(&path).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("busy")));
    // Its turn is free again.
    server.fake.never_answers.store(false, Ordering::Relaxed);
    assert_eq!(server.get(&path).await.status, 200);
}

#[tokio::test]
async fn who_does_not_finish_a_request_is_cut_off_and_makes_room() {
    let limits = Limits {
        connections_max: 1,
        request_max: Duration::from_millis(100),
        idle_max: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Server::start_with(limits, None);
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    let waiting = server.get("/healthz");
    let closed = async {
        let mut rest = Vec::new();
        let ended = slow.read_to_end(&mut rest).await;
        (ended.is_ok(), rest)
    };
    let (answer, (_, rest)) =
        timeout(PATIENCE, async { tokio::join!(waiting, closed) }).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    // The connection that was answered is idle now, and gives way too.
    let fresh = Server::start_with(limits, None);
    let mut idle = TcpStream::connect(fresh.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, idle.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("}"), "{text}");
}
