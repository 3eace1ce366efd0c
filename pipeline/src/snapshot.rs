//! Snapshots: the whole state at one position, so that a start need not derive everything again.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `TLSN` |
//! | 1 | version, 3 |
//! | .. | blocks: head, common, resolved alerts, dead letters, devices shard by shard, end |
//!
//! | bytes of a block | field |
//! |---|---|
//! | 1 | kind |
//! | 4 | length of the body |
//! | 8 | XXH3 of the body |
//! | .. | body |
//!
//! A dead letter whose raw uplink is that of the letter before it comes without it.
//!
//! A block ends with the first item that brings it to 128 KiB, so that its bytes depend on the state alone. A
//! snapshot of the same records has the same bytes for the same number of shards. The alerts that stand are with
//! their devices; indexes, watching lists and silence deadlines are derived from devices and configuration.
//!
//! It is [`copied`](crate::snapshot::Copying) a little at a time while records go on being applied, and
//! [`restored`](crate::snapshot::Restoring) shard by shard, on as many threads as there are.

mod block;
mod copy;
mod device;
mod first;
mod restore;

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use rules::Alert;

use crate::account::Account;
use crate::clock::Clocks;
use crate::core::Pipeline;
use crate::letter::Letter;

pub use self::copy::{Copied, Copying};
pub use self::restore::{Part, Restoring};

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
    /// Not a snapshot, cut, damaged, or of a newer version.
    #[error("snapshot is not readable by this version")]
    Unreadable,
    /// The configuration that it names is not there.
    #[error("configuration `{0}`, named by the snapshot, is not in the data folder")]
    ConfigMissing(String),
}

/// What is neither a list nor of a device.
#[derive(Debug, Encode, Decode)]
struct Common {
    account: Account,
    clocks: Clocks,
    now: i64,
    /// Alerts that have ended and are still to be told.
    untold: VecDeque<Alert>,
}

/// The same as the version before wrote it.
#[derive(Debug, Decode)]
struct SecondCommon {
    account: Account,
    clocks: Clocks,
    now: i64,
}

impl From<SecondCommon> for Common {
    fn from(SecondCommon { account, clocks, now }: SecondCommon) -> Self {
        Self { account, clocks, now, untold: VecDeque::new() }
    }
}

/// A dead letter as it stands in a snapshot.
#[derive(Debug, Encode, Decode)]
struct WrittenLetter {
    letter: Letter,
    /// Its raw uplink is that of the letter before, and empty here.
    shares: bool,
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

    /// Writes the whole state at once.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let copied = Copying::new(self).step(self, &mut out, usize::MAX);
        debug_assert_eq!(copied, Copied::All, "a budget without end is enough");
        out
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::sync::Arc;

    use super::*;
    use crate::account::Reason;
    use crate::core::{ConfigSource, Limits};
    use crate::letter::Subject;
    use crate::record::Origin;

    struct NoConfig;

    impl ConfigSource for NoConfig {
        fn load(&self, _: &str) -> Option<Arc<crate::config::ActiveConfig>> {
            None
        }
    }

    fn restore(bytes: &[u8]) -> Result<Pipeline, SnapshotError> {
        Pipeline::restore(bytes, NonZeroU16::MIN, Limits::default(), &NoConfig)
    }

    #[test]
    fn no_part_of_a_snapshot_is_one() {
        let bytes = Pipeline::new(NonZeroU16::MIN, Limits::default()).snapshot();
        assert!(restore(&bytes).is_ok());
        for cut in 0..bytes.len() {
            let part = bytes.get(..cut).unwrap();
            assert_eq!(restore(part).err(), Some(SnapshotError::Unreadable), "{cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(restore(&longer).err(), Some(SnapshotError::Unreadable));
        for at in 5..bytes.len() {
            let mut damaged = bytes.clone();
            *damaged.get_mut(at).unwrap() ^= 4;
            assert!(restore(&damaged).is_err(), "{at}");
        }
    }

    /// Found by fuzzing: 25 GB were asked for, and the process ended.
    #[test]
    fn a_length_that_no_memory_holds_is_unreadable() {
        let mut body = Vec::new();
        crate::pack::put_number(&mut body, 0);
        crate::pack::put_number(&mut body, 50_000_000);
        let whole = Pipeline::new(NonZeroU16::MIN, Limits::default()).snapshot();
        let end = whole.len() - block::END_BYTES;
        let mut bytes = whole.get(..end).unwrap().to_vec();
        block::put(&mut bytes, block::Kind::Devices, &body);
        bytes.extend_from_slice(whole.get(end..).unwrap());
        assert_eq!(restore(&bytes).err(), Some(SnapshotError::Unreadable));
    }

    /// A pipeline with three letters, the first two of one uplink.
    fn with_letters() -> Pipeline {
        let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
        pipeline.position = 2;
        let origin =
            |at| Origin { received_at_nanos: at, payload: vec![7; 1000], ..Origin::default() };
        let shared = Arc::new(origin(1));
        for (key, origin) in [((1, 0), &shared), ((1, 1), &shared), ((2, 0), &Arc::new(origin(2)))]
        {
            pipeline.letters.add(Letter {
                key,
                subject: Subject::Reading,
                point: None,
                element: key.1,
                is_batch: true,
                reason: Reason::BadElement,
                detail: "x".to_owned(),
                tenant: "t".to_owned(),
                device: "d".to_owned(),
                origin: Arc::clone(origin),
            });
        }
        pipeline
    }

    #[test]
    fn letters_of_one_uplink_come_with_its_bytes_once() {
        let pipeline = with_letters();
        let bytes = pipeline.snapshot();
        assert!((2000..2300).contains(&bytes.len()), "{}", bytes.len());
        let restored = restore(&bytes).unwrap();
        assert!(restored.letters().iter().eq(pipeline.letters().iter()));
        assert_eq!(restored.letters().bytes(), pipeline.letters().bytes());
        assert_eq!(restored.snapshot(), bytes);
    }

    /// Writes the blocks of a snapshot anew, with other letters.
    fn rewritten(magic: &[u8], whole: &[u8], letters: &[u8]) -> Vec<u8> {
        let mut out = magic.to_vec();
        let mut rest = whole.get(magic.len()..).unwrap();
        while let Some(block) = block::Block::take(&mut rest) {
            let is_letters = block.kind == block::Kind::Letters;
            block::put(
                &mut out,
                block.kind,
                if is_letters { letters } else { block.body().unwrap() },
            );
        }
        out
    }

    #[test]
    fn a_snapshot_of_the_version_before_is_read() {
        let pipeline = with_letters();
        let (whole, mut letters) = (pipeline.snapshot(), Vec::new());
        pipeline.letters().iter().for_each(|letter| block::encode(letter, &mut letters));
        let restored = restore(&rewritten(block::MAGIC_2, &whole, &letters)).unwrap();
        assert_eq!(restored.snapshot(), whole);
    }

    #[test]
    fn a_letter_that_shares_with_none_is_unreadable() {
        let pipeline = with_letters();
        let letter = pipeline.letters().iter().next().unwrap().clone();
        let (whole, mut letters) = (pipeline.snapshot(), Vec::new());
        block::encode(WrittenLetter { letter, shares: true }, &mut letters);
        let bytes = rewritten(block::MAGIC, &whole, &letters);
        assert_eq!(restore(&bytes).err(), Some(SnapshotError::Unreadable));
    }
}
