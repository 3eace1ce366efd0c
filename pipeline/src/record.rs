//! The records of the journal: everything that may influence results.
//!
//! The payload of every record begins with a version byte. Uplinks, which are many, are laid out by hand:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 2 | source, little endian |
//! | 8 | `received_at`, nanoseconds, little endian |
//! | 8 | length of the body as the device sent it, little endian; larger than the payload where the transport discarded the rest |
//! | 2 | length of the topic, little endian |
//! | .. | topic |
//! | .. | payload |
//!
//! The rest, which are few, are `bincode` (standard, with a limit).

use bincode::{Decode, Encode};
use telemetry::time::IngestTime;

/// Bytes of an uplink record beside topic and payload.
pub const UPLINK_OVERHEAD: usize = 21;
/// Largest payload of a record that is decoded: an uplink of 16 MiB and its topic.
const RECORD_BYTES_MAX: usize = 32 << 20;
const VERSION: u8 = 1;

/// The kinds of journal records, as their header carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message of a device.
    Uplink = 1,
    /// Time and the state of the sources.
    Tick = 2,
    /// A start of the program.
    Started = 3,
    /// Another configuration takes effect.
    ConfigActivated = 4,
    /// The store refused points.
    Rejected = 5,
    /// A dead letter is tried again.
    Redrive = 6,
}

impl Kind {
    /// Reads the kind of a record header.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Uplink),
            2 => Some(Self::Tick),
            3 => Some(Self::Started),
            4 => Some(Self::ConfigActivated),
            5 => Some(Self::Rejected),
            6 => Some(Self::Redrive),
            _ => None,
        }
    }

    /// Returns the code of the record header.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// One journal record.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// A message of a device, as it came.
    Uplink(Uplink<'a>),
    /// Time and the state of the sources.
    Tick(Tick),
    /// A start of the program.
    Started(Started),
    /// Another configuration takes effect.
    ConfigActivated(ConfigActivated),
    /// The store refused points.
    Rejected(Rejected),
    /// A dead letter is tried again.
    Redrive(Redrive),
}

/// A message of a device, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uplink<'a> {
    /// The source, by its place in the configuration.
    pub source: u16,
    /// When it was taken in.
    pub received_at: IngestTime,
    /// The topic, as the broker gave it.
    pub topic: &'a str,
    /// The payload, or its beginning.
    pub payload: &'a [u8],
    /// Length of the payload as sent, in bytes.
    pub full_len: u64,
}

impl Uplink<'_> {
    /// Appends the record's payload to `out`. A topic beyond 65,535 bytes, which MQTT cannot carry, is cut.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let mut end = self.topic.len().min(usize::from(u16::MAX));
        while !self.topic.is_char_boundary(end) {
            end -= 1;
        }
        let topic = self.topic.get(..end).unwrap_or_default();
        out.reserve(UPLINK_OVERHEAD + topic.len() + self.payload.len());
        out.push(VERSION);
        out.extend_from_slice(&self.source.to_le_bytes());
        out.extend_from_slice(&self.received_at.as_nanos().to_le_bytes());
        out.extend_from_slice(&self.full_len.to_le_bytes());
        out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(topic.as_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// Time and the state of the sources; appended each second and at each change.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Tick {
    /// Journal time, nanoseconds.
    pub at_nanos: i64,
    /// Monotonic time since the previous tick, milliseconds.
    pub elapsed_ms: u64,
    /// State of each source from now on.
    pub sources: Vec<SourceState>,
}

/// State of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SourceState {
    /// The source, by its place in the configuration.
    pub source: u16,
    /// Connected and subscribed.
    pub connected: bool,
    /// What waited for us has been taken in, so that silence is the device's own.
    pub caught_up: bool,
}

/// A start of the program.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Started {
    /// Journal time, nanoseconds.
    pub at_nanos: i64,
    /// Version of the engine that derives results from here on.
    pub version: String,
}

/// Another configuration takes effect at this position, also for decoding.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConfigActivated {
    /// Journal time, nanoseconds.
    pub at_nanos: i64,
    /// Hash of the bundle, hexadecimal.
    pub hash: String,
}

/// The store refused points; fsynced before the store's cursor passes them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rejected {
    /// Journal time, nanoseconds.
    pub at_nanos: i64,
    /// The refused points.
    pub points: Vec<RejectedPoint>,
}

/// One refused point, with the uplink it came from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RejectedPoint {
    /// Journal position of the point's uplink.
    pub position: u64,
    /// Index of the point among the results of that position.
    pub index: u32,
    /// Index of the reading in the uplink.
    pub element: u32,
    /// Code of the reason; one of the store's.
    pub reason: u8,
    /// What the store said.
    pub detail: String,
    /// The uplink it came from; empty where it is the same as that of the point before in this record.
    pub origin: Origin,
}

impl Rejected {
    /// Returns the points, each with the uplink it came from.
    pub fn with_origins(&self) -> impl Iterator<Item = (&RejectedPoint, &Origin)> {
        self.points.iter().scan(None, |last: &mut Option<&Origin>, point| {
            let is_same = last.is_some() && point.origin == Origin::default();
            let origin = last.filter(|_| is_same).unwrap_or(&point.origin);
            *last = Some(origin);
            Some((point, origin))
        })
    }
}

/// The raw uplink behind a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Origin {
    /// The source, by its place in the configuration.
    pub source: u16,
    /// When the uplink was taken in, nanoseconds.
    pub received_at_nanos: i64,
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Length of the payload as sent, in bytes.
    pub full_len: u64,
}

/// A dead letter is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Redrive {
    /// Journal time, nanoseconds.
    pub at_nanos: i64,
    /// The letter's id.
    pub letter: String,
    /// The one element to try; `None`: the whole uplink.
    pub element: Option<u32>,
    /// The raw uplink.
    pub origin: Origin,
}

/// Why a journal record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The kind is not known: written by a newer version.
    #[error("record kind `{0}` is not known to this version")]
    UnknownKind(u8),
    /// The version is not known: written by a newer version.
    #[error("record version `{0}` is not known to this version")]
    UnknownVersion(u8),
    /// The payload does not hold what its kind promises.
    #[error("record of kind {kind:?} is not readable")]
    Unreadable {
        /// The kind.
        kind: Kind,
    },
}

impl<'a> Record<'a> {
    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Uplink(_) => Kind::Uplink,
            Self::Tick(_) => Kind::Tick,
            Self::Started(_) => Kind::Started,
            Self::ConfigActivated(_) => Kind::ConfigActivated,
            Self::Rejected(_) => Kind::Rejected,
            Self::Redrive(_) => Kind::Redrive,
        }
    }

    /// Returns the record's payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Uplink(uplink) => uplink.encode_into(&mut out),
            Self::Tick(record) => encode_cold(record, &mut out),
            Self::Started(record) => encode_cold(record, &mut out),
            Self::ConfigActivated(record) => encode_cold(record, &mut out),
            Self::Rejected(record) => encode_cold(record, &mut out),
            Self::Redrive(record) => encode_cold(record, &mut out),
        }
        out
    }

    /// Reads a record of a kind from its payload.
    ///
    /// # Errors
    ///
    /// [`RecordError`] where kind or version is not known, or the payload is not whole.
    pub fn decode(code: u8, payload: &'a [u8]) -> Result<Self, RecordError> {
        let kind = Kind::from_code(code).ok_or(RecordError::UnknownKind(code))?;
        let (version, rest) = payload.split_first().ok_or(RecordError::Unreadable { kind })?;
        if *version != VERSION {
            return Err(RecordError::UnknownVersion(*version));
        }
        match kind {
            Kind::Uplink => {
                decode_uplink(rest).map(Self::Uplink).ok_or(RecordError::Unreadable { kind })
            }
            Kind::Tick => decode_cold(kind, rest).map(Self::Tick),
            Kind::Started => decode_cold(kind, rest).map(Self::Started),
            Kind::ConfigActivated => decode_cold(kind, rest).map(Self::ConfigActivated),
            Kind::Rejected => decode_cold(kind, rest).map(Self::Rejected),
            Kind::Redrive => decode_cold(kind, rest).map(Self::Redrive),
        }
    }
}

fn decode_uplink(rest: &[u8]) -> Option<Uplink<'_>> {
    let (source, rest) = rest.split_first_chunk::<2>()?;
    let (received_at, rest) = rest.split_first_chunk::<8>()?;
    let (full_len, rest) = rest.split_first_chunk::<8>()?;
    let (topic_len, rest) = rest.split_first_chunk::<2>()?;
    let (topic, payload) = rest.split_at_checked(usize::from(u16::from_le_bytes(*topic_len)))?;
    Some(Uplink {
        source: u16::from_le_bytes(*source),
        received_at: IngestTime::from_nanos(i64::from_le_bytes(*received_at)),
        topic: std::str::from_utf8(topic).ok()?,
        payload,
        full_len: u64::from_le_bytes(*full_len),
    })
}

fn encode_cold(record: &impl Encode, out: &mut Vec<u8>) {
    out.push(VERSION);
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    let written = bincode::encode_into_std_write(record, out, config);
    debug_assert!(written.is_ok(), "encoding into memory cannot fail");
}

fn decode_cold<T: Decode<()>>(kind: Kind, rest: &[u8]) -> Result<T, RecordError> {
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    match bincode::decode_from_slice(rest, config) {
        Ok((record, used)) if used == rest.len() => Ok(record),
        Ok(_) | Err(_) => Err(RecordError::Unreadable { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record<'static>> {
        let origin = Origin {
            source: 1,
            received_at_nanos: -5,
            topic: "a/b".to_owned(),
            payload: vec![0, 255],
            full_len: 2,
        };
        vec![
            Record::Uplink(Uplink {
                source: 3,
                received_at: IngestTime::from_nanos(7),
                topic: "tianlu/v1/河南/s/d/up",
                payload: b"{}",
                full_len: 2,
            }),
            Record::Tick(Tick {
                at_nanos: 9,
                elapsed_ms: 1000,
                sources: vec![SourceState { source: 0, connected: true, caught_up: false }],
            }),
            Record::Started(Started { at_nanos: 1, version: "0.1.0".to_owned() }),
            Record::ConfigActivated(ConfigActivated { at_nanos: 1, hash: "ab".to_owned() }),
            Record::Rejected(Rejected {
                at_nanos: 1,
                points: vec![RejectedPoint {
                    position: 5,
                    index: 1,
                    element: 2,
                    reason: 7,
                    detail: "no".to_owned(),
                    origin: origin.clone(),
                }],
            }),
            Record::Redrive(Redrive {
                at_nanos: 1,
                letter: "x".to_owned(),
                element: Some(3),
                origin,
            }),
        ]
    }

    #[test]
    fn every_kind_reads_back_as_written_and_no_cut_panics() {
        for record in samples() {
            let bytes = record.encode();
            assert_eq!(Record::decode(record.kind().code(), &bytes).as_ref(), Ok(&record));
            for cut in 0..bytes.len() {
                if !matches!(record, Record::Uplink(_)) {
                    assert!(
                        Record::decode(record.kind().code(), &bytes[..cut]).is_err(),
                        "{record:?} cut at {cut}"
                    );
                }
                let _ignored = Record::decode(record.kind().code(), &bytes[..cut]);
            }
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(Record::decode(99, &[1]), Err(RecordError::UnknownKind(99)));
        assert_eq!(Record::decode(2, &[9]), Err(RecordError::UnknownVersion(9)));
    }
}
