//! The load: a process of its own, so that its CPU is told apart from everything it loads.
//!
//! Gateways send with a window in large writes and count PUBACKs in bulk, so that the generator takes a small part of
//! the machine it shares. Each message has a device and a time of its own: nothing overwrites anything in a store.

mod fleet;
mod gateway;
pub(crate) mod message;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::usage::cpu_seconds;

/// What one message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// One JSON uplink of five observations.
    Json,
    /// The same as a bincode frame.
    Frame,
    /// A JSON array of 50 such uplinks, each of another device.
    Batch,
}

impl Shape {
    /// Returns how many readings one message holds.
    pub(crate) const fn readings(self) -> u64 {
        match self {
            Self::Json | Self::Frame => 1,
            Self::Batch => 50,
        }
    }
}

/// What is sent, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Where the broker listens.
    #[arg(long)]
    pub(crate) address: String,
    /// Messages in all.
    #[arg(long)]
    pub(crate) count: u64,
    /// Connections that share them.
    #[arg(long, default_value_t = 3)]
    pub(crate) connections: u64,
    /// Unacknowledged messages a connection, at most.
    #[arg(long, default_value_t = 1000)]
    pub(crate) window: u64,
    /// Devices in all.
    #[arg(long, default_value_t = 9_999)]
    pub(crate) devices: u64,
    /// What one message holds.
    #[arg(long, value_enum, default_value_t = Shape::Json)]
    pub(crate) shape: Shape,
    /// Messages a second in all; without it as fast as the windows let.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// A connection for each device, one message in flight on each.
    #[arg(long)]
    pub(crate) fleet: bool,
    /// End after so many seconds, whatever is left.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// What became of it; printed as one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Messages acknowledged.
    pub(crate) messages: u64,
    /// When the first was sent, milliseconds since 1970.
    pub(crate) began_ms: i64,
    /// From the first message to the last PUBACK.
    pub(crate) seconds: f64,
    /// CPU time of the generator meanwhile, without what it prepared before.
    pub(crate) cpu_seconds: f64,
    /// From a message to its PUBACK, milliseconds: p50 and p99; of a fleet only.
    pub(crate) puback_ms: Option<[f64; 2]>,
}

impl Load {
    /// Sends it all and waits for the acknowledgements.
    pub(crate) fn run(&self) -> Sent {
        if self.fleet { fleet::run(self) } else { gateway::run(self) }
    }

    /// Returns how long the whole may take at most: far more than any good run, so that a dead broker ends it.
    pub(crate) fn patience(&self) -> Duration {
        let slowest = 500.0;
        let wanted =
            self.seconds.map_or(self.count as f64 / self.rate.unwrap_or(slowest), |s| s as f64);
        Duration::from_secs_f64(120.0 + wanted * 1.5)
    }
}

/// CPU time of this process so far, in seconds.
fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id())
}
