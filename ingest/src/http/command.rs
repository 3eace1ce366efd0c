//! Commands to devices that are connected to the built-in listener.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::params::Params;
use super::problem::{Kind, Problem};
use super::{App, Desk, body};
use crate::listener::{COMMAND_BYTES_MAX, CommandError};

/// Content types of a command.
const KINDS: [&str; 2] = ["application/json", "application/octet-stream"];

/// Queues the body as a command of a device; 202 says that it waits, not that the device has it.
pub(super) async fn send<D: Desk>(
    State(app): State<Arc<App<D>>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    Params::of(request.uri()).finish()?;
    let Path((tenant, device)) = path.map_err(|_| Problem::bad("ingest.http.path_text", &[]))?;
    let kinds = (&KINDS[..], "ingest.http.command_kind");
    let body = body::read(request, kinds, COMMAND_BYTES_MAX).await?;
    let queued = app.desk.command(&tenant, &device, body);
    let receivers = queued.map_err(|error| match error {
        Some(error) => Problem::new(kind_of(&error), error.text()),
        None => Problem::say(Kind::NotFound, "ingest.http.no_listener", &[]),
    })?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "receivers": receivers }))))
}

const fn kind_of(error: &CommandError) -> Kind {
    match error {
        CommandError::NotSubscribed { .. } => Kind::NotFound,
        CommandError::Full { .. } => Kind::Busy,
        CommandError::TooLong { .. } => Kind::BodyTooLarge,
    }
}
