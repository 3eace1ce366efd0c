//! The `[time]` of a profile, and the `format`, `zone` and `ambiguous` that mappings share with it.

use std::time::Duration;

use super::{CodecKind, TimeRule};
use crate::document::Section;
use crate::text::say;
use crate::time_format::{Ambiguous, FormatError, TimeFormat, Zone};

const FUTURE: Duration = Duration::from_mins(2);
const PAST: Duration = Duration::from_hours(7 * 24);

/// Reads `[time]`; what is wrong is noted and replaced by the default, so that reading goes on.
pub(super) fn time_rule(section: Option<Section>, codec: Option<CodecKind>) -> TimeRule {
    // A line carries its time itself, in nanoseconds unless a format says otherwise.
    let format = if codec == Some(CodecKind::LineProtocol) {
        TimeFormat::UnixNs
    } else {
        TimeFormat::UnixMs
    };
    let mut rule = TimeRule { path: None, format, trust_device: false, future: FUTURE, past: PAST };
    let Some(mut section) = section else { return rule };
    rule.path = super::check::path(&mut section, "path");
    if let Some(format) = time_format(&mut section) {
        rule.format = format;
    } else if rule.path.is_some() && !section.has("format") {
        section.missing("format", "kind.string");
    }
    rule.trust_device =
        section.choice("policy", &[("check", false), ("trust_device", true)]).unwrap_or(false);
    rule.future = section.duration("future").unwrap_or(FUTURE);
    rule.past = section.duration("past").unwrap_or(PAST);
    section.finish();
    rule
}

/// Reads the keys `format`, `zone` and `ambiguous`; `None` where there is no format or a problem was noted.
pub(crate) fn time_format(section: &mut Section) -> Option<TimeFormat> {
    let choices = [("earlier", Ambiguous::Earlier), ("later", Ambiguous::Later)];
    let ambiguous = section.choice("ambiguous", &choices).unwrap_or_default();
    let zone_name = section.text("zone");
    let zone = zone_name.as_deref().and_then(|name| Zone::parse(name, ambiguous));
    if zone_name.is_some() && zone.is_none() {
        section.problem("zone", say("time.zone", &[]), say("time.zone.remedy", &[]));
    }
    let format = section.text("format")?;
    match TimeFormat::parse(&format, zone) {
        Ok(format) => Some(format),
        // The zone was already named as the problem.
        Err(FormatError::NoZone) if zone_name.is_some() => None,
        Err(FormatError::NoZone) => {
            section.problem("format", say("time.no_zone", &[]), say("time.no_zone.remedy", &[]));
            None
        }
        Err(FormatError::Pattern(why)) => {
            let known = ["unix_s", "unix_ms", "unix_us", "unix_ns", "rfc3339"];
            let remedy = match crate::document::nearest(&format, &known) {
                Some(known) => say("document.did_you_mean", &[("known", &known)]),
                None => say("time.format.remedy", &[]),
            };
            section.problem("format", say("time.format", &[("why", &why)]), remedy);
            None
        }
    }
}
