//! The shell around the pipeline: MQTT intake, the threads and tasks that drive it, notifiers, HTTP API and live feed.
//!
//! ```text
//! broker ─▶ mqtt ─batches─▶ engine::writer ─▶ journal ─▶ engine::driver ─▶ outbox ─▶ store sink, notifiers, live feed
//!             ▲                   │ fsync
//!             └────── acks ───────┘                        http ──questions──▶ engine::desk
//! ```
//!
//! - **P2 durability first**: a message is acknowledged after the fsync of its record; a cursor moves after the
//!   receipt it stands for.
//! - **P3 bounded**: every queue between tasks has a bound; the table stands in ARCHITECTURE.md. Where the logs are
//!   full, intake waits and the broker holds the messages.
//! - **P5 isolation**: each sink follows the outbox by itself; a slow one keeps nobody waiting but the space.
//!
//! It decides nothing about readings: that is the pipeline's.

pub mod engine;
pub mod http;
pub mod listener;
pub mod meter;
pub mod mqtt;
pub mod notifier;
pub mod source;
#[cfg(test)]
mod test_port;
