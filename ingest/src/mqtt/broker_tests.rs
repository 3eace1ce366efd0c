//! The consumer against a real Mosquitto.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use rumqttc::QoS;

use super::oversize::KEPT;
use super::test_rig::{Broker, Rig, number, numbered, within};
use super::{ClientCertificate, Credentials, Protocol, Secret, TlsFiles};
use crate::source::{LinkState, SourceId};

/// Runs each scenario in both protocols.
macro_rules! in_both_protocols {
    ($($scenario:ident),* $(,)?) => {
        $(
            mod $scenario {
                use super::Protocol;

                #[tokio::test(flavor = "multi_thread")]
                async fn mqtt_5() {
                    super::$scenario(Protocol::V5).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn mqtt_3_1_1() {
                    super::$scenario(Protocol::V3).await;
                }
            }
        )*
    };
}

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
    tls_with_a_client_certificate_works_and_a_wrong_authority_is_named,
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

async fn a_topic_that_is_new_in_the_configuration_is_subscribed_in_the_kept_session(protocol: Protocol) {
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

async fn messages_of_every_quality_of_service_arrive_also_those_queued_for_an_older_subscription(protocol: Protocol) {
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
        config.credentials = Some(Credentials { username: "field".to_owned(), password });
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
    config.silence_after = Some(Duration::from_millis(300));
    let mut rig = Rig::start(config);
    within("alarm", rig.intake.alarms.wait_for(|alarms| alarms.silence.is_some())).await.unwrap();
    broker.publish("up/a", QoS::AtLeastOnce, numbered(0..1)).await;
    within("end of the alarm", rig.intake.alarms.wait_for(|alarms| alarms.silence.is_none()))
        .await
        .unwrap();
    rig.kill().await;
}

async fn a_broker_that_is_not_there_is_named_with_its_address(protocol: Protocol) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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

/// Makes an authority and certificates for broker and client; `false` where there is no `openssl`.
fn certificates(dir: &std::path::Path) -> bool {
    let script = "set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        for name in broker client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > $name.ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 2 -extfile $name.ext
        done";
    Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .output()
        .is_ok_and(|made| made.status.success())
}

async fn tls_with_a_client_certificate_works_and_a_wrong_authority_is_named(protocol: Protocol) {
    let Some(mut broker) = Broker::start("") else { return };
    broker.stop();
    if !certificates(broker.dir.path()) {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "openssl is missing");
        println!("skipped: openssl is not installed");
        return;
    }
    broker.extra("cafile DIR/ca.pem\ncertfile DIR/broker.pem\nkeyfile DIR/broker.key\nrequire_certificate true");
    broker.resume();
    let path = |name: &str| broker.dir.path().join(name);
    let files = |ca: &str| TlsFiles {
        ca_file: Some(path(ca)),
        client: Some(ClientCertificate {
            cert_file: path("client.pem"),
            key_file: path("client.key"),
        }),
    };
    let mut config = broker.config(protocol);
    config.address.tls = Some(files("ca.pem"));
    let mut rig = Rig::start(config.clone());
    rig.subscribed().await;
    let publishing = Command::new("mosquitto_pub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &broker.port.to_string(),
            "-t",
            "up/a",
            "-q",
            "1",
            "-m",
            "42",
        ])
        .arg("--cafile")
        .arg(path("ca.pem"))
        .arg("--cert")
        .arg(path("client.pem"))
        .arg("--key")
        .arg(path("client.key"))
        .status();
    assert!(publishing.unwrap().success());
    let got = rig.take(1).await;
    assert_eq!(numbers(&got), BTreeSet::from([42]));
    rig.acknowledge(&got);
    assert_eq!(rig.stop().await, []);

    config.address.tls = Some(files("client.pem"));
    let mut rig = Rig::start(config);
    let (reason, remedy) = rig.down().await;
    assert!(reason.contains("TLS") && remedy.contains("ca_file"), "{reason}; {remedy}");
    rig.kill().await;
}
