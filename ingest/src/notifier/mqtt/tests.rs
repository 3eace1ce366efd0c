use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use rumqttc::mqttbytes::v5::Publish;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::super::fake::T0;
use super::super::{AlertState, Severity};
use super::*;
use crate::mqtt::Secret;
use crate::test_port::free_port;

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const BODY: &str = r#"{"id":"a1","state":"firing"}"#;

/// Scenario: a real broker with a subscriber; then the broker dies and comes back.
/// Guarantees: delivered means PUBACK and the subscriber has the exact line with its key; without the broker
/// the answer is to retry, soon; after the reconnect it is delivered again.
#[tokio::test]
async fn a_line_is_delivered_when_the_broker_acknowledged_it() {
    let Some(mut broker) = Broker::start(free_port(), "").await else { return };
    let mut subscriber = Subscriber::start(broker.port).await;
    let mut target = MqttTarget::new(broker.url(), "alerts/田路", "tianlu-notify");
    target.timeout = Duration::from_secs(5);
    let sender = MqttSender::start(&target).unwrap();
    let answer = sender.send(&letter()).await;
    assert_eq!(answer, Answer::Delivered { receipt: "PUBACK Success".into() });
    let got = subscriber.next().await;
    assert_eq!((&got.topic[..], &got.payload[..]), ("alerts/田路".as_bytes(), BODY.as_bytes()));
    let properties = got.properties.unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    let key = ("Idempotency-Key".to_owned(), "a1:firing".to_owned());
    assert_eq!(properties.user_properties, [key]);

    broker.stop().await;
    let mut link = sender.link.clone();
    link.wait_for(|link| *link != Link::Up).await.unwrap();
    let quick = MqttTarget { timeout: Duration::from_millis(100), ..target };
    let unreached = MqttSender::start(&MqttTarget { client_id: "other".into(), ..quick }).unwrap();
    let answer = unreached.send(&letter()).await;
    let Answer::Retry { reason, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(reason.code, ReasonCode::Unreachable, "{reason:?}");

    let broker = Broker::start(broker.port, "").await.unwrap();
    let answer = sender.send(&letter()).await;
    assert!(matches!(answer, Answer::Delivered { .. }), "{answer:?}");
    sender.close().await;
    assert_ne!(*sender.link.borrow(), Link::Up);
    drop(broker);
}

/// Scenario: the broker's access list forbids the topic.
/// Guarantees: refused for good, with the broker's reason.
#[tokio::test]
async fn a_publish_the_broker_forbids_is_refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let acl = dir.path().join("acl");
    std::fs::write(&acl, "topic write other/#\n").unwrap();
    let more = format!("acl_file {}\n", acl.display());
    let Some(broker) = Broker::start(free_port(), &more).await else { return };
    let sender =
        MqttSender::start(&MqttTarget::new(broker.url(), "alerts", "tianlu-notify")).unwrap();
    let answer = sender.send(&letter()).await;
    let reason = Reason::new(ReasonCode::Broker, "NotAuthorized");
    assert_eq!(answer, Answer::Refused { reason });
}

#[test]
fn acknowledgements_are_judged_by_their_reason() {
    use PubAckReason::*;
    let retry = |reason: PubAckReason| retry(ReasonCode::Broker, &format!("{reason:?}"));
    let refused = |reason: PubAckReason| Answer::Refused {
        reason: Reason::new(ReasonCode::Broker, &format!("{reason:?}")),
    };
    let table = [
        (Success, Answer::Delivered { receipt: "PUBACK Success".into() }),
        (
            NoMatchingSubscribers,
            Answer::Delivered { receipt: "PUBACK NoMatchingSubscribers".into() },
        ),
        (UnspecifiedError, retry(UnspecifiedError)),
        (ImplementationSpecificError, retry(ImplementationSpecificError)),
        (PacketIdentifierInUse, retry(PacketIdentifierInUse)),
        (QuotaExceeded, retry(QuotaExceeded)),
        (NotAuthorized, refused(NotAuthorized)),
        (TopicNameInvalid, refused(TopicNameInvalid)),
        (PayloadFormatInvalid, refused(PayloadFormatInvalid)),
    ];
    for (reason, expected) in table {
        let mut ack = rumqttc::mqttbytes::v5::PubAck::new(1, None);
        ack.reason = reason;
        assert_eq!(judge(Ok(PublishResult::Qos1(ack))), expected, "{reason:?}");
    }
    let lost = judge(Err(PublishNoticeError::SessionReset));
    assert!(matches!(lost, Answer::Retry { .. }), "{lost:?}");
}

#[tokio::test]
async fn targets_that_cannot_work_are_refused_and_credentials_are_not_shown() {
    for url in [
        "",
        "127.0.0.1:1883",
        "http://h",
        "mqtt://",
        "mqtt://u:p@h",
        "mqtt://u@h",
        "mqtt://h/path",
        "mqtt://h?x=1",
    ] {
        let made = MqttSender::start(&MqttTarget::new(url, "alerts", "c"));
        assert!(matches!(made, Err(MqttError::Url)), "{url}");
    }
    for topic in ["", "alerts/#", "a/+/b"] {
        let made = MqttSender::start(&MqttTarget::new("mqtt://h", topic, "c"));
        assert!(matches!(made, Err(MqttError::Topic(_))), "{topic}");
    }
    let mut target = MqttTarget::new("mqtt://127.0.0.1:1", "alerts", "c");
    let password = Some(Secret::new(b"pa55".to_vec()));
    target.credentials = Some(Credentials { username: Some("farm".into()), password });
    let sender = MqttSender::start(&target).unwrap();
    assert!(!format!("{target:?} {sender:?}").contains("pa55"));
}

fn letter() -> Letter {
    Letter {
        key: 0,
        id: "a1".into(),
        state: AlertState::Firing,
        severity: Severity::Yellow,
        body: Bytes::from_static(BODY.as_bytes()),
        accepted_at: T0,
        tries: 0,
    }
}

/// The real Mosquitto, started by the test.
struct Broker {
    port: u16,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Broker {
    /// `None` where Mosquitto is not installed; in CI that is a failure.
    async fn start(port: u16, more: &str) -> Option<Self> {
        if !Path::new(MOSQUITTO).exists() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{MOSQUITTO} is not installed");
            eprintln!("skipped: {MOSQUITTO} is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mosquitto.conf");
        let user = "user root\n"; // Mosquitto gives up root, and then cannot read the test's files.
        std::fs::write(
            &file,
            format!("{user}listener {port} 127.0.0.1\nallow_anonymous true\n{more}"),
        )
        .unwrap();
        let mut command = Command::new(MOSQUITTO);
        command
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("running") {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(Self { port, child, _dir: dir });
            }
        }
        panic!("Mosquitto did not start");
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }
}

struct Subscriber {
    events: EventLoop,
    /// The connection ends with the last client.
    _client: AsyncClient,
}

impl Subscriber {
    async fn start(port: u16) -> Self {
        let options = MqttOptions::new("subscriber", ("127.0.0.1", port));
        let (client, events) = AsyncClient::builder(options).capacity(10).build();
        client.subscribe("alerts/#", QoS::AtLeastOnce).await.unwrap();
        let mut subscriber = Self { events, _client: client };
        while !matches!(subscriber.events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_)))
        {
        }
        subscriber
    }

    async fn next(&mut self) -> Publish {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await.unwrap() {
                return publish;
            }
        }
    }
}
