//! Broken configurations and the lines they give; what the defaults are.

use std::path::PathBuf;

use telemetry::text::Lang;
use tempfile::TempDir;

use super::*;

/// The least that is valid.
const LEAST: &str = "\
[mqtt]
url = \"mqtt://127.0.0.1:1883\"
topics = [\"tianlu/v1/+/+/+/up\"]
[[uplinks]]
topic = \"tianlu/v1/{tenant}/{site}/{device}/up\"
profile = \"soil-5in1\"
[store]
kind = \"influxdb2\"
url = \"http://127.0.0.1:8086\"
org = \"farm\"
bucket = \"telemetry\"
token_file = \"secrets/influx.token\"
";

struct Bench {
    dir: TempDir,
    layers: Layers,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("secrets")).unwrap();
        std::fs::write(dir.path().join("secrets/influx.token"), "hunter2\n").unwrap();
        std::fs::write(dir.path().join("secrets/empty"), "\n").unwrap();
        std::fs::write(dir.path().join("ca.pem"), "-").unwrap();
        Self { dir, layers: Layers::default() }
    }

    fn environment(mut self, pairs: &[(&str, &str)]) -> Self {
        self.layers.environment =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self
    }

    fn flags(mut self, pairs: &[(&str, &str)]) -> Self {
        self.layers.flags = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tianlu.toml")
    }

    /// Returns the configuration and the problems in English, without the folder's name.
    fn read(&self, text: &str) -> (Config, Vec<String>) {
        let problems = Problems::default();
        let config = Config::parse(&self.path(), text, &self.layers, None, &problems);
        let folder = format!("{}/", self.dir.path().display());
        let lines = problems
            .take()
            .iter()
            .map(|problem| problem.show(Lang::En).replace(&folder, ""))
            .collect();
        (config, lines)
    }
}

fn with(section: &str, line: &str) -> String {
    LEAST.replace(&format!("{section}\n"), &format!("{section}\n{line}\n"))
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn the_sample_is_exactly_the_defaults() {
    let bench = Bench::new();
    let (sample, problems) = bench.read(include_str!("../../samples/tianlu.toml"));
    assert_eq!(problems, none());
    let (least, problems) = bench.read(LEAST);
    assert_eq!(problems, none());
    assert_eq!(sample, least);
}

/// The values of the contract, written out once more: sample and code could err together.
#[test]
fn the_defaults_are_those_of_the_contract() {
    let bench = Bench::new();
    let (config, _) = bench.read(LEAST);
    let dir = bench.dir.path();
    assert_eq!(config.data.dir, dir.join("data"));
    assert_eq!((config.data.max_bytes, config.data.keep.as_secs()), (8 << 30, 86_400));
    assert_eq!(config.data.commit_interval.as_millis(), 2);
    let [mqtt] = config.mqtt.as_slice() else { panic!("one broker") };
    assert_eq!(
        (mqtt.protocol, mqtt.client_id.as_str(), mqtt.receive_maximum),
        (Protocol::V5, "tianlu-1", 1000)
    );
    assert_eq!(
        (mqtt.max_payload, mqtt.broker.to_string()),
        (256 << 10, "mqtt://127.0.0.1:1883".to_owned())
    );
    assert_eq!(config.profiles, Dirs { dirs: vec![dir.join("profiles")], may_be_absent: true });
    assert_eq!(config.rules, Dirs { dirs: vec![dir.join("rules")], may_be_absent: true });
    assert_eq!(
        (config.devices.identity_memory, config.devices.unknown),
        (32, UnknownDevices::Accept)
    );
    assert_eq!(config.devices.file, None, "devices.csv is optional");
    let Store::InfluxDb(influx) = &config.store else { panic!("influxdb2") };
    assert_eq!((influx.gzip, influx.replay_window.as_secs()), (false, 10));
    assert_eq!(config.history.retention.as_secs(), 400 * 86_400);
    assert_eq!(config.notifiers, []);
    assert_eq!(
        (config.http.listen.to_string().as_str(), config.http.insecure),
        ("127.0.0.1:8080", false)
    );
}

#[test]
fn listener_and_notifiers_have_their_defaults() {
    let bench = Bench::new();
    let text = format!("{LEAST}[listener]\n[[notifiers]]\nurl = \"https://example.org/hook\"\n");
    let (config, problems) = bench.read(&text);
    let listener = config.listener.unwrap();
    assert_eq!(
        (listener.bind.to_string().as_str(), listener.max_connections),
        ("127.0.0.1:1884", 10_000)
    );
    assert_eq!(config.notifiers.len(), 1);
    assert_eq!(config.notifiers[0].min_severity, rules::Severity::Yellow);
    assert!(problems.is_empty(), "{problems:?}");
}

/// Asserts that each text has exactly one problem, and its line.
fn assert_lines(cases: &[(String, &str)]) {
    let bench = Bench::new();
    for (text, line) in cases {
        assert_eq!(bench.read(text).1, [*line], "{text}");
    }
}

#[test]
fn mistakes_of_a_broker() {
    assert_lines(&[
        (
            with("[mqtt]", "recieve_maximum = 5"),
            "tianlu.toml:2: mqtt.recieve_maximum = 5: unknown key `recieve_maximum` -> did you mean `receive_maximum`?",
        ),
        (
            with("[mqtt]", "receive_maximum = 0"),
            "tianlu.toml:2: mqtt.receive_maximum = 0: outside the allowed range 1..65535 -> choose a value from 1 to 65535",
        ),
        (
            with("[mqtt]", "protocol = 4"),
            "tianlu.toml:2: mqtt.protocol = 4: not a version of MQTT that is spoken here -> write 5, or 3 for 3.1.1",
        ),
        (
            with("[mqtt]", "max_payload = \"1 GiB\""),
            "tianlu.toml:2: mqtt.max_payload = \"1 GiB\": outside the allowed range 64 B..16 MiB -> choose a value from 64 B to 16 MiB",
        ),
        (
            with("[mqtt]", "ca_file = \"ca.pem\""),
            "tianlu.toml:2: mqtt.ca_file = \"ca.pem\": has no effect with a URL of `mqtt://`: nothing would be encrypted to 127.0.0.1 -> write `mqtts://127.0.0.1` in `url`, or remove this key",
        ),
        (
            with("[mqtt]", "password = \"hunter2\""),
            "tianlu.toml:2: mqtt.password = ***: unknown key `password` -> did you mean `password_file`?",
        ),
        (
            with("[mqtt]", "password_file = \"secrets/none\""),
            "tianlu.toml:2: mqtt.password_file = \"secrets/none\": cannot read a secret from the file secrets/none: No such file or directory (os error 2) -> write the secret into that file (mode 600), or correct the path (relative to the folder of the configuration)",
        ),
        (
            with("[mqtt]", "password_file = \"secrets/empty\""),
            "tianlu.toml:2: mqtt.password_file = \"secrets/empty\": cannot read a secret from the file secrets/empty: the file is empty -> write the secret into that file (mode 600), or correct the path (relative to the folder of the configuration)",
        ),
    ]);
}

#[test]
fn mistakes_of_addresses_and_topics() {
    assert_lines(&[
        (
            LEAST.replace("mqtt://127", "mqtt://me:hunter2@127"),
            "tianlu.toml:2: mqtt.url = \"mqtt://***@127.0.0.1:1883\": user and password must not stand in a URL -> remove them from the URL and use username, password_file",
        ),
        (
            LEAST.replace("mqtt://127", "http://127"),
            "tianlu.toml:2: mqtt.url = \"http://127.0.0.1:1883\": the scheme `http` does not serve here -> use one of mqtt://, mqtts://",
        ),
        (
            LEAST.replace("mqtt://127.0.0.1:1883", "localhost"),
            "tianlu.toml:2: mqtt.url = \"localhost\": not a URL: relative URL without a base -> write it like `mqtt://127.0.0.1:1883`",
        ),
        (
            LEAST.replace("+/+/+/up", "+/#/+/up"),
            "tianlu.toml:3: mqtt.topics = \"tianlu/v1/+/#/+/up\": not a topic filter -> `+` fills a level of its own, `#` is the last level; a shared subscription is `$share/group/filter`",
        ),
        (
            LEAST.replace("{device}/up", "{device}/down"),
            "tianlu.toml:5: uplinks[0].topic = \"tianlu/v1/{tenant}/{site}/{device}/down\": nothing that is subscribed to (tianlu/v1/+/+/+/up) can match this pattern -> correct the pattern, or add a filter for it to `[mqtt] topics`",
        ),
        (
            LEAST.replace("{site}", "{place}"),
            "tianlu.toml:5: uplinks[0].topic = \"tianlu/v1/{tenant}/{place}/{device}/up\": not a topic pattern: `{place}` is not one of `{tenant}`, `{site}`, `{device}` -> write it like `tianlu/v1/{tenant}/{site}/{device}/up`",
        ),
    ]);
}

#[test]
fn mistakes_of_the_other_sections() {
    assert_lines(&[
        (
            with("[store]", "gzip = 1"),
            "tianlu.toml:8: store.gzip = 1: expected true or false, found an integer -> write true or false",
        ),
        (
            with("[store]", "replay_window = \"2 hours\""),
            "tianlu.toml:8: store.replay_window = \"2 hours\": not a duration -> write it like `90s`, `15m`, `2h` or `30d`",
        ),
        (
            with("[store]", "replay_window = \"2h\""),
            "tianlu.toml:8: store.replay_window = \"2h\": outside the allowed range 0s..1h -> choose a value from 0s to 1h",
        ),
        (
            LEAST
                .replace("\"influxdb2\"", "\"embedded\"")
                .replace("url = \"http", "# \"http")
                .replace("bucket", "#")
                .replace("token_file", "#"),
            "tianlu.toml:10: store.org = \"farm\": the embedded history has no use for this key -> remove it, or write `kind = \"influxdb2\"`",
        ),
        (
            LEAST.replace("bucket = \"telemetry\"\n", ""),
            "tianlu.toml:7: store.bucket: the required key `bucket` is missing -> add `bucket` (a string)",
        ),
        (
            format!("{LEAST}[http]\nlisten = \"0.0.0.0:8080\"\n"),
            "tianlu.toml:14: http.listen = \"0.0.0.0:8080\": anybody on the network could call this address -> listen on 127.0.0.1, or set `token_file`; where it really is meant, `insecure = true`",
        ),
        (
            format!("{LEAST}[devices]\nunknown = \"quarantin\"\n"),
            "tianlu.toml:14: devices.unknown = \"quarantin\": not one of the choices -> did you mean `quarantine`?",
        ),
        (
            format!("{LEAST}[data]\nmax_bytes = \"1 KiB\"\n"),
            "tianlu.toml:14: data.max_bytes = \"1 KiB\": outside the allowed range 64 MiB..64 TiB -> choose a value from 64 MiB to 64 TiB",
        ),
        (
            format!("{LEAST}[[notifiers]]\nkind = \"mqtt\"\ntopic = \"alerts/#\"\n"),
            "tianlu.toml:15: notifiers[0].topic = \"alerts/#\": a topic to publish to has no wildcards -> write a whole topic, like `tianlu/v1/alerts`",
        ),
        (
            format!("{LEAST}{0}{0}", "[[notifiers]]\nurl = \"https://h/hook\"\n"),
            "tianlu.toml:16: notifiers[1].url = \"https://h/hook\": a notifier before it sends to the same place -> keep one of them, with the lower `min_severity`",
        ),
        (
            format!(
                "{LEAST}[[notifiers]]\nurll = \"https://h/?key=hunter2\"\nurl = \"https://h/\"\n"
            ),
            "tianlu.toml:14: notifiers[0].urll = \"https://h/?***\": unknown key `urll` -> did you mean `url`?",
        ),
        (
            format!("{LEAST}[htp]\nlisten = \"x\"\n"),
            "tianlu.toml:13: htp: unknown key `htp` -> did you mean `http`?",
        ),
    ]);
}

#[test]
fn what_is_absent_is_named() {
    let bench = Bench::new();
    assert_eq!(
        bench.read("").1,
        [
            "tianlu.toml: mqtt: there is no source of uplinks: neither `[mqtt]` nor `[listener]` is there -> add `[mqtt]` with `url` and `topics`, or an empty `[listener]`",
            "tianlu.toml: uplinks: `[[uplinks]]` is missing: no topic would be decoded -> add `[[uplinks]]` with `topic` and `profile`",
        ]
    );
}

#[test]
fn a_syntax_error_does_not_hide_the_other_mistakes() {
    let (_, lines) = Bench::new().read(&with("[store]", "gzip = \nreplay_window = \"soon\""));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("tianlu.toml:8: not valid TOML"), "{}", lines[0]);
    assert!(
        lines[1].starts_with("tianlu.toml:9: store.replay_window = \"soon\": not a duration"),
        "{}",
        lines[1]
    );
}

/// Scenario: a name at the top has a dot or a bracket in quotes.
/// Guarantees: it is told as unknown, and changes nothing of the section that it looks like, each time.
#[test]
fn a_quoted_name_is_no_path() {
    let bench = Bench::new();
    let (least, _) = bench.read(LEAST);
    for name in ["mqtt.url", "mqtt[0].url", "store.kind"] {
        let text = format!("\"{name}\" = \"x\"\n{LEAST}");
        for _ in 0..32 {
            let (config, lines) = bench.read(&text);
            assert_eq!(config, least);
            assert_eq!(lines.len(), 1, "{lines:?}");
            let told = format!("tianlu.toml:1: {name} = \"x\": unknown key `{name}`");
            assert!(lines[0].starts_with(&told), "{lines:?}");
        }
    }
}

#[test]
fn several_brokers_need_names_of_their_own() {
    let mqtt = "[[mqtt]]\nurl = \"mqtt://b\"\ntopics = \"tianlu/v1/#\"\n";
    let text = format!("{}{mqtt}", LEAST.replace("[mqtt]", "[[mqtt]]"));
    let (config, lines) = Bench::new().read(&text);
    assert_eq!(
        lines,
        [
            "tianlu.toml:13: mqtt[1]: the client id `tianlu-1` is already that of mqtt[0]; two sessions of one name throw each other out -> give each `[[mqtt]]` a `client_id` of its own"
        ]
    );
    assert_eq!(config.mqtt.len(), 2);
    assert_eq!(config.mqtt[1].broker.port, 1883);
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let bench = Bench::new()
        .environment(&[
            ("TIANLU__STORE__URL", "http://influx:9999/base"),
            ("TIANLU__MQTT__RECEIVE_MAXIMUM", "7"),
            ("TIANLU__MQTT__TOPICS", "tianlu/v1/#, other/#"),
            ("TIANLU__UPLINKS__0__PROFILE", "air"),
            ("TIANLU__HTTP__LISTEN", ""),
            ("TIANLU__STORE__ORG", "env"),
            ("TIANLU__MQTT__USERNAME", "farm"),
            ("TIANLU__MQTT__PASSWORD", "hunter2"),
        ])
        .flags(&[("store.org", "flag"), ("store.gzip", "true")]);
    let (config, lines) = bench.read(LEAST);
    assert_eq!(lines, none());
    let Store::InfluxDb(influx) = &config.store else { panic!("influxdb2") };
    assert_eq!(
        (influx.url.to_string().as_str(), influx.org.as_str(), influx.gzip),
        ("http://influx:9999/base", "flag", true)
    );
    assert_eq!((config.mqtt[0].receive_maximum, config.mqtt[0].topics.len()), (7, 2));
    assert_eq!(config.uplinks[0].profile, "air");
    assert_eq!(config.mqtt[0].password.as_ref().map(Secret::expose), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn problems_of_the_environment_and_of_flags_say_so() {
    let bench = Bench::new()
        .environment(&[
            ("TIANLU__STORE__URL", "http://me:hunter2@influx"),
            ("TIANLU__HTP__LISTEN", "x"),
            ("TIANLU__STORE__TOKEN", "hunter2"),
            ("TIANLU__UPLINKS__99__TOPIC", "x"),
        ])
        .flags(&[("data.keep", "soon")]);
    let (_, lines) = bench.read(LEAST);
    assert_eq!(
        lines,
        [
            "--set: data.keep = \"soon\": not a duration -> write it like `90s`, `15m`, `2h` or `30d`",
            "environment: htp: unknown key `htp` -> did you mean `http`?",
            "environment: store.token = ***: unknown key `token` -> did you mean `token_file`?",
            "environment: store.url = \"http://***@influx\": user and password must not stand in a URL -> remove them from the URL and use token_file",
            "environment: uplinks.99.topic: `uplinks` has no such element -> count from 0, and not beyond the elements of `uplinks` in the file",
        ]
    );
}

#[test]
fn an_override_of_a_list_must_say_which_element() {
    let two = format!(
        "{}[[mqtt]]\nurl = \"mqtt://b\"\nclient_id = \"b\"\ntopics = \"b/#\"\n",
        LEAST.replace("[mqtt]", "[[mqtt]]")
    );
    let (_, lines) = Bench::new().environment(&[("TIANLU__MQTT__URL", "mqtt://c")]).read(&two);
    assert_eq!(
        lines,
        [
            "environment: mqtt.url: `mqtt` has 2 elements, and this does not say which -> name the index, as in `TIANLU__MQTT__0__URL`"
        ]
    );
    let (config, lines) =
        Bench::new().environment(&[("TIANLU__MQTT__1__URL", "mqtt://c")]).read(&two);
    assert_eq!((lines, config.mqtt[1].broker.host.as_str()), (none(), "c"));
}

#[test]
fn no_debug_output_shows_a_secret() {
    let text = format!(
        "{LEAST}[[notifiers]]\nurl = \"https://h/hook?key=hunter2\"\nsecret_file = \"secrets/influx.token\"\n"
    );
    let (config, lines) = Bench::new().read(&text);
    assert_eq!(lines, none());
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
