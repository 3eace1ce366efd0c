//! The disk of the data folder is full, and free again; or it cannot be written at all.

use std::time::Duration;

use proof::balance::assert_balance_always;
use proof::influx::Influx;
use proof::letters::text;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::tianlu::{Tianlu, run};
use proof::volume::Volume;
use proof::wait::{now_ms, pass, until};
use proof::work::Work;

const IN_TIME: Duration = Duration::from_mins(2);
const UPLINKS: u64 = 400;

/// An uplink of some 100 KB, so that a segment fills soon.
fn large(number: i64, at: i64) -> Message {
    let temp = number % 75;
    let note = "n".repeat(100_000);
    let payload = format!(r#"{{"ts":{},"soil_temp":{temp}.5,"note":"{note}"}}"#, at + number);
    Message::uplink("big", payload)
}

/// Scenario: the disk fills up, by others, while 400 uplinks of 100 KB come in; later the others free it; the
/// service is killed with -9 at the end. In both protocols.
/// Guarantees: intake blocks; `/readyz` names `disk` or `journal` with a remedy; nothing is a dead letter; our full disk
/// is not told as the device's silence; the service goes on by itself once there is space, and each uplink is stored.
#[test]
fn a_full_disk_blocks_intake_until_there_is_space_again() {
    for protocol in [3, 5] {
        let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
        let more = format!("protocol = {protocol}");
        let work = Work::new().mqtt_with(&broker.url(), &more).influx(&influx);
        // Segments of 20 MiB, so that the uplinks need more than one.
        let work = work.data("max_bytes = \"128 MiB\"").tells_silence();
        let Some(volume) = Volume::mount(&work.path("data"), 256) else { return };
        let mut service = Tianlu::ready(&work);
        let watch = assert_balance_always(&work.base());
        let filler = volume.fill();
        let at = now_ms() - 3_600_000;
        let uplinks: Vec<Message> =
            (0..UPLINKS.cast_signed()).map(|number| large(number, at)).collect();
        let mut publisher = Publisher::new(&broker.address(), "p1");
        publisher.window = 10;
        publisher.send(&uplinks);
        let reason = until("/readyz to name the disk", IN_TIME, || {
            let answer = service.try_get("/readyz").filter(|answer| answer.status() == 503)?;
            let reasons = answer.json()["reasons"].as_array()?.clone();
            reasons.into_iter().find(|one| ["disk", "journal"].contains(&text(one, "part")))
        });
        assert!(
            !text(&reason, "remedy").is_empty() && !text(&reason, "message").is_empty(),
            "{reason}"
        );
        let held = until("a balance", IN_TIME, || proof::balance::Balance::fetch(service.base()));
        assert!(held.uplinks.received < UPLINKS, "{held:?}");
        // Longer than a silence that is told.
        pass(Duration::from_secs(8));
        let alerts = service.alerts("");
        assert!(alerts.is_empty(), "{alerts:?}");
        filler.release();
        service.wait_ready(Duration::from_mins(1));
        let balance = service.settle(UPLINKS, IN_TIME);
        assert_eq!((balance.uplinks.dead, balance.readings.dead, balance.uplinks.lost), (0, 0, 0));
        assert!(watch.finish() > 20);
        assert_eq!(influx.count("soil", "soil_temp"), UPLINKS);
        service.kill9();
        let balance = Tianlu::ready(&work).settle(UPLINKS, IN_TIME);
        assert_eq!(balance.readings.stored, UPLINKS);
    }
}

/// Scenario: the data folder lies on a file system that is mounted read-only, and later may be written. Guarantees:
/// `run` ends with an error that names the folder, in words, and never answers ready; then it starts.
#[test]
fn a_data_folder_that_cannot_be_written_is_named_at_the_start() {
    let Some(broker) = Mosquitto::start() else { return };
    let work = Work::new().mqtt(&broker.url()).store("http://127.0.0.1:9", "none");
    let Some(volume) = Volume::mount(&work.path("data"), 128) else { return };
    volume.freeze();
    let ran = run(work.dir(), &["run", "--config", "tianlu.toml"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("data") && ran.stderr.to_lowercase().contains("read-only"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    volume.thaw();
    let mut service = Tianlu::start(&work);
    let reason = service.wait_not_ready("store", IN_TIME);
    assert!(text(&reason, "message").contains("http://127.0.0.1:9"), "{reason}");
    assert!(service.terminate().success());
}
