//! The embedded history against a model that is a map, on a disk that fails and crashes, and against other
//! readers of Parquet.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::print_stderr,
    reason = "a test that fails shall say so"
)]

mod crash;
mod folder;
mod maintain;
mod model;
mod python;
