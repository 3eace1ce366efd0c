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
//! - every alert is the one that the contract asks for: `reference` has both rules once more, by hand, and `oracle`
//!   holds what was told against it, and silence against the true time as well; in each eighth world all fall silent
//!   at the end, and are told so;
//! - alerts reach a webhook that fails, hangs and loses its answers, over kills of our process: the notifier with its
//!   queue is run on its own, on the alerts of a world;
//! - once nothing fails any more, everything settles without a restart: nothing held, ready.
//!
//! `SEEDS=n` runs n seeds, `SEED=n` one and looks for fewer steps where it fails, `SURVEY=1` goes on after a failure
//! and tells of each. A million: `SEEDS=1000000 cargo test --release -p ingest --lib simulation::tests::whatever`.
//!
//! Left out on purpose: what the store forgets is kept for us where our process ends before it was sent again, since
//! the replay window ends with the process.
//!
//! It does not prove: real sockets, threads that run at the same time, the real store's answers. Nor has it a part in
//! the embedded history and the listener, in the notifier's queue where the power fails, and in more than one source.
//! Which readings are kept the oracle reads from their points. It believes a tick that says that nothing can be heard,
//! but at the end.

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
mod oracle;
mod parts;
mod planted;
mod reference;
mod run;
mod server;
mod step;
mod tape;
mod tests;
mod webhook;
mod world;
