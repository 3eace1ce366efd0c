//! Which readings and alerts a watcher wants.

use std::borrow::Cow;

use serde::Deserialize;
use telemetry::line_protocol::write_key;

/// Keeps what belongs to a tenant, site and device, as far as they are given.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    tenant: Option<Wanted>,
    site: Option<Wanted>,
    device: Option<Wanted>,
}

#[derive(Debug, Clone)]
struct Wanted {
    name: String,
    /// `tag=name` as a point's line writes it.
    tag: Vec<u8>,
}

impl Wanted {
    fn new(tag: &str, name: &str) -> Self {
        let mut written = tag.as_bytes().to_vec();
        written.push(b'=');
        write_key(&mut written, name);
        Self { name: name.to_owned(), tag: written }
    }
}

#[derive(Deserialize)]
struct Whose<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    site: Cow<'a, str>,
    #[serde(borrow)]
    device: Cow<'a, str>,
}

impl Filter {
    pub(super) fn new(tenant: Option<&str>, site: Option<&str>, device: Option<&str>) -> Self {
        Self {
            tenant: tenant.map(|name| Wanted::new("tenant", name)),
            site: site.map(|name| Wanted::new("site", name)),
            device: device.map(|name| Wanted::new("device", name)),
        }
    }

    /// Returns whether a point's line is wanted. It compares written tags, so that what is not wanted need
    /// not be parsed.
    pub(super) fn keeps_point(&self, line: &[u8]) -> bool {
        let wanted = [&self.tenant, &self.site, &self.device];
        wanted.into_iter().flatten().all(|one| tags(line).any(|tag| tag == one.tag))
    }

    /// Returns whether an alert's line is wanted.
    pub(super) fn keeps_alert(&self, line: &[u8]) -> bool {
        if self.tenant.is_none() && self.site.is_none() && self.device.is_none() {
            return true;
        }
        let Ok(whose) = serde_json::from_slice::<Whose<'_>>(line) else { return false };
        let fits = |wanted: &Option<Wanted>, name: &str| {
            wanted.as_ref().is_none_or(|one| one.name == name)
        };
        fits(&self.tenant, &whose.tenant)
            && fits(&self.site, &whose.site)
            && fits(&self.device, &whose.device)
    }
}

/// Returns the tags of a line as they are written, after the measurement.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_escaped = false;
    let head = line.split(move |byte| {
        let is_end = *byte == b' ' && !is_escaped;
        is_escaped = *byte == b'\\';
        is_end
    });
    let mut is_escaped = false;
    let parts = head.take(1).flat_map(move |head| {
        head.split(move |byte| {
            let is_end = *byte == b',' && !is_escaped;
            is_escaped = *byte == b'\\';
            is_end
        })
    });
    parts.skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_they_are_written() {
        let line =
            r#"so\ il,device=d\ 1\,x,site=东坡,tenant=t\=1 text=",device=other ",v=1 5"#.as_bytes();
        for (filter, keeps) in [
            (Filter::default(), true),
            (Filter::new(Some("t=1"), Some("东坡"), Some("d 1,x")), true),
            (Filter::new(None, None, Some("d 1,x")), true),
            (Filter::new(None, None, Some("d 1")), false),
            (Filter::new(None, None, Some("other")), false),
            (Filter::new(Some("t"), None, None), false),
        ] {
            assert_eq!(filter.keeps_point(line), keeps, "{filter:?}");
        }
    }

    #[test]
    fn alerts_are_compared_by_name() {
        let line = r#"{"id":"1","tenant":"t=1","site":"东\"坡","device":"d"}"#.as_bytes();
        for (filter, keeps) in [
            (Filter::default(), true),
            (Filter::new(Some("t=1"), Some("东\"坡"), Some("d")), true),
            (Filter::new(None, Some("东坡"), None), false),
        ] {
            assert_eq!(filter.keeps_alert(line), keeps, "{filter:?}");
        }
        assert!(!Filter::new(Some("t"), None, None).keeps_alert(b"not JSON"));
    }
}
