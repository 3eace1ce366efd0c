//! A working directory: configuration, profiles, rules, registry and secrets of one test.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::influx::{BUCKET, Influx, ORG, TOKEN};
use crate::place::free_port;

/// The profile every working directory has.
pub const SOIL: &str = r#"
name = "soil-5in1"
domain = "soil"
measurement = "soil"
interval = "15m"
codec = "json"

[time]
path = "ts"
format = "unix_ms"

[sequence]
path = "seq"

[[properties]]
name = "soil_moisture_10cm"
path = "soil_moisture_10cm"
unit = "m3/m3"
range = [0.0, 0.6]

[[properties]]
name = "soil_temp"
path = "soil_temp"
unit = "C"
range = [-40.0, 80.0]

[[properties]]
name = "note"
path = "note"
type = "string"
unit = "1"
"#;

/// A rule that fires below 0.12 m3/m3 without a delay and clears above 0.15.
pub const DRY: &str = r#"
name = "soil-dry"
scope = { domain = "soil" }
when = "soil_moisture_10cm < 0.12"
clear = "soil_moisture_10cm > 0.15"
severity = "orange"
message = { zh = "{site} 土壤墒情偏低：{value} m³/m³", en = "Soil is dry at {site}: {value} m³/m³" }
"#;

/// A rule that tells the silence of three intervals.
pub const SILENT: &str = r#"
name = "soil-no-data"
scope = { domain = "soil" }
no_data = "3 intervals"
severity = "yellow"
message = { zh = "{site} 无数据", en = "no data from {site}" }
"#;

/// A folder with a `tianlu.toml` that grows by sections.
#[derive(Debug)]
pub struct Work {
    dir: TempDir,
    http_port: u16,
    config: String,
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

impl Work {
    /// Makes a folder with the profile `soil-5in1`, its uplinks, an address of its own, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        let work =
            Self { dir: TempDir::new().unwrap(), http_port: free_port(), config: String::new() };
        fs::create_dir(work.path("rules")).unwrap();
        work.write("profiles/soil-5in1.toml", SOIL);
        let listen =
            format!("[data]\ndir = \"data\"\n[http]\nlisten = \"127.0.0.1:{}\"", work.http_port);
        let uplinks = "[[uplinks]]\ntopic = \"tianlu/v1/{tenant}/{site}/{device}/up\"\nprofile = \"soil-5in1\"";
        work.section(&listen).section(uplinks)
    }

    /// Appends sections to `tianlu.toml`.
    #[must_use]
    pub fn section(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push_str("\n\n");
        self.write("tianlu.toml", &self.config);
        self
    }

    /// Listens for devices itself.
    #[must_use]
    pub fn listener(self, address: &str) -> Self {
        self.section(&format!("[listener]\nbind = \"{address}\""))
    }

    /// Consumes everything below `tianlu/` from a broker.
    #[must_use]
    pub fn mqtt(self, url: &str) -> Self {
        let topics = r#"topics = ["tianlu/#"]"#;
        self.section(&format!("[mqtt]\nurl = \"{url}\"\nclient_id = \"proof-tianlu\"\n{topics}"))
    }

    /// Consumes everything below `tianlu/` from a broker, with more keys in `[mqtt]`.
    #[must_use]
    pub fn mqtt_with(self, url: &str, more: &str) -> Self {
        let mut work = self.mqtt(url);
        let end = work.config.trim_end().len();
        work.config.truncate(end);
        work.section(&format!("\n{more}"))
    }

    /// Sets more keys of `[data]`.
    #[must_use]
    pub fn data(mut self, more: &str) -> Self {
        self.config = self.config.replacen("dir = \"data\"", &format!("dir = \"data\"\n{more}"), 1);
        self.section("")
    }

    /// Stores in InfluxDB, with the token that may.
    #[must_use]
    pub fn influx(self, influx: &Influx) -> Self {
        self.store(&influx.url(), TOKEN)
    }

    /// Stores in the InfluxDB at `url` with `token`.
    #[must_use]
    pub fn store(self, url: &str, token: &str) -> Self {
        self.token(token);
        let place = format!(
            "org = \"{ORG}\"\nbucket = \"{BUCKET}\"\ntoken_file = \"secrets/influx.token\""
        );
        self.section(&format!("[store]\nkind = \"influxdb2\"\nurl = \"{url}\"\n{place}"))
    }

    /// Writes another token, as an editor does: with a line end.
    pub fn token(&self, token: &str) {
        self.write("secrets/influx.token", &format!("{token}\n"));
    }

    /// Delivers alerts to a webhook; `more` are further keys.
    #[must_use]
    pub fn webhook(self, url: &str, more: &str) -> Self {
        self.section(&format!("[[notifiers]]\nkind = \"webhook\"\nurl = \"{url}\"\n{more}"))
    }

    /// Writes `profiles/{name}.toml`.
    #[must_use]
    pub fn profile(self, name: &str, text: &str) -> Self {
        self.write(&format!("profiles/{name}.toml"), text);
        self
    }

    /// Expects an uplink of each device each two seconds, and tells the silence of six.
    #[must_use]
    pub fn tells_silence(self) -> Self {
        let often = SOIL.replace("interval = \"15m\"", "interval = \"2s\"");
        self.profile("soil-5in1", &often).rule("soil-no-data", SILENT)
    }

    /// Writes `rules/{name}.toml`.
    #[must_use]
    pub fn rule(self, name: &str, text: &str) -> Self {
        self.write(&format!("rules/{name}.toml"), text);
        self
    }

    /// Writes the registry and names it in the configuration with `more` keys of `[devices]`.
    #[must_use]
    pub fn devices(self, csv: &str, more: &str) -> Self {
        self.write("devices.csv", csv);
        self.section(&format!("[devices]\nfile = \"devices.csv\"\n{more}"))
    }

    /// Writes a file, and the folders it needs.
    pub fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Returns the path of a file in this folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns `http://127.0.0.1:port` of the service.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }
}
