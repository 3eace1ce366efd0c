//! Where uplinks and truth go.

use std::path::{Path, PathBuf};

use serde_json::json;
use simulator::Fleet;
use telemetry::time::EventTime;

use crate::cli::Output;
use crate::playback::fault::Fault;
use crate::playback::publisher;
use crate::playback::sink::Sink;

/// What stands in a file's name for the profile, so that each profile has a file of its own.
pub(super) const PROFILE: &str = "{profile}";

/// Where uplinks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A broker.
    Broker(String),
    /// Standard output.
    Stdout,
    /// A file whose name says its form.
    File(PathBuf),
}

/// How uplinks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object a line.
    Json,
    /// Line protocol.
    Points,
}

impl Target {
    /// Reads `mqtt://…`, `-` or the name of a file.
    pub(super) fn of(text: &str) -> Result<Self, Fault> {
        if text == "-" {
            return Ok(Self::Stdout);
        }
        if text.contains("://") {
            publisher::address(text)?;
            return Ok(Self::Broker(text.to_owned()));
        }
        let path = PathBuf::from(text);
        match form(&path) {
            Some(_) => Ok(Self::File(path)),
            None => Err(Fault::wrong("--to", "tianlu.simulate.form", &[("name", &text)])),
        }
    }

    /// Returns how uplinks are written there.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::File(path) => form(path).unwrap_or(Form::Json),
            Self::Broker(_) | Self::Stdout => Form::Json,
        }
    }

    /// Refuses a truth that would stand where the uplinks do.
    pub(super) fn refuse_overlap(&self, truth: Option<&Output>) -> Result<(), Fault> {
        let is_same = match (self, truth) {
            (Self::Stdout, Some(Output::Stdout)) => true,
            (Self::File(path), Some(Output::File(truth))) => {
                let absolute = |path: &Path| std::path::absolute(path).unwrap_or_default();
                absolute(path) == absolute(truth)
            }
            _ => false,
        };
        if is_same { Err(Fault::wrong("--truth", "tianlu.simulate.overlap", &[])) } else { Ok(()) }
    }
}

/// Returns the form by the end of a name: `.ndjson` or `.lp`, with or without `.gz`.
fn form(path: &Path) -> Option<Form> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    match stem.rsplit_once('.')?.1 {
        "ndjson" => Some(Form::Json),
        "lp" => Some(Form::Points),
        _ => None,
    }
}

/// Begins a file, packed where its name says so.
pub(super) fn create(path: &Path) -> Result<Sink, Fault> {
    let is_packed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    if is_packed { Sink::create_packed(path) } else { Sink::create(&Output::File(path.to_owned())) }
}

/// The truth on its way out.
#[derive(Debug)]
pub(super) struct Truths(Sink);

impl Truths {
    /// Begins, so that a place that cannot be written is known at once.
    pub(super) fn create(output: &Output) -> Result<Self, Fault> {
        match output {
            Output::File(path) => create(path).map(Self),
            Output::Stdout => Sink::create(output).map(Self),
        }
    }

    /// Writes all that was done from the start of a fleet on and before a time.
    pub(super) fn write(mut self, fleet: &Fleet, to: EventTime) -> Result<(), Fault> {
        for truth in fleet.truth(fleet.start(), to) {
            let line = json!({
                "device": truth.device,
                "kind": truth.kind.as_str(),
                "began_at": truth.began_at.to_string(),
                "ended_at": truth.ended_at.to_string(),
                "magnitude": truth.magnitude,
            });
            self.0.line(line.to_string().as_bytes())?;
        }
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_says_its_form() {
        let form = |name: &str| match Target::of(name) {
            Ok(target) => Some((target.form(), target)),
            Err(_) => None,
        };
        assert_eq!(form("-"), Some((Form::Json, Target::Stdout)));
        for (name, wanted) in [
            ("a.ndjson", Form::Json),
            ("x/a.NDJSON.gz", Form::Json),
            ("a-{profile}.lp", Form::Points),
            ("a.lp.gz", Form::Points),
        ] {
            assert_eq!(form(name), Some((wanted, Target::File(name.into()))), "{name}");
        }
        for wrong in ["a.csv", "a", "ndjson", "a.gz", "http://127.0.0.1", "mqtt://u:p@h", "mqtt://"]
        {
            assert_eq!(form(wrong), None, "{wrong}");
        }
        let broker = Target::Broker("mqtt://127.0.0.1:1884".to_owned());
        assert_eq!(form("mqtt://127.0.0.1:1884"), Some((Form::Json, broker)));
    }
}
