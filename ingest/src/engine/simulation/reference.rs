//! The reference for alerts: both rules of the simulation once more, by hand, from the contract alone.
//!
//! It shares no code with the pipeline and the rules. Told what was kept, the ticks and the configurations in the
//! order of the journal, it says which alerts must come of each, in which order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config;

/// A rule `no_data = "2 intervals"` of a profile with `interval = "1m"`.
pub(super) const SILENCE: Duration = Duration::from_secs(120);
const SILENCE_MS: u64 = 120_000;
const SECOND: i64 = 1_000_000_000;
/// The on-delay of `dry`.
const ON_DELAY: i64 = 10 * SECOND;
/// "A gap of more than three intervals starts Pending anew."
const GAP_MAX: i64 = 180 * SECOND;
/// What ends `dry`.
const MOIST_ABOVE: f64 = 0.15;

/// What the rules of a configuration say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Rules {
    dry_below: Option<f64>,
    tells_silence: bool,
}

/// Returns what a configuration says, by its number in `config.rs`.
pub(super) const fn rules(config: usize) -> Rules {
    match config {
        0 => Rules { dry_below: Some(0.12), tells_silence: true },
        1 => Rules { dry_below: Some(0.14), tells_silence: false },
        2 => Rules { dry_below: None, tells_silence: true },
        config::QUARANTINE => Rules { dry_below: Some(0.12), tells_silence: false },
        _ => panic!("a configuration that is not known here"),
    }
}

/// An alert that must be told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alert {
    pub(super) rule: &'static str,
    pub(super) device: String,
    pub(super) value: f64,
    pub(super) limit: f64,
    pub(super) began_at: i64,
    pub(super) raised_at: i64,
    pub(super) received_at: i64,
    /// When it was over; `None`: it is raised.
    pub(super) resolved_at: Option<i64>,
    pub(super) reason: Option<&'static str>,
}

/// A reading that was kept.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) device: String,
    /// Where its point stands.
    pub(super) at: i64,
    pub(super) moisture: Option<f64>,
    /// Number of its message.
    pub(super) message: usize,
    /// Its place in the message.
    pub(super) element: u32,
}

/// How a reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The device has just said it.
    Sent,
    /// It was set aside and is tried again: judged, and nothing that the device has just said.
    Redriven,
    /// The store had refused it: judged when it came.
    Repaired,
}

#[derive(Debug, Default)]
enum Dry {
    #[default]
    Not,
    Since {
        began_at: i64,
        last_at: i64,
    },
    Told(Alert),
}

/// A device.
#[derive(Debug, Default)]
struct Device {
    /// What was counted when it was last heard, or became known.
    heard_ms: u64,
    heard_at: Option<i64>,
    /// `sampled_at` of its newest reading.
    newest_at: Option<i64>,
    /// When a configuration first named it.
    activated_at: Option<i64>,
    /// `sampled_at` of its newest good moisture.
    moisture_at: Option<i64>,
    dry: Dry,
    silent: Option<Alert>,
    /// Where its last silence began.
    silent_from: Option<i64>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Reference {
    rules: Rules,
    /// Time in which devices could be heard.
    counted_ms: u64,
    is_counting: bool,
    devices: BTreeMap<String, Device>,
    /// No silence is long enough before so much is counted.
    look_at_ms: u64,
}

impl Reference {
    /// A device is named by something that is no reading to be kept.
    pub(super) fn know(&mut self, device: &str) {
        if !self.devices.contains_key(device) {
            let heard_ms = self.counted_ms;
            self.devices.insert(device.to_owned(), Device { heard_ms, ..Device::default() });
        }
    }

    /// Another configuration takes effect: alerts of rules that are gone or mean something else end.
    pub(super) fn activate(&mut self, rules: Rules, at: i64, out: &mut Vec<Alert>) {
        let is_same_dry = self.rules.dry_below == rules.dry_below;
        let over = |alert: Alert| {
            let reason = Some("rule_changed");
            Alert { resolved_at: Some(at), received_at: at, reason, ..alert }
        };
        for device in self.devices.values_mut() {
            if !is_same_dry && let Dry::Told(alert) = std::mem::take(&mut device.dry) {
                out.push(over(alert));
            }
            if !rules.tells_silence
                && let Some(alert) = device.silent.take()
            {
                out.push(over(alert));
            }
        }
        for registered in ["d0", "d1"] {
            self.know(registered);
            let device = self.devices.get_mut(registered).unwrap();
            device.activated_at = device.activated_at.or(Some(at));
        }
        (self.rules, self.look_at_ms) = (rules, 0);
    }

    /// Time has passed; it counts by what the tick before this one said.
    pub(super) fn tick(
        &mut self,
        at: i64,
        (elapsed_ms, is_live): (u64, bool),
        out: &mut Vec<Alert>,
    ) {
        if self.is_counting {
            self.counted_ms += elapsed_ms;
        }
        self.is_counting = is_live;
        if !self.rules.tells_silence || self.counted_ms < self.look_at_ms {
            return;
        }
        self.look_at_ms = u64::MAX;
        for (name, device) in &mut self.devices {
            let Some(began_at) = device.silent_since().filter(|_| device.silent.is_none()) else {
                continue;
            };
            let due_ms = device.heard_ms + SILENCE_MS;
            let Some(beyond_ms) = self.counted_ms.checked_sub(due_ms) else {
                self.look_at_ms = self.look_at_ms.min(due_ms);
                continue;
            };
            let raised_at = at - i64::try_from(beyond_ms).unwrap() * 1_000_000;
            let silence = u64::try_from(raised_at - began_at).unwrap_or_default();
            let alert = Alert {
                rule: "silent",
                device: name.clone(),
                value: Duration::from_nanos(silence).as_secs_f64(),
                limit: SILENCE.as_secs_f64(),
                began_at,
                raised_at,
                received_at: at,
                resolved_at: None,
                reason: None,
            };
            (device.silent, device.silent_from) = (Some(alert.clone()), Some(began_at));
            out.push(alert);
        }
    }

    /// A reading is kept.
    pub(super) fn read(
        &mut self,
        reading: &Reading,
        (way, received_at): (Way, i64),
        out: &mut Vec<Alert>,
    ) {
        self.know(&reading.device);
        let device = self.devices.get_mut(&reading.device).unwrap();
        let at = reading.at;
        device.newest_at = device.newest_at.max(Some(at));
        // Out of range or late: not judged.
        let moisture = reading.moisture.filter(|value| {
            (0.0..=0.6).contains(value) && device.moisture_at.is_none_or(|newest| at >= newest)
        });
        if moisture.is_some() {
            device.moisture_at = Some(at);
        }
        match way {
            Way::Sent => {
                (device.heard_ms, device.heard_at) = (self.counted_ms, Some(received_at));
                self.look_at_ms = self.look_at_ms.min(self.counted_ms + SILENCE_MS);
            }
            Way::Redriven | Way::Repaired => self.look_at_ms = 0,
        }
        if way == Way::Repaired {
            return;
        }
        if let (Some(limit), Some(value)) = (self.rules.dry_below, moisture) {
            out.extend(device.judge(&reading.device, (value, limit), (at, received_at)));
        }
        if way == Way::Sent
            && let Some(silent) = device.silent.take()
        {
            let came_at = received_at.max(silent.began_at);
            let over_at = if at < silent.began_at { came_at } else { at };
            out.push(Alert { resolved_at: Some(over_at), received_at, ..silent });
        }
    }

    /// Returns a device that gives no data and of which nobody was told.
    pub(super) fn untold(&self) -> Option<&str> {
        let of_note = |(_, device): &(&String, &Device)| {
            device.silent_since().is_some() && device.silent.is_none()
        };
        let untold = self.devices.iter().find(of_note).filter(|_| self.rules.tells_silence);
        untold.map(|(name, _)| name.as_str())
    }
}

impl Device {
    /// Returns where a silence begins: at the newest reading, or the activation where there is none. Where a silence
    /// began there before, or later, this one begins when the device was last heard, or just after the other, so that
    /// their ids differ. `None`: it has nothing to be silent from.
    fn silent_since(&self) -> Option<i64> {
        let newest_at = self.newest_at.or(self.activated_at)?;
        let taken = self.silent_from.filter(|before| newest_at <= *before);
        Some(taken.map_or(newest_at, |before| (before + 1).max(self.heard_at.unwrap_or(before))))
    }

    /// Judges a good moisture by `dry`.
    fn judge(
        &mut self,
        name: &str,
        (value, limit): (f64, f64),
        (at, received_at): (i64, i64),
    ) -> Option<Alert> {
        if let Dry::Told(alert) = &self.dry {
            let over = Alert { resolved_at: Some(at), received_at, ..alert.clone() };
            if value <= MOIST_ABOVE {
                return None;
            }
            self.dry = Dry::Not;
            return Some(over);
        }
        if value >= limit {
            self.dry = Dry::Not;
            return None;
        }
        let began_at = match self.dry {
            Dry::Since { began_at, last_at } if at - last_at <= GAP_MAX => began_at,
            _ => at,
        };
        if at - began_at < ON_DELAY {
            self.dry = Dry::Since { began_at, last_at: at };
            return None;
        }
        let alert = Alert {
            rule: "dry",
            device: name.to_owned(),
            value,
            limit,
            began_at,
            raised_at: at,
            received_at,
            resolved_at: None,
            reason: None,
        };
        self.dry = Dry::Told(alert.clone());
        Some(alert)
    }
}
