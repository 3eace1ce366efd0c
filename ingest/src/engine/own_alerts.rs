//! The alerts about Tianlu itself: no input, store away, a damaged log. No pipeline results: they go to notifiers and API only.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rules::{Alert, AlertState, Severity};
use telemetry::text::{Text, say};
use telemetry::time::IngestTime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::engine::clock::wall_nanos;
use crate::engine::damage::Damage;
use crate::engine::desk::Desk;
use crate::engine::health::Part;
use crate::engine::notices::notice;
use crate::notifier::Batch;
use crate::source::Alarms;

/// How long a trouble must last before people are told.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(5);
/// Ended alerts about ourselves that are listed.
const LISTED_MAX: usize = 100;

/// Watches health and input; tells the notifiers when a trouble lasts, and when it is over.
pub(crate) struct OwnAlerts {
    pub(crate) desk: Arc<Desk>,
    pub(crate) alarms: Vec<watch::Receiver<Alarms>>,
    pub(crate) feeds: Vec<mpsc::Sender<Batch>>,
    pub(crate) damage: Damage,
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

    /// Also noted in `/readyz`.
    fn damage(&mut self) -> Option<Text> {
        let now = Instant::now();
        self.damage.handle_lost(self.desk.shared.cut().account.uplinks_lost, now);
        let Some((message, remedy)) = self.damage.poll_trouble(now) else {
            self.desk.health().clear(Part::Damage, "logs");
            return None;
        };
        self.desk.health().report(Part::Damage, "logs", message.clone(), remedy);
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
            listed.retain(|known| known.id != alert.id);
            listed.insert(0, alert.clone());
            listed.truncate(LISTED_MAX);
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
