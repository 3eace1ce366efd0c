//! A result on its way to a file, written anew, or to standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::fault::Fault;
use crate::cli::Output;

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// One result.
pub(crate) struct Sink {
    name: String,
    out: Out,
}

enum Out {
    Plain(Box<dyn Write>),
    Packed(GzEncoder<BufWriter<File>>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sink {
    /// Begins; a file is written anew.
    pub(crate) fn create(output: &Output) -> Result<Self, Fault> {
        let (name, out): (String, Box<dyn Write>) = match output {
            Output::Stdout => ("-".to_owned(), Box::new(io::stdout().lock())),
            Output::File(path) => {
                let file = File::create(path)
                    .map_err(|error| unwritable(&path.display().to_string(), &error))?;
                (path.display().to_string(), Box::new(file))
            }
        };
        let out = Box::new(BufWriter::with_capacity(BUFFER_BYTES, out));
        Ok(Self { name, out: Out::Plain(out) })
    }

    /// Begins a file that is packed as gzip; the same lines give the same bytes.
    pub(crate) fn create_packed(path: &Path) -> Result<Self, Fault> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| unwritable(&name, &error))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { name, out: Out::Packed(GzEncoder::new(file, Compression::default())) })
    }

    /// Ends the result: everything is handed to the system, and a packed file has its end.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        let ended = match self.out {
            Out::Plain(mut out) => out.flush(),
            Out::Packed(out) => out.finish().and_then(|mut file| file.flush()),
        };
        ended.map_err(|error| unwritable(&self.name, &error))
    }

    /// Writes one line; a line break at its end is not doubled.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let out = self.out.as_write();
        let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
        written.map_err(|error| unwritable(&self.name, &error))
    }

    /// Hands everything gathered to the system.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        self.out.as_write().flush().map_err(|error| unwritable(&self.name, &error))
    }
}

impl Out {
    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Packed(out) => out,
        }
    }
}

fn unwritable(name: &str, error: &io::Error) -> Fault {
    if name == "-" && error.kind() == io::ErrorKind::BrokenPipe {
        return Fault::ReaderGone;
    }
    Fault::failed(name, "tianlu.playback.unwritable", &[("error", error)])
}
