//! Tests of the log through its public face, on simulated and real disks.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like the tests themselves"
)]

mod crash;
mod cursor;
mod damage;
mod exhaustive;
mod log;
mod property;
mod support;
