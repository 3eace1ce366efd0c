//! The consumer against a real Mosquitto.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use rumqttc::QoS;

use super::oversize::KEPT;
use super::test_rig::{Broker, Rig, in_both_protocols, number, numbered, within};
use super::{Credentials, Protocol, Secret};
use crate::source::{LinkState, SourceId};
use crate::test_port::free_port;

in_both_protocols!(
    ten_thousand_messages_arrive_once_and_in_order,
    what_was_not_acknowledged_comes_again_after_a_crash_and_nothing_else,
    a_token_from_before_the_brokers_restart_acknowledges_nothing_after_it,
    what_could_not_be_made_durable_comes_again_when_asked_for,
    a_lost_session_is_subscribed_again,
    a_topic_that_is_new_in_the_configuration_is_subscribed_in_the_kept_session,
    a_full_buffer_disconnects_in_order_and_comes_back_when_there_is_room,
    a_message_of_any_length_passes,
    messages_of_every_quality_of_service_arrive_also_those_queued_for_an_older_subscription,
    a_wrong_password_is_named_with_its_remedy_and_alarmed_when_it_stays,
    two_processes_with_one_client_id_are_told_so,
    silence_is_an_alarm_until_something_comes,
    a_broker_that_is_not_there_is_named_with_its_address,
    a_shared_subscription_gives_each_message_to_one_of_its_instances,
    a_small_window_of_the_broker_waits_for_no_timer,
);

fn numbers(uplinks: &[crate::source::Incoming]) -> BTreeSet<usize> {
    uplinks.iter().map(number).collect()
}

async fn ten_thousand_messages_arrive_once_and_in_order(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    let taking = async {
        let mut got = Vec::new();
        while got.len() < 10_000 {
            let some = rig.take(1).await;
            rig.acknowledge(&some);
            got.extend(some);
        }
        got
    };
    let (got, ()) =
        tokio::join!(taking, broker.publish("up/a", QoS::AtLeastOnce, numbered(0..10_000)));
    assert!(got.iter().map(number).eq(0..10_000));
    assert!(got.iter().all(|uplink| uplink.topic() == "up/a" && uplink.source == SourceId(3)));
    assert!(got.iter().all(|uplink| uplink.ack.is_some() && uplink.oversize.is_none()));
    assert_eq!(rig.intake.acks.unacked(), 0);
    assert_eq!(rig.stop().await, []);
}

async fn what_was_not_acknowledged_comes_again_after_a_crash_and_nothing_else(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(0..100)).await;
    let got = rig.take(100).await;
    rig.acknowledge(&got[..40]);
    // The end in order waits for the rest, in vain; the forty are out then.
    assert_eq!(rig.intake.acks.unacked(), 60);
    assert_eq!(rig.stop().await, []);

    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    assert_eq!(numbers(&rig.take(60).await), (40..100).collect());
    rig.kill().await;

    let mut rig = Rig::start(broker.config(protocol));
    let again = rig.take(60).await;
    assert_eq!(numbers(&again), (40..100).collect());
    rig.acknowledge(&again);
    assert_eq!(rig.stop().await, []);
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(100..101)).await;
    assert_eq!(numbers(&rig.take(1).await), BTreeSet::from([100]), "all others were acknowledged");
    rig.kill().await;
}

async fn a_token_from_before_the_brokers_restart_acknowledges_nothing_after_it(protocol: Protocol) {
    let Some(mut broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(0..50)).await;
    let old = rig.take(50).await;
    for _ in 0..2 {
        broker.stop();
        rig.down().await;
        broker.resume();
        rig.subscribed().await;
        let again = rig.take(50).await;
        assert_eq!(numbers(&again), (0..50).collect());
        rig.acknowledge(&old);
        assert_eq!(rig.intake.acks.unacked(), 50, "the packet ids are the same, the epoch is not");
        assert_ne!(again[0].ack, old[0].ack);
    }
    rig.kill().await;
}

async fn what_could_not_be_made_durable_comes_again_when_asked_for(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(0..10)).await;
    let first = rig.take(10).await;
    rig.acknowledge(&first[..3]);
    rig.intake.acks.send_again();
    let again = rig.take(7).await;
    assert_eq!(numbers(&again), (3..10).collect());
    assert!(again[0].ack.unwrap().epoch() > first[0].ack.unwrap().epoch());
    rig.acknowledge(&again);
    assert_eq!(rig.stop().await, []);
}

async fn a_lost_session_is_subscribed_again(protocol: Protocol) {
    let Some(mut broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    broker.forget();
    rig.down().await;
    broker.resume();
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(7..8)).await;
    assert_eq!(numbers(&rig.take(1).await), BTreeSet::from([7]));
    rig.kill().await;
}

async fn a_topic_that_is_new_in_the_configuration_is_subscribed_in_the_kept_session(
    protocol: Protocol,
) {
    let Some(broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    rig.stop().await;
    let mut config = broker.config(protocol);
    config.topics.push("more/#".to_owned());
    let mut rig = Rig::start(config);
    rig.subscribed().await;
    broker.publish("more/a/b", QoS::AtLeastOnce, numbered(1..2)).await;
    assert_eq!(rig.take(1).await[0].topic(), "more/a/b");
    rig.kill().await;
}

async fn a_full_buffer_disconnects_in_order_and_comes_back_when_there_is_room(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut config = broker.config(protocol);
    config.buffer_bytes = 1 << 20;
    config.blocked_after = Duration::from_millis(300);
    let mut rig = Rig::start(config);
    rig.subscribed().await;
    let padded = |number: usize| format!("{number:20000}").into_bytes();
    broker.publish("up/a", QoS::AtLeastOnce, (0..200).map(padded)).await;
    rig.link("block", |state| *state == LinkState::Blocked).await;
    let mut got = BTreeSet::new();
    while got.len() < 200 {
        let some = rig.take(1).await;
        rig.acknowledge(&some);
        got.extend(numbers(&some));
    }
    assert_eq!(got, (0..200).collect());
    rig.subscribed().await;
    rig.stop().await;
}

async fn a_message_of_any_length_passes(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    let lengths = [20_000, 300_000, 5_000_000, 20_000_000, 10];
    broker.publish("up/a", QoS::AtLeastOnce, lengths.map(|len| vec![b'1'; len])).await;
    let got = rig.take(5).await;
    let seen: Vec<_> = got.iter().map(|uplink| (uplink.payload.len(), uplink.oversize)).collect();
    assert_eq!(
        seen,
        [(20_000, None), (300_000, None), (5_000_000, None), (KEPT, Some(20_000_000)), (10, None)]
    );
    rig.acknowledge(&got);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_told_the_limit_drops_longer_messages_by_itself() {
    let Some(broker) = Broker::start("") else { return };
    let mut config = broker.config(Protocol::V5);
    config.announce_packet_limit = true;
    let mut rig = Rig::start(config);
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, [17 << 20, 1].map(|len| vec![b'1'; len])).await;
    assert_eq!(rig.take(1).await[0].payload.len(), 1);
    rig.kill().await;
}

async fn messages_of_every_quality_of_service_arrive_also_those_queued_for_an_older_subscription(
    protocol: Protocol,
) {
    let Some(broker) = Broker::start("") else { return };
    let older = {
        let mut options = rumqttc::MqttOptions::new("tianlu-test", ("127.0.0.1", broker.port));
        options.set_clean_start(false).set_session_expiry_interval(Some(u32::MAX));
        rumqttc::AsyncClient::builder(options).build()
    };
    let (client, mut eventloop) = older;
    client.try_subscribe("up/+", QoS::ExactlyOnce).unwrap();
    while !matches!(
        eventloop.poll().await.unwrap(),
        rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_))
    ) {}
    client.try_disconnect_now().unwrap();
    while eventloop.poll().await.is_ok() {}
    broker.publish("up/a", QoS::ExactlyOnce, numbered(0..3)).await;

    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    let got = rig.take(3).await;
    assert_eq!(numbers(&got), (0..3).collect());
    rig.acknowledge(&got);
    broker.publish("up/a", QoS::AtMostOnce, numbered(3..4)).await;
    let last = rig.take(1).await;
    assert_eq!((number(&last[0]), last[0].ack), (3, None));
    rig.stop().await;
    let mut rig = Rig::start(broker.config(protocol));
    rig.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(4..5)).await;
    assert_eq!(numbers(&rig.take(1).await), BTreeSet::from([4]), "the three do not come again");
    rig.kill().await;
}

async fn a_wrong_password_is_named_with_its_remedy_and_alarmed_when_it_stays(protocol: Protocol) {
    let Some(mut broker) = Broker::start("") else { return };
    broker.stop();
    broker.file("acl", b"user field\ntopic read up/#\n");
    let users = broker.file("users", b"field:geheim\n");
    assert!(Command::new("mosquitto_passwd").arg("-U").arg(&users).status().unwrap().success());
    broker.extra("password_file DIR/users\nacl_file DIR/acl");
    broker.resume();
    let with = |password: &str| {
        let mut config = broker.config(protocol);
        let password = Some(Secret::new(password.as_bytes().to_vec()));
        config.credentials = Some(Credentials { username: Some("field".to_owned()), password });
        config
    };
    let mut rig = Rig::start(with("falsch"));
    let (reason, remedy) = rig.down().await;
    assert!(reason.contains("field") && remedy.contains("password_file"), "{reason}; {remedy}");
    within("alarm", rig.intake.alarms.wait_for(|alarms| alarms.repeated.is_some())).await.unwrap();
    rig.kill().await;

    let mut rig = Rig::start(with("geheim"));
    rig.subscribed().await;
    rig.kill().await;
}

async fn two_processes_with_one_client_id_are_told_so(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut first = Rig::start(broker.config(protocol));
    first.subscribed().await;
    let mut second = Rig::start(broker.config(protocol));
    second.subscribed().await;
    let (reason, remedy) = first.down().await;
    // Mosquitto 2.0 closes the connection without the reason that MQTT 5 has for it.
    assert!(remedy.contains("client_id"), "{reason}; {remedy}");
    first.kill().await;
    second.kill().await;
}

async fn silence_is_an_alarm_until_something_comes(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let mut config = broker.config(protocol);
    config.silence_after = Some(Duration::from_secs(3));
    let mut rig = Rig::start(config);
    within("alarm", rig.intake.alarms.wait_for(|alarms| alarms.silence.is_some())).await.unwrap();
    // Three seconds after the message the alarm is back: whoever looks then would miss its end.
    let ended = async {
        within("end of the alarm", rig.intake.alarms.wait_for(|alarms| alarms.silence.is_none()))
            .await
            .unwrap();
    };
    tokio::join!(ended, broker.publish("up/a", QoS::AtLeastOnce, numbered(0..1)));
    rig.kill().await;
}

async fn a_broker_that_is_not_there_is_named_with_its_address(protocol: Protocol) {
    let port = free_port();
    let address = super::Address { host: "127.0.0.1".to_owned(), port, tls: None };
    let topics = vec!["a".to_owned()];
    let mut config = super::MqttConfig::new(SourceId(0), address, "t".to_owned(), topics);
    config.protocol = protocol;
    let mut rig = Rig::start(config);
    let (reason, remedy) = rig.down().await;
    assert!(
        reason.contains(&format!("mqtt://127.0.0.1:{port}")) && remedy.contains("url"),
        "{reason}; {remedy}"
    );
    rig.stop().await;
}

/// Scenario: two consumers in one `$share` group while 400 messages come in. Guarantees: both get some, and
/// each message reaches exactly one of them.
async fn a_shared_subscription_gives_each_message_to_one_of_its_instances(protocol: Protocol) {
    let Some(broker) = Broker::start("") else { return };
    let instance = |name: &str| {
        let mut config = broker.config(protocol);
        config.client_id = name.to_owned();
        config.topics = vec!["$share/farm/up/+".to_owned()];
        Rig::start(config)
    };
    let (mut first, mut second) = (instance("one"), instance("two"));
    first.subscribed().await;
    second.subscribed().await;
    broker.publish("up/a", QoS::AtLeastOnce, numbered(0..400)).await;
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    while of_first.len() + of_second.len() < 400 {
        let batch = tokio::select! {
            batch = within("batch", first.intake.batches.recv()) => (&first, &mut of_first, batch),
            batch = within("batch", second.intake.batches.recv()) => (&second, &mut of_second, batch),
        };
        let (rig, into, batch) = batch;
        let batch = batch.unwrap();
        rig.acknowledge(batch.uplinks());
        into.extend(batch.uplinks().iter().map(number));
    }
    assert!(!of_first.is_empty() && !of_second.is_empty());
    let all: BTreeSet<usize> = of_first.iter().chain(&of_second).copied().collect();
    assert_eq!((all.len(), of_first.len() + of_second.len()), (400, 400));
    first.stop().await;
    second.stop().await;
}

/// Scenario: Mosquitto with a window of 16, 20 or 32 and a backlog of 2,000 messages; a pause after a read is
/// half a second. Guarantees: once a few pauses have told the window there are no more of them.
async fn a_small_window_of_the_broker_waits_for_no_timer(protocol: Protocol) {
    for window in [16_u16, 20, 32] {
        let Some(broker) = Broker::start(&format!("max_inflight_messages {window}")) else {
            return;
        };
        let mut config = broker.config(protocol);
        config.pause = Duration::from_millis(500);
        if protocol == Protocol::V5 {
            // Mosquitto's window for MQTT 5 is what we tell it.
            config.receive_maximum = window.try_into().unwrap();
        }
        let mut rig = Rig::start(config.clone());
        rig.subscribed().await;
        rig.stop().await;
        broker.publish("up/a", QoS::AtLeastOnce, numbered(0..2000)).await;
        let mut rig = Rig::start(config);
        let mut got = BTreeSet::new();
        while got.len() < 2000 {
            let some = rig.take(1).await;
            rig.acknowledge(&some);
            got.extend(numbers(&some));
        }
        let pauses = rig.pauses();
        assert!(pauses < 16, "{pauses} pauses for 2,000 messages through a window of {window}");
        rig.stop().await;
    }
}
