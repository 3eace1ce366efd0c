//! Where things are: ports, programs, the workspace; and the rule for what is missing.

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

/// First port handed out; the range lies below the one the kernel takes for outgoing connections, and above those that
/// the tests of `ingest` and `store` count in (16,000 to 19,999).
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Returns a loopback port on which nobody listens; each call in a process another one.
#[must_use]
pub fn free_port() -> u16 {
    let own = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap();
    for _ in 0..PORTS {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let offset = (u32::from(own) * 61 + u32::from(step)) % u32::from(PORTS);
        let port = FIRST_PORT + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free loopback port between {FIRST_PORT} and {}", FIRST_PORT + PORTS);
}

/// Returns the root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the folder where `tests/services/get` puts the servers it builds.
#[must_use]
pub fn services() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"));
    cache.join("tianlu/services/bin")
}

/// Looks for a program: the environment variable `variable`, then `PATH`, then the cache of services.
#[must_use]
pub fn program(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(given) = env::var_os(variable) {
        return present(PathBuf::from(given), name);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.or_else(|| present(services().join(name), name))
}

/// Returns the Python that `tests/services/get` made: `TIANLU_PYTHON`, else beside the programs it built. `None`, with
/// a notice, where there is none.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let given = env::var_os("TIANLU_PYTHON").map(PathBuf::from);
    let made = services().parent().map(|services| services.join("python/bin/python"));
    present(given.or(made)?, "python")
}

fn present(file: PathBuf, name: &str) -> Option<PathBuf> {
    if file.is_file() {
        return Some(file);
    }
    missing(&format!("the program `{name}` (tests/services/get fetches it)"));
    None
}

/// Looks for a folder of recorded data: `TIANLU_SHARED`, else `shared` beside a folder above the workspace.
#[must_use]
pub fn shared_data(name: &str) -> Option<PathBuf> {
    let given = env::var_os("TIANLU_SHARED").map(PathBuf::from);
    let root = workspace();
    let beside = root.ancestors().map(|folder| folder.join("shared"));
    let found = given
        .into_iter()
        .chain(beside)
        .map(|shared| shared.join("data").join(name))
        .find(|f| f.is_dir());
    if found.is_none() {
        missing(&format!(
            "the recorded data `{name}` (set TIANLU_SHARED to the folder that holds `data`)"
        ));
    }
    found
}

/// Says that something is missing: a notice for a user, a failure where `CI=true`.
pub fn missing(what: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "missing: {what}");
    eprintln!("SKIPPED, missing: {what}");
}
