//! Why the pipeline stands still.

use journal::WriteError;
use pipeline::ApplyError;

/// Why nothing more is derived for now.
pub(super) enum Halt {
    /// A record of a newer version, or a configuration that is gone.
    Apply(ApplyError),
    /// Results are gone from the outbox: only the last snapshot and what follows it can bring them back.
    Outbox(WriteError),
}

impl From<ApplyError> for Halt {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}
