//! The values of many devices in one answer: a space–time matrix, one row a device in the order along the road.

mod order;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use pipeline::view::DeviceSummary;
use serde::Serialize;
use store::RangeQuery;
use telemetry::time::EventTime;

use super::params::{Params, check_span};
use super::problem::Problem;
use super::{App, Desk, Unavailable};

/// Most rows; a longer road is asked for in parts.
const ROWS_MAX: usize = 200;
/// Most columns.
const COLUMNS_MAX: u32 = 2_000;
/// Rows read at once, so that one answer does not keep the store from others.
const ROWS_AT_ONCE: usize = 4;

struct Question {
    tenant: Option<String>,
    site: Option<String>,
    profile: Option<String>,
    property: String,
    from: EventTime,
    to: EventTime,
    step: Duration,
}

#[derive(Serialize)]
struct Answer {
    property: String,
    /// Start of the first column.
    from: String,
    step_s: f64,
    columns: usize,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    tenant: String,
    device: String,
    site: String,
    name: Option<String>,
    name_en: Option<String>,
    /// Kilometres along the road, where the registry or the name tells.
    km: Option<f64>,
    /// The mean of each column; `null`: no value.
    values: Vec<Option<f64>>,
}

/// Reads one property of all devices of a site or profile, step by step.
pub(super) async fn matrix<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    let question = question(&uri)?;
    let _turn = app.turn().await?;
    let devices = chosen(&app, &question).await?;
    let start = floor(question.from, question.step);
    let columns = columns(start, &question);
    let read = |(device, km): (DeviceSummary, Option<f64>)| {
        let (desk, query) = (&app.desk, query(&device, &question));
        async move {
            let points = desk.range(query).await?;
            let mut values = vec![None; columns];
            for (at, value) in points {
                if let Some(cell) =
                    column(start, question.step, at).and_then(|at| values.get_mut(at))
                {
                    *cell = Some(value);
                }
            }
            let DeviceSummary { tenant, device, site, name, name_en, .. } = device;
            Ok::<_, Unavailable>(Row { tenant, device, site, name, name_en, km, values })
        }
    };
    let rows = stream::iter(devices).map(read).buffered(ROWS_AT_ONCE).try_collect().await?;
    let step_s = question.step.as_secs_f64();
    Ok(Json(Answer { property: question.property, from: start.to_string(), step_s, columns, rows }))
}

fn question(uri: &Uri) -> Result<Question, Problem> {
    let mut params = Params::of(uri);
    let question = Question {
        tenant: params.take("tenant")?,
        site: params.take("site")?,
        profile: params.take("profile")?,
        property: params.need("property")?,
        from: params.need_time("from")?,
        to: params.need_time("to")?,
        step: params.need_duration("step")?,
    };
    params.finish()?;
    check_span((question.from, question.to), Some(question.step), COLUMNS_MAX)?;
    Ok(question)
}

/// Returns the devices that are meant, in the order along the road.
async fn chosen<D: Desk>(
    app: &App<D>,
    question: &Question,
) -> Result<Vec<(DeviceSummary, Option<f64>)>, Problem> {
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|one| one == name);
    let mut devices = app.desk.devices().await?;
    let config = app.desk.config().await?;
    let has_property = |profile: &str| {
        config.as_ref().is_some_and(|config| {
            let of_name = config.profiles.iter().filter(|one| one.name == profile);
            of_name.flat_map(|one| &one.properties).any(|one| one.name == question.property)
        })
    };
    devices.retain(|one| {
        is(&question.tenant, &one.tenant)
            && is(&question.site, &one.site)
            && is(&question.profile, &one.profile)
            && has_property(&one.profile)
    });
    if devices.len() > ROWS_MAX {
        let args: [(&str, &dyn std::fmt::Display); 2] =
            [("found", &devices.len()), ("most", &ROWS_MAX)];
        return Err(Problem::bad("ingest.http.matrix_rows", &args));
    }
    let km = |one: &DeviceSummary| {
        let known = config.as_ref().and_then(|config| config.device(&one.tenant, &one.device));
        let column = known.and_then(|known| known.columns.get(order::COLUMN)).map(String::as_str);
        order::kilometre(column, one.name.as_deref(), &one.device)
    };
    let devices = devices.into_iter().map(|one| (km(&one), one));
    let mut devices: Vec<_> = devices.map(|(km, one)| (one, km)).collect();
    devices.sort_by(|(one, km), (other, other_km)| {
        (&one.tenant, &one.site)
            .cmp(&(&other.tenant, &other.site))
            .then_with(|| order::along(*km, *other_km))
            .then_with(|| order::natural(&one.device, &other.device))
    });
    Ok(devices)
}

fn query(device: &DeviceSummary, question: &Question) -> RangeQuery {
    RangeQuery {
        measurement: None,
        tenant: device.tenant.clone(),
        device: device.device.clone(),
        property: question.property.clone(),
        from: question.from,
        to: question.to,
        step: Some(question.step),
    }
}

/// Returns the start of the window that holds a time: windows begin at multiples of the step since 1970.
fn floor(at: EventTime, step: Duration) -> EventTime {
    let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    EventTime::from_nanos(at.as_nanos().saturating_sub(at.as_nanos().rem_euclid(step)))
}

fn columns(start: EventTime, question: &Question) -> usize {
    let span = question.to.since(start).as_nanos();
    usize::try_from(span.div_ceil(question.step.as_nanos().max(1))).unwrap_or(0)
}

/// Returns the column of a window's start. The first window begins before the time asked for, and some stores put
/// its mean there, others at that time.
fn column(start: EventTime, step: Duration, at: EventTime) -> Option<usize> {
    if at < start {
        return None;
    }
    usize::try_from(at.since(start).as_nanos() / step.as_nanos().max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    #[test]
    fn a_mean_stands_in_the_column_of_its_window() {
        let step = Duration::from_mins(5);
        let start = floor(EventTime::from_nanos(7 * MINUTE), step);
        assert_eq!(start, EventTime::from_nanos(5 * MINUTE));
        for (minute, expected) in
            [(4, None), (5, Some(0)), (7, Some(0)), (10, Some(1)), (29, Some(4))]
        {
            assert_eq!(
                column(start, step, EventTime::from_nanos(minute * MINUTE)),
                expected,
                "{minute}"
            );
        }
    }
}
