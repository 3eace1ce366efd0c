//! Where results go: files written anew, or standard output.

use std::path::Path;

use super::written;
use crate::cli::{Output, ReplayArgs};
use crate::playback::fault::Fault;
use crate::playback::sink::Sink;

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

/// Writes a result that is whole.
pub(super) fn write_whole(output: &Output, text: &str) -> Result<(), Fault> {
    let mut sink = Sink::create(output)?;
    sink.line(text.as_bytes())?;
    sink.flush()
}
