//! Publishes uplinks to an MQTT broker at their time, QoS 1.
//!
//! At least once: what a broken connection left in doubt is published again. It ends when the broker has
//! acknowledged everything, or a while after it was told to end: then what is not acknowledged is not counted.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NoticeFailureReason, PublishNotice, PublishOptions,
    PublishResult,
};
use telemetry::topic::{TopicLevels, TopicPattern};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use super::fault::Fault;
use super::pace::{Pace, Turn};
use super::progress::Progress;
use super::stop::Stop;

/// Topic of the uplinks.
pub(crate) const TOPIC: &str = "tianlu/v1/{tenant}/{site}/{device}/up";
/// Publishes under way at once: the window of many brokers and of the client.
const IN_FLIGHT: u16 = 100;
/// How long a broker may be away before it is given up.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Longest single wait, so that a stop signal is heard.
const NAP: Duration = Duration::from_millis(200);
/// How long what is under way may take once the end was asked for.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// One uplink on its way.
#[derive(Debug)]
pub(crate) struct Letter {
    /// Where to.
    pub(crate) topic: String,
    /// What.
    pub(crate) body: Vec<u8>,
}

/// What became of the letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    /// Acknowledged by the broker.
    pub(crate) published: u64,
    /// Those that could not be letters.
    pub(crate) left_out: u64,
}

/// What comes next: its time in nanoseconds, and a letter, unless none can be made of it.
pub(crate) type Next<'a> = &'a mut dyn FnMut() -> Result<Option<(i64, Option<Letter>)>, Fault>;

/// Publishes all that `next` gives, each at its time, as a client whose id begins with `client`.
pub(crate) fn publish(
    url: &str,
    client: &str,
    next: Next<'_>,
    (pace, progress): (&mut Pace, Progress),
) -> Result<Sent, Fault> {
    let address = address(url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unreachable(url, &error))?;
    runtime.block_on(async {
        let publisher = Publisher::connect(url, address, client);
        publisher.publish_all(next, (pace, progress), DRAIN_MAX).await
    })
}

/// Returns the topic of a device's uplinks. `None`: a name does not fit into a topic.
pub(crate) fn topic(tenant: &str, site: &str, device: &str) -> Option<String> {
    let fits = |name: &&str| !name.is_empty() && !name.contains(['/', '+', '#']);
    if ![tenant, site, device].iter().all(fits) {
        return None;
    }
    let named = TopicLevels { tenant: Some(tenant), site: Some(site), device: Some(device) };
    TopicPattern::parse(TOPIC).ok()?.topic_of(&named)
}

/// Reads `mqtt://host[:port]`, nothing else in it.
pub(crate) fn address(url: &str) -> Result<(String, u16), Fault> {
    let wrong = || Fault::wrong("--to", "tianlu.playback.to_url", &[]);
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let is_bare = parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.query().is_none()
        && parsed.fragment().is_none()
        && matches!(parsed.path(), "" | "/");
    let host = parsed.host_str().filter(|host| !host.is_empty() && is_bare);
    let host = host.filter(|_| parsed.scheme() == "mqtt").ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), parsed.port().unwrap_or(1883)))
}

/// What is known of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Link {
    Begun,
    Up,
    /// Why, and whether the broker has been there at all: a short connection is not seen otherwise.
    Down {
        why: String,
        was_up: bool,
    },
}

/// Polls the client and does nothing else but report.
async fn poll(mut events: EventLoop, link: watch::Sender<Link>) {
    let mut was_up = false;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                was_up = true;
                link.send_replace(Link::Up);
            }
            Ok(Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_)) => {}
            Err(error) => {
                link.send_replace(Link::Down { why: error.to_string(), was_up });
                // What was under way is published again by its owner.
                events.drain_pending_as_failed(NoticeFailureReason::SessionReset);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// Resolves once the end was asked for and what is under way has had its time.
async fn overdue(stop: &Stop, drain_max: Duration) {
    while !stop.is_asked() {
        tokio::time::sleep(NAP).await;
    }
    tokio::time::sleep(drain_max).await;
}

/// Resolves with the reason once the broker has been away for too long: what waits in the client then would never hear
/// of it.
async fn given_up(mut link: watch::Receiver<Link>) -> String {
    loop {
        let is_told = link.wait_for(|link| matches!(link, Link::Down { .. })).await.is_ok();
        let back = tokio::time::timeout(AWAY_MAX, link.wait_for(|link| *link == Link::Up));
        match back.await.map(|back| back.is_ok()) {
            Err(_) => return why(&link),
            Ok(is_back) if is_told && is_back => {}
            // The polling has ended: nothing is told any more.
            Ok(_) => return std::future::pending().await,
        }
    }
}

/// Returns why the broker is away.
fn why(link: &watch::Receiver<Link>) -> String {
    match &*link.borrow() {
        Link::Down { why, .. } => why.clone(),
        Link::Begun | Link::Up => String::new(),
    }
}

struct Publisher {
    url: String,
    client: AsyncClient,
    link: watch::Receiver<Link>,
    polling: JoinHandle<()>,
    under_way: VecDeque<(Letter, PublishNotice)>,
    sent: Sent,
}

impl Publisher {
    fn connect(url: &str, (host, port): (String, u16), client: &str) -> Self {
        let mut options =
            MqttOptions::new(format!("{client}-{}", std::process::id()), (host, port));
        options
            .set_clean_start(true)
            .set_keep_alive(30)
            .set_connect_timeout(Duration::from_secs(10));
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
        let (client, events) =
            AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build();
        let (report, link) = watch::channel(Link::Begun);
        Self {
            url: url.to_owned(),
            client,
            link,
            polling: tokio::spawn(poll(events, report)),
            under_way: VecDeque::new(),
            sent: Sent::default(),
        }
    }

    /// Publishes all; once the end is asked for, what is under way has so long.
    async fn publish_all(
        mut self,
        next: Next<'_>,
        (pace, progress): (&mut Pace, Progress),
        drain_max: Duration,
    ) -> Result<Sent, Fault> {
        let (stop, link, url) = (pace.stop().clone(), self.link.clone(), self.url.clone());
        let done = tokio::select! {
            done = self.run(next, (pace, progress)) => done,
            () = overdue(&stop, drain_max) => Ok(()),
            why = given_up(link) => Err(unreachable(&url, &why)),
        };
        self.polling.abort();
        done.map(|()| self.sent)
    }

    async fn run(
        &mut self,
        next: Next<'_>,
        (pace, mut progress): (&mut Pace, Progress),
    ) -> Result<(), Fault> {
        self.connected().await?;
        while let Some((at, letter)) = next()? {
            loop {
                // At full speed the pace looks only now and then, and here every row may wait for the broker.
                if pace.stop().is_asked() {
                    return self.finish().await;
                }
                match pace.turn(at) {
                    Turn::Now => break,
                    Turn::End => return self.finish().await,
                    Turn::Wait(time) => tokio::time::sleep(time.min(NAP)).await,
                }
            }
            match letter {
                Some(letter) => self.send(letter).await?,
                None => self.sent.left_out += 1,
            }
            progress.step();
        }
        self.finish().await
    }

    /// Waits for what is under way.
    async fn finish(&mut self) -> Result<(), Fault> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until the broker is there; not for ever.
    async fn connected(&mut self) -> Result<(), Fault> {
        let mut link = self.link.clone();
        let up = tokio::time::timeout(AWAY_MAX, async {
            // The first connection is tried once: most often the address is wrong.
            let is_told = |link: &Link| matches!(link, Link::Up | Link::Down { was_up: false, .. });
            link.wait_for(is_told).await.is_ok_and(|link| *link == Link::Up)
        });
        if up.await == Ok(true) {
            return Ok(());
        }
        Err(unreachable(&self.url, &why(&self.link)))
    }

    async fn send(&mut self, letter: Letter) -> Result<(), Fault> {
        if self.under_way.len() >= usize::from(IN_FLIGHT) {
            self.settle().await?;
        }
        let notice = self.hand_over(&letter).await?;
        self.under_way.push_back((letter, notice));
        Ok(())
    }

    async fn hand_over(&self, letter: &Letter) -> Result<PublishNotice, Fault> {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let queued =
            self.client.publish_tracked(letter.topic.clone(), letter.body.clone(), options);
        queued.await.map_err(|error| unreachable(&self.url, &error))
    }

    /// Waits for the oldest publish; one that a broken connection lost is published again.
    async fn settle(&mut self) -> Result<(), Fault> {
        let Some((letter, notice)) = self.under_way.pop_front() else { return Ok(()) };
        let ack = match notice.wait_async().await {
            Ok(PublishResult::Qos1(ack)) => ack.reason,
            // No other answer is one to a publish with QoS 1; then, as after a broken connection, nothing is known.
            Ok(_) | Err(_) => {
                self.connected().await?;
                let notice = self.hand_over(&letter).await?;
                self.under_way.push_back((letter, notice));
                return Ok(());
            }
        };
        // Where nobody listens now the broker has it all the same, and that is what PUBACK promises.
        if matches!(ack, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
            self.sent.published += 1;
            return Ok(());
        }
        let reason = format!("{ack:?}");
        let args: [(&str, &dyn std::fmt::Display); 2] =
            [("topic", &letter.topic), ("reason", &reason)];
        Err(Fault::failed(&self.url, "tianlu.playback.to_refused", &args))
    }
}

fn unreachable(url: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::failed(url, "tianlu.playback.to_unreachable", &[("error", error)])
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use telemetry::text::Lang;

    use super::*;
    use crate::cli::Speed;

    const BODY: [u8; 100] = [b'x'; 100];
    /// Bytes of a PUBLISH of this body: its header, the topic `a/b`, packet id, no properties.
    const PUBLISH_BYTES: usize = 2 + 5 + 2 + 1 + BODY.len();

    /// A broker that takes a window of publishes, asks for the end, and acknowledges none of them; returns its port.
    fn broker(stop: Stop) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let (mut bytes, mut taken) = ([0; 4096], 0);
            assert!(socket.read(&mut bytes).unwrap() > 0, "CONNECT");
            socket.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
            while let Ok(read @ 1..) = socket.read(&mut bytes) {
                taken += read;
                if taken >= usize::from(IN_FLIGHT) * PUBLISH_BYTES {
                    stop.ask();
                }
            }
        });
        port
    }

    /// Contract: Ctrl-C drains for a while and ends, whatever the broker does.
    #[test]
    fn the_end_is_heard_while_the_broker_acknowledges_nothing() {
        let stop = Stop::by_hand();
        let url = format!("mqtt://127.0.0.1:{}", broker(stop.clone()));
        let (mut pace, progress) = (Pace::new(Speed::Max, stop), Progress::new(None, Lang::En));
        let mut given = 0;
        let mut next = || {
            given += 1;
            let letter = Letter { topic: "a/b".to_owned(), body: BODY.to_vec() };
            Ok(Some((0, Some(letter))))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sent = runtime.block_on(async {
            let publisher = Publisher::connect(&url, address(&url).unwrap(), "test");
            let drained = Duration::from_millis(300);
            let sent = publisher.publish_all(&mut next, (&mut pace, progress), drained);
            tokio::time::timeout(Duration::from_secs(30), sent).await
        });
        assert_eq!(sent.expect("it does not end").unwrap(), Sent::default());
        assert_eq!(given, usize::from(IN_FLIGHT) + 1, "the last one waited for room");
    }
}
