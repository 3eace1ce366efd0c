//! The alerts that stand, and those that ended lately: what the alert list shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rules::{Alert, AlertState};

/// How long a resolved alert is listed, nanoseconds of journal time: 24 hours.
const LISTED_NANOS: i64 = 86_400_000_000_000;
/// Most resolved alerts that are listed; beyond it the oldest leaves the list (it is in outbox, store and log).
const LISTED_MAX: usize = 10_000;

/// The alerts that stand, and those that ended in the last 24 hours.
#[derive(Debug, Default)]
pub struct AlertBook {
    firing: BTreeMap<Box<str>, Standing>,
    /// Shared with a snapshot that is being copied.
    resolved: VecDeque<Arc<Alert>>,
}

/// An alert that stands.
#[derive(Debug)]
struct Standing {
    alert: Alert,
    /// In how many measurements of the device: its id names none.
    measurements: u32,
}

impl AlertBook {
    /// Notes a transition.
    pub fn note(&mut self, alert: &Alert) {
        match alert.state {
            AlertState::Firing => {
                let standing = self.firing.entry(alert.id.clone());
                let first = || Standing { alert: alert.clone(), measurements: 0 };
                standing.or_insert_with(first).measurements += 1;
            }
            AlertState::Resolved => {
                if let Some(standing) = self.firing.get_mut(&alert.id) {
                    standing.measurements -= 1;
                    if standing.measurements == 0 {
                        self.firing.remove(&alert.id);
                    }
                }
                self.list(alert.clone());
            }
        }
    }

    /// Lists an alert that has ended.
    pub(crate) fn list(&mut self, alert: Alert) {
        self.resolved.push_back(Arc::new(alert));
        if self.resolved.len() > LISTED_MAX {
            self.resolved.pop_front();
        }
    }

    /// Returns the alerts that ended lately, the oldest first.
    pub(crate) const fn resolved_list(&self) -> &VecDeque<Arc<Alert>> {
        &self.resolved
    }

    /// Drops what ended more than 24 hours before journal time `now`.
    pub fn forget_before(&mut self, now: i64) {
        while self
            .resolved
            .front()
            .is_some_and(|alert| now.saturating_sub(alert.received_at().as_nanos()) > LISTED_NANOS)
        {
            self.resolved.pop_front();
        }
    }

    /// Returns the alerts that stand, the newest first.
    #[must_use]
    pub fn firing(&self) -> Vec<&Alert> {
        let mut all: Vec<&Alert> = self.firing.values().map(|standing| &standing.alert).collect();
        all.sort_by(|a, b| (b.raised_at(), &a.id).cmp(&(a.raised_at(), &b.id)));
        all
    }

    /// Returns the alerts that ended lately, the newest first.
    pub fn resolved(&self) -> impl Iterator<Item = &Alert> {
        self.resolved.iter().rev().map(|alert| &**alert)
    }

    /// Returns how many stand.
    #[must_use]
    pub fn firing_len(&self) -> usize {
        self.firing.len()
    }
}
