//! The tasks around the pipeline: journal writer, driver, ticker, sinks, and what they share.
//!
//! ```text
//! sources ─batches─▶ writer (thread) ─fsync─▶ journal ─▶ driver (thread: pipeline) ─▶ outbox ─▶ store sink (task),
//!    ▲                  │    ▲ orders: ticks, refusals, redrives                        │        or history sink, writer
//!    └──── acks ────────┘    └──── ticker, store sink, desk                             │        and upkeep (threads)
//!                                                                                       └──────▶ notifier feeds (tasks)
//! ```

pub mod bundles;
pub mod clock;
mod damage;
pub mod desk;
pub mod driver;
mod event;
mod halt;
pub mod health;
mod history_sink;
mod history_upkeep;
mod history_writer;
mod keeper;
pub mod layout;
pub mod notices;
pub mod orders;
mod own_alerts;
mod panic_guard;
mod passage;
pub mod past;
mod progress;
pub mod recovery;
mod refusal;
pub mod service;
pub mod settings;
#[cfg(test)]
mod simulation;
mod sinks;
mod snapshots;
pub mod store_cursor;
pub mod store_health;
pub mod store_sink;
mod tasks;
pub mod ticker;
pub mod wake;
pub mod writer;
#[cfg(test)]
mod writer_tests;

/// Version of the engine: results of one journal are byte-identical within one.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");
