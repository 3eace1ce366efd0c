//! What follows from more than one packet: durability, order, sessions, take-over, wills, windows, commands.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use rmqtt_codec::{v3, v5};

use super::super::fault::Fault;
use super::super::mailbox::CommandError;
use super::super::terms::Limits;
use super::rig::{
    Publishing, Rig, connect3, connect5, device, disconnect_code, five, publish3, publish5, read5,
};
use super::statements::will5;

fn keeping(client_id: &str) -> v5::Connect {
    v5::Connect { clean_start: false, session_expiry_interval_secs: 600, ..connect5(client_id) }
}

fn is_present(connack: &[u8]) -> bool {
    connack.get(2) == Some(&1)
}

fn resent(topic: &str, qos: u8, id: u16) -> Vec<u8> {
    let mut bytes = publish5(topic, qos, id);
    bytes[0] |= 8;
    bytes
}

const PUBREC_7: [u8; 4] = [0x50, 2, 0, 7];
const PUBREL_7: [u8; 4] = [0x62, 2, 0, 7];
const PUBCOMP_7: [u8; 4] = [0x70, 2, 0, 7];

/// L1, [MQTT-4.6.0-2], [MQTT-4.6.0-3]: no acknowledgement before the record is durable; then in order of arrival.
#[test]
fn acknowledgements_follow_durability_in_order_of_arrival() {
    for version in [4, 5] {
        let mut rig = Rig::new();
        let (number, publish): (_, Publishing) = if version == 5 {
            (rig.v5(connect5("c")).0, publish5)
        } else {
            (rig.v3(connect3("c")).0, publish3)
        };
        let sent = [publish("a", 1, 9), publish("a", 0, 0), publish("b", 2, 7), publish("a", 1, 8)];
        assert_eq!(rig.send(number, &sent.concat()), [0; 0]);
        assert_eq!(rig.records.len(), 4);
        assert_eq!(rig.durable_up_to(number, 1), [0x40, 2, 0, 9]);
        assert_eq!(rig.durable_up_to(number, 1), [0; 0]);
        assert_eq!(rig.durable_up_to(number, 3), [0x50, 2, 0, 7, 0x40, 2, 0, 8]);
        assert_eq!(rig.send(number, &PUBREL_7), PUBCOMP_7);
        assert_eq!(rig.at(number).unacked(), 0);
    }
}

/// [MQTT-4.3.3-2], L2: recorded once, also where PUBLISH comes again on the next connection, before or after PUBREC.
#[test]
fn a_qos_2_message_is_recorded_once_across_connections() {
    let mut rig = Rig::new();
    let (first, connack) = rig.v5(keeping("c"));
    assert!(!is_present(&connack), "[MQTT-3.2.2-2]");
    assert_eq!(rig.send(first, &publish5("a", 2, 7)), [0; 0]);
    assert_eq!(rig.send(first, &resent("a", 2, 7)), [0; 0], "on the same connection");
    rig.lose(first);
    let (second, connack) = rig.v5(keeping("c"));
    assert!(is_present(&connack), "[MQTT-3.2.2-3]");
    assert_eq!(rig.send(second, &resent("a", 2, 7)), [0; 0]);
    assert_eq!(rig.all_durable(second), PUBREC_7);
    rig.lose(second);
    let (third, _) = rig.v5(keeping("c"));
    assert_eq!(rig.send(third, &resent("a", 2, 7)), PUBREC_7, "its record is durable");
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.send(third, &PUBREL_7), PUBCOMP_7);
    let unknown = rig.send(third, &PUBREL_7);
    assert_eq!(unknown, [0x70, 4, 0, 7, 0x92, 0], "PUBREL of an unknown id");
    assert_eq!(rig.send(third, &publish5("a", 2, 7)), [0; 0]);
    assert_eq!(rig.records.len(), 2, "the id is free again");
}

#[test]
fn a_qos_1_message_sent_again_while_it_waits_is_not_doubled() {
    let mut rig = Rig::new();
    let (number, _) = rig.v3(connect3("c"));
    let mut again = publish3("a", 1, 5);
    again[0] |= 8;
    assert_eq!(rig.send(number, &[publish3("a", 1, 5), again.clone(), again].concat()), [0; 0]);
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.all_durable(number), [0x40, 2, 0, 5]);
}

/// PUBREL before PUBREC would complete what is not durable.
#[test]
fn a_release_before_its_record_is_durable_ends_the_connection() {
    let mut rig = Rig::new();
    let (number, _) = rig.v5(connect5("c"));
    let answers = rig.send(number, &[publish5("a", 2, 7), PUBREL_7.to_vec()].concat());
    assert_eq!(disconnect_code(&answers), Some(0x82));
}

/// After a failed fsync connections that wait are closed, and the sender's next try is recorded.
#[test]
fn what_was_not_durable_is_taken_again() {
    let mut rig = Rig::new();
    let (first, _) = rig.v5(keeping("c"));
    let (idle, _) = rig.v5(connect5("idle"));
    rig.send(first, &publish5("a", 2, 7));
    for number in [first, idle] {
        let (now, durable) = (rig.now, rig.durable);
        let connection = rig.connections.get_mut(&number).unwrap();
        connection.handle_not_durable(now, durable, &mut rig.turn);
    }
    rig.settle();
    rig.sessions.forget_after(rig.durable);
    assert_eq!(disconnect_code(&rig.answers(first)), Some(0x89));
    assert_eq!(rig.ended(idle), None, "it waits for nothing");
    let (second, _) = rig.v5(keeping("c"));
    rig.send(second, &resent("a", 2, 7));
    assert_eq!(rig.records.len(), 2);
    assert_eq!(rig.all_durable(second), PUBREC_7);
}

/// [MQTT-3.3.4-7], [MQTT-3.3.4-9]: beyond Receive Maximum MQTT 5 clients are sent away, others are not read.
#[test]
fn the_window_is_enforced() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut rig = Rig::with(limits);
    let (number, _) = rig.v5(connect5("c"));
    let three =
        |publish: Publishing| [publish("a", 1, 1), publish("a", 2, 2), publish("a", 1, 3)].concat();
    assert_eq!(disconnect_code(&rig.send(number, &three(publish5))), Some(0x93));

    let (number, _) = rig.v5(connect5("d"));
    rig.send(number, &[publish5("a", 1, 1), publish5("a", 2, 2)].concat());
    rig.all_durable(number);
    let answers = rig.send(number, &publish5("a", 1, 3));
    assert_eq!(disconnect_code(&answers), None, "PUBACK opened the window");
    let answers = rig.send(number, &publish5("a", 1, 4));
    assert_eq!(disconnect_code(&answers), Some(0x93), "PUBREC does not");

    let mut rig = Rig::with(limits);
    let (number, _) = rig.v3(connect3("c"));
    rig.send(number, &three(publish3));
    assert_eq!((rig.records.len(), rig.ended(number)), (2, None), "the third is not read");
    rig.all_durable(number);
    rig.send(number, &publish3("a", 1, 3));
    assert_eq!(rig.records.len(), 3);
}

/// [MQTT-3.1.4-3] take-over; the sessions of two devices with the same client identifier never meet.
#[test]
fn the_same_client_takes_over_and_another_device_does_not() {
    let mut rig = Rig::new();
    rig.identity = Ok(device("d"));
    let (first, _) = rig.v5(keeping("c"));
    rig.identity = Ok(device("e"));
    let (other, connack) = rig.v5(keeping("c"));
    assert!(!is_present(&connack));
    assert_eq!(rig.ended(first), None);
    rig.identity = Ok(device("d"));
    let (_, connack) = rig.v5(keeping("c"));
    assert_eq!(disconnect_code(&rig.answers(first)), Some(0x8E));
    assert_eq!(rig.ended(first), Some(Fault::TakenOver));
    assert!(is_present(&connack), "the session went over");
    assert_eq!(rig.ended(other), None);
}

/// [MQTT-3.1.2-4] to [MQTT-3.1.2-6], [MQTT-3.1.2-23]: how long sessions last.
#[test]
fn sessions_last_as_long_as_asked_and_no_longer() {
    let mut rig = Rig::new();
    let unclean = || v3::Connect { clean_session: false, ..connect3("c") };
    let (number, _) = rig.v3(unclean());
    rig.lose(number);
    let (number, connack) = rig.v3(unclean());
    assert_eq!(connack, [0x20, 2, 1, 0], "MQTT 3 keeps it");
    rig.lose(number);
    let (number, connack) = rig.v3(connect3("c"));
    assert_eq!(connack, [0x20, 2, 0, 0], "clean");
    rig.lose(number);
    let (number, connack) = rig.v3(unclean());
    assert_eq!(connack, [0x20, 2, 0, 0], "a clean session leaves nothing");
    rig.lose(number);

    let (number, _) = rig.v5(keeping("d"));
    rig.lose(number);
    rig.pass(Duration::from_secs(601));
    let (number, connack) = rig.v5(keeping("d"));
    assert!(!is_present(&connack), "expired");
    let answers = rig.send(number, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    assert_eq!((answers.len(), rig.ended(number)), (0, Some(Fault::Goodbye)));
    let (_, connack) = rig.v5(keeping("d"));
    assert!(!is_present(&connack), "DISCONNECT ended it");
    assert_eq!(rig.sessions.kept(), 1, "that of `c`");
}

#[test]
fn one_device_cannot_hold_more_connections_than_it_may_nor_push_out_others() {
    let limits = Limits { sessions_per_device_max: 2, sessions_kept_max: 3, ..Limits::default() };
    let mut rig = Rig::with(limits);
    rig.identity = Ok(device("d"));
    let (first, _) = rig.v5(keeping("1"));
    rig.v5(keeping("2"));
    let (third, connack) = rig.v5(keeping("3"));
    assert_eq!((connack[3], rig.ended(third)), (0x97, Some(Fault::Quota)));
    rig.lose(first);
    let (_, connack) = rig.v5(keeping("3"));
    assert_eq!((connack[3], rig.sessions.kept()), (0, 0), "its own kept session gave way");

    rig.identity = Ok(super::super::terms::Identity::Anyone);
    for client in ["a", "b", "c", "d", "e"] {
        let (number, _) = rig.v5(keeping(client));
        rig.lose(number);
    }
    assert_eq!(rig.sessions.kept(), 3);
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT-3.1.3-9], [MQTT-3.14.4-3]: when a will becomes a record.
#[test]
fn a_will_is_published_when_its_client_vanished() {
    type Step = fn(&mut Rig, u64);
    let lose: Step = |rig, number| rig.lose(number);
    let goodbye: Step = |rig, number| drop(rig.send(number, &[0xE0, 0]));
    let with_will: Step = |rig, number| drop(rig.send(number, &[0xE0, 1, 4]));
    let wrong: Step = |rig, number| drop(rig.send(number, &[0xF0, 0]));
    let silent: Step = |rig, _| rig.pass(Duration::from_secs(91));
    let back: Step = |rig, number| {
        rig.lose(number);
        rig.v5(keeping("c"));
        rig.pass(Duration::from_secs(60));
    };
    let late: Step = |rig, number| {
        rig.lose(number);
        rig.pass(Duration::from_secs(29));
        assert!(rig.records.is_empty(), "not before its delay");
        rig.pass(Duration::from_secs(1));
    };
    let cleaned: Step = |rig, number| {
        rig.lose(number);
        rig.v5(connect5("c"));
    };
    let stopped: Step = |rig, number| {
        let now = rig.now;
        rig.connections.get_mut(&number).unwrap().end(now, Fault::ShuttingDown, &mut rig.turn);
        rig.settle();
    };
    let taken: Step = |rig, _| drop(rig.v5(keeping("c")));
    for (what, delay, step, expected) in [
        ("the network ends", 0, lose, 1),
        ("DISCONNECT 0x00", 0, goodbye, 0),
        ("DISCONNECT 0x04", 0, with_will, 1),
        ("protocol error", 0, wrong, 1),
        ("silence, [MQTT-3.1.2-22]", 0, silent, 1),
        ("taken over", 0, taken, 1),
        ("we stop", 0, stopped, 0),
        ("back before the delay", 30, back, 0),
        ("the delay is over", 30, late, 1),
        ("the session ended before the delay", 30, cleaned, 1),
    ] {
        let mut rig = Rig::new();
        let last_will = Some(will5("will/c", delay, false));
        let (number, _) = rig.v5(v5::Connect { last_will, keep_alive: 60, ..keeping("c") });
        step(&mut rig, number);
        let published =
            rig.records.iter().filter(|(topic, payload)| topic == "will/c" && payload == "gone");
        assert_eq!(published.count(), expected, "{what}");
    }
}

/// [MQTT-3.1.2-22]: one and a half times the keep-alive, the server's where it is less; while we do not read, the
/// silence is ours.
#[test]
fn silence_ends_a_connection_after_one_and_a_half_keep_alives() {
    let limits = Limits { keep_alive_max: Duration::from_secs(100), ..Limits::default() };
    for (asked, lasts) in [(60, 90), (600, 150), (0, 150)] {
        let mut rig = Rig::with(limits);
        let (number, _) = rig.v5(v5::Connect { keep_alive: asked, ..connect5("c") });
        rig.pass(Duration::from_secs(lasts - 1));
        assert_eq!(rig.ended(number), None);
        rig.send(number, &[0xC0, 0]);
        rig.pass(Duration::from_secs(lasts - 1));
        assert_eq!(rig.ended(number), None);
        rig.pass(Duration::from_secs(1));
        assert_eq!(disconnect_code(&rig.answers(number)), Some(0x8D), "{asked}");
    }
    let mut rig = Rig::with(limits);
    let (number, _) = rig.v5(v5::Connect { keep_alive: 60, ..connect5("c") });
    rig.now += Duration::from_secs(1000);
    let now = rig.now;
    rig.connections.get_mut(&number).unwrap().handle_timeout(now, false, &mut rig.turn);
    assert_eq!(rig.ended(number), None);
    let half = rig.connect();
    rig.send(half, &[0x10, 20, 0, 4]);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.ended(half), Some(Fault::Silent), "half a CONNECT");
}

/// Permissions are looked at for every message; MQTT 5 has an answer for what is not permitted.
#[test]
fn a_topic_of_another_device_is_refused() {
    let mut rig = Rig::new();
    rig.identity = Ok(device("d"));
    let (number, _) = rig.v5(connect5("c"));
    let sent = [
        publish5("up/e", 1, 1),
        publish5("up/e", 2, 2),
        publish5("up/e", 0, 0),
        publish5("up/d", 1, 3),
    ];
    let answers = rig.send(number, &sent.concat());
    assert_eq!(answers, [0x40, 4, 0, 1, 0x87, 0, 0x50, 4, 0, 2, 0x87, 0]);
    assert_eq!(rig.turn.dropped, [1, 0, 0]);
    assert_eq!(rig.all_durable(number), [0x40, 2, 0, 3]);
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.send(number, &publish5("up/e", 1, 4)), [0x40, 4, 0, 4, 0x87, 0]);
    let last_will = Some(will5("up/e", 0, false));
    let (_, connack) = rig.v5(v5::Connect { last_will, ..connect5("w") });
    assert_eq!(connack, [0x20, 3, 0, 0x87, 0]);
    rig.identity = Err(Fault::BadCredentials);
    assert_eq!(rig.v5(connect5("x")).1, [0x20, 3, 0, 0x86, 0]);
    assert_eq!(rig.v3(connect3("x")).1, [0x20, 2, 0, 4], "[MQTT-3.2.2-4]");
}

/// [MQTT-4.4.0-1], [MQTT-3.3.4-9], [MQTT-3.1.2-25], [MQTT-3.8.4-4]: commands wait for their device, within its window and length.
#[test]
fn commands_reach_a_device_once_it_is_back() {
    let mut rig = Rig::new();
    rig.identity = Ok(device("d"));
    let asked = || v5::Connect {
        receive_max: NonZeroU16::new(1),
        max_packet_size: std::num::NonZeroU32::new(100),
        ..keeping("c")
    };
    let (first, _) = rig.v5(asked());
    let nobody = rig.commands.send("default", "d", Bytes::from_static(b"on"));
    assert!(matches!(nobody, Err(CommandError::NotSubscribed { .. })));
    let filter = "tianlu/v1/default/s/d/cmd";
    let topic_filters = vec![(
        filter.into(),
        v5::SubscriptionOptions { qos: v5::QoS::AtLeastOnce, ..Default::default() },
    )];
    let packet_id = NonZeroU16::MIN;
    let subscribe =
        v5::Subscribe { packet_id, id: None, user_properties: Vec::new(), topic_filters };
    let subscribe = five(subscribe.into());
    rig.send(first, &subscribe);
    rig.commands.send("default", "d", Bytes::from(vec![b'l'; 200])).unwrap();
    for payload in ["on", "off"] {
        let queued = rig.commands.send("default", "d", Bytes::from_static(payload.as_bytes()));
        assert_eq!(queued.unwrap().receivers, 1);
    }
    let commands = |rig: &mut Rig, number: u64| {
        rig.connections.get_mut(&number).unwrap().handle_commands(&mut rig.turn);
        let found = read5(&rig.answers(number)).into_iter().filter_map(|packet| {
            let v5::Packet::Publish(p) = packet else { return None };
            Some((p.packet_id.unwrap().get(), p.payload, p.dup))
        });
        found.collect::<Vec<_>>()
    };
    let sent = commands(&mut rig, first);
    assert_eq!(sent, [(2, Bytes::from("on"), false)], "the long one is dropped, the window is 1");
    assert_eq!(rig.turn.dropped, [0, 0, 1]);
    rig.lose(first);
    let (second, connack) = rig.v5(asked());
    let again = read5(&connack).into_iter().any(|packet| {
        matches!(packet, v5::Packet::Publish(p) if p.dup && p.payload == "on" && p.packet_id == NonZeroU16::new(2))
    });
    assert!(again, "sent again with DUP");
    assert_eq!(commands(&mut rig, second), []);
    // Devices subscribe at each connection, also where their session was kept.
    assert_eq!(rig.send(second, &subscribe)[0], 0x90, "SUBACK");
    rig.send(second, &[0x40, 2, 0, 2]);
    assert_eq!(commands(&mut rig, second), [(3, Bytes::from("off"), false)]);
    for _ in 0..100 {
        let queued = rig.commands.send("default", "d", Bytes::from_static(b"x"));
        assert_eq!(queued.unwrap().receivers, 1, "subscribed twice is one subscription");
    }
    let full = rig.commands.send("default", "d", Bytes::from_static(b"x"));
    assert!(matches!(full, Err(CommandError::Full { .. })));
}
