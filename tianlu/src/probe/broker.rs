//! One MQTT CONNECT by hand: it shows what the broker grants before anything depends on it.
//!
//! The client id is one of its own, so that a running service keeps its session; the session of the
//! probe ends with its DISCONNECT.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Trouble;
use super::connack::{self, BrokerAnswer};
use super::tls;
use crate::config::{Mqtt, Protocol};

/// Longest wait for each step: a link of a gateway may be slow, a person still waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Session Expiry Interval "never": what the service asks for.
const NEVER: [u8; 4] = [0xff; 4];

/// What a connection is spoken over.
pub(super) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

fn trouble(name: &str, args: &[(&str, &dyn std::fmt::Display)]) -> Box<Trouble> {
    Box::new(Trouble::of(name, args))
}

/// Connects to a broker as the service would.
///
/// # Errors
///
/// What keeps the service from connecting.
pub fn broker(mqtt: &Mqtt) -> Result<BrokerAnswer, Box<Trouble>> {
    let address = &mqtt.broker;
    let unreachable = |error: io::Error| {
        trouble("tianlu.broker.unreachable", &[("broker", address), ("error", &error)])
    };
    let tcp = connect(&address.host, address.port).map_err(unreachable)?;
    let mut wire: Box<dyn Wire> = if address.is_tls {
        let wire = tls::wrap(tcp, &address.host, &mqtt.tls);
        Box::new(wire.map_err(|error| {
            trouble("tianlu.broker.tls", &[("broker", address), ("error", &error)])
        })?)
    } else {
        Box::new(tcp)
    };
    // That the file cannot be read is a problem of its own.
    let of_file = || mqtt.password_file.as_ref().and_then(|file| file.read().ok());
    let password = mqtt.password.clone().or_else(of_file);
    let hello = hello(mqtt, password.as_ref().map(crate::config::Secret::expose));
    let silent = |error: io::Error| {
        let name = if address.is_tls { "tianlu.broker.tls" } else { "tianlu.broker.silent" };
        trouble(name, &[("broker", address), ("error", &error)])
    };
    wire.write_all(&hello).and_then(|()| wire.flush()).map_err(silent)?;
    let (kind, body) = packet(&mut wire).map_err(silent)?;
    let answer = connack::parse(kind, &body, mqtt.protocol)
        .ok_or_else(|| trouble("tianlu.broker.no_mqtt", &[("broker", address)]))?;
    // The answer is here; how the farewell goes changes nothing.
    drop(wire.write_all(&farewell(mqtt.protocol)).and_then(|()| wire.flush()));
    match answer.refusal(mqtt.protocol) {
        None => Ok(answer),
        Some(name) => {
            Err(trouble(name, &[("broker", address), ("code", &format!("{:#04x}", answer.code))]))
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn hello(mqtt: &Mqtt, password: Option<&str>) -> Vec<u8> {
    const CLEAN: u8 = 0x02;
    const PASSWORD: u8 = 0x40;
    const USER: u8 = 0x80;
    const KEEP_ALIVE_S: u8 = 30;
    let is_v5 = mqtt.protocol == Protocol::V5;
    let user = if mqtt.username.is_some() { USER } else { 0 };
    let flags = CLEAN | user | if password.is_some() { PASSWORD } else { 0 };
    let mut body = text("MQTT");
    body.extend([if is_v5 { 5 } else { 4 }, flags, 0, KEEP_ALIVE_S]);
    if is_v5 {
        body.extend([5, 0x11]);
        body.extend(NEVER);
    }
    body.extend(text(&format!("tianlu-doctor-{}", std::process::id())));
    for part in [mqtt.username.as_deref(), password].into_iter().flatten() {
        body.extend(text(part));
    }
    let mut out = vec![0x10];
    out.extend(length(body.len()));
    out.extend(body);
    out
}

/// DISCONNECT; in MQTT 5 with a Session Expiry Interval of 0, so that nothing stays behind.
fn farewell(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::V5 => vec![0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0],
        Protocol::V311 => vec![0xe0, 0],
    }
}

fn text(text: &str) -> Vec<u8> {
    // Names longer than MQTT allows were refused when they were read.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend(text.bytes().take(usize::from(length)));
    out
}

fn length(mut length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        if length == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Reads one packet: its first byte and what follows its length.
fn packet(wire: &mut dyn Wire) -> io::Result<(u8, Vec<u8>)> {
    /// A CONNACK with every property a broker may send is far below this.
    const MOST: u32 = 64 << 10;
    let mut byte = [0];
    wire.read_exact(&mut byte)?;
    let [kind] = byte;
    let mut length: u32 = 0;
    for shift in [0, 7, 14, 21] {
        wire.read_exact(&mut byte)?;
        let [digit] = byte;
        length |= u32::from(digit & 0x7f) << shift;
        if digit & 0x80 == 0 {
            break;
        }
    }
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
    wire.read_exact(&mut body)?;
    Ok((kind, body))
}
