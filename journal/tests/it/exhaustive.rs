//! Every bit of a small segment flipped, and the segment cut at every byte: noticed each time, and
//! no other record pays for it.

use crate::support::{DIR, append, drain, open, segments_of};
use journal::sim::{Crash, SimDisk};
use journal::{Damage, Disk, Log, LogOptions, ReadFrom, Visible};
use std::ops::Range;
use std::path::PathBuf;

/// How the segment stands when it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The newest, and the log was closed.
    Sealed,
    /// The newest, and the machine stopped: its last sync group is proven by nothing.
    Stopped,
    /// Another segment follows and says where it ended.
    Followed,
}

const STATES: [State; 3] = [State::Sealed, State::Stopped, State::Followed];
/// As the journal has it, and as the outbox has it.
const VISIBLE: [Visible; 2] = [Visible::Durable, Visible::Written];
/// Records of one sync group.
const GROUP: usize = 4;
/// Bytes of a segment's head that mean something, see `format`.
const HEAD: usize = 104;

/// A small log and what stands in the segment that is damaged.
struct Victim {
    disk: SimDisk,
    options: LogOptions,
    state: State,
    /// All files as they should be, the segment first.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Where the records stand, without what fills them up.
    records: Vec<Range<usize>>,
    /// Positions of the whole log.
    all: Vec<u64>,
}

/// What a damaged log still shows.
struct Shown {
    log: Log,
    read: Vec<u64>,
    damage: Damage,
    cut: (u64, u64),
}

impl Victim {
    fn new(state: State, visible: Visible) -> Self {
        let disk = SimDisk::new(1);
        let options = LogOptions { visible, ..segments_of(2048) };
        let (mut log, _) = open(&disk, &options);
        let mut last = 0;
        // Until there is a second segment, or for three groups.
        while log.bytes() <= 2048 && (state == State::Followed || last < 3 * GROUP as u64) {
            append(&mut log, last + 1..=last + GROUP as u64);
            log.sync().unwrap();
            last += GROUP as u64;
        }
        if state == State::Sealed {
            log.close().unwrap();
        } else {
            disk.crash(Crash::Power);
            drop(log);
        }
        let segments = disk.paths().into_iter().filter(|path| path.extension().is_some());
        let files: Vec<_> =
            segments.map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect();
        assert_eq!(files.len(), if state == State::Followed { 2 } else { 1 });
        let records = records(&files[0].1);
        assert!(records.len() >= 3 * GROUP);
        Self { disk, options, state, files, records, all: (1..=last).collect() }
    }

    /// Puts everything back, but the segment as `bytes`, and opens it.
    fn open_with(&self, bytes: Vec<u8>) -> Shown {
        let Self { disk, files, .. } = self;
        for path in disk.paths() {
            if !path.ends_with("lock") && files.iter().all(|(own, _)| *own != path) {
                disk.remove(&path).unwrap();
            }
        }
        for (path, good) in files {
            if disk.bytes(path).is_none() {
                drop(disk.create(path).unwrap());
            }
            disk.damage(path, good.clone());
        }
        disk.damage(&files[0].0, bytes);
        let (log, opened) = open(disk, &self.options);
        let mut reader = log.reader(ReadFrom::Oldest);
        let read = drain(&mut reader).unwrap();
        // What opening looks at is what it is unsure of; a reader looks at everything.
        let mut damage = reader.damaged();
        damage.stretches = damage.stretches.max(opened.damage.stretches);
        damage.missing_segments += opened.damage.missing_segments;
        Shown { log, read, damage, cut: (opened.cut_bytes, opened.cut_records) }
    }

    /// All positions but those of some records of the segment.
    fn without(&self, lost: Range<usize>) -> Vec<u64> {
        let lost = lost.start as u64 + 1..lost.end as u64 + 1;
        self.all.iter().copied().filter(|position| !lost.contains(position)).collect()
    }

    /// Returns whether later records, a seal or the next segment prove that this one was durable.
    fn is_proven(&self, record: usize) -> bool {
        self.state != State::Stopped || record < self.records.len() - GROUP
    }
}

impl Shown {
    /// The log takes records and shows them.
    fn goes_on(mut self, what: &str) {
        let next = self.log.end().position + 1;
        append(&mut self.log, [next]);
        self.log.sync().unwrap();
        let read = drain(&mut self.log.reader(ReadFrom::Oldest)).unwrap();
        assert_eq!(read, [self.read, vec![next]].concat(), "{what}");
    }
}

/// Finds the records of a segment by their magic.
fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    let starts = (1024..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"TLr1"));
    let length = |at: usize| u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap());
    starts.map(|at| at..at + 40 + length(at) as usize).collect()
}

/// Scenario: each bit of a segment flipped in turn; sealed, stopped, followed by another; as the
/// journal and as the outbox is kept.
/// Guarantees: a bit of a record is noticed always and costs this record alone, counted, with its
/// bytes kept; only in the last group before a crash, which nothing proves durable, it cuts the
/// tail, and says so. Any other bit costs nothing. The log goes on.
#[test]
fn a_flipped_bit_costs_at_most_its_own_record() {
    for (state, visible) in STATES.iter().flat_map(|state| VISIBLE.map(|visible| (*state, visible)))
    {
        let victim = Victim::new(state, visible);
        let good = &victim.files[0].1;
        for bit in 0..good.len() * 8 {
            let what = format!("{state:?}, {visible:?}, bit {bit}");
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let shown = victim.open_with(bytes);
            let hit = victim.records.iter().position(|record| record.contains(&(bit / 8)));
            let Some(hit) = hit else {
                assert_eq!((&shown.read, shown.damage), (&victim.all, Damage::default()), "{what}");
                shown.goes_on(&what);
                continue;
            };
            if victim.is_proven(hit) {
                assert_eq!(shown.read, victim.without(hit..hit + 1), "{what}");
                assert_eq!((shown.damage.stretches, shown.damage.not_set_aside), (1, 0), "{what}");
                let kept = victim
                    .disk
                    .paths()
                    .into_iter()
                    .find(|p| p.starts_with(format!("{DIR}/damaged")));
                let kept = victim.disk.bytes(&kept.unwrap()).unwrap();
                assert!(kept.len() >= victim.records[hit].len(), "{what}");
            } else {
                let behind = victim.records.len() - hit - 1;
                assert_eq!(shown.read, victim.without(hit..victim.records.len()), "{what}");
                assert!(shown.cut.0 > 0 && shown.cut.1 == behind as u64, "{what}: {:?}", shown.cut);
            }
            shown.goes_on(&what);
        }
    }
}

/// Scenario: the segment cut off at each length, in the same states.
/// Guarantees: what stands before the cut is read, what stands in other segments too. Where a seal
/// or the next segment says how long it was, the loss is counted and no position is given twice; a
/// head that is cut itself is that of a file never finished, unless the next segment knows better.
/// The log goes on.
#[test]
fn a_cut_costs_what_is_cut_off() {
    for (state, visible) in STATES.iter().flat_map(|state| VISIBLE.map(|visible| (*state, visible)))
    {
        let victim = Victim::new(state, visible);
        let good = &victim.files[0].1;
        for len in 0..good.len() {
            let what = format!("{state:?}, {visible:?}, cut at {len}");
            let shown = victim.open_with(good[..len].to_vec());
            // What fills a record up belongs to it where nothing says how long the segment was.
            let end = |record: &Range<usize>| match state {
                State::Stopped => record.end.next_multiple_of(8),
                State::Sealed | State::Followed => record.end,
            };
            let whole = victim.records.iter().filter(|record| end(record) <= len).count();
            assert_eq!(shown.read, victim.without(whole..victim.records.len()), "{what}");
            let lost = whole < victim.records.len();
            let is_known = match state {
                // What is cut off may have been zeros.
                State::Sealed => good[len.min(HEAD)..HEAD].iter().all(|byte| *byte == 0),
                State::Followed => true,
                State::Stopped => false,
            };
            assert_eq!(
                shown.damage != Damage::default(),
                lost && is_known,
                "{what}: {:?}",
                shown.damage
            );
            if is_known {
                assert_eq!(shown.log.end().position, victim.all.len() as u64, "{what}");
            }
            shown.goes_on(&what);
        }
    }
}
