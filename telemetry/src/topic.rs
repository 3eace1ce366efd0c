//! Patterns of uplink topics with named levels: which tenant, site and device a topic names.

use std::fmt::{self, Display};

/// Longest name of a tenant, site or device in bytes: it stands in every point and every map of devices.
pub const NAME_BYTES_MAX: usize = 256;

/// What is wrong with a topic pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Nothing there.
    #[error("the topic pattern is empty")]
    Empty,
    /// A level between two slashes has no character.
    #[error("level {level} of the topic pattern is empty")]
    EmptyLevel {
        /// Which level, from 1.
        level: usize,
    },
    /// `{x}` with another name than tenant, site or device.
    #[error("`{{{name}}}` is not one of `{{tenant}}`, `{{site}}`, `{{device}}`")]
    UnknownName {
        /// The name between the braces.
        name: String,
    },
    /// The same name twice.
    #[error("`{{{name}}}` stands twice in the topic pattern")]
    Twice {
        /// The name between the braces.
        name: &'static str,
    },
    /// A brace or wildcard that does not fill its level.
    #[error("level `{level}` mixes text with a name or wildcard")]
    Mixed {
        /// The level as written.
        level: String,
    },
    /// `#` anywhere but at the end.
    #[error("`#` stands only at the end of a topic pattern")]
    RestNotLast,
    /// A shared subscription: that belongs to the filter of the subscription, not to the topic.
    #[error("`$share` belongs in `topics` of `[mqtt]`, not in a topic pattern")]
    Shared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(Box<str>),
    Tenant,
    Site,
    Device,
    Any,
    Rest,
}

/// A pattern such as `tianlu/v1/{tenant}/{site}/{device}/up`; `+` and a last `#` as in MQTT filters.
///
/// A named level matches any name that is not empty, at most [`NAME_BYTES_MAX`] long and free of control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern(Vec<Level>);

/// The names that a topic gave; `None` where the pattern does not name that level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicLevels<'t> {
    /// The tenant.
    pub tenant: Option<&'t str>,
    /// The site.
    pub site: Option<&'t str>,
    /// The device.
    pub device: Option<&'t str>,
}

impl TopicPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Tells which level is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.starts_with("$share/") {
            return Err(TopicError::Shared);
        }
        let mut levels: Vec<Level> = Vec::new();
        for (index, written) in text.split('/').enumerate() {
            if levels.last() == Some(&Level::Rest) {
                return Err(TopicError::RestNotLast);
            }
            let level = parse_level(index, written)?;
            if let Some(name) = level.name().filter(|_| levels.contains(&level)) {
                return Err(TopicError::Twice { name });
            }
            levels.push(level);
        }
        Ok(Self(levels))
    }

    /// Returns the names in a topic, or `None` where it does not match.
    #[must_use]
    pub fn matches<'t>(&self, topic: &'t str) -> Option<TopicLevels<'t>> {
        let mut found = TopicLevels::default();
        let mut rest = Some(topic);
        // MQTT 4.7.2: a wildcard at the first level does not match topics of the broker itself.
        if topic.starts_with('$') && !matches!(self.0.first(), Some(Level::Literal(_))) {
            return None;
        }
        for level in &self.0 {
            if *level == Level::Rest {
                return Some(found);
            }
            let part = next_level(&mut rest)?;
            match level {
                Level::Literal(text) if **text == *part => {}
                Level::Tenant if is_name(part) => found.tenant = Some(part),
                Level::Site if is_name(part) => found.site = Some(part),
                Level::Device if is_name(part) => found.device = Some(part),
                Level::Any | Level::Rest => {}
                Level::Literal(_) | Level::Tenant | Level::Site | Level::Device => return None,
            }
        }
        rest.is_none().then_some(found)
    }

    /// Returns the MQTT filter that takes in every topic of this pattern: `+` for each name.
    #[must_use]
    pub fn as_filter(&self) -> String {
        self.join(|level| match level {
            Level::Literal(text) => text,
            Level::Tenant | Level::Site | Level::Device | Level::Any => "+",
            Level::Rest => "#",
        })
    }

    /// Returns whether the pattern names the device.
    #[must_use]
    pub fn names_device(&self) -> bool {
        self.0.contains(&Level::Device)
    }

    /// Returns the topic of one device under this pattern, as a simulator or a command publishes it.
    ///
    /// `None` where the pattern has wildcards or a name that the levels lack.
    #[must_use]
    pub fn topic_of(&self, levels: &TopicLevels<'_>) -> Option<String> {
        let named = |level| match level {
            &Level::Tenant => levels.tenant,
            &Level::Site => levels.site,
            &Level::Device => levels.device,
            Level::Literal(text) => Some(&**text),
            &Level::Any | &Level::Rest => None,
        };
        let parts: Option<Vec<&str>> = self.0.iter().map(named).collect();
        parts.map(|parts| parts.join("/"))
    }

    fn join<'a>(&'a self, show: impl Fn(&'a Level) -> &'a str) -> String {
        let parts: Vec<&str> = self.0.iter().map(show).collect();
        parts.join("/")
    }
}

impl Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(|level| match level {
            Level::Literal(text) => text,
            Level::Tenant => "{tenant}",
            Level::Site => "{site}",
            Level::Device => "{device}",
            Level::Any => "+",
            Level::Rest => "#",
        }))
    }
}

impl Level {
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Tenant => Some("tenant"),
            Self::Site => Some("site"),
            Self::Device => Some("device"),
            Self::Literal(_) | Self::Any | Self::Rest => None,
        }
    }
}

fn parse_level(index: usize, written: &str) -> Result<Level, TopicError> {
    match written {
        "" => return Err(TopicError::EmptyLevel { level: index + 1 }),
        "{tenant}" => return Ok(Level::Tenant),
        "{site}" => return Ok(Level::Site),
        "{device}" => return Ok(Level::Device),
        "+" => return Ok(Level::Any),
        "#" => return Ok(Level::Rest),
        _ => {}
    }
    if let Some(name) = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return Err(TopicError::UnknownName { name: name.to_owned() });
    }
    if written.contains(['{', '}', '+', '#']) || written.contains(char::is_control) {
        return Err(TopicError::Mixed { level: written.to_owned() });
    }
    Ok(Level::Literal(written.into()))
}

/// Takes a level off a topic: a name is short, and a look at each byte costs less than a search.
fn next_level<'t>(rest: &mut Option<&'t str>) -> Option<&'t str> {
    let text = (*rest)?;
    let slash = text.bytes().position(|byte| byte == b'/');
    *rest = slash.and_then(|at| text.get(at + 1..));
    slash.map_or(Some(text), |at| text.get(..at))
}

/// Returns whether a text can name a tenant, site or device.
#[must_use]
pub fn is_name(text: &str) -> bool {
    // Nearly every name is plain ASCII, which needs no decoding of characters.
    let is_plain = |byte: &u8| (0x20..0x7f).contains(byte);
    let is_printable = || text.as_bytes().iter().all(is_plain) || !text.contains(char::is_control);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && is_printable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_pattern_names_tenant_site_and_device() {
        let pattern = TopicPattern::parse("tianlu/v1/{tenant}/{site}/{device}/up").unwrap();
        let found = pattern.matches("tianlu/v1/farm/北田/s-01/up").unwrap();
        assert_eq!(
            found,
            TopicLevels { tenant: Some("farm"), site: Some("北田"), device: Some("s-01") }
        );
        assert_eq!(pattern.as_filter(), "tianlu/v1/+/+/+/up");
        assert_eq!(pattern.topic_of(&found).as_deref(), Some("tianlu/v1/farm/北田/s-01/up"));
        for other in
            ["", "tianlu/v1/a/b/c", "tianlu/v1/a/b/c/up/x", "tianlu/v1/a//c/up", "x/v1/a/b/c/up"]
        {
            assert_eq!(pattern.matches(other), None, "{other}");
        }
        assert_eq!(pattern.matches("tianlu/v1/a/b\n/c/up"), None, "a control character is no name");
        assert_eq!(
            pattern.matches(&format!("tianlu/v1/a/b/{}/up", "c".repeat(257))),
            None,
            "too long"
        );
    }

    #[test]
    fn wildcards_match_as_in_mqtt_but_never_the_brokers_own_topics() {
        let rest = TopicPattern::parse("gw/{device}/#").unwrap();
        assert_eq!(rest.matches("gw/d1/a/b").and_then(|l| l.device), Some("d1"));
        assert_eq!(
            rest.matches("gw/d1").and_then(|l| l.device),
            Some("d1"),
            "`#` stands for the parent too"
        );
        assert!(TopicPattern::parse("#").unwrap().matches("$SYS/uptime").is_none());
        assert!(TopicPattern::parse("+/uptime").unwrap().matches("$SYS/uptime").is_none());
    }

    #[test]
    fn a_wrong_pattern_says_which_level() {
        let cases = [
            ("", "the topic pattern is empty"),
            ("a//b", "level 2 of the topic pattern is empty"),
            ("a/{divice}/b", "`{divice}` is not one of `{tenant}`, `{site}`, `{device}`"),
            ("{site}/{site}", "`{site}` stands twice in the topic pattern"),
            ("a/d-{device}", "level `d-{device}` mixes text with a name or wildcard"),
            ("a/#/b", "`#` stands only at the end of a topic pattern"),
            ("$share/g/a", "`$share` belongs in `topics` of `[mqtt]`, not in a topic pattern"),
        ];
        for (pattern, why) in cases {
            assert_eq!(TopicPattern::parse(pattern).unwrap_err().to_string(), why, "{pattern}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_topic_made_of_a_pattern_gives_its_names_back(
            names in prop::array::uniform3("[a-zA-Z0-9_北田-]{1,12}"),
            order in prop::sample::select(vec!["{tenant}/{site}/{device}", "x/{device}/{tenant}/y/{site}"]),
        ) {
            let pattern = TopicPattern::parse(order).unwrap();
            prop_assert_eq!(pattern.to_string(), order);
            let [tenant, site, device] = &names;
            let levels = TopicLevels { tenant: Some(tenant), site: Some(site), device: Some(device) };
            let topic = pattern.topic_of(&levels).unwrap();
            prop_assert_eq!(pattern.matches(&topic), Some(levels));
        }

        #[test]
        fn no_text_makes_pattern_or_match_panic(pattern in ".{0,40}", topic in ".{0,40}") {
            if let Ok(parsed) = TopicPattern::parse(&pattern) {
                prop_assert_eq!(TopicPattern::parse(&parsed.to_string()), Ok(parsed.clone()));
                let _found = parsed.matches(&topic);
            }
        }
    }
}
