//! Snapshots of the first version: head and body in `bincode`. They are read, never written.

use std::collections::{BTreeMap, VecDeque};

use bincode::Decode;
use rules::{Alert, RuleState};
use telemetry::reading::Value;

use super::block::decode;
use super::{Common, SecondCommon, SnapshotError, SnapshotHead};
use crate::account::Account;
use crate::clock::Clocks;
use crate::device::{Device, NEVER, Names, Rare, Untimed};
use crate::identity::{Kept, Memory};
use crate::letter::Letter;
use crate::newest::{Draft, Newest};

const MAGIC: &[u8; 5] = b"TLSN\x01";

/// The state.
pub(super) struct Body {
    pub(super) common: Common,
    /// Those that ended lately.
    pub(super) alerts: Vec<Alert>,
    pub(super) letters: Vec<Letter>,
    pub(super) devices: Vec<Device>,
}

#[derive(Decode)]
struct Written {
    account: Account,
    alerts: WrittenAlerts,
    clocks: Clocks,
    now: i64,
    letters: Vec<Letter>,
    devices: Vec<WrittenDevice>,
}

#[derive(Decode)]
struct WrittenAlerts {
    /// Derived: each is with its device.
    _firing: BTreeMap<Box<str>, Alert>,
    resolved: Vec<Alert>,
}

#[derive(Decode)]
struct WrittenDevice {
    tenant: Box<str>,
    name: Box<str>,
    site: Box<str>,
    measurement: u16,
    profile: u16,
    clock: u16,
    heard_live_ms: u64,
    heard_at: i64,
    newest_at: i64,
    silent_from: i64,
    sequence: Option<i64>,
    /// No longer needed, like the next.
    _last_position: u64,
    _in_position: u32,
    latest: Vec<(i64, Option<Value>)>,
    memory: WrittenMemory,
    untimed: VecDeque<Untimed>,
    states: Vec<(u16, RuleState)>,
    /// Derived.
    _is_armed: bool,
}

/// Slots of `2 + properties` words each: time low, time high, a hash for each property, 0 where it was absent.
#[derive(Decode)]
struct WrittenMemory {
    words: Vec<u32>,
    /// The oldest slot, once the ring was full.
    next: u32,
    _newest: i64,
}

/// Reads the head, and returns what follows it.
pub(super) fn head(bytes: &[u8]) -> Result<(SnapshotHead, &[u8]), SnapshotError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Unreadable)?;
    Ok((decode(&mut rest)?, rest))
}

/// Reads the body.
pub(super) fn read(rest: &mut &[u8]) -> Result<Body, SnapshotError> {
    let Written { account, alerts, clocks, now, letters, devices } = decode(rest)?;
    Ok(Body {
        common: SecondCommon { account, clocks, now }.into(),
        alerts: alerts.resolved,
        letters,
        devices: devices.into_iter().map(WrittenDevice::carry_over).collect(),
    })
}

impl WrittenDevice {
    fn carry_over(self) -> Device {
        let slots = self.latest.len();
        let mut newest = Newest::new(slots);
        newest.change(&mut Draft::default(), |draft| {
            for (slot, (at, value)) in self.latest.iter().enumerate() {
                if let Some(value) = value.as_ref().filter(|_| *at != NEVER) {
                    draft.set(slot, *at, value);
                }
            }
        });
        let (silent_from, states) = (self.silent_from, self.states);
        // What they hold of the content has another form; a repeat counts as stored.
        drop(self.untimed);
        let rare = Rare { silent_from, untimed: VecDeque::new(), states };
        let names = Names::new(&self.tenant, &self.name, &self.site);
        Device {
            clock: self.clock,
            heard_live_ms: self.heard_live_ms,
            heard_at: self.heard_at,
            newest_at: self.newest_at,
            sequence: self.sequence,
            memory: self.memory.carry_over(slots),
            rare: (!rare.is_empty()).then(|| Box::new(rare)),
            ..Device::in_measurement(names, (self.measurement, self.profile), newest)
        }
    }
}

impl WrittenMemory {
    /// Hashes stay hashes until they are forgotten.
    fn carry_over(self, properties: usize) -> Memory {
        let mut memory = Memory::default();
        // No profile has so many.
        if properties > usize::from(u16::MAX) {
            return memory;
        }
        let slots = self.words.len() / (properties + 2);
        let oldest = usize::try_from(self.next).unwrap_or(0);
        for slot in (0..slots).cycle().skip(oldest.min(slots)).take(slots) {
            let from = slot * (properties + 2);
            let Some([low, high, hashes @ ..]) = self.words.get(from..from + properties + 2) else {
                continue;
            };
            let at = (u64::from(*high) << 32 | u64::from(*low)).cast_signed();
            let kept = |hash: &u32| (*hash != 0).then_some(Kept::Hash32(*hash));
            let seen: Vec<_> = hashes.iter().map(kept).collect();
            memory.remember(at, &seen, usize::MAX);
        }
        memory
    }
}
