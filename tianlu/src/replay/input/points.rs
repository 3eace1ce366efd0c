//! Line protocol, as `--points` writes it and as other tools do.

use std::sync::Arc;

use telemetry::codec::decode;
use telemetry::document::Problems;
use telemetry::line_protocol::{FieldValue, Line, parse_line};
use telemetry::profile::{CodecKind, Profile, PropertyType};
use telemetry::reading::Element;
use telemetry::time::show_duration;
use telemetry::topic::is_name;

use super::Found;
use super::names::{Name, Names};
use crate::playback::fault::Fault;

/// Returns the profile that decodes points of `profile`: fields are named by the properties and in their units,
/// times are nanoseconds. A profile whose devices send line protocol decodes by its own paths.
pub(super) fn profile_of_points(profile: &Profile) -> Result<Profile, Fault> {
    if profile.codec == CodecKind::LineProtocol {
        return Ok(profile.clone());
    }
    // Written as a profile file, so that the paths are compiled and checked as those of any other are.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let tags: Vec<String> = profile.tags.iter().map(|tag| quoted(&tag.name)).collect();
    let mut text = format!(
        "name = {}\ndomain = \"{}\"\nmeasurement = {}\ninterval = \"{}\"\ncodec = \"line_protocol\"\ntags = [{}]\n",
        quoted(&profile.name),
        profile.domain.as_str(),
        quoted(&profile.measurement),
        show_duration(profile.interval),
        tags.join(", ")
    );
    for property in &profile.properties {
        let kind = match property.kind {
            PropertyType::Float => "float",
            PropertyType::Int => "int",
            PropertyType::Bool => "bool",
            PropertyType::Text => "string",
        };
        let (name, unit) = (quoted(&property.name), quoted(property.unit.as_str()));
        text.push_str(&format!(
            "[[properties]]\nname = {name}\npath = {name}\ntype = \"{kind}\"\nunit = {unit}\n"
        ));
        if let Some((least, most)) = property.range {
            text.push_str(&format!("range = [{least:?}, {most:?}]\n"));
        }
    }
    let problems = Problems::default();
    let parsed = Profile::parse(&profile.name, &text, &problems);
    parsed.ok_or_else(|| Fault::Wrong(problems.take()))
}

/// Reads one line; tenant, site and device are the tags of these names, else what the mapping says.
pub(super) fn found(profile: &Profile, names: &Names, line: &[u8]) -> Found {
    let raw: Arc<[u8]> = line.into();
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return names.bad(raw, &error.to_string()),
    };
    let parsed = match parse_line(text) {
        Ok(parsed) => parsed,
        Err(error) => return names.bad(raw, &error.to_string()),
    };
    let mut element = match decode(profile, line) {
        Ok(decoded) => decoded.elements.into_iter().next(),
        Err(error) => Some(Element::Bad(error.to_string().into())),
    };
    let tag = |name: &str| tag(&parsed, name).map(str::to_owned);
    let own = |name: &str| tag(name).filter(|found| is_name(found)).map(Arc::from);
    let Some(device) = own("device").or_else(|| Name::read(names.device.as_ref(), tag)) else {
        return names.bad(raw, "the line names no device");
    };
    // A point with an untrusted time stands where it was taken in.
    let time_flag = field(&parsed, "time_flag");
    let received_at = time_flag.and(parsed.time);
    if let (Some("missing"), Some(Element::Reading(reading))) = (time_flag, &mut element) {
        reading.sampled_at = None;
    }
    let nothing = || Element::Bad("the line holds no reading".into());
    Found {
        received_at,
        tenant: own("tenant").unwrap_or_else(|| Arc::clone(&names.tenant)),
        site: own("site").or_else(|| Name::read(names.site.as_ref(), tag)),
        device,
        raw,
        element: element.unwrap_or_else(nothing),
    }
}

fn tag<'l>(line: &'l Line<'_>, name: &str) -> Option<&'l str> {
    line.tags.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

fn field<'l>(line: &'l Line<'_>, name: &str) -> Option<&'l str> {
    let found = line.fields.iter().find(|(known, _)| known == name);
    if let Some((_, FieldValue::Text(text))) = found { Some(text) } else { None }
}
