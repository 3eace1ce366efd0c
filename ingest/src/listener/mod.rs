//! The durable MQTT listener: devices connect to Tianlu itself, and PUBACK means "on disk".
//!
//! ```text
//!            ┌────────── link: one task a connection, all on one thread ─────────┐
//! device ──▶ transport ─▶ codec ─▶ connection ─▶ turn ──────── hand_over ────────┼─▶ Batch ─▶ journal
//!    ▲       TCP, TLS     frame    connect, open  records of one turn of the loop│             │ fsync
//!    │                       │      session                                      │             ▼
//!    └── answers ◀───────────┴───── handle_durable ◀──────── hub ◀─── acks ◀─────┴──── AckTokens
//! ```
//!
//! - **L1** No PUBACK or PUBREC precedes the durability of its record, and they leave in order of arrival (`open`).
//! - **L2** A QoS 2 message is recorded once, from its first PUBLISH to its PUBREL, also across connections (`open`).
//! - **L3** Bounded: packets, connections, sessions, messages in flight, unsent answers, commands, checks of passwords.
//!   Where something is full, the connection that fills it is not read, or ends.
//! - **L4** Client identifiers of two devices never meet (`sessions`); each reads in turn with the others (`link`).
//!
//! It is not a broker, and says so: no retained messages, no topic aliases, no wildcards, shared subscriptions or
//! subscription identifiers; the only topics to subscribe to are the commands of a device. Sessions live as long as
//! this process. Wills are records; those whose connection ends with this process are not published.

mod acks;
mod answer;
mod codec;
mod config;
mod connect;
mod connection;
mod credentials;
#[doc(hidden)]
pub mod drive;
mod fault;
mod frame;
mod greet;
mod hub;
mod link;
mod mailbox;
mod open;
mod packet;
mod prover;
mod run;
mod session;
mod sessions;
mod terms;
mod tls;
mod transport;
mod turn;

pub use config::{ListenerConfig, ServerTls, SetUpError};
pub use credentials::Credentials;
pub use mailbox::{COMMAND_BYTES_MAX, CommandError, Commands, Queued};
pub use run::Listener;
pub use terms::Limits;

pub(crate) use fault::Fault;

#[cfg(test)]
mod tests;
