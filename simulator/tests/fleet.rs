//! A fleet as a function: of its arguments and of nothing else.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use simulator::{Fleet, FleetError, Scenario};
use telemetry::document::Problems;
use telemetry::registry::Registry;
use telemetry::time::{EventTime, parse_rfc3339};

fn fleet(name: &str, seed: u64, devices: Option<u32>) -> Fleet {
    let start = parse_rfc3339("2026-03-02T04:00:00Z").unwrap();
    Fleet::new(&Scenario::named(name).unwrap(), seed, start, devices).unwrap()
}

fn hours(fleet: &Fleet, hours: u64) -> EventTime {
    fleet.start().plus(Duration::from_hours(hours))
}

/// Returns the uplinks of a span as one text, made by so many threads.
fn generated(fleet: &Fleet, threads: usize) -> Vec<u8> {
    let sends: Vec<_> = fleet.schedule(fleet.start(), hours(fleet, 3)).collect();
    let part = |sends: &[(EventTime, u32)]| {
        let mut out = Vec::new();
        for (at, device) in sends {
            assert!(fleet.write_uplink(*device, *at, &mut out));
            out.push(b'\n');
        }
        out
    };
    thread::scope(|scope| {
        let chunks = sends.chunks(sends.len().div_ceil(threads));
        let running: Vec<_> = chunks.map(|chunk| scope.spawn(move || part(chunk))).collect();
        running.into_iter().flat_map(|one| one.join().unwrap()).collect()
    })
}

/// Guarantees: one, two and seven threads give the same bytes (F1, F2).
#[test]
fn the_number_of_threads_changes_nothing() {
    for scenario in Scenario::names() {
        let fleet = fleet(scenario, 42, Some(100));
        let alone = generated(&fleet, 1);
        assert!(alone.len() > 10_000);
        for threads in [2, 7] {
            assert!(generated(&fleet, threads) == alone, "{scenario} {threads}");
        }
    }
}

/// Guarantees: what was asked before, and in which order, changes nothing (F1); seeds and devices differ.
#[test]
fn any_uplink_can_be_had_at_any_time() {
    let made = fleet("demo", 1, None);
    let sends: Vec<_> = made.schedule(made.start(), hours(&made, 6)).collect();
    let forward: Vec<_> = sends.iter().map(|(at, device)| made.uplink(*device, *at)).collect();
    let other = fleet("demo", 1, None);
    let backward: Vec<_> =
        sends.iter().rev().map(|(at, device)| other.uplink(*device, *at)).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    let seeded = fleet("demo", 2, None);
    let same = sends
        .iter()
        .zip(&forward)
        .filter(|((at, device), was)| seeded.uplink(*device, *at) == **was);
    assert!(same.count() * 100 < forward.len());
    // Also before the start, years away, and for nobody.
    let years = Duration::from_hours(24 * 365 * 20);
    for at in [made.start().minus(years), made.start().plus(years), EventTime::from_nanos(i64::MAX)]
    {
        serde_json::from_slice::<Value>(&made.uplink(0, at)).unwrap();
    }
    assert!(made.uplink(made.len(), made.start()).is_empty());
}

fn parsed(fleet: &Fleet, device: u32, at: EventTime) -> BTreeMap<String, Value> {
    serde_json::from_slice(&fleet.uplink(device, at)).unwrap()
}

/// Guarantees: between two points of the grid a device repeats its values with the time that is asked for; told not
/// to hold, it measures anew.
#[test]
fn values_are_held_between_the_points_of_the_grid() {
    let made = fleet("traffic-corridor", 3, None);
    let point = hours(&made, 2);
    let later = point.plus(Duration::from_secs(123));
    let (mut first, mut second) = (parsed(&made, 5, point), parsed(&made, 5, later));
    assert_eq!(
        second.remove("ts").unwrap().as_i64().unwrap()
            - first.remove("ts").unwrap().as_i64().unwrap(),
        123_000
    );
    assert_eq!(first, second);
    let free = made.held(false);
    let (mut first, mut second) = (parsed(&free, 5, point), parsed(&free, 5, later));
    drop((first.remove("ts"), second.remove("ts")));
    assert_ne!(first, second);
}

/// Guarantees: sequence numbers count what is sent, at the interval and then each five seconds.
#[test]
fn sequence_numbers_have_no_gap() {
    let made = fleet("demo", 1, None);
    let live = hours(&made, 2).plus(Duration::from_millis(61_001));
    for made in [made.clone(), made.live(live, Duration::from_secs(5))] {
        let to = hours(&made, 3);
        let mut next: BTreeMap<u32, i64> = BTreeMap::new();
        let mut count = 0;
        for (at, device) in made.schedule(made.start(), to) {
            let expected = next.entry(device).or_default();
            assert_eq!(parsed(&made, device, at)["seq"], *expected, "{device} {at}");
            *expected += 1;
            count += 1;
        }
        assert_eq!(count, made.uplinks(made.start(), to));
        assert_eq!(next.len(), usize::try_from(made.len()).unwrap());
    }
}

/// Scenario: as the demo does it, the history up to now is sent, and the present begins a moment later.
/// Guarantees: no device skips a number there, whether or not it has just sent at its interval.
#[test]
fn the_present_goes_on_where_history_ends() {
    let made = fleet("demo", 1, None);
    let every = Duration::from_secs(5);
    for seconds in [3600, 3605, 3895, 3900] {
        let at = made.start().plus(Duration::from_secs(seconds));
        let after = at.plus(Duration::from_nanos(1));
        let sent = made.schedule(made.start(), after);
        let last: BTreeMap<u32, EventTime> = sent.map(|(at, device)| (device, at)).collect();
        assert_eq!(last.len(), usize::try_from(made.len()).unwrap());
        let live = made.clone().live(after, every);
        for (device, last) in last {
            let before = parsed(&made, device, last)["seq"].as_i64().unwrap();
            let next = parsed(&live, device, at.plus(every))["seq"].as_i64().unwrap();
            assert_eq!(next, before + 1, "device {device} after {seconds} s");
        }
    }
}

/// Guarantees: a schedule in pieces is the schedule; times rise.
#[test]
fn a_schedule_can_begin_anywhere() {
    let made = fleet("demo", 1, None);
    let middle = hours(&made, 1).plus(Duration::from_nanos(1));
    let whole: Vec<_> = made.schedule(made.start(), hours(&made, 2)).collect();
    let pieces: Vec<_> =
        made.schedule(made.start(), middle).chain(made.schedule(middle, hours(&made, 2))).collect();
    assert_eq!(whole, pieces);
    assert!(whole.is_sorted());
    assert_eq!(whole[0].0, made.start());
}

/// Guarantees: any number of devices, each with a name and place of its own; a registry takes them as they are.
#[test]
fn a_scenario_scales_to_any_number_of_devices() {
    for (name, count) in [("demo", 1), ("demo", 3), ("demo", 1000), ("air-city", 50)] {
        let made = fleet(name, 1, Some(count));
        let problems = Problems::default();
        let registry = Registry::parse("devices.csv", &made.registry_csv(), &problems);
        assert_eq!(problems.take(), []);
        assert_eq!(registry.len(), usize::try_from(count).unwrap(), "{name}");
        let kinds: BTreeSet<_> = made.devices().map(|device| device.kind).collect();
        assert!(count < 3 || name != "demo" || kinds.len() == 3, "{kinds:?}");
        let places: BTreeSet<_> =
            made.devices().map(|one| format!("{} {}", one.lat, one.lon)).collect();
        assert_eq!(places.len(), registry.len(), "{name} {count}");
        for device in made.devices() {
            let known = registry.get(&device.tenant, &device.device).unwrap();
            assert_eq!(known.site.as_deref(), Some(device.site.as_str()));
            assert!(!device.name.zh.contains('{') && !device.name.en.contains('{'));
        }
    }
    let million = fleet("demo", 1, Some(1_000_000));
    let last = million.device(999_999).unwrap();
    assert_eq!(last.device, "wm-field-01-25642");
    let start = parse_rfc3339("2026-03-02T04:00:00Z").unwrap();
    let none = Fleet::new(&Scenario::named("demo").unwrap(), 1, start, Some(0));
    assert_eq!(none.unwrap_err(), FleetError::Empty);
}

/// Guarantees: detectors of a road come in the order of its kilometres, and stand along its line.
#[test]
fn detectors_are_in_the_order_of_the_road() {
    let made = fleet("demo", 1, None);
    let road: Vec<_> = made.devices().filter(|device| device.kind == "road").collect();
    assert_eq!(road.len(), 14);
    assert!(road.is_sorted_by_key(|device| device.km.map(|km| (km * 1000.0).to_bits())));
    assert_eq!(road[1].name.en, "Detector K3+200");
    for pair in road.windows(2) {
        let (north, east) = (pair[0].lat - pair[1].lat, pair[0].lon - pair[1].lon);
        let km = ((north * 111.0).powi(2) + (east * 102.0).powi(2)).sqrt();
        assert!((0.1..3.0).contains(&km), "{km}");
    }
}

/// Guarantees: truth says what was done within a span, in order, also where it began before; and it can be seen.
#[test]
fn truth_tells_what_was_done_to_whom() {
    let made = fleet("demo", 5, None);
    let (from, to) = (hours(&made, 0), hours(&made, 24));
    let truth = made.truth(from, to);
    assert!(truth.is_sorted_by_key(|one| one.began_at));
    let count = |kind: &str| truth.iter().filter(|one| one.kind.as_str() == kind).count();
    // Seven greenhouses and nurseries, each watered once; one plume over three stations; 24 h / 18 min.
    assert_eq!((count("irrigation"), count("episode")), (7, 3));
    assert!((78..=83).contains(&count("incident")), "{}", count("incident"));
    assert_eq!(count("bottleneck"), 2);
    for one in &truth {
        assert!(
            one.began_at < to && one.ended_at >= from && one.began_at < one.ended_at,
            "{one:?}"
        );
    }
    let names: Vec<String> = made.devices().map(|device| device.device).collect();
    let mut seen = 0;
    for one in truth.iter().filter(|one| one.kind.as_str() == "incident" && one.began_at > from) {
        let device =
            u32::try_from(names.iter().position(|name| *name == one.device).unwrap()).unwrap();
        let before =
            parsed(&made, device, one.began_at.minus(Duration::from_mins(1)))["speed_km_h"]
                .as_f64();
        let within =
            parsed(&made, device, one.began_at.plus(Duration::from_mins(10)))["speed_km_h"]
                .as_f64();
        assert!(within.unwrap() < 62.0, "{one:?} {before:?} {within:?}");
        seen += usize::from(before.unwrap() > within.unwrap());
    }
    assert!(seen > 50, "{seen}");
}

/// Guarantees: what is counted agrees: occupancy is flow over speed times the length of vehicle and zone (F4), and
/// nothing exceeds what a lane carries or holds.
#[test]
fn flow_speed_and_occupancy_agree() {
    let made = fleet("traffic-corridor", 9, None);
    let mut queued = 0;
    for (at, device) in made.schedule(made.start(), hours(&made, 24)) {
        let reading = parsed(&made, device, at);
        let of = |name: &str| reading[name].as_f64().unwrap();
        let (flow, speed, occupancy) =
            (of("flow_veh_per_h"), of("speed_km_h"), of("occupancy_pct"));
        if flow < 0.5 {
            assert_eq!((speed, occupancy), (0.0, 0.0));
            continue;
        }
        assert!(
            (occupancy - flow / speed * 0.65).abs() <= 0.051 || occupancy >= 95.9,
            "{reading:?}"
        );
        // Counting by fives of minutes adds chance to a capacity of 2057.
        assert!(flow < 2700.0 && (2.0..110.0).contains(&speed), "{reading:?}");
        queued += usize::from(speed < 40.0);
    }
    assert!(queued > 100, "{queued}");
}
