//! The sessions of all clients, by identity and client identifier. Pure.
//!
//! - **L4** Client identifiers of two devices never meet: a device cannot take over, or push out, another's session.
//! - Bounded: by [`Limits::sessions_kept_max`] in all and [`Limits::sessions_per_device_max`] for one device.
//!
//! They live as long as this process; after a restart every client hears session-present 0.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::session::{Session, Testament};
use super::terms::{Identity, Limits};

/// Number of a connection in the life of this process.
pub(crate) type ConnectionNumber = u64;

/// Whose session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionKey {
    pub(crate) identity: Identity,
    pub(crate) client_id: Box<str>,
}

#[derive(Debug)]
enum Slot {
    /// A connection has it.
    Attached(ConnectionNumber),
    /// It waits for its client.
    Kept { session: Box<Session>, until: Instant },
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    of: HashMap<String, BTreeMap<Box<str>, Slot>>,
    kept: usize,
}

/// A session for a connection, and whether it was there before.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Box<Session>,
    pub(crate) is_present: bool,
    /// Wills that are due, because their session ended now.
    pub(crate) wills: Vec<Testament>,
}

/// Why no session can be opened: the device has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Sessions {
    /// Returns the connection that has the session of a client.
    pub(crate) fn holder(&self, key: &SessionKey) -> Option<ConnectionNumber> {
        match self.of.get(&key.identity.name())?.get(&key.client_id)? {
            Slot::Attached(number) => Some(*number),
            Slot::Kept { .. } => None,
        }
    }

    /// Gives the session of a client to a connection. No other connection must have it.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        key: &SessionKey,
        connection: (ConnectionNumber, bool),
        limits: &Limits,
    ) -> Result<Opened, TooMany> {
        let (number, is_clean) = connection;
        let name = key.identity.name();
        let mut wills = Vec::new();
        if matches!(key.identity, Identity::Device(_)) {
            wills.extend(self.make_room_for(&name, &key.client_id, limits)?);
        }
        let slots = self.of.entry(name).or_default();
        let before = slots.insert(key.client_id.clone(), Slot::Attached(number));
        debug_assert!(!matches!(before, Some(Slot::Attached(_))), "L4: taken over before");
        let Some(Slot::Kept { mut session, until }) = before else {
            return Ok(Opened { session: Box::default(), is_present: false, wills });
        };
        self.kept -= 1;
        let will = session.will.take();
        if is_clean || until <= now {
            wills.extend(will);
            return Ok(Opened { session: Box::default(), is_present: false, wills });
        }
        // The client is back in time: its will is no longer wanted, [MQTT-3.1.3-9].
        Ok(Opened { session, is_present: true, wills })
    }

    fn make_room_for(
        &mut self,
        name: &str,
        client: &str,
        limits: &Limits,
    ) -> Result<Option<Testament>, TooMany> {
        let Some(slots) = self.of.get_mut(name) else { return Ok(None) };
        if slots.contains_key(client) || slots.len() < limits.sessions_per_device_max {
            return Ok(None);
        }
        let client = first_to_expire(slots).ok_or(TooMany)?;
        self.kept -= 1;
        Ok(slots.remove(&client).and_then(Slot::into_will))
    }

    /// Takes the session back from a connection that ended. Returns its will where the session ends with it, and
    /// those of sessions that gave way.
    pub(crate) fn close(
        &mut self,
        now: Instant,
        key: &SessionKey,
        released: (Box<Session>, Duration),
        limits: &Limits,
    ) -> Vec<Testament> {
        let (mut session, lasts) = released;
        let name = key.identity.name();
        let Some(slots) = self.of.get_mut(&name) else { return Vec::new() };
        if lasts.is_zero() {
            slots.remove(&key.client_id);
            if slots.is_empty() {
                self.of.remove(&name);
            }
            return session.will.take().into_iter().collect();
        }
        slots.insert(key.client_id.clone(), Slot::Kept { session, until: now + lasts });
        self.kept += 1;
        if self.kept > limits.sessions_kept_max { self.drop_first() } else { Vec::new() }
    }

    /// Drops the kept session that would expire first, of all clients.
    fn drop_first(&mut self) -> Vec<Testament> {
        let kept = self.of.iter().flat_map(|(name, slots)| {
            slots.iter().filter_map(move |(client, slot)| Some((slot.until()?, name, client)))
        });
        let Some((_, name, client)) = kept.min() else { return Vec::new() };
        let (name, client) = (name.clone(), client.clone());
        let slot = self.of.get_mut(&name).and_then(|slots| slots.remove(&client));
        self.kept -= 1;
        slot.and_then(Slot::into_will).into_iter().collect()
    }

    /// Ends sessions that expired; returns the wills that are due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Testament> {
        let mut due = Vec::new();
        if self.kept == 0 {
            return due;
        }
        for slots in self.of.values_mut() {
            slots.retain(|_, slot| {
                let Slot::Kept { session, until } = slot else { return true };
                let has_expired = *until <= now;
                if session.will.as_ref().is_some_and(|will| has_expired || will.due <= now) {
                    due.extend(session.will.take());
                }
                self.kept -= usize::from(has_expired);
                !has_expired
            });
        }
        self.of.retain(|_, slots| !slots.is_empty());
        due
    }

    /// Forgets QoS 2 messages of kept sessions whose record was not durable.
    pub(crate) fn forget_after(&mut self, durable: u64) {
        for slot in self.of.values_mut().flat_map(BTreeMap::values_mut) {
            if let Slot::Kept { session, .. } = slot {
                session.forget_after(durable);
            }
        }
    }

    /// Returns how many sessions wait for their client.
    #[cfg(test)]
    pub(crate) const fn kept(&self) -> usize {
        self.kept
    }
}

impl Slot {
    const fn until(&self) -> Option<Instant> {
        match self {
            Self::Attached(_) => None,
            Self::Kept { until, .. } => Some(*until),
        }
    }

    fn into_will(self) -> Option<Testament> {
        match self {
            Self::Attached(_) => None,
            Self::Kept { mut session, .. } => session.will.take(),
        }
    }
}

fn first_to_expire(slots: &BTreeMap<Box<str>, Slot>) -> Option<Box<str>> {
    let kept = slots.iter().filter_map(|(client, slot)| Some((slot.until()?, client)));
    kept.min().map(|(_, client)| client.clone())
}
