//! Over loopback: the loop, the sockets, TLS, passwords.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use bytes::Bytes;
use rmqtt_codec::v5;
use telemetry::topic::TopicPattern;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::{Commands, Credentials, Limits, Listener, ListenerConfig, SetUpError};
use super::rig::{connect3, connect5, disconnect_code, five, publish3, publish5, three};
use crate::source::{Batch, Intake, LinkState, SourceId};

pub(super) struct Running {
    pub(super) address: SocketAddr,
    intake: Intake,
    commands: Commands,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(super) fn config() -> ListenerConfig {
    let patterns = vec![TopicPattern::parse("up/{device}").unwrap()];
    ListenerConfig::new(SourceId(3), "127.0.0.1:0".parse().unwrap(), patterns)
}

pub(super) async fn start(config: ListenerConfig) -> Running {
    let (listener, mut intake, commands) = Listener::bind(config).unwrap();
    let address = listener.local_addr();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(listener.run(stopped));
    intake.link.wait_for(|state| *state == LinkState::Subscribed).await.unwrap();
    Running { address, intake, commands, stop, task }
}

impl Running {
    async fn client(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    pub(super) async fn batch(&mut self) -> Batch {
        within(self.intake.batches.recv()).await.unwrap()
    }

    pub(super) fn acknowledge(&self, batch: &Batch) {
        self.intake.acks.acknowledge(&batch.tokens().collect::<Vec<_>>());
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut answer = vec![0; count];
    within(stream.read_exact(&mut answer)).await.unwrap();
    answer
}

pub(super) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A connection that ends while something is on its way may end with a reset.
    drop(within(stream.read_to_end(&mut answer)).await);
    answer
}

#[test]
fn an_address_that_is_taken_is_an_error_unless_any_port_will_do() {
    let other = StdListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let bind = |or_any_port| {
        let mut config = config();
        (config.bind, config.or_any_port) = (taken, or_any_port);
        Listener::bind(config).map(|(listener, ..)| listener.local_addr())
    };
    assert!(matches!(bind(false), Err(SetUpError::Bind { address, .. }) if address == taken));
    let elsewhere = bind(true).unwrap();
    assert_eq!(elsewhere.ip(), taken.ip());
    assert_ne!(elsewhere.port(), taken.port());
}

#[tokio::test]
async fn a_publish_is_acknowledged_after_the_journal_has_it_and_not_before() {
    let mut running = start(config()).await;
    let mut stream = running.client(&three(connect3("c").into())).await;
    assert_eq!(answer(&mut stream, 4).await, [0x20, 2, 0, 0]);
    stream.write_all(&[publish3("up/a", 1, 7), publish3("up/a", 0, 0)].concat()).await.unwrap();
    let batch = running.batch().await;
    assert_eq!(batch.uplinks().len(), 2, "one turn, one batch");
    assert_eq!(batch.uplinks()[0].topic(), "up/a");
    assert_eq!(batch.uplinks()[0].source, SourceId(3));
    assert_eq!(running.intake.acks.unacked(), 1);
    stream.write_all(&[0xC0, 0]).await.unwrap();
    assert_eq!(answer(&mut stream, 2).await, [0xD0, 0], "no PUBACK came before the PINGRESP");
    running.acknowledge(&batch);
    assert_eq!(answer(&mut stream, 4).await, [0x40, 2, 0, 7]);
    assert_eq!(running.intake.acks.unacked(), 0);
    running.stop.send_replace(true);
    within(running.task).await.unwrap();
    assert_eq!(rest(&mut stream).await, [0; 0]);
}

#[tokio::test]
async fn a_stop_waits_for_what_was_handed_over_and_says_so() {
    let mut running = start(config()).await;
    let mut stream =
        running.client(&[five(connect5("c").into()), publish5("up/a", 1, 7)].concat()).await;
    let batch = running.batch().await;
    running.stop.send_replace(true);
    running.acknowledge(&batch);
    let answers = rest(&mut stream).await;
    within(running.task).await.unwrap();
    let puback = answers.windows(4).any(|bytes| bytes == [0x40, 2, 0, 7]);
    assert!(puback, "{answers:x?}");
    assert_eq!(disconnect_code(&answers), Some(0x8B));
}

#[tokio::test]
async fn records_that_are_not_durable_end_the_connections_that_wait() {
    let mut running = start(config()).await;
    let mut waits =
        running.client(&[five(connect5("c").into()), publish5("up/a", 1, 7)].concat()).await;
    let mut idle = running.client(&three(connect3("idle").into())).await;
    let batch = running.batch().await;
    answer(&mut idle, 4).await;
    running.intake.acks.send_again();
    assert_eq!(disconnect_code(&rest(&mut waits).await), Some(0x89));
    running.acknowledge(&batch);
    idle.write_all(&publish3("up/b", 1, 9)).await.unwrap();
    let batch = running.batch().await;
    running.acknowledge(&batch);
    assert_eq!(answer(&mut idle, 4).await, [0x40, 2, 0, 9], "the next epoch goes on");
}

/// Nothing comes although devices may connect: a network that is gone, or all devices of a farm.
#[tokio::test]
async fn silence_is_an_alarm_until_something_comes() {
    let mut running =
        start(ListenerConfig { silence_after: Some(Duration::from_secs(3)), ..config() }).await;
    let mut alarms = running.intake.alarms.clone();
    within(alarms.wait_for(|alarms| alarms.silence.is_some())).await.unwrap();
    let bytes = [three(connect3("c").into()), publish3("up/a", 1, 7)].concat();
    // Three seconds after the message the alarm is back: whoever looks then would miss its end.
    let ended = async {
        within(alarms.wait_for(|alarms| alarms.silence.is_none())).await.unwrap();
    };
    let published = async {
        let stream = running.client(&bytes).await;
        let batch = running.batch().await;
        running.acknowledge(&batch);
        stream
    };
    let ((), _stream) = tokio::join!(ended, published);
}

/// Where devices may all come over a broker, silence counts from the first that came to the listener.
#[tokio::test]
async fn a_listener_that_nobody_has_used_is_not_silent() {
    let config = ListenerConfig {
        silence_after: Some(Duration::from_secs(1)),
        silence_from_start: false,
        ..config()
    };
    let mut running = start(config).await;
    let mut alarms = running.intake.alarms.clone();
    let early = tokio::time::timeout(Duration::from_secs(3), alarms.changed()).await;
    assert!(early.is_err(), "{early:?}");
    let _stream =
        running.client(&[three(connect3("c").into()), publish3("up/a", 1, 7)].concat()).await;
    let batch = running.batch().await;
    running.acknowledge(&batch);
    within(alarms.wait_for(|alarms| alarms.silence.is_some())).await.unwrap();
}

/// A device that floods and never reads, one with half a packet and one that declares 268 MB keep nobody waiting.
#[tokio::test]
async fn hostile_devices_disturb_no_other() {
    let mut running = start(config()).await;
    let mut flood = running.client(&three(connect3("flood").into())).await;
    let flooding = tokio::spawn(async move {
        let pings = [0xC0u8, 0].repeat(32 << 10);
        while flood.write_all(&pings).await.is_ok() {}
    });
    let half = running.client(&[0x10, 50, 0, 4]).await;
    let mut huge = running.client(&[0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4]).await;
    assert_eq!(rest(&mut huge).await, [0; 0]);
    let mut good = running.client(&three(connect3("good").into())).await;
    answer(&mut good, 4).await;
    for id in 1..20 {
        good.write_all(&publish3("up/a", 1, id)).await.unwrap();
        let batch = running.batch().await;
        running.acknowledge(&batch);
        assert_eq!(answer(&mut good, 4).await[3], u8::try_from(id).unwrap());
    }
    flooding.abort();
    drop(half);
}

/// A full intake buffer stops reading; once there is room everything goes on, and nothing is lost or doubled. Devices
/// that wait for it are not silent.
#[tokio::test]
async fn a_full_buffer_stops_reading_and_loses_nothing() {
    let limits = Limits { buffer_bytes: 4000, ..Limits::default() };
    let silence_after = Some(Duration::from_secs(1));
    let mut running = start(ListenerConfig { limits, silence_after, ..config() }).await;
    let sent: Vec<u8> = (1..=300).flat_map(|id| publish3("up/a", 1, id)).collect();
    let stream = running.client(&[three(connect3("c").into()), sent].concat()).await;
    let (mut read, mut taken) = (stream, 0);
    let mut alarms = running.intake.alarms.clone();
    let early = tokio::time::timeout(Duration::from_secs(3), alarms.changed()).await;
    assert!(early.is_err(), "{early:?}");
    while taken < 300 {
        let batch = running.batch().await;
        taken += batch.uplinks().len();
        running.acknowledge(&batch);
    }
    let answers = answer(&mut read, 4 + 300 * 4).await;
    let ids = answers[4..].chunks(4).map(|ack| u16::from_be_bytes([ack[2], ack[3]]));
    assert!(ids.eq(1..=300));
}

fn hash(password: &str) -> String {
    use argon2::password_hash::{PasswordHasher, SaltString};
    let params = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let salt = SaltString::from_b64("c29tZXNhbHQ").unwrap();
    argon.hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

#[tokio::test]
async fn passwords_are_checked_and_a_reload_ends_what_it_does_not_support() {
    let text = format!(
        "tenant,device,password_hash\ndefault,d,{}\nfarm,d,\"{}\",gw/+\n",
        hash("right"),
        hash("other")
    );
    let credentials = Some(Credentials::parse("devices.csv", &text).unwrap());
    let mut running = start(ListenerConfig { credentials, ..config() }).await;
    let login = |user: &str, password: &str| {
        let password = Some(Bytes::copy_from_slice(password.as_bytes()));
        five(v5::Connect { username: Some(user.into()), password, ..connect5("c") }.into())
    };
    for (user, password, code) in [
        ("d", "right", 0),
        ("d", "right", 0),
        ("default/d", "right", 0),
        ("farm/d", "other", 0),
        ("d", "wrong", 0x86),
        ("farm/d", "right", 0x86),
        ("nobody", "right", 0x86),
    ] {
        let mut stream = running.client(&login(user, password)).await;
        assert_eq!(answer(&mut stream, 4).await[3], code, "{user} {password}");
    }
    let mut nameless = running.client(&five(connect5("c").into())).await;
    assert_eq!(answer(&mut nameless, 4).await[3], 0x86);
    let mut stream = running.client(&[login("d", "right"), publish5("up/d", 1, 1)].concat()).await;
    let batch = running.batch().await;
    running.acknowledge(&batch);
    assert_eq!(answer(&mut stream, 4).await[3], 0);
    running.commands.set_credentials(Some(Credentials::parse("devices.csv", "").unwrap()));
    let last = rest(&mut stream).await;
    assert_eq!(&last[last.len() - 4..], [0xE0, 2, 0x87, 0], "not authorized any more");
}

#[test]
fn every_wrong_line_of_the_credentials_is_named() {
    let text = "default,a\ndefault,b,clear-password\ndefault,c/d,\ndefault,e,\ndefault,e,\ndefault,f,,a/#/b\n";
    let problems = Credentials::parse("devices.csv", text).unwrap_err();
    let lines: Vec<_> = problems.iter().map(|problem| problem.line.unwrap()).collect();
    assert_eq!(lines, [1, 2, 3, 5, 6]);
    assert!(!format!("{problems:?}").contains("clear-password"), "no secrets in messages");
}
