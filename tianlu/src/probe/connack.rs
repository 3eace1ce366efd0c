//! What a broker says in its CONNACK.

use crate::config::Protocol;

/// The answer to a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrokerAnswer {
    /// Reason code; 0: accepted.
    pub code: u8,
    /// Largest packet it takes, in bytes; `None`: no limit told.
    pub maximum_packet_size: Option<u32>,
    /// Seconds it keeps our session where that differs from "for ever".
    pub session_expiry_s: Option<u32>,
    /// Largest QoS it speaks, where it is not 2.
    pub maximum_qos: Option<u8>,
    /// Whether shared subscriptions work.
    pub has_shared: bool,
}

impl BrokerAnswer {
    /// Names the text of a refusal; `None`: accepted.
    pub(super) const fn refusal(&self, protocol: Protocol) -> Option<&'static str> {
        match (protocol, self.code) {
            (_, 0) => None,
            (Protocol::V5, 0x84 | 1) => Some("tianlu.broker.version"),
            (Protocol::V311, 1) => Some("tianlu.broker.version_3"),
            (Protocol::V5, 0x86 | 0x87 | 0x8c) | (Protocol::V311, 4 | 5) => {
                Some("tianlu.broker.credentials")
            }
            (Protocol::V5 | Protocol::V311, _) => Some("tianlu.broker.refused"),
        }
    }
}

/// Reads a CONNACK; `None`: it is none.
pub(super) fn parse(kind: u8, body: &[u8], protocol: Protocol) -> Option<BrokerAnswer> {
    let (&code, mut rest) = body.get(1..)?.split_first()?;
    if kind != 0x20 {
        return None;
    }
    let mut answer = BrokerAnswer { code, has_shared: true, ..BrokerAnswer::default() };
    if protocol == Protocol::V311 || rest.is_empty() {
        return Some(answer);
    }
    let total = number(&mut rest)?;
    let mut rest = rest.get(..total)?;
    while let Some((&id, after)) = rest.split_first() {
        rest = after;
        match id {
            0x11 => answer.session_expiry_s = Some(u32::from_be_bytes(take(&mut rest)?)),
            0x27 => answer.maximum_packet_size = Some(u32::from_be_bytes(take(&mut rest)?)),
            0x24 => answer.maximum_qos = take::<1>(&mut rest).map(|[qos]| qos),
            0x2a => answer.has_shared = take::<1>(&mut rest)? != [0],
            0x25 | 0x28 | 0x29 => drop(take::<1>(&mut rest)?),
            // 0x21, its Receive Maximum, bounds what we publish; what comes to us is bounded by our own.
            0x13 | 0x21 | 0x22 => drop(take::<2>(&mut rest)?),
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => skip(&mut rest)?,
            0x26 => {
                skip(&mut rest)?;
                skip(&mut rest)?;
            }
            // A property that MQTT 5 does not know in a CONNACK: what follows cannot be told apart.
            _ => break,
        }
    }
    Some(answer)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// Skips a text or bytes: a length of two bytes, and as many.
fn skip(rest: &mut &[u8]) -> Option<()> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    *rest = rest.get(length..)?;
    Some(())
}

/// Reads a variable byte integer.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let [digit] = take(rest)?;
        number |= usize::from(digit & 0x7f) << shift;
        if digit & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_grants_is_read() {
        let body = [
            0, 0, 19, 0x21, 0, 20, 0x27, 0, 1, 0, 0, 0x11, 0, 0, 14, 16, 0x12, 0, 1, b'x', 0x2a, 0,
        ];
        let answer = parse(0x20, &body, Protocol::V5).unwrap();
        assert_eq!(answer.maximum_packet_size, Some(65_536));
        assert_eq!(answer.session_expiry_s, Some(3600));
        assert!(!answer.has_shared);
        assert_eq!(answer.refusal(Protocol::V5), None);
    }

    #[test]
    fn refusals_have_names_and_hostile_bytes_none() {
        let refused =
            |body: &[u8], protocol| parse(0x20, body, protocol).and_then(|a| a.refusal(protocol));
        assert_eq!(refused(&[0, 1], Protocol::V311), Some("tianlu.broker.version_3"));
        assert_eq!(refused(&[0, 5], Protocol::V311), Some("tianlu.broker.credentials"));
        assert_eq!(refused(&[0, 0x86, 0], Protocol::V5), Some("tianlu.broker.credentials"));
        assert_eq!(refused(&[0, 1], Protocol::V5), Some("tianlu.broker.version"));
        assert_eq!(refused(&[0, 0x88, 0], Protocol::V5), Some("tianlu.broker.refused"));
        for bad in
            [&[][..], &[0], &[0, 0, 200], &[0, 0, 3, 0x21, 0], &[0, 0, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(parse(0x20, bad, Protocol::V5), None, "{bad:?}");
        }
        assert_eq!(parse(0x30, &[0, 0], Protocol::V311), None);
    }
}
