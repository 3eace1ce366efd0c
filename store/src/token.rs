//! The token, from its file, never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderValue;

use crate::WriteError;

/// More than any token has; a wrong path must not be read into a header.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// The `Authorization` header, read from a file when first needed and again when the store refuses it.
pub(crate) struct Token {
    file: PathBuf,
    header: Mutex<Option<HeaderValue>>,
}

impl Token {
    pub(crate) const fn new(file: PathBuf) -> Self {
        Self { file, header: Mutex::new(None) }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the header as last read.
    ///
    /// # Errors
    ///
    /// [`WriteError::Token`] when it was never read and cannot be.
    pub(crate) fn header(&self) -> Result<HeaderValue, WriteError> {
        let known = self.header.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.map_or_else(|| self.reread().and_then(|_| self.header_known()), Ok)
    }

    /// Reads the file again and returns whether the token is another one.
    ///
    /// # Errors
    ///
    /// [`WriteError::Token`]; what was known stays.
    pub(crate) fn reread(&self) -> Result<bool, WriteError> {
        let read = read(&self.file).map_err(|detail| WriteError::Token(detail.into()))?;
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        let other = header.as_ref() != Some(&read);
        *header = Some(read);
        Ok(other)
    }

    fn header_known(&self) -> Result<HeaderValue, WriteError> {
        let known = self.header.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.ok_or_else(|| WriteError::Token("empty".into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).field("header", &"***").finish()
    }
}

fn read(file: &Path) -> Result<HeaderValue, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > TOKEN_BYTES_MAX {
        return Err(format!("{size} bytes is no token"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("empty".to_owned());
    }
    let mut header =
        HeaderValue::try_from(format!("Token {token}")).map_err(|_| "not a token".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_trimmed_read_again_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let token = Token::new(file.clone());
        assert!(matches!(token.header(), Err(WriteError::Token(_))));
        std::fs::write(&file, "  first-secret\r\n").unwrap();
        assert_eq!(token.header().unwrap().to_str().unwrap(), "Token first-secret");
        assert!(!token.reread().unwrap());
        std::fs::write(&file, "second-secret\n").unwrap();
        assert_eq!(token.header().unwrap().to_str().unwrap(), "Token first-secret");
        assert!(token.reread().unwrap());
        assert_eq!(token.header().unwrap().to_str().unwrap(), "Token second-secret");
        for wrong in ["", " \n", "two\nlines"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(token.reread().is_err(), "{wrong:?}");
        }
        let shown = format!("{token:?} {:?}", token.header().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
