//! Judges readings by rules and gives the alerts that begin and end.
//!
//! ```text
//! rule files + profiles ──▶ RuleSet ──▶ Bound (one rule on one profile)
//!                                         │ judge(reading) · judge_silence(tick) · heard(reading)
//!  RuleState of (rule, device) ◀──────────┴──────────▶ Alert: firing | resolved
//! ```
//!
//! - **R1 same input, same alerts**: a judgement depends on rule, state and reading alone, never on a clock;
//!   the id of an alert is a hash of what it is about.
//! - **R2 silence decides nothing**: without a good observation neither an on-delay nor an off-delay passes.
//! - **R3 in turn**: of one rule and device `firing` and `resolved` alternate, and each `resolved` repeats its `firing`.
//! - **R4 bounded**: a condition has at most [`condition::COMPARISONS_MAX`] comparisons, is nested at most
//!   [`condition::DEPTH_MAX`] deep and runs without recursion; judging allocates only when an alert begins or ends.
//! - **R5 all problems at once**: a bad rule file never takes a good one along.
//!
//! It does not decide which observation is late, a duplicate or flagged, nor when a device counts as connected:
//! the pipeline hands in what may be judged.

pub mod alert;
pub mod bound;
pub mod condition;
mod fingerprint;
mod message;
mod program;
pub mod rule;
mod schema;
mod scope;
pub mod set;
pub mod severity;
pub mod state;

pub use alert::{Alert, AlertState, Reason};
pub use bound::{Bound, Observed, Silence, Subject};
pub use rule::Rule;
pub use set::RuleSet;
pub use severity::Severity;
pub use state::RuleState;
