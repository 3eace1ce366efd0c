//! Wakes a thread that waits for several things at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A flag with a waiting room: a call of [`Wake::wake`] before the wait is not lost.
#[derive(Debug, Default)]
pub struct Wake {
    called: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        *self.called.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until called, at most `most`.
    pub fn wait(&self, most: Duration) {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(called, most, |called| !*called);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
