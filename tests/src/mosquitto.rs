//! A real Mosquitto that keeps sessions and messages over a restart.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::mqtt::Connection;
use crate::place::{free_port, program};
use crate::process::Process;
use crate::wait::until;

/// A running (or stopped) Mosquitto.
#[derive(Debug)]
pub struct Mosquitto {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
}

impl Mosquitto {
    /// Starts one and waits until it takes connections; `None`: it is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        program("mosquitto", "TIANLU_MOSQUITTO")?;
        let mut server = Self { process: None, dir: TempDir::new().unwrap(), port: free_port() };
        server.restart();
        Some(server)
    }

    /// Returns the process id while it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("mosquitto runs").pid()
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

    /// Ends it in order, so that it saves its sessions and messages.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("mosquitto runs");
        process.stop(Duration::from_secs(10));
    }

    /// Kills it; what it had acknowledged is lost.
    pub fn kill9(&mut self) {
        self.process.take().expect("mosquitto runs").kill9();
    }

    /// Takes away what it saved, its sessions too; it must be stopped.
    pub fn forget(&self) {
        fs::remove_file(self.dir.path().join("mosquitto.db")).unwrap();
    }

    /// Starts it (again) on the same port with what it saved.
    pub fn restart(&mut self) {
        let folder = self.dir.path();
        let config = folder.join("mosquitto.conf");
        let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence true\n\
             persistence_location {}/\nlog_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\n{user}",
            self.port,
            folder.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program("mosquitto", "TIANLU_MOSQUITTO").unwrap());
        command.arg("-c").arg(&config);
        self.process = Some(Process::spawn("mosquitto", command, &folder.join("log")));
        until_mqtt(&self.address());
    }
}

/// Waits until a broker answers at `address`.
pub(crate) fn until_mqtt(address: &str) {
    let what = format!("a broker at {address}");
    until(&what, Duration::from_secs(10), || Connection::open(address, "proof-ready", true).ok());
}
