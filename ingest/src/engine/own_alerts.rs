//! The alerts about Tianlu itself: no input, store away, a damaged log, dead letters that expired, a table of devices
//! that is full. No pipeline results: they go to notifiers and API only.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pipeline::{Account, Limits};
use rules::{Alert, AlertState, Severity};
use telemetry::text::{Text, say};
use telemetry::time::IngestTime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::engine::clock::wall_nanos;
use crate::engine::damage::{Damage, FoundDamage};
use crate::engine::desk::Desk;
use crate::engine::event::Expiry;
use crate::engine::health::Part;
use crate::engine::notices::notice;
use crate::notifier::Batch;
use crate::source::Alarms;

/// How long a trouble must last before people are told.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(5);
/// Alerts about ourselves that are listed. One that stands is never left out, and of each rule one stands at most.
const LISTED_MAX: usize = 100;
/// How long those that ended are listed.
const LISTED_FOR: Duration = Duration::from_hours(24);

/// Watches health and input; tells the notifiers when a trouble lasts, and when it is over.
pub(crate) struct OwnAlerts {
    pub(crate) desk: Arc<Desk>,
    pub(crate) alarms: Vec<watch::Receiver<Alarms>>,
    pub(crate) feeds: Vec<mpsc::Sender<Batch>>,
    pub(crate) known: Known,
}

/// What was known at the start and is not told again.
pub(crate) struct Known {
    damage: Damage,
    expiry: Expiry,
}

impl Known {
    /// Begins with what the newest snapshot counts, and what the opening of the logs found.
    pub(crate) fn at_start(account: &Account, damage: FoundDamage) -> Self {
        Self {
            damage: Damage::known(account.uplinks_lost, damage),
            expiry: Expiry::known(account.letters_expired),
        }
    }
}

struct Lasting {
    since: Instant,
    began_at: IngestTime,
    alert: Option<Alert>,
}

impl OwnAlerts {
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut lasting: BTreeMap<&'static str, Lasting> = BTreeMap::new();
        loop {
            let troubles = [
                ("tianlu-store-away", self.store_away(), PATIENCE),
                ("tianlu-no-input", self.no_input(), PATIENCE),
                ("tianlu-damage", self.damage(), Duration::ZERO),
                ("tianlu-letters-expired", self.letters_expired(), Duration::ZERO),
                ("tianlu-devices-full", self.devices_full(), Duration::ZERO),
            ];
            for (rule, trouble, patience) in troubles {
                self.follow((rule, patience), trouble, &mut lasting).await;
            }
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
        // Nobody would end them later: what still lasts after the restart is told anew.
        for rule in lasting.keys().copied().collect::<Vec<_>>() {
            self.follow((rule, PATIENCE), None, &mut lasting).await;
        }
    }

    fn store_away(&self) -> Option<Text> {
        let troubles = self.desk.health().troubles();
        let (_, _, trouble) = troubles.into_iter().find(|(part, ..)| *part == Part::Store)?;
        let of = |what: &str| say("ingest.own.store_away", &[("what", &what)]);
        Some(Text { zh: of(&trouble.message.zh).zh, en: of(&trouble.message.en).en })
    }

    fn no_input(&self) -> Option<Text> {
        let silent = self.alarms.iter().find_map(|alarms| alarms.borrow().silence.clone());
        silent.or_else(|| {
            let troubles = self.desk.health().troubles();
            troubles
                .into_iter()
                .find(|(part, ..)| matches!(part, Part::Mqtt | Part::Listener))
                .map(|(_, _, trouble)| trouble.message)
        })
    }

    fn damage(&mut self) -> Option<Text> {
        let now = Instant::now();
        let shared = &self.desk.shared;
        let passed_bytes = shared.damaged_bytes.load(Ordering::Relaxed);
        self.known.damage.handle_passed(shared.cut().account.uplinks_lost, passed_bytes, now);
        self.noted((Part::Damage, "logs"), self.known.damage.poll_trouble(now))
    }

    fn letters_expired(&mut self) -> Option<Text> {
        let now = Instant::now();
        self.known.expiry.handle_count(self.desk.shared.cut().account.letters_expired, now);
        let count = self.known.expiry.poll(now)?;
        Some(say("ingest.letters_expired", &[("count", &count)]))
    }

    fn devices_full(&self) -> Option<Text> {
        let trouble = || {
            let message = say("ingest.devices_full", &[("most", &Limits::DEVICES_MAX)]);
            (message, say("ingest.devices_full.remedy", &[]))
        };
        let is_full = self.desk.shared.cut().is_full;
        self.noted((Part::Devices, "table"), is_full.then(trouble))
    }

    /// Notes a trouble and its remedy in `/readyz` as well, or that there is none; returns what is to be told.
    fn noted(&self, (part, name): (Part, &str), trouble: Option<(Text, Text)>) -> Option<Text> {
        let Some((message, remedy)) = trouble else {
            self.desk.health().clear(part, name);
            return None;
        };
        self.desk.health().report(part, name, message.clone(), remedy);
        Some(message)
    }

    async fn follow(
        &self,
        (rule, patience): (&'static str, Duration),
        trouble: Option<Text>,
        lasting: &mut BTreeMap<&'static str, Lasting>,
    ) {
        let now = IngestTime::from_nanos(wall_nanos());
        let Some(message) = trouble else {
            if let Some(alert) = lasting.remove(rule).and_then(|lasting| lasting.alert) {
                self.tell(alert.ended(now)).await;
            }
            return;
        };
        let known = lasting.entry(rule).or_insert_with(|| Lasting {
            since: Instant::now(),
            began_at: now,
            alert: None,
        });
        if known.alert.is_none() && known.since.elapsed() >= patience {
            let alert = Alert::about_ourselves(
                rule,
                Severity::Orange,
                &message,
                known.began_at.as_event(),
                now,
            );
            known.alert = Some(alert.clone());
            self.tell(alert).await;
        }
    }

    async fn tell(&self, alert: Alert) {
        let line = alert.to_json_line();
        {
            let mut listed = self.desk.own_alerts.lock().unwrap_or_else(PoisonError::into_inner);
            list(&mut listed, alert.clone(), IngestTime::from_nanos(wall_nanos()));
        }
        tracing::warn!(rule = %alert.rule, firing = alert.state == AlertState::Firing, "alert about tianlu itself");
        let Some(notice) = notice(&Bytes::from(line), None) else { return };
        for feed in &self.feeds {
            let batch = Batch { notices: vec![notice.clone()], cursor: None };
            if feed.send(batch).await.is_err() {
                tracing::debug!("a notifier has ended");
            }
        }
    }
}

/// Lists an alert first, in place of what it was before.
fn list(listed: &mut Vec<Alert>, alert: Alert, now: IngestTime) {
    listed.retain(|known| known.id != alert.id);
    listed.insert(0, alert);
    forget_old(listed, now);
    while listed.len() > LISTED_MAX {
        let Some(oldest) = listed.iter().rposition(has_ended) else { break };
        listed.remove(oldest);
    }
}

/// Drops what ended more than 24 hours ago.
pub(crate) fn forget_old(listed: &mut Vec<Alert>, now: IngestTime) {
    let oldest = now.minus(LISTED_FOR);
    listed.retain(|known| !has_ended(known) || known.received_at() >= oldest);
}

fn has_ended(alert: &Alert) -> bool {
    alert.state != AlertState::Firing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> IngestTime {
        IngestTime::from_nanos(0).plus(Duration::from_hours(hours))
    }

    fn firing(rule: &str, began: IngestTime) -> Alert {
        Alert::about_ourselves(rule, Severity::Orange, &Text::plain("x"), began.as_event(), began)
    }

    fn rules(listed: &[Alert]) -> Vec<&str> {
        listed.iter().map(|alert| &*alert.rule).collect()
    }

    #[test]
    fn one_that_stands_is_listed_however_many_have_ended() {
        let mut listed = Vec::new();
        list(&mut listed, firing("stands", at(0)), at(0));
        for minute in 0..300 {
            let moment = at(1).plus(Duration::from_mins(minute));
            list(&mut listed, firing("flaps", moment), moment);
            list(&mut listed, firing("flaps", moment).ended(moment), moment);
        }
        assert_eq!(listed.len(), LISTED_MAX);
        let (last, others) = listed.split_last().unwrap();
        assert_eq!((&*last.rule, last.state), ("stands", AlertState::Firing));
        assert!(others.iter().all(has_ended), "one that ended is not listed as it was");
        assert!(others.is_sorted_by(|newer, older| newer.received_at() > older.received_at()));
        assert_eq!(others[0].received_at(), at(1).plus(Duration::from_mins(299)));
    }

    #[test]
    fn what_ended_is_listed_for_a_day() {
        let mut listed = Vec::new();
        list(&mut listed, firing("stands", at(0)), at(0));
        for (rule, end) in [("early", 1), ("late", 2)] {
            list(&mut listed, firing(rule, at(0)).ended(at(end)), at(end));
        }
        for (now, expected) in
            [(25, &["late", "early", "stands"][..]), (26, &["late", "stands"]), (27, &["stands"])]
        {
            forget_old(&mut listed, at(now));
            assert_eq!(rules(&listed), expected, "{now}");
        }
    }
}
