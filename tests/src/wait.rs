//! Waiting with a deadline.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Asks `probe` until it answers, and fails after `within` with `what` it waited for.
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain for {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Lets `span` pass, for what has to go on for a while.
pub fn pass(span: Duration) {
    thread::sleep(span);
}

/// Returns the time now in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
