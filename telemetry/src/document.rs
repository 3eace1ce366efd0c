//! Reads a TOML document section by section and collects **every** problem, with its line.
//!
//! A getter that finds something wrong notes a [`Problem`] and returns `None`; reading goes on.
//! [`Section::finish`] reports what nobody asked for, with the nearest known key.

mod tree;
mod word;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use crate::problem::Problem;
use crate::text::{Text, say};
use crate::time::parse_duration;

pub use tree::{Node, NodeValue, parse_tree};
pub use word::{nearest, parse_size};

use tree::as_number;

/// The problems found so far; clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Problems(Rc<RefCell<Vec<Problem>>>);

impl Problems {
    /// Adds a problem.
    pub fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Takes the problems out, sorted by file and line, each once.
    #[must_use]
    pub fn take(&self) -> Vec<Problem> {
        let mut all = std::mem::take(&mut *self.0.borrow_mut());
        all.sort();
        all.dedup();
        all
    }
}

/// A table of a document that is being read.
#[derive(Debug)]
pub struct Section {
    file: String,
    path: String,
    line: Option<u32>,
    entries: BTreeMap<String, Node>,
    asked: Vec<&'static str>,
    problems: Problems,
}

impl Section {
    /// Parses a whole file as a section.
    #[must_use]
    pub fn parse(file: &str, text: &str, problems: &Problems) -> Self {
        Self::of(file, parse_tree(file, text, problems), problems)
    }

    /// Makes a section of a tree that was read elsewhere.
    #[must_use]
    pub fn of(file: &str, entries: BTreeMap<String, Node>, problems: &Problems) -> Self {
        let (file, problems) = (file.to_owned(), problems.clone());
        Self { file, path: String::new(), line: None, entries, asked: Vec::new(), problems }
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the list that problems go to.
    #[must_use]
    pub fn problems(&self) -> Problems {
        self.problems.clone()
    }

    /// Returns whether the key is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Returns the line of a key, or of the section where the key is absent.
    #[must_use]
    pub fn line_of(&self, key: &str) -> Option<u32> {
        self.entries.get(key).map_or(self.line, |node| node.line)
    }

    /// Notes that the value of `key` is wrong.
    pub fn problem(&self, key: &str, what: Text, remedy: Text) {
        let value = self.entries.get(key).map(|node| node.value.written()).unwrap_or_default();
        self.problem_with(key, value, what, remedy);
    }

    /// Notes a problem of `key` with a value of one's own choice, such as one element of a list.
    pub fn problem_with(&self, key: &str, value: String, what: Text, remedy: Text) {
        let key_path = self.path_of(key);
        let (file, line) = (self.file.clone(), self.line_of(key));
        self.problems.add(Problem { file, line, key: key_path, value, what, remedy });
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    fn wrong_kind(&self, key: &str, kind: &str, found: &NodeValue) {
        let (kind, found) = (say(kind, &[]), say(found.kind(), &[]));
        let both = |pick: fn(&Text) -> &String| (pick(&kind).clone(), pick(&found).clone());
        let ((zh, zh_found), (en, en_found)) = (both(|t| &t.zh), both(|t| &t.en));
        let what = Text {
            zh: say("document.kind", &[("kind", &zh), ("found", &zh_found)]).zh,
            en: say("document.kind", &[("kind", &en), ("found", &en_found)]).en,
        };
        self.problem(key, what, with_kind("document.kind.remedy", key, &kind));
    }

    /// Notes that a required key is absent.
    pub fn missing(&self, key: &str, kind: &str) {
        let kind = say(kind, &[]);
        self.problem(
            key,
            say("document.missing", &[("key", &key)]),
            with_kind("document.missing.remedy", key, &kind),
        );
    }

    fn ask(&mut self, key: &'static str) -> Option<&Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.get(key)
    }

    /// Returns the value of a key as it stands, and marks the key as known.
    pub fn node(&mut self, key: &'static str) -> Option<Node> {
        self.ask(key).cloned()
    }

    /// Returns a string.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        match self.node(key)?.value {
            NodeValue::Text(text) => Some(text),
            other @ (NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Truth(_)
            | NodeValue::Datetime(_)
            | NodeValue::Array(_)
            | NodeValue::Table(_)) => {
                self.wrong_kind(key, "kind.string", &other);
                None
            }
        }
    }

    /// Returns a string that must be there and not be empty.
    pub fn required_text(&mut self, key: &'static str) -> Option<String> {
        if self.ask(key).is_none() {
            self.missing(key, "kind.string");
            return None;
        }
        let text = self.text(key)?;
        if text.trim().is_empty() {
            self.problem(key, say("document.empty", &[]), say("document.empty.remedy", &[]));
            return None;
        }
        Some(text)
    }

    /// Returns a list of strings; a single string counts as a list of one.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.node(key)?.value;
        let found = match &value {
            NodeValue::Text(text) => Some(vec![text.clone()]),
            NodeValue::Array(items) => items
                .iter()
                .map(|item| {
                    if let NodeValue::Text(text) = &item.value { Some(text.clone()) } else { None }
                })
                .collect(),
            NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Truth(_)
            | NodeValue::Datetime(_)
            | NodeValue::Table(_) => None,
        };
        if found.is_none() {
            self.wrong_kind(key, "kind.strings", &value);
        }
        found
    }

    /// Returns a whole number within bounds.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let value = self.node(key)?.value;
        let number = match &value {
            NodeValue::Integer(number) => *number,
            // A value of the environment is always text.
            NodeValue::Text(text) if text.parse::<i64>().is_ok() => {
                text.parse().unwrap_or_default()
            }
            NodeValue::Text(_)
            | NodeValue::Float(_)
            | NodeValue::Truth(_)
            | NodeValue::Datetime(_)
            | NodeValue::Array(_)
            | NodeValue::Table(_) => {
                self.wrong_kind(key, "kind.integer", &value);
                return None;
            }
        };
        if bounds.contains(&number) {
            return Some(number);
        }
        let (least, most) = (bounds.start(), bounds.end());
        let args: [(&str, &dyn std::fmt::Display); 2] = [("least", least), ("most", most)];
        self.problem(key, say("document.range", &args), say("document.range.remedy", &args));
        None
    }

    /// Returns a finite number.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.node(key)?.value;
        let found = as_number(&value);
        if found.is_none() {
            self.wrong_kind(key, "kind.number", &value);
        }
        found
    }

    /// Returns a list of finite numbers.
    pub fn numbers(&mut self, key: &'static str) -> Option<Vec<f64>> {
        let value = self.node(key)?.value;
        let found = if let NodeValue::Array(items) = &value {
            items.iter().map(|item| as_number(&item.value)).collect()
        } else {
            None
        };
        if found.is_none() {
            self.wrong_kind(key, "kind.array", &value);
        }
        found
    }

    /// Returns truth.
    pub fn truth(&mut self, key: &'static str) -> Option<bool> {
        let value = self.node(key)?.value;
        let found = match &value {
            NodeValue::Truth(truth) => Some(*truth),
            NodeValue::Text(text) => text.parse().ok(),
            NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Datetime(_)
            | NodeValue::Array(_)
            | NodeValue::Table(_) => None,
        };
        if found.is_none() {
            self.wrong_kind(key, "kind.truth", &value);
        }
        found
    }

    /// Returns a duration such as `90s`, `15m`, `2h` or `30d`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.text(key)?;
        let parsed = parse_duration(&text);
        if parsed.is_none() {
            self.problem(key, say("document.duration", &[]), say("document.duration.remedy", &[]));
        }
        parsed
    }

    /// Returns a duration that must be there.
    pub fn required_duration(&mut self, key: &'static str) -> Option<Duration> {
        if self.ask(key).is_none() {
            self.missing(key, "kind.duration");
            return None;
        }
        self.duration(key)
    }

    /// Returns a size in bytes such as `256 KiB` or `8 GiB`.
    pub fn size(&mut self, key: &'static str) -> Option<u64> {
        let text = self.text(key)?;
        let parsed = parse_size(&text);
        if parsed.is_none() {
            self.problem(key, say("document.size", &[]), say("document.size.remedy", &[]));
        }
        parsed
    }

    /// Returns what a word stands for.
    pub fn choice<T: Clone>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found =
            choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| meaning.clone());
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let remedy = match nearest(&text, &words) {
                Some(known) => say("document.did_you_mean", &[("known", &known)]),
                None => say("document.choice.remedy", &[("choices", &words.join(", "))]),
            };
            self.problem(key, say("document.choice", &[]), remedy);
        }
        found
    }

    /// Returns a table below this one.
    pub fn table(&mut self, key: &'static str) -> Option<Self> {
        let node = self.node(key)?;
        match node.value {
            NodeValue::Table(entries) => Some(self.below(key.to_owned(), node.line, entries)),
            other @ (NodeValue::Text(_)
            | NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Truth(_)
            | NodeValue::Datetime(_)
            | NodeValue::Array(_)) => {
                self.wrong_kind(key, "kind.table", &other);
                None
            }
        }
    }

    /// Returns the tables of an array; a single table counts as an array of one.
    pub fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let items = match node.value {
            NodeValue::Table(entries) => {
                return vec![self.below(key.to_owned(), node.line, entries)];
            }
            NodeValue::Array(items) => items,
            other @ (NodeValue::Text(_)
            | NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Truth(_)
            | NodeValue::Datetime(_)) => {
                self.wrong_kind(key, "kind.tables", &other);
                return Vec::new();
            }
        };
        let mut out = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            if let NodeValue::Table(entries) = item.value {
                out.push(self.below(format!("{key}[{index}]"), item.line, entries));
            } else {
                self.wrong_kind(key, "kind.tables", &item.value);
            }
        }
        out
    }

    fn below(&self, key: String, line: Option<u32>, entries: BTreeMap<String, Node>) -> Self {
        let (file, problems) = (self.file.clone(), self.problems.clone());
        Self { file, path: self.path_of(&key), line, entries, asked: Vec::new(), problems }
    }

    /// Reports the keys that nobody asked for, each with the nearest known one.
    pub fn finish(self) {
        for key in self.entries.keys() {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let remedy = match nearest(key, &self.asked) {
                Some(known) => say("document.did_you_mean", &[("known", &known)]),
                None if self.asked.is_empty() => say("document.no_keys", &[]),
                None => say("document.known_keys", &[("keys", &self.asked.join(", "))]),
            };
            self.problem(key, say("document.unknown_key", &[("key", key)]), remedy);
        }
    }
}

fn with_kind(message: &str, key: &str, kind: &Text) -> Text {
    Text {
        zh: say(message, &[("key", &key), ("kind", &kind.zh)]).zh,
        en: say(message, &[("key", &key), ("kind", &kind.en)]).en,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(problems: &Problems) -> Vec<String> {
        problems.take().iter().map(|p| p.show(crate::text::Lang::En)).collect()
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_line() {
        let problems = Problems::default();
        let text = "name = 5\nintervall = \"15m\"\n\n[time]\nfuture = \"soon\"\n";
        let mut section = Section::parse("p.toml", text, &problems);
        assert_eq!(section.required_text("name"), None);
        assert_eq!(section.required_duration("interval"), None);
        let mut time = section.table("time").unwrap();
        assert_eq!(time.duration("future"), None);
        time.finish();
        section.finish();
        assert_eq!(
            lines(&problems),
            [
                "p.toml: interval: the required key `interval` is missing -> add `interval` (a duration like `15m`)",
                "p.toml:1: name = 5: expected a string, found an integer -> write a string",
                "p.toml:2: intervall = \"15m\": unknown key `intervall` -> did you mean `interval`?",
                "p.toml:5: time.future = \"soon\": not a duration -> write it like `90s`, `15m`, `2h` or `30d`",
            ]
        );
    }

    #[test]
    fn what_is_readable_of_a_broken_file_is_still_read() {
        let problems = Problems::default();
        let mut section = Section::parse("r.toml", "a = \nb = \"good\"\n", &problems);
        assert_eq!(section.text("b").as_deref(), Some("good"));
        assert_eq!(problems.take().first().and_then(|p| p.line), Some(1));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("8 GiB", 8 << 30),
            ("256 KiB", 262_144),
            ("1.5 KiB", 1536),
            ("12", 12),
            ("3MB", 3_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        assert_eq!(parse_size("8 gigs"), None);
        assert_eq!(parse_size("-1 B"), None);
    }
}
