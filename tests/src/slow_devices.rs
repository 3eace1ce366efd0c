//! Many slow devices: one connection and one message in flight each, all driven by one thread.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::mqtt::{Connection, PUBACK, publish};
use crate::publisher::Message;
use crate::wait::pass;

/// A device that publishes its messages one by one, each until it is acknowledged.
#[derive(Debug)]
struct Device {
    id: String,
    messages: VecDeque<Message>,
    link: Option<TcpStream>,
    /// Sent and not acknowledged.
    is_waiting: bool,
    packet_id: u16,
    read: Vec<u8>,
    try_again: Instant,
}

/// How long a device waits before it connects again.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);

/// Raises this process's limit of open files as far as it may: a thousand connections need more than the usual 1024.
/// Children that start later inherit it.
pub fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a process may raise its limit up to the maximum");
}

/// Publishes the messages of each device at QoS 1, one in flight each, until all are acknowledged; devices connect
/// again where the other side goes away, and send again what was not acknowledged.
///
/// # Panics
///
/// When not all are acknowledged in time.
pub fn publish_slowly(address: &str, devices: Vec<(String, Vec<Message>)>, within: Duration) {
    let began = Instant::now();
    let mut devices: Vec<Device> = devices
        .into_iter()
        .map(|(id, messages)| Device {
            id,
            messages: messages.into(),
            link: None,
            is_waiting: false,
            packet_id: 0,
            read: Vec::new(),
            try_again: began,
        })
        .collect();
    while !devices.is_empty() {
        let mut has_moved = false;
        for device in &mut devices {
            match device.step(address) {
                Ok(moved) => has_moved |= moved,
                Err(_) => device.hang_up(),
            }
        }
        devices.retain(|device| !device.messages.is_empty());
        let left: usize = devices.iter().map(|device| device.messages.len()).sum();
        assert!(began.elapsed() < within, "{left} messages not acknowledged within {within:?}");
        if !has_moved {
            pass(Duration::from_millis(1));
        }
    }
}

impl Device {
    /// Connects, sends or reads as far as it goes without waiting; returns whether anything moved.
    fn step(&mut self, address: &str) -> io::Result<bool> {
        let Some(link) = &mut self.link else { return self.connect(address) };
        if !self.is_waiting {
            let Some(message) = self.messages.front() else { return Ok(false) };
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            link.write_all(&publish(&message.topic, self.packet_id, &message.payload, false))?;
            self.is_waiting = true;
            return Ok(true);
        }
        let mut bytes = [0; 64];
        match link.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if let [PUBACK, 2, high, low, rest @ ..] = &self.read[..] {
            assert_eq!(u16::from_be_bytes([*high, *low]), self.packet_id, "PUBACK of {}", self.id);
            assert!(rest.is_empty(), "{} got more than its PUBACK", self.id);
            self.read.clear();
            self.is_waiting = false;
            self.messages.pop_front();
        }
        Ok(true)
    }

    fn connect(&mut self, address: &str) -> io::Result<bool> {
        if Instant::now() < self.try_again {
            return Ok(false);
        }
        let connection = Connection::open(address, &self.id, true)?;
        connection.writer.set_nonblocking(true)?;
        self.link = Some(connection.writer);
        Ok(true)
    }

    fn hang_up(&mut self) {
        self.link = None;
        self.is_waiting = false;
        self.read.clear();
        self.try_again = Instant::now() + CONNECT_AGAIN;
    }
}
