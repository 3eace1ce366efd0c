//! How the service is: alive, ready, its metrics, its balance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use pipeline::Balance;
use serde::Serialize;
use serde_json::json;

use super::gate::Language;
use super::params::Params;
use super::problem::{Kind, Problem};
use super::{App, Desk, NotReady};
use crate::meter;

/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says that the process answers.
pub(super) async fn alive() -> impl IntoResponse {
    Json(json!({ "status": "alive" }))
}

#[derive(Serialize)]
struct Ready {
    /// What keeps the service from being ready.
    reasons: Vec<Reason>,
    /// What is worth saying and keeps it from nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    part: &'static str,
    message: String,
    remedy: String,
}

/// Says whether everything works, and what does not.
pub(super) async fn ready<D: Desk>(
    State(app): State<Arc<App<D>>>,
    Language(lang): Language,
) -> Response {
    let found = app.desk.readiness();
    let (reasons, notes): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.blocks);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let show = |one: NotReady| Reason {
        part: one.part,
        message: one.message.show(lang),
        remedy: one.remedy.show(lang),
    };
    let ready = Ready {
        reasons: reasons.into_iter().map(show).collect(),
        notes: notes.into_iter().map(show).collect(),
    };
    let vary = [(header::VARY, "accept-language")];
    (status, vary, Json(ready)).into_response()
}

/// Renders the metrics.
pub(super) async fn metrics<D: Desk>(State(app): State<Arc<App<D>>>) -> impl IntoResponse {
    meter::refresh(&app.desk.totals().await);
    ([(header::CONTENT_TYPE, PROMETHEUS)], app.options.metrics.render())
}

#[derive(Serialize)]
struct Answer {
    as_of: String,
    #[serde(flatten)]
    balance: Balance,
}

/// Makes the balance.
pub(super) async fn balance<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let recovering = || Problem::say(Kind::Recovering, "ingest.http.recovering_detail", &[]);
    let cut = app.desk.balance().await.ok_or_else(recovering)?;
    Ok(Json(Answer { as_of: cut.as_of.to_string(), balance: cut.balance }))
}
