//! Commands on their way to devices: a bounded queue for each subscription, filled from any thread.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use telemetry::text::{Text, say};
use telemetry::topic::TopicPattern;
use tokio::sync::{Notify, mpsc};

use super::credentials::Credentials;

/// Commands that wait for one subscription; the next is refused.
const WAITING_MAX: usize = 100;
/// Longest command.
pub const COMMAND_BYTES_MAX: usize = 64 << 10;
/// Bytes of all commands that wait for one subscription.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// Subscriptions of one device that are served; the oldest gives way.
const RECEIVERS_MAX: usize = 4;
/// Changes that may wait for the loop; reloads are rare.
const CHANGES_MAX: usize = 8;

/// The queue of one subscription.
#[derive(Debug)]
pub(crate) struct Mailbox {
    tenant: Box<str>,
    device: Box<str>,
    topic: Arc<str>,
    is_at_least_once: AtomicBool,
    waiting: Mutex<VecDeque<Bytes>>,
}

impl Mailbox {
    /// `owner`: tenant and device that `topic` commands.
    pub(crate) fn new(owner: (&str, &str), topic: &str, is_at_least_once: bool) -> Self {
        Self {
            tenant: owner.0.into(),
            device: owner.1.into(),
            topic: topic.into(),
            is_at_least_once: AtomicBool::new(is_at_least_once),
            waiting: Mutex::default(),
        }
    }

    pub(crate) const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) fn is_at_least_once(&self) -> bool {
        self.is_at_least_once.load(Ordering::Relaxed)
    }

    /// Sets how what waits is sent, as the subscription says that was made anew.
    pub(crate) fn set_at_least_once(&self, is_at_least_once: bool) {
        self.is_at_least_once.store(is_at_least_once, Ordering::Relaxed);
    }

    /// Takes the oldest command that waits.
    pub(crate) fn take(&self) -> Option<Bytes> {
        locked(&self.waiting).pop_front()
    }

    fn put(&self, payload: Bytes) -> bool {
        let mut waiting = locked(&self.waiting);
        let bytes: usize = waiting.iter().map(Bytes::len).sum();
        let has_room = waiting.len() < WAITING_MAX && bytes + payload.len() <= WAITING_BYTES_MAX;
        if has_room {
            waiting.push_back(payload);
        }
        has_room
    }
}

/// A command that waits for its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// How many subscriptions it waits for; a device that is away gets it when it comes back to its session.
    pub receivers: usize,
}

/// Why a command was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No session of the device is subscribed to its command topic.
    #[error("no session of `{tenant}/{device}` is subscribed to its command topic")]
    NotSubscribed {
        /// The tenant.
        tenant: String,
        /// The device.
        device: String,
    },
    /// As many commands wait as may.
    #[error("the queue of commands for `{tenant}/{device}` is full")]
    Full {
        /// The tenant.
        tenant: String,
        /// The device.
        device: String,
    },
    /// Longer than 64 KiB.
    #[error("a command of {bytes} bytes is longer than {COMMAND_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl CommandError {
    /// Returns what to tell the user.
    #[must_use]
    pub fn text(&self) -> Text {
        match self {
            Self::NotSubscribed { tenant, device } => {
                say("listener.command.not_subscribed", &[("tenant", tenant), ("device", device)])
            }
            Self::Full { tenant, device } => {
                say("listener.command.full", &[("tenant", tenant), ("device", device)])
            }
            Self::TooLong { bytes } => {
                say("listener.command.too_long", &[("bytes", bytes), ("most", &COMMAND_BYTES_MAX)])
            }
        }
    }
}

/// What a reload changes.
#[derive(Debug)]
pub(crate) enum Change {
    Patterns(Vec<TopicPattern>),
    Credentials(Option<Credentials>),
}

type Receivers = HashMap<(Box<str>, Box<str>), Vec<Weak<Mailbox>>>;

/// The side of the listener that other threads talk to.
#[derive(Debug, Clone)]
pub struct Commands {
    receivers: Arc<Mutex<Receivers>>,
    /// Rings when a command waits.
    bell: Arc<Notify>,
    changes: mpsc::Sender<Change>,
}

impl Commands {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Change>) {
        let (changes, changed) = mpsc::channel(CHANGES_MAX);
        (Self { receivers: Arc::default(), bell: Arc::default(), changes }, changed)
    }

    /// Queues a command for a device; it waits while the device is away and its session is kept.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn send(&self, tenant: &str, device: &str, payload: Bytes) -> Result<Queued, CommandError> {
        if payload.len() > COMMAND_BYTES_MAX {
            return Err(CommandError::TooLong { bytes: payload.len() });
        }
        let names = || (tenant.to_owned(), device.to_owned());
        let receivers = self.receivers_of(tenant, device);
        if receivers.is_empty() {
            let (tenant, device) = names();
            return Err(CommandError::NotSubscribed { tenant, device });
        }
        let taken = receivers.iter().filter(|mailbox| mailbox.put(payload.clone())).count();
        self.bell.notify_one();
        if taken == 0 {
            let (tenant, device) = names();
            return Err(CommandError::Full { tenant, device });
        }
        Ok(Queued { receivers: taken })
    }

    /// Sets the patterns of `[[uplinks]]` after a reload. What is connected stays, and is judged by them from then on.
    pub fn set_patterns(&self, patterns: Vec<TopicPattern>) {
        self.change(Change::Patterns(patterns));
    }

    /// Sets the credentials after a reload, where the listener asked for some from its start and still does.
    /// Connections that no line supports any more are ended.
    pub fn set_credentials(&self, credentials: Option<Credentials>) {
        self.change(Change::Credentials(credentials));
    }

    fn change(&self, change: Change) {
        if self.changes.try_send(change).is_err() {
            tracing::warn!("the listener did not take a change of its configuration; reload again");
        }
    }

    /// Waits until a command was queued.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Lets commands reach a subscription, for as long as its session lives. One that is known counts as new, and
    /// gets each command once.
    pub(crate) fn register(&self, mailbox: &Arc<Mailbox>) {
        let key = (mailbox.tenant.clone(), mailbox.device.clone());
        let mut all = locked(&self.receivers);
        let of_device = all.entry(key).or_default();
        let is_other = |known: &Weak<Mailbox>| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(mailbox));
        of_device.retain(|known| known.strong_count() > 0 && is_other(known));
        if of_device.len() >= RECEIVERS_MAX {
            of_device.remove(0);
        }
        of_device.push(Arc::downgrade(mailbox));
    }

    /// Forgets devices without a session.
    pub(crate) fn forget_gone(&self) {
        locked(&self.receivers).retain(|_, of_device| {
            of_device.retain(|known| known.strong_count() > 0);
            !of_device.is_empty()
        });
    }

    fn receivers_of(&self, tenant: &str, device: &str) -> Vec<Arc<Mailbox>> {
        let key = (Box::from(tenant), Box::from(device));
        let all = locked(&self.receivers);
        all.get(&key).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
