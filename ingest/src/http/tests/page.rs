//! The page and what it alone asks for.

use std::io::Read as _;

use dashboards::Page;
use reqwest::Method;
use serde_json::json;

use super::client::Server;
use crate::http::{Limits, Unavailable};
use telemetry::text::Text;

const GZIP: [(&str, &str); 1] = [("accept-encoding", "gzip")];
const MATRIX: &str =
    "/api/v1/matrix?property=moisture&from=2026-01-01T00:00:00Z&to=2026-01-01T00:15:00Z&step=5m";

fn asset(name: &str) -> String {
    format!("/page/{}/{name}", Page::get().version)
}

/// Guarantees: the page comes with a policy that lets it load its own files and nothing else.
#[tokio::test]
async fn the_page_is_served_with_a_strict_policy() {
    let server = Server::start();
    for (path, media, cache) in [
        ("/".to_owned(), "text/html; charset=utf-8", "no-cache"),
        (asset("app.js"), "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        (asset("style.css"), "text/css; charset=utf-8", "public, max-age=31536000, immutable"),
        (asset("texts.json"), "application/json", "public, max-age=31536000, immutable"),
        (asset("icon.svg"), "image/svg+xml", "public, max-age=31536000, immutable"),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), media, "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|one| one == part), "{path}: {part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
    let policy = server.get("/api/v1/alerts").await;
    assert_eq!(
        policy.header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let server = Server::start();
    for path in ["/".to_owned(), asset("app.js")] {
        let first = server.get(&path).await;
        let packed = server.ask(Method::GET, &path, &GZIP, "").await;
        assert_ne!(first.header("etag"), packed.header("etag"), "one tag for each coding");
        for (tag, status) in [(first.header("etag"), 304), ("*", 304), ("\"other\"", 200)] {
            let headers = [("if-none-match", tag)];
            let again = server.ask(Method::GET, &path, &headers, "").await;
            assert_eq!((again.status, again.text.is_empty()), (status, status == 304), "{tag}");
        }
    }
}

#[tokio::test]
async fn the_first_view_is_below_100_kb_on_the_wire() {
    let server = Server::start();
    let mut bytes = 0;
    let names = Page::get().assets().iter().map(|one| asset(one.name));
    for path in std::iter::once("/".to_owned()).chain(names) {
        let mut request = server.client.get(server.url(&path));
        request = request.header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!(response.headers()["vary"], "accept-encoding", "{path}");
        let packed = response.bytes().await.unwrap();
        bytes += packed.len();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*packed).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, server.get(&path).await.text, "{path}");
    }
    assert!(bytes < 100_000, "{bytes} bytes");
}

/// Guarantees: the page itself needs no token, since it has no data; everything with data does.
#[tokio::test]
async fn the_page_is_open_and_its_data_is_not() {
    let server = Server::start_with(Limits::default(), Some("geheim"));
    for (path, status) in [
        ("/".to_owned(), 200),
        (asset("app.js"), 200),
        ("/page/old/app.js".to_owned(), 404),
        ("/pages".to_owned(), 401),
        ("/api/v1/sites".to_owned(), 401),
        ("/api/v1/rules".to_owned(), 401),
        ("/api/v1/profiles".to_owned(), 401),
        (MATRIX.to_owned(), 401),
    ] {
        assert_eq!(server.get(&path).await.status, status, "{path}");
    }
    let bearer = [("authorization", "Bearer geheim")];
    assert_eq!(server.ask(Method::GET, "/api/v1/sites", &bearer, "").await.status, 200);
}

#[tokio::test]
async fn there_is_no_other_file_and_no_way_out_of_the_folder() {
    let server = Server::start();
    for path in [
        asset("nothing.js"),
        asset("%2e%2e%2fCargo.toml"),
        asset("%ff"),
        "/page/".to_owned(),
        "/page/app.js".to_owned(),
        "/index.html".to_owned(),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn sites_are_geojson_in_the_middle_of_their_devices() {
    let server = Server::start();
    server.fake.uplink("farm/east/a", r#"[{"d":"a","ts":1763856000,"m":0.11}]"#);
    server.fake.uplink("farm/east/b", r#"[{"d":"b","ts":1763856000,"m":0.21}]"#);
    server
        .fake
        .uplink("farm/west/<img src=x>", r#"[{"d":"<img src=x>","ts":1763856000,"m":0.21}]"#);
    let answer = server.get("/api/v1/sites").await;
    assert_eq!(answer.header("content-type"), "application/geo+json");
    let all = answer.json();
    assert_eq!(all["type"], "FeatureCollection");
    let east = json!({
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [120.2, 30.3]},
        "properties": {
            "tenant": "farm", "site": "east", "name": "东", "name_en": "East", "region": "3301", "domains": ["soil"], "devices": 3, "unheard": 1,
            "alerts": 1, "severity": "yellow",
        },
    });
    assert_eq!(all["features"][0], east, "{all:#}");
    let west = &all["features"][1];
    assert_eq!(west["geometry"], json!(null));
    assert_eq!(
        (&west["properties"]["site"], &west["properties"]["severity"]),
        (&json!("west"), &json!(null))
    );
    assert_eq!(all["features"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn rules_and_profiles_tell_limits_and_units() {
    let server = Server::start();
    let rules = server.get("/api/v1/rules").await.json();
    let rule = &rules["rules"][0];
    assert_eq!(rule["name"], "dry");
    for (key, expected) in [
        ("severity", json!("yellow")),
        ("scope", json!({"domain": ["soil"]})),
        ("profiles", json!(["gateway"])),
        ("when", json!("moisture < 0.12")),
        ("clear", json!("moisture > 0.15 || moisture == 0")),
        ("limits", json!([{"property": "moisture", "op": "<", "limit": 0.12}])),
        (
            "clear_limits",
            json!([{"property": "moisture", "op": ">", "limit": 0.15}, {"property": "moisture", "op": "==", "limit": 0.0}]),
        ),
        ("no_data_intervals", json!(null)),
        ("on_delay_s", json!(0.0)),
        ("message", json!({"zh": "{device} 干", "en": "{device} is dry"})),
    ] {
        assert_eq!(rule[key], expected, "{key}");
    }
    let profiles = server.get("/api/v1/profiles").await.json();
    let moisture =
        json!({"name": "moisture", "type": "float", "unit": "m3/m3", "range": [0.0, 0.6]});
    let gateway = json!({
        "name": "gateway", "domain": "soil", "measurement": "soil", "interval_s": 60.0, "properties": [moisture],
    });
    assert_eq!(profiles, json!({"profiles": [gateway]}));
}

#[tokio::test]
async fn a_matrix_has_a_row_for_each_device_in_the_order_of_the_road() {
    let server = Server::start();
    for device in ["k10", "k9", "k2+500", "x"] {
        let payload = format!(r#"[{{"d":"{device}","ts":1763856000,"m":0.2}}]"#);
        server.fake.uplink(&format!("farm/road/{device}"), &payload);
    }
    let at = |text: &str| telemetry::time::parse_rfc3339(text).unwrap();
    let points = vec![(at("2026-01-01T00:00:00Z"), 80.5), (at("2026-01-01T00:10:00Z"), 20.0)];
    *server.fake.history.lock().unwrap() = Ok(points);
    let answer =
        server.get(&format!("{MATRIX}&site=road&profile=gateway&tenant=farm")).await.json();
    assert_eq!((&answer["columns"], &answer["step_s"]), (&json!(3), &json!(300.0)));
    assert_eq!(answer["from"], "2026-01-01T00:00:00Z");
    let rows = answer["rows"].as_array().unwrap();
    let order: Vec<_> = rows.iter().map(|row| row["device"].as_str().unwrap()).collect();
    assert_eq!(order, ["k2+500", "k9", "k10", "x"]);
    assert_eq!(rows[0]["km"], 2.5);
    for row in rows {
        assert_eq!(row["values"], json!([80.5, null, 20.0]));
    }
    assert_eq!(server.get(&format!("{MATRIX}&site=other")).await.json()["rows"], json!([]));
    let away = Unavailable { is_too_much: false, message: Text::plain("away") };
    *server.fake.history.lock().unwrap() = Err(away);
    assert_eq!(server.get(MATRIX).await.status, 503);
}

#[tokio::test]
async fn a_matrix_is_bounded() {
    let server = Server::start();
    let long = MATRIX.replace("00:15", "23:15").replace("step=5m", "step=1s");
    for (path, words) in [
        (long.as_str(), "more than 2000"),
        (&MATRIX.replace("&step=5m", ""), "`step` is missing"),
        (&MATRIX.replace("property=moisture&", ""), "`property` is missing"),
        (&MATRIX.replace("2026-01-01T00:15", "2025-01-01T00:15"), "must be before"),
        (&format!("{MATRIX}&road=1"), "unknown parameter"),
    ] {
        let answer = server.ask(Method::GET, path, &[("accept-language", "en")], "").await;
        assert!(answer.status == 400 && answer.text.contains(words), "{path}: {}", answer.text);
    }
    let all: Vec<String> =
        (0..201).map(|n| format!(r#"{{"d":"d{n}","ts":1763856000,"m":0.2}}"#)).collect();
    server.fake.uplink("farm/road/g", &format!("[{}]", all.join(",")));
    let answer = server
        .ask(Method::GET, &format!("{MATRIX}&site=road"), &[("accept-language", "en")], "")
        .await;
    assert!(answer.status == 400 && answer.text.contains("201 devices"), "{}", answer.text);
}
