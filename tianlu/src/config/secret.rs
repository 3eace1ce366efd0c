//! Secrets: files that hold them, and addresses that may carry them. `Debug` never shows one.

use std::fmt::{self, Debug, Display};
use std::io;
use std::path::{Path, PathBuf};

use url::Url;

/// A password, token or key in memory. `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The path of a file that holds one secret. It is read when it is needed, so that a rotated secret is
/// taken up with the next connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// Names the file.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the secret, without white space around it.
    ///
    /// # Errors
    ///
    /// What the system says; `InvalidData` for a file that is empty or not UTF-8.
    pub fn read(&self) -> io::Result<Secret> {
        let text = std::fs::read_to_string(&self.0)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
        }
        Ok(Secret::new(text))
    }
}

/// An `http` or `https` address without user and password. Many webhooks carry a token in the query,
/// so `Debug` and `Display` leave the query out.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    pub(super) const fn new(url: Url) -> Self {
        Self(url)
    }

    /// Returns the whole address, for the one place that calls it.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(self.0.as_str()))
    }
}

impl Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Replaces what may be secret in each address of a text: user and password, and the query.
#[must_use]
pub fn redacted(text: &str) -> String {
    const ENDS: [char; 6] = ['"', '\'', ' ', ',', ']', '…'];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(ENDS).unwrap_or(after.len());
        let (address, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        let (path, query) =
            address.split_once('?').map_or((address, false), |(path, _)| (path, true));
        // The last `@` counts, since a careless password may hold one or a slash itself.
        match path.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str("***@");
                out.push_str(host);
            }
            None => out.push_str(path),
        }
        if query {
            out.push_str("?***");
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
        let hook = Endpoint::new("https://example.org/hook?access_token=hunter2".parse().unwrap());
        assert_eq!(
            format!("{hook:?} {hook}"),
            "https://example.org/hook?*** https://example.org/hook?***"
        );
    }

    #[test]
    fn addresses_lose_user_password_and_query() {
        for (text, shown) in [
            ("\"mqtt://u:p@h:1883\"", "\"mqtt://***@h:1883\""),
            ("mqtt://u:p/@w@h", "mqtt://***@h"),
            ("[\"http://h/a?b=c\", \"x\"]", "[\"http://h/a?***\", \"x\"]"),
            ("mqtt://h", "mqtt://h"),
            ("plain", "plain"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
