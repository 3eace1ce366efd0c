//! A damaged record of the journal: one uplink is lost, counted and told; everything around it stands.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proof::audit::Audit;
use proof::letters::text;
use proof::place::free_port;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, fleet};
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::work::Work;

const IN_TIME: Duration = Duration::from_mins(1);
const UPLINKS: u64 = 300;

/// Flips one bit of the only record that names this topic.
fn damage(journal: PathBuf, topic: &str) {
    let mut damaged = 0;
    for entry in fs::read_dir(journal).unwrap() {
        let path = entry.unwrap().path();
        let Ok(mut bytes) = fs::read(&path) else { continue };
        let found = bytes.windows(topic.len()).position(|window| window == topic.as_bytes());
        if let Some(at) = found {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "one record of {topic}");
}

/// Scenario: 300 acknowledged uplinks of 300 devices, ten on the way at a time; kill -9; one bit of the record of one
/// of them flips; the service starts again.
/// Guarantees: that one is counted as lost and no other; the balance adds up; `/readyz` notes the damage and stays
/// ready; the alert `tianlu-damage` is told; a copy of the bytes is kept; each of the other 299 is stored once.
#[test]
fn a_flipped_bit_costs_one_uplink_and_is_told() {
    let address = format!("127.0.0.1:{}", free_port());
    let work = Work::new().listener(&address);
    let service = Tianlu::ready(&work);
    let mut samples = fleet("d", 300, 1, now_ms() - 3_600_000);
    let mut publisher = Publisher::new(&address, "gateway");
    publisher.window = 10;
    let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
    publisher.send(&uplinks);
    service.kill9();
    damage(work.path("data/journal"), &uplinks[150].topic);
    drop(samples.remove(150));

    let mut service = Tianlu::ready(&work);
    let balance = service.settle(UPLINKS, IN_TIME);
    assert_eq!((balance.uplinks.decoded, balance.uplinks.lost), (UPLINKS - 1, 1), "{balance:?}");
    assert_eq!(balance.readings.stored, UPLINKS - 1, "{balance:?}");
    let note = until("/readyz to note the damage", IN_TIME, || {
        let answer = service.try_get("/readyz").filter(|answer| answer.status() == 200)?.json();
        answer["notes"].as_array()?.iter().find(|note| note["part"] == "damage").cloned()
    });
    assert!(text(&note, "message").contains("1 uplinks counted as lost"), "{note}");
    let alerts = service.alerts("firing");
    assert!(alerts.iter().any(|alert| alert["rule"] == "tianlu-damage"), "{alerts:?}");
    assert_eq!(fs::read_dir(work.path("data/journal/damaged")).unwrap().count(), 1);
    assert_eq!(Audit::of_history(&service, &samples).wrong(), None);
}
