//! The command `tianlu`: reads configuration, composes the rooms.
//!
//! ```text
//! main ─▶ cli ─┬─▶ check · doctor · rules · deadletters · completions
//!              ├─▶ load (Config, profiles, registry, rules) ─▶ run · replay
//!              └─▶ demo (what is built in) ─▶ the same service
//! ```
//!
//! - **S1 checked or refused**: nothing starts on a configuration that has a problem; all problems of all
//!   files are reported at once.
//! - **S2 results and talk apart**: results go to standard output, logs to standard error.
//! - **S3 exit codes**: 0 good, 1 failed while working, 2 wrong usage or configuration, 3 a check found
//!   something in the data.
//!
//! It decides nothing about readings: that is the pipeline's job.

pub mod check;
pub mod cli;
pub mod config;
pub mod deadletters;
pub mod demo;
pub mod doctor;
pub mod load;
mod open_files;
pub mod out;
pub mod packs;
mod playback;
pub mod probe;
pub mod replay;
pub mod rule_commands;
pub mod run;
pub mod simulate;
mod start_failure;
mod text_file;
