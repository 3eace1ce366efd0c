//! What must hold of every decoder of outside bytes, whatever the bytes: one function a decoder.
//!
//! ```text
//! fuzz/fuzz_targets (nightly, libFuzzer) ─┐
//!                                         ├─▶ target(bytes): no panic, and its property holds
//! tests/corpus.rs (stable, fuzz/corpus) ──┘
//! ```
//!
//! - **F1 total**: a target takes any bytes and returns; a panic in it is a bug, of the decoder or of its promise.
//! - **F2 telling**: each checks more than that nothing panics: what was read is written and read again, nothing
//!   is invented, counts are bounded by the input, each problem names a place in its file.
//! - **F3 alike**: a target depends on its bytes alone, so that a finding replays on stable from its file.
//!
//! Not here: sockets, real files, clocks. Memory and time are watched by libFuzzer, see `fuzz/README.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a target fails by a panic that says what does not hold"
)]

#[cfg(feature = "listener")]
mod connection;
mod names;
mod readings;
mod records;
mod sample;
mod segment;
mod texts;

#[cfg(feature = "listener")]
pub use connection::listener;
pub use names::topic;
pub use readings::{csv, frame, json, line_protocol, mapping};
pub use records::{outbox, record, snapshot, uplink};
pub use sample::pipeline_snapshot;
pub use segment::{JOURNAL_SEGMENT_BYTES, journal};
#[cfg(feature = "configuration")]
pub use texts::configuration;
pub use texts::{profile, registry, rule};

/// A decoder put to the test: whatever the bytes, it returns.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus and of its file in `fuzz/fuzz_targets`.
pub const TARGETS: &[(&str, Target)] = &[
    #[cfg(feature = "configuration")]
    ("configuration", configuration),
    ("csv", csv),
    ("frame", frame),
    ("journal", journal),
    ("json", json),
    ("line_protocol", line_protocol),
    #[cfg(feature = "listener")]
    ("listener", listener),
    ("mapping", mapping),
    ("outbox", outbox),
    ("profile", profile),
    ("record", record),
    ("registry", registry),
    ("rule", rule),
    ("snapshot", snapshot),
    ("topic", topic),
    ("uplink", uplink),
];
