//! What is wrong at the moment, and since when: the source of `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use telemetry::text::Text;

/// A part of the program that can keep it from being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The store does not answer or refuses.
    Store,
    /// A broker is not connected or not subscribed.
    Mqtt,
    /// The listener does not listen.
    Listener,
    /// The journal, the pipeline behind it or the outbox cannot be written.
    Journal,
    /// The pipeline has not passed every cursor since the start.
    Recovering,
    /// The space for logs is used up, or the disk is full.
    Disk,
    /// The host's clock has jumped; results go on in journal time.
    Clock,
    /// A log is damaged: records are lost and counted.
    Damage,
    /// The table of devices is full: no device gets in that the registry does not name.
    Devices,
}

impl Part {
    /// Returns the word of `/readyz`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Mqtt => "mqtt",
            Self::Listener => "listener",
            Self::Journal => "journal",
            Self::Recovering => "recovering",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Damage => "damage",
            Self::Devices => "devices",
        }
    }

    /// Returns whether this keeps the program from being ready, rather than only being worth saying.
    #[must_use]
    pub const fn blocks(self) -> bool {
        match self {
            Self::Store
            | Self::Mqtt
            | Self::Listener
            | Self::Journal
            | Self::Recovering
            | Self::Disk => true,
            Self::Clock | Self::Damage | Self::Devices => false,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, with kind and address.
    pub message: Text,
    /// What to do.
    pub remedy: Text,
}

/// What is wrong at the moment, by part and name (of a source, say). At most one trouble for each.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<(Part, String), Trouble>>);

impl Health {
    /// Notes that something is wrong; says so once in the log.
    pub fn report(&self, part: Part, name: &str, message: Text, remedy: Text) {
        let trouble = Trouble { message, remedy };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.insert((part, name.to_owned()), trouble.clone());
        if before.as_ref() != Some(&trouble) {
            let (message, remedy) = (&trouble.message.en, &trouble.remedy.en);
            tracing::warn!(part = part.code(), name, %message, %remedy, "not ready");
        }
    }

    /// Notes that it is well again.
    pub fn clear(&self, part: Part, name: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.remove(&(part, name.to_owned())).is_some() {
            tracing::info!(part = part.code(), name, "well again");
        }
    }

    /// Returns what is wrong, in the order of the parts.
    #[must_use]
    pub fn troubles(&self) -> Vec<(Part, String, Trouble)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|((part, name), trouble)| (*part, name.clone(), trouble.clone())).collect()
    }

    /// Returns whether a part is in trouble under any name.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.keys().any(|(known, _)| *known == part)
    }
}
