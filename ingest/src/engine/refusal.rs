//! Points that a store does not take become records, before its cursor passes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use journal::{ReadError, ReadFrom, Reader};
use pipeline::Reason;
use pipeline::record::{Origin, Record, Rejected, RejectedPoint};
use store::{EntryKey, RejectReason};
use telemetry::problem::chain;

use crate::engine::orders::Orders;

/// Bytes of uplinks in one record of refusals, at least those of one.
const REJECTED_BYTES: usize = 4 << 20;
/// Bytes of a refusal beside its texts, at most.
const POINT_BYTES: usize = 64;
/// Pause before the journal is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Appends refusals to the journal, each with its raw uplink; returns once they are durable, and never where the
/// journal's writer has ended: what is not on record is not passed. `element` tells which element of its uplink a
/// point came from.
pub(crate) async fn refuse_all(
    orders: &Orders,
    rejected: &[store::Rejected],
    element: impl Fn(EntryKey) -> u32,
) {
    if rejected.is_empty() {
        return;
    }
    let origins = origins(orders, rejected).await;
    for points in grouped(rejected, &origins, element) {
        append(orders, points).await;
    }
}

/// Returns the points by record. The first of an uplink brings all of it, and a record has a bound.
fn grouped(
    rejected: &[store::Rejected],
    origins: &BTreeMap<u64, Origin>,
    element: impl Fn(EntryKey) -> u32,
) -> Vec<Vec<RejectedPoint>> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for one in rejected {
        let position = one.key.position;
        let Some(origin) = origins.get(&position) else {
            tracing::error!(position, "the uplink of a refused point is not in the journal");
            continue;
        };
        let own = POINT_BYTES + one.detail.len();
        let raw = origin.payload.len() + origin.topic.len();
        let last = records.last().and_then(|points: &Vec<RejectedPoint>| points.last());
        let is_told =
            last.is_some_and(|last| last.position == position) && bytes + own <= REJECTED_BYTES;
        if is_told {
            bytes += own;
        } else if bytes + own + raw <= REJECTED_BYTES && last.is_some() {
            bytes += own + raw;
        } else {
            records.push(Vec::new());
            bytes = own + raw;
        }
        let point = RejectedPoint {
            position,
            index: one.key.index,
            element: element(one.key),
            reason: reason(one.reason) as u8,
            detail: one.detail.to_string(),
            origin: if is_told { Origin::default() } else { origin.clone() },
        };
        if let Some(points) = records.last_mut() {
            points.push(point);
        }
    }
    records
}

/// Appends one record of refusals, however long the journal's disk fails.
async fn append(orders: &Orders, points: Vec<RejectedPoint>) {
    loop {
        let points = points.clone();
        let make = move |at: telemetry::time::IngestTime| {
            Record::Rejected(Rejected { at_nanos: at.as_nanos(), points })
        };
        if orders.append(Box::new(make)).await.is_ok() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Reads the raw uplinks behind points, in one pass over their stretch of the journal.
async fn origins(orders: &Orders, rejected: &[store::Rejected]) -> BTreeMap<u64, Origin> {
    let wanted: BTreeSet<u64> = rejected.iter().map(|one| one.key.position).collect();
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
        return BTreeMap::new();
    };
    loop {
        let reader = orders.reader(ReadFrom::Position(*first)).await;
        if let Some(found) = reader.and_then(|reader| read_origins(reader, &wanted, *last)) {
            return found;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Reads the wanted uplinks up to a position. `None`: the disk said no.
fn read_origins(
    mut reader: Reader,
    wanted: &BTreeSet<u64>,
    last: u64,
) -> Option<BTreeMap<u64, Origin>> {
    let mut found = BTreeMap::new();
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => return Some(found),
            // What was cut does not come back; the next call goes on with the oldest record kept.
            Err(ReadError::Cut { .. }) => continue,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(%error, "the uplinks of refused points could not be read; tried again");
                return None;
            }
        };
        if record.position > last {
            return Some(found);
        }
        if wanted.contains(&record.position) {
            found.extend(
                origin(record.kind, record.payload).map(|origin| (record.position, origin)),
            );
        }
    }
}

/// Returns the raw uplink of a journal record.
fn origin(kind: u8, payload: &[u8]) -> Option<Origin> {
    match Record::decode(kind, payload).ok()? {
        Record::Uplink(uplink) => Some(Origin {
            source: uplink.source,
            received_at_nanos: uplink.received_at.as_nanos(),
            topic: uplink.topic.to_owned(),
            payload: uplink.payload.to_vec(),
            full_len: uplink.full_len,
        }),
        Record::Redrive(redrive) => Some(redrive.origin),
        Record::Tick(_) | Record::Started(_) | Record::ConfigActivated(_) | Record::Rejected(_) => {
            None
        }
    }
}

const fn reason(reason: RejectReason) -> Reason {
    match reason {
        RejectReason::TypeConflict => Reason::TypeConflict,
        RejectReason::OutsideRetention => Reason::OutsideRetention,
        RejectReason::StoreRejected => Reason::StoreRejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::sim::SimDisk;
    use journal::{Appended, Log, LogOptions};
    use pipeline::record::Uplink;
    use std::path::Path;
    use std::sync::Arc;
    use telemetry::time::IngestTime;

    /// Scenario: a store refuses points of large uplinks, many of one.
    /// Guarantees: each record is within its bound but for one uplink, brings each uplink once, and no point is lost.
    #[test]
    fn points_of_one_uplink_bring_it_once() {
        let origin = |at: i64| Origin {
            received_at_nanos: at,
            payload: vec![7; 3 << 20],
            ..Origin::default()
        };
        let origins = BTreeMap::from([(1, origin(1)), (2, origin(2))]);
        let refused = |position, count| {
            (0..count).map(move |index| store::Rejected {
                key: EntryKey { position, index },
                reason: RejectReason::StoreRejected,
                detail: "x".repeat(400).into(),
            })
        };
        let rejected: Vec<_> = refused(1, 5_000).chain(refused(2, 3)).collect();
        let records = grouped(&rejected, &origins, |key| key.index);
        let mut seen = Vec::new();
        for points in records {
            let raw: usize = points.iter().map(|point| point.origin.payload.len()).sum();
            let texts: usize = points.iter().map(|point| point.detail.len()).sum();
            assert!(raw + texts <= REJECTED_BYTES, "{raw} + {texts}");
            assert_eq!(points.first().unwrap().origin.payload.len(), 3 << 20);
            let record = Rejected { at_nanos: 0, points };
            for (point, origin) in record.with_origins() {
                assert_eq!(u64::try_from(origin.received_at_nanos), Ok(point.position));
                seen.push((point.position, point.index, point.element));
            }
        }
        let key = |one: &store::Rejected| (one.key.position, one.key.index, one.key.index);
        assert_eq!(seen, rejected.iter().map(key).collect::<Vec<_>>());
    }

    /// Scenario: the uplink of a refused point was cut from the journal, as where a history has lost its cursor.
    /// Guarantees: it is not looked for for ever; the uplinks that are there are read.
    #[test]
    fn what_was_cut_is_not_waited_for() {
        let options = LogOptions { segment_bytes: 2048, ..LogOptions::default() };
        let disk = Arc::new(SimDisk::new(1));
        let (mut log, _) = Log::open(disk, Path::new("/journal"), options).unwrap();
        let uplink = Record::Uplink(Uplink {
            source: 0,
            received_at: IngestTime::default(),
            topic: "up/s/d1",
            payload: &[7; 300],
            full_len: 300,
        });
        let (kind, payload) = (uplink.kind().code(), uplink.encode());
        for position in 1..=40 {
            log.append(Appended { kind, position, ordinal: position, payload: &payload }).unwrap();
        }
        log.sync().unwrap();
        log.cut_before(30).unwrap();
        let read = |wanted: &[u64], last| {
            let wanted = wanted.iter().copied().collect();
            let found = read_origins(log.reader(ReadFrom::Position(1)), &wanted, last);
            found.map(|found| found.into_keys().collect::<Vec<u64>>())
        };
        assert_eq!(read(&[1], 1), Some(Vec::new()));
        assert_eq!(read(&[1, 35], 35), Some(vec![35]));
    }
}
