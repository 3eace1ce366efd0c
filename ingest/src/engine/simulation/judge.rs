//! The end of a world: everything derived once more, in one go, and held against what was shown, stored and told.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use bytes::Bytes;
use pipeline::outbox::{Entries, EntryKind, OutboxRecord};
use pipeline::record::Record;
use pipeline::{Head, Limits, Pipeline};

use super::config::{self, Configs};
use super::fleet::{Fields, Fleet, Key};
use super::line::{Place, Values, read, tag};
use super::oracle;
use super::server::Server;
use super::tape::{Kept, Tape};
use super::world::World;

/// What the journal gives in one go.
struct Derived {
    pipeline: Pipeline,
    points: BTreeMap<Place, Values>,
    alerts: BTreeMap<(u64, u32), Vec<u8>>,
}

/// Judges a world that has settled.
pub(super) fn end(world: &World) -> Result<(), String> {
    let mut tape = world.tape.lock().unwrap();
    tape.read();
    let server = world.server.lock().unwrap();
    let configs = config::of(world.planted);
    let derived = derive(&tape, &server, configs);
    let derived = derived.map_err(|what| format!("{what}; {}", tape.standing()))?;
    account(world, &derived.pipeline)?;
    stored(&derived.points, &server)?;
    let told = world.told.lock().unwrap();
    if let Some((at, _)) =
        derived.alerts.iter().find(|(at, line)| told.notices.get(at) != Some(line))
    {
        return Err(format!("P2: the alert {at:?} was not told"));
    }
    if let Some(at) = told.notices.keys().find(|at| !derived.alerts.contains_key(at)) {
        return Err(format!("P4: the alert {at:?} was told, and the journal does not give it"));
    }
    let fleet = world.fleet.lock().unwrap();
    oracle::judge(&tape, (&*fleet, configs), world.is_hushed)?;
    acknowledged(&fleet, &derived.pipeline, (&server, world.quarantined))
        .map_err(|(what, payload)| format!("{what}; {}", whereabouts(&tape, &payload)))
}

/// Tells where the journal has a message, and what came of it.
fn whereabouts(tape: &Tape, payload: &[u8]) -> String {
    let holds = |kept: &Kept| {
        let record = Record::decode(kept.kind, &kept.payload);
        matches!(record, Ok(Record::Uplink(uplink)) if uplink.payload == payload)
    };
    let found = tape.journal.iter().filter(|(_, kept)| holds(kept)).map(|(position, _)| {
        let results = tape.outbox.get(position).map(|(_, bytes)| words(bytes));
        format!("the journal has it at {position}, which gave {results:?}")
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() { "the journal does not have it".to_owned() } else { found.join("; ") }
}

/// Returns the results of a record as text.
fn words(bytes: &[u8]) -> String {
    let entries = Entries::of(bytes).into_iter().flatten();
    let words = entries.map(|one| String::from_utf8_lossy(one.data).into_owned());
    words.collect::<Vec<_>>().join("; ")
}

/// Derives everything once more, with one shard, and compares it byte for byte.
fn derive(tape: &Tape, server: &Server, configs: &Configs) -> Result<Derived, String> {
    let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
    let mut out = OutboxRecord::default();
    let (mut points, mut alerts) = (BTreeMap::<Place, Values>::new(), BTreeMap::new());
    let (mut shown, mut time) = (tape.outbox.iter(), i64::MIN);
    for (position, kept) in &tape.journal {
        let head = Head { position: *position, ordinal: kept.ordinal };
        pipeline
            .apply(head, kept.kind, &kept.payload, configs, &mut out)
            .map_err(|error| format!("P4: {error}"))?;
        if !pipeline.account().balances() {
            return Err(format!("P1: at {position}: {:?}", pipeline.account()));
        }
        let at = record_time(kept.kind, &kept.payload);
        if at < time {
            return Err(format!("journal time goes backward at {position}"));
        }
        time = at;
        if out.is_empty() {
            continue;
        }
        let derived = (pipeline.account().readings_decoded, out.bytes());
        match shown.next() {
            Some((at, (ordinal, bytes)))
                if (*at, (*ordinal, &bytes[..])) == (*position, derived) => {}
            other => {
                let shown = other.map(|(at, (_, bytes))| (at, words(bytes)));
                let derived = words(out.bytes());
                return Err(format!("P4: {position} gives {derived}, the outbox shows {shown:?}"));
            }
        }
        for (index, entry) in (0..).zip(Entries::of(out.bytes()).unwrap()) {
            match entry.kind {
                EntryKind::Point => {
                    let (place, values) = read(entry.data);
                    if !server.was_refused(&place) {
                        points.entry(place).or_default().extend(values);
                    }
                }
                EntryKind::Alert => {
                    alerts.insert((*position, index), entry.data.to_vec());
                }
                EntryKind::DeadReading
                | EntryKind::Duplicate
                | EntryKind::DeadUplink
                | EntryKind::StoreLetter => {}
            }
        }
    }
    match shown.next() {
        Some((at, _)) => Err(format!("P4: the outbox shows results of {at}, the journal has none")),
        None => Ok(Derived { pipeline, points, alerts }),
    }
}

fn record_time(kind: u8, payload: &[u8]) -> i64 {
    match Record::decode(kind, payload).unwrap() {
        Record::Uplink(uplink) => uplink.received_at.as_nanos(),
        Record::Tick(tick) => tick.at_nanos,
        Record::Started(started) => started.at_nanos,
        Record::ConfigActivated(change) => change.at_nanos,
        Record::Rejected(rejected) => rejected.at_nanos,
        Record::Redrive(redrive) => redrive.at_nanos,
    }
}

/// The running pipeline, after all its restarts, counts what one without any counts.
fn account(world: &World, derived: &Pipeline) -> Result<(), String> {
    let Some(life) = &world.life else { return Err("it has ended".to_owned()) };
    let cut = life.shared.cut();
    if cut.position == derived.position() && cut.account == *derived.account() {
        return Ok(());
    }
    Err(format!("P4: it counts {:?}, and in one go {:?}", cut.account, derived.account()))
}

/// The store holds what the journal gives, and nothing else.
fn stored(points: &BTreeMap<Place, Values>, server: &Server) -> Result<(), String> {
    let refused = server.refused();
    let held = server.content();
    for (place, values) in points {
        match held.get(place) {
            Some(held) if held == values => {}
            other => return Err(format!("P2: {place:?} is {values:?}, the store has {other:?}")),
        }
    }
    let invented =
        held.keys().find(|place| !points.contains_key(place) && !refused.contains(place));
    invented.map_or(Ok(()), |place| Err(format!("P4: {place:?} in the store is invented")))
}

/// Everything acknowledged is in the store as it was said, or in a letter that says why not.
fn acknowledged(
    fleet: &Fleet,
    pipeline: &Pipeline,
    (server, quarantined): (&Server, bool),
) -> Result<(), (String, Bytes)> {
    let letters: BTreeSet<Bytes> = pipeline
        .letters()
        .iter()
        .map(|letter| Bytes::copy_from_slice(&letter.origin.payload))
        .collect();
    let refused: BTreeSet<Key> = server.refused().iter().map(key_of).collect();
    let mut held: BTreeMap<Key, &Values> = BTreeMap::new();
    let content = server.content();
    held.extend(content.iter().map(|(place, values)| (key_of(place), values)));
    for (message, readings) in fleet.sent.iter().zip(&fleet.readings) {
        if !fleet.acknowledged.contains_key(&message.payload) {
            continue;
        }
        for (key, fields) in readings {
            let known = held.get(key).is_some_and(|values| says(fleet, key, fields, values));
            let may_be_a_letter = quarantined || refused.contains(key) || is_disputed(fleet, key);
            let is_in_a_letter = || {
                letters.contains(&message.payload)
                    || refused.contains(key) && was_said_before(fleet, key, fields, &letters)
            };
            if !(known || may_be_a_letter && is_in_a_letter()) {
                let payload = String::from_utf8_lossy(&message.payload);
                let there = held.get(key);
                let what =
                    format!("P2: acknowledged and not stored: {key:?} of {payload}: {there:?}");
                return Err((what, message.payload.clone()));
            }
        }
    }
    Ok(())
}

/// Whether a letter has a message that said the same of this time: then this one was a repeat of what the store refused.
fn was_said_before(fleet: &Fleet, key: &Key, fields: &Fields, letters: &BTreeSet<Bytes>) -> bool {
    let others = fleet.sent.iter().zip(&fleet.readings);
    let mut said = others
        .filter(|(other, _)| letters.contains(&other.payload))
        .flat_map(|(_, readings)| readings.iter().filter(|(known, _)| known == key));
    said.any(|(_, known)| fields.iter().all(|field| known.iter().any(|other| other == field)))
}

fn key_of((series, at): &Place) -> Key {
    (tag(series, "device").to_owned(), *at)
}

/// Whether the store has each field with a value that was said.
fn says(fleet: &Fleet, key: &Key, fields: &Fields, held: &Values) -> bool {
    fields.iter().all(|(name, value)| {
        let held: Option<f64> = held.get(*name).and_then(|text| text.parse().ok());
        let said = fleet.said.get(&(key.clone(), name)).map_or(&[][..], |said| said);
        held.is_some_and(|held| {
            said.contains(&held) && (held.to_bits() == value.to_bits() || said.len() > 1)
        })
    })
}

/// Whether a device said two things of one time.
fn is_disputed(fleet: &Fleet, (device, at): &Key) -> bool {
    ["moisture", "temp"].iter().any(|name| {
        let said = fleet.said.get(&((device.clone(), *at), name));
        said.is_some_and(|said| said.iter().any(|value| value.to_bits() != said[0].to_bits()))
    })
}
