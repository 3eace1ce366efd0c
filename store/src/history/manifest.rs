//! The manifest: which flushes count, and the cursor that the last of them carried.
//!
//! ```text
//! tianlu history 1
//! flush 12
//! cursor 0a1b2c
//! crc32c 9c2b1d00
//! ```
//!
//! It is replaced as a whole after the files of a flush are durable. A file of a later flush than it
//! names is the work of a flush that a crash cut short. Its size does not depend on the number of files.

use std::fmt::Write as _;

use crc32c::crc32c;

/// Name of the file.
pub(super) const FILE: &str = "MANIFEST";
const FORMAT: u32 = 1;
const HEAD: &str = "tianlu history ";

/// What the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Manifest {
    /// The last flush that counts; 0: none yet.
    pub(super) flush: u64,
    /// The cursor of that flush.
    pub(super) cursor: Option<Vec<u8>>,
}

/// Why a manifest cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A later version of Tianlu wrote it.
    Newer(u32),
    /// Its bytes are not those that were written.
    Damaged,
}

impl Manifest {
    /// Returns its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = format!("{HEAD}{FORMAT}\nflush {}\ncursor ", self.flush);
        match &self.cursor {
            None => text.push('-'),
            Some(bytes) => {
                for byte in bytes {
                    let _infallible = write!(text, "{byte:02x}");
                }
            }
        }
        text.push('\n');
        let crc = crc32c(text.as_bytes());
        let _infallible = writeln!(text, "crc32c {crc:08x}");
        text.into_bytes()
    }

    /// Reads its bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let text = str::from_utf8(bytes).map_err(|_| Unreadable::Damaged)?;
        let format = text.strip_prefix(HEAD).and_then(|rest| rest.split('\n').next()?.parse().ok());
        match format {
            Some(FORMAT) => Self::parse(text).ok_or(Unreadable::Damaged),
            Some(newer) if newer > FORMAT => Err(Unreadable::Newer(newer)),
            _ => Err(Unreadable::Damaged),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc32c ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines().skip(1);
        let flush = lines.next()?.strip_prefix("flush ")?.parse().ok()?;
        let cursor = match lines.next()?.strip_prefix("cursor ")? {
            "-" => None,
            digits => Some(unhex(digits)?),
        };
        Some(Self { flush, cursor })
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_no_damage_passes() {
        for cursor in [None, Some(vec![]), Some(vec![0, 10, 255])] {
            let manifest = Manifest { flush: 12, cursor };
            let bytes = manifest.encode();
            assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
            for at in 0..bytes.len() {
                assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
                let mut wrong = bytes.clone();
                wrong[at] ^= 1;
                assert_ne!(Manifest::decode(&wrong), Ok(manifest.clone()), "wrong at {at}");
            }
        }
        assert_eq!(Manifest::decode(b"tianlu history 7\nmore\n"), Err(Unreadable::Newer(7)));
    }

    /// The format of version 1 must stay readable.
    #[test]
    fn the_first_format_is_still_read() {
        let bytes = b"tianlu history 1\nflush 12\ncursor 0a1b2c\ncrc32c 7f8d2fb1\n";
        let manifest = Manifest { flush: 12, cursor: Some(vec![0x0a, 0x1b, 0x2c]) };
        assert_eq!(Manifest::decode(bytes), Ok(manifest));
    }
}
