//! The rows of the benchmark: each makes one table.

pub(crate) mod embedded;
pub(crate) mod full;
pub(crate) mod half;
pub(crate) mod state;

use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Readings of one pass of a row.
    pub(crate) count: u64,
    /// Passes of each consumer, in turn.
    pub(crate) rounds: usize,
    /// How long the rows that last a while last.
    pub(crate) lasting: Duration,
    /// Devices of the rows with many.
    pub(crate) devices: u64,
    /// Connections of the fleet of slow devices.
    pub(crate) connections: u64,
}

impl Plan {
    /// What a table in the docs is made with.
    pub(crate) const WHOLE: Self = Self {
        count: 300_000,
        rounds: 2,
        lasting: Duration::from_mins(10),
        devices: 1_000_000,
        connections: 10_000,
    };
    /// Shows in a minute or two that everything works; its numbers mean little.
    pub(crate) const QUICK: Self = Self {
        count: 20_000,
        rounds: 1,
        lasting: Duration::from_secs(5),
        devices: 10_000,
        connections: 200,
    };
}
