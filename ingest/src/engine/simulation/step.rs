//! What happens in a run, as data: made from the seed first, so that steps can be left out while a failure stays.

use std::time::Duration;

use journal::sim::{Crash, Dice, Faults};

/// Sizes and habits of one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The seed it was made from; disk, broker and store draw from it too.
    pub(super) seed: u64,
    pub(super) devices: u64,
    pub(super) segment_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) keep: Duration,
    /// In-flight window of the broker.
    pub(super) window: usize,
    /// Whether acknowledgements take time, and are lost with the connection.
    pub(super) slow_acks: bool,
    /// How long the store keeps points, seconds; older ones are refused.
    pub(super) retention_s: Option<i64>,
    /// Whether the store refuses one line in a hundred for no reason that the line shows.
    pub(super) is_picky: bool,
    pub(super) steps: Vec<Timed>,
}

/// A step, and how long after the one before it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timed {
    pub(super) after_ms: u64,
    pub(super) step: Step,
}

/// What a reading is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Good,
    /// Sampled so many seconds ago.
    Late(u64),
    /// Without a time of its own.
    Untimed,
    /// The time of the device's newest reading, and another value.
    Conflict,
    /// The time of the device's newest reading, and another property.
    Merge,
    OutOfRange,
    NoValue,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    Send(u64, Shape),
    /// Each of `count` devices, from one on, sends a reading.
    Burst {
        from: u64,
        count: u64,
    },
    /// A gateway sends readings of several devices in one message.
    Batch(Vec<(u64, Shape)>),
    Malformed(u64),
    UnknownTopic,
    TooLarge(u64),
    /// A device sends again what was sent so many messages ago.
    Repeat(u64),
    Crash(Crash),
    /// A crash in the n-th call of the disk from now.
    CrashIn(u64, Crash),
    /// An orderly end, and a start.
    Restart,
    Disk(Faults),
    /// So many bytes are free from now on; `None`: without end.
    Space(Option<u64>),
    /// The host's clock jumps by so many seconds.
    HostClock(i64),
    /// The broker restarts, and keeps the session or not.
    Broker {
        keeps: bool,
        away_ms: u64,
    },
    /// The network breaks; the session stays.
    Disconnect,
    Store(Store),
    Config(usize),
    Redrive,
}

/// What the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Mode(Mode),
    /// Dies at once, loses what it had not written yet, is away for a while.
    Kill {
        away_ms: u64,
    },
    /// Has a field of another type for this device from now on; `None`: for none.
    Conflict(Option<u64>),
}

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Well,
    Slow(u64),
    Away,
    Busy(u64),
    Failing,
    /// Takes the first half of a batch and fails.
    Halfway,
    /// Takes a batch, and the answer is lost.
    Unheard,
    Hanging,
    Unauthorized,
}

impl Plan {
    /// Makes the world of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let dice = &mut Dice::new(seed ^ 0x7469_616e_6c75);
        let crowd = dice.below(100) == 0;
        let devices = if crowd { 2_000 + dice.below(2_000) } else { 1 + dice.below(8) };
        // A segment holds the largest record, as the product's own do: of a crowd that falls silent in one tick.
        let segment_bytes = if crowd { 4 << 20 } else { 256 << 10 };
        let is_tight = !crowd && dice.below(4) == 0;
        let max_bytes = if is_tight { segment_bytes * (4 + dice.below(5)) } else { 1 << 30 };
        let count = if crowd { 6 + dice.below(10) } else { 20 + dice.below(40) };
        Self {
            seed,
            devices,
            segment_bytes,
            max_bytes,
            keep: Duration::from_secs([0, 100, 100_000][choice(dice, 3)]),
            window: [1, 4, 20, 100][choice(dice, 4)],
            slow_acks: dice.below(2) == 0,
            retention_s: (dice.below(4) == 0).then_some(7_200),
            is_picky: dice.below(6) == 0,
            steps: (0..count).map(|_| timed(dice, devices)).collect(),
        }
    }
}

/// Whether what the store holds at the end depends on the messages alone: nothing is refused, nothing comes twice.
pub(super) fn is_quiet(step: &Step) -> bool {
    match step {
        Step::Rest | Step::Send(..) | Step::Burst { .. } => true,
        Step::Store(store) => !matches!(store, Store::Conflict(_) | Store::Kill { .. }),
        Step::Batch(_)
        | Step::Repeat(_)
        | Step::Crash(_)
        | Step::CrashIn(..)
        | Step::Restart
        | Step::Disconnect
        | Step::Broker { .. }
        | Step::Malformed(_)
        | Step::UnknownTopic
        | Step::TooLarge(_)
        | Step::Disk(_)
        | Step::Space(_)
        | Step::HostClock(_)
        | Step::Config(_)
        | Step::Redrive => false,
    }
}

pub(super) fn choice(dice: &mut Dice, of: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(of).unwrap())).unwrap()
}

fn timed(dice: &mut Dice, devices: u64) -> Timed {
    let after_ms = match dice.below(20) {
        0 => 30_000 + dice.below(60_000),
        1..=3 => 1_000 + dice.below(9_000),
        4..=8 => dice.below(1_000),
        9..=13 => dice.below(20),
        _ => 0,
    };
    Timed { after_ms, step: step(dice, devices) }
}

fn step(dice: &mut Dice, devices: u64) -> Step {
    let device = dice.below(devices);
    match dice.below(100) {
        0..=19 => Step::Send(device, shape(dice)),
        20..=37 => {
            let most = devices.clamp(60, 4_000);
            Step::Burst { from: device, count: 1 + dice.below(most) }
        }
        38..=47 => {
            let count = dice.below(12);
            Step::Batch((0..count).map(|_| (dice.below(devices), shape(dice))).collect())
        }
        48 => Step::Malformed(device),
        49 => Step::UnknownTopic,
        50 => Step::TooLarge(device),
        51..=55 => Step::Repeat(dice.below(50)),
        56..=60 => Step::Crash(crash(dice)),
        61..=66 => Step::CrashIn(1 + dice.below(60), crash(dice)),
        67..=68 => Step::Restart,
        69..=72 => Step::Disk(faults(dice)),
        73..=74 => Step::Space((dice.below(3) != 0).then(|| dice.below(40_000))),
        75..=76 => Step::HostClock([-259_200, -3_600, -30, 30, 3_600, 259_200][choice(dice, 6)]),
        77..=78 => Step::Broker { keeps: dice.below(3) != 0, away_ms: dice.below(30_000) },
        79..=80 => Step::Disconnect,
        81..=91 => Step::Store(store(dice, devices)),
        92..=94 => Step::Config(choice(dice, 4)),
        95..=96 => Step::Redrive,
        97..=98 => Step::Restart,
        _ => Step::Rest,
    }
}

fn shape(dice: &mut Dice) -> Shape {
    match dice.below(20) {
        0..=1 => Shape::Late(dice.below(200)),
        2 => Shape::Late(dice.below(20_000)),
        3 => Shape::Untimed,
        4..=5 => Shape::Conflict,
        6 => Shape::Merge,
        7 => Shape::OutOfRange,
        8 => Shape::NoValue,
        _ => Shape::Good,
    }
}

const fn crash(dice: &mut Dice) -> Crash {
    if dice.below(2) == 0 { Crash::Power } else { Crash::Process }
}

fn faults(dice: &mut Dice) -> Faults {
    let often = [0, 0, 30, 300, 1_024];
    Faults {
        short_write: often[choice(dice, 4)],
        no_space: often[choice(dice, 5)],
        write_error: often[choice(dice, 4)],
        sync_error: often[choice(dice, 5)],
    }
}

fn store(dice: &mut Dice, devices: u64) -> Store {
    match dice.below(14) {
        0..=2 => Store::Mode(Mode::Well),
        3 => Store::Mode(Mode::Slow([500, 3_000, 20_000][choice(dice, 3)])),
        4..=5 => Store::Mode(Mode::Away),
        6 => Store::Mode(Mode::Busy(dice.below(20))),
        7 => Store::Mode([Mode::Failing, Mode::Hanging, Mode::Unauthorized][choice(dice, 3)]),
        8 => Store::Mode(Mode::Halfway),
        9 => Store::Mode(Mode::Unheard),
        10..=11 => Store::Kill { away_ms: dice.below(20_000) },
        12 => Store::Conflict(Some(dice.below(devices))),
        _ => Store::Conflict(None),
    }
}
