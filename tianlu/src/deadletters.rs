//! `deadletters`: what was set aside, asked of the running service or read from its folder.

mod folder;
mod service;

use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;
use telemetry::problem::excerpt;
use telemetry::text::{Lang, Text, say};

use crate::cli::{ConfigArgs, DeadLettersCommand, FAILED, FOUND, GOOD};
use crate::config::Config;
use crate::load::load;
use crate::out::{self, Format};

pub use service::Service;

/// One dead letter, as its line in NDJSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// When the uplink was taken in, RFC 3339.
    pub received_at: String,
    /// Topic of the uplink.
    pub topic: Option<String>,
    /// Tenant, where it is known.
    pub tenant: Option<String>,
    /// Device, where it is known.
    pub device: Option<String>,
    /// Index in the batch; `None`: the whole uplink.
    pub element: Option<u64>,
    /// Why, from a fixed set.
    pub reason: String,
    /// Why, in words.
    pub detail: Option<String>,
    /// The payload.
    pub payload_base64: Option<String>,
}

/// Which dead letters are meant; nothing given: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Only those of this reason.
    pub reason: Option<String>,
    /// Only this one.
    pub id: Option<String>,
}

/// Why dead letters could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// Nobody listens at the address of `[http]`.
    #[error("no service answers at {address}")]
    NoService {
        /// The address.
        address: String,
    },
    /// The service answered with something else.
    #[error("the service answered: {detail}")]
    Refused {
        /// What it said.
        detail: String,
    },
    /// The data folder cannot be used.
    #[error("the data folder cannot be used: {detail}")]
    Folder {
        /// Why.
        detail: String,
    },
}

/// Where dead letters come from: the running service, or the data folder when none runs.
pub trait DeadLetterSource {
    /// Returns the open dead letters, oldest first.
    ///
    /// # Errors
    ///
    /// Why they could not be had.
    fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError>;

    /// Sends dead letters through the pipeline again and returns how many.
    ///
    /// # Errors
    ///
    /// Why they could not be sent.
    fn redrive(&self, choice: &Choice) -> Result<u64, DeadLetterError>;
}

/// Runs a command about dead letters.
#[must_use]
pub fn run(command: &DeadLettersCommand, lang: Lang) -> ExitCode {
    let (DeadLettersCommand::List { config, .. }
    | DeadLettersCommand::Show { config, .. }
    | DeadLettersCommand::Redrive { config, .. }) = command;
    let config = match read(config) {
        Ok(config) => config,
        Err(problems) => return crate::check::refuse(&problems, lang),
    };
    let done = answer(&Service::of(&config.http), command, lang).or_else(|error| {
        match (&error, folder::open(&config.data.dir, config.data.max_bytes)) {
            (DeadLetterError::NoService { .. }, Some(folder)) => answer(&*folder, command, lang),
            (_, _) => Err(error),
        }
    });
    done.unwrap_or_else(|error| {
        out::note(&explain(&error).show(lang));
        ExitCode::from(FAILED)
    })
}

fn read(args: &ConfigArgs) -> Result<Config, Vec<telemetry::problem::Problem>> {
    load(Path::new(&args.config), &args.layers()).map(|loaded| loaded.config)
}

fn answer(
    source: &dyn DeadLetterSource,
    command: &DeadLettersCommand,
    lang: Lang,
) -> Result<ExitCode, DeadLetterError> {
    match command {
        DeadLettersCommand::List { reason, print, .. } => {
            let mut letters = source.list()?;
            letters.retain(|letter| reason.as_ref().is_none_or(|reason| *reason == letter.reason));
            list(&letters, print.format, lang);
        }
        DeadLettersCommand::Show { letter, print, .. } => {
            let Some(found) = source.list()?.into_iter().find(|known| known.id == *letter) else {
                out::note(&say("tianlu.deadletters.unknown", &[("id", letter)]).show(lang));
                return Ok(ExitCode::from(FOUND));
            };
            show(&found, print.format, lang);
        }
        DeadLettersCommand::Redrive { reason, id, print, .. } => {
            let redriven = source.redrive(&Choice { reason: reason.clone(), id: id.clone() })?;
            match print.format {
                Format::Json => out::json(&json!({ "redriven": redriven })),
                Format::Text => out::line(
                    &say("tianlu.deadletters.redriven", &[("count", &redriven)]).show(lang),
                ),
            }
        }
    }
    Ok(ExitCode::from(GOOD))
}

fn list(letters: &[DeadLetter], format: Format, lang: Lang) {
    if format == Format::Json {
        return out::json(&json!(letters));
    }
    if letters.is_empty() {
        return out::line(&say("tianlu.deadletters.none", &[]).show(lang));
    }
    let header = ["id", "received_at", "reason", "device", "topic", "detail"].map(str::to_owned);
    let row = |letter: &DeadLetter| {
        let optional = |text: &Option<String>| excerpt(text.as_deref().unwrap_or("-"));
        let element = letter.element.map(|element| format!("[{element}]")).unwrap_or_default();
        let device = format!("{}{element}", optional(&letter.device));
        let (id, at, reason) =
            (letter.id.clone(), letter.received_at.clone(), letter.reason.clone());
        vec![id, at, reason, device, optional(&letter.topic), optional(&letter.detail)]
    };
    out::table(&header, &letters.iter().map(row).collect::<Vec<_>>());
}

fn show(letter: &DeadLetter, format: Format, lang: Lang) {
    if format == Format::Json {
        return out::json(&json!(letter));
    }
    let element = letter.element.map(|element| element.to_string());
    let fields = [
        ("id", Some(&letter.id)),
        ("received_at", Some(&letter.received_at)),
        ("topic", letter.topic.as_ref()),
        ("tenant", letter.tenant.as_ref()),
        ("device", letter.device.as_ref()),
        ("element", element.as_ref()),
        ("reason", Some(&letter.reason)),
        ("detail", letter.detail.as_ref()),
    ];
    for (name, value) in fields {
        out::line(&format!("{name}: {}", value.map_or("-", String::as_str)));
    }
    let Some(payload) = &letter.payload_base64 else { return };
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload)
        .unwrap_or_default();
    match String::from_utf8(decoded) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
            out::line(&format!("payload: {text}"))
        }
        Ok(_) | Err(_) => {
            out::line(&format!("payload_base64: {payload}"));
            out::note(&say("tianlu.deadletters.binary", &[]).show(lang));
        }
    }
}

fn explain(error: &DeadLetterError) -> Text {
    match error {
        DeadLetterError::NoService { address } => {
            say("tianlu.deadletters.no_service", &[("address", address)])
        }
        DeadLetterError::Refused { detail } => {
            say("tianlu.deadletters.refused", &[("detail", detail)])
        }
        DeadLetterError::Folder { detail } => {
            say("tianlu.deadletters.folder", &[("detail", detail)])
        }
    }
}
