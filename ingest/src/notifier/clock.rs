//! The one clock of a notifier: wall time at its start, then monotonic.

use telemetry::time::IngestTime;
use tokio::time::Instant;

/// Wall time that never jumps while the process runs. Times in the queue file are of this clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: IngestTime,
    started: Instant,
}

impl Clock {
    /// Starts a clock that shows `wall` now.
    #[must_use]
    pub fn start(wall: IngestTime) -> Self {
        Self { wall, started: Instant::now() }
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> IngestTime {
        self.wall.plus(self.started.elapsed())
    }

    /// Waits until `at`; for ever where there is no time to wait for.
    pub async fn sleep_until(&self, at: Option<IngestTime>) {
        match at {
            Some(at) => tokio::time::sleep(at.since(self.now())).await,
            None => std::future::pending().await,
        }
    }
}
