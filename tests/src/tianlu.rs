//! The binary under test: as a service, and as a command that ends.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::balance::Balance;
use crate::http::{self, Message};
use crate::influx::At;
use crate::letters;
use crate::place::workspace;
use crate::process::Process;
use crate::wait::until;
use crate::work::Work;

/// How long a start with recovery may take on a busy machine.
const START: Duration = Duration::from_secs(60);
/// What the contract gives a drain (10 s), and a little for a busy machine.
const DRAIN: Duration = Duration::from_secs(15);
/// How long a command may take.
const COMMAND: Duration = Duration::from_mins(5);

/// Returns the binary: `TIANLU_BIN`, else built once in this process, with the profile and target folder of the
/// running test.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = env::var_os("TIANLU_BIN") {
            return given.into();
        }
        let own = env::current_exe().unwrap();
        let folder = own.parent().expect("a program lies in a folder");
        // A test lies in target/profile/deps, a program of the workspace in target/profile.
        let is_test = folder.file_name().is_some_and(|name| name == "deps");
        let profile_dir =
            if is_test { folder.parent().expect("target/profile/deps") } else { folder };
        let profile = match profile_dir.file_name().and_then(OsStr::to_str).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "tianlu", "--locked", "--profile", profile]);
        build.arg("--manifest-path").arg(workspace().join("Cargo.toml"));
        build.arg("--target-dir").arg(profile_dir.parent().unwrap());
        assert!(build.status().unwrap().success(), "could not build the binary: {build:?}");
        profile_dir.join("tianlu")
    })
}

/// Returns the binary as a command in `dir`, in English whatever the machine speaks.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .current_dir(dir)
        .env("LANG", "en_US.UTF-8")
        .env_remove("LC_ALL")
        .env_remove("LC_MESSAGES");
    command
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `tianlu` with `args` in `dir` until it ends.
pub fn run<A: AsRef<OsStr>>(dir: &Path, args: &[A]) -> Ran {
    run_with(dir, args, &[])
}

/// Runs `tianlu` with `args` and more environment in `dir` until it ends.
pub fn run_with<A: AsRef<OsStr>>(dir: &Path, args: &[A], environment: &[(&str, &str)]) -> Ran {
    let prints = TempDir::new().unwrap();
    let (out, err) = (prints.path().join("out"), prints.path().join("err"));
    let mut command = command(dir);
    command.args(args).envs(environment.iter().copied()).stdin(Stdio::null());
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let shown = format!("{command:?}");
    let mut child = command.spawn().unwrap();
    let deadline = std::time::Instant::now() + COMMAND;
    let status = until(&format!("{shown} to end"), COMMAND + Duration::from_secs(1), || {
        if std::time::Instant::now() > deadline {
            child.kill().unwrap();
        }
        child.try_wait().unwrap()
    });
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    Ran { code: status.code().unwrap_or(-1), stdout: read(&out), stderr: read(&err) }
}

impl Ran {
    /// Fails unless the command ended with `code`, and shows what it printed.
    #[must_use]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// A running service.
#[derive(Debug)]
pub struct Tianlu {
    process: Process,
    base: String,
}

impl Tianlu {
    /// Starts `tianlu run` in a working directory, without waiting for it.
    #[must_use]
    pub fn start(work: &Work) -> Self {
        Self::start_with(work, &[])
    }

    /// Starts `tianlu run` with more environment, without waiting for it.
    #[must_use]
    pub fn start_with(work: &Work, environment: &[(&str, &str)]) -> Self {
        let mut command = command(work.dir());
        command.args(["run", "--config", "tianlu.toml"]).envs(environment.iter().copied());
        let process = Process::spawn("tianlu", command, &work.path("tianlu.log"));
        Self { process, base: work.base() }
    }

    /// Starts `tianlu run` and waits until it is ready.
    #[must_use]
    pub fn ready(work: &Work) -> Self {
        let mut service = Self::start(work);
        service.wait_ready(START);
        service
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_ready(&mut self, within: Duration) {
        let mut last = String::from("no answer");
        let url = format!("{}/readyz", self.base);
        let what = format!("{url} to answer 200");
        until(&what, within, || {
            self.assert_alive();
            let answer = http::get(&url).ok()?;
            if answer.text() != last {
                last = answer.text();
            }
            (answer.status() == 200).then_some(())
        });
    }

    /// Waits until `/readyz` answers 503 with this part among its reasons, and returns the reason.
    pub fn wait_not_ready(&mut self, part: &str, within: Duration) -> Value {
        let what = format!("/readyz to name `{part}`");
        until(&what, within, || {
            self.assert_alive();
            let answer = self.try_get("/readyz").filter(|answer| answer.status() == 503)?;
            let answer = answer.json();
            answer["reasons"].as_array()?.iter().find(|reason| reason["part"] == part).cloned()
        })
    }

    /// Returns its process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns whether `/readyz` answers 200.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.try_get("/readyz").is_some_and(|answer| answer.status() == 200)
    }

    /// Returns what it has printed, where it ended by itself.
    pub fn ended(&mut self) -> Option<String> {
        self.process.exited().map(|_| self.process.log())
    }

    fn assert_alive(&mut self) {
        if let Some(status) = self.process.exited() {
            panic!("tianlu ended by itself: {status}");
        }
    }

    /// Returns `http://127.0.0.1:port`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Fetches a path; `None`: nobody answers.
    #[must_use]
    pub fn try_get(&self, path: &str) -> Option<Message> {
        http::get(&format!("{}{path}", self.base)).ok()
    }

    /// Fetches a path that must answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Message {
        self.try_get(path).unwrap_or_else(|| panic!("no answer from {path}"))
    }

    /// Waits until `received` uplinks were received and nothing is held, and returns the balance.
    pub fn settle(&mut self, received: u64, within: Duration) -> Balance {
        let has_all = |balance: &Balance| balance.uplinks.received >= received;
        let balance = self
            .try_settle(has_all, within)
            .unwrap_or_else(|vain| panic!("{received} uplinks to settle: {vain}"));
        assert_eq!(balance.wrong(), None);
        balance
    }

    /// Waits until nothing is held of a balance that has all.
    ///
    /// # Errors
    ///
    /// What was waited for in vain, and the last balance.
    pub fn try_settle(
        &mut self,
        has_all: impl Fn(&Balance) -> bool,
        within: Duration,
    ) -> Result<Balance, String> {
        let mut last = None;
        let deadline = std::time::Instant::now() + within;
        loop {
            self.assert_alive();
            if let Some(balance) = Balance::fetch(&self.base) {
                if has_all(&balance) && balance.is_settled() {
                    return Ok(balance);
                }
                last = Some(balance);
            }
            if std::time::Instant::now() > deadline {
                return Err(format!("waited {within:?} in vain; last {last:?}"));
            }
            crate::wait::pass(Duration::from_millis(20));
        }
    }

    /// Returns the alerts of a state (`firing`), or all that are kept where it is empty.
    #[must_use]
    pub fn alerts(&self, state: &str) -> Vec<Value> {
        let query = if state.is_empty() { String::new() } else { format!("?state={state}") };
        letters::list(&self.get(&format!("/api/v1/alerts{query}")).text())
    }

    /// Returns the dead letters that are open.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<Value> {
        letters::list(&self.get("/api/v1/deadletters").text())
    }

    /// Returns all stored values of one property of a device, by the service's own word.
    #[must_use]
    pub fn history(&self, device: &str, property: &str) -> Vec<(At, Value)> {
        let span = "from=1970-01-01T00:00:00Z&to=2200-01-01T00:00:00Z";
        let path = format!("/api/v1/range?tenant=t1&device={device}&property={property}&{span}");
        let answer = self.get(&path);
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        let point = |point: &Value| {
            let at: jiff::Timestamp = point[0].as_str().unwrap().parse().unwrap();
            let nanos = i64::try_from(at.as_nanosecond()).unwrap();
            ((device.to_owned(), nanos), point[1].clone())
        };
        answer.json()["points"].as_array().unwrap().iter().map(point).collect()
    }

    /// Returns one number of `/metrics`, by the name of its series; 0 where it is not there.
    #[must_use]
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Returns what it has printed, of all runs in its working directory.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// Asks it to read its configuration again.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Sends SIGTERM and does not wait for the end.
    pub fn ask_to_end(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Sends SIGTERM and waits for the end.
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        self.process.stop(DRAIN)
    }

    /// Sends SIGKILL and returns how it ended: it may have done so before.
    pub fn kill9(mut self) -> ExitStatus {
        self.process.kill9()
    }
}
