//! Takes uplinks from an MQTT broker, in MQTT 5 or 3.1.1, and acknowledges each once it is on disk.
//!
//! ```text
//!            ┌────────────── Consumer::run: polls, and does nothing else ─────────────┐
//! broker ──▶ Nap ─▶ (TLS) ─▶ Wire ─▶ Link ────▶ Session ─▶ Ledger ─▶ Handover ─────────┼─▶ Batch ─▶ journal
//!    ▲       reads when      cuts what  rumqttc,  epoch,    tokens    bounded by bytes │             │ fsync
//!    │       there is a      is too     in either tokens                               │             ▼
//!    │       batch           long, gate protocol                                       │       Acknowledge
//!    └─── PUBACKs of one fsync in one write ◀── Wire ◀── Outlet ◀──────────────────────┴──── AckTokens
//! ```
//!
//! - **M1** A token counts on the connection that issued it and on no other (`ledger`).
//! - **M2** Acknowledgements leave in order of arrival, none before its token came back.
//! - **M3** A packet is acknowledged at most once.
//! - **M4** Nothing in the polling task waits for the journal. A full buffer shuts the gate: pings and
//!   acknowledgements go on, TCP holds the broker back. After 10 s we disconnect in order; the session
//!   stays, and we come back when the buffer is half empty.
//! - **M5** The client is subscribed to every topic on every connection, also in a session that was kept.
//! - **M6** A message of any length passes or is cut short and passes; none ends the connection.
//!
//! What is in the buffer when a connection ends keeps its place; its tokens are void and the broker
//! sends it again, so it arrives twice. Telling the two apart is the pipeline's work.
//!
//! The two protocols meet in `link`: only `v5` and `v3` below it know which one is spoken. MQTT 3.1.1
//! cannot tell the broker our window or packet limit; both hold all the same, since the broker has a
//! window of its own and **M6** needs no help.
//!
//! Deliberately not here: topic aliases, publishing, unsubscribing from topics that left the
//! configuration. A broker that is told our packet limit drops longer messages by itself, as MQTT 5
//! demands (see [`MqttConfig::announce_packet_limit`]).

mod backoff;
mod client;
mod config;
mod consumer;
mod fault;
pub(crate) mod handover;
mod ledger;
mod link;
mod nap;
mod outlet;
mod oversize;
mod rhythm;
mod session;
mod tls;
mod tls_fault;
mod v3;
pub(crate) mod v5;
pub(crate) mod watchdog;
mod wire;

pub use config::{
    Address, BUFFER_BYTES, ClientCertificate, Credentials, MqttConfig, PACKET_LIMIT, Protocol,
    Secret, TlsFiles,
};
pub use consumer::Consumer;
pub use tls::{SetUpError, client_config};

#[cfg(test)]
mod broker_tests;
#[cfg(test)]
mod test_rig;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod wire_tests;
