//! From the text of a mapping to a checked one, with every problem on the way.

use super::{Column, Layout, Mapping, Naming, TimeSource};
use crate::document::{Problems, Section};
use crate::profile::time_format;
use crate::registry::DEFAULT_TENANT;
use crate::text::say;
use crate::time::parse_rfc3339;
use crate::topic::is_name;
use crate::unit::Unit;

pub(super) fn mapping(file: &str, text: &str, problems: &Problems) -> Option<Mapping> {
    let mut section = Section::parse(file, text, problems);
    let profile = section.required_text("profile");
    let layouts = [("long", Layout::Long), ("wide", Layout::Wide)];
    let layout = section
        .choice("layout", &layouts)
        .or_else(|| (!section.has("layout")).then_some(Layout::Long));
    let delimiter = delimiter(&mut section);
    let tenant = name(&mut section, "tenant").unwrap_or_else(|| DEFAULT_TENANT.to_owned());
    let site = section.table("site").and_then(|table| naming(table, false));
    let device = device(&mut section, layout);
    if !section.has("time") {
        section.missing("time", "kind.table");
    }
    let time = section.table("time").and_then(time_source);
    let received_at = section.table("received_at").and_then(time_source);
    let ignore = section.texts("ignore").unwrap_or_default();
    let columns = columns(&mut section, layout);
    section.finish();
    let (profile, layout, delimiter, device, time) =
        (profile?, layout?, delimiter?, device?, time?);
    let file = file.to_owned();
    Some(Mapping {
        profile,
        layout,
        delimiter,
        tenant,
        site,
        device,
        time,
        received_at,
        columns: columns?,
        ignore,
        file,
    })
}

fn delimiter(section: &mut Section) -> Option<u8> {
    let text = match section.text("delimiter") {
        None if !section.has("delimiter") => return Some(b','),
        found => found?,
    };
    if let [byte] = text.as_bytes()
        && byte.is_ascii()
        && !matches!(byte, b'"' | b'\n' | b'\r')
    {
        return Some(*byte);
    }
    section.problem(
        "delimiter",
        say("mapping.delimiter", &[]),
        say("mapping.delimiter.remedy", &[]),
    );
    None
}

/// The outer `None`: a problem was noted; the inner one: the header names the devices.
fn device(section: &mut Section, layout: Option<Layout>) -> Option<Option<Naming>> {
    let table = section.table("device");
    if !section.has("device") {
        if layout == Some(Layout::Wide) {
            return Some(None);
        }
        section.missing("device", "kind.table");
    }
    let mut table = table?;
    let is_header = table.truth("header");
    let is_wide = layout == Some(Layout::Wide);
    if is_header == Some(true) || is_wide {
        if is_header != Some(true) || !is_wide {
            table.problem("", say("mapping.header", &[]), say("mapping.header.remedy", &[]));
            return None;
        }
        table.finish();
        return Some(None);
    }
    naming(table, true).map(Some)
}

/// Takes a text that names a tenant, site or device. `None`: it is absent, or a problem was noted.
fn name(section: &mut Section, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    if is_name(&text) {
        return Some(text);
    }
    section.problem(key, say("registry.name", &[]), say("registry.name.remedy", &[]));
    None
}

fn naming(mut section: Section, may_be_header: bool) -> Option<Naming> {
    let is_constant = section.has("constant");
    let (constant, column) = (name(&mut section, "constant"), section.text("column"));
    let filename = section.text("filename");
    let mut found = Vec::new();
    found.extend(column.map(Naming::Column));
    let mut is_wrong = is_constant && constant.is_none();
    found.extend(constant.map(Naming::Constant));
    if let Some(pattern) = filename {
        match regex_lite::Regex::new(&pattern) {
            Ok(pattern) => found.push(Naming::Filename(pattern)),
            Err(error) => {
                is_wrong = true;
                section.problem(
                    "filename",
                    say("mapping.pattern", &[("why", &error)]),
                    say("mapping.pattern.remedy", &[]),
                );
            }
        }
    }
    if let (Some(only), 0) = (found.pop(), found.len()) {
        section.finish();
        return Some(only);
    }
    if !is_wrong {
        let remedy = if may_be_header { "mapping.naming.device" } else { "mapping.naming.remedy" };
        section.problem("", say("mapping.naming", &[]), say(remedy, &[]));
    }
    section.finish();
    None
}

fn time_source(mut section: Section) -> Option<TimeSource> {
    let has_steps = [section.node("start"), section.node("step")].iter().any(Option::is_some);
    let found = if has_steps { steps(&mut section) } else { written(&mut section) };
    section.finish();
    found
}

fn written(section: &mut Section) -> Option<TimeSource> {
    let column = section.text("column").map(|column| vec![column]);
    let columns = section.texts("columns");
    if section.has("column") == section.has("columns") {
        section.problem("", say("mapping.time", &[]), say("mapping.time.remedy", &[]));
        return None;
    }
    if !section.has("format") {
        section.missing("format", "kind.string");
    }
    let format = time_format(section)?;
    Some(TimeSource::Columns(column.or(columns)?, format))
}

fn steps(section: &mut Section) -> Option<TimeSource> {
    let text = section.required_text("start");
    let start = text.as_deref().and_then(parse_rfc3339);
    if text.is_some() && start.is_none() {
        section.problem("start", say("mapping.start", &[]), say("mapping.start.remedy", &[]));
    }
    let step = section.required_duration("step");
    let column = section.text("column");
    Some(TimeSource::Steps { start: start?, step: step?, column })
}

fn columns(section: &mut Section, layout: Option<Layout>) -> Option<Vec<Column>> {
    if layout == Some(Layout::Wide) {
        let line = section.line_of("value");
        let property = section.required_text("value");
        let missing = section.texts("missing").unwrap_or_default();
        let unit = section.text("unit").map(|text| Unit::parse(&text));
        return property
            .map(|property| vec![Column { column: String::new(), property, missing, unit, line }]);
    }
    if !section.has("columns") {
        section.missing("columns", "kind.tables");
        return None;
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut is_whole = true;
    for mut table in section.tables("columns") {
        let line = table.line_of("property");
        let (column, property) = (table.required_text("column"), table.required_text("property"));
        let missing = table.texts("missing").unwrap_or_default();
        let unit = table.text("unit").map(|text| Unit::parse(&text));
        if let Some(property) =
            property.as_ref().filter(|name| columns.iter().any(|known| known.property == **name))
        {
            table.problem(
                "property",
                say("mapping.twice", &[("name", property)]),
                say("mapping.twice.remedy", &[]),
            );
        }
        table.finish();
        if let (Some(column), Some(property)) = (column, property) {
            columns.push(Column { column, property, missing, unit, line });
        } else {
            is_whole = false;
        }
    }
    (is_whole && !columns.is_empty()).then_some(columns)
}
