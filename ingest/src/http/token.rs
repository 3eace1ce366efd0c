//! The bearer token.

use std::fmt;

use sha2::{Digest, Sha256};

/// What a request must bear. Only its hash is kept, so that comparing takes the same time whatever is
/// offered, and `Debug` shows nothing (**H4**).
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Takes the content of a token file; blank space around it does not count. `None`: it holds no token.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        let secret = secret.trim();
        (!secret.is_empty()).then(|| Self(hash(secret.as_bytes())))
    }

    /// Returns whether this is what an `Authorization` header bears.
    pub(super) fn is_borne_by(&self, authorization: &[u8]) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        let Some((scheme, offered)) = authorization.split_at_checked(SCHEME.len()) else {
            return false;
        };
        let offered = hash(offered.trim_ascii());
        let differing = self.0.iter().zip(offered).fold(0, |bits, (a, b)| bits | (a ^ b));
        scheme.eq_ignore_ascii_case(SCHEME) && differing == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_in_the_bearer_scheme_fits() {
        let token = Token::new(" geheim-1\n").unwrap();
        for (header, fits) in [
            ("Bearer geheim-1", true),
            ("bearer geheim-1", true),
            ("Bearer  geheim-1 ", true),
            ("Bearer geheim-2", false),
            ("Bearer geheim-11", false),
            ("Bearer ", false),
            ("Basic geheim-1", false),
            ("geheim-1", false),
            ("", false),
        ] {
            assert_eq!(token.is_borne_by(header.as_bytes()), fits, "{header:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
        assert_eq!(Token::new(" \n"), None);
    }
}
