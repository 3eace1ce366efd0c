//! Hashes that stay the same for ever: of what a rule means, and of what an alert is about.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A hash over fields, each with its length before it, so that no two lists of fields look alike.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Begins a hash; `kind` keeps hashes of different things apart.
    pub(crate) fn of(kind: &str) -> Self {
        Self(Sha256::new()).field(kind.as_bytes())
    }

    /// Adds a field.
    pub(crate) fn field(mut self, bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Returns the first `bytes` of the hash as lower-case hexadecimal digits.
    pub(crate) fn hex(self, bytes: usize) -> Box<str> {
        let mut out = String::with_capacity(2 * bytes);
        for byte in self.0.finalize().iter().take(bytes) {
            let written = write!(out, "{byte:02x}");
            debug_assert!(written.is_ok(), "a string takes every write");
        }
        out.into_boxed_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_between_fields_matters() {
        let one = Fingerprint::of("t").field(b"ab").field(b"c").hex(16);
        let two = Fingerprint::of("t").field(b"a").field(b"bc").hex(16);
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
    }
}
