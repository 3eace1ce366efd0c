//! One rule on one profile: where readings and silence are judged.

use std::sync::Arc;
use std::time::Duration;

use telemetry::time::{EventTime, IngestTime};

use crate::alert::{Alert, AlertState, Identity};
use crate::message::{Place, Template, write_short};
use crate::program::{Cause, Program};
use crate::rule::{Rule, Trigger};
use crate::schema::Schema;
use crate::state::{Firing, Inner, RuleState};

/// A pause of more than so many intervals breaks a run of observations.
const PAUSE_INTERVALS: u32 = 3;

/// The good observations of one reading.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Event time of the reading, after the time policy.
    pub sampled_at: EventTime,
    /// When its uplink was taken in.
    pub received_at: IngestTime,
    /// By index of the property in the profile, in its unit; `None`: absent, flagged or late. Shorter is as absent.
    pub values: &'a [Option<f64>],
}

/// How long a device has been silent.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// `sampled_at` of its newest reading; never seen: the activation.
    pub newest_at: EventTime,
    /// Milliseconds since it was last heard, counted only while intake was connected and caught up.
    pub live_ms: u64,
    /// Journal time of the tick that asks.
    pub now: IngestTime,
}

/// The device that is judged, as messages and alerts name it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Whose device it is.
    pub tenant: &'a str,
    /// Where it stands.
    pub site: &'a str,
    /// Its id.
    pub device: &'a str,
    /// Its name in the registry; messages fall back to the id.
    pub name: Option<&'a str>,
    /// Its English name in the registry; English messages fall back to `name`.
    pub name_en: Option<&'a str>,
    /// Name of its site in the registry; messages fall back to `site`.
    pub site_name: Option<&'a str>,
    /// English name of its site; English messages fall back to `site_name`.
    pub site_name_en: Option<&'a str>,
    /// Its region code; messages show nothing where there is none.
    pub region: Option<&'a str>,
}

impl Subject<'_> {
    /// Takes the site's name off the front of the device's: a message that names both says it once.
    fn apart(&self) -> Self {
        let own =
            self.site_name.and_then(|site| self.name?.strip_prefix(site)).map(str::trim_start);
        Self { name: own.filter(|own| !own.is_empty()).or(self.name), ..*self }
    }
}

/// A rule bound to one profile: its properties are slots, its intervals are durations.
#[derive(Debug, Clone)]
pub struct Bound {
    rule: Arc<Rule>,
    rule_index: u16,
    trigger: BoundTrigger,
}

#[derive(Debug, Clone)]
enum BoundTrigger {
    Condition(Box<BoundWatch>),
    NoData { limit: Duration },
}

#[derive(Debug, Clone)]
struct BoundWatch {
    when: Program,
    clear: Option<Program>,
    on_delay: i64,
    off_delay: i64,
    /// Longest pause within a run.
    pause: i64,
    /// Names of the properties by slot.
    properties: Box<[Box<str>]>,
}

/// What an alert is about, before it has its texts.
struct Raise<'a> {
    property: Option<&'a str>,
    value: f64,
    limit: f64,
    began_at: i64,
    raised_at: i64,
    received_at: IngestTime,
}

impl Bound {
    pub(crate) fn bind(rule: &Arc<Rule>, rule_index: u16, schema: &Schema<'_>) -> Option<Self> {
        if !rule.scope.covers_profile(schema) {
            return None;
        }
        let trigger = match &rule.trigger {
            Trigger::NoData(intervals) => {
                BoundTrigger::NoData { limit: schema.interval.saturating_mul(*intervals) }
            }
            Trigger::Condition(watch) => {
                let clear = match &watch.clear {
                    Some(clear) => Some(Program::bind(clear, schema)?),
                    None => None,
                };
                BoundTrigger::Condition(Box::new(BoundWatch {
                    when: Program::bind(&watch.when, schema)?,
                    clear,
                    on_delay: nanos(watch.on_delay),
                    off_delay: nanos(watch.off_delay),
                    pause: nanos(schema.interval.saturating_mul(PAUSE_INTERVALS)),
                    properties: schema.properties.iter().map(|(name, _)| (*name).into()).collect(),
                }))
            }
        };
        Some(Self { rule: Arc::clone(rule), rule_index, trigger })
    }

    /// Returns the rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Returns the index of the rule in its set: the key of its states.
    #[must_use]
    pub const fn rule_index(&self) -> u16 {
        self.rule_index
    }

    /// Returns after how many live milliseconds of silence it fires; `None` for a rule with a condition.
    #[must_use]
    pub fn silence_ms_max(&self) -> Option<u64> {
        match &self.trigger {
            BoundTrigger::NoData { limit } => {
                Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
            }
            BoundTrigger::Condition(_) => None,
        }
    }

    /// Judges a reading by a rule with a condition; returns the alert that begins or ends with it.
    ///
    /// Not judged, so that nothing changes: a property that is needed is absent, or the reading is older than
    /// the newest one judged. While firing only the clearing condition is needed. A rule about silence never
    /// judges a reading.
    #[must_use = "a dropped alert is a lost alert"]
    pub fn judge(
        &self,
        state: &mut RuleState,
        seen: &Observed<'_>,
        subject: &Subject<'_>,
    ) -> Option<Box<Alert>> {
        let BoundTrigger::Condition(watch) = &self.trigger else { return None };
        match &mut state.0 {
            Inner::Firing(firing) => {
                let is_over = watch.is_over(firing, seen);
                if is_over { state.resolve(seen.sampled_at, seen.received_at, None) } else { None }
            }
            Inner::Normal | Inner::Pending { .. } => {
                let (began_at, cause) = watch.is_due(state, seen)?;
                let raise = Raise {
                    property: watch.properties.get(usize::from(cause.slot)).map(|name| &**name),
                    value: cause.value,
                    limit: cause.limit,
                    began_at,
                    raised_at: seen.sampled_at.as_nanos(),
                    received_at: seen.received_at,
                };
                Some(self.raise(state, &raise, subject))
            }
        }
    }

    /// Judges silence by a rule about it; returns the alert that begins once the silence is long enough.
    ///
    /// `raised_at` is the moment it was due, whenever the tick came: `now` less the live time beyond the limit.
    #[must_use = "a dropped alert is a lost alert"]
    pub fn judge_silence(
        &self,
        state: &mut RuleState,
        silence: &Silence,
        subject: &Subject<'_>,
    ) -> Option<Box<Alert>> {
        let BoundTrigger::NoData { limit } = &self.trigger else { return None };
        let beyond = Duration::from_millis(silence.live_ms).checked_sub(*limit)?;
        if !state.is_normal() {
            return None;
        }
        let raised_at = silence.now.minus(beyond).as_event();
        let raise = Raise {
            property: None,
            value: raised_at.since(silence.newest_at).as_secs_f64(),
            limit: limit.as_secs_f64(),
            began_at: silence.newest_at.as_nanos(),
            raised_at: raised_at.as_nanos(),
            received_at: silence.now,
        };
        Some(self.raise(state, &raise, subject))
    }

    /// Ends silence: every reading counts, also one that is late or flagged.
    #[must_use = "a dropped alert is a lost alert"]
    pub fn heard(
        &self,
        state: &mut RuleState,
        at: EventTime,
        received_at: IngestTime,
    ) -> Option<Box<Alert>> {
        match &self.trigger {
            BoundTrigger::NoData { .. } => {
                // One from before the silence says nothing of its end but that it came.
                let began_at = state.alert().map_or(at, Alert::began_at);
                let at = if at < began_at { received_at.as_event().max(began_at) } else { at };
                state.resolve(at, received_at, None)
            }
            BoundTrigger::Condition(_) => None,
        }
    }

    fn raise(&self, state: &mut RuleState, raise: &Raise<'_>, subject: &Subject<'_>) -> Box<Alert> {
        let alert = self.alert(raise, subject);
        let firing = Firing { alert: alert.clone(), last_at: raise.raised_at, clearing_at: None };
        state.0 = Inner::Firing(Box::new(firing));
        Box::new(alert)
    }

    fn alert(&self, raise: &Raise<'_>, subject: &Subject<'_>) -> Alert {
        let rule = &*self.rule;
        let identity = Identity {
            rule: &rule.name,
            version: &rule.version,
            tenant: subject.tenant,
            device: subject.device,
            property: raise.property,
            began_at: raise.began_at,
        };
        let colour = rule.severity.text();
        let fill = |template: &Template, subject: &Subject<'_>, severity: &str| {
            let apart;
            let subject = if template.names(Place::Site) {
                apart = subject.apart();
                &apart
            } else {
                subject
            };
            template.fill(|place, out| self.write(place, out, raise, (subject, severity)))
        };
        let in_english = Subject {
            name: subject.name_en.or(subject.name),
            site_name: subject.site_name_en.or(subject.site_name),
            ..*subject
        };
        Alert {
            id: identity.id(),
            rule: rule.name.clone(),
            rule_version: rule.version.clone(),
            state: AlertState::Firing,
            severity: rule.severity,
            tenant: subject.tenant.into(),
            site: subject.site.into(),
            device: subject.device.into(),
            property: raise.property.map(Into::into),
            value: raise.value,
            limit: raise.limit,
            began_at: raise.began_at,
            raised_at: raise.raised_at,
            resolved_at: None,
            received_at: raise.received_at.as_nanos(),
            reason: None,
            message_zh: fill(&rule.message.zh, subject, &colour.zh),
            message_en: fill(&rule.message.en, &in_english, &colour.en),
        }
    }

    fn write(
        &self,
        place: Place,
        out: &mut String,
        raise: &Raise<'_>,
        about: (&Subject<'_>, &str),
    ) {
        let (subject, severity) = about;
        out.push_str(match place {
            Place::Site => subject.site_name.unwrap_or(subject.site),
            Place::Device => subject.device,
            Place::Tenant => subject.tenant,
            Place::Name => subject.name.unwrap_or(subject.device),
            Place::Region => subject.region.unwrap_or_default(),
            Place::Property => raise.property.unwrap_or_default(),
            Place::Rule => &self.rule.name,
            Place::Severity => severity,
            Place::Value => return write_short(out, raise.value),
            Place::Limit => return write_short(out, raise.limit),
        });
    }
}

impl BoundWatch {
    /// Moves a state that is not firing; returns since when and why, once the on-delay is over.
    fn is_due(&self, state: &mut RuleState, seen: &Observed<'_>) -> Option<(i64, Cause)> {
        let finding = self.when.run(seen.values)?;
        let at = seen.sampled_at.as_nanos();
        let began_at = match state.0 {
            Inner::Pending { last_at, .. } if at < last_at => return None,
            Inner::Pending { began_at, last_at } if at.saturating_sub(last_at) <= self.pause => {
                began_at
            }
            Inner::Normal | Inner::Pending { .. } | Inner::Firing(_) => at,
        };
        if !finding.holds {
            state.0 = Inner::Normal;
            return None;
        }
        if at.saturating_sub(began_at) < self.on_delay {
            state.0 = Inner::Pending { began_at, last_at: at };
            return None;
        }
        self.when.cause(finding, seen.values).map(|cause| (began_at, cause))
    }

    /// Moves a firing state; returns whether the off-delay is over.
    fn is_over(&self, firing: &mut Firing, seen: &Observed<'_>) -> bool {
        let finding = match &self.clear {
            Some(clear) => clear.run(seen.values).map(|finding| finding.holds),
            None => self.when.run(seen.values).map(|finding| !finding.holds),
        };
        let at = seen.sampled_at.as_nanos();
        let Some(is_clear) = finding.filter(|_| at >= firing.last_at) else { return false };
        let is_pause = at.saturating_sub(firing.last_at) > self.pause;
        firing.last_at = at;
        // Silence does not clear either, so a pause begins the off-delay anew.
        firing.clearing_at = match firing.clearing_at {
            _ if !is_clear => None,
            Some(since) if !is_pause => Some(since),
            Some(_) | None => Some(at),
        };
        firing.clearing_at.is_some_and(|since| at.saturating_sub(since) >= self.off_delay)
    }
}

fn nanos(wait: Duration) -> i64 {
    i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
