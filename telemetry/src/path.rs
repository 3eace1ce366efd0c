//! A path into a payload: a name, or `a.b[0].c`.

use std::fmt::{self, Display};

/// Most steps of a path; deeper payloads are refused by the decoder anyway.
pub const STEPS_MAX: usize = 32;

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The entry of an object with this name.
    Key(Box<str>),
    /// The element of an array with this index, from 0.
    Index(u32),
}

/// Where a value stands in a payload. For CSV and line protocol it is the column or field of that very text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    text: Box<str>,
    steps: Vec<Step>,
}

impl Path {
    /// Reads a path; a name with dots or brackets in it is quoted: `a["pm2.5"]`. Empty: the payload itself.
    ///
    /// `None`: an empty name, an index that is no number, an open bracket, or more than [`STEPS_MAX`] steps.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, tail) = if let Some(inside) = rest.strip_prefix("[\"") {
                let (name, tail) = inside.split_once("\"]")?;
                (Step::Key(name.into()), tail)
            } else if let Some(inside) = rest.strip_prefix('[') {
                let (digits, tail) = inside.split_once(']')?;
                let is_number =
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                (Step::Index(digits.parse().ok().filter(|_| is_number)?), tail)
            } else {
                let (name, tail) =
                    rest.split_at_checked(rest.find(['.', '[']).unwrap_or(rest.len()))?;
                (Step::Key(name.into()), tail)
            };
            if step == Step::Key("".into()) || steps.len() == STEPS_MAX {
                return None;
            }
            steps.push(step);
            rest = tail;
            if let Some(tail) = rest.strip_prefix('.') {
                if tail.is_empty() || tail.starts_with('[') {
                    return None;
                }
                rest = tail;
            }
        }
        Some(Self { text: text.into(), steps })
    }

    /// Returns the empty path: the payload itself.
    #[must_use]
    pub fn root() -> Self {
        Self { text: "".into(), steps: Vec::new() }
    }

    /// Returns the path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the steps, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the last name on the path, which names a tag that is read from it.
    #[must_use]
    pub fn last_key(&self) -> Option<&str> {
        self.steps
            .iter()
            .rev()
            .find_map(|step| if let Step::Key(name) = step { Some(&**name) } else { None })
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_names_dots_brackets_and_quotes() {
        let key = |name: &str| Step::Key(name.into());
        let cases = [
            ("", vec![]),
            ("soil_temp", vec![key("soil_temp")]),
            ("a.b[0].c", vec![key("a"), key("b"), Step::Index(0), key("c")]),
            ("[2][3]", vec![Step::Index(2), Step::Index(3)]),
            ("air[\"pm2.5\"].v", vec![key("air"), key("pm2.5"), key("v")]),
            ("水位", vec![key("水位")]),
        ];
        for (text, steps) in cases {
            assert_eq!(Path::parse(text).unwrap().steps(), steps, "{text}");
        }
        for wrong in [
            ".",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[-1]",
            "a[+1]",
            "a[x]",
            "a.[0]",
            "[\"\"]",
            "a[99999999999]",
        ] {
            assert_eq!(Path::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Path::parse(&"a.".repeat(40)), None);
        assert_eq!(Path::parse("a.b[0]").unwrap().last_key(), Some("b"));
    }
}
