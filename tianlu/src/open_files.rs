//! Open files: each connection of a device takes one, and most systems let a process begin with 1024.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files of our own, at most: logs, snapshots, store, browsers.
const OWN_MAX: u64 = 256;

/// Raises the limit as far as a process may by itself; says so where it is too low for that many connections.
pub(crate) fn allow(connections: u32) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    let wanted = u64::from(connections) + OWN_MAX;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "fewer open files than connections that may come: raise the hard limit (LimitNOFILE, ulimit -Hn) or lower [listener] max_connections"
        );
    }
}
