//! What is wrong with something a person wrote: where, what, and what would be right.

use std::fmt::{self, Display};

use crate::text::{Lang, Text};

/// Most characters of a problem as one line.
const SHOWN_MAX: usize = 1000;

/// One mistake in a configuration, profile, rule, registry or mapping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or `environment`.
    pub file: String,
    /// Line in the file, from 1.
    pub line: Option<u32>,
    /// The key, as `section.key`; empty where the whole file is meant.
    pub key: String,
    /// The value as written, cut short; empty where there is none.
    pub value: String,
    /// What is wrong.
    pub what: Text,
    /// What would be right.
    pub remedy: Text,
}

impl Problem {
    /// Returns the problem as one line for a reader, whatever stands in the file.
    #[must_use]
    pub fn show(&self, lang: Lang) -> String {
        let mut out = self.file.clone();
        if let Some(line) = self.line {
            out.push_str(&format!(":{line}"));
        }
        out.push_str(": ");
        if !self.key.is_empty() {
            out.push_str(&excerpt(&self.key));
            if !self.value.is_empty() {
                out.push_str(&format!(" = {}", self.value));
            }
            out.push_str(": ");
        }
        out.push_str(&self.what.show(lang));
        let arrow = if lang == Lang::En { " -> " } else { " → " };
        out.push_str(arrow);
        out.push_str(&self.remedy.show(lang));
        // Texts quote names of the file, too, and a name in quotes may hold line breaks.
        excerpt_of(&out, SHOWN_MAX)
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(Lang::Both))
    }
}

/// Writes an error with its causes on one line, outermost first.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        out.push_str(": ");
        out.push_str(&source.to_string());
        cause = source.source();
    }
    out
}

/// Cuts quoted input to what fits a line.
#[must_use]
pub fn excerpt(input: &str) -> String {
    excerpt_of(input, 80)
}

/// Cuts a text to a number of characters, and makes control characters spaces.
#[must_use]
pub fn excerpt_of(input: &str, chars_max: usize) -> String {
    let mut chars = input.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: a key in quotes brought its line breaks along.
    #[test]
    fn a_problem_is_one_line_whatever_its_key() {
        let key = format!("scope.a\nerror: forged\u{1b}[2J{}", "k".repeat(5000));
        let (what, remedy) = (Text::plain("unknown"), Text::plain(key.clone()));
        let problem = Problem {
            file: "rule.toml".to_owned(),
            line: Some(4),
            key,
            value: "1".to_owned(),
            what,
            remedy,
        };
        let shown = problem.show(Lang::En);
        assert!(shown.starts_with("rule.toml:4: scope.a error: forged [2Jkk"), "{shown}");
        assert!(shown.contains(" = 1: unknown -> scope.a error"), "{shown}");
        assert!(!shown.contains(char::is_control) && shown.chars().count() <= SHOWN_MAX + 1);
    }
}
