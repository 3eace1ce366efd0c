//! As much of MQTT 3.1.1 as publishing and subscribing at QoS 1 need.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Packet types, as the high half of the first byte.
pub const PUBLISH: u8 = 0x30;
/// Acknowledgement of a QoS 1 publish.
pub const PUBACK: u8 = 0x40;
/// Acknowledgement of a subscription.
pub const SUBACK: u8 = 0x90;

/// A connection after CONNACK.
#[derive(Debug)]
pub struct Connection {
    /// What is written to.
    pub writer: TcpStream,
    /// What is read from.
    pub reader: BufReader<TcpStream>,
}

/// A packet that was read.
#[derive(Debug)]
pub struct Packet {
    /// The first byte: type and flags.
    pub head: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects with a clean session, or with one the broker keeps under `id`.
    ///
    /// # Errors
    ///
    /// When nobody listens, the broker refuses, or 5 s pass.
    pub fn open(address: &str, id: &str, clean: bool) -> io::Result<Self> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(Duration::from_secs(5)))?;
        let reader = BufReader::with_capacity(1 << 16, writer.try_clone()?);
        let mut connection = Self { writer, reader };
        let mut body = Vec::new();
        put_text(&mut body, "MQTT");
        body.extend([4, if clean { 2 } else { 0 }]);
        body.extend(0u16.to_be_bytes()); // no keep-alive: a test may pause for long
        put_text(&mut body, id);
        connection.writer.write_all(&packet(0x10, &body))?;
        let answer = connection.read()?;
        if answer.head != 0x20 || answer.body.get(1) != Some(&0) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("CONNACK {answer:?}"),
            ));
        }
        Ok(connection)
    }

    /// Subscribes at QoS 1 and waits for the acknowledgement.
    ///
    /// # Errors
    ///
    /// When the broker hangs up, refuses, or 5 s pass.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut body = 1u16.to_be_bytes().to_vec();
        put_text(&mut body, filter);
        body.push(1);
        self.writer.write_all(&packet(0x82, &body))?;
        let answer = self.read()?;
        let is_granted = answer.head == SUBACK && answer.body.last().is_some_and(|code| *code < 3);
        is_granted.then_some(()).ok_or_else(|| io::Error::other(format!("SUBACK {answer:?}")))
    }

    /// Reads the next packet.
    ///
    /// # Errors
    ///
    /// When the broker hangs up or the read time-out passes.
    pub fn read(&mut self) -> io::Result<Packet> {
        let mut byte = [0u8];
        self.reader.read_exact(&mut byte)?;
        let head = byte[0];
        let (mut length, mut shift) = (0usize, 0);
        loop {
            self.reader.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 127) << shift;
            shift += 7;
            if byte[0] & 128 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Packet { head, body })
    }
}

/// Returns a packet of a first byte and a body.
#[must_use]
pub fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(head);
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        out.push(if rest > 0 { low | 128 } else { low });
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// Appends a length-prefixed text.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Returns a QoS 1 publish.
#[must_use]
pub fn publish(topic: &str, id: u16, payload: &[u8], again: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    put_text(&mut body, topic);
    body.extend(id.to_be_bytes());
    body.extend_from_slice(payload);
    packet(PUBLISH | 2 | if again { 8 } else { 0 }, &body)
}
