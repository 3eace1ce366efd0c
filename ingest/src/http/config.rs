//! What the running configuration says of rules and profiles: limits for charts, units for values.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use pipeline::ActiveConfig;
use rules::condition::Comparison;
use rules::{Rule, Severity};
use serde::Serialize;
use telemetry::profile::{Profile, PropertyType};

use super::params::Params;
use super::problem::{Kind, Problem};
use super::{App, Desk};

#[derive(Serialize)]
struct Rules {
    rules: Vec<RuleLine>,
}

/// A rule, with its limits taken apart.
#[derive(Serialize)]
struct RuleLine {
    name: String,
    version: String,
    severity: Severity,
    /// What restricts it; empty: every device.
    scope: BTreeMap<&'static str, Vec<String>>,
    /// Profiles of its scope that have its properties.
    profiles: Vec<String>,
    when: Option<String>,
    clear: Option<String>,
    /// The comparisons of `when`, in text order.
    limits: Vec<LimitLine>,
    /// The comparisons of `clear`; empty: it clears where `when` is not true.
    clear_limits: Vec<LimitLine>,
    no_data_intervals: Option<u32>,
    on_delay_s: f64,
    off_delay_s: f64,
    message: Message,
}

#[derive(Serialize)]
struct LimitLine {
    property: String,
    op: &'static str,
    limit: f64,
}

#[derive(Serialize)]
struct Message {
    zh: String,
    en: String,
}

#[derive(Serialize)]
struct Profiles {
    profiles: Vec<ProfileLine>,
}

#[derive(Serialize)]
struct ProfileLine {
    name: String,
    domain: &'static str,
    measurement: String,
    interval_s: f64,
    properties: Vec<PropertyLine>,
}

#[derive(Serialize)]
struct PropertyLine {
    name: String,
    r#type: &'static str,
    unit: String,
    range: Option<(f64, f64)>,
}

/// Lists the rules in force, by name.
pub(super) async fn rules<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let config = in_force(&app).await?;
    let _turn = app.turn().await?;
    let rules = config.rules.rules().iter().map(|rule| rule_line(rule, &config)).collect();
    Ok(Json(Rules { rules }))
}

/// Lists the profiles in force, in the order of their files.
pub(super) async fn profiles<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let config = in_force(&app).await?;
    Ok(Json(Profiles { profiles: config.profiles.iter().map(profile_line).collect() }))
}

/// Returns the configuration in force.
pub(super) async fn in_force<D: Desk>(app: &App<D>) -> Result<Arc<ActiveConfig>, Problem> {
    let none = || Problem::say(Kind::Recovering, "ingest.http.recovering_detail", &[]);
    app.desk.config().await?.ok_or_else(none)
}

fn rule_line(rule: &Rule, config: &ActiveConfig) -> RuleLine {
    let limits = |all: &[Comparison]| {
        all.iter()
            .map(|one| LimitLine {
                property: one.property.to_string(),
                op: one.operator.as_str(),
                limit: one.limit,
            })
            .collect()
    };
    let is_bound = |at: usize| {
        config.rules.of_profile(at).iter().any(|bound| bound.rule().name() == rule.name())
    };
    let profiles = config.profiles.iter().enumerate().filter(|(at, _)| is_bound(*at));
    let message = rule.message();
    RuleLine {
        name: rule.name().to_owned(),
        version: rule.version().to_owned(),
        severity: rule.severity(),
        scope: rule.scope().into_iter().map(|(key, names)| (key, names.to_vec())).collect(),
        profiles: profiles.map(|(_, profile)| profile.name.clone()).collect(),
        when: rule.when().map(str::to_owned),
        clear: rule.clear().map(str::to_owned),
        limits: limits(rule.limits()),
        clear_limits: limits(rule.clear_limits()),
        no_data_intervals: rule.no_data_intervals(),
        on_delay_s: rule.on_delay().as_secs_f64(),
        off_delay_s: rule.off_delay().as_secs_f64(),
        message: Message { zh: message.zh, en: message.en },
    }
}

fn profile_line(profile: &Profile) -> ProfileLine {
    let properties = profile.properties.iter().map(|property| PropertyLine {
        name: property.name.clone(),
        r#type: type_word(property.kind),
        unit: property.unit.as_str().to_owned(),
        range: property.range,
    });
    ProfileLine {
        name: profile.name.clone(),
        domain: profile.domain.as_str(),
        measurement: profile.measurement.clone(),
        interval_s: profile.interval.as_secs_f64(),
        properties: properties.collect(),
    }
}

/// Returns the word that profiles use.
const fn type_word(kind: PropertyType) -> &'static str {
    match kind {
        PropertyType::Float => "float",
        PropertyType::Int => "int",
        PropertyType::Bool => "bool",
        PropertyType::Text => "string",
    }
}
