//! Clocks of liveness: they run only while a source is connected and caught up.
//!
//! An outage of ours is never an outage of theirs: silence of a device counts only while it could be heard.

use bincode::{Decode, Encode};

use crate::record::{SourceState, Tick};

/// Live time of each source, and of all together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Clocks {
    /// Index 0: all sources at once; else source + 1.
    clocks: Vec<Clock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
struct Clock {
    live_ms: u64,
    is_live: bool,
}

impl Clocks {
    /// Returns the live milliseconds of a clock.
    pub(crate) fn live_ms(&self, clock: u16) -> u64 {
        self.clocks.get(usize::from(clock)).map_or(0, |clock| clock.live_ms)
    }

    /// Moves the clocks: the time that passed counts by the state before this tick.
    pub(crate) fn tick(&mut self, tick: &Tick) {
        for clock in &mut self.clocks {
            if clock.is_live {
                clock.live_ms = clock.live_ms.saturating_add(tick.elapsed_ms);
            }
        }
        let live = |state: &SourceState| state.connected && state.caught_up;
        let all = !tick.sources.is_empty() && tick.sources.iter().all(live);
        // A tick names every source there is. Whoever was heard over one that is gone has to come over another: a
        // device that did not survive the move is silent.
        self.clocks.iter_mut().for_each(|clock| clock.is_live = all);
        for state in &tick.sources {
            self.set(usize::from(state.source) + 1, live(state));
        }
        self.set(0, all);
    }

    fn set(&mut self, clock: usize, is_live: bool) {
        if self.clocks.len() <= clock {
            self.clocks.resize(clock + 1, Clock::default());
        }
        if let Some(clock) = self.clocks.get_mut(clock) {
            clock.is_live = is_live;
        }
    }
}

/// Returns the clock of a source.
pub(crate) const fn clock_of(source: u16) -> u16 {
    source.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(elapsed_ms: u64, states: &[(bool, bool)]) -> Tick {
        let of = |(source, (connected, caught_up)): (u16, &(bool, bool))| SourceState {
            source,
            connected: *connected,
            caught_up: *caught_up,
        };
        Tick { at_nanos: 0, elapsed_ms, sources: (0..).zip(states).map(of).collect() }
    }

    #[test]
    fn time_counts_only_while_connected_and_caught_up() {
        let mut clocks = Clocks::default();
        clocks.tick(&tick(500, &[(true, true), (true, false)]));
        clocks.tick(&tick(1000, &[(true, true), (true, true)]));
        clocks.tick(&tick(1000, &[(false, true), (true, true)]));
        clocks.tick(&tick(1000, &[(true, true), (true, true)]));
        assert_eq!([clocks.live_ms(0), clocks.live_ms(1), clocks.live_ms(2)], [1000, 2000, 2000]);
        assert_eq!(clocks.live_ms(9), 0);
    }

    #[test]
    fn the_clock_of_a_source_that_is_gone_runs_while_all_others_do() {
        let mut clocks = Clocks::default();
        clocks.tick(&tick(0, &[(true, true), (true, true), (true, true)]));
        for states in [[(true, true), (true, true)], [(false, true), (true, true)]] {
            clocks.tick(&tick(1000, &states));
        }
        clocks.tick(&tick(1000, &[]));
        clocks.tick(&tick(1000, &[(true, true)]));
        let live = [0, 1, 2, 3].map(|clock| clocks.live_ms(clock));
        assert_eq!(live, [2000, 2000, 3000, 2000]);
    }
}
