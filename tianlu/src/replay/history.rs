//! `--journal`: what a service's journal gave, or would have given with other rules.
//!
//! The folder is only read, so that the service may go on. It begins at the journal's first record while that is kept,
//! with an empty pipeline; later at the oldest snapshot that is whole, and what is written comes of the records after
//! it. With `--rules` the pipeline is always empty there: what other rules remembered is not what these would remember. What
//! identity remembers begins anew then, so that a repeat of a reading before the beginning counts as stored.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ingest::engine::layout::Layout;
use ingest::engine::recovery::{SHARDS, read_snapshot, snapshots};
use journal::{Disk, ReadFrom, Reader, RealDisk, read_file};
use pipeline::config::SourceFile;
use pipeline::record::{ConfigActivated, Record};
use pipeline::{
    ActiveConfig, ApplyError, Bundle, ConfigSource, Head, Limits, OutboxRecord, Pipeline,
};
use telemetry::document::Problems;
use telemetry::problem::Problem;
use telemetry::text::{Lang, say};
use telemetry::time::IngestTime;

use super::bundle::rules;
use super::outputs::Outputs;
use super::results::Results;
use super::summary::Summary;
use crate::cli::ReplayArgs;
use crate::out;
use crate::playback::fault::Fault;
use crate::playback::pace::Pace;
use crate::playback::progress::Progress;
use crate::playback::stop::Stop;

/// Replays the journal of a data folder; returns the counts.
pub(super) fn replay(
    dir: &Path,
    args: &ReplayArgs,
    stop: &Stop,
    lang: Lang,
) -> Result<Summary, Fault> {
    let layout = Layout::new(dir);
    let place = dir.display().to_string();
    if !layout.journal().is_dir() {
        return Err(Fault::failed(&place, "tianlu.replay.no_journal", &[]));
    }
    let configs = Configs::read(&layout, args.rules.as_deref())?;
    let beginning = Beginning::find(&layout, &configs)?;
    out::note(&beginning.text().show(lang));
    let mut history = History {
        place,
        configs,
        out: OutboxRecord::default(),
        results: Results::new(Outputs::create(args)?),
        rows: 0,
        base: beginning.base,
        pipeline: beginning.pipeline,
    };
    if let Some(hash) = beginning.activate {
        let at_nanos = beginning.at_nanos;
        let record = Record::ConfigActivated(ConfigActivated { at_nanos, hash });
        history.apply(Head { position: 0, ordinal: 0 }, record.kind().code(), &record.encode())?;
    }
    // The activation itself is not part of what is counted.
    let before = *history.pipeline.account();
    let mut reader = open(&layout, &history.place, beginning.from)?;
    let pace = Pace::new(args.speed, stop.clone());
    history.play(&mut reader, pace, Progress::new(None, lang))?;
    history.results.flush()?;
    let (rows, results) = (history.rows, history.results);
    Ok(results.summary(rows, &before, &history.pipeline))
}

struct History {
    place: String,
    configs: Configs,
    pipeline: Pipeline,
    out: OutboxRecord,
    results: Results,
    rows: u64,
    /// Ordinal before the first record; `None`: the first record tells.
    base: Option<u64>,
}

impl History {
    fn play(
        &mut self,
        reader: &mut Reader,
        mut pace: Pace,
        mut progress: Progress,
    ) -> Result<(), Fault> {
        loop {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let args: [(&str, &dyn std::fmt::Display); 1] = [("error", &error)];
                    return Err(Fault::failed(&self.place, "tianlu.replay.journal_read", &args));
                }
            };
            let at =
                Record::decode(record.kind, record.payload).ok().map(|record| time_of(&record));
            if let Some((at, is_uplink)) = at {
                let results = &mut self.results;
                let mut flushed = Ok(());
                if !pace.wait_for(at.as_nanos(), || flushed = results.flush()) {
                    return Ok(());
                }
                flushed?;
                self.results.note_time(at);
                self.rows += u64::from(is_uplink);
                // An empty pipeline that begins in the middle has lost nothing of what came before.
                self.base.get_or_insert(record.ordinal.saturating_sub(u64::from(is_uplink)));
            }
            let ordinal = record.ordinal.saturating_sub(self.base.unwrap_or(0));
            let head = Head { position: record.position, ordinal };
            let (kind, payload) = (record.kind, record.payload);
            apply(&mut self.pipeline, (head, kind, payload), &self.configs, &mut self.out)
                .map_err(|error| self.configs.fault(&self.place, &error))?;
            self.results.take(&self.out)?;
            progress.step();
        }
    }

    fn apply(&mut self, head: Head, kind: u8, payload: &[u8]) -> Result<(), Fault> {
        apply(&mut self.pipeline, (head, kind, payload), &self.configs, &mut self.out)
            .map_err(|error| self.configs.fault(&self.place, &error))?;
        self.results.take(&self.out)
    }
}

fn apply(
    pipeline: &mut Pipeline,
    (head, kind, payload): (Head, u8, &[u8]),
    configs: &Configs,
    out: &mut OutboxRecord,
) -> Result<(), ApplyError> {
    pipeline.apply(head, kind, payload, configs, out)
}

/// Returns the time of a record, and whether it is an uplink.
fn time_of(record: &Record<'_>) -> (IngestTime, bool) {
    let at = match record {
        Record::Uplink(uplink) => return (uplink.received_at, true),
        Record::Tick(tick) => tick.at_nanos,
        Record::Started(started) => started.at_nanos,
        Record::ConfigActivated(change) => change.at_nanos,
        Record::Rejected(rejected) => rejected.at_nanos,
        Record::Redrive(redrive) => redrive.at_nanos,
    };
    (IngestTime::from_nanos(at), false)
}

fn open(layout: &Layout, place: &str, from: ReadFrom) -> Result<Reader, Fault> {
    let opened = Reader::open(Arc::new(RealDisk), &layout.journal(), from);
    opened.map_err(|error| Fault::failed(place, "tianlu.replay.journal_read", &[("error", &error)]))
}

/// Returns whether the journal still has its first record: then nothing is needed of a snapshot.
fn is_whole(layout: &Layout) -> bool {
    let opened = Reader::open(Arc::new(RealDisk), &layout.journal(), ReadFrom::Oldest);
    let Ok(mut reader) = opened else { return false };
    reader.next().is_ok_and(|first| first.is_some_and(|record| record.position == 1))
}

/// Where a replay begins.
struct Beginning {
    pipeline: Pipeline,
    from: ReadFrom,
    /// Ordinal before the first record, where the pipeline is empty but the journal's beginning is known.
    base: Option<u64>,
    /// Configuration that was in force, for a pipeline that begins empty.
    activate: Option<String>,
    /// Journal time there, nanoseconds.
    at_nanos: i64,
    position: Option<u64>,
}

impl Beginning {
    /// Finds the first record, or the oldest snapshot that can be used.
    fn find(layout: &Layout, configs: &Configs) -> Result<Self, Fault> {
        let disk = RealDisk;
        let limits = Limits::default();
        if is_whole(layout) {
            return Ok(Self::at_the_oldest(limits));
        }
        for (position, path) in snapshots(&disk, layout).into_iter().rev() {
            let Some(bytes) = read_snapshot(&disk, &path) else { continue };
            let unchanged = configs.unchanged();
            let Ok(pipeline) = Pipeline::restore(&bytes, SHARDS, limits, &unchanged) else {
                continue;
            };
            let from = ReadFrom::Position(position.saturating_add(1));
            let at_nanos = pipeline.now().as_nanos();
            let begun = Self {
                pipeline,
                from,
                base: Some(0),
                activate: None,
                at_nanos,
                position: Some(position),
            };
            if configs.rules.is_none() {
                return Ok(begun);
            }
            let (ordinal, hash) = (
                begun.pipeline.account().uplink_ordinal,
                begun.pipeline.active_config().map(str::to_owned),
            );
            let pipeline = Pipeline::new(SHARDS, limits);
            return Ok(Self { pipeline, base: Some(ordinal), activate: hash, ..begun });
        }
        Ok(Self::at_the_oldest(limits))
    }

    fn at_the_oldest(limits: Limits) -> Self {
        let pipeline = Pipeline::new(SHARDS, limits);
        let (from, position) = (ReadFrom::Oldest, None);
        Self { pipeline, from, base: None, activate: None, at_nanos: 0, position }
    }

    fn text(&self) -> telemetry::text::Text {
        match self.position {
            Some(position) => {
                let at = IngestTime::from_nanos(self.at_nanos);
                say("tianlu.replay.from_snapshot", &[("position", &position), ("at", &at)])
            }
            None => say("tianlu.replay.from_oldest", &[]),
        }
    }
}

/// The configurations of a data folder, their rules replaced where others are to judge.
struct Configs {
    layout: Layout,
    rules: Option<Vec<SourceFile>>,
    built: RefCell<BTreeMap<String, Arc<ActiveConfig>>>,
    problems: RefCell<Vec<Problem>>,
}

impl Configs {
    fn read(layout: &Layout, dir: Option<&Path>) -> Result<Self, Fault> {
        let problems = Problems::default();
        let rules = dir.map(|dir| rules(dir, &problems));
        let found = problems.take();
        if !found.is_empty() {
            return Err(Fault::Wrong(found));
        }
        let (built, problems) = (RefCell::default(), RefCell::default());
        Ok(Self { layout: layout.clone(), rules, built, problems })
    }

    /// The same folder with the rules as they were.
    fn unchanged(&self) -> Self {
        let (built, problems) = (RefCell::default(), RefCell::default());
        Self { layout: self.layout.clone(), rules: None, built, problems }
    }

    /// Returns why a record could not be applied: the rules do not fit, or the folder is not whole.
    fn fault(&self, place: &str, error: &ApplyError) -> Fault {
        let problems = self.problems.take();
        if problems.is_empty() {
            return Fault::failed(place, "tianlu.replay.record", &[("error", error)]);
        }
        Fault::Wrong(problems)
    }
}

impl ConfigSource for Configs {
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>> {
        if let Some(known) = self.built.borrow().get(hash) {
            return Some(Arc::clone(known));
        }
        let disk: &dyn Disk = &RealDisk;
        let bytes = read_file(disk, &self.layout.bundles().join(format!("{hash}.json"))).ok()?;
        let mut bundle = Bundle::from_bytes(&bytes)?;
        if let Some(rules) = &self.rules {
            bundle.rules.clone_from(rules);
        }
        match ActiveConfig::build(&bundle) {
            Ok(config) => {
                self.built.borrow_mut().insert(hash.to_owned(), Arc::clone(&config));
                Some(config)
            }
            Err(found) => {
                self.problems.borrow_mut().extend(found);
                None
            }
        }
    }
}
