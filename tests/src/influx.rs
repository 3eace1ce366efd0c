//! A real InfluxDB 2, and what stands in it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use influxdb2::Client;
use influxdb2::models::Query;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Call};
use crate::place::{free_port, program};
use crate::process::Process;
use crate::wait::until;

/// The organisation made at the start.
pub const ORG: &str = "farm";
/// The bucket made at the start.
pub const BUCKET: &str = "telemetry";
/// The token that may do everything.
pub const TOKEN: &str = "proof-token-of-the-operator";

/// One row of an answer: column to value; integers and times as nanoseconds stay whole numbers.
pub type Row = BTreeMap<String, Value>;

/// A series of one device at one time, as `(device, nanoseconds since 1970)`.
pub type At = (String, i64);

/// A running (or stopped) InfluxDB.
#[derive(Debug)]
pub struct Influx {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
}

impl Influx {
    /// Starts one whose bucket keeps everything; `None`: it is not built.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_keeping(Duration::ZERO)
    }

    /// Starts one whose bucket keeps `retention` (zero: for ever); `None`: it is not built.
    #[must_use]
    pub fn start_keeping(retention: Duration) -> Option<Self> {
        program("influxd", "TIANLU_INFLUXD")?;
        let mut server = Self { process: None, dir: TempDir::new().unwrap(), port: free_port() };
        server.restart();
        let setup = json!({
            "username": "proof", "password": "proof-password", "org": ORG, "bucket": BUCKET, "token": TOKEN,
            "retentionPeriodSeconds": retention.as_secs(),
        });
        let answer = http::post_json(&format!("{}/api/v2/setup", server.url()), &setup).unwrap();
        assert_eq!(answer.status(), 201, "set up InfluxDB: {}", answer.text());
        Some(server)
    }

    /// Returns the process id while it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("influxd runs").pid()
    }

    /// Returns `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("influxd runs");
        process.stop(Duration::from_secs(30));
    }

    /// Kills it.
    pub fn kill9(&mut self) {
        self.process.take().expect("influxd runs").kill9();
    }

    /// Starts it (again) on the same port with the same data, and waits until it passes its health check.
    pub fn restart(&mut self) {
        let folder = self.dir.path();
        let mut command = Command::new(program("influxd", "TIANLU_INFLUXD").unwrap());
        command.arg("--bolt-path").arg(folder.join("i.bolt"));
        command.arg("--engine-path").arg(folder.join("engine"));
        command.arg("--sqlite-path").arg(folder.join("i.sqlite"));
        command.args(["--http-bind-address", &self.address(), "--reporting-disabled"]);
        self.process = Some(Process::spawn("influxd", command, &folder.join("log")));
        let health = format!("{}/health", self.url());
        let what = format!("InfluxDB to pass {health}");
        until(&what, Duration::from_secs(60), || {
            http::get(&health).ok().filter(|answer| answer.status() == 200)
        });
    }

    /// Writes line protocol past Tianlu.
    pub fn write(&self, lines: &str) {
        let url = format!("{}/api/v2/write?org={ORG}&bucket={BUCKET}&precision=ns", self.url());
        let answer = self.call("POST", &url, lines.as_bytes());
        assert_eq!(answer.status(), 204, "write to InfluxDB: {}", answer.text());
    }

    /// Deletes a whole measurement.
    pub fn delete(&self, measurement: &str) {
        let url = format!("{}/api/v2/delete?org={ORG}&bucket={BUCKET}", self.url());
        let body = json!({
            "start": "1970-01-01T00:00:00Z", "stop": "2200-01-01T00:00:00Z",
            "predicate": format!("_measurement=\"{measurement}\""),
        });
        let answer = self.call("POST", &url, body.to_string().as_bytes());
        assert_eq!(answer.status(), 204, "delete from InfluxDB: {}", answer.text());
    }

    fn call(&self, method: &str, url: &str, body: &[u8]) -> http::Message {
        let token = format!("Token {TOKEN}");
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        http::send(Call { method, url, headers: &headers, body }).unwrap()
    }

    /// Asks in Flux, through the `influxdb2` crate, and returns the rows without their time columns: ask for
    /// `int(v: r._time)`. Ask for long rows, too: the crate panics on an empty number, as `pivot` makes them.
    #[must_use]
    pub fn query(&self, flux: &str) -> Vec<Row> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = async {
            let client = Client::new(self.url(), ORG, TOKEN);
            let answer = client.query_raw(Some(Query::new(flux.to_owned())));
            tokio::time::timeout(Duration::from_secs(60), answer).await // the crate has no time-out
        };
        let records =
            runtime.block_on(asked).unwrap_or_else(|_| panic!("no answer within 60 s to {flux}"));
        let records = records.unwrap_or_else(|e| panic!("InfluxDB refused ({e}): {flux}"));
        let rows = records.iter().map(|record| {
            let cells = record.values.iter().filter_map(|(column, value)| {
                let whole =
                    || value.i64().map(Value::from).or_else(|| value.u64().map(Value::from));
                let number =
                    || value.f64().map(Value::from).or_else(|| value.bool().map(Value::from));
                let cell = value.string().map(Value::from).or_else(whole).or_else(number)?;
                Some((column.clone(), cell))
            });
            cells.collect()
        });
        rows.collect()
    }

    /// Returns all points of a measurement, one row a field, with its tags, `_field`, `_value` and `at` (ns).
    #[must_use]
    pub fn points(&self, measurement: &str) -> Vec<Row> {
        let all = all_of(&format!("r._measurement == \"{measurement}\""));
        self.query(&format!("{all} |> map(fn: (r) => ({{r with at: int(v: r._time)}}))"))
    }

    /// Returns one field of a measurement, by device and time.
    ///
    /// Fails where two series of a device hold the same time, as a reading stored twice would.
    #[must_use]
    pub fn field(&self, measurement: &str, field: &str) -> BTreeMap<At, Value> {
        let mut found = BTreeMap::new();
        for (at, value) in self.values(measurement, field, "") {
            let before = found.insert(at.clone(), value);
            assert!(before.is_none(), "`{field}` of {at:?} stands in two series");
        }
        found
    }

    /// Returns one field of the devices whose name begins with `prefix`, each value as often as it stands there.
    #[must_use]
    pub fn values(&self, measurement: &str, field: &str, prefix: &str) -> Vec<(At, Value)> {
        let all = all_of(&format!(
            "r._measurement == \"{measurement}\" and r._field == \"{field}\" and r.device =~ /^{prefix}/"
        ));
        let narrow = "map(fn: (r) => ({device: r.device, at: int(v: r._time), value: r._value}))";
        let rows = self.query(&format!("{all} |> group() |> {narrow}")).into_iter().map(|row| {
            let at = (row["device"].as_str().unwrap().to_owned(), row["at"].as_i64().unwrap());
            (at, row["value"].clone())
        });
        rows.collect()
    }

    /// Returns how many values of a field stand in a measurement.
    #[must_use]
    pub fn count(&self, measurement: &str, field: &str) -> u64 {
        let all =
            all_of(&format!("r._measurement == \"{measurement}\" and r._field == \"{field}\""));
        let rows = self.query(&format!("{all} |> count() |> group() |> sum()"));
        rows.first().map_or(0, |row| row["_value"].as_u64().unwrap())
    }
}

fn all_of(condition: &str) -> String {
    format!(
        "from(bucket: \"{BUCKET}\") |> range(start: 1970-01-01T00:00:00Z, stop: 2200-01-01T00:00:00Z) \
         |> filter(fn: (r) => {condition})"
    )
}
