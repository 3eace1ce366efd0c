//! Why the service does not start, with what to do about it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use ingest::engine::settings::StartError;
use journal::OpenError;
use store::history::HistoryError;
use telemetry::problem::chain;
use telemetry::text::{Lang, Text, say};

use crate::cli::FAILED;
use crate::out;

/// Tells it, and returns how the program ends.
pub(crate) fn tell(error: &StartError, lang: Lang) -> ExitCode {
    let (detail, remedy) = (chain(error), remedy(error).show(lang).to_string());
    out::note(
        &say("tianlu.run.failed_with", &[("detail", &detail), ("remedy", &remedy)]).show(lang),
    );
    ExitCode::from(FAILED)
}

fn remedy(error: &(dyn Error + 'static)) -> Text {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HistoryError>() {
            return error.advice();
        }
        let boxed = error.downcast_ref::<Box<OpenError>>().map(|error| &**error);
        if let Some(OpenError::InUse { .. }) = boxed.or_else(|| error.downcast_ref()) {
            return say("tianlu.remedy.in_use", &[]);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return say(of_system(error), &[]);
        }
        cause = error.source();
    }
    say("tianlu.remedy.other", &[])
}

fn of_system(error: &io::Error) -> &'static str {
    let folder = [
        ErrorKind::NotADirectory,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::AlreadyExists,
        ErrorKind::NotFound,
    ];
    let kind = error.kind();
    if kind == ErrorKind::AddrInUse {
        "tianlu.remedy.address"
    } else if kind == ErrorKind::AddrNotAvailable {
        "tianlu.remedy.no_address"
    } else if folder.contains(&kind) {
        "tianlu.remedy.folder"
    } else if journal::is_full(error) {
        "ingest.disk.full.remedy"
    } else {
        "tianlu.remedy.other"
    }
}
