//! What can go wrong in the history, and what to do about it.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use telemetry::problem::chain;
use telemetry::text::{Text, say};

/// Why the history could not be opened, written or read. After one, what was durable still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The disk said no.
    #[error("use `{}`", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("lock `{}`: another process uses this history", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer version of Tianlu wrote it.
    #[error("read `{}`: format {format} is newer than this version", path.display())]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A file's bytes are not those that were written.
    #[error("read `{}`: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: Box<str>,
    },
    /// Files to merge hold the same column with two types; they stay as they are.
    #[error("merge files: column `{column}` has two types")]
    TwoTypes {
        /// The column.
        column: Box<str>,
    },
    /// The cursor is longer than [`super::CURSOR_BYTES_MAX`].
    #[error("keep a cursor of {bytes} bytes")]
    CursorTooLong {
        /// Its length.
        bytes: usize,
    },
}

impl HistoryError {
    /// Returns what happened, for a person.
    #[must_use]
    pub fn message(&self) -> Text {
        match self {
            Self::Disk { path, source } => {
                say("history.disk", &[("path", &path.display()), ("detail", &chain(source))])
            }
            Self::Locked { path } => say("history.locked", &[("path", &path.display())]),
            Self::Newer { path, format } => {
                say("history.newer", &[("path", &path.display()), ("format", format)])
            }
            Self::Damaged { path, detail } => {
                say("history.damaged", &[("path", &path.display()), ("detail", detail)])
            }
            Self::TwoTypes { column } => say("history.two_types", &[("column", column)]),
            Self::CursorTooLong { bytes } => say("history.cursor", &[("bytes", bytes)]),
        }
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Text {
        match self {
            Self::Disk { .. } if self.is_full() => say("history.full.remedy", &[]),
            Self::Disk { path, .. } => say("history.disk.remedy", &[("path", &path.display())]),
            Self::Locked { .. } => say("history.locked.remedy", &[]),
            Self::Newer { .. } => say("history.newer.remedy", &[]),
            Self::Damaged { .. } => say("history.damaged.remedy", &[]),
            Self::TwoTypes { .. } => say("history.two_types.remedy", &[]),
            Self::CursorTooLong { .. } => say("history.cursor.remedy", &[]),
        }
    }

    /// Returns whether the disk or the quota is used up.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if journal::is_full(source))
    }
}

/// Names the path of an error of the disk.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> HistoryError + '_ {
    |source| HistoryError::Disk { path: path.to_owned(), source }
}

/// Tells the disk's errors from those of the format while a file is written or read.
pub(super) fn in_file(path: &Path) -> impl Fn(ParquetError) -> HistoryError + '_ {
    |error| {
        let path = path.to_owned();
        match disk_error(&error) {
            Some(source) => HistoryError::Disk { path, source },
            None => HistoryError::Damaged { path, detail: error.to_string().into() },
        }
    }
}

/// Finds the disk's own error below the format's; a copy, since causes are borrowed.
fn disk_error(error: &ParquetError) -> Option<io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(io::Error::new(found.kind(), found.to_string()));
        }
        cause = error.source();
    }
    None
}

/// Makes the error of a file whose bytes are wrong.
pub(super) fn damaged(path: &Path, detail: impl Into<Box<str>>) -> HistoryError {
    HistoryError::Damaged { path: path.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_text_and_an_advice() {
        let path = PathBuf::from("history/MANIFEST");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let errors = [
            HistoryError::Disk { path: path.clone(), source: io::Error::other("no") },
            HistoryError::Disk { path: path.clone(), source: full },
            HistoryError::Locked { path: path.clone() },
            HistoryError::Newer { path: path.clone(), format: 9 },
            HistoryError::Damaged { path, detail: "cut short".into() },
            HistoryError::TwoTypes { column: "x".into() },
            HistoryError::CursorTooLong { bytes: 300 },
        ];
        for error in &errors {
            for text in [error.message(), error.advice()] {
                assert!(
                    !text.en.starts_with("history.") && !text.en.contains('{'),
                    "{error:?}: {}",
                    text.en
                );
            }
        }
    }

    #[test]
    fn the_disks_own_error_is_found_below_the_formats() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = in_file(Path::new("x"))(ParquetError::from(full));
        assert!(error.is_full(), "{error:?}");
        let error = in_file(Path::new("x"))(ParquetError::General("bad".into()));
        assert!(matches!(error, HistoryError::Damaged { .. }), "{error:?}");
    }
}
