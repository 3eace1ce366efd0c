//! Restoring a snapshot, shard by shard.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::block::{Block, Kind, MAGIC, MAGIC_2, decode, decode_all};
use super::device::{self, Base, DEVICE_BYTES_MIN};
use super::{Common, SecondCommon, SnapshotError, SnapshotHead, WrittenLetter, first};
use crate::config::ActiveConfig;
use crate::core::{ConfigSource, Limits, Pipeline, shard_of};
use crate::device::Device;
use crate::letter::Letter;
use crate::pack::take;
use crate::record::Origin;
use crate::shard::Shard;

/// A snapshot whose devices are still to be read: each part alone, in any order, on any thread.
#[derive(Debug)]
pub struct Restoring<'a> {
    /// Everything but devices.
    pipeline: Pipeline,
    base: Base,
    /// Blocks of devices, by the shard they were in.
    blocks: Vec<Vec<Block<'a>>>,
    /// Devices that are read already.
    strays: Vec<Device>,
    devices: u64,
    /// The raw uplink of the last letter read.
    origin: Option<Arc<Origin>>,
    /// Common and letters are written as in the version before.
    is_second: bool,
}

/// The devices of one shard.
#[derive(Debug)]
pub struct Part {
    shard: usize,
    held: Shard,
    /// Those that belong to other shards now.
    strays: Vec<Device>,
}

impl Pipeline {
    /// Reads the head of a snapshot.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Unreadable`].
    pub fn read_snapshot_head(bytes: &[u8]) -> Result<SnapshotHead, SnapshotError> {
        match after_magic(bytes) {
            Some(mut rest) => head_of(&mut rest),
            None => first::head(bytes).map(|(head, _)| head),
        }
    }

    /// Restores the state of a snapshot into any number of shards.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] where the bytes are not a snapshot, or its configuration is gone.
    pub fn restore(
        bytes: &[u8],
        shards: NonZeroU16,
        limits: Limits,
        configs: &dyn ConfigSource,
    ) -> Result<Self, SnapshotError> {
        let restoring = Restoring::open(bytes, shards, limits, configs)?;
        let parts: Result<Vec<Part>, _> =
            (0..restoring.parts()).map(|part| restoring.part(part)).collect();
        restoring.finish(parts?)
    }
}

/// Returns what follows the magic of this version, or of the one before.
fn after_magic(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(MAGIC).or_else(|| bytes.strip_prefix(MAGIC_2))
}

fn head_of(rest: &mut &[u8]) -> Result<SnapshotHead, SnapshotError> {
    let block = Block::take(rest).filter(|block| block.kind == Kind::Head);
    decode(&mut block.ok_or(SnapshotError::Unreadable)?.body()?)
}

impl<'a> Restoring<'a> {
    /// Reads everything but the devices.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] where the bytes are not a snapshot, or its configuration is gone.
    pub fn open(
        bytes: &'a [u8],
        shards: NonZeroU16,
        limits: Limits,
        configs: &dyn ConfigSource,
    ) -> Result<Self, SnapshotError> {
        let mut pipeline = Pipeline::new(shards, limits);
        let in_blocks = after_magic(bytes);
        let (head, mut rest) = match in_blocks {
            Some(mut rest) => (head_of(&mut rest)?, rest),
            None => first::head(bytes)?,
        };
        if let Some(hash) = &head.config {
            let missing = || SnapshotError::ConfigMissing(hash.clone());
            pipeline.config = Some(configs.load(hash).ok_or_else(missing)?);
        }
        pipeline.position = head.position;
        pipeline.engine = head.engine;
        let base = Base { now: 0, position: head.position };
        let mut restoring = Self {
            pipeline,
            base,
            blocks: Vec::new(),
            strays: Vec::new(),
            devices: 0,
            origin: None,
            is_second: bytes.starts_with(MAGIC_2),
        };
        if in_blocks.is_some() {
            restoring.read(&mut rest)?;
        } else {
            let body = first::read(&mut rest)?;
            restoring.common(body.common);
            body.alerts.into_iter().for_each(|alert| restoring.pipeline.alerts.list(alert));
            body.letters.into_iter().for_each(|letter| restoring.letter(letter));
            restoring.strays = body.devices;
            restoring.devices = u64::try_from(restoring.strays.len()).unwrap_or(u64::MAX);
        }
        Ok(restoring)
    }

    fn read(&mut self, rest: &mut &'a [u8]) -> Result<(), SnapshotError> {
        let mut before = Kind::Head;
        while before != Kind::End {
            let block = Block::take(rest).ok_or(SnapshotError::Unreadable)?;
            let is_one = matches!(block.kind, Kind::Head | Kind::Common | Kind::End);
            let is_in_order = block.kind > before || (block.kind == before && !is_one);
            let has_common = before >= Kind::Common || block.kind == Kind::Common;
            if !is_in_order || !has_common {
                return Err(SnapshotError::Unreadable);
            }
            before = block.kind;
            self.take(block)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(SnapshotError::Unreadable) }
    }

    fn take(&mut self, block: Block<'a>) -> Result<(), SnapshotError> {
        match block.kind {
            Kind::Head => Err(SnapshotError::Unreadable),
            Kind::Common => {
                let mut body = block.body()?;
                let common = if self.is_second {
                    decode::<SecondCommon>(&mut body)?.into()
                } else {
                    decode(&mut body)?
                };
                self.common(common);
                Ok(())
            }
            Kind::Alerts => decode_all(block.body()?, |alert| self.pipeline.alerts.list(alert)),
            Kind::Letters if self.is_second => {
                decode_all(block.body()?, |letter| self.letter(letter))
            }
            Kind::Letters => {
                let mut is_whole = true;
                decode_all(block.body()?, |written| is_whole &= self.written_letter(written))?;
                if is_whole { Ok(()) } else { Err(SnapshotError::Unreadable) }
            }
            Kind::Devices => {
                let shard = usize::from(block.shard().ok_or(SnapshotError::Unreadable)?);
                if self.blocks.len() <= shard {
                    self.blocks.resize_with(shard + 1, Vec::new);
                }
                if let Some(blocks) = self.blocks.get_mut(shard) {
                    blocks.push(block);
                }
                Ok(())
            }
            Kind::End => {
                let count = block.body()?.try_into().map_err(|_| SnapshotError::Unreadable)?;
                self.devices = u64::from_le_bytes(count);
                Ok(())
            }
        }
    }

    fn common(&mut self, common: Common) {
        self.pipeline.account = common.account;
        self.pipeline.clocks = common.clocks;
        self.pipeline.now = common.now;
        self.pipeline.untold = common.untold;
        self.base.now = common.now;
    }

    /// Takes a letter; `false` where it shares the raw uplink of the one before, and there is none.
    fn written_letter(&mut self, WrittenLetter { mut letter, shares }: WrittenLetter) -> bool {
        if shares {
            let Some(origin) = &self.origin else { return false };
            letter.origin = Arc::clone(origin);
        }
        self.letter(letter);
        true
    }

    fn letter(&mut self, mut letter: Letter) {
        // Written by an older version it has the bytes itself.
        if let Some(before) = self.origin.take().filter(|before| *before == letter.origin) {
            letter.origin = before;
        }
        self.origin = Some(Arc::clone(&letter.origin));
        self.pipeline.letters.add(letter);
    }

    /// Returns how many parts there are.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.blocks.len()
    }

    /// Reads a part.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Unreadable`].
    pub fn part(&self, shard: usize) -> Result<Part, SnapshotError> {
        let blocks = self.blocks.get(shard).map(Vec::as_slice).unwrap_or_default();
        let mut bodies = Vec::with_capacity(blocks.len());
        let mut devices = 0;
        for block in blocks {
            let mut body = block.body()?;
            let (Some(_), Some(count)) = (take::<u16>(&mut body), take::<usize>(&mut body)) else {
                return Err(SnapshotError::Unreadable);
            };
            if count > body.len() / DEVICE_BYTES_MIN {
                return Err(SnapshotError::Unreadable);
            }
            devices += count;
            bodies.push((count, body));
        }
        let is_own = shard < self.pipeline.shards.len();
        let held = Shard::with_capacity(if is_own { devices } else { 0 });
        let mut part = Part { shard, held, strays: Vec::new() };
        for (count, mut body) in bodies {
            for _ in 0..count {
                let device = device::read(&mut body, self.base);
                self.place(&mut part, device.ok_or(SnapshotError::Unreadable)?);
            }
            if !body.is_empty() {
                return Err(SnapshotError::Unreadable);
            }
        }
        Ok(part)
    }

    /// Puts a device where its partition key belongs.
    fn place(&self, part: &mut Part, device: Device) {
        let hash = device.hash();
        if self.shard_of(&device, hash) == part.shard {
            add(&mut part.held, (hash, device), self.pipeline.config.as_ref());
        } else {
            part.strays.push(device);
        }
    }

    fn shard_of(&self, device: &Device, hash: u64) -> usize {
        let known = self.pipeline.config.as_ref();
        let known = known.and_then(|config| config.device(device.tenant(), device.name()));
        let group = known.and_then(|known| known.group.as_deref());
        shard_of(self.pipeline.shards.len(), device.tenant(), hash, group)
    }

    /// Puts the parts together, each of them once.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Unreadable`] where devices are missing.
    pub fn finish(mut self, parts: Vec<Part>) -> Result<Pipeline, SnapshotError> {
        let mut strays = std::mem::take(&mut self.strays);
        for part in parts {
            strays.extend(part.strays);
            if let Some(shard) = self.pipeline.shards.get_mut(part.shard) {
                *shard = part.held;
            }
        }
        let config = self.pipeline.config.clone();
        for device in strays {
            let hash = device.hash();
            let place = self.shard_of(&device, hash);
            if let Some(shard) = self.pipeline.shards.get_mut(place) {
                add(shard, (hash, device), config.as_ref());
            }
        }
        let mut pipeline = self.pipeline;
        let held: usize = pipeline.shards.iter().map(|shard| shard.devices.len()).sum();
        if u64::try_from(held) != Ok(self.devices) {
            return Err(SnapshotError::Unreadable);
        }
        let alerts = pipeline.shards.iter().flat_map(|shard| &shard.devices);
        alerts.flat_map(Device::alerts).for_each(|alert| pipeline.alerts.note(alert));
        Ok(pipeline)
    }
}

/// Adds a device and derives what a snapshot leaves out.
fn add(shard: &mut Shard, (hash, device): (u64, Device), config: Option<&Arc<ActiveConfig>>) {
    let at = shard.add(hash, device);
    if let Some(config) = config {
        shard.watch(config, at);
        shard.arm(config, at);
    }
}
