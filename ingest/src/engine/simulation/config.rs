//! The configurations that a world changes between.

use std::sync::{Arc, OnceLock};

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::{ActiveConfig, Bundle, ConfigSource};

use super::planted::Planted;

const PROFILE: &str = r#"
name = "soil"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[time]
path = "ts"
format = "unix_ms"
policy = "trust_device"
[sequence]
path = "seq"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
range = [0.0, 0.6]
[[properties]]
name = "temp"
path = "t"
unit = "C"
"#;

const GATEWAY: &str = r#"
name = "gateway"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[batch]
path = ""
device = "d"
[time]
path = "ts"
format = "unix_ms"
policy = "trust_device"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
range = [0.0, 0.6]
[[properties]]
name = "temp"
path = "t"
unit = "C"
"#;

const DRY: &str = r#"
name = "dry"
scope = { domain = "soil" }
when = "moisture < 0.12"
clear = "moisture > 0.15"
on_delay = "10s"
severity = "yellow"
message = { zh = "{device} 干 {value}", en = "{device} is dry: {value}" }
"#;

const SILENT: &str = r#"
name = "silent"
scope = { domain = "soil" }
no_data = "2 intervals"
severity = "orange"
message = { zh = "{device} 无数据", en = "{device} is silent" }
"#;

/// Bytes that a payload may have.
pub(super) const PAYLOAD_MAX: u64 = 2_000;
/// The configuration in which unknown devices are set aside.
pub(super) const QUARANTINE: usize = 3;

/// Every configuration, built once for all seeds.
pub(super) struct Configs(Vec<(Bundle, Arc<ActiveConfig>)>);

/// Returns them, read as a mistake reads them: what judges by the rules does not notice it, since it judges the same
/// each time.
pub(super) fn of(planted: Option<Planted>) -> &'static Configs {
    static ALL: [OnceLock<Configs>; 5] = [const { OnceLock::new() }; 5];
    let (at, from, to) = match planted {
        Some(Planted::DryEndsEarly) => (1, "moisture > 0.15", "moisture > 0.14"),
        Some(Planted::DryAtOnce) => (2, "10s", "0s"),
        Some(Planted::SilentTooSoon) => (3, "2 intervals", "1 interval"),
        Some(Planted::SilentTooLate) => (4, "2 intervals", "3 intervals"),
        _ => (0, "", ""),
    };
    ALL[at].get_or_init(|| {
        let read = |rule: &str| if at == 0 { rule.to_owned() } else { rule.replace(from, to) };
        Configs::new(&read(DRY), &read(SILENT))
    })
}

impl Configs {
    fn new(dry: &str, silent: &str) -> Self {
        let edited = dry.replace("0.12", "0.14");
        let bundles = [
            bundle(&[("dry.toml", dry), ("silent.toml", silent)], UnknownDevice::Accept, 32),
            bundle(&[("dry.toml", &edited)], UnknownDevice::Accept, 32),
            bundle(&[("silent.toml", silent)], UnknownDevice::Accept, 4),
            bundle(&[("dry.toml", dry)], UnknownDevice::Quarantine, 8),
        ];
        let built = |bundle: Bundle| {
            let active = ActiveConfig::build(&bundle).unwrap();
            (bundle, active)
        };
        Self(bundles.into_iter().map(built).collect())
    }

    /// Returns the number of a configuration.
    pub(super) fn number(&self, hash: &str) -> Option<usize> {
        self.0.iter().position(|(_, built)| built.hash == hash)
    }

    /// Returns one, as text and built.
    pub(super) fn get(&self, at: usize) -> (&Bundle, Arc<ActiveConfig>) {
        let (bundle, built) = &self.0[at];
        (bundle, Arc::clone(built))
    }
}

impl ConfigSource for Configs {
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>> {
        self.0.iter().find(|(_, built)| built.hash == hash).map(|(_, built)| Arc::clone(built))
    }
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn bundle(rules: &[(&str, &str)], unknown: UnknownDevice, identity_memory: u32) -> Bundle {
    let registry = "tenant,device,profile,site,lat,lon,region,name,group\ndefault,d0,soil,east,,,,一号,g\ndefault,d1,soil,east,,,,,g\n";
    let route =
        |topic: &str, profile: &str| Route { topic: topic.to_owned(), profile: profile.to_owned() };
    Bundle {
        profiles: vec![file("soil.toml", PROFILE), file("gateway.toml", GATEWAY)],
        rules: rules.iter().map(|(name, text)| file(name, text)).collect(),
        registry: Some(file("devices.csv", registry)),
        uplinks: vec![route("up/{site}/{device}", "soil"), route("gw/{device}", "gateway")],
        unknown,
        identity_memory,
        max_payload: vec![PAYLOAD_MAX],
    }
}
