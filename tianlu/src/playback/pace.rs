//! How fast recorded or simulated time passes.

use std::time::{Duration, Instant};

use super::stop::Stop;
use crate::cli::Speed;

/// How many rows pass between two looks at the stop signal where nothing is waited for.
const LOOK_EVERY: u32 = 1024;

/// Holds rows back until their time has come.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Speed,
    begun: Option<(Instant, i64)>,
    stop: Stop,
    passed: u32,
}

/// What a row has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Go on.
    Now,
    /// Wait for so long, and ask again.
    Wait(Duration),
    /// It is to end.
    End,
}

impl Pace {
    /// Begins with the first row.
    pub(crate) const fn new(speed: Speed, stop: Stop) -> Self {
        Self { speed, begun: None, stop, passed: 0 }
    }

    /// Tells what a row of this time has to do.
    pub(crate) fn turn(&mut self, at_nanos: i64) -> Turn {
        let Speed::Times(times) = self.speed else {
            self.passed = self.passed.wrapping_add(1);
            let is_asked = self.passed.is_multiple_of(LOOK_EVERY) && self.stop.is_asked();
            return if is_asked { Turn::End } else { Turn::Now };
        };
        if self.stop.is_asked() {
            return Turn::End;
        }
        let (begun, first) = *self.begun.get_or_insert_with(|| (Instant::now(), at_nanos));
        let recorded = u64::try_from(at_nanos.saturating_sub(first)).unwrap_or(0);
        // A recording of centuries at a thousandth of its speed: wait as long as there is a number for it.
        let due = Duration::try_from_secs_f64(Duration::from_nanos(recorded).as_secs_f64() / times);
        let wait = due.unwrap_or(Duration::MAX).saturating_sub(begun.elapsed());
        if wait.is_zero() { Turn::Now } else { Turn::Wait(wait) }
    }

    /// Waits until the row may go on; `false`: it is to end. `before` is called before the first wait.
    pub(crate) fn wait_for(&mut self, at_nanos: i64, mut before: impl FnMut()) -> bool {
        loop {
            match self.turn(at_nanos) {
                Turn::Now => return true,
                Turn::End => return false,
                Turn::Wait(time) => {
                    before();
                    self.stop.wait(time);
                }
            }
        }
    }

    /// Returns the stop signal.
    pub(crate) const fn stop(&self) -> &Stop {
        &self.stop
    }
}
