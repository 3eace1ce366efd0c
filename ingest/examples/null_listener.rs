//! Receives over the listener, acknowledges at once and drops: what taking in a message costs by itself.
//!
//! `null_listener COUNT [CONNECTIONS] [WINDOW] [INTERVAL_MS]` starts a listener on a free port, publishes `COUNT`
//! messages of 150 bytes by QoS 1 over MQTT 3.1.1 from this process, and prints messages per second and CPU seconds per
//! million: of the listener's thread alone, and of the process with its generator. `INTERVAL_MS`: least time between
//! two acknowledgements, as the journal's commits have.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for measuring, not part of the product"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ingest::listener::{Listener, ListenerConfig};
use ingest::source::{LinkState, SourceId};
use rmqtt_codec::types::{Protocol, Publish, QoS};
use rmqtt_codec::v3;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::codec::Encoder;

/// CPU time so far of the threads of this process whose name begins so, in seconds.
fn cpu_seconds(name: &str) -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let of_thread = |stat: String| -> Option<f64> {
        let (head, fields) = stat.rsplit_once(')')?;
        let is_meant = head.split_once('(')?.1.starts_with(name);
        let ticks = |place| fields.split_whitespace().nth(place)?.parse::<f64>().ok();
        is_meant.then_some((ticks(11)? + ticks(12)?) / 100.0)
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
        .filter_map(of_thread)
        .sum()
}

fn packet(packet: v3::Packet) -> Vec<u8> {
    let mut out = BytesMut::new();
    v3::Codec::new(0).encode(packet, &mut out).expect("a packet");
    out.to_vec()
}

/// Keeps `window` messages in flight until `count` are acknowledged.
async fn publisher(address: SocketAddr, number: u32, count: u32, window: u32) {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.set_nodelay(true).expect("a socket");
    let client_id = format!("null-{number}").into();
    let connect =
        v3::Connect { protocol: Protocol(4), clean_session: true, client_id, ..Default::default() };
    stream.write_all(&packet(connect.into())).await.expect("send");
    stream.read_exact(&mut [0; 4]).await.expect("CONNACK");
    let (mut sent, mut acked, mut got) = (0, 0, 0);
    let mut buffer = vec![0; 64 << 10];
    while acked < count {
        let mut out = Vec::new();
        while sent < count && sent - acked < window {
            let message = Publish {
                dup: false,
                retain: false,
                qos: QoS::AtLeastOnce,
                topic: format!("tianlu/v1/default/s/null-{number}/up").into(),
                packet_id: u16::try_from(sent % 60_000 + 1)
                    .ok()
                    .and_then(std::num::NonZeroU16::new),
                payload: Bytes::from_static(&[b'x'; 150]),
                properties: None,
            };
            out.extend(packet(v3::Packet::Publish(Box::new(message))));
            sent += 1;
        }
        stream.write_all(&out).await.expect("send");
        let read = stream.read(&mut buffer).await.expect("PUBACK");
        assert!(read > 0, "the listener ended the connection");
        got += read;
        acked = u32::try_from(got / 4).expect("a count");
    }
}

fn main() {
    let argument = |place: usize, default: u32| {
        std::env::args().nth(place).map_or(default, |text| text.parse().expect("a number"))
    };
    let (count, connections) = (argument(1, 100_000), argument(2, 3));
    let (window, interval) = (argument(3, 1000), argument(4, 2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("generator")
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let address = "127.0.0.1:0".parse().expect("an address");
        let config = ListenerConfig::new(SourceId(0), address, Vec::new());
        let (listener, mut intake, _commands) = Listener::bind(config).expect("a free port");
        let address = listener.local_addr();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(listener.run(stopped));
        intake.link.wait_for(|state| *state == LinkState::Subscribed).await.expect("it listens");
        let (began, cpu, all) = (Instant::now(), cpu_seconds("listener"), cpu_seconds(""));
        let each = count / connections;
        let publishers: Vec<_> = (0..connections)
            .map(|number| tokio::spawn(publisher(address, number, each, window)))
            .collect();
        let (mut taken, mut batches) = (0, 0u32);
        while taken < each * connections {
            let Some(batch) = intake.batches.recv().await else { break };
            let mut tokens: Vec<_> = batch.tokens().collect();
            tokio::time::sleep(Duration::from_millis(interval.into())).await;
            while let Ok(more) = intake.batches.try_recv() {
                tokens.extend(more.tokens());
                batches += 1;
            }
            intake.acks.acknowledge(&tokens);
            taken += u32::try_from(tokens.len()).expect("a count");
            batches += 1;
        }
        for publisher in publishers {
            publisher.await.expect("every message is acknowledged");
        }
        let (seconds, count) = (began.elapsed().as_secs_f64(), f64::from(taken));
        let (cpu, all) = (cpu_seconds("listener") - cpu, cpu_seconds("") - all);
        println!(
            "{connections} connections, window {window}, {interval} ms: {taken} messages in {batches} batches, {:.0}/s; CPU s per million: listener {:.2}, process with generator {:.2}",
            count / seconds,
            cpu / count * 1e6,
            all / count * 1e6
        );
        stop.send_replace(true);
        running.await.expect("the listener ends in order");
    });
}
