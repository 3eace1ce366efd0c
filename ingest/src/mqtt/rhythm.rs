//! When a pause after a read pays, and what window the broker has. Pure.
//!
//! A broker writes each message by itself, so an eager reader pays a wake-up and a system call for
//! every one. Waiting 2 to 4 ms after a read that emptied the socket gives one read for many. But a
//! broker that has used up its in-flight window sends nothing until we acknowledge, and every pause
//! would then be pure loss. So there is none while our window is half used, nor ever where it is small.
//!
//! Our window is our own Receive Maximum, or less: a broker may have a smaller window of its own, which
//! MQTT does not tell us. It shows: the greatest number of unacknowledged messages, over a few reads
//! at a time, is the greatest that ever was, again and again. A load that is not held up varies. Once
//! learnt, the window stands until more than it is seen.

/// Windows up to this size never wait.
const SMALL_WINDOW: usize = 64;
/// Reads whose peaks count as one: the messages of one window come in one read or in two, and the peak
/// of only some of them says nothing.
const READS: u32 = 3;
/// So many times in a row the peak must be what it ever was.
const EQUAL_PEAKS: u32 = 3;

/// Decides after each read that emptied the socket.
#[derive(Debug)]
pub(crate) struct Rhythm {
    /// Our Receive Maximum.
    window: usize,
    /// The greatest number of unacknowledged messages that ever was.
    highest: usize,
    /// Greatest of the reads that count as one, and their number so far.
    peak: usize,
    reads: u32,
    /// How many times in a row it was that many.
    equal: u32,
}

impl Rhythm {
    /// `window`: our Receive Maximum.
    pub(crate) const fn new(window: usize) -> Self {
        Self { window, highest: 0, peak: 0, reads: 0, equal: 0 }
    }

    /// Returns whether to pause. `unacked`: now; `peak`: the greatest number since the last call.
    pub(crate) fn pause(&mut self, unacked: usize, peak: usize) -> bool {
        self.learn(peak);
        let window = self.window();
        window > SMALL_WINDOW && unacked < window / 2
    }

    fn learn(&mut self, peak: usize) {
        if peak > self.highest {
            (self.highest, self.equal) = (peak, 0);
            (self.peak, self.reads) = (0, 0);
        } else if self.equal < EQUAL_PEAKS {
            // Without a pause the peaks say nothing, and what was learnt stands.
            (self.peak, self.reads) = (self.peak.max(peak), self.reads + 1);
            if self.reads >= READS {
                self.equal = if self.peak == self.highest { self.equal + 1 } else { 0 };
                (self.peak, self.reads) = (0, 0);
            }
        }
    }

    /// Returns how many messages can be in flight to us, as far as is known.
    pub(crate) fn window(&self) -> usize {
        if self.equal < EQUAL_PEAKS || self.highest == 0 {
            self.window
        } else {
            self.window.min(self.highest)
        }
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
    fn a_window_of_the_broker_is_learnt_and_never_waits_again() {
        for window in [1_usize, 16, 20, 32] {
            let mut rhythm = Rhythm::new(1000);
            let ramp = [1, window.div_ceil(2), window];
            // A window of messages comes in two reads.
            let reads = (0..10_000).map(|n| if n % 2 == 0 { window } else { window.div_ceil(3) });
            assert!(pauses(&mut rhythm, ramp.into_iter().chain(reads)) < 16);
            assert_eq!(rhythm.window(), window);
            // Read eagerly the peaks are anything, and with a light load too.
            assert_eq!(pauses(&mut rhythm, (0..10_000).map(|n| n * 7919 % window + 1)), 0);
            assert!(rhythm.pause(0, window + 1), "more than the window was seen, so it was none");
            assert_eq!(rhythm.window(), 1000);
        }
    }

    #[test]
    fn a_larger_window_of_the_broker_counts_like_our_own() {
        let mut rhythm = Rhythm::new(1000);
        pauses(&mut rhythm, std::iter::repeat_n(200, 20));
        assert!(rhythm.pause(99, 150));
        assert!(!rhythm.pause(100, 150));
    }
}
