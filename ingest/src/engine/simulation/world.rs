//! The world of one seed: it lets the steps happen, and holds what comes of them against the promises.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::Disk;
use journal::sim::{Crash, Dice, Faults, Planted as PlantedDisk, SimDisk};

use super::broker::Broker;
use super::config;
use super::fleet::Fleet;
use super::life::{Life, Trouble};
use super::parts::Told;
use super::planted::{Forgetful, Planted};
use super::server::Server;
use super::step::{Plan, Step, Store, Timed};
use super::tape::Tape;
use super::{clock, judge};
use crate::engine::service::append_config;
use crate::http::{Desk as _, LetterChoice};
use crate::source::Acknowledge;

/// How long everything may take to settle once nothing fails any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(1_800);
/// How long nobody says anything at the end of one world in so many: the silence that is told, after the ten seconds
/// until a source counts as caught up, and some ticks.
const HUSH: Duration = Duration::from_secs(135);
const HUSHED_EACH: u64 = 8;

/// A world.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) planted: Option<Planted>,
    pub(super) disk: SimDisk,
    pub(super) shards: NonZeroU16,
    pub(super) config: usize,
    pub(super) quarantined: bool,
    pub(super) fleet: Arc<Mutex<Fleet>>,
    pub(super) tape: Arc<Mutex<Tape>>,
    pub(super) broker: Arc<Broker>,
    pub(super) server: Arc<Mutex<Server>>,
    pub(super) told: Arc<Mutex<Told>>,
    pub(super) life: Option<Life>,
    /// What stops when the disk stops.
    crash: Crash,
    dice: Dice,
    received: u64,
    lives: u64,
    /// Whether the disk has ever failed.
    is_faulty: bool,
    /// Whether every device was silent for so long at the end that it must be told so.
    pub(super) is_hushed: bool,
}

impl World {
    pub(super) fn new(plan: Plan, planted: Option<Planted>) -> Self {
        let on_disk =
            (planted == Some(Planted::AckBeforeFsync)).then_some(PlantedDisk::AckBeforeFsync);
        let disk = SimDisk::with_planted(plan.seed, on_disk);
        let fleet = Arc::new(Mutex::new(Fleet::default()));
        let tape = Arc::new(Mutex::new(Tape::default()));
        let both = (Arc::clone(&fleet), Arc::clone(&tape));
        let broker = Broker::new((&plan, planted), disk.clone(), both);
        Self {
            server: Arc::new(Mutex::new(Server::new(&plan))),
            dice: Dice::new(plan.seed ^ 0xd1ce),
            plan,
            planted,
            disk,
            shards: NonZeroU16::MIN,
            config: 0,
            quarantined: false,
            fleet,
            tape,
            broker,
            told: Arc::default(),
            life: None,
            crash: Crash::Process,
            received: 0,
            lives: 0,
            is_faulty: false,
            is_hushed: false,
        }
    }

    /// Returns the disk as the product sees it.
    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        if self.planted == Some(Planted::SnapshotBeforeOutboxSync) {
            let folder = PathBuf::from("/data/outbox");
            Arc::new(Forgetful { disk: self.disk.clone(), folder })
        } else {
            Arc::new(self.disk.clone())
        }
    }

    pub(super) fn settles_early(&self) -> bool {
        self.planted == Some(Planted::CursorBeforeSettled)
    }

    /// Lets everything happen, then heals the world and looks at what is left.
    pub(super) async fn live(&mut self) -> Result<(), String> {
        let steps = std::mem::take(&mut self.plan.steps);
        for timed in &steps {
            self.pass(Duration::from_millis(timed.after_ms)).await?;
            self.act(timed).await?;
        }
        self.plan.steps = steps;
        self.settle().await?;
        judge::end(self)
    }

    /// Lets time pass, and looks at what may never be.
    async fn pass(&mut self, time: Duration) -> Result<(), String> {
        tokio::time::sleep(time).await;
        if self.disk.is_stopped() {
            self.die(self.crash).await;
        }
        if self.life.is_none() {
            self.start().await?;
        }
        self.look().await
    }

    async fn look(&mut self) -> Result<(), String> {
        if let Some(broken) =
            self.broker.broken().or_else(|| self.tape.lock().unwrap().broken.take())
        {
            return Err(broken);
        }
        if self.broker.unacked() > self.plan.window {
            return Err("P3: more in flight than the window".to_owned());
        }
        let Some(life) = &mut self.life else { return Ok(()) };
        if let Some(broken) = life.panicked().await
            && !self.disk.is_stopped()
        {
            return Err(broken);
        }
        // Each life begins a segment in each log; a snapshot frees them, if it comes to one.
        let bound = self.plan.max_bytes + 2 * (1 + self.lives) * self.plan.segment_bytes;
        // Each failed fsync leaves a segment behind, and a disk that fails takes no snapshot that frees them.
        if !self.is_faulty && life.space.used() > bound {
            return Err(format!("P3: the logs take {} bytes of {bound}", life.space.used()));
        }
        if self.planted == Some(Planted::CutBeyondCursor) {
            life.shared.store_position.store(u64::MAX, std::sync::atomic::Ordering::Release);
        }
        let Some(at) = life.desk.balance().await else { return Ok(()) };
        let balance = at.balance;
        if !balance.is_exact() {
            return Err(format!("P1: {balance:?}"));
        }
        let taken = self.tape.lock().unwrap().uplinks;
        if balance.uplinks.received != taken || taken < self.received {
            return Err(format!("P1: {taken} uplinks in the journal, and {balance:?}"));
        }
        self.received = taken;
        Ok(())
    }

    async fn start(&mut self) -> Result<(), String> {
        self.shards = NonZeroU16::new(u16::try_from(1 + self.dice.below(70)).unwrap()).unwrap();
        match Life::start(self).await {
            Ok(life) => {
                self.life = Some(life);
                self.lives += 1;
            }
            Err(Trouble::Broken(what)) => return Err(what),
            Err(Trouble::Ended(_)) => {
                let crash = if self.disk.is_stopped() { self.crash } else { Crash::Process };
                self.die(crash).await;
            }
        }
        Ok(())
    }

    /// The process, or the machine, is gone.
    async fn die(&mut self, crash: Crash) {
        if let Some(life) = self.life.take() {
            life.die().await;
        }
        self.tape.lock().unwrap().let_go();
        self.disk.crash(crash);
        self.server.lock().unwrap().spare();
        self.broker.disconnect(Duration::from_millis(50));
    }

    async fn act(&mut self, timed: &Timed) -> Result<(), String> {
        match &timed.step {
            Step::Rest => {}
            Step::Send(device, shape) => {
                let message = self.fleet.lock().unwrap().send(*device, *shape);
                self.broker.publish(message);
            }
            Step::Burst { from, count } => {
                for device in (*from..).take(usize::try_from(*count).unwrap()) {
                    let device = device % self.plan.devices;
                    let message = self.fleet.lock().unwrap().send(device, super::step::Shape::Good);
                    self.broker.publish(message);
                    // A device that is here again sends its next reading.
                    if (device + 1) % self.plan.devices == *from {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            Step::Batch(elements) => {
                let message = self.fleet.lock().unwrap().batch(elements);
                self.broker.publish(message);
            }
            Step::Malformed(device) => {
                let message = self.fleet.lock().unwrap().malformed(*device);
                self.broker.publish(message);
            }
            Step::UnknownTopic => {
                let message = self.fleet.lock().unwrap().unknown_topic();
                self.broker.publish(message);
            }
            Step::TooLarge(device) => {
                let message = self.fleet.lock().unwrap().too_large(*device);
                self.broker.publish(message);
            }
            Step::Repeat(back) => {
                let sent = self.fleet.lock().unwrap().sent.len();
                let message = sent.checked_sub(1 + usize::try_from(*back).unwrap());
                message.into_iter().for_each(|message| self.broker.publish(message));
            }
            Step::Crash(crash) => self.die(*crash).await,
            Step::CrashIn(calls, crash) => {
                self.crash = *crash;
                self.disk.stop_after(Some(*calls));
            }
            Step::Restart => self.stop().await?,
            Step::Disk(faults) => {
                self.is_faulty |= *faults != Faults::default();
                self.disk.set_faults(*faults);
            }
            Step::Space(free) => self.set_space(*free),
            Step::HostClock(seconds) => clock::jump(*seconds),
            Step::Broker { keeps, away_ms } => {
                self.broker.disconnect(Duration::from_millis(*away_ms));
                if !keeps {
                    self.broker.lose_session();
                }
            }
            Step::Disconnect => self.broker.disconnect(Duration::from_millis(200)),
            Step::Store(step) => self.act_on_store(*step),
            Step::Config(at) => self.configure(*at).await,
            Step::Redrive => self.redrive().await,
        }
        Ok(())
    }

    fn act_on_store(&self, step: Store) {
        let mut server = self.server.lock().unwrap();
        match step {
            Store::Mode(mode) => server.set_mode(mode),
            Store::Conflict(device) => server.set_conflict(device),
            Store::Kill { away_ms } => {
                server.kill(Duration::from_millis(away_ms));
            }
        }
    }

    fn set_space(&self, free: Option<u64>) {
        self.disk.set_capacity(None);
        let Some(free) = free else { return };
        const ALL: u64 = 1 << 60;
        self.disk.set_capacity(Some(ALL));
        if let Ok(left) = self.disk.free_bytes(&PathBuf::from("/data")) {
            self.disk.set_capacity(Some(ALL - left + free));
        }
    }

    async fn configure(&mut self, at: usize) {
        let Some(life) = &self.life else { return };
        let (bundle, active) = config::of(self.planted).get(at);
        let Ok(hash) = life.bundles.keep(bundle, active) else { return };
        self.config = at;
        self.quarantined |= at == config::QUARANTINE;
        // Not durable in time: the start makes it the active one.
        let _appended = life.ask(append_config(&life.orders, hash)).await;
    }

    async fn redrive(&self) {
        let Some(life) = &self.life else { return };
        let all = LetterChoice { reason: None, id: None };
        let _redriven = life.ask(life.desk.redrive(all)).await;
    }

    async fn stop(&mut self) -> Result<(), String> {
        let Some(life) = self.life.take() else { return Ok(()) };
        let stopped = life.stop(self).await;
        let crash = if self.disk.is_stopped() { self.crash } else { Crash::Process };
        self.die(crash).await;
        match stopped {
            Err(Trouble::Broken(what) | Trouble::Ended(what)) => Err(what),
            Ok(()) => Ok(()),
        }
    }

    /// Nothing fails any more: everything ends where it belongs, without a restart.
    async fn settle(&mut self) -> Result<(), String> {
        if self.disk.is_stopped() {
            self.die(self.crash).await;
        }
        self.disk.stop_after(None);
        self.disk.set_faults(Faults::default());
        self.disk.set_capacity(None);
        self.server.lock().unwrap().heal();
        let until = tokio::time::Instant::now() + SETTLES_WITHIN;
        loop {
            self.pass(Duration::from_secs(3)).await?;
            let Some(what) = self.unsettled().await else { break };
            if tokio::time::Instant::now() > until {
                return Err(format!("it does not settle: {what}"));
            }
        }
        self.hush().await?;
        self.stop_for_good().await
    }

    /// In some worlds nobody says anything for so long that each device must be told silent.
    async fn hush(&mut self) -> Result<(), String> {
        if self.plan.seed.is_multiple_of(HUSHED_EACH) {
            self.pass(HUSH).await?;
            self.is_hushed = true;
        }
        Ok(())
    }

    async fn unsettled(&self) -> Option<String> {
        let Some(life) = &self.life else { return Some("it does not start".to_owned()) };
        if !self.broker.is_idle() {
            return Some("messages wait at the broker".to_owned());
        }
        let reasons = life.desk.readiness();
        if let Some(reason) = reasons.iter().find(|one| one.blocks) {
            return Some(format!("not ready: {} {}", reason.part, reason.message.en));
        }
        let Some(at) = life.desk.balance().await else { return Some("recovering".to_owned()) };
        let (uplinks, readings) = (at.balance.uplinks.held, at.balance.readings.held);
        (uplinks + readings > 0).then(|| format!("{uplinks} uplinks, {readings} readings are held"))
    }

    async fn stop_for_good(&mut self) -> Result<(), String> {
        self.stop().await?;
        let until = tokio::time::Instant::now() + SETTLES_WITHIN;
        loop {
            self.pass(Duration::from_secs(5)).await?;
            match self.unsettled().await {
                None => return Ok(()),
                Some(what) if tokio::time::Instant::now() > until => {
                    return Err(format!("after a restart: {what}"));
                }
                Some(_) => {}
            }
        }
    }
}
