//! Snapshots: the whole state at one position, so that a start need not derive everything again.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `TLSN` |
//! | 1 | version, 1 |
//! | .. | head and body, `bincode` (standard) |
//!
//! The file around it carries length and checksum. A snapshot of the same records has the same bytes for the same
//! number of shards. Indexes, watching lists and silence deadlines are derived from it and the configuration.

use std::num::NonZeroU16;
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::account::Account;
use crate::alert_book::AlertBook;
use crate::change::Shared;
use crate::clock::Clocks;
use crate::core::{ConfigSource, Limits, Pipeline};
use crate::device::Device;
use crate::letter::Letter;

const MAGIC: &[u8; 5] = b"TLSN\x01";
/// Largest snapshot that is read: 64 GiB, far above what one machine holds.
const BYTES_MAX: usize = 64 << 30;

/// What a snapshot says of itself before its body is read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotHead {
    /// Journal position up to which records are in it.
    pub position: u64,
    /// Version of the engine that derived it.
    pub engine: String,
    /// Hash of the active configuration.
    pub config: Option<String>,
    /// Uplink ordinal at the position.
    pub uplink_ordinal: u64,
    /// Reading ordinal at the position.
    pub reading_ordinal: u64,
}

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot, cut, or of a newer version.
    #[error("snapshot is not readable by this version")]
    Unreadable,
    /// The configuration that it names is not there.
    #[error("configuration `{0}`, named by the snapshot, is not in the data folder")]
    ConfigMissing(String),
}

#[derive(Encode)]
struct BodyRef<'a> {
    account: &'a Account,
    alerts: &'a AlertBook,
    clocks: &'a Clocks,
    now: i64,
    letters: Vec<&'a Letter>,
    devices: Vec<&'a Device>,
}

#[derive(Decode)]
struct Body {
    account: Account,
    alerts: AlertBook,
    clocks: Clocks,
    now: i64,
    letters: Vec<Letter>,
    devices: Vec<Device>,
}

impl Pipeline {
    /// Returns what a snapshot of this state says of itself.
    #[must_use]
    pub fn snapshot_head(&self) -> SnapshotHead {
        SnapshotHead {
            position: self.position,
            engine: self.engine.clone(),
            config: self.config.as_ref().map(|config| config.hash.clone()),
            uplink_ordinal: self.account.uplink_ordinal,
            reading_ordinal: self.account.readings_decoded,
        }
    }

    /// Writes the whole state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let body = BodyRef {
            account: &self.account,
            alerts: &self.alerts,
            clocks: &self.clocks,
            now: self.now,
            letters: self.letters.iter().collect(),
            devices: self.shards.iter().flat_map(|shard| &shard.devices).collect(),
        };
        let mut out = MAGIC.to_vec();
        let config = bincode::config::standard().with_limit::<BYTES_MAX>();
        let written = bincode::encode_into_std_write(self.snapshot_head(), &mut out, config)
            .and_then(|_| bincode::encode_into_std_write(body, &mut out, config));
        debug_assert!(written.is_ok(), "encoding into memory cannot fail: {written:?}");
        out
    }

    /// Reads the head of a snapshot.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Unreadable`].
    pub fn read_snapshot_head(bytes: &[u8]) -> Result<SnapshotHead, SnapshotError> {
        split_head(bytes).map(|(head, _)| head)
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
        let (head, rest) = split_head(bytes)?;
        let config = match &head.config {
            Some(hash) => {
                Some(configs.load(hash).ok_or_else(|| SnapshotError::ConfigMissing(hash.clone()))?)
            }
            None => None,
        };
        let (body, _): (Body, usize) = decode(rest)?;
        let mut pipeline = Self::new(shards, limits);
        pipeline.account = body.account;
        pipeline.alerts = body.alerts;
        pipeline.clocks = body.clocks;
        pipeline.now = body.now;
        pipeline.position = head.position;
        pipeline.engine = head.engine;
        for mut letter in body.letters {
            share_origin(&mut letter, &pipeline);
            pipeline.letters.add(letter);
        }
        if let Some(first) = pipeline.shards.first_mut() {
            first.devices = body.devices;
        }
        pipeline.config.clone_from(&config);
        if let Some(config) = config {
            pipeline.derive(&config);
        }
        Ok(pipeline)
    }

    /// Derives what a snapshot leaves out.
    fn derive(&mut self, config: &Arc<crate::config::ActiveConfig>) {
        self.place_anew(config);
        let mut shared = Shared::default();
        for place in self.devices_in_order() {
            self.watch(config, place, &mut shared);
            self.arm(config, place);
        }
    }
}

/// Letters of one uplink share its bytes again.
fn share_origin(letter: &mut Letter, pipeline: &Pipeline) {
    let before = letter.key.1.checked_sub(1).map(|number| format!("{}-{number}", letter.key.0));
    let shared = before
        .and_then(|id| pipeline.letters.get(&id))
        .filter(|known| known.origin == letter.origin);
    if let Some(known) = shared {
        letter.origin = Arc::clone(&known.origin);
    }
}

fn split_head(bytes: &[u8]) -> Result<(SnapshotHead, &[u8]), SnapshotError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Unreadable)?;
    let (head, used) = decode(rest)?;
    Ok((head, rest.get(used..).unwrap_or_default()))
}

/// Decodes within 64 times the memory of the input, or a little: memory is taken by the lengths that stand in it,
/// and a length in nine damaged bytes must not end the process. No element takes that much more than its bytes.
fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), SnapshotError> {
    fn within<const LIMIT: usize, T: Decode<()>>(
        bytes: &[u8],
    ) -> Result<(T, usize), SnapshotError> {
        let config = bincode::config::standard().with_limit::<LIMIT>();
        bincode::decode_from_slice(bytes, config).map_err(|_| SnapshotError::Unreadable)
    }
    match bytes.len() {
        0..=0x10_0000 => within::<{ 64 << 20 }, T>(bytes),
        0x10_0001..=0x400_0000 => within::<{ 4 << 30 }, T>(bytes),
        _ => within::<BYTES_MAX, T>(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: 25 GB were asked for, and the process ended.
    #[test]
    fn a_length_that_no_memory_holds_is_unreadable() {
        let mut bytes = Pipeline::new(NonZeroU16::MIN, Limits::default()).snapshot();
        // The last byte counts the devices.
        assert_eq!(bytes.pop(), Some(0));
        bytes.push(253);
        bytes.extend_from_slice(&50_000_000_u64.to_le_bytes());
        struct None;
        impl ConfigSource for None {
            fn load(&self, _: &str) -> Option<Arc<crate::config::ActiveConfig>> {
                Option::None
            }
        }
        let restored = Pipeline::restore(&bytes, NonZeroU16::MIN, Limits::default(), &None);
        assert_eq!(restored.err(), Some(SnapshotError::Unreadable));
    }
}
