//! What a notifier tells its operator: counts for every notice, lines for every change.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use telemetry::text::say;
use telemetry::time::IngestTime;
use tracing::{error, info, warn};

use super::{Answer, Kind, Observer, QueueError, Reason};
use telemetry::problem::chain;

/// At most one line about failed notices in this time; the counter has them all.
const FAILED_LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Report<O> {
    name: String,
    kind: Kind,
    observer: Arc<O>,
    /// Failed notices since the last line about them.
    failed: u64,
    quiet_until: IngestTime,
}

impl<O: Observer> Report<O> {
    pub(super) fn new(name: String, kind: Kind, observer: Arc<O>) -> Self {
        Self { name, kind, observer, failed: 0, quiet_until: IngestTime::default() }
    }

    /// A try was answered; says so where the endpoint went away or came back.
    pub(super) fn answer(&self, was_failing: bool, answer: &Answer) {
        match answer {
            Answer::Retry { reason, .. } if !was_failing => {
                let args: [(&str, &dyn Display); 2] =
                    [("name", &self.name), ("reason", &reason.text())];
                let text = say("ingest.notifier.away", &args);
                warn!(notifier = %self.name, code = reason.code.as_str(), "{text}");
            }
            Answer::Delivered { .. } if was_failing => {
                let text = say("ingest.notifier.back", &[("name", &self.name)]);
                info!(notifier = %self.name, "{text}");
            }
            Answer::Retry { .. } | Answer::Delivered { .. } | Answer::Refused { .. } => {}
        }
    }

    pub(super) fn delivered(&self) {
        self.observer.delivered(self.kind);
    }

    pub(super) fn retried(&self) {
        self.observer.retried(self.kind);
    }

    /// Notices of these alerts have failed for good.
    pub(super) fn failed(&mut self, now: IngestTime, alerts: &[String], reason: &Reason) {
        let Some(alert) = alerts.last() else { return };
        for _ in alerts {
            self.observer.failed(self.kind);
            self.failed = self.failed.saturating_add(1);
        }
        if now < self.quiet_until {
            return;
        }
        let count = std::mem::take(&mut self.failed);
        self.quiet_until = now.plus(FAILED_LINE_EVERY);
        let args: [(&str, &dyn Display); 3] =
            [("name", &self.name), ("count", &count), ("reason", &reason.text())];
        let text = say("ingest.notifier.failed", &args);
        error!(notifier = %self.name, %alert, code = reason.code.as_str(), "{text}");
    }

    /// The queue is full.
    pub(super) fn full(&self) {
        let text = say("ingest.notifier.full", &[("name", &self.name)]);
        warn!(notifier = %self.name, "{text}");
    }

    /// The queue cannot be read or written.
    pub(super) fn storage(&self, error: &QueueError) {
        let args: [(&str, &dyn Display); 2] = [("name", &self.name), ("detail", &chain(error))];
        let text = say("ingest.notifier.storage", &args);
        error!(notifier = %self.name, "{text}");
    }

    /// The connection did not close in time.
    pub(super) fn close_late(&self) {
        let text = say("ingest.notifier.close", &[("name", &self.name)]);
        info!(notifier = %self.name, "{text}");
    }
}
