//! Finds packets in a stream of bytes, and refuses what the codec would let pass. Pure.
//!
//! The codec reserves memory by the length that a packet declares, and it waits for a length that never ends as for
//! one that is not there yet. Here a packet reaches it only once all of its bytes are in.

use super::fault::Fault;

/// Most bytes of a fixed header: one for the kind, four for the length.
const HEADER_BYTES_MAX: usize = 5;
/// The kinds whose body is empty in every version.
const PINGREQ: u8 = 0xC0;
const DISCONNECT: u8 = 0xE0;
const CONNECT: u8 = 0x10;
/// A QoS 0 PUBLISH with the DUP flag.
const PUBLISH_DUP_QOS0: (u8, u8) = (0b1111_1110, 0b0011_1000);
const FLAG_WILL: u8 = 0b0000_0100;
const FLAGS_OF_WILL: u8 = 0b0011_1000;
const FLAG_PASSWORD: u8 = 0b0100_0000;
const FLAG_USERNAME: u8 = 0b1000_0000;

/// The versions that devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1, `MQIsdp`.
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// A packet that is there as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// First byte: kind and flags.
    pub(crate) first: u8,
    /// Bytes of the fixed header.
    pub(crate) header: usize,
    /// Bytes of header and body.
    pub(crate) total: usize,
}

/// Finds the first packet. `Ok(None)`: not all of it is there.
pub(crate) fn find(bytes: &[u8], packet_bytes_max: usize) -> Result<Option<Frame>, Fault> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut body = 0usize;
    for (place, byte) in rest.iter().take(HEADER_BYTES_MAX - 1).enumerate() {
        body |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 != 0 {
            continue;
        }
        // [MQTT-1.5.5-1] The shortest form only.
        if place > 0 && *byte == 0 {
            return Err(Fault::Malformed);
        }
        let frame = Frame { first, header: place + 2, total: place + 2 + body };
        if frame.total > packet_bytes_max {
            return Err(Fault::PacketTooLarge);
        }
        return Ok((bytes.len() >= frame.total).then_some(frame));
    }
    if rest.len() >= HEADER_BYTES_MAX - 1 { Err(Fault::Malformed) } else { Ok(None) }
}

/// Reads the version from the body of the first packet.
pub(crate) fn version(frame: Frame, body: &[u8]) -> Result<Version, Fault> {
    if frame.first & 0xf0 != CONNECT {
        return Err(Fault::NotConnect);
    }
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => match level {
            4 => Ok(Version::V311),
            5 => Ok(Version::V5),
            _ => Err(Fault::UnsupportedVersion),
        },
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', level, ..] => {
            if *level == 3 {
                Ok(Version::V31)
            } else {
                Err(Fault::UnsupportedVersion)
            }
        }
        _ => Err(Fault::NotMqtt),
    }
}

/// Refuses what the codec does not look at.
pub(crate) fn check(frame: Frame, body: &[u8], version: Version) -> Result<(), Fault> {
    let (mask, dup_qos0) = PUBLISH_DUP_QOS0;
    let is_wrong = match frame.first {
        PINGREQ => !body.is_empty(),
        DISCONNECT => version != Version::V5 && !body.is_empty(),
        CONNECT => !are_connect_flags_right(body, version),
        // [MQTT-3.3.1-2] DUP must be 0 where QoS is.
        first => first & mask == dup_qos0,
    };
    if is_wrong { Err(Fault::Malformed) } else { Ok(()) }
}

fn are_connect_flags_right(body: &[u8], version: Version) -> bool {
    let place = if version == Version::V31 { 9 } else { 7 };
    let Some(&flags) = body.get(place) else { return false };
    // [MQTT-3.1.2-11] Without a will its QoS and retain are 0.
    let is_will_right = flags & FLAG_WILL != 0 || flags & FLAGS_OF_WILL == 0;
    // [MQTT-3.1.2-22] of 3.1.1: no password without a user name. MQTT 5 lifted it.
    let is_password_right =
        version == Version::V5 || flags & FLAG_PASSWORD == 0 || flags & FLAG_USERNAME != 0;
    is_will_right && is_password_right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_once_all_of_it_is_there_and_a_long_length_needs_no_memory() {
        type Found = Result<Option<Frame>, Fault>;
        let frame = |first, header, total| Ok(Some(Frame { first, header, total }));
        let cases: [(&[u8], Found); 11] = [
            (&[], Ok(None)),
            (&[0xC0], Ok(None)),
            (&[0xC0, 0], frame(0xC0, 2, 2)),
            (&[0x30, 2, 1], Ok(None)),
            (&[0x30, 2, 1, 2, 3], frame(0x30, 2, 4)),
            (&[0x30, 0x80], Ok(None)),
            (&[0x30, 0x80, 0x00], Err(Fault::Malformed)),
            (&[0x30, 0xff, 0xff, 0xff, 0x7f], Err(Fault::PacketTooLarge)),
            (&[0x30, 0xff, 0xff, 0xff, 0xff], Err(Fault::Malformed)),
            (&[0x30, 0x80, 0x80, 0x80], Ok(None)),
            (&[0x30, 98], Ok(None)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(find(bytes, 100), expected, "{bytes:x?}");
        }
        assert_eq!(find(&[0x30, 99], 100), Err(Fault::PacketTooLarge), "the header counts");
    }
}
