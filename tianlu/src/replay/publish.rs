//! `--to`: publishes each row as an uplink of its profile to an MQTT broker.

mod body;

use serde::Serialize;
use telemetry::text::{Lang, say};

use super::input::Item;
use super::merge::Merge;
use super::plan::Plan;
use crate::out;
use crate::playback::fault::Fault;
use crate::playback::pace::Pace;
use crate::playback::progress::Progress;
use crate::playback::publisher::{self, Letter};

/// What became of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Published {
    rows: u64,
    published: u64,
    left_out: u64,
}

impl Published {
    /// Returns the counts as JSON of several lines.
    pub(super) fn to_json(self) -> String {
        serde_json::to_string_pretty(&self).unwrap_or_default()
    }
}

/// Publishes all rows.
pub(super) fn publish(
    plan: &Plan,
    url: &str,
    (mut merge, mut pace): (Merge<'_>, Pace),
    (progress, lang): (Progress, Lang),
) -> Result<Published, Fault> {
    let Some(profile) = plan.profile() else { return Err(Fault::Wrong(Vec::new())) };
    body::check(profile)?;
    publisher::address(url)?;
    if profile.time.path.is_none() {
        out::note(&say("tianlu.replay.to_timeless", &[("profile", &profile.name)]).show(lang));
    }
    let mut next = || {
        let item = merge.next()?;
        Ok(item.map(|item| (item.key, letter(plan, item))))
    };
    let sent = publisher::publish(url, "tianlu-replay", &mut next, (&mut pace, progress))?;
    let counts: [(&str, &dyn std::fmt::Display); 2] =
        [("published", &sent.published), ("left_out", &sent.left_out)];
    out::note(&say("tianlu.replay.to_done", &counts).show(lang));
    let publisher::Sent { published, left_out } = sent;
    Ok(Published { rows: merge.rows(), published, left_out })
}

/// Makes the uplink of a row. `None`: the row gave no reading, or its names do not fit into a topic.
fn letter(plan: &Plan, item: Item) -> Option<Letter> {
    let profile = plan.profile()?;
    let telemetry::reading::Element::Reading(reading) = item.element else { return None };
    let known =
        plan.config.device(&item.tenant, &item.device).and_then(|known| known.site.as_deref());
    let site = known.or(item.site.as_deref()).unwrap_or("default");
    let topic = publisher::topic(&item.tenant, site, &item.device)?;
    Some(Letter { topic, body: body::of(profile, &item.device, &reading) })
}
