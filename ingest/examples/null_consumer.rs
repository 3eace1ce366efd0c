//! Receives, acknowledges at once and drops: what taking in a message costs by itself.
//!
//! `null_consumer PORT COUNT [PAUSE_MS] [RECEIVE_MAXIMUM]` consumes `COUNT` messages of
//! `tianlu/v1/+/+/+/up` from a broker on this machine and prints messages per second and CPU seconds
//! per million messages, both from the first message on.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for measuring, not part of the product"
)]

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use ingest::mqtt::{Address, Consumer, MqttConfig};
use ingest::source::SourceId;
use tokio::sync::watch;

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a process has a name");
    let ticks =
        |place| fields.split_whitespace().nth(place).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(11).expect("user time") + ticks(12).expect("system time")) / 100.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let argument = |place: usize, default: u32| {
        std::env::args().nth(place).map_or(default, |text| text.parse().expect("a number"))
    };
    let port = u16::try_from(argument(1, 1883)).expect("a port");
    let (wanted, pause, window) = (argument(2, 100_000), argument(3, 2), argument(4, 1000));
    let address = Address { host: "127.0.0.1".to_owned(), port, tls: None };
    let topics = vec!["tianlu/v1/+/+/+/up".to_owned()];
    let mut config = MqttConfig::new(SourceId(0), address, "null-consumer".to_owned(), topics);
    config.pause = Duration::from_millis(pause.into());
    config.receive_maximum =
        u16::try_from(window).ok().and_then(NonZeroU16::new).expect("a window");

    let (consumer, mut intake) = Consumer::new(config).expect("nothing to read");
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(consumer.run(stopped));
    let (mut got, mut batches, mut began) = (0u32, 0u32, None);
    while got < wanted {
        let Some(batch) = intake.batches.recv().await else { break };
        let _ = began.get_or_insert_with(|| (Instant::now(), cpu_seconds()));
        let tokens: Vec<_> = batch.tokens().collect();
        intake.acks.acknowledge(&tokens);
        got += u32::try_from(batch.uplinks().len()).expect("a batch is small");
        batches += 1;
    }
    if let Some((since, cpu)) = began {
        let (seconds, cpu) = (since.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let count = f64::from(got);
        println!(
            "pause {pause} ms, window {window}: {got} messages in {batches} batches, {:.0}/s, {:.2} CPU s per million",
            count / seconds,
            cpu / count * 1e6
        );
    }
    stop.send_replace(true);
    running.await.expect("the consumer ends in order");
}
