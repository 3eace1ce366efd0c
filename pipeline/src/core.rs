//! The pipeline's state and its one way in: [`Pipeline::apply`].

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use rules::Alert;
use telemetry::reading::Element;
use telemetry::time::IngestTime;

use crate::account::Account;
use crate::alert_book::AlertBook;
use crate::clock::Clocks;
use crate::config::ActiveConfig;
use crate::device::{Device, device_hash};
use crate::letter::{LetterLimits, Letters};
use crate::newest::Draft;
use crate::outbox::OutboxRecord;
use crate::record::{Record, RecordError, Tick, Uplink};
use crate::seen::Seen;
use crate::shard::Shard;
use crate::snapshot::Copying;

/// The head of a journal record, as the log gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Position in the journal.
    pub position: u64,
    /// How many uplinks stand up to and including this record.
    pub ordinal: u64,
}

/// A reading of recorded data.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// The row as an uplink: when it counts as taken in, a topic for dead letters, its bytes.
    pub uplink: Uplink<'a>,
    /// Index of the profile in the active configuration.
    pub profile: u16,
    /// Whose device it is.
    pub tenant: &'a str,
    /// Where the device stands, if the mapping says so.
    pub site: Option<&'a str>,
    /// The device.
    pub device: &'a str,
    /// What the mapping made of the row.
    pub element: Element,
}

/// Where the pipeline finds the configuration that a record names.
pub trait ConfigSource {
    /// Returns the configuration of a bundle's hash. `None`: its file is gone or not readable.
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>>;
}

/// One configuration, for records that name no other.
impl ConfigSource for Arc<ActiveConfig> {
    fn load(&self, hash: &str) -> Option<Self> {
        (self.hash == hash).then(|| Self::clone(self))
    }
}

/// Why a record could not be applied. State and results are as before.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The configuration that the record names is not there.
    #[error(
        "configuration `{hash}`, named at journal position {position}, is not in the data folder"
    )]
    ConfigMissing {
        /// Hash of the bundle.
        hash: String,
        /// Position of the record.
        position: u64,
    },
    /// The record is not readable: written by a newer version.
    #[error("journal record at position {position}")]
    Record {
        /// Position of the record.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
}

/// Every bound of the pipeline's state (**P3**).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open dead letters.
    pub letters: LetterLimits,
    /// States of devices from which on only those that the registry names get one: names may be made up, those of the
    /// registry somebody has chosen. Default [`Limits::DEVICES_MAX`]. Results depend on it.
    pub devices_max: usize,
}

impl Limits {
    /// Four times a county (470 uplinks/s, one each 15 minutes); at some 760 bytes each 1.5 GB.
    pub const DEVICES_MAX: usize = 2_000_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self { letters: LetterLimits::default(), devices_max: Self::DEVICES_MAX }
    }
}

/// A deterministic program: journal records in, outbox records out.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) shards: Vec<Shard>,
    pub(crate) config: Option<Arc<ActiveConfig>>,
    pub(crate) account: Account,
    pub(crate) letters: Letters,
    pub(crate) alerts: AlertBook,
    /// Alerts that have ended and are still to be told; at most those that stood when a configuration ended them.
    pub(crate) untold: VecDeque<Alert>,
    pub(crate) clocks: Clocks,
    /// Journal time: the newest time of any record, nanoseconds.
    pub(crate) now: i64,
    pub(crate) position: u64,
    pub(crate) engine: String,
    /// Letters set aside by the record being applied.
    pub(crate) letter_number: u32,
    /// The snapshot being copied.
    pub(crate) copying: Option<Box<Copying>>,
    devices_max: usize,
    pub(crate) scratch: Scratch,
}

/// Memory that is used again from reading to reading.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) seen: Seen,
    pub(crate) newest: Draft,
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) part: OutboxRecord,
    pub(crate) alerts: OutboxRecord,
}

impl Pipeline {
    /// Makes an empty pipeline. Results do not depend on the number of shards.
    #[must_use]
    pub fn new(shards: NonZeroU16, limits: Limits) -> Self {
        Self {
            shards: (0..shards.get()).map(|_| Shard::default()).collect(),
            config: None,
            account: Account::default(),
            letters: Letters::new(limits.letters),
            alerts: AlertBook::default(),
            untold: VecDeque::new(),
            clocks: Clocks::default(),
            now: i64::MIN,
            position: 0,
            engine: String::new(),
            letter_number: 0,
            copying: None,
            devices_max: limits.devices_max,
            scratch: Scratch::default(),
        }
    }

    /// Applies the next record; its results are in `out` afterwards, in order.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] where the record is of a newer version or its configuration is gone; nothing has changed then.
    #[expect(
        clippy::too_many_arguments,
        reason = "a record as the log gives it, configurations, and where results go"
    )]
    pub fn apply(
        &mut self,
        head: Head,
        kind: u8,
        payload: &[u8],
        configs: &dyn ConfigSource,
        out: &mut OutboxRecord,
    ) -> Result<(), ApplyError> {
        let position = head.position;
        let record = Record::decode(kind, payload)
            .map_err(|source| ApplyError::Record { position, source })?;
        let next_config = if let Record::ConfigActivated(change) = &record {
            let missing = || ApplyError::ConfigMissing { hash: change.hash.clone(), position };
            Some(configs.load(&change.hash).ok_or_else(missing)?)
        } else {
            None
        };
        debug_assert!(position > self.position || self.position == 0, "positions rise");
        self.position = position;
        self.letter_number = 0;
        self.count_lost(head, &record);
        match &record {
            Record::Uplink(uplink) => {
                self.now = self.now.max(uplink.received_at.as_nanos());
                out.begin(uplink.received_at);
                self.take_uplink(uplink, out);
            }
            Record::Tick(tick) => self.take_tick(tick, out),
            Record::Started(started) => {
                self.now = self.now.max(started.at_nanos);
                out.begin(self.journal_time());
                self.engine.clone_from(&started.version);
            }
            Record::ConfigActivated(change) => {
                self.now = self.now.max(change.at_nanos);
                out.begin(self.journal_time());
                if let Some(config) = next_config {
                    self.activate(&config, out);
                }
            }
            Record::Rejected(rejected) => {
                self.now = self.now.max(rejected.at_nanos);
                out.begin(self.journal_time());
                self.take_rejected(rejected, out);
            }
            Record::Redrive(redrive) => {
                self.now = self.now.max(redrive.at_nanos);
                out.begin(IngestTime::from_nanos(redrive.origin.received_at_nanos));
                self.take_redrive(redrive, out);
            }
        }
        debug_assert!(self.account.balances(), "P1 at position {position}: {:?}", self.account);
        Ok(())
    }

    /// Applies a reading of recorded data, whose row was decoded by a mapping instead of a profile's codec. All that
    /// follows the codec is the same as for an uplink.
    pub fn apply_recorded(&mut self, head: Head, recorded: Recorded<'_>, out: &mut OutboxRecord) {
        self.position = head.position;
        self.letter_number = 0;
        self.account.uplink_ordinal = head.ordinal;
        self.now = self.now.max(recorded.uplink.received_at.as_nanos());
        out.begin(recorded.uplink.received_at);
        self.take_recorded(recorded, out);
        debug_assert!(
            self.account.balances(),
            "P1 at position {}: {:?}",
            head.position,
            self.account
        );
    }

    /// Counts the uplinks that a damaged record took along: gaps in the ordinals of the headers.
    fn count_lost(&mut self, head: Head, record: &Record<'_>) {
        let own = u64::from(matches!(record, Record::Uplink(_)));
        let expected = self.account.uplink_ordinal + own;
        self.account.uplinks_lost += head.ordinal.saturating_sub(expected);
        self.account.uplink_ordinal = head.ordinal.max(expected);
    }

    fn take_tick(&mut self, tick: &Tick, out: &mut OutboxRecord) {
        self.now = self.now.max(tick.at_nanos);
        out.begin(self.journal_time());
        self.clocks.tick(tick);
        self.alerts.forget_before(self.now);
        self.tell_waiting(out);
        self.judge_silence(out);
    }

    pub(crate) fn journal_time(&self) -> IngestTime {
        IngestTime::from_nanos(self.now.max(0))
    }

    /// Returns the shard of a partition key. The key is the device, unless the registry names a group.
    /// `hash` is the device's own.
    pub(crate) fn shard_of(&self, tenant: &str, hash: u64, group: Option<&str>) -> usize {
        shard_of(self.shards.len(), tenant, hash, group)
    }

    /// Borrows a device for a change; every change of one device goes through here.
    pub(crate) fn device_mut(&mut self, place: (usize, u32)) -> Option<&mut Device> {
        if let Some(copying) = &mut self.copying {
            copying.before_change(&self.shards, place);
        }
        self.shards.get_mut(place.0)?.get_mut(place.1)
    }

    pub(crate) fn device(&self, place: (usize, u32)) -> Option<&Device> {
        self.shards.get(place.0)?.get(place.1)
    }

    /// Returns whether there are as many states of devices as there may be: only those that the registry names get a
    /// further one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let devices: usize = self.shards.iter().map(|shard| shard.devices.len()).sum();
        devices >= self.devices_max
    }

    /// Returns the entries of the profile's bound rules that watch a device.
    pub(crate) fn watching(&self, place: (usize, u32)) -> Option<Arc<[u16]>> {
        self.shards.get(place.0)?.watching(place.1)
    }

    /// Returns the devices that are wanted, by tenant, name and measurement: an order that no shard count changes.
    pub(crate) fn in_order(&self, is_wanted: impl Fn(&Device) -> bool) -> Vec<(usize, u32)> {
        let mut places = Vec::new();
        for (shard, held) in self.shards.iter().enumerate() {
            let wanted = (0..).zip(&held.devices).filter(|(_, one)| is_wanted(one));
            places.extend(
                wanted.map(|(at, one)| (one.tenant(), one.name(), one.measurement, (shard, at))),
            );
        }
        places.sort_unstable();
        places.into_iter().map(|(_, _, _, place)| place).collect()
    }
}

/// As [`Pipeline::shard_of`], for so many shards.
pub(crate) fn shard_of(shards: usize, tenant: &str, hash: u64, group: Option<&str>) -> usize {
    let key = group.map_or(hash, |group| device_hash(tenant, group));
    let shards = u64::try_from(shards).unwrap_or(1).max(1);
    usize::try_from(key % shards).unwrap_or(0)
}
