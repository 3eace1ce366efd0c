//! Files that people write: configuration, profile, rule, registry.

use rules::condition::{COMPARISONS_MAX, Condition};
use rules::{Observed, RuleSet, RuleState, Subject};
use telemetry::codec::{decode, frame};
use telemetry::document::Problems;
use telemetry::profile::Profile;
use telemetry::registry::{Registry, is_region};
use telemetry::text::Lang;
use telemetry::time::{EventTime, IngestTime};
use telemetry::topic::is_name;

use crate::sample::JSON;

/// What a problem may take on a screen, in characters, whatever stands in the file.
const SHOWN_MAX: usize = 2000;

/// Returns the text of an input, as files come in.
pub(crate) fn text_of(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Checks that each problem names its file and a line of it, and is told in both languages at a length for people.
pub(crate) fn places(file: &str, text: &str, problems: &Problems) -> usize {
    let lines = text.split('\n').count().max(text.split('\r').count());
    let found = problems.take();
    for problem in &found {
        assert_eq!(problem.file, file);
        let line = problem.line.map_or(1, |line| usize::try_from(line).unwrap_or(usize::MAX));
        assert!((1..=lines).contains(&line), "line {line} of {lines}: {problem}");
        for lang in [Lang::Zh, Lang::En] {
            let shown = problem.show(lang);
            assert!(shown.chars().count() <= SHOWN_MAX, "{shown}");
            assert!(!shown.contains('\n'), "{shown}");
        }
        assert!(!problem.what.zh.is_empty() && !problem.remedy.en.is_empty(), "{problem:?}");
    }
    found.len()
}

/// The text of a `tianlu.toml`.
///
/// Every problem names its place, twice the same ones; what is good shows no secret.
#[cfg(feature = "configuration")]
pub fn configuration(data: &[u8]) {
    use tianlu::config::{Config, Layers};
    let Some(text) = text_of(data) else { return };
    // Paths of the text are looked at: devices that never end are no configuration.
    if ["/dev", "/proc", "/sys", "\\u", "\\U", "\\x"].iter().any(|part| text.contains(part)) {
        return;
    }
    let path = std::path::Path::new("no-such-folder/tianlu.toml");
    let parse = || {
        let problems = Problems::default();
        let config = Config::parse(path, text, &Layers::default(), None, &problems);
        (config, problems)
    };
    let (config, problems) = parse();
    let (again, others) = parse();
    assert_eq!(config, again);
    let told = problems.take();
    assert_eq!(told, others.take());
    told.into_iter().for_each(|problem| others.add(problem));
    places("no-such-folder/tianlu.toml", text, &others);
}

/// The text of a device profile.
///
/// Every problem names its place; a profile that parses decodes any payload, and its own frames.
pub fn profile(data: &[u8]) {
    let Some(text) = text_of(data) else { return };
    let problems = Problems::default();
    let parsed = Profile::parse("profile.toml", text, &problems);
    let count = places("profile.toml", text, &problems);
    assert!(parsed.is_some() || count > 0, "neither a profile nor a problem");
    let Some(profile) = parsed else { return };
    for payload in [&b"{}"[..], b"[]", b"[{\"a\":[1]}]", b"a,b\n1,2\n", b"m a=1 1", text.as_bytes()]
    {
        drop(decode(&profile, payload));
    }
    let empty = frame::encode(&profile, &[]).expect("nothing fits");
    let decoded = frame::decode(&profile, &empty).expect("our own frame");
    assert!(decoded.elements.is_empty());
}

/// The text of a rule.
///
/// Every problem names its place; a rule that parses judges any values, and its condition is bounded.
pub fn rule(data: &[u8]) {
    let Some(text) = text_of(data) else { return };
    if let Ok(condition) = Condition::parse(text) {
        assert!((1..=COMPARISONS_MAX).contains(&condition.comparisons().len()));
    }
    let problems = Problems::default();
    let files = [("rule.toml".to_owned(), text.to_owned())];
    let set = RuleSet::load(&files, &JSON[..3], &problems);
    let count = places("rule.toml", text, &problems);
    assert_eq!(set.rules().len(), usize::from(count == 0), "a rule or a problem");
    for (index, profile) in JSON[..3].iter().enumerate() {
        let mut state = RuleState::default();
        for (step, value) in [f64::MIN, -1.0, 0.0, 0.12, 1.0, 1e300].into_iter().enumerate() {
            let values = vec![Some(value); profile.properties.len()];
            let at = 1_763_856_000_000_000_000 + 3_600_000_000_000 * i64::try_from(step).unwrap();
            let seen = Observed {
                sampled_at: EventTime::from_nanos(at),
                received_at: IngestTime::from_nanos(at),
                values: &values,
            };
            let subject = Subject {
                tenant: "t",
                site: "s",
                device: "d",
                name: None,
                name_en: None,
                site_name: None,
                site_name_en: None,
                region: Some("110000"),
            };
            for bound in set.of_profile(index) {
                if let Some(alert) = bound.judge(&mut state, &seen, &subject) {
                    assert!(alert.to_json_line().starts_with('{'));
                }
            }
        }
    }
}

/// The text of a registry.
///
/// Every problem names its place; each device is found under its name, has one, and stands once.
pub fn registry(data: &[u8]) {
    let Some(text) = text_of(data) else { return };
    let problems = Problems::default();
    let registry = Registry::parse("devices.csv", text, &problems);
    places("devices.csv", text, &problems);
    assert_eq!(registry.iter().count(), registry.len());
    let mut before = None;
    for device in registry.iter() {
        let key = (&device.tenant, &device.device);
        assert!(before < Some(key), "{key:?}");
        before = Some(key);
        assert!(is_name(&device.tenant) && is_name(&device.device), "{device:?}");
        assert_eq!(registry.get(&device.tenant, &device.device), Some(device));
        assert!(device.region.as_deref().is_none_or(is_region));
        assert!(device.lat.is_none_or(|lat| (-90.0..=90.0).contains(&lat)), "{device:?}");
        assert!(device.lon.is_none_or(|lon| (-180.0..=180.0).contains(&lon)), "{device:?}");
    }
}
