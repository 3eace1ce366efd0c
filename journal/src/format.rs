//! What stands in a segment, byte for byte. All numbers little-endian.
//!
//! A segment `{first position}-{sequence}-{salt}.seg` (lower-case hex, 16, 8 and 8 digits):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 512 | head, copy A; written anew once, when the segment is sealed |
//! | 512 | 512 | head, copy B; as at the creation |
//! | 1024 | … | records, each at a multiple of 8 |
//! | … | … | never written, up to the capacity; anything may stand there |
//!
//! A head, 104 bytes, the rest of its sector zero:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `TLSEGM01` |
//! | 8 | 4 | CRC32C of the bytes 12 to 104 |
//! | 12 | 4 | salt, as in the name |
//! | 16 | 8 | sequence, as in the name; grows by at least one with each segment |
//! | 24 | 8 | first position, as in the name |
//! | 32 | 8 + 8 | position and ordinal of the last record before this segment |
//! | 48 | 8 + 8 | sequence of the segment before this one, and where it ends (bytes); 0: none |
//! | 64 | 8 | capacity in bytes |
//! | 72 | 8 | sealed end in bytes; 0: not sealed |
//! | 80 | 8 + 8 | position and ordinal of the last record, if sealed |
//! | 96 | 8 | zero |
//!
//! A record, 40 bytes and its payload, filled up with zeros to a multiple of 8:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `TLr1` |
//! | 4 | 4 | CRC32C of the bytes 8 to 40, seeded with salt XOR offset in the segment |
//! | 8 | 4 | CRC32C of the payload |
//! | 12 | 4 | length of the payload |
//! | 16 | 8 | position |
//! | 24 | 8 | ordinal |
//! | 32 | 4 | `synced_to`: bytes of this segment known to be durable when the record was made |
//! | 36 | 1 | kind |
//! | 37 | 3 | zero |

use crc32c::{crc32c, crc32c_append};
use std::fmt;

/// Bytes before the first record.
pub(crate) const HEAD_BYTES: u64 = HEAD_SECTORS as u64;
/// The same, to measure a buffer with.
pub(crate) const HEAD_SECTORS: usize = 2 * COPY_B;
/// Where copy B of the head stands.
const COPY_B: usize = 512;
/// Bytes of a head that mean something.
const HEAD_LEN: usize = 104;
const HEAD_MAGIC: [u8; 8] = *b"TLSEGM01";
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEAD: usize = 40;
/// Records begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// What a record begins with.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"TLr1";

/// A point in a log: the last record up to there. Both 0 before the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct End {
    /// Position of the last record.
    pub position: u64,
    /// Ordinal of the last record, as the writer gave it.
    pub ordinal: u64,
}

/// A record to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended<'a> {
    /// What the payload is; means nothing to the log.
    pub kind: u8,
    /// Position: from 1, larger than that of any record before, not necessarily by one.
    pub position: u64,
    /// A count that the writer keeps; means nothing to the log.
    pub ordinal: u64,
    /// The bytes.
    pub payload: &'a [u8],
}

/// Name of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) first_position: u64,
    pub(crate) sequence: u64,
    pub(crate) salt: u32,
}

impl SegmentName {
    /// Reads a file name; `None` when it names no segment.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".seg")?.split('-');
        let (first, sequence, salt) = (parts.next()?, parts.next()?, parts.next()?);
        let parsed = Self {
            first_position: u64::from_str_radix(first, 16).ok()?,
            sequence: u64::from_str_radix(sequence, 16).ok().filter(|s| *s > 0)?,
            salt: u32::from_str_radix(salt, 16).ok()?,
        };
        (parts.next().is_none() && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}-{:08x}.seg", self.first_position, self.sequence, self.salt)
    }
}

/// The segment before another one, and where it ends. Sequence 0: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) end: u64,
}

/// The final end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) end: u64,
    pub(crate) last: End,
}

/// Head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) name: SegmentName,
    pub(crate) after: End,
    /// `None` only where both copies are damaged and nothing is known.
    pub(crate) previous: Option<Link>,
    pub(crate) capacity: u64,
    pub(crate) seal: Option<Seal>,
}

impl SegmentHead {
    /// Returns one copy, filled up to its sector.
    pub(crate) fn encode(&self) -> [u8; COPY_B] {
        let previous = self.previous.unwrap_or_default();
        let seal = self.seal.unwrap_or(Seal { end: 0, last: End::default() });
        let numbers = [
            self.name.sequence,
            self.name.first_position,
            self.after.position,
            self.after.ordinal,
            previous.sequence,
            previous.end,
            self.capacity,
            seal.end,
            seal.last.position,
            seal.last.ordinal,
            0,
        ];
        let mut sector = [0; COPY_B];
        sector[..8].copy_from_slice(&HEAD_MAGIC);
        sector[12..16].copy_from_slice(&self.name.salt.to_le_bytes());
        for (slot, number) in sector[16..HEAD_LEN].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c(&sector[12..HEAD_LEN]);
        sector[8..12].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    /// Returns both copies, as at the creation.
    pub(crate) fn encode_both(&self) -> Vec<u8> {
        self.encode().repeat(2)
    }

    /// Reads copy A, or copy B where A is damaged. `None`: both are, or they belong to another
    /// file.
    pub(crate) fn decode(bytes: &[u8], name: SegmentName) -> Option<Self> {
        Self::decode_copy(bytes, name).or_else(|| Self::decode_copy(bytes.get(COPY_B..)?, name))
    }

    fn decode_copy(bytes: &[u8], name: SegmentName) -> Option<Self> {
        let bytes = bytes.get(..HEAD_LEN)?;
        if field::<8>(bytes, 0)? != HEAD_MAGIC || number32(bytes, 8)? != crc32c(bytes.get(12..)?) {
            return None;
        }
        let named = SegmentName {
            sequence: number64(bytes, 16)?,
            first_position: number64(bytes, 24)?,
            salt: number32(bytes, 12)?,
        };
        let end = number64(bytes, 72)?;
        let last = End { position: number64(bytes, 80)?, ordinal: number64(bytes, 88)? };
        (named == name).then_some(Self {
            name,
            after: End { position: number64(bytes, 32)?, ordinal: number64(bytes, 40)? },
            previous: Some(Link { sequence: number64(bytes, 48)?, end: number64(bytes, 56)? }),
            capacity: number64(bytes, 64)?,
            seal: (end > 0).then_some(Seal { end, last }),
        })
    }
}

/// Head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) payload_crc: u32,
    pub(crate) length: u32,
    pub(crate) end: End,
    pub(crate) synced_to: u32,
    pub(crate) kind: u8,
}

impl RecordHead {
    /// Reads the head at the beginning of `bytes`, which stand at `offset` of a segment.
    #[inline]
    pub(crate) fn decode(bytes: &[u8], salt: u32, offset: u64) -> Option<Self> {
        let head: &[u8; RECORD_HEAD] = bytes.first_chunk()?;
        if head[..4] != RECORD_MAGIC {
            return None;
        }
        if number32(head, 4)? != crc32c_append(seed(salt, offset)?, &head[8..]) {
            return None;
        }
        Some(Self {
            payload_crc: number32(head, 8)?,
            length: number32(head, 12)?,
            end: End { position: number64(head, 16)?, ordinal: number64(head, 24)? },
            synced_to: number32(head, 32)?,
            kind: head[36],
        })
    }

    /// Returns the bytes of the whole record.
    pub(crate) fn size(&self) -> u64 {
        record_size(self.length as usize)
    }
}

/// Returns the bytes of a record with a payload of `length` bytes.
pub(crate) const fn record_size(length: usize) -> u64 {
    (RECORD_HEAD + length).next_multiple_of(ALIGN) as u64
}

/// Where a record is made for: its segment's salt and its offset there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) salt: u32,
    pub(crate) offset: u64,
    pub(crate) synced_to: u64,
}

/// Appends the bytes of a record to `out`. `None`: payload or offset do not fit into 32 bits.
#[inline]
pub(crate) fn encode_record(out: &mut Vec<u8>, record: &Appended<'_>, place: Place) -> Option<()> {
    let length = u32::try_from(record.payload.len()).ok()?;
    let synced_to = u32::try_from(place.synced_to).ok()?;
    let mut head = [0; RECORD_HEAD];
    head[..4].copy_from_slice(&RECORD_MAGIC);
    head[8..12].copy_from_slice(&crc32c(record.payload).to_le_bytes());
    head[12..16].copy_from_slice(&length.to_le_bytes());
    head[16..24].copy_from_slice(&record.position.to_le_bytes());
    head[24..32].copy_from_slice(&record.ordinal.to_le_bytes());
    head[32..36].copy_from_slice(&synced_to.to_le_bytes());
    head[36] = record.kind;
    let crc = crc32c_append(seed(place.salt, place.offset)?, &head[8..]);
    head[4..8].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(record.payload);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    Some(())
}

/// What the CRC of a record's head begins with: a record means nothing in another segment or at
/// another place.
fn seed(salt: u32, offset: u64) -> Option<u32> {
    Some(salt ^ u32::try_from(offset).ok()?)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

fn number64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}
