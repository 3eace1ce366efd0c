//! Devices and their newest values.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use pipeline::view::DeviceSummary;
use serde::Serialize;

use super::params::Params;
use super::problem::{Kind, Problem, cut};
use super::{App, Desk};

#[derive(Serialize)]
struct Answer {
    devices: Vec<DeviceSummary>,
}

/// Lists every device.
pub(super) async fn list<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let _turn = app.turn().await?;
    Ok(Json(Answer { devices: app.desk.devices().await? }))
}

/// Shows one device.
pub(super) async fn show<D: Desk>(
    State(app): State<Arc<App<D>>>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let Path((tenant, device)) = path.map_err(|_| Problem::bad("ingest.http.path_text", &[]))?;
    let (shown_tenant, shown_device) = (cut(&tenant), cut(&device));
    let unknown = || {
        let args: [(&str, &dyn std::fmt::Display); 2] =
            [("tenant", &shown_tenant), ("device", &shown_device)];
        Problem::say(Kind::NotFound, "ingest.http.no_such_device", &args)
    };
    app.desk.device(tenant, device).await?.map(Json).ok_or_else(unknown)
}
