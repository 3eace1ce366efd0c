//! The writer on a simulated disk.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use journal::sim::{Faults, SimDisk};
use journal::{Disk, End, Log, LogOptions, ReadFrom};
use pipeline::record::{Record, Started};
use telemetry::time::IngestTime;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::engine::clock::JournalClock;
use crate::engine::health::{Health, Part};
use crate::engine::orders::{NotDurable, Order, Orders, Space};
use crate::engine::writer::{Writer, WriterLimits};
use crate::source::{AckToken, Acknowledge, Batch, Incoming, SourceId};

/// Notes what it is told to acknowledge.
#[derive(Debug, Default)]
struct Acks {
    tokens: Mutex<Vec<u64>>,
    sent_again: AtomicUsize,
}

impl Acknowledge for Acks {
    fn acknowledge(&self, tokens: &[AckToken]) {
        self.tokens.lock().unwrap().extend(tokens.iter().map(|token| token.sequence()));
    }

    fn send_again(&self) {
        self.sent_again.fetch_add(1, Ordering::SeqCst);
    }

    fn unacked(&self) -> usize {
        0
    }

    fn window(&self) -> usize {
        1000
    }
}

struct Rig {
    runtime: Runtime,
    disk: SimDisk,
    acks: Arc<Acks>,
    health: Arc<Health>,
    uplinks: mpsc::Sender<Batch>,
    orders: Orders,
    writer: std::thread::JoinHandle<()>,
}

const DIR: &str = "/journal";

fn open(disk: &SimDisk) -> Log {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() };
    Log::open(disk, Path::new(DIR), options).unwrap().0
}

fn rig() -> Rig {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let disk = SimDisk::new(1);
    let (acks, health) = (Arc::new(Acks::default()), Arc::new(Health::default()));
    let (uplinks, uplinks_taken) = mpsc::channel(8);
    let (orders, orders_taken) = mpsc::channel(8);
    let of_source: Arc<dyn Acknowledge> = Arc::<Acks>::clone(&acks);
    let writer = Writer {
        log: open(&disk),
        clock: JournalClock::starting_after(IngestTime::default()),
        limits: WriterLimits {
            commit_interval: Duration::from_millis(1),
            uplinks_stop_at: u64::MAX,
        },
        space: Arc::new(Space::default()),
        health: Arc::clone(&health),
        acks: BTreeMap::from([(SourceId(0), of_source)]),
        uplinks: uplinks_taken,
        orders: orders_taken,
        position: 0,
        ordinal: 0,
        floor: End::default(),
        set_aside: VecDeque::new(),
    };
    let handle = runtime.handle().clone();
    let writer = std::thread::spawn(move || writer.run(&handle));
    Rig { runtime, disk, acks, health, uplinks, orders: Orders(orders), writer }
}

impl Rig {
    fn uplink(&self, sequence: u64) {
        let incoming = Incoming {
            source: SourceId(0),
            topic: Bytes::from_static(b"up/s/d"),
            payload: Bytes::from(sequence.to_string()),
            ack: Some(AckToken::new(1, sequence)),
            oversize: None,
        };
        self.runtime.block_on(self.uplinks.send(Batch::new(vec![incoming], None))).unwrap();
    }

    /// Appends a record of our own; whatever came before it has been tried by then.
    fn order(&self) -> Result<u64, NotDurable> {
        let make = |at: IngestTime| {
            Record::Started(Started { at_nanos: at.as_nanos(), version: "test".to_owned() })
        };
        self.runtime.block_on(self.orders.append(Box::new(make)))
    }

    fn settle(&self) {
        while self.order().is_err() {}
    }

    fn stop(self) -> (SimDisk, Arc<Acks>) {
        self.runtime.block_on(self.orders.0.send(Order::Stop)).ok().unwrap();
        self.writer.join().unwrap();
        (self.disk, self.acks)
    }
}

/// Reads ordinals and payload ends of the uplinks in the journal.
fn uplinks_on(disk: &SimDisk) -> Vec<(u64, String)> {
    let log = open(disk);
    let mut reader = log.reader(ReadFrom::Oldest);
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        if let Ok(Record::Uplink(uplink)) = Record::decode(record.kind, record.payload) {
            found.push((record.ordinal, String::from_utf8_lossy(uplink.payload).into_owned()));
        }
    }
    found
}

/// Scenario: fsyncs work.
/// Guarantees: what is acknowledged stands in the journal, in order (P2).
#[test]
fn what_is_acknowledged_is_on_disk() {
    let rig = rig();
    (0..50).for_each(|sequence| rig.uplink(sequence));
    rig.settle();
    let (disk, acks) = rig.stop();
    assert_eq!(*acks.tokens.lock().unwrap(), (0..50).collect::<Vec<u64>>());
    let expected: Vec<(u64, String)> = (0..50).map(|n| (n + 1, n.to_string())).collect();
    assert_eq!(uplinks_on(&disk), expected);
}

/// Scenario: every fsync fails for a while, then they work again.
/// Guarantees: nothing is acknowledged while they fail, the source is told to send again, what comes later is taken
/// in with ordinals that have no gap (P2, P1).
#[test]
fn a_failed_fsync_acknowledges_nothing_and_asks_for_everything_again() {
    let rig = rig();
    rig.uplink(0);
    rig.settle();
    rig.disk.set_faults(Faults { sync_error: 1024, ..Faults::default() });
    rig.uplink(1);
    assert_eq!(rig.order(), Err(NotDurable));
    assert_eq!(*rig.acks.tokens.lock().unwrap(), [0]);
    assert!(rig.acks.sent_again.load(Ordering::SeqCst) > 0);
    assert!(rig.health.has(Part::Journal));
    rig.disk.set_faults(Faults::default());
    rig.uplink(2);
    rig.settle();
    assert!(!rig.health.has(Part::Journal));
    let (disk, acks) = rig.stop();
    assert_eq!(*acks.tokens.lock().unwrap(), [0, 2]);
    assert_eq!(uplinks_on(&disk), [(1, "0".to_owned()), (2, "2".to_owned())]);
}
