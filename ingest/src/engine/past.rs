//! Where past values are read: the store, whichever it is.

use std::sync::Arc;

use store::history::History;
use store::{Influx, Place, RangeQuery, ReadError, Store};
use telemetry::text::say;
use telemetry::time::EventTime;
use tokio::sync::Semaphore;

use crate::engine::store_health::StoreHealth;
use crate::http::Unavailable;

/// Reads of the embedded history at once: each keeps a thread busy and may hold the values of a day in memory.
const READS_MAX: usize = 8;

/// The store, for reading.
#[derive(Clone)]
pub enum Past {
    /// InfluxDB.
    Influx(Arc<StoreHealth<Influx>>),
    /// The embedded history.
    History(Arc<History>, Turns),
}

/// Turns of reads that block a thread. A turn lasts as long as its read, which goes on where the request that asked for
/// it is gone.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READS_MAX)))
    }
}

impl Turns {
    /// Reads in a thread of its own, once it is its turn. `None`: the read has panicked.
    async fn take<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let read = move || {
            let _turn = turn;
            read()
        };
        tokio::task::spawn_blocking(read).await.ok()
    }
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
                found.map_err(|error| unavailable(&error, influx.place()))
            }
            Self::History(history, turns) => {
                let history = Arc::clone(history);
                match turns.take(move || history.range(&query)).await {
                    // Its errors name their own file.
                    Some(found) => found.map_err(|error| unavailable(&error, &Place::default())),
                    None => Err(Unavailable {
                        is_too_much: false,
                        message: say("ingest.desk.unavailable", &[]),
                    }),
                }
            }
        }
    }
}

fn unavailable(error: &ReadError, place: &Place) -> Unavailable {
    let is_too_much = matches!(error, ReadError::TooMany);
    Unavailable { is_too_much, message: error.message(place) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    /// Scenario: reads take long, and those who asked for them go away, one after the other.
    /// Guarantees: P3: no more of them go on than may at once; once they end, others have their turn.
    #[tokio::test]
    async fn reads_whose_requests_are_gone_keep_their_turns() {
        let turns = Turns::default();
        let (begun, may_end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for _ in 0..50 {
            let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
            let read = move || {
                begun.fetch_add(1, Ordering::SeqCst);
                while !may_end.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            let asked = tokio::time::timeout(Duration::from_millis(2), turns.take(read));
            assert!(asked.await.is_err(), "no read ends");
        }
        while begun.load(Ordering::SeqCst) < READS_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        may_end.store(true, Ordering::SeqCst);
        assert_eq!(begun.load(Ordering::SeqCst), READS_MAX);
        for _ in 0..=READS_MAX {
            assert_eq!(turns.take(|| 1).await, Some(1));
        }
    }
}
