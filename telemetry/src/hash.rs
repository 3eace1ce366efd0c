//! The two hashes of the project: a fast one for keys, and one that cannot be forged for names of things.
//!
//! Both are the same on every machine and for ever: partitions, alert ids and snapshots depend on them.

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Returns the 64-bit hash (XXH3) of some bytes: partition keys, observations. Not for what must not be forged.
#[must_use]
pub fn hash64(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Returns the 64-bit hash (XXH3) of several parts; `["ab", "c"]` and `["a", "bc"]` differ.
#[must_use]
pub fn hash64_parts(parts: &[&[u8]]) -> u64 {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(&length(part));
        hash.update(part);
    }
    hash.digest()
}

/// Returns the SHA-256 of some bytes as 64 lower-case hexadecimal digits: names of configuration files.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the SHA-256 of several parts, each with its length before it, as [`sha256_hex`] writes it.
#[must_use]
pub fn sha256_hex_parts(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(length(part));
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn length(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_hold_for_ever() {
        assert_eq!(hash64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_border_between_parts_counts() {
        assert_ne!(hash64_parts(&[b"ab", b"c"]), hash64_parts(&[b"a", b"bc"]));
        assert_ne!(sha256_hex_parts(&[b"ab", b"c"]), sha256_hex_parts(&[b"a", b"bc"]));
        assert_eq!(hash64_parts(&[b"ab", b"c"]), hash64_parts(&[b"ab", b"c"]));
    }
}
