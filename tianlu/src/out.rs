//! Standard output: results, and nothing but results.

use std::io::{self, Write};

use serde_json::{Value, json};
use telemetry::problem::Problem;
use telemetry::text::{Lang, Text};

/// How a list or report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Lines for a reader.
    #[default]
    Text,
    /// JSON for a script.
    Json,
}

/// Prints a line of a result. A reader that has gone away, as behind `| head`, is no error.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told when standard output does not take it.
    drop(writeln!(out, "{text}"));
}

/// Prints a line for the person at the terminal, on standard error.
pub fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints a value as JSON of several lines.
pub fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// Returns a text as JSON: both languages, whatever the reader's.
#[must_use]
pub fn text_json(text: &Text) -> Value {
    json!({ "zh": text.zh, "en": text.en })
}

/// Returns a problem as JSON.
#[must_use]
pub fn problem_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "key": problem.key,
        "value": problem.value,
        "problem": text_json(&problem.what),
        "remedy": text_json(&problem.remedy),
    })
}

/// Prints rows under a header, each column as wide as its widest cell.
pub fn table(header: &[String], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|cell| width(cell)).collect();
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell));
        }
    }
    for row in std::iter::once(header).chain(rows.iter().map(Vec::as_slice)) {
        let pad = |(cell, width_of): (&String, &usize)| {
            let blanks = width_of.saturating_sub(width(cell));
            format!("{cell}{}", " ".repeat(blanks))
        };
        line(row.iter().zip(&widths).map(pad).collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Returns how many columns of a terminal a text takes: Chinese characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}') { 2 } else { 1 }).sum()
}

/// Prints every problem on a line of its own.
pub fn problems(problems: &[Problem], format: Format, lang: Lang) {
    match format {
        Format::Text => problems.iter().for_each(|problem| line(&problem.show(lang))),
        Format::Json => json(&problems.iter().map(problem_json).collect()),
    }
}
