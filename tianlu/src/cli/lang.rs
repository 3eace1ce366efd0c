//! Which language the reader wants, known before the arguments are parsed: help is in it as well.

use std::ffi::OsStr;

use telemetry::text::Lang;

/// Returns the language of `--lang`, else of `TIANLU_LANG`, `LC_ALL` or `LANG`; both where none of them
/// tells.
#[must_use]
pub(super) fn choose<'a>(
    arguments: impl IntoIterator<Item = &'a OsStr>,
    environment: impl Fn(&str) -> Option<String>,
) -> Lang {
    let mut arguments = arguments.into_iter().filter_map(OsStr::to_str);
    while let Some(argument) = arguments.next() {
        let value = match argument.strip_prefix("--lang") {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('='),
            None if argument == "--" => break,
            None => None,
        };
        if let Some(value) = value {
            return Lang::from_locale(value);
        }
    }
    let set = ["TIANLU_LANG", "LC_ALL", "LANG"]
        .into_iter()
        .filter_map(environment)
        .find(|locale| !locale.is_empty());
    set.map_or(Lang::Both, |locale| Lang::from_locale(&locale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_beats_the_environment_and_an_unknown_locale_gives_both() {
        let chosen = |arguments: &[&str], set: &[(&str, &str)]| {
            let find = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            choose(arguments.iter().map(OsStr::new), find)
        };
        assert_eq!(chosen(&["check", "--lang", "en"], &[("LANG", "zh_CN.UTF-8")]), Lang::En);
        assert_eq!(chosen(&["--lang=zh"], &[]), Lang::Zh);
        assert_eq!(chosen(&[], &[("LANG", "zh_CN.UTF-8")]), Lang::Zh);
        assert_eq!(chosen(&[], &[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")]), Lang::Both);
        assert_eq!(chosen(&[], &[("TIANLU_LANG", "en"), ("LC_ALL", "zh_CN")]), Lang::En);
        assert_eq!(chosen(&[], &[("LC_ALL", ""), ("LANG", "POSIX")]), Lang::Both);
        assert_eq!(chosen(&[], &[]), Lang::Both);
    }
}
