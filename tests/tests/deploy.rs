//! What `deploy/` tells systemd, a container engine and Mosquitto fits the binary, and each other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use proof::place::{free_port, program, workspace};
use proof::process::Process;
use proof::tianlu::{binary, run};
use proof::wait::until;
use tempfile::TempDir;

fn deploy(name: &str) -> PathBuf {
    workspace().join("deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(deploy(name)).unwrap()
}

/// Returns the lines of one service of the compose file.
fn service(name: &str) -> String {
    let compose = text("compose/compose.yaml");
    let lines = compose.lines().skip_while(|line| *line != format!("  {name}:")).skip(1);
    let own = lines.take_while(|line| line.starts_with("   "));
    own.map(|line| format!("{line}\n")).collect()
}

/// Returns the items of a list of a service, such as `volumes`.
fn items(service: &str, key: &str) -> Vec<String> {
    let below = service.lines().skip_while(|line| *line != format!("    {key}:")).skip(1);
    below.map_while(|line| line.strip_prefix("      - ")).map(str::to_owned).collect()
}

/// Returns the list that stands behind `before` on a line: `CMD ["run", "--config", "file"]`.
fn words(text: &str, before: &str) -> Vec<String> {
    let list = text.lines().find_map(|line| line.strip_prefix(before));
    let list = list.unwrap_or_else(|| panic!("no line begins with `{before}`"));
    serde_json::from_str(list.trim()).unwrap()
}

fn ended_well(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Makes the secrets as a user does, in a folder of its own.
///
/// The script is linked, not copied: a process that another test forks meanwhile holds the copy open for writing until
/// its own `exec`, and the kernel starts no file that is being written ("Text file busy").
fn secrets(dir: &Path) -> PathBuf {
    symlink(deploy("compose/secrets.sh"), dir.join("secrets.sh")).unwrap();
    drop(ended_well(&mut Command::new(dir.join("secrets.sh"))));
    dir.join("secrets")
}

/// Guarantees: every command line that starts the service is one that the binary takes.
#[test]
fn each_command_line_is_one_that_the_binary_takes() {
    let unit = text("systemd/tianlu.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let start: Vec<_> = start.split_whitespace().map(str::to_owned).collect();
    let image = text("Containerfile");
    assert_eq!(words(&image, "ENTRYPOINT "), start[..1]);
    let lines =
        [start[1..].to_vec(), words(&image, "CMD "), words(&service("tianlu"), "    command: ")];
    let dir = TempDir::new().unwrap();
    for line in lines {
        // A word that it does not know, before `--help`, is refused.
        let ran = run(dir.path(), &[line.as_slice(), &["--help".to_owned()]].concat()).ended(0);
        assert!(ran.stdout.contains("--config"), "{line:?}");
        assert_eq!(line.last().unwrap(), "/etc/tianlu/tianlu.toml");
    }
}

/// Guarantees: systemd finds nothing wrong with the unit, where systemd is installed.
#[test]
fn systemd_takes_the_unit() {
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: systemd is not installed");
        return;
    }
    let dir = TempDir::new().unwrap();
    let unit = dir.path().join("tianlu.service");
    let installed = text("systemd/tianlu.service");
    let here = installed.replace("/usr/local/bin/tianlu", &binary().display().to_string());
    assert_ne!(here, installed);
    fs::write(&unit, &here).unwrap();
    let verify = |unit: &Path| {
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output().unwrap()
    };
    let output = verify(&unit);
    let told = String::from_utf8_lossy(&output.stderr);
    let about_it: Vec<_> = told.lines().filter(|line| line.contains("tianlu")).collect();
    assert!(output.status.success() && about_it.is_empty(), "{output:?}");
    // It would have said so.
    fs::write(&unit, here.replace("NoNewPrivileges=yes", "NoNewPrivilege=yes")).unwrap();
    let told = String::from_utf8_lossy(&verify(&unit).stderr).into_owned();
    assert!(told.contains("NoNewPrivilege"), "{told}");
}

/// Guarantees: the script makes every secret that the compose file names, for its owner's eyes only, and none anew.
#[test]
fn the_script_makes_each_secret_once() {
    let dir = TempDir::new().unwrap();
    let folder = secrets(dir.path());
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let compose = text("compose/compose.yaml");
    let named: BTreeSet<_> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("file: secrets/"))
        .map(str::to_owned)
        .collect();
    let read = || {
        let entries = fs::read_dir(&folder).unwrap().map(Result::unwrap);
        let one = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        };
        entries.map(one).collect::<std::collections::BTreeMap<_, _>>()
    };
    let made = read();
    assert_eq!(made.keys().cloned().collect::<BTreeSet<_>>(), named);
    for name in ["mosquitto", "influxdb", "tianlu", "grafana"] {
        let used = items(&service(name), "secrets");
        assert!(
            !used.is_empty() && used.iter().all(|used| named.contains(used)),
            "{name}: {used:?}"
        );
    }
    let distinct: BTreeSet<_> = made.values().collect();
    assert!(distinct.len() == made.len() && distinct.iter().all(|secret| secret.len() > 30));
    drop(ended_well(&mut Command::new(dir.path().join("secrets.sh"))));
    assert_eq!(read(), made);
}

/// Lays files where a container or a unit sees them, below `root`; returns the path of the configuration there.
fn laid_out(root: &Path, config: &str, secrets: &[(PathBuf, PathBuf)]) -> PathBuf {
    let mut config = config.to_owned();
    for (from, to) in secrets {
        let below = root.join(to.strip_prefix("/").unwrap());
        fs::create_dir_all(below.parent().unwrap()).unwrap();
        fs::copy(from, &below).unwrap();
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        config = config.replace(&quoted(to), &quoted(&below));
    }
    let path = root.join("etc/tianlu/tianlu.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, config).unwrap();
    path
}

fn check(config: &Path) {
    let config = config.to_str().unwrap();
    let dir = TempDir::new().unwrap();
    drop(run(dir.path(), &["check", "--offline", "--config", config]).ended(0));
}

/// Scenario: the folder that the container sees: the volumes and secrets of the compose file, at their places.
/// Guarantees: `tianlu check --offline` finds nothing wrong with the configuration there; without the
/// profiles it does.
#[test]
fn the_configuration_in_the_container_is_good() {
    let dir = TempDir::new().unwrap();
    let made = secrets(dir.path());
    let service = service("tianlu");
    let secrets: Vec<_> = items(&service, "secrets")
        .iter()
        .map(|name| (made.join(name), Path::new("/run/secrets").join(name)))
        .collect();
    let config = laid_out(dir.path(), &text("compose/tianlu.toml"), &secrets);
    let mut mounted = Vec::new();
    for volume in items(&service, "volumes") {
        let mut parts = volume.split(':');
        let (from, to) = (parts.next().unwrap(), Path::new(parts.next().unwrap()));
        let below = dir.path().join(to.strip_prefix("/").unwrap());
        // A named volume, or what was laid out with other paths for the secrets.
        if !from.starts_with('.') || below.exists() {
            continue;
        }
        assert_eq!(parts.next(), Some("ro"), "{volume}");
        let from = fs::canonicalize(deploy("compose").join(from)).unwrap();
        symlink(from, &below).unwrap();
        mounted.push(below);
    }
    check(&config);
    assert_eq!(mounted.len(), 3, "{mounted:?}");
    let config = config.to_str().unwrap();
    let listed = run(dir.path(), &["rules", "list", "--config", config]).ended(0);
    for rule in ["soil-drought-severe", "expressway-congestion-light", "air-pm2-5-heavy"] {
        assert!(listed.stdout.contains(rule), "{rule} in:\n{}", listed.stdout);
    }
    fs::remove_file(dir.path().join("etc/tianlu/profiles")).unwrap();
    drop(run(dir.path(), &["check", "--offline", "--config", config]).ended(2));
}

/// Scenario: the folder that the unit sees, with its credentials at the place where systemd puts them.
/// Guarantees: `tianlu check --offline` finds nothing wrong with its configuration.
#[test]
fn the_configuration_of_the_unit_is_good() {
    let dir = TempDir::new().unwrap();
    let made = secrets(dir.path());
    let unit = text("systemd/tianlu.service");
    let names = unit.lines().filter_map(|line| line.strip_prefix("LoadCredential="));
    let names = names.map(|line| line.split(':').next().unwrap());
    let place = Path::new("/run/credentials/tianlu.service");
    let secrets: Vec<_> = names.map(|name| (made.join(name), place.join(name))).collect();
    assert_eq!(secrets.len(), 2);
    let config = laid_out(dir.path(), &text("systemd/tianlu.toml"), &secrets);
    let etc = config.parent().unwrap();
    for name in ["profiles", "rules"] {
        symlink(workspace().join("packs").join(name), etc.join(name)).unwrap();
    }
    fs::copy(deploy("compose/devices.csv"), etc.join("devices.csv")).unwrap();
    check(&config);
}

/// Every path outside of the repository that a file names is one of the container: this test's own stand in.
fn mosquitto(dir: &Path, port: u16) -> Process {
    let (passwords, acl) = (dir.join("passwd"), dir.join("mosquitto.acl"));
    fs::copy(dir.join("secrets/mosquitto.passwd"), &passwords).unwrap();
    drop(ended_well(Command::new("mosquitto_passwd").arg("-U").arg(&passwords)));
    let plain = fs::read_to_string(dir.join("secrets/mqtt.password")).unwrap();
    assert!(!fs::read_to_string(&passwords).unwrap().contains(plain.trim()));
    fs::copy(deploy("compose/mosquitto.acl"), &acl).unwrap();
    let mut config = text("compose/mosquitto.conf");
    for (there, here) in [
        ("listener 1883", format!("listener {port} 127.0.0.1")),
        ("/run/mosquitto/passwd", passwords.display().to_string()),
        ("/mosquitto/config/mosquitto.acl", acl.display().to_string()),
        ("/mosquitto/data/", format!("{}/", dir.display())),
    ] {
        assert_eq!(config.matches(there).count(), 1, "{there}");
        config = config.replace(there, &here);
    }
    if rustix::process::getuid().is_root() {
        config.push_str("user root\n");
    }
    fs::write(dir.join("mosquitto.conf"), config).unwrap();
    let mut command = Command::new(program("mosquitto", "TIANLU_MOSQUITTO").unwrap());
    command.arg("-c").arg(dir.join("mosquitto.conf"));
    Process::spawn("mosquitto", command, &dir.join("log"))
}

/// Scenario: the broker with the configuration of the compose file; a device that publishes under its own and
/// under another's name, while the service is away.
/// Guarantees: nobody enters without a password; the health check passes; the service finds the message of the
/// device's own name, and no other.
#[test]
fn mosquitto_lets_a_device_in_as_itself() {
    if program("mosquitto", "TIANLU_MOSQUITTO").is_none() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let made = secrets(dir.path());
    let given = ended_well(Command::new(dir.path().join("secrets.sh")).args(["device", "probe-1"]));
    let device = String::from_utf8(given.stdout).unwrap().trim().to_owned();
    let service = fs::read_to_string(made.join("mqtt.password")).unwrap().trim().to_owned();
    let port = free_port();
    let mut broker = mosquitto(dir.path(), port);
    let client = |program: &str, more: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(more);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let tianlu = ["-u", "tianlu", "-P", &service];
    let alive = ["-t", "$SYS/broker/uptime", "-C", "1", "-W", "15"];
    until("the health check to pass", Duration::from_secs(30), || {
        client("mosquitto_sub", &[&tianlu[..], &alive].concat()).status.success().then_some(())
    });
    let session = ["-c", "-i", "tianlu-1", "-q", "1", "-t", "tianlu/v1/+/+/+/up"];
    assert!(client("mosquitto_sub", &[&tianlu[..], &session, &["-E"]].concat()).status.success());
    let publish = |user: &[&str], name: &str| {
        let topic = format!("tianlu/v1/default/east/{name}/up");
        client("mosquitto_pub", &[user, &["-q", "1", "-m", name, "-t", &topic]].concat())
    };
    assert!(!publish(&[], "probe-1").status.success());
    assert!(!publish(&["-u", "probe-1", "-P", "wrong"], "probe-1").status.success());
    drop(publish(&["-u", "probe-1", "-P", &device], "probe-2"));
    assert!(publish(&["-u", "probe-1", "-P", &device], "probe-1").status.success());
    // Had the message under the other's name been taken, it would come first.
    let first = ["-C", "1", "-W", "30"];
    let found = client("mosquitto_sub", &[&tianlu[..], &session, &first].concat());
    assert_eq!(String::from_utf8_lossy(&found.stdout), "probe-1\n");
    broker.stop(Duration::from_secs(10));
}
