//! Stored values.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use serde::Serialize;
use store::{POINTS_MAX, RangeQuery};

use super::params::{Params, check_span};
use super::problem::{Kind, Problem};
use super::{App, Desk, Unavailable};

#[derive(Serialize)]
struct Answer {
    points: Vec<(String, f64)>,
}

/// Reads the values of one property of one device.
pub(super) async fn range<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    let query = query(&uri)?;
    let _turn = app.turn().await?;
    let points = app.desk.range(query).await?;
    let points = points.into_iter().map(|(at, value)| (at.to_string(), value)).collect();
    Ok(Json(Answer { points }))
}

fn query(uri: &Uri) -> Result<RangeQuery, Problem> {
    let mut params = Params::of(uri);
    let query = RangeQuery {
        tenant: params.need("tenant")?,
        device: params.need("device")?,
        property: params.need("property")?,
        from: params.need_time("from")?,
        to: params.need_time("to")?,
        step: params.take_duration("step")?,
        measurement: params.take("measurement")?,
    };
    params.finish()?;
    let most = u32::try_from(POINTS_MAX).unwrap_or(u32::MAX);
    check_span((query.from, query.to), query.step, most)?;
    Ok(query)
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let kind = if unavailable.is_too_much { Kind::BadRequest } else { Kind::Unavailable };
        Self::new(kind, unavailable.message)
    }
}
