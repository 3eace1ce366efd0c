//! Ctrl-C and SIGTERM: a replay or simulation ends between two rows, and what was written is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody asked for the end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
}

impl Stop {
    /// Listens from now on; the calling thread is the one that [`Stop::wait`]s.
    pub(crate) fn on_signal() -> Self {
        let stop = Self { asked: Arc::default() };
        let (asked, waiting) = (Arc::clone(&stop.asked), thread::current());
        // Where no thread can be had, signals end the process as they always did.
        drop(
            thread::Builder::new()
                .name("signals".to_owned())
                .spawn(move || listen(&asked, &waiting)),
        );
        stop
    }

    /// Makes one that a test asks.
    #[cfg(test)]
    pub(crate) fn by_hand() -> Self {
        Self { asked: Arc::default() }
    }

    /// Asks for the end.
    #[cfg(test)]
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Returns whether it is to end.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits; returns early where it is to end.
    pub(crate) fn wait(&self, time: Duration) {
        if !self.is_asked() {
            thread::park_timeout(time);
        }
    }
}

fn listen(asked: &AtomicBool, waiting: &Thread) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    let told = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?);
        tokio::select! {
            told = interrupt.recv() => told,
            told = terminate.recv() => told,
        }
    });
    if told.is_some() {
        asked.store(true, Ordering::Relaxed);
        waiting.unpark();
    }
}
