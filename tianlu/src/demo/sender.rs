//! The simulated devices: publishes their past as fast as it goes, then their present each five seconds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingest::engine::clock::wall_nanos;
use ingest::engine::desk::Desk;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::Packet;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, PublishOptions};
use telemetry::time::EventTime;
use tokio::sync::watch;

use super::known::Known;
use super::sensors::Sensors;

/// Time between two readings of each device in the present.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_NANOS: i64 = 5_000_000_000;
/// Publishes under way at once.
const IN_FLIGHT: u16 = 500;
/// Pause before the listener is tried again.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// How long the end waits for what is under way.
const FINISH: Duration = Duration::from_secs(2);

/// Publishes until it is told to stop. A broken connection is nothing but a new start: the pipeline is asked what it
/// has, and what is missing is sent; once it has ended, nothing is.
pub(super) async fn send(
    sensors: Sensors,
    listener: SocketAddr,
    desk: Arc<Desk>,
    stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        let Some(known) = Known::ask(&desk, &sensors).await else { return };
        let mut device = Publisher::connect(listener);
        let mut stopping = stop.clone();
        tokio::select! {
            broken = device.publish_all(&sensors, &known) => {
                tracing::debug!(?broken, "the demo's devices connect again");
                tokio::time::sleep(CONNECT_AGAIN).await;
            }
            // A sender that is gone stops as well.
            () = async { drop(stopping.wait_for(|stop| *stop).await); } => device.finish().await,
        }
    }
}

/// The one connection of all devices.
struct Publisher {
    client: AsyncClient,
    is_up: watch::Receiver<Option<bool>>,
    polling: tokio::task::JoinHandle<()>,
}

/// The connection is gone.
#[derive(Debug)]
struct Broken;

impl Publisher {
    fn connect(listener: SocketAddr) -> Self {
        let address = (listener.ip().to_string(), listener.port());
        let mut options = MqttOptions::new("tianlu-demo", address);
        options.set_clean_start(true).set_keep_alive(60);
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
        let (client, events) =
            AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build();
        let (up, is_up) = watch::channel(None);
        Self { client, is_up, polling: tokio::spawn(poll(events, up)) }
    }

    /// Publishes what is missing up to now, then each five seconds; ends where the connection does.
    async fn publish_all(&mut self, sensors: &Sensors, known: &Known) -> Broken {
        let up = self.is_up.wait_for(Option::is_some).await.is_ok_and(|up| *up == Some(true));
        if !up {
            return Broken;
        }
        let start = sensors.start();
        let mut at = last_tick(start, now());
        let from = known.oldest_missing().unwrap_or(start);
        for (at, device) in sensors.fleet.schedule(from, after(at)) {
            if known.has(device, at) {
                continue;
            }
            let body = sensors.fleet.uplink(device, at);
            if self.publish(sensors.topic(device), body).await.is_err() {
                return Broken;
            }
        }
        let live = sensors.fleet.clone().live(after(at), EVERY);
        loop {
            at = after_tick(at);
            tokio::time::sleep(until(at)).await;
            for device in 0..live.len() {
                let body = live.uplink(device, at);
                if self.publish(sensors.topic(device), body).await.is_err() {
                    return Broken;
                }
            }
        }
    }

    async fn publish(&self, topic: Option<&str>, body: Vec<u8>) -> Result<(), Broken> {
        if *self.is_up.borrow() == Some(false) {
            return Err(Broken);
        }
        let Some(topic) = topic else { return Ok(()) };
        let published = self.client.publish(topic, body, PublishOptions::new(QoS::AtLeastOnce));
        published.await.map_err(|_| Broken)
    }

    /// Ends the connection once what is under way is acknowledged, or soon.
    async fn finish(self) {
        let ended = async {
            if self.client.disconnect().await.is_ok() {
                // The polling ends with the connection.
                let _ended = self.is_up.clone().wait_for(|up| *up == Some(false)).await.is_ok();
            }
        };
        let _in_time = tokio::time::timeout(FINISH, ended).await.is_ok();
        self.polling.abort();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

/// Polls the client until the connection ends, and tells whether it is up.
async fn poll(mut events: EventLoop, up: watch::Sender<Option<bool>>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                up.send_replace(Some(true));
            }
            Ok(Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "the demo's connection ended");
                up.send_replace(Some(false));
                return;
            }
        }
    }
}

fn now() -> EventTime {
    EventTime::from_nanos(wall_nanos())
}

/// Returns the last tick of the present at or before a time; ticks count from the start, so that each point of every
/// interval is one.
fn last_tick(start: EventTime, now: EventTime) -> EventTime {
    let since = now.as_nanos().saturating_sub(start.as_nanos());
    EventTime::from_nanos(start.as_nanos() + since.div_euclid(EVERY_NANOS) * EVERY_NANOS)
}

const fn after_tick(at: EventTime) -> EventTime {
    EventTime::from_nanos(at.as_nanos().saturating_add(EVERY_NANOS))
}

const fn after(at: EventTime) -> EventTime {
    EventTime::from_nanos(at.as_nanos().saturating_add(1))
}

fn until(at: EventTime) -> Duration {
    let wait = at.as_nanos().saturating_sub(now().as_nanos());
    Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_the_present_hold_every_point_of_an_interval() {
        let start = EventTime::from_nanos(1_763_856_000_000_000_000);
        let at = |seconds: i64| EventTime::from_nanos(start.as_nanos() + seconds * 1_000_000_000);
        for (now, tick) in [(0, 0), (4, 0), (5, 5), (899, 895), (900, 900)] {
            assert_eq!(last_tick(start, at(now)), at(tick), "{now}");
        }
        assert_eq!(after_tick(at(895)), at(900));
    }
}
