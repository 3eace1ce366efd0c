//! A real Chromium, driven through `tests/browser/drive.mjs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::{missing, program, services, workspace};

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// `light` or `dark`: what the reader's system prefers.
    pub scheme: &'static str,
    /// The reader's language.
    pub locale: &'static str,
}

/// A running browser with one page; it ends with the value.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Browser {
    /// Starts one; `None`: Node, Chromium or playwright-core is not there.
    #[must_use]
    pub fn start() -> Option<Self> {
        let node = program("node", "TIANLU_NODE")?;
        let chromium = program("chromium", "TIANLU_CHROMIUM")?;
        let folder = services().with_file_name("browser");
        if !folder.join("node_modules/playwright-core").is_dir() {
            missing("playwright-core (tests/services/get fetches it)");
            return None;
        }
        Some(Self::launch(&node, &chromium, &folder))
    }

    fn launch(node: &Path, chromium: &Path, folder: &Path) -> Self {
        let mut command = Command::new(node);
        command
            .arg(workspace().join("tests/browser/drive.mjs"))
            .env("TIANLU_PLAYWRIGHT", folder)
            .env("TIANLU_CHROMIUM", chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut browser = Self { child, stdin, stdout };
        assert_eq!(browser.answer(), json!("ready"));
        browser
    }

    /// Opens an address in a fresh context: no storage, no cache.
    pub fn open(&mut self, url: &str, view: View) {
        let View { width, height, scheme, locale } = view;
        self.ask(json!({
            "command": "open", "url": url, "width": width, "height": height, "scheme": scheme, "locale": locale,
        }));
    }

    /// Waits until an expression is true in the page; returns when that was, milliseconds since 1970.
    pub fn wait(&mut self, script: &str, within: Duration) -> i64 {
        let within = u64::try_from(within.as_millis()).unwrap();
        let at = self.ask(json!({ "command": "wait", "script": script, "within_ms": within }));
        at.as_i64().unwrap()
    }

    /// Waits until an element's text contains `words`.
    pub fn wait_text(&mut self, selector: &str, words: &str, within: Duration) -> i64 {
        let (selector, words) = (json!(selector), json!(words));
        let script = format!(
            "[...document.querySelectorAll({selector})].some((one) => one.textContent.includes({words}))"
        );
        self.wait(&script, within)
    }

    /// Evaluates an expression in the page.
    pub fn eval(&mut self, script: &str) -> Value {
        self.ask(json!({ "command": "eval", "script": script }))
    }

    /// Clicks an element.
    pub fn click(&mut self, selector: &str) {
        self.ask(json!({ "command": "click", "selector": selector }));
    }

    /// Fills a field.
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.ask(json!({ "command": "fill", "selector": selector, "text": text }));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        self.ask(json!({ "command": "press", "key": key }));
    }

    /// Writes a screenshot.
    pub fn shot(&mut self, file: &Path, full: bool) {
        self.ask(json!({ "command": "shot", "file": file, "full": full }));
        assert!(file.is_file(), "{}", file.display());
    }

    /// Returns what console, policy and network complained of since the page was opened.
    pub fn problems(&mut self) -> Vec<String> {
        let found = self.ask(json!({ "command": "problems" }));
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    fn ask(&mut self, command: Value) -> Value {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{command}").unwrap();
        stdin.flush().unwrap();
        self.answer()
    }

    /// Reads an answer; each command has a deadline of its own in the browser.
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).unwrap();
        assert!(read > 0, "the browser has ended");
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["ok"], true, "{}", answer["error"].as_str().unwrap_or_default());
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its input ends, and it closes Chromium in order.
        drop(self.stdin.take());
        for _ in 0..100 {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
