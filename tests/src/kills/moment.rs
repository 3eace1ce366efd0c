//! When the service is killed.

use crate::random::Random;

/// One kill of so many waits for the snapshot that each minute brings; the others would take too long.
const SNAPSHOT_EACH: u32 = 250;

/// A phase of the service's life; the moment in it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// At any time from the start of the process until it usually is ready.
    Starting,
    /// Once `/healthz` answers, while it recovers or shortly after.
    Recovering,
    /// Ready for up to a second, while uplinks come in.
    Flowing,
    /// In the orderly end after SIGTERM.
    Ending,
    /// While the last snapshot of an orderly end is written.
    LastSnapshot,
    /// While the snapshot of each minute is written, at full flow.
    Snapshot,
}

impl Moment {
    /// What kills are drawn from.
    const WEIGHED: [Self; 10] = [
        Self::Starting,
        Self::Starting,
        Self::Recovering,
        Self::Recovering,
        Self::Flowing,
        Self::Flowing,
        Self::Flowing,
        Self::Flowing,
        Self::Ending,
        Self::LastSnapshot,
    ];

    /// Draws this many, each of the five quick ones at least once.
    pub(super) fn draw(kills: u32, random: &mut Random) -> Vec<Self> {
        let kills = usize::try_from(kills).unwrap();
        let slow = kills / usize::try_from(SNAPSHOT_EACH).unwrap();
        let once =
            [Self::Starting, Self::Recovering, Self::Flowing, Self::Ending, Self::LastSnapshot];
        let mut all: Vec<Self> = std::iter::repeat_n(Self::Snapshot, slow).chain(once).collect();
        all.truncate(kills);
        while all.len() < kills {
            all.push(Self::WEIGHED[random.below(Self::WEIGHED.len())]);
        }
        random.shuffle(&mut all);
        all
    }

    /// Returns whether the service is asked to end, and so may have ended before it is killed.
    pub(super) const fn asks_to_end(self) -> bool {
        matches!(self, Self::Ending | Self::LastSnapshot)
    }

    /// Returns how long it takes to come, in the length of a quick one of about a second.
    pub(super) const fn length(self) -> u32 {
        if matches!(self, Self::Snapshot) { 60 } else { 1 }
    }

    /// Returns it in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Starting => "from the start of the process on, before it usually is ready",
            Self::Recovering => "recovering, once `/healthz` answers",
            Self::Flowing => "ready, at any time of the first second",
            Self::Ending => "in the orderly end after SIGTERM",
            Self::LastSnapshot => "while the snapshot of an orderly end is written",
            Self::Snapshot => "while the snapshot of each minute is written",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_moments_and_each_quick_one() {
        let draw = |seed, kills| Moment::draw(kills, &mut Random::new(seed));
        assert_eq!(draw(7, 500), draw(7, 500));
        assert_ne!(draw(7, 500), draw(8, 500));
        assert_eq!(draw(7, 500).iter().filter(|moment| **moment == Moment::Snapshot).count(), 2);
        for seed in 0..50 {
            assert_eq!(draw(seed, 6).into_iter().collect::<BTreeSet<_>>().len(), 5, "{seed}");
        }
    }
}
