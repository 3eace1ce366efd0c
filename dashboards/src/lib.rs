//! The built-in page as bytes in the binary, so that it needs no folder, no Node and no network.
//!
//! ```text
//! page/*.{html,css,js,svg} ─include─▶ ┐
//! telemetry's catalogue `page.*` ────▶ ├─▶ assets: bytes, gzip, media type; the version is a hash of them all
//! ```
//!
//! - **A1 whole**: what `index.html` names is embedded, and nothing of it lies on another host (a test reads it).
//! - **A2 fresh**: every asset but the entry has the version in its address, so that it may be kept for ever; another
//!   binary has other addresses.
//! - **A3 small**: the whole first view is below 100 KB compressed (a test adds it up).
//! - **A4 one catalogue**: the page's texts are those of `telemetry/catalogue/page.toml`.
//!
//! It does not: speak HTTP (`ingest::http` serves the assets), build or minify anything, hold data.

use std::io::Write as _;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use telemetry::hash::sha256_hex_parts;
use telemetry::text::{say, texts_of};

/// Stands in `index.html` where the version belongs.
const VERSION_MARK: &str = "{version}";
/// Stands in `index.html` where a reader without JavaScript is told so.
const NOSCRIPT_MARK: &str = "{noscript}";
/// Digits of the version: enough to tell two builds apart.
const VERSION_LEN: usize = 16;
/// Name of the texts among the assets.
const TEXTS: &str = "texts.json";

/// Defines the embedded files: name, media type.
macro_rules! files {
    ($($name:literal as $media:expr),* $(,)?) => {
        [$(($name, $media, include_str!(concat!("../page/", $name)))),*]
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const ENTRY: &str = include_str!("../page/index.html");
const FILES: [(&str, &str, &str); 18] = files![
    "style.css" as "text/css; charset=utf-8",
    "icon.svg" as "image/svg+xml",
    "app.js" as SCRIPT,
    "alerts.js" as SCRIPT,
    "api.js" as SCRIPT,
    "balance.js" as SCRIPT,
    "cells.js" as SCRIPT,
    "chart.js" as SCRIPT,
    "curve.js" as SCRIPT,
    "devices.js" as SCRIPT,
    "dom.js" as SCRIPT,
    "live.js" as SCRIPT,
    "map.js" as SCRIPT,
    "place.js" as SCRIPT,
    "say.js" as SCRIPT,
    "show.js" as SCRIPT,
    "state.js" as SCRIPT,
    "strip.js" as SCRIPT,
];

/// One file of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its name.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its bytes, compressed.
    pub gzip: Vec<u8>,
}

impl Asset {
    fn new(name: &'static str, media_type: &'static str, bytes: Vec<u8>) -> Self {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        let packed = packer.write_all(&bytes).and_then(|()| packer.finish());
        debug_assert!(packed.is_ok(), "a vector takes any bytes");
        Self { name, media_type, bytes, gzip: packed.unwrap_or_default() }
    }
}

/// The page.
#[derive(Debug)]
pub struct Page {
    /// Hash of all its content: part of the address of every asset but the entry.
    pub version: String,
    /// The document at `/`.
    pub entry: Asset,
    assets: Vec<Asset>,
}

impl Page {
    /// Returns the page, made at the first call.
    #[must_use]
    pub fn get() -> &'static Self {
        static PAGE: OnceLock<Page> = OnceLock::new();
        PAGE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let mut assets: Vec<Asset> = FILES
            .iter()
            .map(|(name, media, text)| Asset::new(name, media, text.as_bytes().to_vec()))
            .collect();
        assets.push(Asset::new(TEXTS, "application/json", texts()));
        let mut version = {
            let all = assets.iter().flat_map(|asset| [asset.name.as_bytes(), &*asset.bytes]);
            let parts: Vec<&[u8]> = all.chain([ENTRY.as_bytes()]).collect();
            sha256_hex_parts(&parts)
        };
        version.truncate(VERSION_LEN);
        let without_script = say("page.noscript", &[]).to_string();
        let entry = ENTRY.replace(VERSION_MARK, &version).replace(NOSCRIPT_MARK, &without_script);
        let entry = entry.into_bytes();
        let entry = Asset::new("index.html", "text/html; charset=utf-8", entry);
        Self { version, entry, assets }
    }

    /// Returns an asset by its name.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }

    /// Returns the assets, the entry not among them.
    #[must_use]
    pub fn assets(&self) -> &[Asset] {
        &self.assets
    }
}

/// Returns the texts as JSON: key to Chinese and English.
fn texts() -> Vec<u8> {
    let all: serde_json::Map<String, serde_json::Value> = texts_of("page.")
        .into_iter()
        .map(|(key, text)| (key.to_owned(), serde_json::json!([text.zh, text.en])))
        .collect();
    serde_json::Value::Object(all).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Read as _;

    use super::*;

    /// Most bytes of the first view, compressed (**A3**).
    const FIRST_VIEW_MAX: usize = 100_000;

    fn text(asset: &Asset) -> &str {
        std::str::from_utf8(&asset.bytes).unwrap()
    }

    fn everything() -> impl Iterator<Item = &'static Asset> {
        let page = Page::get();
        std::iter::once(&page.entry).chain(page.assets())
    }

    /// Returns what stands between `before` and the next `after`, each time.
    fn between<'a>(text: &'a str, before: &str, after: char) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
    }

    #[test]
    fn the_first_view_is_small() {
        let bytes: usize = everything().map(|asset| asset.gzip.len()).sum();
        assert!(bytes < FIRST_VIEW_MAX, "{bytes} bytes compressed");
    }

    #[test]
    fn gzip_is_the_same_bytes() {
        for asset in everything() {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*asset.gzip).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == asset.bytes && !unpacked.is_empty(), "{}", asset.name);
        }
    }

    #[test]
    fn what_is_named_is_embedded_and_what_is_embedded_is_named() {
        let page = Page::get();
        let mut named: BTreeSet<&str> = BTreeSet::new();
        let prefix = format!("page/{}/", page.version);
        let entry = text(&page.entry);
        for quoted in
            between(entry, "href=\"", '"').into_iter().chain(between(entry, "src=\"", '"'))
        {
            if quoted.starts_with('#') {
                continue;
            }
            named.insert(
                quoted.strip_prefix(&prefix).unwrap_or_else(|| panic!("{quoted} has no version")),
            );
        }
        for script in page.assets().iter().filter(|asset| asset.media_type == SCRIPT) {
            named.extend(between(text(script), "from \"./", '"'));
        }
        let known: BTreeSet<&str> = page.assets().iter().map(|asset| asset.name).collect();
        assert_eq!(named, known);
    }

    #[test]
    fn nothing_lies_on_another_host_and_nothing_is_inline() {
        for asset in everything() {
            let text = text(asset).replace("http://www.w3.org/2000/svg", "");
            for banned in [
                "http://",
                "https://",
                "url(//",
                "src=\"//",
                "<style",
                " style=\"",
                " onclick",
                "javascript:",
            ] {
                assert!(!text.contains(banned), "{} has {banned}", asset.name);
            }
        }
        assert!(!text(&Page::get().entry).contains("<script>"));
    }

    /// Names of devices, sites and rules come from outside: as text they do nothing.
    #[test]
    fn nothing_from_outside_is_ever_read_as_markup_or_code() {
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "eval(",
            "new Function",
            "setAttribute(\"style\"",
            "srcdoc",
        ];
        for asset in Page::get().assets() {
            let found: Vec<_> = banned.iter().filter(|word| text(asset).contains(**word)).collect();
            assert!(found.is_empty(), "{} has {found:?}", asset.name);
        }
    }

    #[test]
    fn texts_are_those_of_the_catalogue() {
        let texts = Page::get().asset(TEXTS).unwrap();
        let texts: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&texts.bytes).unwrap();
        assert_eq!(texts["page.title"], serde_json::json!(["田路", "Tianlu"]));
        assert!(texts.len() > 50 && texts.keys().all(|key| key.starts_with("page.")));
    }
}
