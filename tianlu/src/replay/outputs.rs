//! Where results go: files written anew, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::fault::Fault;
use super::written;
use crate::cli::{Output, ReplayArgs};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// The results that somebody asked for.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Points, as line protocol.
    pub(super) points: Option<Sink>,
    /// Alert lines.
    pub(super) alerts: Option<Sink>,
    /// Dead-letter lines.
    pub(super) dead: Option<Sink>,
}

/// One result.
pub(super) struct Sink {
    name: String,
    out: Box<dyn Write>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Outputs {
    /// Creates the files.
    pub(super) fn create(args: &ReplayArgs) -> Result<Self, Fault> {
        let sink = |output: &Option<Output>| output.as_ref().map(Sink::create).transpose();
        Ok(Self {
            points: sink(&args.points)?,
            alerts: sink(&args.alerts)?,
            dead: sink(&args.dead)?,
        })
    }

    /// Hands everything gathered to the system.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let all = [&mut self.points, &mut self.alerts, &mut self.dead];
        all.into_iter().flatten().try_for_each(Sink::flush)
    }
}

/// Refuses a result that is an input or stands twice: writing it would destroy the other.
pub(super) fn refuse_overlap(args: &ReplayArgs) -> Result<(), Fault> {
    // A file that is not there yet has no other name than the one written.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| absolute(path));
    let mut taken: Vec<_> = args.input.iter().chain(&args.mapping).map(|path| real(path)).collect();
    for (name, path) in written(args) {
        let is_device = path.exists() && !path.is_file();
        let path = real(path);
        if taken.contains(&path) && !is_device {
            let shown = path.display();
            return Err(Fault::wrong(name, "tianlu.replay.overlap", &[("path", &shown)]));
        }
        taken.push(path);
    }
    Ok(())
}

impl Sink {
    fn create(output: &Output) -> Result<Self, Fault> {
        let (name, out): (String, Box<dyn Write>) = match output {
            Output::Stdout => ("-".to_owned(), Box::new(io::stdout().lock())),
            Output::File(path) => {
                let file = File::create(path)
                    .map_err(|error| unwritable(&path.display().to_string(), &error))?;
                (path.display().to_string(), Box::new(file))
            }
        };
        Ok(Self { name, out: Box::new(BufWriter::with_capacity(BUFFER_BYTES, out)) })
    }

    /// Writes one line; a line break at its end is not doubled.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| unwritable(&self.name, &error))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.out.flush().map_err(|error| unwritable(&self.name, &error))
    }
}

/// Writes a result that is whole.
pub(super) fn write_whole(output: &Output, text: &str) -> Result<(), Fault> {
    let mut sink = Sink::create(output)?;
    sink.line(text.as_bytes())?;
    sink.flush()
}

fn unwritable(name: &str, error: &io::Error) -> Fault {
    if name == "-" && error.kind() == io::ErrorKind::BrokenPipe {
        return Fault::ReaderGone;
    }
    Fault::failed(name, "tianlu.replay.unwritable", &[("error", error)])
}
