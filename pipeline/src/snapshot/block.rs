//! The blocks of a snapshot.

use bincode::{Decode, Encode};
use telemetry::hash::hash64;

use super::SnapshotError;

/// What every snapshot of this version begins with.
pub(super) const MAGIC: &[u8; 5] = b"TLSN\x03";
/// And of the version before: each letter has its raw uplink itself.
pub(super) const MAGIC_2: &[u8; 5] = b"TLSN\x02";
/// A block ends with the first item that brings it to so many bytes.
pub(super) const BLOCK_BYTES: usize = 128 << 10;
/// Bytes before a body: kind, length, hash.
const HEAD_BYTES: usize = 13;
/// Bytes of the last block: its body is the number of devices.
#[cfg(test)]
pub(super) const END_BYTES: usize = HEAD_BYTES + 8;

/// What a block holds. The kinds follow each other in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    /// A [`super::SnapshotHead`].
    Head = 1,
    /// What is neither a list nor of a device.
    Common = 2,
    /// Resolved alerts.
    Alerts = 3,
    /// Dead letters.
    Letters = 4,
    /// Devices of one shard: its number, how many, the devices.
    Devices = 5,
    /// How many devices there are, 8 bytes.
    End = 6,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Head, Self::Common, Self::Alerts, Self::Letters, Self::Devices, Self::End];
}

/// A block as it stands in the bytes; its hash is not checked yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) kind: Kind,
    sum: u64,
    body: &'a [u8],
}

impl<'a> Block<'a> {
    /// Takes the next block.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<8>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (body, rest) = rest.split_at_checked(len)?;
        *bytes = rest;
        let kind = Kind::ALL.into_iter().find(|known| *known as u8 == *kind)?;
        Some(Self { kind, sum: u64::from_le_bytes(*sum), body })
    }

    /// Returns the number of the shard whose devices these are, before the hash is checked.
    pub(super) fn shard(&self) -> Option<u16> {
        crate::pack::take(&mut { self.body })
    }

    /// Returns the body, if it is whole.
    pub(super) fn body(&self) -> Result<&'a [u8], SnapshotError> {
        if hash64(self.body) == self.sum { Ok(self.body) } else { Err(SnapshotError::Unreadable) }
    }
}

/// Writes a block.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    let len = u32::try_from(body.len());
    debug_assert!(len.is_ok(), "an item has at most some 16 MiB");
    out.reserve(HEAD_BYTES + body.len());
    out.push(kind as u8);
    out.extend_from_slice(&len.unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&hash64(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// Largest item that is encoded: 64 GiB, far above what one machine holds.
const BYTES_MAX: usize = 64 << 30;

/// Appends an item.
pub(super) fn encode<T: Encode>(item: T, out: &mut Vec<u8>) {
    let config = bincode::config::standard().with_limit::<BYTES_MAX>();
    let written = bincode::encode_into_std_write(item, out, config);
    debug_assert!(written.is_ok(), "encoding into memory cannot fail: {written:?}");
}

/// Takes an item, within 64 times the memory of the input, or a little: memory is taken by the lengths that stand in
/// it, and a length in nine damaged bytes must not end the process. No element takes that much more than its bytes.
pub(super) fn decode<T: Decode<()>>(bytes: &mut &[u8]) -> Result<T, SnapshotError> {
    fn within<const LIMIT: usize, T: Decode<()>>(
        bytes: &[u8],
    ) -> Result<(T, usize), SnapshotError> {
        let config = bincode::config::standard().with_limit::<LIMIT>();
        bincode::decode_from_slice(bytes, config).map_err(|_| SnapshotError::Unreadable)
    }
    let (item, used) = match bytes.len() {
        0..=0x10_0000 => within::<{ 64 << 20 }, T>(bytes),
        0x10_0001..=0x400_0000 => within::<{ 4 << 30 }, T>(bytes),
        _ => within::<BYTES_MAX, T>(bytes),
    }?;
    *bytes = bytes.get(used..).unwrap_or_default();
    Ok(item)
}

/// Takes items until the bytes end.
pub(super) fn decode_all<T: Decode<()>>(
    mut bytes: &[u8],
    mut each: impl FnMut(T),
) -> Result<(), SnapshotError> {
    while !bytes.is_empty() {
        each(decode(&mut bytes)?);
    }
    Ok(())
}
