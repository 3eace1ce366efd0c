//! Receives, acknowledges at once and drops, over the product's own transport: the floor of a consumer's cost.

use std::time::Instant;

use clap::Args;
use ingest::mqtt::{Address, Consumer, MqttConfig, Protocol};
use ingest::source::{LinkState, SourceId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::usage::{cpu_seconds, resident_bytes};

/// What is consumed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Null {
    /// Port of the broker on this machine.
    #[arg(long)]
    pub(crate) port: u16,
    /// Messages until it ends.
    #[arg(long)]
    pub(crate) count: u64,
    /// Version of MQTT: 3 or 5.
    #[arg(long)]
    pub(crate) protocol: u8,
}

/// What it took; printed as one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// Messages received.
    pub(crate) messages: u64,
    /// From the first message to the last.
    pub(crate) seconds: f64,
    /// CPU time from the first message to the last.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory.
    pub(crate) peak_bytes: u64,
}

/// Printed once every subscription is confirmed.
pub(crate) const READY: &str = "subscribed";

impl Null {
    /// Consumes until the count is reached.
    ///
    /// # Errors
    ///
    /// Where the product does not speak the protocol.
    #[expect(clippy::print_stdout, reason = "tells the parent process that it may load the broker")]
    pub(crate) fn run(&self) -> Result<Dropped, String> {
        let address = Address { host: "127.0.0.1".to_owned(), port: self.port, tls: None };
        let topics = vec!["tianlu/#".to_owned()];
        let mut config = MqttConfig::new(SourceId(0), address, "bench-null".to_owned(), topics);
        config.protocol = if self.protocol == 3 { Protocol::V3 } else { Protocol::V5 };
        let (consumer, mut intake) = Consumer::new(config).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(runtime.block_on(async {
            let (stop, stopped) = watch::channel(false);
            let running = tokio::spawn(consumer.run(stopped));
            intake.link.wait_for(|state| *state == LinkState::Subscribed).await.unwrap();
            println!("{READY}");
            let (mut messages, mut began) = (0u64, None);
            while messages < self.count {
                let Some(batch) = intake.batches.recv().await else { break };
                began.get_or_insert_with(|| (Instant::now(), cpu_seconds(std::process::id())));
                let tokens: Vec<_> = batch.tokens().collect();
                intake.acks.acknowledge(&tokens);
                messages += batch.uplinks().len() as u64;
            }
            let (since, cpu) = began.unwrap();
            let dropped = Dropped {
                messages,
                seconds: since.elapsed().as_secs_f64(),
                cpu_seconds: cpu_seconds(std::process::id()) - cpu,
                peak_bytes: resident_bytes(std::process::id()).1,
            };
            stop.send_replace(true);
            running.await.unwrap();
            dropped
        }))
    }
}
