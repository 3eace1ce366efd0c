//! This program again as a child, so that its CPU is counted apart; it answers with one line of JSON.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

/// A running part of the benchmark; killed by its pid where it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this program with `arguments`.
    pub(crate) fn start(arguments: &[String]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Reads one line of what it prints; empty where it has ended.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Waits for its end and reads its answer.
    pub(crate) fn finish<T: DeserializeOwned>(mut self) -> T {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "a part of the benchmark failed: {status}; it printed `{text}`");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not an answer ({e}): {text}"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Writes pairs as arguments: `--name=value`, or `--name` where the value is empty.
pub(crate) fn arguments(command: &str, pairs: &[(&str, String)]) -> Vec<String> {
    let one = |(name, value): &(&str, String)| {
        if value.is_empty() { format!("--{name}") } else { format!("--{name}={value}") }
    };
    let pairs = pairs.iter().map(one);
    std::iter::once(command.to_owned()).chain(pairs).collect()
}
