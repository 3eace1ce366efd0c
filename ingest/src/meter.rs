//! Metrics: every name, and the only place that calls the macros of `metrics`.
//!
//! Labels come from enums only, so that the number of series is fixed. The handles are looked up once, at
//! [`install`]; before it every function here does nothing. Totals of the account appear with the first
//! [`refresh`] that knows them: a total that began at 0 after a restart would look like a reset.

mod names;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use pipeline::account::ByReason;
use pipeline::{Account, Balance, Reason, StoreTotals};
use rules::{AlertState, Severity};

use crate::listener::Fault;

use names::*;

const COUNTERS: [(&str, &str); 17] = [
    (UPLINKS_RECEIVED, "Uplinks fsynced in the journal."),
    (UPLINKS_DECODED, "Uplinks whose elements were found."),
    (UPLINKS_DEAD, "Uplinks set aside as a whole, each time they were."),
    (UPLINKS_LOST, "Uplinks that a damaged journal record took along."),
    (SEQUENCE_GAPS, "Uplinks that never came, by the sequence numbers of their devices."),
    (READINGS_DECODED, "Readings found in uplinks, good or bad."),
    (READINGS_STORED, "Readings that the store has taken."),
    (READINGS_DEAD, "Readings set aside, here or by the store, each time they were."),
    (READINGS_DUPLICATE, "Readings with nothing new in them."),
    (REDRIVEN, "Dead letters tried again: of whole uplinks, and of readings."),
    (DEADLETTERS_EXPIRED, "Dead letters that gave way to newer ones."),
    (ALERTS, "Alerts raised (firing) and resolved."),
    (STORE_BATCHES, "Tries to write a batch: stored, stored but for rejected points, or failed."),
    (STORE_RETRIES, "Batches written again after a failure."),
    (LISTENER_ENDED, "Connections of devices that were refused or ended."),
    (LISTENER_DROPPED, "Messages that the listener dropped on purpose."),
    (NOTIFICATIONS, "Notices delivered, failed for good, and tries that will be repeated."),
];
const GAUGES: [(&str, &str); 8] = [
    (BUILD_INFO, "Always 1; the label tells the version."),
    (UPLINKS_HELD, "Uplinks in the journal that the pipeline has not reached."),
    (READINGS_HELD, "Readings in the outbox that the store has not passed."),
    (JOURNAL_BYTES, "Bytes of the journal on the disk."),
    (OUTBOX_BYTES, "Bytes of the outbox on the disk."),
    (LISTENER_CONNECTIONS, "Connections of devices to the listener."),
    (INTAKE_UNACKED, "Messages received and not acknowledged."),
    (PIPELINE_LAG, "How far the pipeline is behind the journal, in seconds."),
];
/// A histogram's name, help and upper bounds in seconds.
type Scale = (&'static str, &'static str, &'static [f64]);

const HISTOGRAMS: [Scale; 3] = [
    (JOURNAL_FSYNC, "Duration of an fsync of the journal.", &FSYNC_SECONDS),
    (RECEIVED_TO_STORED, "From received_at to the store's receipt.", &WAY_SECONDS),
    (RECEIVED_TO_ALERT, "From received_at to the alert in the outbox.", &WAY_SECONDS),
];
/// From a battery-backed cache to a failing disk.
const FSYNC_SECONDS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// From a quiet machine to a store that was away for a day.
const WAY_SECONDS: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0,
    86_400.0,
];
/// How often the samples of the histograms are counted, so that they do not pile up unread.
const UPKEEP: Duration = Duration::from_secs(5);

/// What became of one try to write a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Every point is stored.
    Stored = 0,
    /// Every point is settled, and the store has rejected some.
    Rejected = 1,
    /// Nothing is settled; the batch will be written again.
    Failed = 2,
}

/// Which kind of notifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifierKind {
    /// HTTP POST.
    Webhook = 0,
    /// MQTT publish.
    Mqtt = 1,
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeOutcome {
    /// The endpoint has it.
    Delivered = 0,
    /// It will not be tried again.
    Failed = 1,
    /// One try did not succeed and will be repeated.
    Retried = 2,
}

const BATCH_OUTCOMES: [&str; 3] = ["stored", "rejected", "failed"];
const NOTIFIER_KINDS: [&str; 2] = ["webhook", "mqtt"];
const NOTICE_OUTCOMES: [&str; 3] = ["delivered", "failed", "retried"];
const LISTENER_DROPS: [&str; 3] = ["not_permitted", "will", "command_too_long"];
const ALERT_STATES: [AlertState; 2] = [AlertState::Firing, AlertState::Resolved];

/// What the counters and gauges are set from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// The account. `None` until the pipeline has passed what stood in the journal at the start: before that
    /// its totals are lower than those already shown.
    pub counted: Option<Counted>,
    /// Bytes of the journal on the disk.
    pub journal_bytes: u64,
    /// Bytes of the outbox on the disk.
    pub outbox_bytes: u64,
    /// Messages received and not acknowledged, of all sources.
    pub unacked: u64,
    /// How far the pipeline is behind the journal.
    pub lag: Duration,
}

/// One cut of the account, made as [`Balance::of`] wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Totals of the store's cursor.
    pub store: StoreTotals,
    /// Totals of the pipeline.
    pub account: Account,
    /// Uplink ordinal of the durable end.
    pub received: u64,
}

/// Why metrics could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A histogram has no bucket.
    #[error("set the buckets of a histogram")]
    Buckets(#[source] BuildError),
    /// Another part of the process has installed one of its own.
    #[error("install the recorder of metrics: there is one already")]
    Taken,
}

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
static METERS: OnceLock<Meters> = OnceLock::new();
static COUNTED: OnceLock<CountedMeters> = OnceLock::new();

/// Installs the recorder of this process and returns what renders its metrics. Further calls return the same.
///
/// # Errors
///
/// [`InstallError`].
pub fn install() -> Result<PrometheusHandle, InstallError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
    METERS.get_or_init(Meters::register);
    *installed = Some(handle.clone());
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, InstallError> {
    HISTOGRAMS.iter().try_fold(PrometheusBuilder::new(), |builder, (name, _, buckets)| {
        let matcher = Matcher::Full((*name).to_owned());
        builder.set_buckets_for_metric(matcher, buckets).map_err(InstallError::Buckets)
    })
}

/// Counts the samples of the histograms every few seconds, without end.
pub async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

/// Notes an fsync of the journal.
pub fn journal_fsync(took: Duration) {
    if let Some(meters) = METERS.get() {
        meters.journal_fsync.record(took.as_secs_f64());
    }
}

/// Counts a try to write a batch to the store.
pub fn store_batch(outcome: BatchOutcome) {
    count(|meters| meters.store_batches.get(outcome as usize));
}

/// Counts a batch that is written again after a failure.
pub fn store_retry() {
    count(|meters| Some(&meters.store_retries));
}

/// Counts what became of a notice.
pub fn notification(kind: NotifierKind, outcome: NoticeOutcome) {
    count(|meters| meters.notifications.get(kind as usize)?.get(outcome as usize));
}

/// Sets the number of connections to the listener.
pub(crate) fn listener_connections(count: usize) {
    if let Some(meters) = METERS.get() {
        meters.listener_connections.set(count as f64);
    }
}

/// Counts a connection to the listener that was refused or ended.
pub(crate) fn listener_ended(fault: Fault) {
    count(|meters| meters.listener_ended.get(fault as usize));
}

/// Counts what the listener dropped on purpose: messages, wills, commands.
pub(crate) fn listener_dropped(counts: [u64; 3]) {
    if let Some(meters) = METERS.get() {
        for (counter, count) in meters.listener_dropped.iter().zip(counts) {
            counter.increment(count);
        }
    }
}

/// Notes how long a reading took from `received_at` to the store's receipt, in seconds. Once a batch, with
/// its oldest reading, is enough.
pub fn received_to_stored(seconds: f64) {
    if let Some(meters) = METERS.get() {
        meters.received_to_stored.record(seconds);
    }
}

/// Notes how long an alert took from `received_at` to the outbox, in seconds.
pub fn received_to_alert(seconds: f64) {
    if let Some(meters) = METERS.get() {
        meters.received_to_alert.record(seconds);
    }
}

/// Sets the counters of the account and the gauges.
pub fn refresh(totals: &Totals) {
    let Some(meters) = METERS.get() else { return };
    meters.refresh(totals);
    if let Some(counted) = &totals.counted {
        COUNTED.get_or_init(CountedMeters::register).refresh(counted);
    }
}

fn count(which: impl FnOnce(&Meters) -> Option<&Counter>) {
    if let Some(counter) = METERS.get().and_then(which) {
        counter.increment(1);
    }
}

/// Handles that exist from the start.
struct Meters {
    journal_fsync: Histogram,
    received_to_stored: Histogram,
    received_to_alert: Histogram,
    store_batches: [Counter; 3],
    store_retries: Counter,
    notifications: [[Counter; 3]; 2],
    listener_ended: [Counter; Fault::ALL.len()],
    listener_dropped: [Counter; 3],
    listener_connections: Gauge,
    journal_bytes: Gauge,
    outbox_bytes: Gauge,
    unacked: Gauge,
    lag: Gauge,
}

impl Meters {
    fn register() -> Self {
        COUNTERS.iter().for_each(|(name, help)| metrics::describe_counter!(*name, *help));
        GAUGES.iter().for_each(|(name, help)| metrics::describe_gauge!(*name, *help));
        HISTOGRAMS.iter().for_each(|(name, help, _)| metrics::describe_histogram!(*name, *help));
        gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let notices = |kind| {
            NOTICE_OUTCOMES
                .map(|outcome| counter!(NOTIFICATIONS, "kind" => kind, "outcome" => outcome))
        };
        Self {
            journal_fsync: histogram!(JOURNAL_FSYNC),
            received_to_stored: histogram!(RECEIVED_TO_STORED),
            received_to_alert: histogram!(RECEIVED_TO_ALERT),
            store_batches: BATCH_OUTCOMES
                .map(|outcome| counter!(STORE_BATCHES, "outcome" => outcome)),
            store_retries: counter!(STORE_RETRIES),
            notifications: NOTIFIER_KINDS.map(notices),
            listener_ended: Fault::ALL
                .map(|fault| counter!(LISTENER_ENDED, "reason" => fault.code())),
            listener_dropped: LISTENER_DROPS.map(|what| counter!(LISTENER_DROPPED, "what" => what)),
            listener_connections: gauge!(LISTENER_CONNECTIONS),
            journal_bytes: gauge!(JOURNAL_BYTES),
            outbox_bytes: gauge!(OUTBOX_BYTES),
            unacked: gauge!(INTAKE_UNACKED),
            lag: gauge!(PIPELINE_LAG),
        }
    }

    fn refresh(&self, totals: &Totals) {
        self.journal_bytes.set(totals.journal_bytes as f64);
        self.outbox_bytes.set(totals.outbox_bytes as f64);
        self.unacked.set(totals.unacked as f64);
        self.lag.set(totals.lag.as_secs_f64());
    }
}

/// Handles of the account's totals.
struct CountedMeters {
    received: Counter,
    decoded: Counter,
    dead: [Counter; Reason::ALL.len()],
    lost: Counter,
    sequence_gaps: Counter,
    held: Gauge,
    readings_decoded: Counter,
    readings_stored: Counter,
    readings_dead: [Counter; Reason::ALL.len()],
    readings_duplicate: Counter,
    readings_held: Gauge,
    redriven_uplinks: Counter,
    redriven_readings: Counter,
    expired: Counter,
    alerts: [[Counter; 2]; 4],
}

impl CountedMeters {
    fn register() -> Self {
        let by_reason = |name: &'static str| {
            Reason::ALL.map(|reason| counter!(name, "reason" => reason.code()))
        };
        let alerts = |severity: Severity| {
            ALERT_STATES.map(|state| {
                counter!(ALERTS, "severity" => severity.as_str(), "state" => state.as_str())
            })
        };
        Self {
            received: counter!(UPLINKS_RECEIVED),
            decoded: counter!(UPLINKS_DECODED),
            dead: by_reason(UPLINKS_DEAD),
            lost: counter!(UPLINKS_LOST),
            sequence_gaps: counter!(SEQUENCE_GAPS),
            held: gauge!(UPLINKS_HELD),
            readings_decoded: counter!(READINGS_DECODED),
            readings_stored: counter!(READINGS_STORED),
            readings_dead: by_reason(READINGS_DEAD),
            readings_duplicate: counter!(READINGS_DUPLICATE),
            readings_held: gauge!(READINGS_HELD),
            redriven_uplinks: counter!(REDRIVEN, "kind" => "uplink"),
            redriven_readings: counter!(REDRIVEN, "kind" => "reading"),
            expired: counter!(DEADLETTERS_EXPIRED),
            alerts: Severity::CHOICES.map(|(_, severity)| alerts(severity)),
        }
    }

    fn refresh(&self, counted: &Counted) {
        let Counted { store, account, received } = counted;
        let balance = Balance::of(store, account, *received);
        self.received.absolute(*received);
        self.decoded.absolute(account.uplinks_decoded);
        self.lost.absolute(account.uplinks_lost);
        self.sequence_gaps.absolute(account.sequence_gaps);
        self.held.set(balance.uplinks.held as f64);
        self.readings_decoded.absolute(account.readings_decoded);
        self.readings_stored.absolute(store.stored);
        self.readings_duplicate.absolute(store.duplicate);
        self.readings_held.set(balance.readings.held as f64);
        self.redriven_uplinks.absolute(account.uplinks_redriven);
        self.redriven_readings.absolute(account.readings_redriven);
        self.expired.absolute(account.letters_expired);
        let of = |counts: &ByReason, reason| counts.of(reason);
        for ((reason, uplinks), readings) in
            Reason::ALL.into_iter().zip(&self.dead).zip(&self.readings_dead)
        {
            uplinks.absolute(of(&account.uplinks_dead, reason));
            readings.absolute(of(&account.readings_dead, reason) + of(&account.store_dead, reason));
        }
        for (counters, counts) in self.alerts.iter().flatten().zip(account.alerts.iter().flatten())
        {
            counters.absolute(*counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every metric of the contract, as the text shows it.
    const CONTRACT: [&str; 23] = [
        UPLINKS_RECEIVED,
        UPLINKS_DECODED,
        READINGS_DECODED,
        REDRIVEN,
        DEADLETTERS_EXPIRED,
        UPLINKS_DEAD,
        UPLINKS_LOST,
        UPLINKS_HELD,
        READINGS_STORED,
        READINGS_DEAD,
        READINGS_DUPLICATE,
        READINGS_HELD,
        JOURNAL_BYTES,
        OUTBOX_BYTES,
        JOURNAL_FSYNC,
        INTAKE_UNACKED,
        PIPELINE_LAG,
        STORE_BATCHES,
        STORE_RETRIES,
        NOTIFICATIONS,
        ALERTS,
        RECEIVED_TO_STORED,
        RECEIVED_TO_ALERT,
    ];

    /// Returns the value of a series, labels included in its name.
    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(&format!("{series} ")))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    fn counted() -> Counted {
        let mut counted = Counted { received: 9, ..Counted::default() };
        counted.account.uplink_ordinal = 8;
        counted.account.uplinks_decoded = 7;
        counted.account.uplinks_dead.count(Reason::Malformed);
        counted.account.readings_decoded = 12;
        counted.account.readings_dead.count(Reason::NoValue);
        counted.account.store_dead.count(Reason::StoreRejected);
        counted.account.readings_redriven = 3;
        counted.account.alerts = [[0, 0], [5, 4], [0, 0], [0, 0]];
        counted.store = StoreTotals { reading_ordinal: 10, stored: 8, ..StoreTotals::default() };
        counted
    }

    #[test]
    fn totals_appear_once_known_and_every_series_of_the_contract_is_there() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let meters = Meters::register();
            meters.refresh(&Totals { journal_bytes: 5, unacked: 2, ..Totals::default() });
            meters.journal_fsync.record(0.003);
            let early = handle.render();
            assert_eq!(value(&early, UPLINKS_RECEIVED), None, "no total before it is known");
            let build = format!("{BUILD_INFO}{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
            for (series, expected) in [
                (JOURNAL_BYTES, 5.0),
                (INTAKE_UNACKED, 2.0),
                (STORE_RETRIES, 0.0),
                (build.as_str(), 1.0),
                ("tianlu_notifications_total{kind=\"mqtt\",outcome=\"failed\"}", 0.0),
                ("tianlu_store_batches_total{outcome=\"rejected\"}", 0.0),
                ("tianlu_journal_fsync_seconds_bucket{le=\"0.0025\"}", 0.0),
                ("tianlu_journal_fsync_seconds_bucket{le=\"0.005\"}", 1.0),
                ("tianlu_journal_fsync_seconds_count", 1.0),
            ] {
                assert_eq!(value(&early, series), Some(expected), "{series} in\n{early}");
            }
            let totals = CountedMeters::register();
            totals.refresh(&counted());
            totals.refresh(&Counted::default());
            totals.refresh(&counted());
        });
        let text = handle.render();
        for (series, expected) in [
            (UPLINKS_RECEIVED, 9.0),
            (UPLINKS_HELD, 1.0),
            (READINGS_HELD, 2.0),
            (READINGS_STORED, 8.0),
            ("tianlu_uplinks_dead_total{reason=\"malformed\"}", 1.0),
            ("tianlu_uplinks_dead_total{reason=\"too_large\"}", 0.0),
            ("tianlu_readings_dead_total{reason=\"store_rejected\"}", 1.0),
            ("tianlu_readings_dead_total{reason=\"no_value\"}", 1.0),
            ("tianlu_redriven_total{kind=\"reading\"}", 3.0),
            ("tianlu_alerts_total{severity=\"yellow\",state=\"resolved\"}", 4.0),
            ("tianlu_alerts_total{severity=\"red\",state=\"firing\"}", 0.0),
        ] {
            assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
        }
        for name in CONTRACT {
            assert!(text.contains(&format!("# HELP {name} ")), "no help of {name}");
        }
    }

    #[test]
    fn before_it_is_installed_nothing_happens() {
        store_batch(BatchOutcome::Stored);
        notification(NotifierKind::Mqtt, NoticeOutcome::Delivered);
        journal_fsync(Duration::from_millis(1));
        refresh(&Totals { counted: Some(counted()), ..Totals::default() });
    }
}
