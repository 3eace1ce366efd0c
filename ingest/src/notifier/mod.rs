//! Brings alerts to the people and systems that wait for them, at least once, across crashes and outages.
//!
//! ```text
//! outbox follower ──Batch──▶ run ──accept──▶ Queue (redb, one file a notifier)
//!                             │ ▲              │
//!                    Answer   │ └── due ───────┘
//!        WebhookSender ◀──Letter── Gate (pure) ──▶ settle: delivered | waiting | failed
//!        MqttSender
//! ```
//!
//! - **N1 durable before the cursor**: the cursor moves in the transaction that stores the notices it passes.
//! - **N2 once in the queue**: (id, state) is accepted once; what was sent and not recorded is sent again
//!   with the same `Idempotency-Key`.
//! - **N3 in order**: `resolved` waits until the `firing` of the same alert is delivered or has failed.
//! - **N4 bounded**: at most [`QueueLimits::waiting_max`] notices wait. When full, the cursor stands still
//!   for [`Options::patience`]; then the oldest waiting are failed (`queue_full`), counted and logged,
//!   because only the store may hold the outbox.
//! - **N5 ends**: every notice ends as delivered with a receipt, or as failed with a reason.
//!
//! It does not decide what an alert is, does not read the outbox, and does not register metrics: the shell
//! hands over [`Batch`]es and an [`Observer`].

mod clock;
mod flight;
mod intake;
mod mqtt;
mod policy;
mod queue;
mod reason;
mod report;
mod task;
mod webhook;

#[cfg(test)]
mod fake;

use std::future::Future;

use bytes::Bytes;
use telemetry::time::IngestTime;

pub use clock::Clock;
pub use mqtt::{MqttError, MqttSender, MqttTarget};
pub use policy::{Answer, Attempt, Gate, Verdict, backoff, judge, judge_status};
pub use policy::{BACKOFF_MAX, BACKOFF_MIN, GIVE_UP_AFTER, RETRY_AFTER_MAX, StatusVerdict};
pub use queue::{
    Acceptance, Due, GiveUp, LogEntry, Queue, QueueError, QueueLimits, Settlement, Status,
};
pub use reason::{Reason, ReasonCode};
pub use task::{Options, Wiring, run};
pub use webhook::{WebhookError, WebhookSender, WebhookTarget};

/// Where a result stands in the outbox: position, then index within it.
pub type OutboxKey = (u64, u32);

/// How grave an alert is; the order is the order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For information.
    Blue,
    /// Someone should look.
    Yellow,
    /// Someone should look today.
    Orange,
    /// Someone should look now.
    Red,
}

impl Severity {
    /// Every severity, least grave first.
    pub const ALL: [Self; 4] = [Self::Blue, Self::Yellow, Self::Orange, Self::Red];

    /// Returns the word used in rules, alert lines and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Red => "red",
        }
    }

    /// Reads the word of [`Severity::as_str`]; `None` for any other.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Blue => 0,
            Self::Yellow => 1,
            Self::Orange => 2,
            Self::Red => 3,
        }
    }

    /// An unknown code, of a later version, counts as the gravest: better told twice than never.
    fn from_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|severity| severity.code() == code).unwrap_or(Self::Red)
    }
}

/// What a notice says about its alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    /// The alert was raised.
    Firing,
    /// The alert is over.
    Resolved,
}

impl AlertState {
    /// Returns the word used in alert lines and in the idempotency key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// Reads the word of [`AlertState::as_str`]; `None` for any other.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Firing, Self::Resolved].into_iter().find(|state| state.as_str() == word)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Firing => 0,
            Self::Resolved => 1,
        }
    }

    const fn from_code(code: u8) -> Self {
        if code == 0 { Self::Firing } else { Self::Resolved }
    }
}

/// One alert transition to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The alert's id, different for every occurrence; with `state` it is the idempotency key.
    pub id: String,
    /// What is told about the alert.
    pub state: AlertState,
    /// How grave the alert is.
    pub severity: Severity,
    /// The alert's JSON line, sent exactly as it stands (no line end).
    pub body: Bytes,
    /// Where the outbox has it; `None` for the built-in alerts about Tianlu itself.
    pub origin: Option<OutboxKey>,
}

/// What the outbox follower hands over: notices, and how far it has read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// New notices, in outbox order; may be empty.
    pub notices: Vec<Notice>,
    /// The last outbox entry these cover; `None` leaves the cursor where it is.
    pub cursor: Option<OutboxKey>,
}

/// A notice on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Number within its queue.
    pub key: u64,
    /// The alert's id.
    pub id: String,
    /// What is told about the alert.
    pub state: AlertState,
    /// How grave the alert is.
    pub severity: Severity,
    /// The alert's JSON line.
    pub body: Bytes,
    /// When the queue took it.
    pub accepted_at: IngestTime,
    /// Tries so far, without the coming one.
    pub tries: u32,
}

impl Letter {
    /// Returns the key that stays the same on every try: `{id}:{state}`.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{}:{}", self.id, self.state.as_str())
    }
}

/// The kinds of notifiers; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// HTTP POST.
    Webhook,
    /// MQTT publish.
    Mqtt,
}

impl Kind {
    /// Returns the word used in configuration and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Mqtt => "mqtt",
        }
    }
}

/// Sends one letter at a time to one endpoint.
pub trait Sender: Send + Sync + 'static {
    /// Returns which kind of notifier this is.
    fn kind(&self) -> Kind;

    /// Sends the letter once and says how it went. Several calls run at the same time; each ends by itself
    /// within the sender's time-out.
    fn send(&self, letter: &Letter) -> impl Future<Output = Answer> + Send;

    /// Ends the connection in order, where there is one.
    fn close(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Hears what became of notices, for metrics. Called after the outcome is durable.
pub trait Observer: Send + Sync + 'static {
    /// One notice was delivered.
    fn delivered(&self, kind: Kind);
    /// One notice has failed for good.
    fn failed(&self, kind: Kind);
    /// One try did not succeed and will be repeated.
    fn retried(&self, kind: Kind);
}
