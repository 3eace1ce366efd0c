//! Arguments of the commands among the examples: `--name NUMBER` and bare `--name`.

use std::env;
use std::process;

/// What a command was given.
#[derive(Debug)]
pub struct Arguments {
    given: Vec<String>,
    usage: &'static str,
}

impl Arguments {
    /// Takes those of this process; `usage` is what a wrong one is answered with.
    #[must_use]
    pub fn of_this_process(usage: &'static str) -> Self {
        Self { given: env::args().skip(1).collect(), usage }
    }

    /// Takes `--name NUMBER`.
    pub fn number<N: std::str::FromStr>(&mut self, name: &str, default: N) -> N {
        let Some(at) = self.given.iter().position(|given| given == name) else { return default };
        self.given.remove(at);
        let value = if at < self.given.len() { self.given.remove(at).parse().ok() } else { None };
        value.unwrap_or_else(|| self.refuse())
    }

    /// Takes `--name`.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.given.len();
        self.given.retain(|given| given != name);
        self.given.len() < before
    }

    /// Ends the process where something is left that nobody took.
    pub fn end(self) {
        if !self.given.is_empty() {
            self.refuse();
        }
    }

    fn refuse(&self) -> ! {
        eprintln!("Usage: {}", self.usage);
        process::exit(2)
    }
}
