//! When a pause after a read pays. Pure.
//!
//! A broker writes each message by itself, so an eager reader pays a wake-up and a system call for
//! every one. Waiting about 2 ms after a read that emptied the socket gives one read for many. But a
//! broker that has used up its in-flight window sends nothing until we acknowledge, and every pause
//! would then be pure loss. Two signs of that:
//!
//! - our own Receive Maximum is half used, or small altogether;
//! - the greatest number of unacknowledged messages is the same from pause to pause: the broker has a
//!   window of its own, which MQTT does not tell us.

/// Windows up to this size never wait.
const SMALL_WINDOW: usize = 64;
/// So many equal peaks in a row are taken for a window.
const EQUAL_PEAKS: u32 = 4;
/// For how many emptied reads pauses are left out, the first time and at most.
const SUSPEND_FIRST: u32 = 64;
const SUSPEND_MOST: u32 = 4096;

/// Decides after each read that emptied the socket.
#[derive(Debug)]
pub(crate) struct Rhythm {
    window: usize,
    peak: usize,
    equal: u32,
    suspended: u32,
    next_suspension: u32,
}

impl Rhythm {
    /// `window`: our Receive Maximum.
    pub(crate) const fn new(window: usize) -> Self {
        Self { window, peak: 0, equal: 0, suspended: 0, next_suspension: SUSPEND_FIRST }
    }

    /// Returns whether to pause. `unacked`: now; `peak`: the greatest number since the last call.
    pub(crate) fn pause(&mut self, unacked: usize, peak: usize) -> bool {
        if self.window <= SMALL_WINDOW || unacked >= self.window / 2 {
            return false;
        }
        if peak > self.peak {
            // More than ever before at once: what looked like a window was none.
            self.peak = peak;
            self.equal = 0;
            self.suspended = 0;
            self.next_suspension = SUSPEND_FIRST;
            return true;
        }
        if self.suspended > 0 {
            self.suspended -= 1;
            return false;
        }
        self.equal = if peak == self.peak { self.equal + 1 } else { 0 };
        self.peak = peak;
        if self.equal < EQUAL_PEAKS {
            return true;
        }
        self.equal = 0;
        self.suspended = self.next_suspension;
        self.next_suspension = self.next_suspension.saturating_mul(2).min(SUSPEND_MOST);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(rhythm: &mut Rhythm, peaks: impl IntoIterator<Item = usize>) -> usize {
        peaks.into_iter().filter(|peak| rhythm.pause(0, *peak)).count()
    }

    #[test]
    fn a_small_or_half_used_window_never_waits() {
        for (window, unacked, pause) in
            [(16, 0, false), (64, 1, false), (1000, 0, true), (1000, 500, false)]
        {
            assert_eq!(
                Rhythm::new(window).pause(unacked, unacked + 1),
                pause,
                "window {window}, unacked {unacked}"
            );
        }
    }

    #[test]
    fn a_steady_stream_waits_after_nearly_every_read() {
        let mut rhythm = Rhythm::new(1000);
        let varied = (0..1000).map(|n| 80 + (n * 7919) % 41);
        assert!(pauses(&mut rhythm, varied) > 950);
    }

    #[test]
    fn a_window_of_the_broker_is_noticed_and_hardly_ever_tried_again() {
        let mut rhythm = Rhythm::new(1000);
        assert!(pauses(&mut rhythm, std::iter::repeat_n(20, 10_000)) < 50);
        assert!(rhythm.pause(0, 21), "more than the window was seen, so it was none");
    }
}
