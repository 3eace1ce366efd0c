//! A broker that enforces its in-flight windows (tests/services/windowbroker).

use std::process::Command;

use tempfile::TempDir;

use crate::mosquitto::until_mqtt;
use crate::place::{free_port, program};
use crate::process::Process;

/// A running broker with a window.
#[derive(Debug)]
pub struct WindowBroker {
    _process: Process,
    _dir: TempDir,
    port: u16,
}

impl WindowBroker {
    /// Starts one that keeps at most `inflight` messages on the way to one client; `None`: it is not built.
    #[must_use]
    pub fn start(inflight: u16) -> Option<Self> {
        let file = program("windowbroker", "TIANLU_WINDOWBROKER")?;
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let mut command = Command::new(file);
        command.args(["--port", &port.to_string(), "--inflight", &inflight.to_string()]);
        let process = Process::spawn("windowbroker", command, &dir.path().join("log"));
        let broker = Self { _process: process, _dir: dir, port };
        until_mqtt(&broker.address());
        Some(broker)
    }

    /// Returns `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns `mqtt://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }
}
