//! Where past values are read: the store, whichever it is.

use std::sync::Arc;

use store::history::History;
use store::{Influx, RangeQuery, ReadError, Store};
use telemetry::text::{Text, say};
use telemetry::time::EventTime;

use crate::engine::store_health::StoreHealth;
use crate::http::Unavailable;

/// The store, for reading.
#[derive(Clone)]
pub enum Past {
    /// InfluxDB.
    Influx(Arc<StoreHealth<Influx>>),
    /// The embedded history.
    History(Arc<History>),
}

impl Past {
    /// Reads values in order of time.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: too many, or the store does not answer.
    pub async fn range(&self, query: RangeQuery) -> Result<Vec<(EventTime, f64)>, Unavailable> {
        match self {
            Self::Influx(influx) => {
                let influx = &influx.store;
                let found = Store::range(influx, &query).await;
                found.map_err(|error| unavailable(&error, error.message(influx.place())))
            }
            Self::History(history) => {
                let history = Arc::clone(history);
                let read = move || history.range(&query);
                match tokio::task::spawn_blocking(read).await {
                    Ok(found) => found.map_err(|error| {
                        let detail = telemetry::problem::chain(&error);
                        let message = say("ingest.history.not_read", &[("detail", &detail)]);
                        unavailable(&error, message)
                    }),
                    Err(_) => Err(Unavailable {
                        is_too_much: false,
                        message: say("ingest.desk.unavailable", &[]),
                    }),
                }
            }
        }
    }
}

const fn unavailable(error: &ReadError, message: Text) -> Unavailable {
    Unavailable { is_too_much: matches!(error, ReadError::TooMany), message }
}
