//! InfluxDB 2, and what speaks its API: InfluxDB 1.8 and 3, VictoriaMetrics, GreptimeDB, QuestDB.
//!
//! # What influxd 2.9.1 answers to `POST /api/v2/write`
//!
//! The tests of this crate ask a real one; a bucket that keeps a day, a float field `x`.
//!
//! | body | answer | written |
//! |---|---|---|
//! | good points, or nothing at all | 204 | all |
//! | one string in `x` among good points | 422 `failure writing points to database: partial write: field type conflict: input field "x" on measurement "m" is type string, already exists as type float dropped=1` | the good ones |
//! | three strings in `x`, nothing else | the same with `dropped=3` | nothing |
//! | one point of three days ago | 422 `… partial write: dropped 1 points outside retention policy of duration 24h0m0s - oldest point m,device=c at T dropped because it violates a Retention Policy Lower Bound at U, newest point … dropped=1 for database: … for retention policy: autogen` | the good ones |
//! | both | 422 with the words of the type conflict alone, `dropped=1`: the old point is **not** counted | the good ones |
//! | strings in `x` in two shards | 422, `dropped=1`: only one shard's count | the good ones |
//! | a line that is none | 400 `unable to parse '<line>': missing field value`, one such sentence for each bad line, joined by a newline | **nothing** |
//! | a line that is none, and a type conflict, and an old point | 400 as above, no word of the others | nothing |
//! | `NaN`, or a time beyond 64 bits | 400 `unable to parse …` | nothing |
//! | a field named `time` | 422 `… partial write: invalid field name: input field "time" on measurement "m" is invalid dropped=1` | the good ones |
//! | no `org`, or a wrong `precision` | 400 `Please provide either orgID or org`; so also for an empty body, which tells a wrong request from wrong points | nothing |
//! | gzip cut short | 500 `unable to read data: unexpected EOF` | nothing |
//! | token unknown / may not write | 401 `unauthorized access` / 403 `insufficient permissions for write` | nothing |
//! | bucket / org missing | 404 `bucket "nope" not found` / `organization name "none" not found` | nothing |
//!
//! A field has its type for each shard: the same string is taken (204) where `x` has no float within
//! that week. A query over both weeks then shows one of the types only, and no error. The bucket API shows a bucket that the token may not read as an empty list (200) and one
//! that does not exist as 404, so that only the latter is created. `GET /health` and `GET /ready` need no
//! token; `/ready` has `started`, the time the process began.
//!
//! # Field types
//!
//! The encoder always writes floats as floats (`1` is `1`, never `1i`), so a conflict comes only from
//! elsewhere: another writer, or a profile whose type was changed. Such a point is rejected as
//! `type_conflict`, the good ones are stored, and the field keeps the type it has.
//!
//! # Where the `influxdb2` crate serves, and where not
//!
//! The end-to-end tests ask InfluxDB with it what was written, so that our own reader is not its own
//! judge. It is not in the product: version 0.5.2 drops the headers of an answer (no `Retry-After`), has
//! no time-out, overwrites the path of the base URL, does not escape newlines in tags, panics on a cut
//! answer to a query, and brings a second, older HTTP and TLS stack.

mod bucket;
mod reader;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use telemetry::text::{Text, say};
use telemetry::time::EventTime;

pub use bucket::BucketState;
pub use reader::InfluxReader;
pub use writer::InfluxWriter;

use crate::link::Link;
use crate::{Batch, Health, Outcome, Place, RangeQuery, ReadError, Store, WriteError};

/// How to reach the store.
#[derive(Debug, Clone)]
pub struct InfluxOptions {
    /// Base URL, `http` or `https`; its path is kept.
    pub url: String,
    /// Organisation.
    pub org: String,
    /// Bucket.
    pub bucket: String,
    /// File with the token and nothing else.
    pub token_file: PathBuf,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// How much of what was acknowledged last is sent again after an outage. Zero: nothing.
    pub replay_window: Duration,
    /// Most bytes of the replay window; beyond it the oldest batches leave early, and are counted.
    pub replay_bytes_max: usize,
    /// Longest time of one request, its answer included.
    pub request_timeout: Duration,
}

impl InfluxOptions {
    /// Makes the options with the defaults: no gzip, 10 s and 32 MiB of replay window, 30 s a request.
    #[must_use]
    pub fn new(url: &str, org: &str, bucket: &str, token_file: impl Into<PathBuf>) -> Self {
        Self {
            url: url.to_owned(),
            org: org.to_owned(),
            bucket: bucket.to_owned(),
            token_file: token_file.into(),
            gzip: false,
            replay_window: Duration::from_secs(10),
            replay_bytes_max: 32 << 20,
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// Why the options make no client. Nothing was asked yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one, or holds what it must not.
    #[error("use `{url}` as the store's address: {detail}")]
    Url {
        /// The URL without any credentials.
        url: Box<str>,
        /// What is wrong.
        detail: Box<str>,
    },
    /// The HTTP client cannot be made.
    #[error("make the HTTP client")]
    Client(#[source] Box<reqwest::Error>),
}

impl OpenError {
    /// Returns what is wrong, for a person.
    #[must_use]
    pub fn message(&self) -> Text {
        match self {
            Self::Url { url, detail } => say("store.url", &[("url", url), ("detail", detail)]),
            Self::Client(cause) => say("store.client", &[("detail", cause)]),
        }
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Text {
        match self {
            Self::Url { .. } => say("store.url.remedy", &[]),
            Self::Client(_) => say("store.client.remedy", &[]),
        }
    }
}

/// Writer and reader of one bucket, over the same connections.
#[derive(Debug)]
pub struct Influx {
    /// Writes.
    pub writer: InfluxWriter,
    /// Reads.
    pub reader: InfluxReader,
}

impl Influx {
    /// Makes both. Asks nothing yet, and does not read the token file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for a URL that cannot be used.
    pub fn open(options: &InfluxOptions) -> Result<Self, OpenError> {
        let link = Arc::new(Link::open(options)?);
        let writer =
            InfluxWriter::new(Arc::clone(&link), options.replay_window, options.replay_bytes_max);
        Ok(Self { writer, reader: InfluxReader::new(link) })
    }

    /// Returns where it is, for [`WriteError::message`] and [`WriteError::advice`].
    #[must_use]
    pub fn place(&self) -> &Place {
        self.writer.place()
    }
}

impl Store for Influx {
    async fn write(&self, batch: &Batch) -> Result<Outcome, WriteError> {
        self.writer.write(batch).await
    }

    async fn probe(&self) -> Result<Health, WriteError> {
        self.writer.probe().await
    }

    async fn settle(&self) -> Result<usize, WriteError> {
        self.writer.settle().await
    }

    async fn range(&self, query: &RangeQuery) -> Result<Vec<(EventTime, f64)>, ReadError> {
        self.reader.range(query).await
    }

    async fn latest(&self, query: &RangeQuery) -> Result<Option<(EventTime, f64)>, ReadError> {
        self.reader.latest(query).await
    }
}
