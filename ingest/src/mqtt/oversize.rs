//! Cuts messages beyond the packet limit short while they stream in, so that one of them cannot
//! stop a persistent session for good. Pure.
//!
//! The MQTT codec refuses a packet beyond its limit and the connection ends; the broker keeps the
//! message and sends it again, for ever. Here such a PUBLISH is replaced by one with the same topic
//! and packet id, whose body is a mark that nobody else knows, the true length, and the beginning of
//! the body.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

/// How much of the body a stub keeps.
pub(crate) const KEPT: usize = 64 * 1024;
/// Lower bound of the limit: a topic of the greatest length and what stands around it must fit.
const LIMIT_LEAST: u64 = 128 * 1024;
/// One byte of type and at most four of length.
const HEADER_MOST: usize = 5;

/// Tells the bodies that a [`Filter`] made from those that came whole.
#[derive(Debug, Clone)]
pub(crate) struct Stubs {
    mark: Arc<[u8]>,
}

impl Stubs {
    /// `mark`: what no sender can know.
    pub(crate) fn new(mark: Vec<u8>) -> Self {
        Self { mark: mark.into() }
    }

    /// Takes mark and length off a body that was cut short, and returns its true length; other
    /// bodies stay as they are.
    pub(crate) fn true_length(&self, payload: &mut Bytes) -> Option<u64> {
        let length = payload.strip_prefix(&*self.mark)?.first_chunk::<8>()?;
        let length = u64::from_be_bytes(*length);
        payload.advance(self.mark.len() + 8);
        Some(length)
    }
}

/// Follows the packets of one connection.
pub(crate) struct Filter {
    limit: u64,
    stubs: Stubs,
    /// MQTT 5 has properties in front of the body.
    has_properties: bool,
    state: State,
}

enum State {
    /// Between packets, or in a fixed header that came in two pieces.
    Header(Vec<u8>),
    /// In a packet that passes; so many bytes are to come.
    Body(u64),
    /// In a packet that is cut short.
    Cut(Box<Cut>),
}

/// A fixed header: its length, and that of what follows it.
struct Header {
    len: usize,
    body: u64,
}

/// Reads a fixed header; `None` when it is not complete. A length of more than four bytes is passed
/// on as it is: the codec refuses it.
fn header(bytes: impl Iterator<Item = u8>) -> Option<Header> {
    let (mut body, mut shift) = (0u64, 0u32);
    for (place, byte) in bytes.enumerate().skip(1).take(HEADER_MOST) {
        body |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || place + 1 == HEADER_MOST {
            return Some(Header { len: place + 1, body });
        }
    }
    None
}

impl Filter {
    /// `limit`: greatest packet that passes, in bytes.
    pub(crate) fn new(limit: u64, stubs: Stubs, has_properties: bool) -> Self {
        let limit = limit.max(LIMIT_LEAST);
        Self { limit, stubs, has_properties, state: State::Header(Vec::new()) }
    }

    fn is_cut(&self, first: u8, header: &Header) -> bool {
        let len = u64::try_from(header.len).unwrap_or(u64::MAX);
        first >> 4 == 3 && header.body.saturating_add(len) > self.limit
    }

    /// Returns how many bytes at the front of `chunk` pass as they are. The rest goes to [`Filter::rewrite`].
    pub(crate) fn pass(&mut self, chunk: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(rest) = chunk.get(passed..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Body(left) => passed += advance(left, rest.len()),
                State::Header(held) if held.is_empty() => {
                    let Some(header) = header(rest.iter().copied()) else { break };
                    if rest.first().is_some_and(|first| self.is_cut(*first, &header)) {
                        break;
                    }
                    if rest.len() < header.len {
                        break;
                    }
                    passed += header.len;
                    self.state = State::Body(header.body);
                }
                State::Header(_) | State::Cut(_) => break,
            }
            self.end_body();
        }
        passed
    }

    fn end_body(&mut self) {
        if matches!(self.state, State::Body(0)) {
            self.state = State::Header(Vec::new());
        }
    }

    /// Takes bytes that may not pass as they are and appends what the client is to read in their place.
    pub(crate) fn rewrite(&mut self, mut chunk: &[u8], out: &mut BytesMut) {
        while !chunk.is_empty() {
            chunk = match &mut self.state {
                State::Body(left) => {
                    let (passing, rest) = chunk.split_at(advance(left, chunk.len()));
                    out.extend_from_slice(passing);
                    self.end_body();
                    rest
                }
                State::Header(_) => self.collect_header(chunk, out),
                State::Cut(cut) => {
                    let (piece, rest) = chunk.split_at(cut.take(chunk.len()));
                    cut.feed(piece);
                    if cut.left == 0 {
                        cut.stub(&self.stubs.mark, out);
                        self.state = State::Header(Vec::new());
                    }
                    rest
                }
            };
        }
    }

    fn collect_header<'c>(&mut self, chunk: &'c [u8], out: &mut BytesMut) -> &'c [u8] {
        let State::Header(held) = &mut self.state else { return chunk };
        let Some((byte, rest)) = chunk.split_first() else { return chunk };
        held.push(*byte);
        let Some(header) = header(held.iter().copied()) else { return rest };
        let held = std::mem::take(held);
        let first = held.first().copied().unwrap_or_default();
        if self.is_cut(first, &header) {
            self.state = State::Cut(Box::new(Cut::new(first, header.body, self.has_properties)));
        } else {
            out.extend_from_slice(&held);
            self.state = State::Body(header.body);
            self.end_body();
        }
        rest
    }
}

/// Counts down and returns how many of `at_hand` belong to it.
fn advance(left: &mut u64, at_hand: usize) -> usize {
    let taken = usize::try_from(*left).map_or(at_hand, |left| left.min(at_hand));
    *left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
    taken
}

/// A PUBLISH that is being cut short.
struct Cut {
    first: u8,
    has_properties: bool,
    /// Bytes of the packet that have not come yet.
    left: u64,
    /// Topic, packet id and the length of the properties, until all of it is there.
    front: Vec<u8>,
    /// Set once `front` is complete: bytes of properties still to be skipped.
    skip: Option<u64>,
    /// Length of the body, known with `skip`.
    length: u64,
    kept: Vec<u8>,
}

impl Cut {
    fn new(first: u8, left: u64, has_properties: bool) -> Self {
        let (front, kept) = (Vec::new(), Vec::new());
        Self { first, has_properties, left, front, skip: None, length: 0, kept }
    }

    fn take(&self, at_hand: usize) -> usize {
        usize::try_from(self.left).map_or(at_hand, |left| left.min(at_hand))
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut bytes = piece;
        while self.skip.is_none()
            && let Some((byte, rest)) = bytes.split_first()
        {
            self.front.push(*byte);
            self.left = self.left.saturating_sub(1);
            bytes = rest;
            if let Some(properties) = self.properties() {
                self.skip = Some(properties);
                self.length = self.left.saturating_sub(properties);
            }
        }
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(len);
        let Some(skip) = self.skip.as_mut() else { return };
        let body = bytes.get(advance(skip, bytes.len())..).unwrap_or_default();
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(body.get(..room).unwrap_or(body));
    }

    /// Where topic, packet id and, in MQTT 5, property length are all there: the length of the properties.
    fn properties(&self) -> Option<u64> {
        let mut varint = self.front.get(self.id_end()?..)?.iter();
        if !self.has_properties {
            return Some(0);
        }
        let (mut length, mut shift) = (0u64, 0u32);
        loop {
            let byte = varint.next()?;
            length |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            // A length of more than four bytes is malformed; the stub then ends here.
            if byte & 0x80 == 0 || shift >= 28 {
                return Some(length);
            }
        }
    }

    fn topic_end(&self) -> Option<usize> {
        let [high, low] = self.front.first_chunk::<2>()?;
        Some(2 + usize::from(u16::from_be_bytes([*high, *low])))
    }

    fn id_end(&self) -> Option<usize> {
        let id = if self.asks_for_receipt() { 2 } else { 0 };
        Some(self.topic_end()? + id)
    }

    fn asks_for_receipt(&self) -> bool {
        self.first & 0b110 != 0
    }

    /// Returns topic and packet id as they came, if the client's codec would take them.
    fn sound_front(&self) -> Option<&[u8]> {
        let (topic_end, id_end) = (self.topic_end()?, self.id_end()?);
        let topic = self.front.get(2..topic_end)?;
        let id = self.front.get(topic_end..id_end)?;
        let is_sound = std::str::from_utf8(topic).is_ok()
            && (id.is_empty() || id.iter().any(|byte| *byte != 0));
        if is_sound { self.front.get(..id_end) } else { None }
    }

    fn stub(&self, mark: &[u8], out: &mut BytesMut) {
        let Some(front) = self.sound_front() else {
            // Not even the topic was sound; the broker that let it pass keeps it.
            tracing::warn!("an oversized message could not be cut short");
            return;
        };
        let properties: &[u8] = if self.has_properties { &[0] } else { &[] };
        let length = self.length.to_be_bytes();
        let parts = [front, properties, mark, &length, &self.kept];
        out.extend_from_slice(&[self.first]);
        put_varint(out, parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
    }
}

/// Writes a remaining length.
fn put_varint(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        out.extend_from_slice(&[if value > 0 { low | 0x80 } else { low }]);
        if value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rumqttc::{Publish, PublishProperties, QoS};

    fn v5(pkid: u16, len: usize, properties: Option<PublishProperties>) -> BytesMut {
        let mut publish = Publish::new("a/b", QoS::AtLeastOnce, vec![b'x'; len], properties);
        publish.pkid = pkid;
        let mut out = BytesMut::new();
        publish.write(&mut out).unwrap();
        out
    }

    fn v3(pkid: u16, len: usize) -> BytesMut {
        let qos = QoS::AtLeastOnce;
        let mut publish = rumqttc_v4::Publish::new("a/b", qos, vec![b'x'; len]);
        publish.pkid = pkid;
        let mut out = BytesMut::new();
        publish.write(&mut out).unwrap();
        out
    }

    fn stubs() -> Stubs {
        Stubs::new(b"mark".to_vec())
    }

    /// What a client of MQTT 5 or 3.1.1 reads of `stream` when it comes in pieces of these sizes,
    /// over and over: packet ids, lengths of the bodies, true lengths.
    fn read(is_v5: bool, stream: &[u8], sizes: &[usize]) -> Vec<(u16, usize, Option<u64>)> {
        let mut filter = Filter::new(LIMIT_LEAST, stubs(), is_v5);
        let (mut rest, mut out, mut sizes) = (stream, BytesMut::new(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            let passed = filter.pass(chunk);
            out.extend_from_slice(&chunk[..passed]);
            filter.rewrite(&chunk[passed..], &mut out);
            rest = later;
        }
        let mut packets = Vec::new();
        while !out.is_empty() {
            let (topic, pkid, mut payload) = if is_v5 {
                let packet = rumqttc::Packet::read(&mut out, Some(1 << 20)).unwrap();
                let rumqttc::Packet::Publish(p) = packet else { panic!("{packet:?}") };
                (p.topic, p.pkid, p.payload)
            } else {
                let packet = rumqttc_v4::Packet::read(&mut out, 1 << 20).unwrap();
                let rumqttc_v4::Packet::Publish(p) = packet else { panic!("{packet:?}") };
                (p.topic, p.pkid, p.payload)
            };
            assert_eq!(topic, "a/b");
            let length = stubs().true_length(&mut payload);
            assert!(payload.iter().all(|byte| *byte == b'x'), "packet {pkid}");
            packets.push((pkid, payload.len(), length));
        }
        packets
    }

    #[test]
    fn only_what_is_too_long_is_cut_and_its_length_kept() {
        let long = PublishProperties {
            user_properties: vec![("k".to_owned(), "v".repeat(60_000)); 3],
            ..PublishProperties::default()
        };
        let stream = [
            v5(1, 100, None),
            v5(2, 200_000, None),
            v5(3, 0, None),
            v5(4, 10, Some(long)),
            v5(5, 131_060, None),
            v5(6, 131_061, None),
        ]
        .concat();
        let older = [v3(1, 100), v3(2, 200_000), v3(3, 0), v3(5, 131_061), v3(6, 131_062)].concat();
        let mut expected = vec![
            (1, 100, None),
            (2, KEPT, Some(200_000)),
            (3, 0, None),
            (4, 10, Some(10)),
            (5, 131_060, None),
            (6, KEPT, Some(131_061)),
        ];
        for sizes in [&[usize::MAX][..], &[1], &[8192], &[3, 1, 70_000]] {
            assert_eq!(read(true, &stream, sizes), expected, "pieces of {sizes:?}");
        }
        expected.remove(3);
        (expected[3].1, expected[4].2) = (131_061, Some(131_062));
        for sizes in [&[usize::MAX][..], &[1], &[8192], &[3, 1, 70_000]] {
            assert_eq!(read(false, &older, sizes), expected, "3.1.1, pieces of {sizes:?}");
        }
    }

    #[test]
    fn a_body_that_only_looks_like_a_stub_stays_as_it_is() {
        for body in [&b"mar"[..], b"mark", b"mark1234567", b"", b"nark12345678"] {
            let mut payload = Bytes::copy_from_slice(body);
            assert_eq!(stubs().true_length(&mut payload), None);
            assert_eq!(payload, body);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_client_reads_the_same_packets_however_the_stream_is_cut(
            lengths in prop::collection::vec(prop_oneof![0..300usize, 130_000..140_000usize], 1..6),
            sizes in prop::collection::vec(1..40_000usize, 1..8),
        ) {
            for is_v5 in [true, false] {
                let publish = |(len, id): (&usize, u16)| if is_v5 { v5(id, *len, None) } else { v3(id, *len) };
                let stream = lengths.iter().zip(1..).map(publish).collect::<Vec<_>>().concat();
                let whole = read(is_v5, &stream, &[usize::MAX]);
                prop_assert_eq!(whole.len(), lengths.len());
                prop_assert_eq!(read(is_v5, &stream, &sizes), whole);
            }
        }
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1..50usize, is_v5: bool) {
            let mut filter = Filter::new(LIMIT_LEAST, stubs(), is_v5);
            let mut out = BytesMut::new();
            for chunk in bytes.chunks(size) {
                let passed = filter.pass(chunk);
                prop_assert!(passed <= chunk.len());
                filter.rewrite(&chunk[passed..], &mut out);
            }
        }
    }
}
