//! Rules on readings and on silence.

use rules::{Alert, AlertState, Observed, Severity, Silence, Subject};
use telemetry::time::EventTime;

use crate::batch::RESULTS_UNTIL;
use crate::config::ActiveConfig;
use crate::core::Pipeline;
use crate::device::{Device, NOT_ARMED, armed_for};
use crate::intake::Context;
use crate::outbox::{EntryKind, OutboxRecord};
use crate::reading::Owner;

impl Pipeline {
    /// Judges the good values of a reading by every rule that watches the device, in the order of the rules.
    pub(crate) fn judge(
        &mut self,
        ctx: &Context<'_>,
        owner: &Owner<'_>,
        (index, sampled_at, values): (u32, EventTime, &[Option<f64>]),
        out: &mut OutboxRecord,
    ) {
        let Some(watching) = self.watching(owner.place) else { return };
        let received_at = ctx.uplink.received_at;
        let seen = Observed { sampled_at, received_at, values };
        let bound = ctx.config.rules.of_profile(usize::from(ctx.profile));
        let mut has_spoken = false;
        for entry in watching.iter() {
            let Some(rule) = bound.get(usize::from(*entry)) else { continue };
            let Some(device) = self.device_mut(owner.place) else { return };
            let mut state = device.take_state(rule.rule_index());
            let subject = subject_of(device, owner.known);
            let alert = match rule.silence_ms_max() {
                // A redrive is nothing that the device has just said.
                Some(_) if ctx.redrive.is_some() => None,
                Some(_) => {
                    let ended = rule.heard(&mut state, sampled_at, received_at);
                    has_spoken |= ended.is_some();
                    ended
                }
                None => rule.judge(&mut state, &seen, &subject),
            };
            device.put_state(rule.rule_index(), state);
            if let Some(alert) = alert {
                self.emit(&alert, index, out);
            }
        }
        // Of a rule whose silence has just ended no deadline waits, or only a later one of another rule.
        if has_spoken && let Some(device) = self.device_mut(owner.place) {
            device.armed = NOT_ARMED;
            self.arm(ctx.config, owner.place);
        }
    }

    /// Judges silence at a tick, device by device in the order of tenant, name and measurement.
    pub(crate) fn judge_silence(&mut self, out: &mut OutboxRecord) {
        let Some(config) = self.config.clone() else { return };
        for (place, live_ms) in self.take_due() {
            // More alerts than a record has room for: the others come with the next tick, at the moment they were due.
            if out.bytes().len() >= RESULTS_UNTIL {
                self.arm(&config, place);
                continue;
            }
            let Some(watching) = self.watching(place) else { continue };
            let now = self.journal_time();
            let profile = self.device(place).map_or(0, |device| usize::from(device.profile));
            let bound = config.rules.of_profile(profile);
            let Some(since) = self.device(place).map(|device| {
                let rules = watching.iter().filter_map(|entry| bound.get(usize::from(*entry)));
                let mut silences = rules.filter(|rule| rule.silence_ms_max().is_some());
                device.silent_since(silences.any(|rule| device.has_state(rule.rule_index())))
            }) else {
                continue;
            };
            let mut raised_from = None;
            for entry in watching.iter() {
                let Some(rule) = bound.get(usize::from(*entry)) else { continue };
                let Some(device) = self.device_mut(place) else { break };
                let newest_at = EventTime::from_nanos(since);
                let silence = Silence {
                    newest_at,
                    live_ms: live_ms.saturating_sub(device.heard_live_ms),
                    now,
                };
                let mut state = device.take_state(rule.rule_index());
                let known = config.device(device.tenant(), device.name());
                let alert = rule.judge_silence(&mut state, &silence, &subject_of(device, known));
                device.put_state(rule.rule_index(), state);
                if let Some(alert) = alert {
                    raised_from = Some(since);
                    self.emit(&alert, 0, out);
                }
            }
            if let (Some(since), Some(device)) = (raised_from, self.device_mut(place)) {
                device.rare_mut().silent_from = since;
            }
            self.arm(&config, place);
        }
    }

    /// Takes the devices whose silence is long enough by their clock, in the order of tenant, name and measurement:
    /// in which order deadlines wait depends on restarts.
    fn take_due(&mut self) -> Vec<((usize, u32), u64)> {
        let mut due = Vec::new();
        for shard in 0..self.shards.len() {
            let clocks = self.shards.get(shard).map_or(0, crate::shard::Shard::clocks);
            for clock in 0..clocks {
                let live_ms = self.clocks.live_ms(clock);
                while let Some((due_ms, at)) =
                    self.shards.get_mut(shard).and_then(|held| held.pop_due(clock, live_ms))
                {
                    let Some(device) = self.device_mut((shard, at)) else { continue };
                    // Another entry is outdated: the device has left this clock, or was armed anew since.
                    if device.clock == clock && device.armed == armed_for(due_ms) {
                        device.armed = NOT_ARMED;
                        due.push(((shard, at), live_ms));
                    }
                }
            }
        }
        due.sort_by(|a, b| self.key_of(a.0).cmp(&self.key_of(b.0)));
        due
    }

    fn key_of(&self, place: (usize, u32)) -> Option<(&str, &str, u16)> {
        self.device(place).map(|device| (device.tenant(), device.name(), device.measurement))
    }

    /// Begins a device's silence anew: it has just been heard over a source.
    pub(crate) fn restart_silence(&mut self, place: (usize, u32), clock: u16) {
        let live_ms = self.clocks.live_ms(clock);
        let Some(device) = self.device_mut(place) else { return };
        let moved = device.clock != clock;
        device.heard_live_ms = live_ms;
        device.clock = clock;
        // An entry that waits is checked when it is due, and waits on then: one heap operation an interval.
        if device.armed != NOT_ARMED && !moved {
            return;
        }
        device.armed = NOT_ARMED;
        if let Some(config) = self.config.clone() {
            self.arm(&config, place);
        }
    }

    /// Lets the device wait for its next silence deadline.
    pub(crate) fn arm(&mut self, config: &ActiveConfig, place: (usize, u32)) {
        if let Some(shard) = self.shards.get_mut(place.0) {
            shard.arm(config, place.1);
        }
    }

    /// Writes an alert transition to the results, the account and the list.
    pub(crate) fn emit(&mut self, alert: &Alert, element: u32, out: &mut OutboxRecord) {
        self.note_transition(alert);
        write(alert, element, out);
    }

    /// As [`Pipeline::emit`], where a record may have no room for all that ends at once: the others wait in order for
    /// the next ticks.
    pub(crate) fn emit_or_wait(&mut self, alert: Alert, out: &mut OutboxRecord) {
        if self.untold.is_empty() && out.bytes().len() < RESULTS_UNTIL {
            return self.emit(&alert, 0, out);
        }
        self.note_transition(&alert);
        self.untold.push_back(alert);
    }

    /// Writes what waits, as far as there is room.
    pub(crate) fn tell_waiting(&mut self, out: &mut OutboxRecord) {
        while out.bytes().len() < RESULTS_UNTIL
            && let Some(alert) = self.untold.pop_front()
        {
            write(&alert, 0, out);
        }
    }

    fn note_transition(&mut self, alert: &Alert) {
        let (severity, state) =
            (severity_index(alert.severity), usize::from(alert.state == AlertState::Resolved));
        if let Some(count) =
            self.account.alerts.get_mut(severity).and_then(|states| states.get_mut(state))
        {
            *count += 1;
        }
        self.alerts.note(alert);
    }
}

fn write(alert: &Alert, element: u32, out: &mut OutboxRecord) {
    out.push_with(EntryKind::Alert, false, element, |bytes| {
        bytes.extend_from_slice(alert.to_json_line().as_bytes());
    });
}

/// Returns the place of a severity in [`crate::Account::alerts`].
#[must_use]
pub(crate) const fn severity_index(severity: Severity) -> usize {
    match severity {
        Severity::Blue => 0,
        Severity::Yellow => 1,
        Severity::Orange => 2,
        Severity::Red => 3,
    }
}

fn subject_of<'a>(
    device: &'a Device,
    known: Option<&'a telemetry::registry::Device>,
) -> Subject<'a> {
    Subject {
        tenant: device.tenant(),
        site: device.site(),
        device: device.name(),
        name: known.and_then(|known| known.name.as_deref()),
        name_en: known.and_then(|known| known.name_en()),
        site_name: known.and_then(|known| known.site_name()),
        site_name_en: known.and_then(|known| known.site_name_en()),
        region: known.and_then(|known| known.region.as_deref()),
    }
}
