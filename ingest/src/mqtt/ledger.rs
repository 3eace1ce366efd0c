//! Which messages of the current connection wait for their acknowledgement. Pure.
//!
//! - **M1** A token counts only in the epoch that issued it: packet ids mean nothing on the next connection.
//! - **M2** Acknowledgements are released in order of arrival (MQTT 5, 4.6.0-2).
//! - **M3** A packet is released at most once.

use std::collections::VecDeque;

use crate::source::AckToken;

/// A packet that the broker wants acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// `QoS` 1: PUBACK ends it.
    AtLeastOnce(u16),
    /// `QoS` 2, left in the session by an older subscription: PUBREC, then the client goes on by itself.
    ExactlyOnce(u16),
}

#[derive(Debug)]
struct Slot {
    packet: Packet,
    settled: bool,
}

/// Unacknowledged packets in order of arrival, at most as many as the broker may have in flight.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    epoch: u64,
    open: bool,
    /// Sequence number of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
}

impl Ledger {
    /// Begins a new epoch: everything older is void.
    pub(crate) fn open(&mut self) {
        self.close();
        self.epoch = self.epoch.saturating_add(1);
        self.open = true;
    }

    /// Ends the epoch. Until the next one begins every token is void.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.first = 0;
        self.slots.clear();
    }

    /// Enters a packet that has just arrived.
    pub(crate) fn enter(&mut self, packet: Packet) -> AckToken {
        debug_assert!(self.open, "a packet arrived before the connection was confirmed");
        let place = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        self.slots.push_back(Slot { packet, settled: false });
        AckToken::new(self.epoch, self.first.saturating_add(place))
    }

    /// Settles one packet; a void token changes nothing. Returns whether it counted.
    pub(crate) fn settle(&mut self, token: AckToken) -> bool {
        if !self.open || token.epoch() != self.epoch {
            return false;
        }
        let place =
            token.sequence().checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(slot) = place.and_then(|at| self.slots.get_mut(at)) else { return false };
        slot.settled = true;
        true
    }

    /// Returns the next packet whose acknowledgement may leave.
    pub(crate) fn release(&mut self) -> Option<Packet> {
        let slot = self.slots.pop_front_if(|slot| slot.settled)?;
        self.first = self.first.saturating_add(1);
        Some(slot.packet)
    }

    /// Returns how many packets wait.
    pub(crate) fn unacked(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn released(ledger: &mut Ledger) -> Vec<u16> {
        std::iter::from_fn(|| ledger.release())
            .map(|packet| match packet {
                Packet::AtLeastOnce(id) | Packet::ExactlyOnce(id) => id,
            })
            .collect()
    }

    #[test]
    fn a_token_of_an_older_connection_is_void() {
        let mut ledger = Ledger::default();
        ledger.open();
        let old = ledger.enter(Packet::AtLeastOnce(1));
        ledger.close();
        assert!(!ledger.settle(old), "between two connections");
        ledger.open();
        let new = ledger.enter(Packet::AtLeastOnce(1));
        assert!(!ledger.settle(old), "the same packet id on the next connection");
        assert!(released(&mut ledger).is_empty());
        assert!(ledger.settle(new));
        assert_eq!(released(&mut ledger), [1]);
    }

    #[test]
    fn a_packet_settled_twice_is_released_once() {
        let mut ledger = Ledger::default();
        ledger.open();
        let token = ledger.enter(Packet::AtLeastOnce(9));
        assert!(ledger.settle(token) && ledger.settle(token));
        assert_eq!(released(&mut ledger), [9]);
        assert!(!ledger.settle(token));
        assert!(released(&mut ledger).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn acknowledgements_leave_in_order_of_arrival_whatever_the_order_of_settling(
            order in Just((0..40u16).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let mut ledger = Ledger::default();
            ledger.open();
            let tokens: Vec<_> = (0..40u16).map(|id| ledger.enter(Packet::AtLeastOnce(id + 1))).collect();
            let mut all = Vec::new();
            for place in order {
                prop_assert!(ledger.settle(tokens[usize::from(place)]));
                all.extend(released(&mut ledger));
            }
            prop_assert_eq!(all, (1..=40u16).collect::<Vec<_>>());
            prop_assert_eq!(ledger.unacked(), 0);
        }
    }
}
