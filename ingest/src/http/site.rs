//! Sites as GeoJSON (RFC 7946): where they are, what stands there, how it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use pipeline::ActiveConfig;
use pipeline::view::DeviceSummary;
use rules::{Alert, AlertState, Severity};
use serde::Serialize;
use serde_json::{Value, json};
use telemetry::registry::Device;

use super::params::Params;
use super::problem::Problem;
use super::{App, Desk};

/// The site of a registered device that has none.
const DEFAULT_SITE: &str = "default";

/// What a feature says.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Site {
    tenant: String,
    site: String,
    /// Its name for people, as the registry has it with one of its devices.
    name: Option<String>,
    /// The same in English.
    name_en: Option<String>,
    /// What all its devices' region codes begin with, to whole levels of 2, 4, 6 … digits.
    region: Option<String>,
    domains: BTreeSet<String>,
    devices: usize,
    /// Devices that were never heard.
    unheard: usize,
    /// Alerts that stand.
    alerts: usize,
    /// The gravest of them.
    severity: Option<Severity>,
    #[serde(skip)]
    places: Vec<(f64, f64)>,
}

/// Lists the sites of all devices, heard or registered.
pub(super) async fn list<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let _turn = app.turn().await?;
    let devices = app.desk.devices().await?;
    let alerts = app.desk.alerts(Some(AlertState::Firing)).await?;
    let config = app.desk.config().await?;
    let sites = sites(&devices, config.as_deref(), &alerts);
    let features: Vec<Value> = sites.values().map(feature).collect();
    let kind = [(header::CONTENT_TYPE, "application/geo+json")];
    Ok((kind, Json(json!({ "type": "FeatureCollection", "features": features }))))
}

type Sites = BTreeMap<(String, String), Site>;

fn sites(devices: &[DeviceSummary], config: Option<&ActiveConfig>, alerts: &[Alert]) -> Sites {
    let mut all = Sites::new();
    let mut known = BTreeSet::new();
    for one in devices {
        known.insert((&*one.tenant, &*one.device));
        let site = site_of(&mut all, &one.tenant, &one.site);
        let place = one.lat.zip(one.lon);
        site.add(one.region.as_deref(), place, one.received_at.is_some());
        site.domains.insert(one.domain.clone());
        site.be_named(config.and_then(|config| config.device(&one.tenant, &one.device)));
    }
    let registered = config.into_iter().flat_map(|config| config.registry.iter());
    for one in registered.filter(|one| !known.contains(&(&*one.tenant, &*one.device))) {
        let name = one.site.as_deref().unwrap_or(DEFAULT_SITE);
        let site = site_of(&mut all, &one.tenant, name);
        site.add(one.region.as_deref(), one.lat.zip(one.lon), false);
        site.be_named(Some(one));
        let profile = config.and_then(|config| {
            config.profiles.iter().find(|p| Some(&p.name) == one.profile.as_ref())
        });
        site.domains.extend(profile.map(|profile| profile.domain.as_str().to_owned()));
    }
    for alert in alerts {
        let key = (alert.tenant.to_string(), alert.site.to_string());
        // Those about Tianlu itself have no site.
        let Some(site) = all.get_mut(&key) else { continue };
        site.alerts += 1;
        site.severity = site.severity.max(Some(alert.severity));
    }
    all
}

fn site_of<'a>(all: &'a mut Sites, tenant: &str, site: &str) -> &'a mut Site {
    let new = || Site { tenant: tenant.to_owned(), site: site.to_owned(), ..Site::default() };
    all.entry((tenant.to_owned(), site.to_owned())).or_insert_with(new)
}

impl Site {
    /// Takes the names that the registry has with a device; the first stand.
    fn be_named(&mut self, known: Option<&Device>) {
        let Some(known) = known else { return };
        if self.name.is_none() {
            self.name = known.site_name().map(str::to_owned);
        }
        if self.name_en.is_none() {
            self.name_en = known.site_name_en().map(str::to_owned);
        }
    }

    fn add(&mut self, region: Option<&str>, place: Option<(f64, f64)>, is_heard: bool) {
        self.region = match (self.devices, self.region.as_deref(), region) {
            (0, _, region) => region.map(str::to_owned),
            (_, Some(one), Some(other)) => common(one, other),
            _ => None,
        };
        self.devices += 1;
        self.unheard += usize::from(!is_heard);
        self.places.extend(place);
    }
}

/// Returns what two region codes share, to whole levels: province 2 digits, city 4, county 6, town 9, village 12.
fn common(one: &str, other: &str) -> Option<String> {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let level = [12, 9, 6, 4, 2].into_iter().find(|level| *level <= same)?;
    one.get(..level).map(str::to_owned)
}

/// Makes the feature of a site; it stands in the middle of its devices.
fn feature(site: &Site) -> Value {
    // A count of devices is exact in a float.
    let count = site.places.iter().fold(0.0, |count, _| count + 1.0);
    let (lat, lon) =
        site.places.iter().fold((0.0, 0.0), |sum, place| (sum.0 + place.0, sum.1 + place.1));
    // About a metre: the mean has no more to say.
    let degree = |sum: f64| (sum / count * 1e5).round() / 1e5;
    let geometry = (count > 0.0)
        .then(|| json!({ "type": "Point", "coordinates": [degree(lon), degree(lat)] }));
    json!({ "type": "Feature", "geometry": geometry, "properties": site })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_codes_share_whole_levels() {
        for (one, other, shared) in [
            ("330106", "330106", Some("330106")),
            ("330106", "330108", Some("3301")),
            ("330106", "331002", Some("33")),
            ("330106", "340102", None),
            ("330106001001", "330106001002", Some("330106001")),
        ] {
            assert_eq!(common(one, other).as_deref(), shared, "{one} {other}");
        }
    }
}
