//! Tables in Markdown for the reader, the same numbers in JSON for a machine.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::machine::Machine;

/// What a run has found so far; printed as it comes.
#[derive(Debug)]
pub(crate) struct Report {
    json: Map<String, Value>,
}

impl Report {
    /// Begins with the machine.
    pub(crate) fn new(machine: &Machine) -> Self {
        say(&format!("{}\n", machine.sentence()));
        Self { json: Map::from_iter([("machine".to_owned(), json!(machine))]) }
    }

    /// Adds one row's table and its numbers.
    pub(crate) fn add(&mut self, name: &str, table: &Table, numbers: &impl Serialize) {
        say(&table.text());
        self.json.insert(name.to_owned(), json!(numbers));
    }

    /// Writes the numbers.
    pub(crate) fn write(&self, file: &Path) {
        std::fs::write(file, format!("{:#}\n", Value::Object(self.json.clone()))).unwrap();
    }
}

/// Prints a paragraph.
#[expect(clippy::print_stdout, reason = "the tables are what the command is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// A table with a heading and notes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heading: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// Makes a table with its columns.
    pub(crate) fn new(heading: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { heading: heading.to_owned(), rows: vec![columns], notes: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a sentence below.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Returns it as Markdown.
    pub(crate) fn text(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = format!("### {}\n\n", self.heading);
        for (place, cells) in self.rows.iter().enumerate() {
            out.push_str(&line(cells));
            if place == 0 {
                out.push_str(&line(&vec!["---".to_owned(); cells.len()]));
            }
        }
        for note in &self.notes {
            out.push_str(&format!("\n{note}\n"));
        }
        out
    }
}

/// Returns the mean and, where there are several, the least and the greatest: `3.9 (3.8-4.1)`.
pub(crate) fn spread(values: &[f64]) -> String {
    let digits = if mean(values) >= 100.0 { 0 } else { 2 };
    let (least, most) =
        values.iter().fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
    let shown = format!("{:.digits$}", mean(values));
    if values.len() < 2 { shown } else { format!("{shown} ({least:.digits$}-{most:.digits$})") }
}

/// Returns the mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
