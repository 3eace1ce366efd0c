//! Devices connect to Tianlu itself: real clients, and kill -9 under a thousand slow devices.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use proof::balance::{Balance, assert_balance_always};
use proof::http;
use proof::influx::Influx;
use proof::place::{free_port, program, python, workspace};
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored, fleet};
use proof::slow_devices::{allow_files, publish_slowly};
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::work::Work;

const SLOW: u32 = 1_000;
const READINGS_EACH_SLOW: u32 = 10;
const GATEWAYS: u32 = 3;
const DEVICES_EACH: u32 = 50;
const READINGS_EACH: u32 = 100;
const IN_TIME: Duration = Duration::from_mins(3);

fn received(base: &str, least: u64) {
    Balance::received(base, least, IN_TIME);
}

/// Scenario: 1,000 slow devices with one message in flight each and 3 gateways with a window connect to Tianlu's own
/// listener; the service is killed twice in the middle.
/// Guarantees: every acknowledged uplink stands in InfluxDB exactly once with its own time and values; the balance
/// adds up at every moment.
#[test]
fn a_thousand_slow_devices_and_three_gateways_lose_nothing_through_kills() {
    let Some(influx) = Influx::start() else { return };
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let memory = format!("[devices]\nidentity_memory = {READINGS_EACH}");
    let work = Work::new().influx(&influx).listener(&address).section(&memory);
    let start = now_ms() - 3_600_000;
    let slow = fleet("s", SLOW, READINGS_EACH_SLOW, start);
    let gateways: Vec<Vec<Sample>> = (0..GATEWAYS)
        .map(|n| fleet(&format!("g{n}-"), DEVICES_EACH, READINGS_EACH, start))
        .collect();
    let total = u64::from(SLOW * READINGS_EACH_SLOW + GATEWAYS * DEVICES_EACH * READINGS_EACH);
    let service = Tianlu::ready(&work);
    // For the devices; the service, which began with the usual limit, has to see to its own.
    allow_files();
    let watch = assert_balance_always(&work.base());
    let mut service = thread::scope(|scope| {
        scope.spawn(|| {
            let mut devices: Vec<(String, Vec<Message>)> =
                (0..SLOW).map(|n| (format!("s{n:04}"), Vec::new())).collect();
            for (at, sample) in slow.iter().enumerate() {
                devices[at % SLOW as usize].1.push(sample.uplink());
            }
            publish_slowly(&address, devices, IN_TIME);
        });
        for (number, samples) in gateways.iter().enumerate() {
            let address = &address;
            scope.spawn(move || {
                let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
                let mut publisher = Publisher::new(address, &format!("gateway-{number}"));
                (publisher.within, publisher.per_second) = (IN_TIME, Some(1_000));
                assert_eq!(publisher.send(&uplinks).len(), uplinks.len());
            });
        }
        received(&work.base(), total / 4);
        service.kill9();
        let service = Tianlu::start(&work);
        received(&work.base(), total / 2);
        service.kill9();
        Tianlu::ready(&work)
    });
    let balance = service.settle(total, IN_TIME);
    eprintln!("sent again by devices: {}", balance.uplinks.received - total);
    assert_eq!(balance.readings.stored, total);
    assert_eq!(balance.readings.duplicate, balance.uplinks.received - total);
    assert!(watch.finish() > 20);
    assert_stored(&influx, &[slow, gateways.concat()].concat());
    assert!(service.terminate().success());
}

/// Scenario: one process, nothing else installed: `[listener]` and no `[store]`; Mosquitto's own client publishes
/// with MQTT 3.1, 3.1.1 and 5 at QoS 0, 1 and 2.
/// Guarantees: all are taken in and stored in the embedded history; history and values outlive a restart.
#[test]
fn mosquitto_pub_publishes_and_the_history_keeps_it() {
    let Some(client) = program("mosquitto_pub", "TIANLU_MOSQUITTO_PUB") else { return };
    let port = free_port();
    let work = Work::new().listener(&format!("127.0.0.1:{port}"));
    let mut service = Tianlu::ready(&work);
    let at = now_ms() - 60_000;
    let mut count = 0;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let sample = Sample::new("d1", at + count * 1000, u32::try_from(count).unwrap());
            let uplink = sample.uplink();
            let payload = String::from_utf8(uplink.payload).unwrap();
            let done = Command::new(&client)
                .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", version, "-q", qos])
                .args(["-i", "d1", "-t", &uplink.topic, "-m", &payload])
                .output()
                .unwrap();
            assert!(done.status.success(), "{version} QoS {qos}: {done:?}");
            count += 1;
        }
    }
    let total = u64::try_from(count).unwrap();
    let balance = service.settle(total, IN_TIME);
    assert_eq!((balance.uplinks.received, balance.readings.stored), (total, total));
    let query = format!(
        "/api/v1/range?tenant=t1&device=d1&property=soil_moisture_10cm&from={}&to={}",
        rfc3339(at - 1000),
        rfc3339(at + 60_000)
    );
    let points = |service: &Tianlu| {
        let answer = service.get(&query).json();
        answer["points"].as_array().unwrap().clone()
    };
    let before = points(&service);
    assert_eq!(before.len(), 9, "{before:?}");
    assert_eq!(before[0][1].as_f64(), Some(Sample::new("d1", at, 0).moisture()));
    assert!(service.terminate().success());
    let service = Tianlu::ready(&work);
    assert_eq!(points(&service), before);
}

/// Scenario: Mosquitto's own subscriber waits for the commands of a device, MQTT 3.1.1 and 5, and gets one that is sent
/// over HTTP; another topic is refused.
#[test]
fn mosquitto_sub_takes_commands_and_nothing_else() {
    let Some(client) = program("mosquitto_sub", "TIANLU_MOSQUITTO_SUB") else { return };
    let port = free_port();
    let work = Work::new().listener(&format!("127.0.0.1:{port}"));
    let _service = Tianlu::ready(&work);
    let subscribe = |version: &str, topic: &str| {
        let mut command = Command::new(&client);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", version, "-q", "1"]);
        command.args(["-i", "d1", "-t", topic, "-C", "1", "-W", "60"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for version in ["mqttv311", "mqttv5"] {
        let waiting = subscribe(version, "tianlu/v1/t1/s1/d1/cmd");
        until("the subscriber to take a command", IN_TIME, || {
            let url = format!("{}/api/v1/devices/t1/d1/commands", work.base());
            let answer = http::post_json(&url, &serde_json::json!({"pump": 1})).ok();
            answer.filter(|answer| answer.status() == 202)
        });
        let done = waiting.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), r#"{"pump":1}"#, "{version}");
        let refused = subscribe(version, "tianlu/v1/t1/s1/d1/up").wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.stdout.is_empty() && told.contains("denied"), "{version}: {told}");
    }
}

/// Scenario: devices by the Paho client (Python), MQTT 3.1.1 and 5: each publishes at QoS 0, 1 and 2, subscribes to its
/// own commands and gets one that is sent over HTTP.
/// Guarantees: everything is stored, the subscription is granted, the command arrives once.
#[test]
fn paho_devices_publish_and_take_commands() {
    let Some(python) = python() else { return };
    let port = free_port();
    let work = Work::new().listener(&format!("127.0.0.1:{port}"));
    let mut service = Tianlu::ready(&work);
    let script = workspace().join("tests/clients/paho_device.py");
    let at = now_ms() - 60_000;
    for (number, version) in ["3.1.1", "5"].into_iter().enumerate() {
        let device = format!("paho{number}");
        let (up, cmd) =
            (format!("tianlu/v1/t1/s1/{device}/up"), format!("tianlu/v1/t1/s1/{device}/cmd"));
        let mut client = Command::new(&python);
        client.arg(&script).args(["127.0.0.1", &port.to_string(), version, &device, &up, &cmd]);
        client.args(["30", &at.to_string()]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let client = client.spawn().unwrap();
        until("the device to take a command", IN_TIME, || {
            let url = format!("{}/api/v1/devices/t1/{device}/commands", work.base());
            let answer = http::post_json(&url, &serde_json::json!({"valve": "open"})).ok();
            answer.filter(|answer| answer.status() == 202)
        });
        let done = client.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "MQTT {version}: {told} {done:?}");
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["published"], 30, "MQTT {version}");
        assert_eq!(told["commands"], serde_json::json!([r#"{"valve":"open"}"#]), "MQTT {version}");
    }
    let balance = service.settle(60, IN_TIME);
    assert_eq!((balance.uplinks.received, balance.readings.stored), (60, 60));
}

/// argon2id of `password`, from the tests of the reference implementation.
const HASH: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Connects as a device, with MQTT 3.1.1; returns the connection and the code of CONNACK.
fn login(address: &str, device: &str, client: &str) -> (TcpStream, u8) {
    let text = |text: &str| {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    // User name, password, a clean session; no keep-alive.
    let flags = vec![4, 0xC2, 0, 0];
    let body = [text("MQTT"), flags, text(client), text(device), text("password")].concat();
    let head = [0x10, u8::try_from(body.len()).unwrap()];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(IN_TIME)).unwrap();
    stream.write_all(&[&head[..], &body].concat()).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    (stream, answer[3])
}

/// Scenario: one device leaves the credentials and another enters them; SIGHUP, once with a line that is wrong.
/// Guarantees: without a restart the one is sent away and the other let in; with a wrong line nothing changes.
#[test]
fn a_reload_lets_in_who_stands_in_the_credentials_now() {
    let address = format!("127.0.0.1:{}", free_port());
    let listener =
        format!("[listener]\nbind = \"{address}\"\ncredentials_file = \"secrets/devices.csv\"");
    let work = Work::new().section(&listener);
    let know = |device: &str, hash: &str| {
        let lines = format!("tenant,device,password_hash\ndefault,{device},\"{hash}\"\n");
        work.write("secrets/devices.csv", &lines);
    };
    know("old", HASH);
    let service = Tianlu::ready(&work);
    let (mut connected, code) = login(&address, "old", "c1");
    assert_eq!((code, login(&address, "new", "c2").1), (0, 4));

    know("new", "password");
    service.reload();
    until("the refusal of the reload", IN_TIME, || {
        service.log().contains("not reloaded").then_some(())
    });
    assert_eq!((login(&address, "old", "c3").1, login(&address, "new", "c4").1), (0, 4));

    know("new", HASH);
    service.reload();
    until("the new device to be let in", IN_TIME, || {
        (login(&address, "new", "c5").1 == 0).then_some(())
    });
    assert_eq!(login(&address, "old", "c6").1, 4);
    let mut rest = Vec::new();
    // It may end with a reset.
    drop(connected.read_to_end(&mut rest));
    assert_eq!(rest, [0; 0], "MQTT 3 has no goodbye");
    assert!(service.terminate().success());
}

fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}
