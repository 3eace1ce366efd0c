//! A real influxd: found, started on a free port in a folder of its own, asked whether it is ready.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The token of the first user.
pub(crate) const TOKEN: &str = "token-of-the-first-user";

/// Starts influxd beside a watcher that ends it, by its pid, when the test process is gone, however it
/// went, and removes the folder where nothing else will.
const WATCHED: &str = r#"
"$1" --bolt-path "$2/i.bolt" --engine-path "$2/engine" --sqlite-path "$2/i.sqlite" \
     --http-bind-address "$3" --reporting-disabled >"$2/log" 2>&1 &
pid=$!
echo ready
cat >/dev/null
kill -9 $pid
wait $pid
if [ "$4" = remove ]; then rm -rf "$2"; fi
"#;

pub(crate) struct Influxd {
    binary: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
    /// A static is never dropped: its watcher removes the folder.
    at_end: &'static str,
    watcher: Option<Child>,
}

/// Returns the server shared by all tests of this process, or `None` with a notice.
pub(crate) fn shared() -> Option<&'static Influxd> {
    static SHARED: OnceLock<Option<Influxd>> = OnceLock::new();
    SHARED.get_or_init(|| Influxd::begin("remove")).as_ref()
}

impl Influxd {
    /// Starts a server with user, organisation `farm` and bucket `telemetry`.
    pub(crate) fn start() -> Option<Self> {
        Self::begin("keep")
    }

    fn begin(at_end: &'static str) -> Option<Self> {
        let Some(binary) = find() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no influxd, and CI=true");
            eprintln!("skipped: no influxd (TIANLU_INFLUXD, PATH, cache)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { binary, folder, address: free_address(), at_end, watcher: None };
        server.run();
        server.set_up();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the process on the same port and folder.
    pub(crate) fn run(&mut self) {
        let mut watcher = Command::new("sh")
            .args(["-c", WATCHED, "sh"])
            .args([self.binary.as_os_str(), self.folder.path().as_os_str()])
            .args([&self.address.to_string(), self.at_end])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.watcher = Some(watcher);
        let began = Instant::now();
        while self.http("GET", "/health", "").is_none_or(|(status, _)| status != 200) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "influxd is not ready: {}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            watcher.wait().unwrap();
        }
    }

    /// Forgets everything, as a store does that had nothing on disk yet.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        self.folder = tempfile::tempdir().unwrap();
        self.run();
        self.set_up();
    }

    /// Creates a bucket; `keep_secs` 0: for ever.
    pub(crate) fn bucket(&self, name: &str, keep_secs: u64) -> String {
        let org = self.org();
        let rules = format!(r#"[{{"type":"expire","everySeconds":{keep_secs}}}]"#);
        let body = format!(r#"{{"orgID":"{org}","name":"{name}","retentionRules":{rules}}}"#);
        let (status, answer) = self.http("POST", "/api/v2/buckets", &body).unwrap();
        assert_eq!(status, 201, "{answer}");
        id_of(&answer)
    }

    /// Creates a token that may do `actions` ("read", "write") to one bucket.
    pub(crate) fn token(&self, bucket_id: &str, actions: &[&str]) -> String {
        let org = self.org();
        let allow = |action| {
            format!(r#"{{"action":"{action}","resource":{{"type":"buckets","id":"{bucket_id}"}}}}"#)
        };
        let allowed = actions.iter().map(allow).collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"orgID":"{org}","permissions":[{allowed}]}}"#);
        let (status, answer) = self.http("POST", "/api/v2/authorizations", &body).unwrap();
        assert_eq!(status, 201, "{answer}");
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
        json["token"].as_str().unwrap().to_owned()
    }

    /// Reads a bucket without the reader under test: `device field value time`, sorted.
    pub(crate) fn rows(&self, bucket: &str) -> Vec<String> {
        self.rows_within(bucket, 0, i64::MAX)
    }

    /// The same for a range of times in nanoseconds.
    pub(crate) fn rows_within(&self, bucket: &str, from: i64, to: i64) -> Vec<String> {
        let flux = format!(
            "from(bucket: \\\"{bucket}\\\") |> range(start: time(v: {from}), stop: time(v: {to})) \
             |> keep(columns: [\\\"_time\\\", \\\"_value\\\", \\\"_field\\\", \\\"device\\\"])"
        );
        let body = format!(
            r#"{{"type":"flux","query":"{flux}","dialect":{{"annotations":[],"header":true}}}}"#
        );
        let (status, answer) = self.http("POST", "/api/v2/query?org=farm", &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        let mut rows = Vec::new();
        let mut header = csv::StringRecord::new();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(answer.as_bytes());
        for record in reader.records() {
            let record = record.unwrap();
            if record.iter().any(|cell| cell == "_time") {
                header = record;
                continue;
            }
            let cell =
                |name| record.get(header.iter().position(|cell| cell == name).unwrap()).unwrap();
            rows.push(format!(
                "{} {} {} {}",
                cell("device"),
                cell("_field"),
                cell("_value"),
                cell("_time")
            ));
        }
        rows.sort();
        rows
    }

    fn org(&self) -> String {
        let (_, answer) = self.http("GET", "/api/v2/orgs?org=farm", "").unwrap();
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
        json["orgs"][0]["id"].as_str().unwrap().to_owned()
    }

    fn set_up(&self) {
        let body = format!(
            r#"{{"username":"first","password":"password","org":"farm","bucket":"telemetry","token":"{TOKEN}"}}"#
        );
        let (status, answer) = self.http("POST", "/api/v2/setup", &body).unwrap();
        assert_eq!(status, 201, "{answer}");
    }

    /// One request over a connection of its own; `None`: nobody answers.
    fn http(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        // HTTP/1.0: the answer ends with the connection and is not chunked.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Token {TOKEN}\r\nContent-Type: application/json\r\n\
             Accept: application/csv\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a loopback address on which nobody listens; each call in a process another one. Its port lies below those
/// that the kernel gives to connections, one of which could take it before influxd does, or while influxd is killed.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The range is these tests' alone (see `proof::place`); two processes begin apart.
    let addresses = (0..500).map(|_| {
        let step = std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed);
        SocketAddr::from(([127, 0, 0, 1], 19_500 + u16::try_from(step % 500).unwrap()))
    });
    addresses.into_iter().find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

fn id_of(answer: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(answer).unwrap();
    json["id"].as_str().unwrap().to_owned()
}

fn find() -> Option<PathBuf> {
    let named = std::env::var_os("TIANLU_INFLUXD").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        std::env::split_paths(&path).map(|folder| folder.join("influxd")).collect::<Vec<_>>();
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let cached = cache.map(|cache| cache.join("tianlu/services/bin/influxd"));
    named.into_iter().chain(on_path).chain(cached).find(|file| file.is_file())
}
