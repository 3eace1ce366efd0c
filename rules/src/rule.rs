//! A rule and its file.

use std::sync::Arc;
use std::time::Duration;

use telemetry::document::{NodeValue, Problems, Section};
use telemetry::text::{Text, say};

use crate::condition::{Comparison, Condition};
use crate::fingerprint::Fingerprint;
use crate::message::{Place, Template};
use crate::schema::Schema;
use crate::scope::Scope;
use crate::severity::Severity;

/// Longest name of a rule, in bytes.
pub const NAME_MAX: usize = 128;
/// Most intervals of silence that a rule can wait for.
pub const INTERVALS_MAX: u32 = 100_000;

/// A rule that was checked against the profiles of its scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub(crate) name: Box<str>,
    pub(crate) file: Box<str>,
    pub(crate) scope: Scope,
    pub(crate) trigger: Trigger,
    pub(crate) severity: Severity,
    pub(crate) message: Message,
    pub(crate) version: Box<str>,
}

/// What makes a rule fire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trigger {
    Condition(Box<Watch>),
    /// Silence of so many intervals.
    NoData(u32),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    pub(crate) when: Condition,
    /// `None`: not `when`.
    pub(crate) clear: Option<Condition>,
    pub(crate) on_delay: Duration,
    pub(crate) off_delay: Duration,
    when_text: Box<str>,
    clear_text: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) zh: Template,
    pub(crate) en: Template,
}

impl Rule {
    /// Returns the name, unique in its set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file it was read from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns how grave its alerts are.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns the semantic version: 16 hexadecimal digits over everything that influences judgement.
    ///
    /// Spacing, comments and the message do not change it; scope, conditions, delays and severity do.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns `when` as written; `None` for a rule about silence.
    #[must_use]
    pub fn when(&self) -> Option<&str> {
        self.watch().map(|watch| &*watch.when_text)
    }

    /// Returns `clear` as written; `None` where it is not given.
    #[must_use]
    pub fn clear(&self) -> Option<&str> {
        self.watch().and_then(|watch| watch.clear_text.as_deref())
    }

    /// Returns the comparisons of `when` in text order; none for a rule about silence.
    #[must_use]
    pub fn limits(&self) -> &[Comparison] {
        self.watch().map_or(&[], |watch| watch.when.comparisons())
    }

    /// Returns the comparisons of `clear` in text order; none where it is not given.
    #[must_use]
    pub fn clear_limits(&self) -> &[Comparison] {
        self.watch().and_then(|watch| watch.clear.as_ref()).map_or(&[], Condition::comparisons)
    }

    /// Returns the message as written, its places unfilled.
    #[must_use]
    pub fn message(&self) -> Text {
        Text { zh: self.message.zh.to_string(), en: self.message.en.to_string() }
    }

    /// Returns the on-delay, in event time.
    #[must_use]
    pub fn on_delay(&self) -> Duration {
        self.watch().map_or(Duration::ZERO, |watch| watch.on_delay)
    }

    /// Returns the off-delay, in event time.
    #[must_use]
    pub fn off_delay(&self) -> Duration {
        self.watch().map_or(Duration::ZERO, |watch| watch.off_delay)
    }

    /// Returns after how many intervals of silence it fires; `None` for a rule with a condition.
    #[must_use]
    pub fn no_data_intervals(&self) -> Option<u32> {
        match self.trigger {
            Trigger::NoData(intervals) => Some(intervals),
            Trigger::Condition(_) => None,
        }
    }

    /// Returns what restricts the scope: key and sorted names; empty where every device is meant.
    #[must_use]
    pub fn scope(&self) -> Vec<(&'static str, &[String])> {
        self.scope.restrictions()
    }

    /// Returns whether the scope names this device, its profile being in scope.
    #[must_use]
    pub fn covers(&self, tenant: &str, site: &str, device: &str) -> bool {
        self.scope.covers_device(tenant, site, device)
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.trigger {
            Trigger::Condition(watch) => Some(watch),
            Trigger::NoData(_) => None,
        }
    }

    /// Reads a rule file; `None` where anything in it is wrong. The line is that of its name.
    pub(crate) fn parse(
        file: &str,
        text: &str,
        schemas: &[Schema<'_>],
        problems: &Problems,
    ) -> Option<(Arc<Self>, Option<u32>)> {
        // Problems of this file alone decide whether the rule is good.
        let own = Problems::default();
        let mut section = Section::parse(file, text, &own);
        let name = name(&mut section);
        let scope = Scope::parse(&mut section, schemas);
        let severity = severity(&mut section);
        let trigger = trigger(&mut section);
        let is_silence = matches!(trigger, Some(Trigger::NoData(_)));
        let message = message(&mut section, is_silence);
        if let (Some(scope), Some(trigger)) = (&scope, &trigger) {
            crate::set::check_properties(&section, scope, trigger, schemas);
        }
        let line = section.line_of("name");
        section.finish();
        let found = own.take();
        let is_good = found.is_empty();
        found.into_iter().for_each(|problem| problems.add(problem));
        let (name, scope, severity) = (name?, scope?, severity?);
        let (trigger, message) = (trigger?, message?);
        let version = version(&scope, &trigger, severity);
        let rule = Self { name, file: file.into(), scope, trigger, severity, message, version };
        is_good.then(|| (Arc::new(rule), line))
    }
}

fn version(scope: &Scope, trigger: &Trigger, severity: Severity) -> Box<str> {
    let print = scope.add_to(Fingerprint::of("tianlu rule 1")).field(severity.as_str().as_bytes());
    let print = match trigger {
        Trigger::NoData(intervals) => print.field(b"no_data").field(&intervals.to_be_bytes()),
        Trigger::Condition(watch) => print
            .field(b"when")
            .field(&watch.when.canonical())
            .field(&watch.clear.as_ref().map(Condition::canonical).unwrap_or_default())
            .field(&watch.on_delay.as_nanos().to_be_bytes())
            .field(&watch.off_delay.as_nanos().to_be_bytes()),
    };
    print.hex(8)
}

fn name(section: &mut Section) -> Option<Box<str>> {
    let name = section.required_text("name")?;
    if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        let most: [(&str, &dyn std::fmt::Display); 1] = [("most", &NAME_MAX)];
        section.problem("name", say("rules.name", &most), say("rules.name.remedy", &most));
        return None;
    }
    Some(name.into())
}

fn severity(section: &mut Section) -> Option<Severity> {
    if !section.has("severity") {
        section.missing("severity", "kind.string");
    }
    section.choice("severity", &Severity::CHOICES)
}

fn trigger(section: &mut Section) -> Option<Trigger> {
    let (when_text, no_data) = (section.text("when"), section.text("no_data"));
    let clear_text = section.text("clear");
    let on_delay = section.duration("on_delay").unwrap_or_default();
    let off_delay = section.duration("off_delay").unwrap_or_default();
    match (section.has("when"), section.has("no_data")) {
        (true, true) => {
            section.problem(
                "no_data",
                say("rules.both_triggers", &[]),
                say("rules.both_triggers.remedy", &[]),
            );
            None
        }
        (false, false) => {
            section.problem("", say("rules.no_trigger", &[]), say("rules.no_trigger.remedy", &[]));
            None
        }
        (false, true) => no_data_trigger(section, &no_data?),
        (true, false) => {
            let when_text = when_text?;
            let (when, clear) = (condition(section, "when", &when_text), clear_text.as_ref());
            let clear = match clear.map(|text| condition(section, "clear", text)) {
                Some(clear) => Some(clear?),
                None => None,
            };
            let when = when?;
            check_meaning(section, &when, clear.as_ref());
            let (when_text, clear_text) = (when_text.into(), clear_text.map(Into::into));
            Some(Trigger::Condition(Box::new(Watch {
                when,
                clear,
                on_delay,
                off_delay,
                when_text,
                clear_text,
            })))
        }
    }
}

fn condition(section: &Section, key: &str, text: &str) -> Option<Condition> {
    let parsed = Condition::parse(text);
    if let Err(error) = &parsed {
        let (what, remedy) = error.texts();
        section.problem(key, what, remedy);
    }
    parsed.ok()
}

fn check_meaning(section: &Section, when: &Condition, clear: Option<&Condition>) {
    if when.is_never_true() {
        section.problem("when", say("rules.when.never", &[]), say("rules.when.never.remedy", &[]));
    }
    let Some(clear) = clear else { return };
    if clear.is_never_true() {
        section.problem("clear", say("rules.when.never", &[]), say("rules.when.never.remedy", &[]));
    } else if when.implies(clear) {
        section.problem(
            "clear",
            say("rules.clear.contradicts", &[]),
            say("rules.clear.contradicts.remedy", &[]),
        );
    }
}

fn no_data_trigger(section: &mut Section, text: &str) -> Option<Trigger> {
    for key in ["clear", "on_delay", "off_delay"] {
        if section.has(key) {
            section.problem(
                key,
                say("rules.no_data.alone", &[("key", &key)]),
                say("rules.no_data.alone.remedy", &[]),
            );
        }
    }
    let intervals = match text.split_whitespace().collect::<Vec<&str>>().as_slice() {
        [count, "interval" | "intervals"] if count.bytes().all(|b| b.is_ascii_digit()) => {
            count.parse().ok()
        }
        _ => None,
    };
    let intervals = intervals.filter(|count| (1..=INTERVALS_MAX).contains(count));
    if intervals.is_none() {
        let most: [(&str, &dyn std::fmt::Display); 1] = [("most", &INTERVALS_MAX)];
        section.problem("no_data", say("rules.no_data", &[]), say("rules.no_data.remedy", &most));
    }
    intervals.map(Trigger::NoData)
}

fn message(section: &mut Section, is_silence: bool) -> Option<Message> {
    let Some(node) = section.node("message") else {
        section.missing("message", "rules.kind.message");
        return None;
    };
    if let NodeValue::Text(text) = &node.value {
        let both = template(section, "message", text, is_silence)?;
        return Some(Message { zh: both.clone(), en: both });
    }
    let mut table = section.table("message")?;
    let (zh, en) = (table.required_text("zh"), table.required_text("en"));
    let zh = zh.and_then(|text| template(&table, "zh", &text, is_silence));
    let en = en.and_then(|text| template(&table, "en", &text, is_silence));
    table.finish();
    Some(Message { zh: zh?, en: en? })
}

fn template(section: &Section, key: &str, text: &str, is_silence: bool) -> Option<Template> {
    let problem = |(what, remedy): (Text, Text)| section.problem(key, what, remedy);
    if text.trim().is_empty() {
        problem((say("document.empty", &[]), say("document.empty.remedy", &[])));
        return None;
    }
    let template = Template::parse(text).map_err(|wrong| problem(*wrong)).ok()?;
    if is_silence && template.names(Place::Property) {
        problem((say("rules.message.silence", &[]), say("rules.message.silence.remedy", &[])));
        return None;
    }
    Some(template)
}
