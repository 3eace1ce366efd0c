//! `run`: the service, from the checked configuration to its orderly end.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ingest::engine::service::Service;
use ingest::engine::settings::{
    NotifierSettings, NotifierTarget as Target, Settings, StoreSettings,
};
use ingest::listener::{Credentials as DeviceCredentials, ListenerConfig, ServerTls, SetUpError};
use ingest::mqtt::{
    Address, ClientCertificate, Credentials, MqttConfig, Secret, TlsFiles, client_config,
};
use ingest::notifier::{MqttTarget, Severity, WebhookTarget};
use ingest::source::SourceId;
use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::{ActiveConfig, Bundle};
use store::InfluxOptions;
use store::history::HistoryOptions;
use telemetry::problem::{Problem, chain};
use telemetry::text::{Lang, say};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{FAILED, GOOD};
use crate::config::{
    Config, Layers, Listener, Mqtt, Notifier, NotifierTarget, Store, UnknownDevices,
};
use crate::load::{Loaded, SourceKind, load};
use crate::{check, open_files, out, start_failure};

/// Input that stays away for less is never an alarm.
const SILENCE_AFTER_MIN: Duration = Duration::from_mins(15);
/// Reports of the rarest kind of device that may stay away: where stations report each hour, nothing may come for that
/// long, and one report may be missing.
const REPORTS_MISSING: u32 = 3;

/// Runs the service until it is told to stop. `layers` are kept for a reload.
#[must_use]
pub fn run(loaded: &Loaded, layers: &Layers, lang: Lang) -> ExitCode {
    open_files::allow(loaded.config.listener.as_ref().map_or(0, |one| one.max_connections));
    let settings = match prepare(loaded) {
        Ok(settings) => settings,
        Err(Refused::Problems(problems)) => return check::refuse(&problems, lang),
        Err(Refused::Failed(error)) => return fail(&error, lang),
    };
    let served = block_on(serve(settings, (&loaded.config.file, layers), lang));
    served.unwrap_or_else(|error| fail(&error.to_string(), lang))
}

/// Runs a command to its end, on a runtime of its own. Nothing is waited for then, also where it panics: a service that
/// did not start has threads that would go on for ever.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    struct Ends(Option<Runtime>);
    impl Drop for Ends {
        fn drop(&mut self) {
            if let Some(runtime) = self.0.take() {
                runtime.shutdown_background();
            }
        }
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let handle = runtime.handle().clone();
    let _ends = Ends(Some(runtime));
    Ok(handle.block_on(work))
}

enum Refused {
    Problems(Vec<Problem>),
    Failed(String),
}

/// Says why the command failed.
pub(crate) fn fail(error: &str, lang: Lang) -> ExitCode {
    out::note(&say("tianlu.run.failed", &[("detail", &error)]).show(lang));
    ExitCode::from(FAILED)
}

async fn serve(settings: Settings, (file, layers): (&Path, &Layers), lang: Lang) -> ExitCode {
    let signals =
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        return fail("listen for signals", lang);
    };
    let address = settings.http;
    let service = match Service::start(settings).await {
        Ok(service) => service,
        Err(error) => return start_failure::tell(&error, lang),
    };
    tracing::info!(http = %address, "tianlu runs");
    loop {
        tokio::select! {
            () = received(&mut terminate) => break,
            () = received(&mut interrupt) => break,
            () = received(&mut hangup) => reload(&service, file, layers).await,
        }
    }
    tracing::info!("tianlu stops");
    service.stop().await;
    ExitCode::from(GOOD)
}

/// Waits for a signal; for ever where none can come any more.
pub(crate) async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Takes the files as they are now, as a whole or not at all.
async fn reload(service: &Service, file: &Path, layers: &Layers) {
    let (bundle, active, credentials) = match reread(file, layers) {
        Ok(read) => read,
        Err(problems) => {
            for problem in problems {
                tracing::error!(%problem, "not reloaded; the configuration before stays active");
            }
            return;
        }
    };
    match service.reload(&bundle, active).await {
        Ok(()) => {
            service.desk().set_device_credentials(credentials);
            tracing::info!(
                "configuration reloaded, with the listener's credentials; the rest of the listener, brokers, store, notifiers and HTTP change at a restart"
            );
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "not reloaded; the configuration before stays active")
        }
    }
}

/// What a reload changes.
type Reread = (Bundle, Arc<ActiveConfig>, Option<DeviceCredentials>);

/// Reads what a reload changes, all of it before anything is changed.
fn reread(file: &Path, layers: &Layers) -> Result<Reread, Vec<Problem>> {
    let loaded = load(file, layers)?;
    let bundle = bundle(&loaded);
    let active = ActiveConfig::build(&bundle)?;
    Ok((bundle, active, device_credentials(&loaded.config)?))
}

/// Returns everything that influences results, as texts.
#[must_use]
pub fn bundle(loaded: &Loaded) -> Bundle {
    let config = &loaded.config;
    let of = |kind: SourceKind| {
        let files = loaded.sources.iter().filter(move |source| source.kind == kind);
        files.map(|source| SourceFile { name: source.name.clone(), text: source.text.clone() })
    };
    let route = |route: &crate::config::UplinkRoute| Route {
        topic: route.topic.clone(),
        profile: route.profile.clone(),
    };
    Bundle {
        profiles: of(SourceKind::Profile).collect(),
        rules: of(SourceKind::Rule).collect(),
        registry: of(SourceKind::Registry).next(),
        uplinks: config.uplinks.iter().map(route).collect(),
        unknown: match config.devices.unknown {
            UnknownDevices::Accept => UnknownDevice::Accept,
            UnknownDevices::Quarantine => UnknownDevice::Quarantine,
        },
        identity_memory: config.devices.identity_memory,
        max_payload: config.mqtt.iter().map(|mqtt| mqtt.max_payload).collect(),
    }
}

fn prepare(loaded: &Loaded) -> Result<Settings, Refused> {
    let config = &loaded.config;
    let bundle = bundle(loaded);
    let active = ActiveConfig::build(&bundle).map_err(Refused::Problems)?;
    let silence_after = silence_after(loaded);
    let sources = config.mqtt.iter().zip(0..);
    let sources = sources.map(|(mqtt, source)| source_of(mqtt, source, silence_after));
    let notifiers = config.notifiers.iter().map(|notifier| notifier_of(notifier, config));
    Ok(Settings {
        dir: config.data.dir.clone(),
        max_bytes: config.data.max_bytes,
        keep: config.data.keep,
        commit_interval: config.data.commit_interval,
        bundle,
        active,
        sources: sources.collect::<Result<_, _>>().map_err(Refused::Failed)?,
        listener: config
            .listener
            .as_ref()
            .map(|listener| listener_of(listener, config, silence_after))
            .transpose()?,
        store: store_of(config),
        notifiers: notifiers.collect::<Result<_, _>>().map_err(Refused::Failed)?,
        http: config.http.listen,
        http_token_file: config.http.token_file.as_ref().map(|file| file.path().to_owned()),
    })
}

/// Returns how long nothing may come: by the longest interval of the profiles that routes and registry name.
fn silence_after(loaded: &Loaded) -> Duration {
    let registered = loaded.registry.iter().filter_map(|device| device.profile.as_deref());
    let routed = loaded.config.uplinks.iter().map(|route| route.profile.as_str());
    let named: BTreeSet<&str> = registered.chain(routed).collect();
    let used = loaded.profiles.iter().filter(|profile| named.contains(&*profile.name));
    let longest = used.map(|profile| profile.interval).max().unwrap_or_default();
    SILENCE_AFTER_MIN.max(longest.saturating_mul(REPORTS_MISSING))
}

fn store_of(config: &Config) -> StoreSettings {
    let influx = match &config.store {
        Store::InfluxDb(influx) => influx,
        Store::Embedded => {
            let dir = config.data.dir.join("history");
            return StoreSettings::History(HistoryOptions::new(dir, config.history.retention));
        }
    };
    let token_file = influx.token_file.path();
    let mut options =
        InfluxOptions::new(influx.url.url().as_str(), &influx.org, &influx.bucket, token_file);
    options.gzip = influx.gzip;
    options.replay_window = influx.replay_window;
    StoreSettings::Influx(options)
}

/// The listener is the last of the sources.
fn listener_of(
    listener: &Listener,
    config: &Config,
    silence_after: Duration,
) -> Result<ListenerConfig, Refused> {
    let source = u16::try_from(config.mqtt.len()).unwrap_or(u16::MAX);
    let patterns = config.uplinks.iter().map(|route| route.pattern.clone()).collect();
    let mut made = ListenerConfig::new(SourceId(source), listener.bind, patterns);
    made.credentials = device_credentials(config).map_err(Refused::Problems)?;
    made.max_connections = listener.max_connections;
    made.silence_after = Some(silence_after);
    // Beside a broker nobody may have moved to it yet.
    made.silence_from_start = config.mqtt.is_empty();
    made.tls = listener.identity.as_ref().map(|(cert_file, key_file)| ServerTls {
        cert_file: cert_file.clone(),
        key_file: key_file.path().to_owned(),
        client_ca_file: listener.client_ca_file.clone(),
    });
    Ok(made)
}

/// Reads who may connect to the listener by a password; the problems are each line that is wrong, or one.
pub(crate) fn device_credentials(
    config: &Config,
) -> Result<Option<DeviceCredentials>, Vec<Problem>> {
    let file = config.listener.as_ref().and_then(|listener| listener.credentials_file.as_ref());
    let read = file.map(|file| DeviceCredentials::read(file.path())).transpose();
    read.map_err(|error| problems_of(error, config))
}

/// Returns why the listener's files cannot be used.
fn problems_of(error: SetUpError, config: &Config) -> Vec<Problem> {
    let (what, remedy) = (error.text(), error.remedy());
    match error {
        SetUpError::Credentials { problems } => problems,
        SetUpError::Bind { .. }
        | SetUpError::Pem { .. }
        | SetUpError::NoCertificate { .. }
        | SetUpError::Certificate { .. }
        | SetUpError::CredentialsFile { .. }
        | _ => vec![Problem {
            file: config.file.display().to_string(),
            line: None,
            key: "listener".to_owned(),
            value: String::new(),
            what,
            remedy,
        }],
    }
}

fn credentials(mqtt: &Mqtt) -> Result<Option<Credentials>, String> {
    let read = |file: &crate::config::SecretFile| {
        Secret::read(file.path()).map_err(|error| format!("{}: {error}", file.path().display()))
    };
    let password = match &mqtt.password {
        Some(given) => Some(Secret::new(given.expose().as_bytes().to_vec())),
        None => mqtt.password_file.as_ref().map(read).transpose()?,
    };
    let username = mqtt.username.clone();
    Ok((username.is_some() || password.is_some()).then_some(Credentials { username, password }))
}

fn address(mqtt: &Mqtt) -> Address {
    let client = mqtt.tls.identity.as_ref().map(|(cert_file, key_file)| ClientCertificate {
        cert_file: cert_file.clone(),
        key_file: key_file.path().to_owned(),
    });
    let tls = TlsFiles { ca_file: mqtt.tls.ca_file.clone(), client };
    Address {
        host: mqtt.broker.host.clone(),
        port: mqtt.broker.port,
        tls: mqtt.broker.is_tls.then_some(tls),
    }
}

fn source_of(mqtt: &Mqtt, source: u16, silence_after: Duration) -> Result<MqttConfig, String> {
    let mut config = MqttConfig::new(
        SourceId(source),
        address(mqtt),
        mqtt.client_id.clone(),
        mqtt.topics.clone(),
    );
    config.credentials = credentials(mqtt)?;
    config.receive_maximum =
        mqtt.receive_maximum.try_into().map_err(|_| "receive_maximum is 0".to_owned())?;
    config.silence_after = Some(silence_after);
    if mqtt.protocol == crate::config::Protocol::V311 {
        config.protocol = ingest::mqtt::Protocol::V3;
    }
    Ok(config)
}

/// Reaches the broker as the consumer does. A client id of its own for each topic: a broker has one connection of a
/// name.
fn publisher(mqtt: &Mqtt, topic: &str, name: &str) -> Result<MqttTarget, String> {
    let digest = telemetry::hash::sha256_hex(name.as_bytes());
    let client_id = format!("{}-alerts-{}", mqtt.client_id, digest.get(..8).unwrap_or_default());
    let mut target = MqttTarget::new(mqtt.broker.to_string(), topic, client_id);
    target.credentials = credentials(mqtt)?;
    let files = address(mqtt).tls;
    target.tls = files.as_ref().map(client_config).transpose().map_err(|error| error.text().en)?;
    Ok(target)
}

/// Names a notifier by kind and address: its queue is found again after a restart.
fn notifier_of(notifier: &Notifier, config: &Config) -> Result<NotifierSettings, String> {
    let (kind, address, target) = match &notifier.target {
        NotifierTarget::Webhook { url, secret_file } => {
            let address = url.url().as_str().to_owned();
            let mut target = WebhookTarget::new(address.clone());
            target.secret_file = secret_file.as_ref().map(|file| file.path().to_owned());
            ("webhook", address, Target::Webhook(target))
        }
        NotifierTarget::Mqtt { source, topic } => {
            let mqtt = config.mqtt.get(*source).ok_or("the notifier names no broker")?;
            let address = format!("{}/{topic}", mqtt.broker);
            ("mqtt", address.clone(), Target::Mqtt(publisher(mqtt, topic, &address)?))
        }
    };
    let digest = telemetry::hash::sha256_hex(address.as_bytes());
    let name = format!("{kind}-{}", digest.get(..12).unwrap_or_default());
    let min_severity = Severity::parse(notifier.min_severity.as_str()).unwrap_or(Severity::Yellow);
    Ok(NotifierSettings { name, target, min_severity })
}

#[cfg(test)]
mod tests {
    use telemetry::document::Problems;

    use super::*;

    const REST: &str = r#"
        topics = ["tianlu/#"]
        [[uplinks]]
        topic = "tianlu/v1/{tenant}/{site}/{device}/up"
        profile = "soil-5in1"
        [[notifiers]]
        kind = "mqtt"
        topic = "alerts/blue"
        min_severity = "blue"
        [[notifiers]]
        kind = "mqtt"
        topic = "alerts/red"
    "#;

    /// Guarantees: stations that report each hour are not called silent between two reports.
    #[test]
    fn silence_is_measured_by_the_rarest_reports() {
        let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/profiles");
        for (profile, registered, minutes) in [
            ("soil-5in1", "", 45),
            ("air-station", "", 180),
            ("water-level", "air-station", 180),
            ("water-level", "", 15),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("tianlu.toml");
            let text = format!(
                "[[uplinks]]\ntopic = \"up/{{device}}\"\nprofile = \"{profile}\"\n[profiles]\ndirs = [{packs:?}]\n[listener]\nbind = \"127.0.0.1:1884\"\n"
            );
            std::fs::write(&file, text).unwrap();
            std::fs::write(
                dir.path().join("devices.csv"),
                format!("tenant,device,profile\nt,d,{registered}\n"),
            )
            .unwrap();
            let loaded = load(&file, &Layers::default()).unwrap();
            assert_eq!(
                silence_after(&loaded),
                Duration::from_mins(minutes),
                "{profile} {registered}"
            );
        }
    }

    /// Reads a configuration, and makes its settings while its files are there.
    fn with<T>(mqtt: &str, made: impl FnOnce(&Config) -> T) -> T {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), "no certificate").unwrap();
        std::fs::write(dir.path().join("token"), "hunter2\n").unwrap();
        let (text, problems) = (format!("[mqtt]\n{mqtt}\n{REST}"), Problems::default());
        let file = dir.path().join("tianlu.toml");
        let config = Config::parse(&file, &text, &Layers::default(), None, &problems);
        assert!(problems.take().is_empty());
        made(&config)
    }

    fn targets(config: &Config) -> Vec<Result<MqttTarget, String>> {
        let made = config.notifiers.iter().map(|notifier| notifier_of(notifier, config));
        made.map(|made| match made?.target {
            Target::Mqtt(target) => Ok(target),
            Target::Webhook(_) => Err("a webhook".to_owned()),
        })
        .collect()
    }

    /// Scenario: two notifiers of one broker. Guarantees: a client id each, since a broker ends the older connection of
    /// a name, and the consumer's is another one.
    #[test]
    fn notifiers_of_one_broker_do_not_throw_each_other_out() {
        let made = with("url = \"mqtt://h\"\nclient_id = \"c\"", targets);
        let mut ids: Vec<String> = made.into_iter().map(|made| made.unwrap().client_id).collect();
        ids.push("c".to_owned());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3, "{ids:?}");
    }

    /// Guarantees: a notifier trusts the `ca_file` of its broker and no other, so that one that cannot be read is named.
    #[test]
    fn a_notifier_uses_the_files_of_its_broker() {
        let made = with("url = \"mqtts://h\"\nca_file = \"ca.pem\"", targets);
        let errors: Vec<String> = made.into_iter().map(|made| made.unwrap_err()).collect();
        assert_eq!(errors.len(), 2);
        assert!(errors.iter().all(|error| error.contains("ca.pem")), "{errors:?}");
    }

    /// Guarantees: MQTT 5 takes a password without a name, as a token is.
    #[test]
    fn a_password_alone_is_sent() {
        let made = with("url = \"mqtt://h\"\npassword_file = \"token\"", |config| {
            (
                source_of(&config.mqtt[0], 0, SILENCE_AFTER_MIN).unwrap().credentials,
                targets(config).remove(0).unwrap(),
            )
        });
        let password = Some(Secret::new(b"hunter2".to_vec()));
        let expected = Some(Credentials { username: None, password });
        assert_eq!((made.0, made.1.credentials), (expected.clone(), expected));
    }
}
