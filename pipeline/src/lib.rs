//! Turns the records of the journal into results: points, alerts and dead letters.
//!
//! ```text
//! journal record ─▶ decode (stateless) ─▶ time policy ─▶ identity ─▶ quality ─▶ rules ─▶ outbox record
//!                                              └────────── state of the device ─────────┘
//! ```
//!
//! - **P1 conservation**: every uplink and every reading ends in exactly one column of the [`account`].
//! - **P3 bounded**: devices that no registry names, identity memory per device, dead letters per device and in all,
//!   results of one uplink, resolved alerts that are kept.
//! - **P4 determinism**: results depend on the records alone: no clock, no randomness, no environment; not on the
//!   number of shards, and not on when snapshots were taken.
//! - **P5 isolation**: a payload, device or tenant touches the state of its own devices only.
//!
//! It reads and writes nothing itself: records come in as bytes, results go out as bytes, a configuration is a
//! bundle of texts named by its hash.

pub mod account;
pub mod alert_book;
mod answered;
pub mod balance;
mod batch;
mod change;
mod clock;
pub mod config;
mod core;
mod device;
pub mod identity;
mod intake;
mod judge;
mod kept;
pub mod letter;
mod newest;
pub mod outbox;
mod pack;
mod reading;
pub mod record;
mod repeat;
mod seen;
mod shard;
pub mod snapshot;
mod time_policy;
pub mod view;

pub use crate::account::{Account, Reason};
pub use crate::balance::{Balance, StoreTotals};
pub use crate::config::{ActiveConfig, Bundle};
pub use crate::core::{ApplyError, ConfigSource, Head, Limits, Pipeline, Recorded};
pub use crate::outbox::{Entries, Entry, EntryKind, OutboxRecord};
pub use crate::record::Record;
