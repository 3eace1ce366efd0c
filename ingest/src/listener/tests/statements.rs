//! Statements of MQTT, each by its number; packets as bytes where the codec would not write them.

use rmqtt_codec::v5;

use super::rig::{
    Rig, connect3, connect5, disconnect_code, five, message, publish3, publish5, read5, three,
};

/// CONNECT bytes of MQTT 3.1.1 with these flags and the rest after keep-alive.
fn raw_connect(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 60];
    body.extend_from_slice(rest);
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

const ID: &[u8] = &[0, 1, b'c'];

/// Guarantees: what must not be the first packet, or not so, gets the answer that the statement names, and the
/// connection ends.
#[test]
fn a_connect_that_is_wrong_is_refused() {
    let v5 = |flags, rest: &[u8]| raw_connect(5, flags, &[&[0], rest].concat());
    let with = |flags, tail: &[u8]| raw_connect(4, flags, &[ID, tail].concat());
    let cases: Vec<(&str, Vec<u8>, &[u8], &str)> = vec![
        ("[MQTT-3.1.0-1] 3.1.1", publish3("a", 0, 0), &[], "not_connect"),
        ("[MQTT-3.1.0-1] 5", vec![0xC0, 0], &[], "not_connect"),
        ("[MQTT-3.1.2-1] name", vec![0x10, 8, 0, 4, b'M', b'Q', b'T', b'X', 4, 2], &[], "not_mqtt"),
        ("[MQTT-3.1.2-2] level 6", raw_connect(6, 2, ID), &[0x20, 2, 0, 1], "unsupported_version"),
        (
            "[MQTT-3.1.2-2] bridge",
            raw_connect(0x84, 2, ID),
            &[0x20, 2, 0, 1],
            "unsupported_version",
        ),
        ("[MQTT-3.1.2-3] reserved", raw_connect(4, 3, ID), &[], "malformed"),
        ("[MQTT-3.1.2-3] reserved 5", v5(3, ID), &[0x20, 3, 0, 0x81, 0], "malformed"),
        (
            "[MQTT-3.1.2-11] 5: will QoS without will",
            v5(0x0A, ID),
            &[0x20, 3, 0, 0x81, 0],
            "malformed",
        ),
        ("[MQTT-3.1.2-14] will QoS 3", with(0x1E, &[0, 1, b'w', 0, 0]), &[], "malformed"),
        ("[MQTT-3.1.2-15] retain without will", raw_connect(4, 0x22, ID), &[], "malformed"),
        ("[MQTT-3.1.2-22] password without user", with(0x42, &[0, 1, b'p']), &[], "malformed"),
        ("[MQTT-3.1.3-4] id is not UTF-8", raw_connect(4, 2, &[0, 1, 0xff]), &[], "malformed"),
        ("[MQTT-1.5.3-2] NUL in id", raw_connect(4, 2, &[0, 1, 0]), &[], "malformed"),
        (
            "[MQTT-3.1.3-8] no id, not clean",
            raw_connect(4, 0, &[0, 0]),
            &[0x20, 2, 0, 2],
            "client_id",
        ),
        ("[MQTT-3.1.3-8] no id, not clean, 5", v5(0, &[0, 0]), &[0x20, 3, 0, 0x85, 0], "client_id"),
        ("bytes behind the last field", with(2, &[7]), &[], "malformed"),
        ("[MQTT-3.1.2-20] user missing", raw_connect(4, 0x82, ID), &[], "malformed"),
        ("[MQTT-4.8.0-1] cut short", raw_connect(4, 2, &[0, 9, b'c']), &[], "malformed"),
        ("[MQTT-1.5.5-1] length not the shortest", vec![0x10, 0x8A, 0], &[], "malformed"),
        ("[MQTT-2.1.3-1] flags of CONNECT", vec![0x11, 2, 0, 0], &[], "not_mqtt"),
        (
            "[MQTT-4.12.0-1] method",
            five(v5::Connect { auth_method: Some("x".into()), ..connect5("c") }.into()),
            &[0x20, 3, 0, 0x8C, 0],
            "bad_auth_method",
        ),
        (
            "[MQTT-3.2.2-13] retained will",
            five(v5::Connect { last_will: Some(will5("w", 0, true)), ..connect5("c") }.into()),
            &[0x20, 3, 0, 0x9A, 0],
            "retain",
        ),
        (
            "[MQTT-3.3.2-2] wildcard in the will",
            five(v5::Connect { last_will: Some(will5("w/#", 0, false)), ..connect5("c") }.into()),
            &[0x20, 3, 0, 0x90, 0],
            "topic_invalid",
        ),
    ];
    for (statement, bytes, expected, fault) in cases {
        let mut rig = Rig::new();
        let number = rig.connect();
        let answers = rig.send(number, &bytes);
        assert_eq!(answers, expected, "{statement}");
        assert_eq!(rig.ended(number).map(|end| end.code()), Some(fault), "{statement}");
        assert!(rig.records.is_empty(), "{statement}");
    }
}

pub(super) fn will5(topic: &str, delay_seconds: u32, retain: bool) -> v5::LastWill {
    v5::LastWill {
        qos: v5::QoS::AtLeastOnce,
        retain,
        topic: topic.into(),
        message: "gone".into(),
        will_delay_interval_sec: Some(delay_seconds),
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    }
}

/// Guarantees: what an open MQTT 5 connection must not send ends it with the code that the statement names.
#[test]
fn a_packet_that_is_wrong_ends_an_mqtt_5_connection_with_its_code() {
    let with_properties = |properties| {
        five(v5::Packet::Publish(Box::new(rmqtt_codec::types::Publish {
            properties: Some(properties),
            ..*message("a", 1, 1)
        })))
    };
    let retained = five(v5::Packet::Publish(Box::new(rmqtt_codec::types::Publish {
        retain: true,
        ..*message("a", 1, 1)
    })));
    let none = v5::PublishProperties::default;
    let alias = v5::PublishProperties { topic_alias: std::num::NonZeroU16::new(1), ..none() };
    let ids = vec![std::num::NonZeroU32::new(1).unwrap()];
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        ("[MQTT-3.1.0-2] second CONNECT", five(connect5("c").into()), 0x82),
        ("[MQTT-3.1.2-26] alias beyond the maximum", with_properties(alias), 0x94),
        ("[MQTT-3.2.2-14] retain", retained, 0x9A),
        ("[MQTT-3.3.1-2] DUP with QoS 0", vec![0x38, 5, 0, 1, b'a', 0, b'x'], 0x81),
        ("[MQTT-3.3.1-4] QoS 3", vec![0x36, 7, 0, 1, b'a', 0, 1, 0, b'x'], 0x81),
        ("[MQTT-2.2.1-2] packet id 0", vec![0x32, 7, 0, 1, b'a', 0, 0, 0, b'x'], 0x81),
        ("[MQTT-3.3.2-1] topic not UTF-8", vec![0x30, 4, 0, 1, 0xff, 0], 0x81),
        ("[MQTT-3.3.2-1] empty topic", vec![0x30, 3, 0, 0, 0], 0x90),
        ("[MQTT-3.3.2-2] wildcard", publish5("a/+", 1, 1), 0x90),
        ("[MQTT-1.5.4-2] NUL", publish5("a\0", 1, 1), 0x90),
        (
            "[MQTT-3.3.2-14] response topic",
            with_properties(v5::PublishProperties { response_topic: Some("a/#".into()), ..none() }),
            0x82,
        ),
        (
            "[MQTT-3.3.4-6] subscription identifier",
            with_properties(v5::PublishProperties { subscription_ids: ids, ..none() }),
            0x82,
        ),
        ("[MQTT-3.6.1-1] flags of PUBREL", vec![0x60, 2, 0, 1], 0x81),
        ("[MQTT-3.8.1-1] flags of SUBSCRIBE", vec![0x80, 7, 0, 1, 0, 0, 1, b'a', 1], 0x81),
        ("[MQTT-3.8.3-2] no filter", vec![0x82, 3, 0, 1, 0], 0x82),
        ("[MQTT-3.8.3-5] reserved options", vec![0x82, 7, 0, 1, 0, 0, 1, b'a', 0xC1], 0x81),
        ("identifiers are not available", vec![0x82, 9, 0, 1, 2, 0x0B, 1, 0, 1, b'a', 1], 0xA1),
        ("[MQTT-3.10.1-1] flags of UNSUBSCRIBE", vec![0xA0, 6, 0, 1, 0, 0, 1, b'a'], 0x81),
        ("[MQTT-3.14.1-1] flags of DISCONNECT", vec![0xE1, 0], 0x81),
        ("[MQTT-3.14.2-2] expiry from zero", vec![0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9], 0x82),
        ("[MQTT-4.12.0-6] AUTH without method", vec![0xF0, 0], 0x82),
        ("a packet of servers", vec![0x20, 3, 0, 0, 0], 0x82),
        (
            "[MQTT-3.1.2-24] longer than Maximum Packet Size",
            vec![0x30, 0xff, 0xff, 0xff, 0x7f],
            0x95,
        ),
        ("a length without an end", vec![0x30, 0xff, 0xff, 0xff, 0xff], 0x81),
    ];
    for (statement, bytes, code) in cases {
        let mut rig = Rig::new();
        let (number, _) = rig.v5(connect5("c"));
        let answers = rig.send(number, &bytes);
        assert_eq!(disconnect_code(&answers), Some(code), "{statement}");
        assert!(rig.ended(number).is_some() && rig.records.is_empty(), "{statement}");
    }
}

/// Guarantees: an MQTT 3.1.1 connection ends without a word, and what it sent is not recorded.
#[test]
fn a_packet_that_is_wrong_ends_an_mqtt_3_connection() {
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("[MQTT-3.1.0-2] second CONNECT", three(connect3("c").into())),
        ("[MQTT-3.3.1-2] DUP with QoS 0", vec![0x38, 4, 0, 1, b'a', b'x']),
        ("[MQTT-3.3.1-4] QoS 3", vec![0x36, 6, 0, 1, b'a', 0, 1, b'x']),
        ("[MQTT-2.3.1-1] packet id 0", vec![0x32, 6, 0, 1, b'a', 0, 0, b'x']),
        ("[MQTT-3.3.2-2] wildcard", publish3("a/#", 1, 1)),
        ("[MQTT-4.7.3-1] empty topic", vec![0x30, 2, 0, 0]),
        ("[MQTT-4.7.3-2] NUL", publish3("a\0", 1, 1)),
        ("[MQTT-3.3.5-2] not permitted", publish3("$SYS/a", 1, 1)),
        ("[MQTT-3.6.1-1] flags of PUBREL", vec![0x60, 2, 0, 1]),
        ("[MQTT-3.8.1-1] flags of SUBSCRIBE", vec![0x80, 6, 0, 1, 0, 1, b'a', 1]),
        ("[MQTT-3.8.3-3] no filter", vec![0x82, 2, 0, 1]),
        ("[MQTT-3.8.3-4] reserved bits of the QoS", vec![0x82, 6, 0, 1, 0, 1, b'a', 0x81]),
        ("[MQTT-3.10.3-2] no filter", vec![0xA2, 2, 0, 1]),
        ("PINGREQ with a body", vec![0xC0, 1, 0]),
        ("[MQTT-3.14.1-1] flags of DISCONNECT", vec![0xE1, 0]),
        ("[MQTT-2.2.2-2] AUTH is of MQTT 5", vec![0xF0, 0]),
    ];
    for (statement, bytes) in cases {
        let mut rig = Rig::new();
        let (number, connack) = rig.v3(connect3("c"));
        assert_eq!(connack, [0x20, 2, 0, 0], "{statement}");
        let answers = rig.send(number, &bytes);
        assert_eq!(answers, [0; 0], "{statement}");
        assert!(rig.ended(number).is_some() && rig.records.is_empty(), "{statement}");
    }
}

/// [MQTT-3.2.2-3], 3.2.2.3: CONNACK declares what this endpoint does not do.
#[test]
fn the_connack_declares_what_is_not_done() {
    let mut rig = Rig::new();
    let asked =
        v5::Connect { keep_alive: 0, session_expiry_interval_secs: u32::MAX, ..connect5("") };
    let (_, answers) = rig.v5(asked);
    let [v5::Packet::ConnectAck(ack)] = &read5(&answers)[..] else { panic!("{answers:x?}") };
    let declared = (
        (ack.reason_code, ack.session_present, ack.receive_max.get(), ack.max_packet_size),
        (ack.retain_available, ack.wildcard_subscription_available, ack.topic_alias_max),
        (ack.shared_subscription_available, ack.subscription_identifiers_available),
        (ack.server_keepalive_sec, ack.session_expiry_interval_secs),
        ack.assigned_client_id.as_deref(),
    );
    let success = v5::ConnectAckReason::Success;
    let expected = (
        (success, false, 1000, Some(384 << 10)),
        (false, false, 0),
        (false, false),
        (Some(3600), Some(86_400)),
        // [MQTT-3.1.3-6], [MQTT-3.1.3-7] a client without a name gets one.
        Some("assigned-1"),
    );
    assert_eq!(declared, expected);
}

/// [MQTT-3.8.4-1], [MQTT-3.8.4-6] one code for each filter, in their order; [MQTT-3.11.3-1] the same for UNSUBSCRIBE.
#[test]
fn only_the_commands_of_the_device_can_be_subscribed_to() {
    let filters =
        ["tianlu/v1/default/s/d/cmd", "tianlu/v1/default/s/e/cmd", "up/#", "$share/g/up/d", "up/d"];
    let mut rig = Rig::new();
    rig.identity = Ok(super::rig::device("d"));
    let options = v5::SubscriptionOptions { qos: v5::QoS::ExactlyOnce, ..Default::default() };
    let topic_filters = filters.iter().map(|filter| ((*filter).into(), options)).collect();
    let packet_id = std::num::NonZeroU16::new(7).unwrap();
    let asked = v5::Subscribe { packet_id, id: None, user_properties: Vec::new(), topic_filters };
    let (number, _) = rig.v5(connect5("c"));
    let answers = rig.send(number, &five(asked.into()));
    assert_eq!(answers, [0x90, 8, 0, 7, 0, 1, 0x87, 0xA2, 0x9E, 0x87]);
    let gone = vec![0xA2, 33, 0, 8, 0, 0, 1, b'x', 0, 25];
    let answers = rig.send(number, &[&gone[..], filters[0].as_bytes()].concat());
    assert_eq!(answers, [0xB0, 5, 0, 8, 0, 0x11, 0], "[MQTT-3.11.3-2] in the order of the filters");

    let (number, _) = rig.v3(connect3("c3"));
    let asked = [&[0x82, 34, 0, 9, 0, 25], filters[0].as_bytes(), &[2, 0, 1, b'x', 0]].concat();
    assert_eq!(asked.len(), 36);
    assert_eq!(rig.send(number, &asked), [0x90, 4, 0, 9, 1, 0x80]);
    assert_eq!(rig.send(number, &[0xA2, 5, 0, 10, 0, 1, b'x']), [0xB0, 2, 0, 10]);
    assert_eq!(rig.send(number, &[0xC0, 0]), [0xD0, 0], "[MQTT-3.12.4-1]");
    let identifier = rig.records.len();
    assert_eq!(identifier, 0);
}
