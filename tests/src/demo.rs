//! The binary's demo: everything in one process.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::Process;
use crate::tianlu::command;
use crate::wait::until;

/// How long the page may take after the start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// What the contract gives a drain (10 s), and a little for a busy machine.
const DRAIN: Duration = Duration::from_secs(15);

/// A running demo.
#[derive(Debug)]
pub struct Demo {
    process: Process,
    base: String,
}

impl Demo {
    /// Starts a demo in `dir`, which is its temporary folder as well, and waits until its page is told.
    #[must_use]
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = command(dir);
        command.env("TMPDIR", dir).args(["demo", "--http", "127.0.0.1:0"]).args(arguments);
        let number = (0..).find(|number| !dir.join(format!("demo{number}.log")).exists()).unwrap();
        let log = dir.join(format!("demo{number}.log"));
        let mut process = Process::spawn("the demo", command, &log);
        let base = until("the demo to tell the address of its page", START, || {
            assert!(process.exited().is_none(), "the demo ended: {}", process.log());
            let log = process.log();
            let line = log.lines().find(|line| line.contains("http://127.0.0.1:"))?;
            let address = line.split_once("http://")?.1.trim_end_matches('/');
            Some(format!("http://{address}"))
        });
        Self { process, base }
    }

    /// Returns `http://127.0.0.1:port`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the port of its listener.
    #[must_use]
    pub fn listener_port(&self) -> u16 {
        let log = self.process.log();
        let told = until("the address of the listener", START, || {
            let line =
                log.lines().find(|line| line.contains("127.0.0.1:") && line.contains("MQTT"))?;
            line.split_once("127.0.0.1:").map(|(_, rest)| rest.to_owned())
        });
        let digits: String = told.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    /// Returns the lines of alerts told so far: each begins with the alert's time.
    #[must_use]
    pub fn alert_lines(&self) -> Vec<String> {
        let log = self.process.log();
        let is_alert = |line: &&str| line.starts_with("20") && line.ends_with(']');
        log.lines().filter(is_alert).map(str::to_owned).collect()
    }

    /// Presses Ctrl-C and waits for the end; what was not told yet is told on the way.
    #[must_use]
    pub fn interrupt(&mut self) -> ExitStatus {
        self.process.signal(Signal::INT);
        until("the demo to end after Ctrl-C", DRAIN, || self.process.exited())
    }

    /// Sends SIGKILL.
    pub fn kill9(mut self) {
        self.process.kill9();
    }
}
