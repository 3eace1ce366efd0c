//! Gateways: a few connections with a large window each, one thread a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use proof::wait::now_ms;

use super::message::{Made, Stamp, Writer, batches, connect, frames};
use super::{Load, Sent, Shape, own_cpu_seconds};

/// Pause before more acknowledgements are looked for, so that they are counted in bulk: doubled while they do not
/// suffice, since a broker that is slow would wake us for each.
const NAP: Duration = Duration::from_micros(200);
/// Longest such pause.
const NAP_MAX: Duration = Duration::from_millis(5);
/// Pause between two looks at what is due, where a rate is given.
const TICK: Duration = Duration::from_millis(2);
/// Bytes of one PUBACK of MQTT 3.1.1.
const PUBACK_BYTES: usize = 4;

/// One connection and its part of the messages.
struct Gateway {
    stream: TcpStream,
    source: Source,
    count: u64,
    window: u64,
    per_second: Option<f64>,
    until: Option<Duration>,
    sent: u64,
    acknowledged: u64,
    packet_id: u16,
    /// Bytes of an acknowledgement that has not come whole.
    rest: usize,
}

/// Where messages come from.
enum Source {
    Live { writer: Box<Writer>, devices: Vec<u64>, floor_ms: i64, at_ms: i64 },
    Made(Vec<Made>),
}

pub(super) fn run(load: &Load) -> Sent {
    let gateways: Vec<Gateway> =
        (0..load.connections).map(|place| Gateway::new(load, place)).collect();
    let (began_ms, began, cpu) = (now_ms(), Instant::now(), own_cpu_seconds());
    let threads: Vec<_> =
        gateways.into_iter().map(|gateway| thread::spawn(move || gateway.send(began))).collect();
    let messages = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    Sent {
        messages,
        began_ms,
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds() - cpu,
        puback_ms: None,
    }
}

impl Gateway {
    fn new(load: &Load, place: u64) -> Self {
        let count =
            load.count / load.connections + u64::from(place < load.count % load.connections);
        let devices: Vec<u64> = (place..load.devices).step_by(load.connections as usize).collect();
        assert!(!devices.is_empty(), "at least one device a connection");
        let source = match load.shape {
            Shape::Json => Source::Live {
                writer: Box::new(Writer::new()),
                devices,
                floor_ms: 0,
                at_ms: now_ms(),
            },
            Shape::Frame => Source::Made(frames(&devices, count, now_ms())),
            Shape::Batch => Source::Made(batches(&devices, count, now_ms())),
        };
        let mut stream = TcpStream::connect(&load.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(load.patience())).unwrap();
        stream.write_all(&connect(&format!("bench-{place}"))).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((answer[0], answer[3]), (0x20, 0), "CONNACK {answer:?}");
        Self {
            stream,
            source,
            count,
            window: load.window,
            per_second: load.rate.map(|rate| rate / load.connections as f64),
            until: load.seconds.map(Duration::from_secs),
            sent: 0,
            acknowledged: 0,
            packet_id: 0,
            rest: 0,
        }
    }

    fn send(mut self, began: Instant) -> u64 {
        self.stream.set_nonblocking(self.per_second.is_some()).unwrap();
        let mut out = Vec::with_capacity(1 << 18);
        let mut acks = vec![0; 1 << 16];
        while self.acknowledged < self.count {
            if self.until.is_some_and(|until| began.elapsed() >= until) {
                self.count = self.count.min(self.sent); // what is under way is still waited for
            }
            let room = self.room(began);
            if room > 0 {
                out.clear();
                self.fill(&mut out, room);
                write_all(&mut self.stream, &out);
            }
            if self.per_second.is_some() {
                self.take_acks(&mut acks);
                thread::sleep(TICK);
            } else {
                self.wait_for_acks(&mut acks);
            }
        }
        self.acknowledged
    }

    /// Returns how many messages may be sent now.
    fn room(&self, began: Instant) -> u64 {
        let room = (self.count - self.sent).min(self.window - (self.sent - self.acknowledged));
        let Some(rate) = self.per_second else { return room };
        let due = (began.elapsed().as_secs_f64() * rate) as u64 + 1;
        room.min(due.saturating_sub(self.sent))
    }

    fn fill(&mut self, out: &mut Vec<u8>, room: u64) {
        for number in self.sent..self.sent + room {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            let packet_id = self.packet_id;
            match &mut self.source {
                Source::Made(made) => made[number as usize].put(out, packet_id),
                Source::Live { writer, devices, floor_ms, at_ms } => {
                    let each = devices.len() as u64;
                    if number % each == 0 {
                        // A device's next message has a later time, however fast the round was.
                        *floor_ms = *at_ms + 1;
                    }
                    if number % 64 == 0 || number % each == 0 {
                        *at_ms = now_ms().max(*floor_ms);
                    }
                    let stamp = Stamp { packet_id, at_ms: *at_ms, sequence: number / each };
                    writer.put(out, devices[(number % each) as usize], number, stamp);
                }
            }
        }
        self.sent += room;
    }

    /// Waits until a quarter of the window is free, so that the next write is large.
    fn wait_for_acks(&mut self, acks: &mut [u8]) {
        let in_flight = self.sent - self.acknowledged;
        let wanted = self.acknowledged + (self.window / 4).clamp(1, in_flight.max(1));
        let mut nap = NAP;
        while self.acknowledged < wanted && self.acknowledged < self.sent {
            self.take_acks(acks);
            if self.acknowledged < wanted {
                thread::sleep(nap);
                nap = (nap * 2).min(NAP_MAX);
            }
        }
    }

    fn take_acks(&mut self, acks: &mut [u8]) {
        match self.stream.read(acks) {
            Ok(0) => panic!("the broker hung up after {} acknowledgements", self.acknowledged),
            Ok(length) => {
                let begins = (PUBACK_BYTES - self.rest) % PUBACK_BYTES;
                let mut heads = acks[..length].iter().skip(begins).step_by(PUBACK_BYTES);
                assert!(
                    heads.all(|head| *head == 0x40),
                    "the broker sends something else than PUBACKs"
                );
                let whole = self.rest + length;
                self.rest = whole % PUBACK_BYTES;
                self.acknowledged += (whole / PUBACK_BYTES) as u64;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock && self.per_second.is_some() => {}
            Err(e) => panic!("no acknowledgement after {}: {e}", self.acknowledged),
        }
    }
}

/// Writes all of it, also to a socket that does not block.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(NAP),
            Err(e) => panic!("the broker takes no more: {e}"),
        }
    }
}
