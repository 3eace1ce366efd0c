//! Reads the sections, each key with its default and its bounds.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use telemetry::document::{NodeValue, Section};
use telemetry::text::{Text, say};
use telemetry::time::show_duration;
use url::Url;

use super::secret::SecretFile;
use super::settings::{Config, Data, Devices, Dirs, History, Http, UnknownDevices};
use super::{ProfilesIn, broker, cross, outlets};

pub(super) const DAY: Duration = Duration::from_hours(24);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Both logs take a segment of 20 MiB each at once, for the largest payload there may be, and need room for another.
const LOGS_MIN: u64 = 64 * MIB;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The folder of the file, which its paths are relative to.
#[derive(Debug, Clone)]
pub(super) struct Base(PathBuf);

impl Base {
    fn of(file: &Path) -> Self {
        Self(file.parent().map(Path::to_path_buf).unwrap_or_default())
    }

    pub(super) fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

pub(super) fn config(path: &Path, mut root: Section, profiles_in: ProfilesIn<'_>) -> Config {
    let base = Base::of(path);
    let mqtt =
        root.tables("mqtt").into_iter().map(|section| broker::mqtt(section, &base)).collect();
    let listener = root.table("listener").map(|section| broker::listener(section, &base));
    let uplinks = root.tables("uplinks").into_iter().map(broker::uplink).collect();
    let mut parts = broker::Parts { mqtt, listener, uplinks };
    let profiles = dirs(sub(&mut root, "profiles"), &base, "profiles");
    let known = profiles_in.map(|profiles_in| profiles_in(&profiles));
    cross::sources(&root, &mut parts, known.as_deref());
    let (brokers, mut notifiers) = (parts.brokers(), Vec::new());
    for section in root.tables("notifiers") {
        notifiers.extend(outlets::notifier(section, &base, (&brokers, &notifiers)));
    }
    let config = Config {
        file: path.to_path_buf(),
        data: data(sub(&mut root, "data"), &base),
        profiles,
        devices: devices(sub(&mut root, "devices"), &base),
        rules: dirs(sub(&mut root, "rules"), &base, "rules"),
        store: outlets::store(&mut root, &base),
        history: history(sub(&mut root, "history")),
        notifiers,
        http: http(sub(&mut root, "http"), &base, parts.listens_on()),
        mqtt: parts.mqtt.into_iter().filter_map(|(_, mqtt)| mqtt).collect(),
        listener: parts.listener.map(|(_, listener)| listener),
        uplinks: parts.uplinks.into_iter().filter_map(|(_, uplink)| uplink).collect(),
    };
    root.finish();
    config
}

/// Returns a section; where it is absent an empty one, so that each key takes its default.
pub(super) fn sub(root: &mut Section, key: &'static str) -> Section {
    let found = root.table(key);
    found.unwrap_or_else(|| Section::of(root.file(), BTreeMap::new(), &root.problems()))
}

fn data(mut section: Section, base: &Base) -> Data {
    let dir = base.join(&text_or(&mut section, "dir", "data"));
    if dir.exists() && !dir.is_dir() {
        fault(&section, "dir", "tianlu.data.no_folder", &[]);
    }
    let data = Data {
        dir,
        max_bytes: size(&mut section, "max_bytes", LOGS_MIN..=64 * TIB).unwrap_or(8 * GIB),
        keep: duration(&mut section, "keep", Duration::ZERO..=3650 * DAY).unwrap_or(DAY),
        commit_interval: duration(
            &mut section,
            "commit_interval",
            Duration::ZERO..=Duration::from_secs(1),
        )
        .unwrap_or(Duration::from_millis(2)),
    };
    section.finish();
    data
}

fn dirs(mut section: Section, base: &Base, default: &str) -> Dirs {
    let written = section.texts("dirs");
    if written
        .as_ref()
        .is_some_and(|dirs| dirs.is_empty() || dirs.iter().any(|dir| dir.trim().is_empty()))
    {
        fault(&section, "dirs", "document.empty", &[]);
    }
    section.finish();
    let dirs = written.unwrap_or_else(|| vec![default.to_owned()]);
    let may_be_absent = dirs == [default];
    Dirs { dirs: dirs.iter().map(|dir| base.join(dir)).collect(), may_be_absent }
}

fn devices(mut section: Section, base: &Base) -> Devices {
    let default = base.join("devices.csv");
    let path = base.join(&text_or(&mut section, "file", "devices.csv"));
    let file = if path == default && !default.exists() {
        None
    } else {
        file(&mut section, "file", base).or(Some(path))
    };
    let choices = [("accept", UnknownDevices::Accept), ("quarantine", UnknownDevices::Quarantine)];
    let devices = Devices {
        file,
        identity_memory: integer(&mut section, "identity_memory", 1..=4096).unwrap_or(32),
        unknown: section.choice("unknown", &choices).unwrap_or(UnknownDevices::Accept),
    };
    section.finish();
    devices
}

fn history(mut section: Section) -> History {
    let retention = duration(&mut section, "retention", DAY..=36_500 * DAY).unwrap_or(400 * DAY);
    section.finish();
    History { retention }
}

/// `taken`: the address of the listener.
fn http(mut section: Section, base: &Base, taken: Option<SocketAddr>) -> Http {
    let http = Http {
        listen: address(&mut section, "listen")
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
        token_file: secret_file(&mut section, "token_file", base),
        insecure: section.truth("insecure").unwrap_or(false),
    };
    if !http.listen.ip().is_loopback() && !section.has("token_file") && !http.insecure {
        fault(&section, "listen", "tianlu.http.open", &[]);
    }
    if taken.is_some_and(|taken| collide(taken, http.listen)) {
        fault(&section, "listen", "tianlu.http.taken", &[]);
    }
    section.finish();
    http
}

/// Returns whether only one of two addresses can be listened on; port 0 is any that is free.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same_host = one.ip() == other.ip()
        || (one.is_ipv4() == other.is_ipv4()
            && (one.ip().is_unspecified() || other.ip().is_unspecified()));
    one.port() == other.port() && one.port() != 0 && is_same_host
}

/// Notes a problem by the name of its text; the remedy is the text `{name}.remedy`.
pub(super) fn fault(section: &Section, key: &str, name: &str, args: &[(&str, &dyn Display)]) {
    let (what, remedy) = texts(name, args);
    section.problem(key, what, remedy);
}

/// Returns what is wrong and what would be right.
pub(super) fn texts(name: &str, args: &[(&str, &dyn Display)]) -> (Text, Text) {
    (say(name, args), say(&format!("{name}.remedy"), args))
}

pub(super) fn text_or(section: &mut Section, key: &'static str, default: &str) -> String {
    optional_text(section, key).unwrap_or_else(|| default.to_owned())
}

/// Returns a string that may be absent, but not empty.
pub(super) fn optional_text(section: &mut Section, key: &'static str) -> Option<String> {
    section.node(key)?;
    section.required_text(key)
}

pub(super) fn integer<T: TryFrom<i64>>(
    section: &mut Section,
    key: &'static str,
    bounds: RangeInclusive<i64>,
) -> Option<T> {
    section.integer(key, bounds).and_then(|number| T::try_from(number).ok())
}

pub(super) fn duration(
    section: &mut Section,
    key: &'static str,
    bounds: RangeInclusive<Duration>,
) -> Option<Duration> {
    let found = section.duration(key)?;
    if bounds.contains(&found) {
        return Some(found);
    }
    let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
    fault(section, key, "document.range", &[("least", &least), ("most", &most)]);
    None
}

pub(super) fn size(
    section: &mut Section,
    key: &'static str,
    bounds: RangeInclusive<u64>,
) -> Option<u64> {
    // `max_bytes = 1000000` says bytes.
    let found = if let NodeValue::Integer(bytes) = section.node(key)?.value {
        u64::try_from(bytes).unwrap_or(0)
    } else {
        section.size(key)?
    };
    if bounds.contains(&found) {
        return Some(found);
    }
    let (least, most) = (show_size(*bounds.start()), show_size(*bounds.end()));
    fault(section, key, "document.range", &[("least", &least), ("most", &most)]);
    None
}

/// Writes a size in its largest whole unit: `8 GiB`, `1000 B`.
pub(crate) fn show_size(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    let whole = units.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    whole.map_or_else(|| format!("{bytes} B"), |(size, unit)| format!("{} {unit}", bytes / size))
}

/// Reads the path of a file that must be readable.
pub(super) fn file(section: &mut Section, key: &'static str, base: &Base) -> Option<PathBuf> {
    // Asked for in any case: a key that is absent must still count as known.
    section.node(key)?;
    let path = base.join(&section.required_text(key)?);
    let readable = std::fs::File::open(&path).and_then(|file| {
        let is_file = file.metadata()?.is_file();
        if is_file { Ok(()) } else { Err(std::io::ErrorKind::IsADirectory.into()) }
    });
    if let Err(error) = readable {
        fault(
            section,
            key,
            "tianlu.file.unreadable",
            &[("path", &path.display()), ("error", &error)],
        );
    }
    Some(path)
}

/// Reads the path of a file that must hold a secret.
pub(super) fn secret_file(
    section: &mut Section,
    key: &'static str,
    base: &Base,
) -> Option<SecretFile> {
    section.node(key)?;
    let secret = SecretFile::new(base.join(&section.required_text(key)?));
    if let Err(error) = secret.read() {
        fault(
            section,
            key,
            "tianlu.secret.unreadable",
            &[("path", &secret.path().display()), ("error", &error)],
        );
    }
    Some(secret)
}

/// Reads an address to listen on.
pub(super) fn address(section: &mut Section, key: &'static str) -> Option<SocketAddr> {
    let text = section.text(key)?;
    let numeric = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
    let parsed = numeric.parse().ok();
    if parsed.is_none() {
        fault(section, key, "tianlu.address", &[]);
    }
    parsed
}

/// Reads a URL with one of the schemes and without user and password; `login` names what to use instead.
pub(super) fn url(
    section: &mut Section,
    key: &'static str,
    schemes: &[&str],
    login: &str,
) -> Option<Url> {
    let text = section.required_text(key)?;
    let example =
        if schemes.contains(&"mqtt") { "mqtt://127.0.0.1:1883" } else { "http://127.0.0.1:8086" };
    let parsed = match Url::parse(text.trim()) {
        Ok(parsed) => parsed,
        Err(error) => {
            fault(section, key, "tianlu.url", &[("error", &error), ("example", &example)]);
            return None;
        }
    };
    if !schemes.contains(&parsed.scheme()) {
        let allowed =
            schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ");
        fault(
            section,
            key,
            "tianlu.url.scheme",
            &[("scheme", &parsed.scheme()), ("allowed", &allowed)],
        );
        return None;
    }
    if parsed.host_str().is_none_or(str::is_empty) {
        fault(section, key, "tianlu.url.host", &[("example", &example)]);
        return None;
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        fault(section, key, "tianlu.url.login", &[("login", &login)]);
        return None;
    }
    Some(parsed)
}
