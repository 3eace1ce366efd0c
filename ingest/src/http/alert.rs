//! Alerts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use rules::{Alert, AlertState};
use serde::Serialize;

use super::params::Params;
use super::problem::Problem;
use super::{App, Desk};

const STATES: [(&str, AlertState); 2] = [
    (AlertState::Firing.as_str(), AlertState::Firing),
    (AlertState::Resolved.as_str(), AlertState::Resolved),
];

#[derive(Serialize)]
struct Answer {
    alerts: Vec<Alert>,
}

/// Lists alerts.
pub(super) async fn list<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    let mut params = Params::of(&uri);
    let state = params.take_word("state", &STATES)?;
    params.finish()?;
    Ok(Json(Answer { alerts: app.desk.alerts(state).await? }))
}
