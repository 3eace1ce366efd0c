//! Reads values back by Flux.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use telemetry::time::EventTime;

use crate::link::{Ask, Link, now};
use crate::{ANSWER_BYTES_MAX, DETAIL_MAX, RangeQuery, ReadError, cut, flux};

/// Reads values of one bucket.
#[derive(Debug)]
pub struct InfluxReader {
    link: Arc<Link>,
}

impl InfluxReader {
    pub(super) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Reads values in order of time: see [`crate::Store::range`].
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn range(&self, query: &RangeQuery) -> Result<Vec<(EventTime, f64)>, ReadError> {
        // InfluxDB refuses an empty range.
        if query.from >= query.to {
            return Ok(Vec::new());
        }
        self.run(flux::range(&self.link.place().bucket, query), query.step).await
    }

    /// Reads the newest value within the range: see [`crate::Store::latest`].
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn latest(&self, query: &RangeQuery) -> Result<Option<(EventTime, f64)>, ReadError> {
        if query.from >= query.to {
            return Ok(None);
        }
        let points = self.run(flux::latest(&self.link.place().bucket, query), None).await?;
        Ok(points.last().copied())
    }

    async fn run(
        &self,
        flux: String,
        step: Option<Duration>,
    ) -> Result<Vec<(EventTime, f64)>, ReadError> {
        let dialect = json!({ "header": true, "delimiter": ",", "annotations": [] });
        let body = json!({ "type": "flux", "query": flux, "dialect": dialect }).to_string();
        let query = [("org", self.link.place().org.as_str())];
        let mut ask = Ask::post("api/v2/query", &query, "application/json", body.into());
        ask.answer_max = ANSWER_BYTES_MAX;
        let answer = self.link.ask(ask).await?;
        match answer.status {
            200 if answer.truncated => Err(ReadError::TooMany),
            200 => flux::parse(&answer.body, step),
            400 | 422 => Err(ReadError::Query(cut(&answer.message(), DETAIL_MAX).into())),
            _ => {
                answer.judge(0, now())?;
                Err(ReadError::Answer(format!("status {}", answer.status).into()))
            }
        }
    }
}
