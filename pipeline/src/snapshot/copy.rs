//! Copying the state of one position a little at a time, while records go on being applied.
//!
//! The bytes are those of the state at the position where it began, whatever is applied meanwhile and however large
//! the steps are. What is about to change and was not copied yet is copied before the change: a device when it is
//! borrowed for a change, a dead letter when it leaves the list. Devices and letters that came since are left out:
//! they stand behind all others. A change of the configuration moves devices between shards, so it ends the copy
//! without a result.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use rules::Alert;

use super::block::{self, BLOCK_BYTES, Kind, MAGIC};
use super::device::{self, Base};
use super::{Common, SnapshotHead, WrittenLetter};
use crate::core::Pipeline;
use crate::pack::put_number;
use crate::record::Origin;
use crate::shard::Shard;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// There is more.
    Part,
    /// All of it; the copy has ended.
    All,
    /// The configuration has changed, or no copy was begun: there is no snapshot of that position.
    None,
}

/// A snapshot being copied.
#[derive(Debug)]
pub struct Copying {
    base: Base,
    /// Magic, head and common, until the first step.
    beginning: Vec<u8>,
    alerts: VecDeque<Arc<Alert>>,
    /// Key of the last letter copied, and its raw uplink.
    letter: Option<((u64, u32), Arc<Origin>)>,
    /// By shard.
    shards: Vec<Devices>,
    /// The shard being copied, and the next of its devices.
    next: (usize, u32),
    stage: Kind,
    /// Body of the block being filled, and its devices.
    block: Vec<u8>,
    in_block: u32,
}

/// The devices of a shard at the cut.
#[derive(Debug)]
struct Devices {
    len: u32,
    /// Those that changed before their turn, as they were.
    early: HashMap<u32, Box<[u8]>>,
    /// A bit for each that is among `early`, so that a further change costs nothing.
    is_early: Vec<u64>,
}

impl Devices {
    fn of(shard: &Shard) -> Self {
        let len = u32::try_from(shard.devices.len()).unwrap_or(u32::MAX);
        Self { len, early: HashMap::new(), is_early: vec![0; shard.devices.len().div_ceil(64)] }
    }

    /// Returns whether this is the first time that a device changes.
    fn mark(&mut self, at: u32) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.is_early.get_mut(word));
        word.is_some_and(|word| {
            let bit = 1_u64 << (at % 64);
            let is_first = *word & bit == 0;
            *word |= bit;
            is_first
        })
    }
}

impl Copying {
    /// Cuts here: what follows is not part of the snapshot.
    pub(super) fn new(pipeline: &Pipeline) -> Self {
        let mut beginning = MAGIC.to_vec();
        let mut body = Vec::new();
        block::encode(pipeline.snapshot_head(), &mut body);
        block::put(&mut beginning, Kind::Head, &body);
        body.clear();
        let (clocks, untold) = (pipeline.clocks.clone(), pipeline.untold.clone());
        let common = Common { account: pipeline.account, clocks, now: pipeline.now, untold };
        block::encode(common, &mut body);
        block::put(&mut beginning, Kind::Common, &body);
        body.clear();
        Self {
            base: Base { now: pipeline.now, position: pipeline.position },
            beginning,
            alerts: pipeline.alerts.resolved_list().clone(),
            letter: None,
            shards: pipeline.shards.iter().map(Devices::of).collect(),
            next: (0, 0),
            stage: Kind::Alerts,
            block: body,
            in_block: 0,
        }
    }

    /// Copies a device that is about to change, if its turn has not come yet.
    pub(crate) fn before_change(&mut self, shards: &[Shard], (shard, at): (usize, u32)) {
        if (shard, at) < self.next {
            return;
        }
        let Some(devices) = self.shards.get_mut(shard).filter(|devices| at < devices.len) else {
            return;
        };
        if !devices.mark(at) {
            return;
        }
        if let Some(device) = shards.get(shard).and_then(|shard| shard.get(at)) {
            let mut bytes = Vec::new();
            device::put(&mut bytes, device, self.base);
            devices.early.insert(at, bytes.into());
        }
    }

    /// Copies about so many bytes more into `out`.
    pub(super) fn step(&mut self, pipeline: &Pipeline, out: &mut Vec<u8>, budget: usize) -> Copied {
        out.append(&mut self.beginning);
        let until = (out.len() + self.block.len()).saturating_add(budget);
        while out.len().saturating_add(self.block.len()) < until {
            match self.stage {
                Kind::Head | Kind::Common | Kind::Alerts => self.alert(out),
                Kind::Letters => self.letter(pipeline, out),
                Kind::Devices => self.device(pipeline, out),
                Kind::End => {
                    let devices: u64 = self.shards.iter().map(|shard| u64::from(shard.len)).sum();
                    block::put(out, Kind::End, &devices.to_le_bytes());
                    return Copied::All;
                }
            }
        }
        Copied::Part
    }

    fn alert(&mut self, out: &mut Vec<u8>) {
        match self.alerts.pop_front() {
            Some(alert) => {
                block::encode(&alert, &mut self.block);
                self.end_block(out, BLOCK_BYTES);
            }
            None => self.enter(Kind::Letters, out),
        }
    }

    fn letter(&mut self, pipeline: &Pipeline, out: &mut Vec<u8>) {
        // Letters set aside since the cut have a higher position.
        let key = self.letter.as_ref().map(|(key, _)| *key);
        match pipeline.letters.next_of_copy(key, self.base.position) {
            Some(letter) => {
                let before = self.letter.replace((letter.key, Arc::clone(&letter.origin)));
                let shares = before.is_some_and(|(_, origin)| origin == letter.origin);
                let mut letter = letter.clone();
                if shares {
                    letter.origin = Arc::default();
                }
                block::encode(WrittenLetter { letter, shares }, &mut self.block);
                self.end_block(out, BLOCK_BYTES);
            }
            None => self.enter(Kind::Devices, out),
        }
    }

    fn device(&mut self, pipeline: &Pipeline, out: &mut Vec<u8>) {
        let (shard, at) = self.next;
        let Some(devices) = self.shards.get_mut(shard) else { return self.enter(Kind::End, out) };
        if at >= devices.len {
            devices.early = HashMap::new();
            self.end_block(out, 0);
            self.next = (shard + 1, 0);
            return;
        }
        match devices.early.remove(&at) {
            Some(bytes) => self.block.extend_from_slice(&bytes),
            None => {
                if let Some(device) = pipeline.device((shard, at)) {
                    device::put(&mut self.block, device, self.base);
                }
            }
        }
        self.in_block += 1;
        self.next = (shard, at + 1);
        self.end_block(out, BLOCK_BYTES);
    }

    fn enter(&mut self, stage: Kind, out: &mut Vec<u8>) {
        self.end_block(out, 0);
        self.stage = stage;
    }

    /// Writes the block if it has something, and so many bytes.
    fn end_block(&mut self, out: &mut Vec<u8>, least: usize) {
        if self.block.is_empty() || self.block.len() < least {
            return;
        }
        if self.stage == Kind::Devices {
            let mut body = Vec::with_capacity(self.block.len() + 8);
            put_number(&mut body, self.next.0 as u128);
            put_number(&mut body, u128::from(self.in_block));
            body.extend_from_slice(&self.block);
            block::put(out, Kind::Devices, &body);
        } else {
            block::put(out, self.stage, &self.block);
        }
        self.block.clear();
        self.in_block = 0;
    }
}

impl Pipeline {
    /// Begins a snapshot of the state as it is now, and returns what it says of itself. One that was being copied is
    /// given up.
    pub fn begin_snapshot(&mut self) -> SnapshotHead {
        self.letters.keep_removed(Some(self.position));
        self.copying = Some(Box::new(Copying::new(self)));
        self.snapshot_head()
    }

    /// Copies about so many bytes more of the snapshot that was begun, at least one; they are appended to `out`.
    pub fn copy_snapshot(&mut self, out: &mut Vec<u8>, budget: usize) -> Copied {
        let Some(mut copying) = self.copying.take() else { return Copied::None };
        let copied = copying.step(self, out, budget);
        match copied {
            Copied::Part => self.copying = Some(copying),
            Copied::All | Copied::None => self.letters.keep_removed(None),
        }
        copied
    }

    /// Gives up the snapshot that is being copied, if one is.
    pub fn drop_snapshot(&mut self) {
        self.copying = None;
        self.letters.keep_removed(None);
    }
}
