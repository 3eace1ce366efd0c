//! `--to`: rows as uplinks to a broker.

use super::broker::Broker;
use super::farm::{Farm, csv};

#[test]
fn each_row_is_published_in_the_unit_of_the_payload_and_acknowledged() {
    let farm = Farm::new();
    farm.write("devices.csv", "tenant,device,site\ndefault,a,north\n");
    let rows: Vec<(&str, u32, &str)> =
        (0..50).flat_map(|minute| ["a", "b"].map(|one| (one, minute, "23.1"))).collect();
    farm.write("in.csv", format!("{}e/f,2026-01-01T01:00:00Z,30,\nbad\n", csv(&rows)));
    // More than the window of 100 would be refused by a broker that counts.
    let broker = Broker::start(None);
    let done = farm.run(&format!("in.csv --mapping map.toml --to {}", broker.url()));
    let shown = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{shown}");
    assert!(shown.contains("published and acknowledged: 100;"), "{shown}");
    assert!(shown.contains("left out (no reading, or a name that fits no topic): 2"), "{shown}");
    let got = broker.published();
    assert_eq!(got.len(), 100);
    let first = (
        "tianlu/v1/default/north/a/up".to_owned(),
        r#"{"at":"2026-01-01T00:00:00Z","note":null,"w":23.1}"#.to_owned(),
    );
    assert_eq!(got[0], first);
    assert_eq!(got[1].0, "tianlu/v1/default/default/b/up");
}

/// Scenario: the broker breaks the connection after ten publishes, without acknowledging the last of them.
/// Guarantees: every row arrives at least once.
#[test]
fn what_a_broken_connection_left_in_doubt_is_published_again() {
    let farm = Farm::new();
    let rows: Vec<(&str, u32, &str)> = (0..59).map(|minute| ("a", minute, "30")).collect();
    farm.write("in.csv", csv(&rows));
    let broker = Broker::start(Some(10));
    let done = farm.run(&format!("in.csv --mapping map.toml --to {}", broker.url()));
    let shown = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{shown}");
    let bodies: std::collections::BTreeSet<String> =
        broker.published().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 59);
}
