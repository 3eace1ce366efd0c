//! What the store acknowledged last, to be sent again when it may have lost it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use telemetry::time::EventTime;

/// Added to the configured window: so much may pass between a restart and the check that sees it.
const DETECTION_MAX: Duration = Duration::from_secs(2);
/// Least time between two looks at the store's start time while writing.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The bodies acknowledged in the last seconds. Times are monotonic, since any fixed moment.
///
/// A body leaves when a **later acknowledgement** is a window past its own, never by the clock alone:
/// an outage found late still finds all that stood in doubt when it began.
#[derive(Debug)]
pub struct ReplayWindow {
    keep: Duration,
    bytes_max: usize,
    bytes: usize,
    acked: VecDeque<(Duration, Bytes)>,
    due: bool,
    overflowed: u64,
}

impl ReplayWindow {
    /// Makes an empty window; a `keep` of zero keeps nothing.
    pub const fn new(keep: Duration, bytes_max: usize) -> Self {
        Self { keep, bytes_max, bytes: 0, acked: VecDeque::new(), due: false, overflowed: 0 }
    }

    /// Takes a body that the store acknowledged.
    pub fn handle_acked(&mut self, now: Duration, body: Bytes) {
        if self.keep.is_zero() || body.is_empty() {
            return;
        }
        self.bytes += body.len();
        self.acked.push_back((now, body));
        let oldest = now.saturating_sub(self.keep.saturating_add(DETECTION_MAX));
        while self.acked.front().is_some_and(|(at, _)| *at < oldest) {
            self.drop_oldest();
        }
        while self.bytes > self.bytes_max && self.drop_oldest() {
            self.overflowed += 1;
        }
        debug_assert_eq!(self.bytes, self.acked.iter().map(|(_, body)| body.len()).sum::<usize>());
    }

    /// Takes the news that the store may have lost what it acknowledged last.
    pub fn handle_doubt(&mut self) {
        self.due = !self.acked.is_empty();
    }

    /// Returns what to send again, oldest first; empty where nothing is in doubt.
    pub fn poll_replay(&self) -> Vec<Bytes> {
        if self.due {
            self.acked.iter().map(|(_, body)| body.clone()).collect()
        } else {
            Vec::new()
        }
    }

    /// Takes the end of a replay: all of it was acknowledged again, now.
    pub fn handle_replayed(&mut self, now: Duration) {
        self.due = false;
        for (at, _) in &mut self.acked {
            *at = now;
        }
    }

    /// Returns how many bodies left because of the bound in bytes, before their time.
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, body)) = self.acked.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(body.len());
        true
    }
}

/// Sees that the store's process is another one than before.
#[derive(Debug, Default)]
pub struct RestartWatch {
    started: Option<EventTime>,
    checked_at: Option<Duration>,
    suspicious: bool,
}

impl RestartWatch {
    /// Returns whether to look at the start time before the next write.
    pub fn is_due(&self, now: Duration) -> bool {
        self.suspicious || self.checked_at.is_none_or(|at| now.saturating_sub(at) >= CHECK_INTERVAL)
    }

    /// Takes a request that got no answer: look before the next write.
    pub const fn handle_silence(&mut self) {
        self.suspicious = true;
    }

    /// Takes the start time; `None` where the store tells none. Returns whether what it acknowledged
    /// last is in doubt: another start time, or silence from a store that tells none.
    pub fn handle_started(&mut self, now: Duration, started: Option<EventTime>) -> bool {
        let restarted = self.started.zip(started).is_some_and(|(old, new)| old != new);
        let doubt = restarted || (self.suspicious && started.is_none());
        self.started = started.or(self.started);
        self.checked_at = Some(now);
        self.suspicious = false;
        doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn body(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn the_window_holds_what_was_acknowledged_in_its_last_seconds() {
        let mut window = ReplayWindow::new(secs(10), 1_000);
        for (at, text) in [(0, "a"), (5, "b"), (12, "c"), (13, "d")] {
            window.handle_acked(secs(at), body(text));
        }
        assert!(window.poll_replay().is_empty(), "nothing is in doubt");
        window.handle_doubt();
        assert_eq!(
            window.poll_replay(),
            [body("b"), body("c"), body("d")],
            "10 s and 2 s to see a restart"
        );
        window.handle_replayed(secs(90));
        assert!(window.poll_replay().is_empty());
        window.handle_acked(secs(91), body("e"));
        window.handle_doubt();
        assert_eq!(window.poll_replay().len(), 4, "what was sent again counts from then");
        assert_eq!(window.overflowed(), 0);
    }

    #[test]
    fn an_outage_found_late_still_finds_all_that_was_in_doubt() {
        let mut window = ReplayWindow::new(secs(10), 1_000);
        window.handle_acked(secs(1), body("a"));
        window.handle_doubt();
        assert_eq!(window.poll_replay(), [body("a")]);
        assert_eq!(window.poll_replay(), [body("a")], "still due while the replay fails");
    }

    #[test]
    fn beyond_its_bytes_the_window_drops_the_oldest_and_counts_them() {
        let mut window = ReplayWindow::new(secs(10), 5);
        for text in ["aaa", "bb", "cc", "longer than all"] {
            window.handle_acked(secs(1), body(text));
        }
        window.handle_acked(secs(2), body("dd"));
        window.handle_doubt();
        assert_eq!(window.poll_replay(), [body("dd")]);
        assert_eq!(window.overflowed(), 4);
    }

    #[test]
    fn no_window_keeps_nothing() {
        let mut window = ReplayWindow::new(Duration::ZERO, 5);
        window.handle_acked(secs(1), body("a"));
        window.handle_doubt();
        assert!(window.poll_replay().is_empty());
    }

    #[test]
    fn another_start_time_is_a_restart() {
        let (first, second) = (EventTime::from_nanos(1), EventTime::from_nanos(2));
        let mut watch = RestartWatch::default();
        assert!(watch.is_due(secs(0)));
        assert!(!watch.handle_started(secs(0), Some(first)), "the first look knows no other");
        assert!(!watch.is_due(Duration::from_millis(999)));
        assert!(watch.is_due(secs(1)));
        assert!(!watch.handle_started(secs(1), Some(first)));
        assert!(!watch.handle_started(secs(2), None), "a store behind a proxy may stop telling");
        assert!(watch.handle_started(secs(3), Some(second)));
        watch.handle_silence();
        assert!(watch.is_due(secs(3)));
        assert!(!watch.handle_started(secs(3), Some(second)), "it was only slow");
        watch.handle_silence();
        assert!(watch.handle_started(secs(4), None), "one that tells nothing may have restarted");
    }
}
