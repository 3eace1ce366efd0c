//! The transport over a stream in memory, with paused time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::{AsyncClient, MqttOptions, Publish, QoS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::link::{Arrived, Receipt, Sender, puback};
use super::nap::Nap;
use super::outlet::Outlet;
use super::oversize::{Filter, KEPT, Stubs};
use super::wire::Wire;
use crate::source::{AckToken, Acknowledge};

const LIMIT: u64 = 128 * 1024;

fn open(window: usize) -> (Wire<Nap<DuplexStream>>, DuplexStream, Arc<Outlet>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let outlet = Arc::new(Outlet::new(window));
    let client = AsyncClient::builder(MqttOptions::new("test", "nowhere")).build().0;
    outlet.open(Sender::V5(client));
    let nap = Nap::new(near, outlet.clone(), Duration::from_millis(2));
    (Wire::new(nap, outlet.clone(), Filter::new(LIMIT, stubs(), true)), far, outlet)
}

fn stubs() -> Stubs {
    Stubs::new(b"mark".to_vec())
}

fn publish(pkid: u16, len: usize) -> Publish {
    let mut publish = Publish::new("t", QoS::AtLeastOnce, vec![0; len], None);
    publish.pkid = pkid;
    publish
}

fn encoded(publishes: impl IntoIterator<Item = Publish>) -> BytesMut {
    let mut out = BytesMut::new();
    for publish in publishes {
        publish.write(&mut out).unwrap();
    }
    out
}

fn enter(outlet: &Outlet, ids: impl IntoIterator<Item = u16>) -> Vec<AckToken> {
    let message = |id| Arrived {
        topic: Bytes::new(),
        payload: Bytes::new(),
        receipt: Receipt::AtLeastOnce(id),
    };
    let (arrived, mut tokens): (Vec<_>, _) = (ids.into_iter().map(message).collect(), Vec::new());
    outlet.enter(&arrived, &mut tokens);
    tokens.into_iter().flatten().collect()
}

fn pubacks(ids: impl IntoIterator<Item = u16>) -> Vec<u8> {
    ids.into_iter().flat_map(puback).collect()
}

#[test]
fn a_puback_is_the_one_of_both_protocols() {
    let (mut five, mut three) = (BytesMut::new(), BytesMut::new());
    rumqttc::PubAck::new(0x1234, None).write(&mut five).unwrap();
    rumqttc_v4::PubAck::new(0x1234).write(&mut three).unwrap();
    assert_eq!((&five[..], &three[..]), (&puback(0x1234)[..], &puback(0x1234)[..]));
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_handed_in_together_are_written_together_though_nothing_comes_in() {
    let (mut wire, mut far, outlet) = open(1000);
    let tokens = enter(&outlet, 1..=300);
    let mut buf = [0; 4096];
    let reading = tokio::spawn(async move { wire.read(&mut [0; 8]).await });
    tokio::task::yield_now().await;
    outlet.acknowledge(&tokens);
    let got = far.read(&mut buf).await.unwrap();
    assert_eq!(&buf[..got], pubacks(1..=300), "one write");
    assert_eq!(outlet.unacked(), 0);
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_settled_before_a_packet_of_the_client_go_out_before_it() {
    let (mut wire, mut far, outlet) = open(1000);
    outlet.acknowledge(&enter(&outlet, [7, 8]));
    let disconnect = [0xe0, 0];
    wire.write_all(&disconnect).await.unwrap();
    wire.flush().await.unwrap();
    let mut buf = [0; 64];
    let got = far.read(&mut buf).await.unwrap();
    assert_eq!(&buf[..got], [pubacks([7, 8]), disconnect.to_vec()].concat());
}

#[tokio::test(start_paused = true)]
async fn a_shut_gate_stops_reading_but_not_acknowledging() {
    let (mut wire, mut far, outlet) = open(1000);
    far.write_all(&encoded([publish(1, 10)])).await.unwrap();
    outlet.shut(true);
    let tokens = enter(&outlet, [5]);
    let reading = tokio::spawn(async move {
        let mut buf = [0; 64];
        wire.read(&mut buf).await.unwrap()
    });
    tokio::task::yield_now().await;
    outlet.acknowledge(&tokens);
    let mut buf = [0; 16];
    assert_eq!(far.read(&mut buf).await.unwrap(), 4);
    assert!(!reading.is_finished());
    outlet.shut(false);
    assert_eq!(reading.await.unwrap(), encoded([publish(1, 10)]).len());
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_limit_reaches_the_client_cut_short() {
    let (mut wire, mut far, _outlet) = open(1000);
    let stream = encoded([publish(1, 5), publish(2, 400_000), publish(3, 5)]);
    far.write_all(&stream).await.unwrap();
    drop(far);
    let mut read = Vec::new();
    wire.read_to_end(&mut read).await.unwrap();
    let mut read = BytesMut::from(&read[..]);
    let mut got = Vec::new();
    while !read.is_empty() {
        let rumqttc::Packet::Publish(publish) = rumqttc::Packet::read(&mut read, None).unwrap()
        else {
            panic!()
        };
        let mut payload = publish.payload;
        let length = stubs().true_length(&mut payload);
        got.push((publish.pkid, payload.len(), length));
    }
    assert_eq!(got, [(1, 5, None), (2, KEPT, Some(400_000)), (3, 5, None)]);
}

/// Scenario: the broker has a window of 20 that MQTT does not tell us; each message is acknowledged as
/// soon as it is read. Guarantees: after a few pauses that tell, none holds such a broker up.
#[tokio::test(start_paused = true)]
async fn a_broker_that_waits_for_acknowledgements_is_not_kept_waiting() {
    const ROUNDS: u16 = 3000;
    let (mut wire, mut far, outlet) = open(1000);
    let broker = tokio::spawn(async move {
        for round in 0..ROUNDS {
            let first = round % 100 * 20 + 1;
            far.write_all(&encoded((first..first + 20).map(|id| publish(id, 100)))).await.unwrap();
            let mut acks = [0; 80];
            far.read_exact(&mut acks).await.unwrap();
        }
    });
    let began = Instant::now();
    let mut buf = vec![0; 1 << 16];
    loop {
        let got = wire.read(&mut buf).await.unwrap();
        if got == 0 {
            break;
        }
        let tokens = enter(&outlet, 1..=20);
        outlet.acknowledge(&tokens);
    }
    broker.await.unwrap();
    assert!(outlet.pauses() < 16, "{} pauses in {ROUNDS} rounds", outlet.pauses());
    assert!(began.elapsed() <= Duration::from_millis(32), "{:?}", began.elapsed());
}

/// Scenario: far more is at hand than may be held at a stretch. Guarantees: the reader is made to
/// wait in between, so that it hands over, and still gets everything.
#[tokio::test(start_paused = true)]
async fn reading_is_interrupted_after_every_four_mebibytes() {
    const WHOLE: usize = 9 << 20;
    let (near, mut far) = tokio::io::duplex(16 << 20);
    let outlet = Arc::new(Outlet::new(1000));
    let mut wire = Wire::new(near, outlet, Filter::new(16 << 20, stubs(), true));
    let stream = encoded([publish(1, WHOLE)]);
    far.write_all(&stream).await.unwrap();
    let mut buf = vec![0; 1 << 16];
    let (mut got, mut run, mut longest) = (0, 0, 0);
    while got < stream.len() {
        let mut into = tokio::io::ReadBuf::new(&mut buf);
        let polled =
            std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut wire).poll_read(cx, &mut into)));
        if polled.await.is_pending() {
            run = 0;
            tokio::task::yield_now().await;
        }
        got += into.filled().len();
        run += into.filled().len();
        longest = longest.max(run);
    }
    assert!(longest <= (4 << 20) + (1 << 16), "{longest}");
}
