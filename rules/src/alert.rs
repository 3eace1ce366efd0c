//! An alert: what a rule found on a device, as one line of NDJSON.

use bincode::{Decode, Encode};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use telemetry::text::Text;
use telemetry::time::{EventTime, IngestTime};

use crate::fingerprint::Fingerprint;
use crate::severity::Severity;

/// Whether an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum AlertState {
    /// It stands.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// Returns the word that alert lines and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Why an alert ended other than by what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Reason {
    /// The rule was removed or changed its meaning.
    RuleChanged,
}

impl Reason {
    /// Returns the word that alert lines use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RuleChanged => "rule_changed",
        }
    }
}

/// One alert, raised or resolved.
///
/// A resolved one repeats the raised one; only `state`, `resolved_at`, `received_at` and `reason` differ.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Alert {
    /// 32 hexadecimal digits; the same in production, replay and back-test.
    pub id: Box<str>,
    /// Name of the rule.
    pub rule: Box<str>,
    /// Semantic version of the rule: 16 hexadecimal digits.
    pub rule_version: Box<str>,
    /// Whether it stands.
    pub state: AlertState,
    /// How grave it is.
    pub severity: Severity,
    /// Whose device it is.
    pub tenant: Box<str>,
    /// Where the device stands.
    pub site: Box<str>,
    /// The device.
    pub device: Box<str>,
    /// Property of the first true comparison; `None` for silence.
    pub property: Option<Box<str>>,
    /// Its value at the raise, in the property's unit; of silence, the seconds it lasted.
    pub value: f64,
    /// The limit it was held against, in the same unit.
    pub limit: f64,
    pub(crate) began_at: i64,
    pub(crate) raised_at: i64,
    pub(crate) resolved_at: Option<i64>,
    pub(crate) received_at: i64,
    /// Why it ended, where the data did not end it.
    pub reason: Option<Reason>,
    /// Message in Chinese, filled in.
    pub message_zh: Box<str>,
    /// Message in English, filled in.
    pub message_en: Box<str>,
}

impl Alert {
    /// Makes an alert about Tianlu itself: no result of a rule, so it has no device and is in no replay.
    #[must_use]
    pub fn about_ourselves(
        rule: &str,
        severity: Severity,
        message: &Text,
        began_at: EventTime,
        raised_at: IngestTime,
    ) -> Self {
        let began = began_at.as_nanos();
        let identity = Identity {
            rule,
            version: "built-in",
            tenant: "",
            device: "tianlu",
            property: None,
            began_at: began,
        };
        Self {
            id: identity.id(),
            rule: rule.into(),
            rule_version: "built-in".into(),
            state: AlertState::Firing,
            severity,
            tenant: "".into(),
            site: "".into(),
            device: "tianlu".into(),
            property: None,
            value: raised_at.as_event().since(began_at).as_secs_f64().round(),
            limit: 0.0,
            began_at: began,
            raised_at: raised_at.as_nanos(),
            resolved_at: None,
            received_at: raised_at.as_nanos(),
            reason: None,
            message_zh: message.zh.as_str().into(),
            message_en: message.en.as_str().into(),
        }
    }

    /// Returns the alert about Tianlu itself as it ended.
    #[must_use]
    pub fn ended(self, at: IngestTime) -> Self {
        self.resolved(at.as_event(), at, None)
    }

    /// Returns when the condition became true.
    #[must_use]
    pub const fn began_at(&self) -> EventTime {
        EventTime::from_nanos(self.began_at)
    }

    /// Returns when the delay was over.
    #[must_use]
    pub const fn raised_at(&self) -> EventTime {
        EventTime::from_nanos(self.raised_at)
    }

    /// Returns when it was over; `None` while it stands.
    #[must_use]
    pub fn resolved_at(&self) -> Option<EventTime> {
        self.resolved_at.map(EventTime::from_nanos)
    }

    /// Returns when the record that raised or resolved it was taken in.
    #[must_use]
    pub const fn received_at(&self) -> IngestTime {
        IngestTime::from_nanos(self.received_at)
    }

    /// Returns the message in both languages.
    #[must_use]
    pub fn message(&self) -> Text {
        Text { zh: self.message_zh.to_string(), en: self.message_en.to_string() }
    }

    /// Returns the alert as one line of JSON, without the line end, its keys in the order of the contract.
    #[must_use]
    pub fn to_json_line(&self) -> String {
        let line = serde_json::to_string(self);
        debug_assert!(line.is_ok(), "an alert is always writable as JSON: {line:?}");
        line.unwrap_or_default()
    }

    pub(crate) fn resolved(
        self,
        at: EventTime,
        received_at: IngestTime,
        reason: Option<Reason>,
    ) -> Self {
        let (resolved_at, received_at) = (Some(at.as_nanos()), received_at.as_nanos());
        Self { state: AlertState::Resolved, resolved_at, received_at, reason, ..self }
    }
}

/// What the id of an alert is made of.
pub(crate) struct Identity<'a> {
    pub(crate) rule: &'a str,
    pub(crate) version: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) device: &'a str,
    /// `None` for silence; a property never has an empty name.
    pub(crate) property: Option<&'a str>,
    pub(crate) began_at: i64,
}

impl Identity<'_> {
    pub(crate) fn id(&self) -> Box<str> {
        Fingerprint::of("tianlu alert 1")
            .field(self.rule.as_bytes())
            .field(self.version.as_bytes())
            .field(self.tenant.as_bytes())
            .field(self.device.as_bytes())
            .field(self.property.unwrap_or_default().as_bytes())
            .field(&self.began_at.to_be_bytes())
            .hex(16)
    }
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Alert", 17)?;
        line.serialize_field("id", &self.id)?;
        line.serialize_field("rule", &self.rule)?;
        line.serialize_field("rule_version", &self.rule_version)?;
        line.serialize_field("state", self.state.as_str())?;
        line.serialize_field("severity", &self.severity)?;
        line.serialize_field("tenant", &self.tenant)?;
        line.serialize_field("site", &self.site)?;
        line.serialize_field("device", &self.device)?;
        line.serialize_field("property", &self.property)?;
        line.serialize_field("value", &self.value)?;
        line.serialize_field("limit", &self.limit)?;
        line.serialize_field("began_at", &Moment(self.began_at))?;
        line.serialize_field("raised_at", &Moment(self.raised_at))?;
        line.serialize_field("resolved_at", &self.resolved_at.map(Moment))?;
        line.serialize_field("received_at", &Moment(self.received_at))?;
        line.serialize_field("reason", &self.reason.map(Reason::as_str))?;
        line.serialize_field("message", &Message { zh: &self.message_zh, en: &self.message_en })?;
        line.end()
    }
}

/// A time as RFC 3339 in UTC.
struct Moment(i64);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&EventTime::from_nanos(self.0))
    }
}

#[derive(Serialize)]
struct Message<'a> {
    zh: &'a str,
    en: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: an id that was once given out never changes.
    #[test]
    fn the_id_is_the_same_for_ever() {
        let identity = Identity {
            rule: "soil-dry",
            version: "0123456789abcdef",
            tenant: "default",
            device: "s-1",
            property: Some("soil_moisture_10cm"),
            began_at: 1_763_856_000_000_000_000,
        };
        // Made by another SHA-256: each field as its length in eight bytes, then its bytes; the first 16 bytes count.
        assert_eq!(&*identity.id(), "ced9d105de1f7b894a10e8804ed844fe");
        assert_ne!(identity.id(), Identity { property: None, ..identity }.id());
    }

    #[test]
    fn a_line_has_the_keys_of_the_contract_in_its_order() {
        let raised = Alert {
            id: "1f".into(),
            rule: "soil-dry".into(),
            rule_version: "2e".into(),
            state: AlertState::Firing,
            severity: Severity::Yellow,
            tenant: "default".into(),
            site: "东坡\"1\"".into(),
            device: "s-1".into(),
            property: Some("soil_moisture_10cm".into()),
            value: 0.11,
            limit: 0.12,
            began_at: 1_763_856_000_000_000_000,
            raised_at: 1_763_857_800_000_000_000,
            resolved_at: None,
            received_at: 1_763_857_801_250_000_000,
            reason: None,
            message_zh: "干".into(),
            message_en: "dry".into(),
        };
        let head = r#"{"id":"1f","rule":"soil-dry","rule_version":"2e","state":"#;
        let middle = r#","severity":"yellow","tenant":"default","site":"东坡\"1\"","device":"s-1","property":"soil_moisture_10cm","value":0.11,"limit":0.12,"began_at":"2025-11-23T00:00:00Z","raised_at":"2025-11-23T00:30:00Z","resolved_at":"#;
        let firing = r#"null,"received_at":"2025-11-23T00:30:01.25Z","reason":null,"message":{"zh":"干","en":"dry"}}"#;
        assert_eq!(raised.to_json_line(), format!("{head}\"firing\"{middle}{firing}"));
        let later = EventTime::from_nanos(1_763_859_600_000_000_000);
        let resolved = raised.resolved(later, later.as_ingest(), Some(Reason::RuleChanged));
        let over = r#""2025-11-23T01:00:00Z","received_at":"2025-11-23T01:00:00Z","reason":"rule_changed","message":{"zh":"干","en":"dry"}}"#;
        assert_eq!(resolved.to_json_line(), format!("{head}\"resolved\"{middle}{over}"));
    }
}
