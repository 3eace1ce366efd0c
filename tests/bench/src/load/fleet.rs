//! A fleet: a connection for each device, one message in flight on each; one thread and epoll.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use proof::wait::now_ms;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::message::{Stamp, Writer, connect, device_name};
use super::{Load, Sent, own_cpu_seconds};

/// Longest time in which nothing at all may come.
const SILENCE: Duration = Duration::from_secs(30);

struct Device {
    stream: TcpStream,
    sequence: u64,
    at_ms: i64,
    sent_at: Instant,
}

pub(super) fn run(load: &Load) -> Sent {
    let mut devices: Vec<Device> = (0..load.devices).map(|place| open(load, place)).collect();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (place, device) in devices.iter().enumerate() {
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&epoll, &device.stream, data, epoll::EventFlags::IN).unwrap();
    }
    let mut fleet = Fleet {
        writer: Writer::new(),
        out: Vec::new(),
        sent: 0,
        count: load.count,
        waits: Vec::new(),
    };
    let (began_ms, began, cpu) = (now_ms(), Instant::now(), own_cpu_seconds());
    for (place, device) in devices.iter_mut().enumerate() {
        fleet.send(place as u64, device, began);
    }
    let silence = Timespec::try_from(SILENCE).unwrap();
    let mut events = Vec::with_capacity(1024);
    while fleet.waits.len() as u64 != fleet.count {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&silence)).unwrap();
        assert!(!events.is_empty(), "no acknowledgement within {SILENCE:?}");
        let now = Instant::now();
        if load.seconds.is_some_and(|most| began.elapsed().as_secs() >= most) {
            fleet.count = fleet.sent;
        }
        for event in &events {
            let place = event.data.u64();
            let device = &mut devices[place as usize];
            if take_ack(device) {
                fleet.waits.push((now - device.sent_at).as_micros() as u32);
                fleet.send(place, device, now);
            }
        }
    }
    let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), own_cpu_seconds() - cpu);
    fleet.waits.sort_unstable();
    let at = |share: f64| {
        f64::from(fleet.waits[((fleet.waits.len() - 1) as f64 * share) as usize]) / 1000.0
    };
    Sent {
        messages: fleet.count,
        began_ms,
        seconds,
        cpu_seconds,
        puback_ms: Some([at(0.5), at(0.99)]),
    }
}

struct Fleet {
    writer: Writer,
    out: Vec<u8>,
    sent: u64,
    count: u64,
    /// From message to PUBACK, microseconds.
    waits: Vec<u32>,
}

impl Fleet {
    fn send(&mut self, place: u64, device: &mut Device, now: Instant) {
        if self.sent == self.count {
            return;
        }
        device.at_ms = now_ms().max(device.at_ms + 1);
        device.sequence += 1;
        device.sent_at = now;
        self.out.clear();
        let packet_id = (device.sequence % 65_535) as u16 + 1;
        let stamp = Stamp { packet_id, at_ms: device.at_ms, sequence: device.sequence };
        self.writer.put(&mut self.out, place, self.sent, stamp);
        device.stream.write_all(&self.out).unwrap(); // one packet always fits the buffer
        self.sent += 1;
    }
}

fn open(load: &Load, place: u64) -> Device {
    let mut stream = TcpStream::connect(&load.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream.write_all(&connect(&device_name(place))).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[3]), (0x20, 0), "CONNACK {answer:?}");
    stream.set_nonblocking(true).unwrap();
    Device { stream, sequence: 0, at_ms: 0, sent_at: Instant::now() }
}

/// Reads a PUBACK; `false`: nothing has come.
fn take_ack(device: &mut Device) -> bool {
    let mut ack = [0; 4];
    match device.stream.read(&mut ack) {
        Ok(4) => {
            assert_eq!(ack[0], 0x40, "the broker sends something else than a PUBACK");
            true
        }
        Ok(0) => panic!("the broker hung up"),
        Ok(length) => panic!("{length} bytes of a PUBACK"),
        Err(e) if e.kind() == ErrorKind::WouldBlock => false,
        Err(e) => panic!("no acknowledgement: {e}"),
    }
}
