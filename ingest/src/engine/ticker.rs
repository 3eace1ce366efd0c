//! Ticks: time and the state of the sources as journal records, each second and at each change.

use std::sync::Arc;
use std::time::Duration;

use pipeline::record::{Record, SourceState, Tick};
use telemetry::text::say;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::clock::JournalClock;
use crate::engine::health::{Health, Part};
use crate::engine::orders::Orders;
use crate::source::{Acknowledge, LinkState, SourceId};

const TICK: Duration = Duration::from_secs(1);
/// How long the in-flight window must stay under half full before silence is the devices' own.
const CAUGHT_UP_AFTER: Duration = Duration::from_secs(10);

/// A source as the ticker watches it.
#[derive(Debug)]
pub struct Watched {
    /// Which source.
    pub source: SourceId,
    /// Which part of the program it is.
    pub part: Part,
    /// Its address, for messages.
    pub name: String,
    /// Its link.
    pub link: watch::Receiver<LinkState>,
    /// Its in-flight window.
    pub acks: Arc<dyn Acknowledge>,
    quiet_since: Option<Instant>,
}

impl Watched {
    /// Watches a source.
    #[must_use]
    pub const fn new(
        (source, part): (SourceId, Part),
        name: String,
        link: watch::Receiver<LinkState>,
        acks: Arc<dyn Acknowledge>,
    ) -> Self {
        Self { source, part, name, link, acks, quiet_since: None }
    }

    /// `is_blocked`: nothing is taken in, so that what devices say waits somewhere.
    fn state(&mut self, now: Instant, is_blocked: bool) -> SourceState {
        let connected = *self.link.borrow() == LinkState::Subscribed;
        let has_few = self.acks.unacked() * 2 < self.acks.window().max(1);
        let is_quiet = connected && has_few && !is_blocked;
        self.quiet_since = if is_quiet { Some(self.quiet_since.unwrap_or(now)) } else { None };
        let caught_up =
            self.quiet_since.is_some_and(|since| now.duration_since(since) >= CAUGHT_UP_AFTER);
        SourceState { source: self.source.0, connected, caught_up }
    }

    pub(crate) fn report(&self, health: &Health) {
        match self.link.borrow().problem() {
            None => health.clear(self.part, &self.name),
            Some((what, remedy)) => {
                let (zh, en) = (&what.zh, &what.en);
                let key = if self.part == Part::Listener {
                    "ingest.source.listener_not_ready"
                } else {
                    "ingest.mqtt.not_ready"
                };
                let zh = say(key, &[("url", &self.name), ("what", zh)]).zh;
                let en = say(key, &[("url", &self.name), ("what", en)]).en;
                health.report(self.part, &self.name, telemetry::text::Text { zh, en }, remedy);
            }
        }
    }
}

/// Appends ticks until the shutdown begins, and reports the sources' health.
pub async fn run(
    mut sources: Vec<Watched>,
    orders: Orders,
    health: Arc<Health>,
    mut clock: JournalClock,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut last = Instant::now();
    loop {
        sources.iter().for_each(|source| source.report(&health));
        report_clock(&mut clock, &health);
        let now = Instant::now();
        let is_blocked = health.has(Part::Disk) || health.has(Part::Journal);
        let states: Vec<SourceState> =
            sources.iter_mut().map(|source| source.state(now, is_blocked)).collect();
        // Time that a tick has waited for the disk, or the process for its turn, is none to hear devices in.
        let elapsed = now.duration_since(last).min(TICK * 2);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        last = now;
        let tick = move |at: telemetry::time::IngestTime| {
            Record::Tick(Tick { at_nanos: at.as_nanos(), elapsed_ms, sources: states })
        };
        if orders.append(Box::new(tick)).await.is_err() && *shutdown.borrow() {
            return;
        }
        let changed = changed(&mut sources);
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(now + TICK) => {}
            () = changed => {}
            stopped = shutdown.changed() => if stopped.is_err() || *shutdown.borrow() { return; }
        }
    }
}

/// Waits until any source's link changes.
async fn changed(sources: &mut [Watched]) {
    let changes: Vec<_> =
        sources.iter_mut().map(|source| Box::pin(source.link.changed())).collect();
    if changes.is_empty() {
        return std::future::pending().await;
    }
    let (ended, ..) = futures_util::future::select_all(changes).await;
    if ended.is_err() {
        // The source has ended; its last state stands.
        std::future::pending::<()>().await;
    }
}

fn report_clock(clock: &mut JournalClock, health: &Health) {
    match clock.jump_seconds() {
        None => health.clear(Part::Clock, "host"),
        Some(apart) => {
            let message = say("ingest.clock.jumped", &[("seconds", &(apart / 10 * 10))]);
            health.report(Part::Clock, "host", message, say("ingest.clock.jumped.remedy", &[]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::AckToken;

    #[derive(Debug)]
    struct Idle;

    impl Acknowledge for Idle {
        fn acknowledge(&self, _: &[AckToken]) {}
        fn send_again(&self) {}
        fn unacked(&self) -> usize {
            1
        }
        fn window(&self) -> usize {
            1000
        }
    }

    /// Guarantees: while nothing is taken in no device counts as silent, nor until ten seconds after.
    #[test]
    fn a_source_is_not_caught_up_while_intake_is_blocked() {
        let (_link, subscribed) = watch::channel(LinkState::Subscribed);
        let of = (SourceId(0), Part::Mqtt);
        let mut source = Watched::new(of, String::new(), subscribed, Arc::new(Idle));
        let start = Instant::now();
        let mut caught_up = |seconds: u64, is_blocked: bool| {
            source.state(start + Duration::from_secs(seconds), is_blocked).caught_up
        };
        let seen = [(0, false), (10, false), (11, true), (20, false), (29, false), (30, false)];
        let seen: Vec<bool> = seen.map(|(at, is_blocked)| caught_up(at, is_blocked)).into();
        assert_eq!(seen, [false, true, false, false, false, true]);
    }
}
