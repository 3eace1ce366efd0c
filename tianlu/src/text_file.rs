//! Files of text that people write: UTF-8, with or without a byte-order mark.

use std::fs;
use std::io;
use std::path::Path;

/// Why a file is no text.
#[derive(Debug)]
pub(crate) enum TextError {
    /// The system does not let it be read.
    Io(io::Error),
    /// It has another encoding, as Excel and old editors write it.
    NotUtf8 {
        /// The first line that shows it.
        line: u32,
    },
}

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<String, TextError> {
    let bytes = fs::metadata(path).and_then(|metadata| {
        if metadata.len() > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read(path)
    });
    let text = String::from_utf8(bytes.map_err(TextError::Io)?).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        TextError::NotUtf8 { line: u32::try_from(before + 1).unwrap_or(u32::MAX) }
    })?;
    // A byte-order mark is what Windows editors leave behind.
    let marked = text.strip_prefix('\u{feff}').map(str::to_owned);
    Ok(marked.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_is_not_utf8_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("devices.csv");
        let read = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            read(&file, 40)
        };
        assert_eq!(read("\u{feff}田路".as_bytes()).unwrap(), "田路");
        // GBK, UTF-16.
        for (bytes, expected) in [(&b"a,b\nx,\xcc\xef\xc2\xb7\n"[..], 2), (b"\xff\xfea\0", 1)] {
            let found = read(bytes);
            assert!(
                matches!(found, Err(TextError::NotUtf8 { line }) if line == expected),
                "{found:?}"
            );
        }
        assert!(matches!(read(&[b'x'; 41]), Err(TextError::Io(_))));
    }
}
