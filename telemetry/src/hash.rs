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
    short_hash(parts).unwrap_or_else(|| {
        let mut hash = Xxh3::new();
        for part in parts {
            hash.update(&length(part));
            hash.update(part);
        }
        hash.digest()
    })
}

/// Hashes parts that are short together in one pass: names of devices are, and it costs a third.
fn short_hash(parts: &[&[u8]]) -> Option<u64> {
    const ROOM: usize = 128;
    let mut held = [0; ROOM];
    let mut rest = held.as_mut_slice();
    for part in parts {
        rest = put(put(rest, &length(part))?, part)?;
    }
    let len = ROOM - rest.len();
    held.get(..len).map(xxh3_64)
}

fn put<'r>(room: &'r mut [u8], bytes: &[u8]) -> Option<&'r mut [u8]> {
    let (here, rest) = room.split_at_mut_checked(bytes.len())?;
    here.copy_from_slice(bytes);
    Some(rest)
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
    fn parts_hash_as_if_they_were_fed_one_after_the_other() {
        let text = "田".repeat(500);
        for (a, b) in
            [(0, 0), (4, 10), (60, 52), (112, 0), (113, 0), (241, 0), (3, 600), (1500, 1500)]
        {
            let (a, b) = (&text.as_bytes()[..a], &text.as_bytes()[..b]);
            let mut fed = Xxh3::new();
            for part in [a, b] {
                fed.update(&length(part));
                fed.update(part);
            }
            assert_eq!(hash64_parts(&[a, b]), fed.digest());
        }
    }

    #[test]
    fn the_border_between_parts_counts() {
        assert_ne!(hash64_parts(&[b"ab", b"c"]), hash64_parts(&[b"a", b"bc"]));
        assert_ne!(sha256_hex_parts(&[b"ab", b"c"]), sha256_hex_parts(&[b"a", b"bc"]));
        assert_eq!(hash64_parts(&[b"ab", b"c"]), hash64_parts(&[b"ab", b"c"]));
    }
}
