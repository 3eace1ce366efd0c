//! Opens an input: which form it has by its name, unpacked where it is gzip.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::playback::fault::Fault;

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// CSV.
    Table,
    /// A JSON object a line.
    Json,
    /// Line protocol.
    Points,
}

/// An error of reading, kept for whoever asks next: the parsers in between would make a bad row of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Rc<RefCell<Option<io::Error>>>);

impl Failure {
    /// Takes the error out.
    pub(super) fn take(&self) -> Option<io::Error> {
        // Asked after each row: a look first, since nearly always there is none.
        if self.0.borrow().is_none() { None } else { self.0.borrow_mut().take() }
    }
}

/// An opened file.
pub(super) struct Opened {
    /// Its form.
    pub(super) kind: Kind,
    /// Its bytes, unpacked.
    pub(super) reader: Box<dyn BufRead>,
    /// Why it could not be read further, once that happened.
    pub(super) failure: Failure,
}

impl Opened {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        let (stem, is_packed) =
            lower.strip_suffix(".gz").map_or((lower.as_str(), false), |stem| (stem, true));
        let kind = match stem.rsplit_once('.') {
            Some((_, "csv")) => Kind::Table,
            Some((_, "ndjson")) => Kind::Json,
            Some((_, "lp")) => Kind::Points,
            _ => {
                let place = path.display().to_string();
                return Err(Fault::wrong(&place, "tianlu.replay.form", &[]));
            }
        };
        let file = File::open(path).map_err(|error| Fault::unreadable(path, None, &error))?;
        let failure = Failure::default();
        let buffered = BufReader::with_capacity(BUFFER_BYTES, file);
        let inner: Box<dyn Read> =
            if is_packed { Box::new(MultiGzDecoder::new(buffered)) } else { Box::new(buffered) };
        let noting = Noting { inner, failure: failure.clone() };
        let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, noting));
        Ok(Self { kind, reader, failure })
    }
}

/// Notes what the file refuses.
struct Noting {
    inner: Box<dyn Read>,
    failure: Failure,
}

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match read {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let told = io::Error::new(error.kind(), error.to_string());
                *self.failure.0.borrow_mut() = Some(error);
                Err(told)
            }
            other => other,
        }
    }
}
