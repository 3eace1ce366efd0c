//! The signature a webhook must carry.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Returns `sha256=` and the HMAC-SHA256 of `body` under `secret`, in lower-case hex.
#[must_use]
pub fn expected(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(body);
    let hex: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_second_case_of_rfc_4231_comes_out() {
        let told = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(super::expected(b"Jefe", b"what do ya want for nothing?"), told);
    }
}
