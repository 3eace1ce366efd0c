//! Cuts messages beyond the packet limit short while they stream in, so that one of them cannot
//! stop a persistent session for good. Pure.
//!
//! The MQTT codec refuses a packet beyond its limit and the connection ends; the broker keeps the
//! message and sends it again, for ever. Here such a PUBLISH is replaced by one with the same topic
//! and packet id, the beginning of the body, and the true length in a user property whose name
//! nobody else knows.

use bytes::{Bytes, BytesMut};
use rumqttc::{Publish, PublishProperties, QoS};

/// How much of the body a stub keeps.
pub(crate) const KEPT: usize = 64 * 1024;
/// Lower bound of the limit: a topic of the greatest length and what stands around it must fit.
const LIMIT_LEAST: u64 = 128 * 1024;
/// One byte of type and at most four of length.
const HEADER_MOST: usize = 5;

/// Follows the packets of one connection.
pub(crate) struct Filter {
    limit: u64,
    mark: String,
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
    /// `limit`: greatest packet that passes, in bytes; `mark`: the name of the property.
    pub(crate) fn new(limit: u64, mark: String) -> Self {
        Self { limit: limit.max(LIMIT_LEAST), mark, state: State::Header(Vec::new()) }
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
                        cut.stub(&self.mark, out);
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
            self.state = State::Cut(Box::new(Cut::new(first, header.body)));
        } else {
            out.extend_from_slice(&held);
            self.state = State::Body(header.body);
            self.end_body();
        }
        rest
    }

    /// Returns the true length of the body, if a publish is a stub of ours.
    pub(crate) fn true_length(mark: &str, publish: &Publish) -> Option<u64> {
        let properties = publish.properties.as_ref()?;
        properties.user_properties.iter().find(|(name, _)| name == mark)?.1.parse().ok()
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
    fn new(first: u8, left: u64) -> Self {
        Self { first, left, front: Vec::new(), skip: None, length: 0, kept: Vec::new() }
    }

    fn take(&self, at_hand: usize) -> usize {
        usize::try_from(self.left).map_or(at_hand, |left| left.min(at_hand))
    }

    fn qos(&self) -> QoS {
        match self.first >> 1 & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
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

    /// Where topic, packet id and property length are all there: the length of the properties.
    fn properties(&self) -> Option<u64> {
        let mut varint = self.front.get(self.id_end()?..)?.iter();
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
        let id = if self.qos() == QoS::AtMostOnce { 0 } else { 2 };
        Some(self.topic_end()? + id)
    }

    fn packet_id(&self) -> Option<u16> {
        let id = self.front.get(self.topic_end()?..self.id_end()?)?;
        id.first_chunk::<2>().map(|id| u16::from_be_bytes(*id))
    }

    fn stub(&mut self, mark: &str, out: &mut BytesMut) {
        let topic = self.topic_end().and_then(|end| self.front.get(2..end)).unwrap_or_default();
        let properties = PublishProperties {
            user_properties: vec![(mark.to_owned(), self.length.to_string())],
            ..PublishProperties::default()
        };
        let publish = Publish {
            dup: self.first & 8 != 0,
            qos: self.qos(),
            retain: self.first & 1 != 0,
            topic: Bytes::copy_from_slice(topic),
            pkid: self.packet_id().unwrap_or_default(),
            payload: std::mem::take(&mut self.kept).into(),
            properties: Some(properties),
        };
        if let Err(error) = publish.write(out) {
            // Not even the topic was sound; the broker that let it pass keeps it.
            tracing::warn!(%error, "an oversized message could not be cut short");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(
        topic: &str,
        pkid: u16,
        len: usize,
        properties: Option<PublishProperties>,
    ) -> BytesMut {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, vec![b'x'; len], properties);
        publish.pkid = pkid;
        let mut out = BytesMut::new();
        publish.write(&mut out).unwrap();
        out
    }

    /// What a client reads of `stream` when it comes in pieces of these sizes, over and over.
    fn read(stream: &[u8], sizes: &[usize]) -> Vec<rumqttc::Packet> {
        let mut filter = Filter::new(LIMIT_LEAST, "mark".to_owned());
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
            packets.push(rumqttc::Packet::read(&mut out, Some(1 << 20)).unwrap());
        }
        packets
    }

    fn summary(packets: Vec<rumqttc::Packet>) -> Vec<(u16, usize, Option<u64>)> {
        packets
            .into_iter()
            .map(|packet| {
                let rumqttc::Packet::Publish(p) = packet else { panic!("{packet:?}") };
                assert_eq!(p.topic, "a/b");
                (p.pkid, p.payload.len(), Filter::true_length("mark", &p))
            })
            .collect()
    }

    #[test]
    fn only_what_is_too_long_is_cut_and_its_length_kept() {
        let long = PublishProperties {
            user_properties: vec![("k".to_owned(), "v".repeat(60_000)); 3],
            ..PublishProperties::default()
        };
        let stream = [
            publish("a/b", 1, 100, None),
            publish("a/b", 2, 200_000, None),
            publish("a/b", 3, 0, None),
            publish("a/b", 4, 10, Some(long)),
            publish("a/b", 5, 131_060, None),
            publish("a/b", 6, 131_061, None),
        ]
        .concat();
        let expected = [
            (1, 100, None),
            (2, KEPT, Some(200_000)),
            (3, 0, None),
            (4, 10, Some(10)),
            (5, 131_060, None),
            (6, KEPT, Some(131_061)),
        ];
        for sizes in [&[usize::MAX][..], &[1], &[8192], &[3, 1, 70_000]] {
            assert_eq!(summary(read(&stream, sizes)), expected, "pieces of {sizes:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_client_reads_the_same_packets_however_the_stream_is_cut(
            lengths in prop::collection::vec(prop_oneof![0..300usize, 130_000..140_000usize], 1..6),
            sizes in prop::collection::vec(1..40_000usize, 1..8),
        ) {
            let stream = lengths.iter().zip(1..).map(|(len, id)| publish("a/b", id, *len, None)).collect::<Vec<_>>().concat();
            let whole = summary(read(&stream, &[usize::MAX]));
            prop_assert_eq!(whole.len(), lengths.len());
            prop_assert_eq!(summary(read(&stream, &sizes)), whole);
        }
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1..50usize) {
            let mut filter = Filter::new(LIMIT_LEAST, "mark".to_owned());
            let mut out = BytesMut::new();
            for chunk in bytes.chunks(size) {
                let passed = filter.pass(chunk);
                prop_assert!(passed <= chunk.len());
                filter.rewrite(&chunk[passed..], &mut out);
            }
        }
    }
}
