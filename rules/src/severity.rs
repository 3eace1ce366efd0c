//! The four colours of a warning.

use std::fmt::{self, Display};

use bincode::{Decode, Encode};
use serde::{Serialize, Serializer};
use telemetry::text::{Text, say};

/// How grave an alert is, as the national warning signals grade it; ordered from slight to grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Severity {
    /// Level IV, slight.
    Blue,
    /// Level III.
    Yellow,
    /// Level II.
    Orange,
    /// Level I, most grave.
    Red,
}

impl Severity {
    /// Every severity with the word that files and alerts use.
    pub const CHOICES: [(&str, Self); 4] = [
        ("blue", Self::Blue),
        ("yellow", Self::Yellow),
        ("orange", Self::Orange),
        ("red", Self::Red),
    ];

    /// Returns the word that files, alerts and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Red => "red",
        }
    }

    /// Reads the word; `None` where it is none of the four.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::CHOICES.iter().find(|(known, _)| *known == word).map(|(_, severity)| *severity)
    }

    /// Returns the colour as a message names it.
    #[must_use]
    pub fn text(self) -> Text {
        let key = match self {
            Self::Blue => "rules.severity.blue",
            Self::Yellow => "rules.severity.yellow",
            Self::Orange => "rules.severity.orange",
            Self::Red => "rules.severity.red",
        };
        say(key, &[])
    }
}

impl Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
