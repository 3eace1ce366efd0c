//! Whether secrets can be read by everybody on this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Finding, Level};
use crate::config::{Config, NotifierTarget, Store};

const PART: &str = "files";
/// Read permission of everybody.
const OTHERS: u32 = 0o004;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut found: Vec<Finding> = files(config).into_iter().filter_map(open_to_all).collect();
    if found.is_empty() {
        found.push(Finding::ok(PART, "tianlu.doctor.files.good", &[]));
    }
    found
}

fn files(config: &Config) -> Vec<&Path> {
    let mut files: Vec<&Path> = Vec::new();
    for mqtt in &config.mqtt {
        files.extend(mqtt.password_file.as_ref().map(crate::config::SecretFile::path));
        files.extend(mqtt.tls.identity.as_ref().map(|(_, key)| key.path()));
    }
    if let Some(listener) = &config.listener {
        files.extend(listener.credentials_file.as_ref().map(crate::config::SecretFile::path));
        files.extend(listener.identity.as_ref().map(|(_, key)| key.path()));
    }
    if let Store::InfluxDb(influx) = &config.store {
        files.push(influx.token_file.path());
    }
    for notifier in &config.notifiers {
        if let NotifierTarget::Webhook { secret_file: Some(secret), .. } = &notifier.target {
            files.push(secret.path());
        }
    }
    files.extend(config.http.token_file.as_ref().map(crate::config::SecretFile::path));
    files.sort_unstable();
    files.dedup();
    files
}

fn open_to_all(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let shown = format!("{:o}", mode & 0o777);
    let args: [(&str, &dyn std::fmt::Display); 2] = [("path", &path.display()), ("mode", &shown)];
    (mode & OTHERS != 0).then(|| Finding::bad(Level::Warn, PART, "tianlu.doctor.files.open", &args))
}
