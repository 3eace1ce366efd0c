//! Any bytes, cut anywhere: no panic, bounded, and the same outcome.

use std::time::Instant;

use proptest::prelude::*;
use rmqtt_codec::{v3, v5};

use super::super::drive::drive;
use super::rig::{connect3, connect5, five, publish3, publish5, three};

/// Bytes of packets, some of them damaged, or of nothing at all.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let packet = |is_v5: bool| {
        let publish = ("[a-c/+#]{0,6}", 0u8..3, 1u16..6, any::<bool>()).prop_map(
            move |(topic, qos, id, dup)| {
                let id = if qos == 0 { 0 } else { id };
                let mut bytes =
                    if is_v5 { publish5(&topic, qos, id) } else { publish3(&topic, qos, id) };
                if dup {
                    bytes[0] |= 8;
                }
                bytes
            },
        );
        let small = prop_oneof![
            Just(vec![0xC0, 0]),
            Just(vec![0xE0, 0]),
            (1u8..6).prop_map(|id| vec![0x62, 2, 0, id]),
            (1u8..6).prop_map(|id| vec![0x40, 2, 0, id]),
            prop::collection::vec(any::<u8>(), 0..12),
        ];
        prop_oneof![6 => publish, 2 => small]
    };
    let of = move |is_v5: bool| {
        let connect = if is_v5 { five(connect5("c").into()) } else { three(connect3("c").into()) };
        prop::collection::vec(packet(is_v5), 0..40)
            .prop_map(move |packets| [connect.clone(), packets.concat()].concat())
    };
    prop_oneof![4 => of(true), 4 => of(false), 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn the_outcome_is_the_same_wherever_the_bytes_are_cut(
        mut bytes in stream(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        if let Some((at, byte)) = damage.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let now = Instant::now();
        let whole = drive([&bytes[..]], now);
        let mut rest = &bytes[..];
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (chunk, tail) = rest.split_at(rest.len().min(*cut));
            chunks.push(chunk);
            rest = tail;
        }
        let cut = drive(chunks, now);
        prop_assert!(whole.answers_most <= 64 << 10);
        prop_assert_eq!(&whole.answers, &cut.answers);
        prop_assert_eq!(&whole.records, &cut.records);
        prop_assert_eq!(whole.end, cut.end);
    }
}

/// A client of each version, to show that the property sees open connections and not only refusals.
#[test]
fn the_driver_lets_clients_in() {
    let publish = [publish5("a", 1, 1), publish5("a", 2, 2)].concat();
    let driven = drive([&[five(connect5("c").into()), publish].concat()[..]], Instant::now());
    assert_eq!((driven.records.len(), driven.end), (2, None));
    assert!(driven.answers.ends_with(&[0x40, 2, 0, 1, 0x50, 2, 0, 2]));
    let goodbye = three(v3::Packet::Disconnect);
    let driven = drive([&[three(connect3("c").into()), goodbye].concat()[..]], Instant::now());
    assert_eq!(driven.end, Some("goodbye"));
    let pings = five(v5::Packet::PingRequest).repeat(100_000);
    let driven = drive([&[five(connect5("c").into()), pings].concat()[..]], Instant::now());
    assert!(driven.answers_most <= (64 << 10) + 64 && driven.answers.len() > 200_000);
}
