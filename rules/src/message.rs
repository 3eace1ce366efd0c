//! The message of a rule: a text in two languages with places to fill.

use std::fmt::{self, Display, Write as _};

use telemetry::document::nearest;
use telemetry::text::{Text, say};

/// What a message may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Site,
    Device,
    Tenant,
    Property,
    Value,
    Limit,
    Rule,
    Severity,
    Name,
    Region,
}

const PLACES: [(&str, Place); 10] = [
    ("site", Place::Site),
    ("device", Place::Device),
    ("tenant", Place::Tenant),
    ("property", Place::Property),
    ("value", Place::Value),
    ("limit", Place::Limit),
    ("rule", Place::Rule),
    ("severity", Place::Severity),
    ("name", Place::Name),
    ("region", Place::Region),
];

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Box<str>),
    Place(Place),
}

/// A message in one language.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// Reads a message; the error says what is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, Box<(Text, Text)>> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                return Err(Box::new((say("rules.message.open", &[]), places())));
            };
            let Some((_, place)) = PLACES.iter().find(|(known, _)| *known == name) else {
                let written = format!("{{{name}}}");
                return Err(Box::new((
                    say("rules.message.unknown", &[("name", &written)]),
                    suggestion(name),
                )));
            };
            parts.extend([Part::Text(before.into()), Part::Place(*place)]);
            rest = tail;
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self(parts))
    }

    pub(crate) fn names(&self, place: Place) -> bool {
        self.0.contains(&Part::Place(place))
    }

    /// Fills the places; what is filled in is never read as a place again.
    pub(crate) fn fill(&self, write: impl Fn(Place, &mut String)) -> Box<str> {
        let mut out = String::with_capacity(96);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(place) => write(*place, &mut out),
            }
        }
        out.into_boxed_str()
    }
}

impl Display for Template {
    /// Writes the message as it was read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Place(place) => {
                    let name = PLACES.iter().find(|(_, known)| known == place);
                    write!(f, "{{{}}}", name.map_or("", |(name, _)| name))?;
                }
            }
        }
        Ok(())
    }
}

fn places() -> Text {
    let all: Vec<String> = PLACES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    say("rules.message.places", &[("places", &all.join(" "))])
}

fn suggestion(name: &str) -> Text {
    let known: Vec<&str> = PLACES.iter().map(|(name, _)| *name).collect();
    match nearest(name, &known) {
        Some(meant) => say("document.did_you_mean", &[("known", &format!("{{{meant}}}"))]),
        None => places(),
    }
}

/// Writes a number short: whole numbers in full, others with six significant digits.
pub(crate) fn write_short(out: &mut String, number: f64) {
    let size = number.abs();
    let rounded = format!("{number:.5e}");
    let written = if size >= 1e15 || (size > 0.0 && size < 1e-6) {
        write!(out, "{:e}", rounded.parse().unwrap_or(number))
    } else if size >= 1e6 || number.fract() == 0.0 {
        // The sum turns a negative zero into zero.
        write!(out, "{:.0}", number + 0.0)
    } else {
        write!(out, "{}", rounded.parse().unwrap_or(number))
    };
    debug_assert!(written.is_ok(), "a string takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.11, "0.11"),
            (12.0, "12"),
            (-0.0, "0"),
            (35.333_333_333_333_336, "35.3333"),
            (0.1 + 0.2, "0.3"),
            (1_234_567.0, "1234567"),
            (1_234_567.8, "1234568"),
            (-3.5, "-3.5"),
            (2.5e-9, "2.5e-9"),
            (1e300, "1e300"),
        ];
        for (number, text) in cases {
            let mut out = String::new();
            write_short(&mut out, number);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn what_is_filled_in_is_never_a_place_again() {
        let template = Template::parse("{site}: {value} }").unwrap();
        let filled = template
            .fill(|place, out| out.push_str(if place == Place::Site { "{value}" } else { "1" }));
        assert_eq!(&*filled, "{value}: 1 }");
        assert_eq!(template.to_string(), "{site}: {value} }");
    }

    #[test]
    fn an_unknown_place_is_refused_with_the_nearest_known() {
        let (what, remedy) = *Template::parse("{vaule}").unwrap_err();
        assert_eq!(
            (what.en.as_str(), remedy.en.as_str()),
            ("unknown placeholder `{vaule}`", "did you mean `{value}`?")
        );
        assert!(Template::parse("a { b").is_err());
    }
}
