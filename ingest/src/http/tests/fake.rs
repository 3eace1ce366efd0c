//! A desk over a real pipeline and a real outbox.

use std::num::NonZeroU16;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use journal::{Appended, Log, LogOptions, ReadFrom, Reader, RealDisk, Visible};
use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::record::{ConfigActivated, Record, Uplink};
use pipeline::view::{DeviceDetail, DeviceSummary};
use pipeline::{ActiveConfig, Balance, Bundle, Head, Limits, OutboxRecord, Pipeline, StoreTotals};
use rules::{Alert, AlertState};
use store::RangeQuery;
use telemetry::text::Text;
use telemetry::time::{EventTime, IngestTime};

use crate::http::{BalanceAt, Desk, LetterChoice, LetterFilter, LetterLine, NotReady, Unavailable};
use crate::listener::CommandError;
use crate::meter::{Counted, Totals};

pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const START: i64 = 1_763_856_000 * SECOND;

const PROFILE: &str = r#"
name = "gateway"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[batch]
path = ""
device = "d"
[time]
path = "ts"
format = "unix_s"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
range = [0.0, 0.6]
"#;

const DRY: &str = r#"
name = "dry"
scope = { domain = "soil" }
when = "moisture < 0.12"
clear = "moisture > 0.15 || moisture == 0"
severity = "yellow"
message = { zh = "{device} 干", en = "{device} is dry" }
"#;

const REGISTRY: &str = "\
tenant,device,profile,site,lat,lon,region,site_name,site_name_en
farm,a,gateway,east,30.2,120.1,330106,东,East
farm,b,gateway,east,30.4,120.3,330108,东,East
farm,never,gateway,east,,,330106,东,East
";

struct Engine {
    pipeline: Pipeline,
    outbox: Log,
    config: Arc<ActiveConfig>,
    head: Head,
    record: OutboxRecord,
}

/// The desk of the tests.
pub(super) struct Fake {
    engine: Mutex<Engine>,
    pub(super) troubles: Mutex<Vec<NotReady>>,
    pub(super) is_recovering: AtomicBool,
    /// The pipeline has ended.
    pub(super) has_ended: AtomicBool,
    /// It ends after the first page of dead letters.
    pub(super) ends_after_a_page: AtomicBool,
    pub(super) history: Mutex<Result<Vec<(EventTime, f64)>, Unavailable>>,
    pub(super) never_answers: AtomicBool,
    pub(super) asked: Mutex<Option<RangeQuery>>,
    pub(super) redriven: Mutex<Vec<LetterChoice>>,
    dir: tempfile::TempDir,
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        let file =
            |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
        let bundle = Bundle {
            profiles: vec![file("gateway.toml", PROFILE)],
            rules: vec![file("dry.toml", DRY)],
            registry: Some(file("devices.csv", REGISTRY)),
            uplinks: vec![Route {
                topic: "{tenant}/{site}/{device}".to_owned(),
                profile: "gateway".to_owned(),
            }],
            unknown: UnknownDevice::Accept,
            identity_memory: 8,
            max_payload: vec![8 << 20],
        };
        let config = ActiveConfig::build(&bundle).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_bytes: 16 << 20,
            visible: Visible::Written,
            ..LogOptions::default()
        };
        let (outbox, _) = Log::open(Arc::new(RealDisk), dir.path(), options).unwrap();
        let hash = config.hash.clone();
        let mut engine = Engine {
            pipeline: Pipeline::new(NonZeroU16::MIN, Limits::default()),
            outbox,
            config,
            head: Head { position: 0, ordinal: 0 },
            record: OutboxRecord::default(),
        };
        engine.apply(&Record::ConfigActivated(ConfigActivated { at_nanos: START, hash }));
        Arc::new(Self {
            engine: Mutex::new(engine),
            troubles: Mutex::default(),
            is_recovering: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            ends_after_a_page: AtomicBool::new(false),
            history: Mutex::new(Ok(Vec::new())),
            never_answers: AtomicBool::new(false),
            asked: Mutex::default(),
            redriven: Mutex::default(),
            dir,
        })
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap()
    }

    /// Asks the pipeline, unless it has ended.
    fn ask<T>(&self, question: impl FnOnce(&Pipeline) -> T) -> Result<T, Unavailable> {
        if self.has_ended.load(Ordering::Relaxed) {
            let message = Text::plain("the pipeline has ended");
            return Err(Unavailable { is_too_much: false, message });
        }
        Ok(question(&self.engine().pipeline))
    }

    /// Takes in one uplink and publishes its results; returns its position.
    pub(super) fn uplink(&self, topic: &str, payload: &str) -> u64 {
        let mut engine = self.engine();
        engine.head.ordinal += 1;
        let seconds = i64::try_from(engine.head.position).unwrap();
        engine.apply(&Record::Uplink(Uplink {
            source: 0,
            received_at: IngestTime::from_nanos(START + seconds * SECOND),
            topic,
            payload: payload.as_bytes(),
            full_len: payload.len() as u64,
        }))
    }

    /// Takes in readings `from..to` of one device in one uplink; each has its own time and value.
    pub(super) fn readings(&self, device: &str, numbers: std::ops::Range<i64>) -> u64 {
        let one = |n: i64| {
            let seconds = START / SECOND - 100_000 + n;
            format!(
                r#"{{"d":"{device}","ts":{seconds},"m":{}}}"#,
                0.2 + (n % 1000) as f64 / 10_000.0
            )
        };
        let all: Vec<String> = numbers.map(one).collect();
        self.uplink(&format!("farm/east/{device}"), &format!("[{}]", all.join(",")))
    }

    /// Overwrites a text wherever it stands in the outbox's files.
    pub(super) fn damage(&self, text: &str) {
        let files = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        for path in files.filter(|path| path.is_file()) {
            let bytes = std::fs::read(&path).unwrap();
            let found =
                bytes.windows(text.len()).enumerate().filter(|(_, part)| *part == text.as_bytes());
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            for (at, _) in found {
                file.write_all_at(&vec![b'#'; text.len()], at as u64).unwrap();
            }
        }
    }

    /// Cuts the outbox after its current segment, so that nothing up to now is kept.
    pub(super) fn cut_outbox(&self) {
        // Fills the segment with results of a device that nobody asks for.
        let first = self.engine().outbox.first_position();
        let mut number = 0;
        while self.engine().outbox.first_position() == first {
            self.readings("filler", number..number + 5000);
            number += 5000;
            let mut engine = self.engine();
            let position = engine.head.position;
            engine.outbox.cut_before(position).unwrap();
        }
    }
}

impl Engine {
    fn apply(&mut self, record: &Record<'_>) -> u64 {
        self.head.position += 1;
        let position = self.head.position;
        let payload = record.encode();
        let code = record.kind().code();
        self.pipeline.apply(self.head, code, &payload, &self.config, &mut self.record).unwrap();
        if !self.record.is_empty() {
            let ordinal = self.pipeline.account().readings_decoded;
            let payload = self.record.bytes();
            self.outbox.append(Appended { kind: 1, position, ordinal, payload }).unwrap();
            self.outbox.write().unwrap();
        }
        position
    }

    fn counted(&self) -> Counted {
        let account = *self.pipeline.account();
        let store = StoreTotals {
            reading_ordinal: account.readings_decoded,
            stored: account.points,
            dead: account.readings_dead.total(),
            duplicate: account.readings_duplicate,
            redriven: 0,
        };
        Counted { store, account, received: self.head.ordinal }
    }
}

impl Desk for Fake {
    async fn balance(&self) -> Option<BalanceAt> {
        let engine = self.engine();
        let Counted { store, account, received } = engine.counted();
        let balance = Balance::of(&store, &account, received);
        let is_known = !self.is_recovering.load(Ordering::Relaxed);
        is_known.then_some(BalanceAt { as_of: engine.pipeline.now(), balance })
    }

    fn readiness(&self) -> Vec<NotReady> {
        self.troubles.lock().unwrap().clone()
    }

    async fn devices(&self) -> Result<Vec<DeviceSummary>, Unavailable> {
        self.ask(Pipeline::devices)
    }

    async fn device(
        &self,
        tenant: String,
        device: String,
    ) -> Result<Option<DeviceDetail>, Unavailable> {
        self.ask(|pipeline| pipeline.device_detail(&tenant, &device))
    }

    fn command(
        &self,
        _: &str,
        device: &str,
        payload: Bytes,
    ) -> Result<usize, Option<CommandError>> {
        let names = || ("t".to_owned(), device.to_owned());
        match device {
            "listens" => Ok(1),
            "full" => {
                let (tenant, device) = names();
                Err(Some(CommandError::Full { tenant, device }))
            }
            "none" => Err(None),
            _ if payload.is_empty() => Err(None),
            _ => {
                let (tenant, device) = names();
                Err(Some(CommandError::NotSubscribed { tenant, device }))
            }
        }
    }

    async fn config(&self) -> Result<Option<Arc<ActiveConfig>>, Unavailable> {
        self.ask(|pipeline| pipeline.config().cloned())
    }

    async fn alerts(&self, state: Option<AlertState>) -> Result<Vec<Alert>, Unavailable> {
        self.ask(|pipeline| {
            let all = pipeline.firing().into_iter().chain(pipeline.resolved());
            all.filter(|alert| state.is_none_or(|state| alert.state == state)).cloned().collect()
        })
    }

    async fn dead_letters(&self, filter: LetterFilter) -> Result<Vec<LetterLine>, Unavailable> {
        let page = self.ask(|pipeline| {
            let wanted = pipeline.letters().iter().filter(|letter| {
                filter.reason.is_none_or(|reason| letter.reason == reason)
                    && filter.after.is_none_or(|after| letter.key > after)
            });
            wanted
                .take(filter.limit)
                .map(|letter| LetterLine { key: letter.key, json: json(letter) })
                .collect()
        });
        if self.ends_after_a_page.load(Ordering::Relaxed) {
            self.has_ended.store(true, Ordering::Relaxed);
        }
        page
    }

    async fn dead_letter(&self, id: String) -> Result<Option<String>, Unavailable> {
        self.ask(|pipeline| pipeline.letters().get(&id).map(json))
    }

    async fn redrive(&self, which: LetterChoice) -> Result<u64, Unavailable> {
        self.redriven.lock().unwrap().push(which);
        Ok(2)
    }

    async fn range(&self, query: RangeQuery) -> Result<Vec<(EventTime, f64)>, Unavailable> {
        *self.asked.lock().unwrap() = Some(query);
        if self.never_answers.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.history.lock().unwrap().clone()
    }

    async fn outbox(&self, from: ReadFrom) -> Option<Reader> {
        Some(self.engine().outbox.reader(from))
    }

    async fn totals(&self) -> Totals {
        Totals { counted: Some(self.engine().counted()), ..Totals::default() }
    }
}

fn json(letter: &pipeline::letter::Letter) -> String {
    let mut out = Vec::new();
    letter.write_json(&mut out);
    String::from_utf8(out).unwrap()
}
