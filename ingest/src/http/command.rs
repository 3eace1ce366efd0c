//! Commands to devices that are connected to the built-in listener.

use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::params::Params;
use super::problem::{Kind, Problem};
use super::{App, Desk};
use crate::listener::{COMMAND_BYTES_MAX, CommandError};

/// Content types of a command. Neither is one that another site's page may send.
const KINDS: [&str; 2] = ["application/json", "application/octet-stream"];

/// Queues the body as a command of a device; 202 says that it waits, not that the device has it.
pub(super) async fn send<D: Desk>(
    State(app): State<Arc<App<D>>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    Params::of(request.uri()).finish()?;
    let Path((tenant, device)) = path.map_err(|_| Problem::bad("ingest.http.path_text", &[]))?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Err(Problem::say(Kind::NotJson, "ingest.http.command_kind", &[]));
    }
    let too_large = |_| {
        Problem::say(Kind::BodyTooLarge, "ingest.http.body_most", &[("most", &COMMAND_BYTES_MAX)])
    };
    let body = to_bytes(request.into_body(), COMMAND_BYTES_MAX).await.map_err(too_large)?;
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
