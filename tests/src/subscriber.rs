//! A subscriber that keeps what it receives.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::mqtt::{Connection, PUBLISH};
use crate::publisher::Message;
use crate::wait::until;

/// Receives what is published under one filter, until the broker or the test ends.
#[derive(Debug)]
pub struct Subscriber {
    received: Arc<Mutex<Vec<Message>>>,
    connection: std::net::TcpStream,
}

impl Subscriber {
    /// Subscribes at QoS 1 and waits for the acknowledgement.
    #[must_use]
    pub fn start(address: &str, filter: &str) -> Self {
        let mut connection = Connection::open(address, "proof-subscriber", true).unwrap();
        connection.subscribe(filter).unwrap();
        connection.writer.set_read_timeout(None).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let stream = connection.writer.try_clone().unwrap();
        let into = Arc::clone(&received);
        thread::spawn(move || receive(&mut connection, &into));
        Self { received, connection: stream }
    }

    /// Returns what came in so far.
    #[must_use]
    pub fn received(&self) -> Vec<Message> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until at least `count` messages have come, and returns them.
    #[must_use]
    pub fn wait(&self, count: usize, within: Duration) -> Vec<Message> {
        until(&format!("{count} messages"), within, || {
            Some(self.received()).filter(|all| all.len() >= count)
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        drop(self.connection.shutdown(std::net::Shutdown::Both));
    }
}

fn receive(connection: &mut Connection, into: &Mutex<Vec<Message>>) {
    while let Ok(got) = connection.read() {
        if got.head & 0xF0 != PUBLISH {
            continue;
        }
        let (length, rest) = got.body.split_at(2);
        let (topic, mut rest) =
            rest.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
        if got.head & 6 != 0 {
            let ack = [0x40, 2, rest[0], rest[1]];
            rest = &rest[2..];
            if connection.writer.write_all(&ack).is_err() {
                return;
            }
        }
        let topic = String::from_utf8_lossy(topic).into_owned();
        into.lock().unwrap().push(Message { topic, payload: rest.to_vec() });
    }
}
