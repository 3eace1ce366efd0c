//! Ports for the servers that tests start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// The range is this crate's alone (see `proof::place`), and lies below that which the kernel gives to connections: one
/// of them could take a port before the server does, or while the server is stopped.
const FIRST: u16 = 16_000;
const PORTS: u16 = 3_500;

/// Returns a loopback port on which nobody listens; each call in a process another one.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = (0..PORTS).map(|_| {
        // Two processes begin apart.
        let step = std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + u16::try_from(step % u32::from(PORTS)).unwrap()
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free loopback port from 16,000 on")
}
