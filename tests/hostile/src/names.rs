//! Topics and their patterns.

use telemetry::topic::{TopicLevels, TopicPattern, is_name};

/// A pattern on the first line, a topic on the rest.
///
/// A pattern that is one shows itself as it was written. What it finds in a topic are names out of that topic,
/// and without wildcards they lead back to it.
pub fn topic(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (written, topic) = text.split_once('\n').unwrap_or((&text, ""));
    let pattern = match TopicPattern::parse(written) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(pattern.to_string(), written);
    let filter = pattern.as_filter();
    assert_eq!(filter.split('/').count(), written.split('/').count(), "{filter}");
    let Some(levels) = pattern.matches(topic) else { return };
    let TopicLevels { tenant, site, device } = levels;
    assert_eq!(device.is_some(), pattern.names_device());
    for name in [tenant, site, device].into_iter().flatten() {
        assert!(is_name(name) && topic.split('/').any(|level| level == name), "{name:?}");
    }
    if !filter_has_wildcard_of_its_own(written) {
        assert_eq!(pattern.topic_of(&levels).as_deref(), Some(topic));
    }
}

fn filter_has_wildcard_of_its_own(written: &str) -> bool {
    written.split('/').any(|level| level == "+" || level == "#")
}
