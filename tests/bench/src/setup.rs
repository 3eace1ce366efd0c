//! What is measured, started: the service and its peers with the configuration of the benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proof::influx::{BUCKET, Influx, ORG, TOKEN};
use proof::mosquitto::Mosquitto;
use proof::place::services;
use proof::process::Process;
use proof::tianlu::Tianlu;
use proof::wait::pass;
use proof::work::Work;
use tempfile::TempDir;

use crate::load::Shape;
use crate::load::message;

/// Three rules that every device of the load has and none breaks; the probe's device breaks the first at will.
pub(crate) const RULES: &str = r#"
[[rules]]
name = "soil-dry"
scope = { domain = "soil" }
when = "soil_moisture_10cm < 0.05"
clear = "soil_moisture_10cm > 0.08"
severity = "red"
message = { zh = "{site} 土壤墒情偏低：{value}", en = "Soil is dry at {site}: {value}" }

[[rules]]
name = "air-hot"
scope = { domain = "soil" }
when = "air_temp > 45"
clear = "air_temp < 43"
on_delay = "10m"
severity = "orange"
message = { zh = "{site} 气温过高：{value}", en = "Air is hot at {site}: {value}" }

[[rules]]
name = "silent"
scope = { domain = "soil" }
no_data = "96 intervals"
severity = "yellow"
message = { zh = "{device} 无数据", en = "{device} is silent" }
"#;

/// How long a start may take, with a recovery on a busy machine.
const START: Duration = Duration::from_mins(5);

/// Returns the three rules, each as a file of its own.
pub(crate) fn rule_files() -> Vec<(String, String)> {
    let texts = RULES.split("[[rules]]").map(str::trim).filter(|text| !text.is_empty());
    texts.enumerate().map(|(place, text)| (format!("rule{place}"), text.to_owned())).collect()
}

/// Makes a working directory with profile and rules, without source and store.
pub(crate) fn work(shape: Shape) -> Work {
    let work = Work::new().profile("soil-5in1", &message::profile(shape));
    rule_files().into_iter().fold(work, |work, (name, text)| work.rule(&name, &text))
}

/// Adds a broker as the source; `protocol` is 3 or 5.
pub(crate) fn from_broker(work: Work, broker: &Mosquitto, protocol: u8) -> Work {
    let url = broker.url();
    work.section(&format!(
        "[mqtt]\nurl = \"{url}\"\nclient_id = \"bench-tianlu\"\nprotocol = {protocol}\ntopics = [\"tianlu/#\"]"
    ))
}

/// Adds the listener as the source, and returns its address.
pub(crate) fn from_listener(work: Work) -> (Work, String) {
    let address = format!("127.0.0.1:{}", proof::place::free_port());
    let text = format!("[listener]\nbind = \"{address}\"\nmax_connections = 20000");
    (work.section(&text), address)
}

/// Starts the service.
///
/// # Errors
///
/// What it printed, where it ends instead of becoming ready: this build may lack a part.
pub(crate) fn start(work: &Work) -> Result<Tianlu, String> {
    let mut service = Tianlu::start(work);
    let deadline = std::time::Instant::now() + START;
    while service.try_get("/readyz").is_none_or(|answer| answer.status() != 200) {
        if let Some(log) = service.ended() {
            let said: Vec<&str> = log.lines().filter(|line| !line.is_empty()).take(3).collect();
            return Err(said.join("; "));
        }
        assert!(std::time::Instant::now() < deadline, "tianlu is not ready within {START:?}");
        pass(Duration::from_millis(5));
    }
    Ok(service)
}

/// Telegraf with the settings that were best for this load. Its MQTT input speaks 3.1.1 only.
#[derive(Debug)]
pub(crate) struct Telegraf {
    process: Process,
    _dir: TempDir,
}

impl Telegraf {
    /// Starts it between a broker and a store; `None`: it is not built.
    pub(crate) fn start(broker: &Mosquitto, influx: &Influx) -> Option<Self> {
        let program = telegraf()?;
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("telegraf.conf");
        fs::write(&config, telegraf_config(&broker.address(), &influx.url())).unwrap();
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).env("HOME", dir.path());
        let process = Process::spawn("telegraf", command, &log_in(dir.path()));
        Some(Self { process, _dir: dir })
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Fails where it has ended.
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.process.exited();
        assert!(ended.is_none(), "telegraf ended: {ended:?}\n{}", self.process.log());
    }
}

/// `TIANLU_TELEGRAF`, else what `tests/services/get --telegraf` built. Unlike the servers of the tests it may be missing.
fn telegraf() -> Option<PathBuf> {
    let given = std::env::var_os("TIANLU_TELEGRAF").map(PathBuf::from);
    Some(given.unwrap_or_else(|| services().join("telegraf"))).filter(|program| program.is_file())
}

fn log_in(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn telegraf_config(broker: &str, influx: &str) -> String {
    format!(
        r#"[agent]
interval = "1s"
flush_interval = "1s"
metric_batch_size = 5000
metric_buffer_limit = 200000
omit_hostname = true

[[inputs.mqtt_consumer]]
servers = ["tcp://{broker}"]
topics = ["tianlu/v1/+/+/+/up"]
qos = 1
client_id = "bench-telegraf"
persistent_session = true
max_undelivered_messages = 100000
name_override = "soil"
topic_tag = ""
fieldexclude = ["seq"]
data_format = "json"
json_time_key = "ts"
json_time_format = "unix_ms"
[[inputs.mqtt_consumer.topic_parsing]]
topic = "tianlu/v1/+/+/+/up"
tags = "_/_/tenant/site/device/_"

[[outputs.influxdb_v2]]
urls = ["{influx}"]
token = "{TOKEN}"
organization = "{ORG}"
bucket = "{BUCKET}"
content_encoding = "identity"
"#
    )
}
