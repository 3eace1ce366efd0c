//! kill -9 of the service at moments drawn from a seed, under load that flows through all of them.
//!
//! Three publishers send at QoS 1 through Mosquitto, or straight to the service's own listener. What they may have
//! sent grows with the kills done, so that uplinks are on the way at each of them. Then each acknowledged uplink is
//! looked for in the store by its device, time and values.

mod moment;
mod outcome;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use self::moment::Moment;
pub use self::outcome::Outcome;
use self::pace::Pace;
use crate::audit::Audit;
use crate::balance::{Balance, assert_balance_always};
use crate::influx::Influx;
use crate::mosquitto::Mosquitto;
use crate::place::free_port;
use crate::publisher::{Message, Publisher};
use crate::random::Random;
use crate::sample::{Sample, fleet};
use crate::tianlu::Tianlu;
use crate::wait::{now_ms, pass, until};
use crate::work::Work;

const PUBLISHERS: u32 = 3;
const DEVICES_EACH: u32 = 100;
const IN_TIME: Duration = Duration::from_mins(3);
/// What a kill may add to the time that the publishers have.
const IN_TIME_EACH: Duration = Duration::from_secs(30);
/// Longest a life goes on at full flow before its kill.
const FLOW: Duration = Duration::from_secs(1);
/// What an orderly end takes, roughly.
const END: Duration = Duration::from_millis(100);
/// What writing a snapshot takes, roughly.
const SNAPSHOT: Duration = Duration::from_millis(4);
/// Longest wait for the snapshot that each minute brings.
const MINUTE: Duration = Duration::from_secs(75);

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Kills.
    pub kills: u32,
    /// Uplinks, rounded down to whole rounds of the 300 devices.
    pub uplinks: u32,
    /// What the moments are drawn from.
    pub seed: u64,
    /// Devices connect to the service itself, which keeps the history; else Mosquitto and InfluxDB.
    pub is_embedded: bool,
}

/// What the service lives between.
struct Services {
    address: String,
    influx: Option<Influx>,
    work: Work,
    _broker: Option<Mosquitto>,
}

/// Says at which kill it was where the run ends in a panic.
struct At {
    seed: u64,
    kill: u32,
    moment: Option<Moment>,
}

struct Run<'a> {
    services: &'a Services,
    random: Random,
    at: At,
    killed: BTreeMap<Moment, u32>,
    under_load: u32,
    in_snapshot: u32,
    ended: u32,
    restarts: Vec<Duration>,
}

impl Plan {
    /// Carries it out; `None`: a server is missing.
    #[must_use]
    pub fn run(&self) -> Option<Outcome> {
        let each = self.uplinks / PUBLISHERS / DEVICES_EACH;
        let services = Services::start(self.is_embedded, each)?;
        // A broker keeps nothing for whom it does not know yet.
        assert!(Tianlu::ready(&services.work).terminate().success());
        let start = now_ms() - 3_600_000;
        let fleets = (0..PUBLISHERS).map(|n| fleet(&prefix(n), DEVICES_EACH, each, start));
        let fleets: Arc<Vec<Vec<Sample>>> = Arc::new(fleets.collect());
        let acknowledged: u64 = fleets.iter().map(|fleet| fleet.len() as u64).sum();
        let mut run = Run::new(self.seed, &services);
        let moments = Moment::draw(self.kills, &mut run.random);
        let in_all = moments.iter().map(|moment| moment.length()).sum();
        let mut pace = Pace::start(DEVICES_EACH * each, in_all);
        let publishing = self.publish(&services.address, &fleets, &pace);
        let watch = assert_balance_always(&services.work.base());
        for moment in moments {
            pace.begin(moment.length());
            run.kill(moment);
            run.under_load += u32::from(pace.killed());
        }
        run.at.moment = None;
        let mut service = Tianlu::start(&services.work);
        run.ready(&mut service);
        for publisher in publishing {
            publisher.join().unwrap();
        }
        // Not by what was received: repeats are among it.
        let has_all = |balance: &Balance| balance.readings.stored >= acknowledged;
        let settled = service.try_settle(has_all, IN_TIME);
        let samples = watch.end();
        let audit = services.audit(&service, &fleets);
        let panics = service.log().matches("panicked at").count();
        let has_ended = service.terminate().success();
        // After its end: a running service may be writing the snapshot of the minute.
        let is_half = |name: &String| name.ends_with(".tmp");
        let left_behind = services.snapshots().into_iter().filter(is_half).count();
        let Run { killed, under_load, in_snapshot, ended, restarts, .. } = run;
        Some(Outcome {
            seed: self.seed,
            killed,
            under_load,
            in_snapshot,
            left_behind,
            ended,
            restarts,
            acknowledged,
            audit,
            settled,
            samples,
            panics,
            has_ended,
        })
    }

    /// Publishes each fleet from a publisher of its own, which fails unless each message is acknowledged.
    fn publish(
        &self,
        address: &str,
        fleets: &Arc<Vec<Vec<Sample>>>,
        pace: &Pace,
    ) -> Vec<JoinHandle<()>> {
        let within = IN_TIME + IN_TIME_EACH * self.kills;
        let spawn = |number: usize| {
            let mut publisher = Publisher::new(address, &format!("gateway-{number}"));
            (publisher.within, publisher.released) = (within, Some(pace.released()));
            let fleets = Arc::clone(fleets);
            thread::spawn(move || {
                let uplinks: Vec<Message> = fleets[number].iter().map(Sample::uplink).collect();
                let acknowledged: BTreeSet<_> = publisher.send(&uplinks).into_iter().collect();
                assert_eq!(acknowledged.len(), uplinks.len());
            })
        };
        (0..fleets.len()).map(spawn).collect()
    }
}

impl Services {
    fn start(is_embedded: bool, readings_each: u32) -> Option<Self> {
        // A broker sends again far more than a window holds; the memory has to reach as far for exact counts.
        let memory = format!("[devices]\nidentity_memory = {}", readings_each.clamp(1, 4096));
        let work = Work::new().section(&memory);
        if is_embedded {
            let address = format!("127.0.0.1:{}", free_port());
            let work = work.listener(&address);
            return Some(Self { address, influx: None, work, _broker: None });
        }
        let (broker, influx) = (Mosquitto::start()?, Influx::start()?);
        let work = work.mqtt(&broker.url()).influx(&influx);
        let address = broker.address();
        Some(Self { address, influx: Some(influx), work, _broker: Some(broker) })
    }

    /// Looks for each reading in the store, one fleet after the other.
    fn audit(&self, service: &Tianlu, fleets: &[Vec<Sample>]) -> Audit {
        let mut audit = Audit::default();
        for (number, fleet) in fleets.iter().enumerate() {
            audit.join(match &self.influx {
                Some(influx) => Audit::of_influx(influx, &prefix(number), fleet),
                None => Audit::of_history(service, fleet),
            });
        }
        audit
    }

    /// Returns the names in the folder of snapshots.
    fn snapshots(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.work.path("data/snapshots")).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }
}

impl<'a> Run<'a> {
    fn new(seed: u64, services: &'a Services) -> Self {
        Self {
            services,
            random: Random::new(seed),
            at: At { seed, kill: 0, moment: None },
            killed: BTreeMap::new(),
            under_load: 0,
            in_snapshot: 0,
            ended: 0,
            restarts: Vec::new(),
        }
    }

    /// Starts the service and kills it at a moment, until one that it did not end before.
    fn kill(&mut self, moment: Moment) {
        (self.at.kill, self.at.moment) = (self.at.kill + 1, Some(moment));
        while !self.is_killed(moment) {
            self.ended += 1;
        }
        *self.killed.entry(moment).or_default() += 1;
    }

    fn is_killed(&mut self, moment: Moment) -> bool {
        let before = self.services.snapshots();
        let mut service = Tianlu::start(&self.services.work);
        self.live(&mut service, moment, &before);
        let status = service.kill9();
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        let may_end = moment.asks_to_end() && status.success();
        assert!(is_killed || may_end, "the service ended by itself: {status}");
        let is_new = |name: &String| name.ends_with(".tmp") && !before.contains(name);
        self.in_snapshot += u32::from(self.services.snapshots().iter().any(is_new));
        is_killed
    }

    /// Lets the service live until the moment to kill it.
    fn live(&mut self, service: &mut Tianlu, moment: Moment, before: &BTreeSet<String>) {
        match moment {
            Moment::Starting => pass(self.random.part_of(self.usual())),
            Moment::Recovering => {
                until("the service to answer", IN_TIME, || service.try_get("/healthz"));
                pass(self.random.part_of(self.usual() / 4));
            }
            Moment::Flowing => {
                self.ready(service);
                pass(self.random.part_of(FLOW));
            }
            Moment::Ending | Moment::LastSnapshot => {
                self.ready(service);
                pass(self.random.part_of(FLOW / 2));
                service.ask_to_end();
                if moment == Moment::Ending {
                    pass(self.random.part_of(END));
                } else {
                    self.wait_for_snapshot(service, before);
                }
            }
            Moment::Snapshot => {
                self.ready(service);
                self.wait_for_snapshot(service, before);
            }
        }
    }

    /// Waits until a snapshot is being written, and a little more.
    fn wait_for_snapshot(&mut self, service: &mut Tianlu, before: &BTreeSet<String>) {
        let began = Instant::now();
        while self.services.snapshots().is_subset(before) && service.ended().is_none() {
            assert!(began.elapsed() < MINUTE, "no snapshot within {MINUTE:?}");
            pass(Duration::from_micros(100));
        }
        pass(self.random.part_of(SNAPSHOT));
    }

    fn ready(&mut self, service: &mut Tianlu) {
        let began = Instant::now();
        while !service.is_ready() {
            assert!(began.elapsed() < IN_TIME, "not ready within {IN_TIME:?}");
            assert!(service.ended().is_none(), "the service ended by itself");
            pass(Duration::from_millis(5));
        }
        self.restarts.push(began.elapsed());
    }

    /// Returns the median of the restarts so far.
    fn usual(&self) -> Duration {
        let mut restarts = self.restarts.clone();
        restarts.sort_unstable();
        restarts.get(restarts.len() / 2).copied().unwrap_or(FLOW)
    }
}

/// Returns what the names of a publisher's devices begin with.
fn prefix(number: impl std::fmt::Display) -> String {
    format!("k{number}-")
}

impl Drop for At {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { seed, kill, moment } = self;
            eprintln!("failed with --seed {seed} at kill {kill}, {moment:?}");
        }
    }
}
