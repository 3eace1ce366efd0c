//! Why a notice was not delivered: a code of a fixed set, and a detail for people.

use telemetry::text::{Text, say};

/// Longest detail kept, in characters.
const DETAIL_CHARS: usize = 200;

/// The fixed set of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// The endpoint answered with a status that is no success; the detail begins with it.
    Status,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// The broker refused the publish; the detail is its reason code.
    Broker,
    /// Not delivered within seven days; the detail is the last reason.
    Expired,
    /// Given up because newer notices needed the room.
    QueueFull,
    /// A fault of ours while sending.
    Internal,
}

impl ReasonCode {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::Status,
        Self::Timeout,
        Self::Unreachable,
        Self::Broker,
        Self::Expired,
        Self::QueueFull,
        Self::Internal,
    ];

    /// Returns the word that the queue file and the delivery log use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Broker => "broker",
            Self::Expired => "expired",
            Self::QueueFull => "queue_full",
            Self::Internal => "internal",
        }
    }

    /// Reads the word of [`ReasonCode::as_str`]; any other is [`ReasonCode::Internal`].
    #[must_use]
    pub fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.as_str() == word).unwrap_or(Self::Internal)
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Status => "ingest.notifier.reason.status",
            Self::Timeout => "ingest.notifier.reason.timeout",
            Self::Unreachable => "ingest.notifier.reason.unreachable",
            Self::Broker => "ingest.notifier.reason.broker",
            Self::Expired => "ingest.notifier.reason.expired",
            Self::QueueFull => "ingest.notifier.reason.queue_full",
            Self::Internal => "ingest.notifier.reason.internal",
        }
    }
}

/// Why a try or a notice failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Which of the fixed set.
    pub code: ReasonCode,
    /// Detail for people: at most 200 characters, no control characters, no credentials; may be empty.
    pub detail: String,
}

impl Reason {
    /// Makes a reason; the detail is cut and cleaned.
    #[must_use]
    pub fn new(code: ReasonCode, detail: &str) -> Self {
        Self { code, detail: clean(detail) }
    }

    /// Returns the reason for people, in both languages.
    #[must_use]
    pub fn text(&self) -> Text {
        say(self.code.key(), &[("detail", &self.detail)])
    }
}

/// Cuts a foreign text to [`DETAIL_CHARS`] and makes control characters harmless.
pub(super) fn clean(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(DETAIL_CHARS).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_text_and_reads_back() {
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::parse(code.as_str()), code);
            let text = Reason::new(code, "x").text();
            assert!(!text.en.starts_with("ingest.") && text.zh != text.en, "{code:?}: {text}");
        }
        assert_eq!(ReasonCode::parse("of a later version"), ReasonCode::Internal);
    }

    #[test]
    fn a_detail_is_cut_and_has_no_control_characters() {
        let reason =
            Reason::new(ReasonCode::Status, &format!("500 a\n\u{1b}[31mb{}", "田".repeat(500)));
        assert_eq!(reason.detail.chars().count(), 200);
        assert!(reason.detail.starts_with("500 a  [31mb田"));
    }
}
