//! What is remembered of one rule and one device between readings.
//!
//! ```text
//!            when                    held for on_delay
//!  Normal ─────────▶ Pending ────────────────────────────▶ Firing
//!    ▲                  │ not when                            │
//!    ├──────────────────┘                                     │
//!    └─────── clear (default: not when) held for off_delay ◀──┘
//! ```

use bincode::{Decode, Encode};
use telemetry::time::{EventTime, IngestTime};

use crate::alert::{Alert, Reason};

/// State of one rule for one device: 24 bytes, and one allocation while an alert stands.
///
/// The default is normal, so that only what is not normal needs a place. It can be written to a snapshot.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct RuleState(pub(crate) Inner);

/// Times are event time in nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub(crate) enum Inner {
    #[default]
    Normal,
    /// The condition holds, the on-delay is not over.
    Pending {
        began_at: i64,
        last_at: i64,
    },
    Firing(Box<Firing>),
}

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Firing {
    /// The alert as raised; its end repeats it whatever became of rule text and registry meanwhile.
    pub(crate) alert: Alert,
    /// The newest observation judged.
    pub(crate) last_at: i64,
    /// Since when the clearing condition holds without a break.
    pub(crate) clearing_at: Option<i64>,
}

impl RuleState {
    /// Returns whether there is nothing to remember.
    #[must_use]
    pub const fn is_normal(&self) -> bool {
        matches!(self.0, Inner::Normal)
    }

    /// Returns since when the condition holds, while the on-delay is not over.
    #[must_use]
    pub const fn pending_since(&self) -> Option<EventTime> {
        match &self.0 {
            Inner::Pending { began_at, .. } => Some(EventTime::from_nanos(*began_at)),
            Inner::Normal | Inner::Firing(_) => None,
        }
    }

    /// Returns the alert that stands, as it was raised.
    #[must_use]
    pub fn alert(&self) -> Option<&Alert> {
        match &self.0 {
            Inner::Firing(firing) => Some(&firing.alert),
            Inner::Normal | Inner::Pending { .. } => None,
        }
    }

    /// Forgets everything, since the rule was removed, changed its meaning or no longer covers the device.
    ///
    /// Returns the resolved alert, at journal time `at`, where one stood.
    pub fn rule_changed(&mut self, at: IngestTime) -> Option<Box<Alert>> {
        self.resolve(at.as_event(), at, Some(Reason::RuleChanged))
    }

    pub(crate) fn resolve(
        &mut self,
        at: EventTime,
        received_at: IngestTime,
        reason: Option<Reason>,
    ) -> Option<Box<Alert>> {
        match std::mem::take(&mut self.0) {
            Inner::Firing(firing) => Some(Box::new(firing.alert.resolved(at, received_at, reason))),
            Inner::Normal | Inner::Pending { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_small() {
        assert_eq!(size_of::<RuleState>(), 24);
        assert_eq!(size_of::<Option<Box<Alert>>>(), 8);
    }
}
