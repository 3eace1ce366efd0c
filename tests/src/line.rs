//! Reads the lines of points that Tianlu writes, without any code of Tianlu.

use std::collections::BTreeMap;

/// One point as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The measurement.
    pub measurement: String,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The fields; texts without their quotes.
    pub fields: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub at: i64,
}

/// Reads one line whose names and tags have no escapes; texts may.
#[must_use]
pub fn read(line: &str) -> Line {
    let parts = outside_quotes(line, ' ');
    let [head, fields, at] = parts.as_slice() else { wrong(line) };
    let mut head = head.split(',');
    let measurement = head.next().unwrap_or_default().to_owned();
    let pair = |text: &str| {
        text.split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .unwrap_or_else(|| wrong(line))
    };
    let tags = head.map(pair).collect();
    let unquoted = |(key, value): (String, String)| (key, value.trim_matches('"').to_owned());
    let fields = outside_quotes(fields, ',').into_iter().map(pair).map(unquoted).collect();
    Line { measurement, tags, fields, at: at.parse().unwrap_or_else(|_| wrong(line)) }
}

fn wrong(line: &str) -> ! {
    panic!("not a line of points: {line}")
}

fn outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' if !escaped => quoted = !quoted,
            found if found == separator && !quoted => {
                parts.push(text.get(from..at).unwrap_or_default());
                from = at + letter.len_utf8();
            }
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn quotes_hide_separators() {
        let line =
            read(r#"soil,device=d1,tenant=t1 m=0.1,m_flag="late,range",note="a \" b=c, d" 17"#);
        assert_eq!((line.measurement.as_str(), line.at, line.fields.len()), ("soil", 17, 3));
        assert_eq!(line.fields["m_flag"], "late,range");
        assert_eq!(line.fields["note"], r#"a \" b=c, d"#);
        assert_eq!(line.tags["device"], "d1");
    }
}
