//! A real broker, a consumer under test and a publisher.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, PublishOptions, QoS};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::outlet::Outlet;
use super::{Address, Consumer, MqttConfig, Protocol};
use crate::source::{AckToken, Incoming, Intake, LinkState, SourceId};
use crate::test_port::free_port;

const MOSQUITTO: &str = "/usr/sbin/mosquitto";

/// Waits for something that must come; a test that hangs says where.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("no {what} in 60 s"))
}

/// Mosquitto on a free port, with its data in a temporary folder.
pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) dir: tempfile::TempDir,
    extra: String,
    child: Option<Child>,
}

impl Broker {
    /// Starts it; `None`, with a notice, where it is not installed. In CI that is a failure.
    pub(crate) fn start(extra: &str) -> Option<Self> {
        if !std::path::Path::new(MOSQUITTO).exists() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{MOSQUITTO} is missing");
            println!("skipped: {MOSQUITTO} is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Self { port: free_port(), extra: String::new(), dir, child: None };
        broker.extra(extra);
        broker.resume();
        Some(broker)
    }

    /// Sets more lines of its configuration for the next start.
    pub(crate) fn extra(&mut self, extra: &str) {
        self.extra = extra.replace("DIR", self.dir.path().to_str().unwrap());
    }

    /// Starts it again, on the same port and with the same data.
    pub(crate) fn resume(&mut self) {
        let file = self.dir.path().join("mosquitto.conf");
        let dir = self.dir.path().display();
        let anonymous = if self.extra.contains("password_file") { "false" } else { "true" };
        // It refuses to run as root unless told so; where it does not run as root the line has no effect.
        // The window of MQTT 3.1.1 is 20 by default; that of MQTT 5 is our Receive Maximum.
        let has_window = self.extra.contains("max_inflight_messages");
        let window = if has_window { "" } else { "max_inflight_messages 1000\n" };
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous {anonymous}\nmax_queued_messages 0\n{window}persistence true\n\
             persistence_location {dir}/\nuser root\nlog_dest stderr\nlog_type all\n{}\n",
            self.port, self.extra
        );
        std::fs::write(&file, text).unwrap();
        let mut child =
            Command::new(MOSQUITTO).arg("-c").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let running = log.find(|line| line.contains("running"));
        assert!(running.is_some(), "the broker did not start: {}", self.extra);
        // Told to stop between that line and its main loop, it would never stop.
        let probe = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        assert!(log.any(|line| line.contains("New connection")), "the broker takes nobody in");
        drop(probe);
        // It stops when its log has no reader.
        std::thread::spawn(move || log.for_each(drop));
        self.child = Some(child);
    }

    /// Stops it in order, so that it saves its sessions.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        assert!(
            Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        child.wait().unwrap();
    }

    /// Stops it and takes away what it had saved.
    pub(crate) fn forget(&mut self) {
        self.stop();
        std::fs::remove_file(self.dir.path().join("mosquitto.db")).unwrap();
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    }

    pub(crate) fn config(&self, protocol: Protocol) -> MqttConfig {
        let address = Address { host: "127.0.0.1".to_owned(), port: self.port, tls: None };
        let (id, topics) = ("tianlu-test".to_owned(), vec!["up/+".to_owned()]);
        let mut config = MqttConfig::new(SourceId(3), address, id, topics);
        config.protocol = protocol;
        config
    }

    /// Publishes and waits until the broker has acknowledged all.
    pub(crate) async fn publish(
        &self,
        topic: &str,
        qos: QoS,
        payloads: impl IntoIterator<Item = Vec<u8>>,
    ) {
        let mut options = MqttOptions::new("publisher", ("127.0.0.1", self.port));
        options.set_max_packet_size(Some(64 << 20)).set_outgoing_inflight_upper_limit(20);
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(10).build();
        let payloads: Vec<_> = payloads.into_iter().collect();
        let wanted = payloads.len();
        let topic = topic.to_owned();
        let sending = tokio::spawn(async move {
            for payload in payloads {
                client.publish(topic.clone(), payload, PublishOptions::new(qos)).await.unwrap();
            }
            client
        });
        let mut done = 0;
        while done < wanted {
            let event =
                within("acknowledgement for the publisher", eventloop.poll()).await.unwrap();
            let ended = matches!(event, Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)));
            let sent = qos == QoS::AtMostOnce
                && matches!(event, Event::Outgoing(rumqttc::Outgoing::Publish(_)));
            done += usize::from(ended || sent);
        }
        sending.await.unwrap().try_disconnect_now().unwrap();
        while eventloop.poll().await.is_ok() {}
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A consumer that runs.
pub(crate) struct Rig {
    pub(crate) intake: Intake,
    outlet: Arc<Outlet>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

/// A message without what differs from delivery to delivery.
pub(crate) fn number(uplink: &Incoming) -> usize {
    std::str::from_utf8(&uplink.payload).unwrap().trim().parse().unwrap()
}

pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Vec<u8>> {
    numbers.map(|number| number.to_string().into_bytes())
}

impl Rig {
    pub(crate) fn start(config: MqttConfig) -> Self {
        let (consumer, intake) = Consumer::new(config).unwrap();
        let (stop, stopped) = watch::channel(false);
        let outlet = consumer.outlet();
        Self { intake, outlet, stop, running: tokio::spawn(consumer.run(stopped)) }
    }

    /// Returns how many reads were followed by a pause so far.
    pub(crate) fn pauses(&self) -> u64 {
        self.outlet.pauses()
    }

    pub(crate) async fn link(
        &mut self,
        what: &str,
        wanted: impl FnMut(&LinkState) -> bool,
    ) -> LinkState {
        within(what, self.intake.link.wait_for(wanted)).await.unwrap().clone()
    }

    pub(crate) async fn subscribed(&mut self) {
        self.link("subscription", |state| *state == LinkState::Subscribed).await;
    }

    pub(crate) async fn down(&mut self) -> (String, String) {
        let state = self.link("failure", |state| matches!(state, LinkState::Down { .. })).await;
        let (reason, remedy) = state.problem().unwrap();
        (reason.en, remedy.en)
    }

    /// Takes at least so many messages in, and acknowledges none of them.
    pub(crate) async fn take(&mut self, least: usize) -> Vec<Incoming> {
        let mut got = Vec::new();
        while got.len() < least {
            let batch =
                within("batch", self.intake.batches.recv()).await.expect("the consumer has ended");
            assert!(!batch.uplinks().is_empty());
            got.extend_from_slice(batch.uplinks());
        }
        got
    }

    pub(crate) fn acknowledge(&self, uplinks: &[Incoming]) {
        let tokens: Vec<AckToken> = uplinks.iter().filter_map(|uplink| uplink.ack).collect();
        self.intake.acks.acknowledge(&tokens);
    }

    /// Stops in order and returns what was still in the buffer.
    pub(crate) async fn stop(mut self) -> Vec<Incoming> {
        self.stop.send_replace(true);
        within("end of the consumer", self.running).await.unwrap();
        let mut left = Vec::new();
        while let Some(batch) = self.intake.batches.recv().await {
            left.extend_from_slice(batch.uplinks());
        }
        left
    }

    /// Ends as if the process had been killed.
    pub(crate) async fn kill(self) {
        self.running.abort();
        drop(self.running.await);
    }
}

/// Runs each scenario in both protocols.
macro_rules! in_both_protocols {
    ($($scenario:ident),* $(,)?) => {
        $(
            mod $scenario {
                use crate::mqtt::Protocol;

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
pub(crate) use in_both_protocols;
