//! Values come back as they were written, and a name is only a name.

use std::time::Duration;

use store::{RangeQuery, ReadError, Store};
use telemetry::time::EventTime;

use crate::{DAY, Setting, batch, shared};

const START: i64 = 1_795_600_800_000_000_000; // 2026-11-25T10:00:00Z
const MINUTE: i64 = 60_000_000_000;

fn query(device: &str, property: &str) -> RangeQuery {
    RangeQuery {
        measurement: Some("m".to_owned()),
        tenant: "t".to_owned(),
        device: device.to_owned(),
        property: property.to_owned(),
        from: EventTime::from_nanos(START),
        to: EventTime::from_nanos(START + DAY),
        step: None,
    }
}

fn shown(points: &[(EventTime, f64)]) -> Vec<String> {
    points.iter().map(|(at, value)| format!("{at} {value}")).collect()
}

/// Scenario: an hour of values of two devices, over two sites, with other fields beside.
/// Guarantees: ranges in order, half open, averaged by window, and the newest value.
#[tokio::test]
async fn ranges_and_latest_values_are_read_back() {
    let Some(server) = shared() else { return };
    server.bucket("read", 0);
    let store = Setting::new(&server.url(), "read").open();
    let mut lines = Vec::new();
    for minute in (0..60).rev() {
        let (at, site) = (START + minute * MINUTE, if minute < 30 { "a" } else { "b" });
        lines.push(format!(
            "m,device=d,site={site},tenant=t x={minute},on={},n={minute}i {at}",
            minute % 2 == 1
        ));
        lines.push(format!("m,device=other,site=a,tenant=t x=1000 {at}"));
    }
    store.write(&batch(&lines)).await.unwrap();

    let all = store.range(&query("d", "x")).await.unwrap();
    assert_eq!(all.len(), 60);
    for (minute, (at, value)) in (0..).zip(&all) {
        assert_eq!(
            (at.as_nanos(), *value),
            (START + i64::from(minute) * MINUTE, f64::from(minute))
        );
    }
    let mut part = query("d", "x");
    (part.from, part.to) = (all[10].0, all[12].0);
    assert_eq!(
        shown(&store.range(&part).await.unwrap()),
        ["2026-11-25T10:10:00Z 10", "2026-11-25T10:11:00Z 11"]
    );
    assert_eq!(shown(store.latest(&part).await.unwrap().as_slice()), ["2026-11-25T10:11:00Z 11"]);
    part.to = part.from;
    assert!(
        store.range(&part).await.unwrap().is_empty()
            && store.latest(&part).await.unwrap().is_none()
    );

    let mut steps = query("d", "x");
    steps.from = EventTime::from_nanos(START + 5 * MINUTE);
    steps.step = Some(Duration::from_mins(30));
    let expected = ["2026-11-25T10:00:00Z 17", "2026-11-25T10:30:00Z 44.5"];
    assert_eq!(
        shown(&store.range(&steps).await.unwrap()),
        expected,
        "a window stands at its own start"
    );

    assert_eq!(
        shown(store.latest(&query("d", "n")).await.unwrap().as_slice()),
        ["2026-11-25T10:59:00Z 59"]
    );
    assert_eq!(
        shown(store.latest(&query("d", "on")).await.unwrap().as_slice()),
        ["2026-11-25T10:59:00Z 1"]
    );
    assert!(store.range(&query("nobody", "x")).await.unwrap().is_empty());
    assert!(store.latest(&query("d", "nothing")).await.unwrap().is_none());
}

/// Scenario: a field that is text in one week, a number in another, a truth in a third.
/// Guarantees: text is left out without an error, the rest is read.
#[tokio::test]
async fn text_does_not_break_a_range() {
    let Some(server) = shared() else { return };
    server.bucket("text", 0);
    let store = Setting::new(&server.url(), "text").open();
    let weeks = [
        ("\"dry\"", START - 60 * DAY, None),
        ("2.5", START, Some(2.5)),
        ("true", START + 60 * DAY, Some(1.0)),
    ];
    let lines = weeks.map(|(value, at, _)| format!("m,device=d,tenant=t x={value} {at}"));
    store.write(&batch(&lines)).await.unwrap();
    for (value, at, expected) in weeks {
        let mut week = query("d", "x");
        (week.from, week.to) = (EventTime::from_nanos(at - DAY), EventTime::from_nanos(at + DAY));
        let read: Vec<_> =
            store.range(&week).await.unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(read, expected.as_slice(), "{value}");
        assert_eq!(store.latest(&week).await.unwrap().map(|(_, value)| value), expected, "{value}");
    }
    let mut all = query("d", "x");
    (all.from, all.to) =
        (EventTime::from_nanos(START - 100 * DAY), EventTime::from_nanos(START + 100 * DAY));
    store.range(&all).await.unwrap();
}

/// Scenario: names that would end the string, begin an expression or a new line of Flux.
/// Guarantees: each is found as exactly that name, and shows nothing of another device or tenant.
#[tokio::test]
async fn a_name_cannot_become_flux() {
    let Some(server) = shared() else { return };
    server.bucket("flux", 0);
    let store = Setting::new(&server.url(), "flux").open();
    let names = [r#"d" or r.device != ""#, "${1+1}", r"back\slash", "田 #1", "a$b", "tab\tbed"];
    let escape = |name: &str| name.replace(' ', "\\ ").replace('=', "\\=").replace(',', "\\,");
    let mut lines = vec![format!("m,device=secret,tenant=other x=99 {START}")];
    for (index, name) in names.iter().enumerate() {
        lines.push(format!("m,device={},tenant=t x={index} {START}", escape(name)));
    }
    let outcome = store.write(&batch(&lines)).await.unwrap();
    assert!(outcome.rejected.is_empty(), "{outcome:?}");
    for (index, name) in (0..).zip(names) {
        let points = store.range(&query(name, "x")).await.unwrap();
        assert_eq!(points, [(EventTime::from_nanos(START), f64::from(index))], "{name}");
    }
    for hostile in [
        "\") |> drop() //",
        "x\n|> yield()",
        "\u{0}\u{1}\u{7f}",
        "\\",
        "\\\"",
        "${",
        "\r\n",
        "\u{2028}",
    ] {
        assert!(store.range(&query(hostile, "x")).await.unwrap().is_empty(), "{hostile:?}");
        let mut other = query("secret", "x");
        other.tenant = hostile.to_owned();
        assert!(store.latest(&other).await.unwrap().is_none(), "{hostile:?}");
    }
}

/// Scenario: a bucket that is not there, and a token that may not read.
/// Guarantees: an error that says so, never an empty series.
#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    let Some(server) = shared() else { return };
    let store = Setting::new(&server.url(), "no such bucket").open();
    assert!(matches!(store.range(&query("d", "x")).await, Err(ReadError::Store(_))));
    let id = server.bucket("write-only", 0);
    let setting = Setting::new(&server.url(), "write-only");
    setting.token(&server.token(&id, &["write"]));
    let error = setting.open().range(&query("d", "x")).await.unwrap_err();
    assert!(!error.message(store.place()).en.is_empty(), "{error:?}");
}
