//! A device in a snapshot. Its packed parts are copied as they are.

use super::block;
use crate::device::{Device, Names, Rare};
use crate::identity::Memory;
use crate::newest::Newest;
use crate::pack::{self, fold, put_number, put_time, take, take_bytes, take_time, unfold};

/// Fewest bytes of a device: what bounds the memory that a count can ask for.
pub(super) const DEVICE_BYTES_MIN: usize = 16;

/// What times and positions of devices are told by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    /// Journal time of the snapshot, nanoseconds.
    pub(super) now: i64,
    /// Its position.
    pub(super) position: u64,
}

/// Appends a device.
pub(super) fn put(out: &mut Vec<u8>, device: &Device, base: Base) {
    let texts = [device.tenant(), device.name(), device.site()];
    texts.iter().for_each(|text| put_number(out, text.len() as u128));
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    for number in [device.measurement, device.profile, device.clock] {
        put_number(out, u128::from(number));
    }
    put_number(out, u128::from(device.heard_live_ms));
    put_time(out, base.now, device.newest_at);
    put_time(out, device.newest_at, device.heard_at);
    put_number(out, device.sequence.map_or(0, |sequence| u128::from(fold(sequence)) + 1));
    // Earlier versions counted here the readings of the last uplink: its position, and how many.
    put_number(out, 0);
    put_number(out, 0);
    device.newest.put(out);
    device.memory.put(out, device.newest_at);
    out.push(u8::from(device.rare.is_some()));
    if let Some(rare) = &device.rare {
        block::encode(rare, out);
    }
}

/// Reads a device. `None`: the bytes are none.
pub(super) fn read(bytes: &mut &[u8], base: Base) -> Option<Device> {
    let lens: [usize; 3] = [take(bytes)?, take(bytes)?, take(bytes)?];
    let mut texts = [""; 3];
    for (text, len) in texts.iter_mut().zip(lens) {
        *text = str::from_utf8(take_bytes(bytes, len)?).ok()?;
    }
    let [tenant, name, site] = texts;
    let (measurement, profile, clock) = (take(bytes)?, take(bytes)?, take(bytes)?);
    let heard_live_ms = take(bytes)?;
    let newest_at = take_time(bytes, base.now)?;
    let heard_at = take_time(bytes, newest_at)?;
    let sequence = match pack::take_number(bytes)?.checked_sub(1) {
        Some(folded) => Some(unfold(u64::try_from(folded).ok()?)),
        None => None,
    };
    take::<u64>(bytes)?;
    take::<u32>(bytes)?;
    let newest = Newest::take(bytes)?;
    let memory = Memory::take(bytes, newest_at, newest.slots())?;
    let rare = match take(bytes)? {
        0_u8 => None,
        1 => {
            let rare: Rare = block::decode(bytes).ok()?;
            Some(Box::new(rare))
        }
        _ => return None,
    };
    let names = Names::new(tenant, name, site);
    Some(Device {
        clock,
        heard_live_ms,
        heard_at,
        newest_at,
        sequence,
        memory,
        rare,
        ..Device::in_measurement(names, (measurement, profile), newest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: a device as an earlier version wrote it, with a count of the readings of its last uplink, is read.
    #[test]
    fn what_earlier_versions_counted_is_skipped() {
        let base = Base { now: 5, position: 9 };
        let device = Device {
            newest_at: 5,
            heard_at: 5,
            ..Device::in_measurement(Names::new("t", "d", "s"), (0, 0), Newest::new(1))
        };
        let mut bytes = Vec::new();
        put(&mut bytes, &device, base);
        // Behind names, places, live time, two times and the sequence, all of one byte each.
        let counted = &mut bytes[13..15];
        assert_eq!(counted, [0, 0]);
        counted.copy_from_slice(&[4, 7]);
        let mut rest = bytes.as_slice();
        assert_eq!(read(&mut rest, base), Some(device));
        assert!(rest.is_empty());
    }
}
