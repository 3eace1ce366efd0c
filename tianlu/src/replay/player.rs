//! Plays merged rows through the pipeline: one configuration, ticks between the times, each row a reading.

use std::fmt::Write as _;
use std::num::NonZeroU16;

use pipeline::letter::LetterLimits;
use pipeline::record::{ConfigActivated, Record, SourceState, Tick, Uplink};
use pipeline::{ApplyError, Head, Limits, OutboxRecord, Pipeline, Recorded};
use telemetry::time::IngestTime;

use super::input::Item;
use super::merge::Merge;
use super::outputs::Outputs;
use super::plan::Plan;
use super::results::Results;
use super::summary::Summary;
use crate::playback::fault::Fault;
use crate::playback::pace::Pace;
use crate::playback::progress::Progress;

/// Site in the topic of a row that names none.
const SITE: &str = "default";
/// Nobody can try a letter of a file replay again, so none stays open.
const LIMITS: Limits = Limits {
    letters: LetterLimits { bytes_max: 0, device_bytes_max: 0 },
    devices_max: Limits::DEVICES_MAX,
};

/// Plays all rows; returns the counts.
pub(super) fn play(
    plan: &Plan,
    mut merge: Merge<'_>,
    (mut pace, mut progress): (Pace, Progress),
    outputs: Outputs,
) -> Result<Summary, Fault> {
    // Results do not depend on the number of shards.
    let pipeline = Pipeline::new(NonZeroU16::MIN, LIMITS);
    let before = *pipeline.account();
    let mut player = Player {
        plan,
        pipeline,
        out: OutboxRecord::default(),
        results: Results::new(outputs),
        head: Head { position: 0, ordinal: 0 },
        last: None,
        topic: String::new(),
    };
    while let Some(item) = merge.next()? {
        let mut flushed = Ok(());
        if !pace.wait_for(item.key, || flushed = player.results.flush()) {
            break;
        }
        flushed?;
        player.take(item)?;
        progress.step();
    }
    player.results.flush()?;
    Ok(player.results.summary(merge.rows(), &before, &player.pipeline))
}

struct Player<'a> {
    plan: &'a Plan,
    pipeline: Pipeline,
    out: OutboxRecord,
    results: Results,
    head: Head,
    /// Time of the row before, nanoseconds.
    last: Option<i64>,
    topic: String,
}

impl Player<'_> {
    fn take(&mut self, item: Item) -> Result<(), Fault> {
        match self.last {
            None => self.begin(item.key)?,
            Some(last) if item.key > last => self.tick(item.key, elapsed_ms(last, item.key))?,
            Some(_) => {}
        }
        self.last = self.last.max(Some(item.key));
        self.head.position += 1;
        self.head.ordinal += 1;
        self.name_topic(&item);
        let received_at = IngestTime::from_nanos(item.received_at);
        let recorded = Recorded {
            uplink: Uplink {
                source: 0,
                received_at,
                topic: &self.topic,
                payload: &item.raw,
                full_len: u64::try_from(item.raw.len()).unwrap_or(u64::MAX),
            },
            profile: self.plan.profile,
            tenant: &item.tenant,
            site: item.site.as_deref(),
            device: &item.device,
            element: item.element,
        };
        self.pipeline.apply_recorded(self.head, recorded, &mut self.out);
        self.results.note_time(IngestTime::from_nanos(item.key));
        self.results.take(&self.out)
    }

    /// Activates the configuration and says that the source can be heard: silence counts from the first row on.
    fn begin(&mut self, at_nanos: i64) -> Result<(), Fault> {
        let hash = self.plan.config.hash.clone();
        self.apply(&Record::ConfigActivated(ConfigActivated { at_nanos, hash }))?;
        self.tick(at_nanos, 0)
    }

    fn tick(&mut self, at_nanos: i64, elapsed_ms: u64) -> Result<(), Fault> {
        let sources = vec![SourceState { source: 0, connected: true, caught_up: true }];
        self.apply(&Record::Tick(Tick { at_nanos, elapsed_ms, sources }))
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.head.position += 1;
        let (kind, payload) = (record.kind().code(), record.encode());
        let applied = self.pipeline.apply(self.head, kind, &payload, self.plan, &mut self.out);
        applied.map_err(|error| broken(&error))?;
        self.results.take(&self.out)
    }

    /// Names the row as an uplink of its device, for dead letters.
    fn name_topic(&mut self, item: &Item) {
        self.topic.clear();
        let site = item.site.as_deref().unwrap_or(SITE);
        let written = write!(self.topic, "replay/{}/{site}/{}", item.tenant, item.device);
        debug_assert!(written.is_ok(), "a string takes any text");
    }
}

/// A record of our own that the pipeline refuses: a mistake in this program, told rather than hidden.
fn broken(error: &ApplyError) -> Fault {
    Fault::failed("replay", "tianlu.replay.record", &[("error", error)])
}

/// Returns the milliseconds between two times; their sum over many ticks does not drift.
fn elapsed_ms(from_nanos: i64, to_nanos: i64) -> u64 {
    let ms = |nanos: i64| nanos.div_euclid(1_000_000);
    u64::try_from(ms(to_nanos).saturating_sub(ms(from_nanos))).unwrap_or(0)
}
