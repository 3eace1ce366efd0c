//! End to end: the real binary and the real servers, and what a test has to know of them.
//!
//! ```text
//! Publisher ──▶ Mosquitto | WindowBroker ──▶ Tianlu (the binary) ──▶ [FaultProxy] ──▶ Influx ──▶ rows
//!                                              └──▶ Webhook, Subscriber, Browser
//! ```
//!
//! - **E1 own servers**: each test starts what it needs on free loopback ports in a temporary folder and
//!   ends it by pid, also when the test fails.
//! - **E2 deadlines**: every wait has one, and says what it waited for.
//! - **E3 no silent skip**: a missing server is a printed notice, and a failure where `CI=true`.
//! - **E4 other eyes**: what was stored is read by InfluxDB's own query language through the `influxdb2`
//!   crate, what was delivered by servers written here; nothing of the product judges the product.
//!
//! Not here: anything the product links.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a harness fails its test by a panic that says what went wrong"
)]

pub mod arguments;
pub mod audit;
pub mod balance;
pub mod browser;
pub mod clock;
pub mod demo;
pub mod fault_proxy;
pub mod growth;
pub mod http;
pub mod influx;
pub mod kills;
pub mod letters;
pub mod line;
pub mod mosquitto;
pub mod mqtt;
pub mod place;
pub mod process;
pub mod publisher;
pub mod random;
pub mod sample;
pub mod signature;
pub mod slow_devices;
pub mod subscriber;
pub mod tianlu;
pub mod volume;
pub mod wait;
pub mod webhook;
pub mod window_broker;
pub mod work;
