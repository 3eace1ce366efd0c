//! How much the publishers may have sent, so that the load lasts as long as the kills.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::wait::pass;

/// Time between two releases.
const STEP: Duration = Duration::from_millis(10);
/// What a kill and its restart are taken to last before the first.
const GUESS: Duration = Duration::from_millis(1500);

/// Releases messages at the rate that lasts until the last kill, judged anew all the time.
pub(super) struct Pace {
    released: Arc<AtomicUsize>,
    /// Time of the kills done, and of those with the one to come, in the length of a quick one.
    done: Arc<AtomicU32>,
    begun: Arc<AtomicU32>,
    at_last_kill: usize,
}

impl Pace {
    /// Begins to release `all` messages of each publisher during kills that take as long as `in_all` quick ones.
    pub(super) fn start(all: u32, in_all: u32) -> Self {
        let pace = Self {
            released: Arc::default(),
            done: Arc::default(),
            begun: Arc::default(),
            at_last_kill: 0,
        };
        let (released, done, begun) =
            (Arc::clone(&pace.released), Arc::clone(&pace.done), Arc::clone(&pace.begun));
        thread::spawn(move || {
            let (all, in_all, start) = (f64::from(all), f64::from(in_all), Instant::now());
            let mut given = 0.0;
            loop {
                let done = f64::from(done.load(Ordering::Relaxed));
                if done >= in_all {
                    released.store(usize::MAX, Ordering::Relaxed);
                    return;
                }
                let a_quick_one = (start.elapsed() + GUESS).as_secs_f64() / (done + 1.0);
                let steps = (in_all - done) * a_quick_one / STEP.as_secs_f64();
                // The rest waits for the last kill and what comes after it.
                let most = all * f64::from(begun.load(Ordering::Relaxed)) / (in_all + 1.0);
                given = f64::min(given + (all - given) / steps, most);
                released.store(whole(given), Ordering::Relaxed);
                pass(STEP);
            }
        });
        pace
    }

    /// Returns how many messages a publisher may have sent.
    pub(super) fn released(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.released)
    }

    /// Begins a kill that takes as long as so many quick ones.
    pub(super) fn begin(&self, length: u32) {
        self.begun.fetch_add(length, Ordering::Relaxed);
    }

    /// Ends it, and returns whether there was something to send since the one before.
    pub(super) fn killed(&mut self) -> bool {
        self.done.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
        let before = self.at_last_kill;
        self.at_last_kill = self.released.load(Ordering::Relaxed);
        self.at_last_kill > before
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of messages")]
const fn whole(count: f64) -> usize {
    count as usize
}
