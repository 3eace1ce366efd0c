//! What can go wrong at the store, and what to do about it.

use std::time::Duration;

use telemetry::problem::chain;
use telemetry::text::{Text, say};

/// Why a batch is not settled. Nothing of it is lost: write it again after [`WriteError::remedy`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// No connection, or it broke.
    #[error("reach the store")]
    Unreachable(#[source] Box<reqwest::Error>),
    /// No answer within the time-out.
    #[error("wait for the store's answer")]
    TimedOut,
    /// 429 or 503: too much at once.
    #[error("write while the store is busy (status {status})")]
    Busy {
        /// Status of the answer.
        status: u16,
        /// What the store asks to wait, at most [`crate::RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// 5xx, or an answer that InfluxDB does not give.
    #[error("write to the store: it failed with status {status}: {message}")]
    Failed {
        /// Status of the answer.
        status: u16,
        /// The store's words, cut.
        message: Box<str>,
    },
    /// 413: the body is too large.
    #[error("write {bytes} bytes at once")]
    TooLarge {
        /// Size of the refused body.
        bytes: usize,
    },
    /// 400 or 422: something in the body is not taken.
    #[error("write every point (status {status}): {message}")]
    Refused {
        /// Status of the answer.
        status: u16,
        /// The store's words, cut to [`crate::MESSAGE_MAX`] bytes.
        message: Box<str>,
        /// Time of the store at its answer, in nanoseconds since 1970.
        store_nanos: Option<i64>,
    },
    /// 400 also for an empty body: the request itself is wrong, not the points.
    #[error("write to the store: it refuses even an empty request (status {status}): {message}")]
    RequestRefused {
        /// Status of the answer.
        status: u16,
        /// The store's words, cut.
        message: Box<str>,
    },
    /// 401: the token is not known.
    #[error("write with this token: the store does not know it")]
    Unauthorized,
    /// 403: the token may not.
    #[error("write with this token: {message}")]
    Forbidden {
        /// The store's words, cut.
        message: Box<str>,
    },
    /// 404: no such bucket, not yet tried to create.
    #[error("find the bucket")]
    NoBucket,
    /// The bucket is missing and the token may not create it.
    #[error("create the missing bucket: {message}")]
    BucketMissing {
        /// The store's words, cut.
        message: Box<str>,
    },
    /// 404: no such organisation.
    #[error("find the organisation")]
    OrgMissing,
    /// 404 for the path: nothing at this URL takes line protocol.
    #[error("find `/api/v2/write` at this URL")]
    NoSuchPath,
    /// The token file cannot be read, or holds no token.
    #[error("read the token file: {0}")]
    Token(Box<str>),
}

/// What to do about a [`WriteError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Write again after an exponential back-off with jitter.
    Backoff,
    /// Write again after exactly this.
    After(Duration),
    /// Write in smaller parts. Done inside `write`.
    Split,
    /// Find the points that are not taken. Done inside `write`.
    Isolate,
    /// Create the bucket and write again. Done inside `write`.
    CreateBucket,
    /// A person must act. Keep everything, say so, try again every [`crate::HALT_PROBE`].
    Halt,
}

impl WriteError {
    /// Decides, here and only here, what every caller does about an error.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::Failed { .. }
            | Self::Busy { retry_after: None, .. } => Remedy::Backoff,
            Self::Busy { retry_after: Some(wait), .. } => Remedy::After(*wait),
            Self::TooLarge { .. } => Remedy::Split,
            Self::Refused { .. } => Remedy::Isolate,
            Self::NoBucket => Remedy::CreateBucket,
            Self::RequestRefused { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::BucketMissing { .. }
            | Self::OrgMissing
            | Self::NoSuchPath
            | Self::Token(_) => Remedy::Halt,
        }
    }

    /// Returns the metric label: one of a small, fixed set.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "failed",
            Self::TooLarge { .. } => "too_large",
            Self::Refused { .. } => "refused",
            Self::RequestRefused { .. } => "request_refused",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NoBucket | Self::BucketMissing { .. } => "bucket_missing",
            Self::OrgMissing => "org_missing",
            Self::NoSuchPath => "no_such_path",
            Self::Token(_) => "token_file",
        }
    }

    /// Returns whether the store, or the way to it, may have gone down: what it acknowledged last is in doubt.
    pub(crate) const fn lost_contact(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Failed { status: 502 | 504, .. })
    }

    /// Returns what happened, for a person.
    #[must_use]
    pub fn message(&self, place: &Place) -> Text {
        let at = place.url.as_str();
        match self {
            Self::Unreachable(cause) => {
                say("store.unreachable", &[("url", &at), ("detail", &chain(cause.as_ref()))])
            }
            Self::TimedOut => say("store.timed_out", &[("url", &at)]),
            Self::Busy { status, .. } => say("store.busy", &[("url", &at), ("status", status)]),
            Self::Failed { status, message } => {
                say("store.failed", &[("url", &at), ("status", status), ("detail", message)])
            }
            Self::TooLarge { bytes } => say("store.too_large", &[("url", &at), ("bytes", bytes)]),
            Self::Refused { status, message, .. } => {
                say("store.refused", &[("url", &at), ("status", status), ("detail", message)])
            }
            Self::RequestRefused { status, message } => say(
                "store.request_refused",
                &[("url", &at), ("status", status), ("detail", message)],
            ),
            Self::Unauthorized => say("store.unauthorized", &[("url", &at)]),
            Self::Forbidden { message } => {
                say("store.forbidden", &[("url", &at), ("detail", message)])
            }
            Self::NoBucket => say("store.no_bucket", &[("url", &at), ("bucket", &place.bucket)]),
            Self::BucketMissing { .. } => {
                say("store.bucket_missing", &[("url", &at), ("bucket", &place.bucket)])
            }
            Self::OrgMissing => say("store.org_missing", &[("url", &at), ("org", &place.org)]),
            Self::NoSuchPath => say("store.no_such_path", &[("url", &at)]),
            Self::Token(detail) => {
                say("store.token_file", &[("file", &place.token_file), ("detail", detail)])
            }
        }
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn advice(&self, place: &Place) -> Text {
        let file: &dyn std::fmt::Display = &place.token_file;
        match self {
            Self::Unreachable(_) | Self::TimedOut => {
                say("store.unreachable.remedy", &[("url", &place.url)])
            }
            Self::Busy { .. } => say("store.busy.remedy", &[]),
            Self::Failed { .. } => say("store.failed.remedy", &[]),
            Self::TooLarge { .. } | Self::Refused { .. } => say("store.refused.remedy", &[]),
            Self::RequestRefused { .. } => say("store.request_refused.remedy", &[]),
            Self::Unauthorized => say("store.unauthorized.remedy", &[("file", file)]),
            Self::Forbidden { .. } => {
                say("store.forbidden.remedy", &[("file", file), ("bucket", &place.bucket)])
            }
            Self::NoBucket | Self::BucketMissing { .. } => say(
                "store.bucket_missing.remedy",
                &[("org", &place.org), ("bucket", &place.bucket)],
            ),
            Self::OrgMissing => say("store.org_missing.remedy", &[]),
            Self::NoSuchPath => say("store.no_such_path.remedy", &[]),
            Self::Token(_) => say("store.token_file.remedy", &[("file", file)]),
        }
    }
}

/// Where the store is, for texts. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Base URL.
    pub url: String,
    /// Organisation.
    pub org: String,
    /// Bucket.
    pub bucket: String,
    /// Path of the token file.
    pub token_file: String,
}

/// Why stored values could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store did not answer as it should; as for writing.
    #[error("ask the store")]
    Store(#[from] WriteError),
    /// The query fails in the store.
    #[error("run the query: {0}")]
    Query(Box<str>),
    /// The answer is not the CSV that was asked for.
    #[error("read the store's answer: {0}")]
    Answer(Box<str>),
    /// More values than [`crate::POINTS_MAX`], or an answer of more than [`crate::ANSWER_BYTES_MAX`].
    #[error("return more than {} values at once", crate::POINTS_MAX)]
    TooMany,
    /// The embedded history could not be read.
    #[error("read the history")]
    History(#[source] Box<crate::history::HistoryError>),
}

impl ReadError {
    /// Returns what happened, for a person.
    #[must_use]
    pub fn message(&self, place: &Place) -> Text {
        match self {
            Self::Store(error) => error.message(place),
            Self::Query(detail) | Self::Answer(detail) => {
                say("store.query", &[("url", &place.url), ("detail", detail)])
            }
            Self::TooMany => say("store.too_many", &[("most", &crate::POINTS_MAX)]),
            Self::History(error) => error.message(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_text_an_advice_and_a_label() {
        let text = || Box::<str>::from("details");
        let place = Place {
            url: "http://h/".into(),
            org: "o".into(),
            bucket: "b".into(),
            token_file: "t".into(),
        };
        let errors = [
            WriteError::TimedOut,
            WriteError::Busy { status: 429, retry_after: None },
            WriteError::Failed { status: 500, message: text() },
            WriteError::TooLarge { bytes: 5 },
            WriteError::Refused { status: 422, message: text(), store_nanos: None },
            WriteError::RequestRefused { status: 400, message: text() },
            WriteError::Unauthorized,
            WriteError::Forbidden { message: text() },
            WriteError::NoBucket,
            WriteError::BucketMissing { message: text() },
            WriteError::OrgMissing,
            WriteError::NoSuchPath,
            WriteError::Token(text()),
        ];
        for error in &errors {
            for text in [error.message(&place), error.advice(&place)] {
                // An unknown key yields itself, an unknown placeholder stays.
                assert!(
                    !text.en.starts_with("store.") && !text.en.contains('{'),
                    "{error:?}: {}",
                    text.en
                );
            }
            assert!(!error.code().is_empty() && !error.to_string().ends_with('.'), "{error}");
        }
        for error in [ReadError::Query(text()), ReadError::TooMany] {
            assert!(!error.message(&place).en.contains('{'), "{error}");
        }
    }
}
