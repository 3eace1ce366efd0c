//! User-facing text in zh-CN and English, from one catalogue.
//!
//! The catalogue is the folder `telemetry/catalogue`, one file a room. A message is a table
//! `[key]` with `zh` and `en`, and the same `{placeholders}` in both.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::sync::OnceLock;

/// Which language a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// Chinese (zh-CN).
    Zh,
    /// English.
    En,
    /// Chinese first, English beside it: where the reader's language is not known.
    #[default]
    Both,
}

impl Lang {
    /// Reads a locale name such as `zh_CN.UTF-8` or an `Accept-Language` header.
    #[must_use]
    pub fn from_locale(locale: &str) -> Self {
        let first = locale.trim().to_ascii_lowercase();
        if first.starts_with("zh") {
            Self::Zh
        } else if first.starts_with("en") {
            Self::En
        } else {
            Self::Both
        }
    }
}

/// One message in both languages, its placeholders filled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text {
    /// Chinese (zh-CN).
    pub zh: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Returns the text for a reader.
    #[must_use]
    pub fn show(&self, lang: Lang) -> String {
        match lang {
            Lang::Zh => self.zh.clone(),
            Lang::En => self.en.clone(),
            Lang::Both if self.zh == self.en => self.en.clone(),
            Lang::Both => format!("{} / {}", self.zh, self.en),
        }
    }

    /// Returns a text that is the same in both languages: data, a name, an error of the system.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        let en = text.into();
        Self { zh: en.clone(), en }
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(Lang::Both))
    }
}

/// Looks a message up and fills its `{placeholders}`.
///
/// An unknown key is a bug that a test of the calling room should catch; it yields the key itself.
#[must_use]
pub fn say(key: &str, args: &[(&str, &dyn Display)]) -> Text {
    let found = catalogue().get(key);
    debug_assert!(found.is_some(), "the catalogue has no text `{key}`");
    let Some((zh, en)) = found else { return Text::plain(key) };
    Text { zh: fill(zh, args), en: fill(en, args) }
}

/// Returns the texts whose keys begin with `prefix`, their `{placeholders}` unfilled: for a reader that fills
/// them itself, such as the page.
#[must_use]
pub fn texts_of(prefix: &str) -> BTreeMap<&'static str, Text> {
    let wanted = catalogue().iter().filter(|(key, _)| key.starts_with(prefix));
    let text = |zh: &String, en: &String| Text { zh: zh.clone(), en: en.clone() };
    wanted.map(|(key, (zh, en))| (key.as_str(), text(zh, en))).collect()
}

fn fill(template: &str, args: &[(&str, &dyn Display)]) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match args.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.push_str(&value.to_string()),
            None => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

const FILES: [&str; 10] = [
    include_str!("../catalogue/telemetry.toml"),
    include_str!("../catalogue/rules.toml"),
    include_str!("../catalogue/pipeline.toml"),
    include_str!("../catalogue/journal.toml"),
    include_str!("../catalogue/store.toml"),
    include_str!("../catalogue/ingest.toml"),
    include_str!("../catalogue/simulator.toml"),
    include_str!("../catalogue/page.toml"),
    include_str!("../catalogue/listener.toml"),
    include_str!("../catalogue/tianlu.toml"),
];

type Catalogue = HashMap<String, (String, String)>;

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let mut all = Catalogue::new();
        for file in FILES {
            let table = file.parse::<toml::Table>();
            debug_assert!(table.is_ok(), "a catalogue file is not TOML: {table:?}");
            for (key, entry) in table.unwrap_or_default() {
                let of = |lang| {
                    entry.get(lang).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
                };
                all.insert(key, (of("zh"), of("en")));
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn every_message_has_both_languages_and_the_same_placeholders() {
        let entries: usize = FILES.iter().map(|f| f.parse::<toml::Table>().unwrap().len()).sum();
        assert_eq!(entries, catalogue().len(), "a key stands in two catalogue files");
        for (key, (zh, en)) in catalogue() {
            assert!(!zh.is_empty() && !en.is_empty(), "`{key}` lacks a language");
            assert_eq!(placeholders(zh), placeholders(en), "`{key}`");
        }
    }

    #[test]
    fn placeholders_are_filled_once_and_unknown_ones_stay() {
        assert_eq!(fill("a {x} b {y} {", &[("x", &"{y}")]), "a {y} b {y} {");
    }
}
