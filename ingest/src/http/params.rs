//! Query parameters, each checked, none ignored (**H3**).

use std::borrow::Cow;
use std::time::Duration;

use axum::http::Uri;
use telemetry::time::{EventTime, parse_duration, parse_rfc3339};

use super::problem::{Problem, cut};

/// Longest value of a parameter, bytes: longer than any name in a topic may be.
const VALUE_MAX: usize = 1024;

/// The parameters of a request, of which a handler takes those it knows.
#[derive(Debug)]
pub(super) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    /// Reads the query of an address.
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let owned =
            |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        Self { given: pairs.map(owned).collect(), known: Vec::new() }
    }

    /// Takes a parameter that may be left out.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.known.push(name);
        let Some(at) = self.given.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.given.swap_remove(at);
        if self.given.iter().any(|(given, _)| given == name) {
            return Err(Problem::bad("ingest.http.param_twice", &[("name", &name)]));
        }
        if value.is_empty() || value.len() > VALUE_MAX {
            let args: [(&str, &dyn std::fmt::Display); 2] = [("name", &name), ("most", &VALUE_MAX)];
            return Err(Problem::bad("ingest.http.param_length", &args));
        }
        Ok(Some(value))
    }

    /// Takes a parameter that must be there.
    pub(super) fn need(&mut self, name: &'static str) -> Result<String, Problem> {
        let missing = || Problem::bad("ingest.http.param_missing", &[("name", &name)]);
        self.take(name)?.ok_or_else(missing)
    }

    /// Takes a time that must be there.
    pub(super) fn need_time(&mut self, name: &'static str) -> Result<EventTime, Problem> {
        let text = self.need(name)?;
        parse_rfc3339(&text).ok_or_else(|| wrong("ingest.http.param_time", name, &text))
    }

    /// Takes a duration above zero.
    pub(super) fn take_duration(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Duration>, Problem> {
        let parse = |text: String| {
            let wait = parse_duration(&text).filter(|wait| !wait.is_zero());
            wait.ok_or_else(|| wrong("ingest.http.param_duration", name, &text))
        };
        self.take(name)?.map(parse).transpose()
    }

    /// Takes a duration above zero that must be there.
    pub(super) fn need_duration(&mut self, name: &'static str) -> Result<Duration, Problem> {
        let missing = || Problem::bad("ingest.http.param_missing", &[("name", &name)]);
        self.take_duration(name)?.ok_or_else(missing)
    }

    /// Takes a whole number above zero.
    pub(super) fn take_count(&mut self, name: &'static str) -> Result<Option<usize>, Problem> {
        let parse = |text: String| {
            let number = text.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| wrong("ingest.http.param_count", name, &text))
        };
        self.take(name)?.map(parse).transpose()
    }

    /// Takes one word of a fixed set.
    pub(super) fn take_word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<Option<T>, Problem> {
        let parse = |text: String| {
            let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
            found.ok_or_else(|| unknown_word(name, &text, words.iter().map(|(word, _)| *word)))
        };
        self.take(name)?.map(parse).transpose()
    }

    /// Complains about parameters that nobody took.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        let name = cut(name);
        Err(if self.known.is_empty() {
            Problem::bad("ingest.http.param_none", &[("name", &name)])
        } else {
            let known = self.known.join(", ");
            Problem::bad("ingest.http.param_unknown", &[("name", &name), ("known", &known)])
        })
    }
}

/// Makes the problem of a word that is none of a set.
pub(super) fn unknown_word<'a>(
    name: &str,
    given: &str,
    words: impl Iterator<Item = &'a str>,
) -> Problem {
    let known = words.collect::<Vec<_>>().join(", ");
    let args: [(&str, &dyn std::fmt::Display); 3] =
        [("name", &name), ("value", &cut(given)), ("known", &known)];
    Problem::bad("ingest.http.param_word", &args)
}

fn wrong(key: &str, name: &str, given: &str) -> Problem {
    Problem::bad(key, &[("name", &name), ("value", &cut(given))])
}
