//! Seeded simulation of the whole program: the real parts on a virtual clock, disk, broker and store.
//!
//! ```text
//! fleet ─▶ broker ─▶ Writer ─▶ journal ─▶ Driver ─▶ outbox ─▶ StoreSink ─▶ store
//!                    └──────── on one SimDisk ───────┘    └─▶ notices     (slow, failing, lying)
//!              ticker, StoreHealth, Desk; recovery after each crash
//! ```
//!
//! One seed is one world on one thread: tokio's clock is paused and jumps from timer to timer, every choice is drawn
//! from the seed, every step stands in a list that is made first. A failure prints its seed and the fewest steps that
//! still show it.
//!
//! What is held against the run, and by whom:
//!
//! - **P1** the desk's balance adds up after each step, and counts the uplinks that the tape counts;
//! - **P2** what was acknowledged is in the journal, byte for byte, after each crash, and at the end in the store or
//!   in a letter; no point is lost below a cursor; no alert is untold;
//! - **P3** window and space keep their bounds;
//! - **P4** the tape of the whole journal, derived once more in one go with one shard, gives byte for byte what the
//!   outbox ever showed, and what the store holds;
//! - **P5** a device that sends rubbish changes nothing of the others;
//! - once nothing fails any more, everything settles without a restart: nothing held, ready.
//!
//! `SEEDS=n` runs n seeds, `SEED=n` one and looks for fewer steps where it fails, `SURVEY=1` goes on after a failure
//! and tells of each. A million: `SEEDS=1000000 cargo test --release -p ingest --lib simulation::tests::whatever`.
//!
//! Left out on purpose: what the store forgets is kept for us where our process ends before it was sent again, since
//! the replay window ends with the process.
//!
//! It does not prove: real sockets, threads that run at the same time, the real store's answers.

#![expect(
    clippy::unwrap_in_result,
    clippy::wildcard_enum_match_arm,
    clippy::string_slice,
    reason = "tests: what is not as it should be ends the run, with its seed"
)]

mod broker;
mod clock;
mod config;
mod fleet;
mod judge;
mod life;
mod line;
mod parts;
mod planted;
mod run;
mod server;
mod step;
mod tape;
mod tests;
mod world;
