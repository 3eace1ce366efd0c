//! The reader of line protocol: uplinks, recorded `.lp` files, the live feed.

use std::borrow::Cow;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// No measurement, or a character in it that must be escaped.
    #[error("not a measurement")]
    Measurement,
    /// A tag without a name or value.
    #[error("not a tag")]
    Tag,
    /// The same tag twice.
    #[error("a tag stands twice")]
    TagTwice,
    /// No field, or a field without a name.
    #[error("not a field")]
    Field,
    /// Not a number, truth or quoted text.
    #[error("not the value of a field")]
    Value,
    /// A time that is not a whole number within 64 bits.
    #[error("not a time")]
    Time,
    /// A comment with a control character: most likely not text at all.
    #[error("a control character in a comment")]
    Comment,
    /// Something behind the time.
    #[error("text after the time")]
    Trailing,
}

/// Value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// A finite number.
    Float(f64),
    /// A whole number, written with `i`.
    Int(i64),
    /// A whole number, written with `u`.
    Unsigned(u64),
    /// Truth.
    Bool(bool),
    /// Text.
    Text(Cow<'a, str>),
}

/// One point as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// The measurement.
    pub measurement: Cow<'a, str>,
    /// Names and values of the tags as written.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Names and values of the fields as written; at least one.
    pub fields: Vec<(Cow<'a, str>, FieldValue<'a>)>,
    /// The time in the unit of the source; `None`: none is written.
    pub time: Option<i64>,
}

/// Reads every line of a text, past empty lines and comments; after a wrong line with the next one.
pub fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, LineError>> {
    let mut cursor = Cursor { text, at: 0 };
    std::iter::from_fn(move || {
        let blank = cursor.skip_blank();
        if blank.is_ok() {
            cursor.peek()?;
        }
        let line = blank.and_then(|()| cursor.line());
        if line.is_err() {
            cursor.skip_to_next_line();
        }
        Some(line)
    })
}

/// Reads one line. A line break inside quoted text belongs to the line.
///
/// # Errors
/// Tells which part is wrong; also where there is nothing, or more than one line.
pub fn parse_line(text: &str) -> Result<Line<'_>, LineError> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_blank()?;
    let line = cursor.line()?;
    cursor.skip_blank()?;
    if cursor.peek().is_some() { Err(LineError::Trailing) } else { Ok(line) }
}

#[derive(Debug)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn peek_second(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at + 1).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_blank(&mut self) -> Result<(), LineError> {
        loop {
            self.skip(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
            if self.peek() != Some(b'#') {
                return Ok(());
            }
            self.skip(|byte| byte == b'\t' || !byte.is_ascii_control());
            if self.peek().is_some_and(|byte| !matches!(byte, b'\r' | b'\n')) {
                return Err(LineError::Comment);
            }
        }
    }

    fn skip_to_next_line(&mut self) {
        self.skip(|byte| byte != b'\n');
        self.take(b'\n');
    }

    fn line(&mut self) -> Result<Line<'a>, LineError> {
        let measurement = self.name(b", ").ok_or(LineError::Measurement)?;
        let mut tags: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        while self.take(b',') {
            let name = self.name(b",= ").filter(|_| self.take(b'=')).ok_or(LineError::Tag)?;
            let value = self.name(b",= ").ok_or(LineError::Tag)?;
            if tags.iter().any(|(known, _)| *known == name) {
                return Err(LineError::TagTwice);
            }
            tags.push((name, value));
        }
        if !self.take(b' ') {
            return Err(LineError::Field);
        }
        self.skip(|byte| byte == b' ');
        let mut fields = Vec::new();
        loop {
            let name = self.name(b",= ").filter(|_| self.take(b'=')).ok_or(LineError::Field)?;
            fields.push((name, self.value()?));
            if !self.take(b',') {
                break;
            }
        }
        let time = self.time()?;
        self.end()?;
        Ok(Line { measurement, tags, fields, time })
    }

    /// Reads a name up to one of the stops; a backslash before a stop escapes it, any other is itself.
    fn name(&mut self, stops: &[u8]) -> Option<Cow<'a, str>> {
        let start = self.at;
        let mut escapes = false;
        while let Some(byte) = self.peek() {
            if byte == b'\\' && self.peek_second().is_some_and(|next| stops.contains(&next)) {
                escapes = true;
                self.at += 2;
            } else if stops.contains(&byte) || byte.is_ascii_control() {
                break;
            } else {
                self.at += 1;
            }
        }
        let raw = self.since(start);
        if raw.is_empty() {
            return None;
        }
        Some(if escapes { Cow::Owned(unescape(raw, stops)) } else { Cow::Borrowed(raw) })
    }

    fn value(&mut self) -> Result<FieldValue<'a>, LineError> {
        if self.take(b'"') {
            return self.quoted().map(FieldValue::Text).ok_or(LineError::Value);
        }
        let start = self.at;
        self.skip(|byte| !matches!(byte, b',' | b' ' | b'\r' | b'\n'));
        plain_value(self.since(start)).ok_or(LineError::Value)
    }

    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let mut escapes = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' if matches!(self.peek_second(), Some(b'"' | b'\\')) => {
                    escapes = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        let raw = self.since(start);
        self.at += 1;
        Some(if escapes { Cow::Owned(unescape(raw, b"\"\\")) } else { Cow::Borrowed(raw) })
    }

    fn time(&mut self) -> Result<Option<i64>, LineError> {
        if !self.take(b' ') {
            return Ok(None);
        }
        self.skip(|byte| byte == b' ');
        let start = self.at;
        self.skip(|byte| byte == b'-' || byte.is_ascii_digit());
        let digits = self.since(start);
        if digits.is_empty() {
            Ok(None)
        } else {
            digits.parse().map(Some).map_err(|_| LineError::Time)
        }
    }

    fn end(&mut self) -> Result<(), LineError> {
        self.skip(|byte| byte == b' ');
        self.take(b'\r');
        if self.peek().is_none() || self.take(b'\n') { Ok(()) } else { Err(LineError::Trailing) }
    }
}

fn unescape(raw: &str, escaped: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let is_escaped =
            |next: &char| u8::try_from(*next).is_ok_and(|next| escaped.contains(&next));
        match chars.next_if(|next| c == '\\' && is_escaped(next)) {
            Some(next) => out.push(next),
            None => out.push(c),
        }
    }
    out
}

fn plain_value<'a>(text: &str) -> Option<FieldValue<'a>> {
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => return Some(FieldValue::Bool(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Some(FieldValue::Bool(false)),
        _ => {}
    }
    let is_signed = |digits: &str| {
        digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit())
    };
    if let Some(digits) = text.strip_suffix('i') {
        return digits.parse().ok().filter(|_| is_signed(digits)).map(FieldValue::Int);
    }
    if let Some(digits) = text.strip_suffix('u') {
        return digits.parse().ok().filter(|_| is_signed(digits)).map(FieldValue::Unsigned);
    }
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    let number: f64 = text.parse().ok().filter(|_| is_number && !text.starts_with('+'))?;
    // Plus zero: `-0` is `0`.
    number.is_finite().then_some(FieldValue::Float(number + 0.0))
}

#[cfg(test)]
mod tests;
