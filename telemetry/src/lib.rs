//! The shared language of Tianlu: readings, units, quality, topics, device profiles, codecs, mappings.
//!
//! ```text
//! topic ──▶ TopicPattern ──▶ device profile ──▶ codec ──▶ readings ──▶ line protocol
//! ```
//!
//! - **T1 parse once**: a checked profile or pattern cannot be wrong later; every problem of a file is
//!   reported at once, with file, line, key, value and remedy.
//! - **T2 no panic**: no payload, file or topic, however hostile, panics or recurses without bound.
//! - **T3 same bytes**: the same reading gives the same line on every machine.
//!
//! Pure: no clock, file, socket or runtime. Files come in as text with their names.

pub mod codec;
pub mod document;
pub mod flag;
pub mod hash;
pub mod line_protocol;
pub mod mapping;
pub mod path;
pub mod problem;
pub mod profile;
pub mod reading;
pub mod registry;
pub mod text;
pub mod time;
pub mod time_format;
pub mod topic;
pub mod unit;

#[cfg(test)]
mod shared_data;
