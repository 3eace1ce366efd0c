//! Feeds a notifier from the outbox: every alert transition, and how far it has read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::{ReadError, Reader};
use pipeline::outbox::{Entries, EntryKind};
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, watch};

use crate::engine::clock::seconds_since;
use crate::meter;
use crate::notifier::{AlertState, Batch, Notice, OutboxKey, Severity};

/// Most outbox records read before the notifier hears of them.
const TURN_RECORDS_MAX: u32 = 10_000;
/// How long a cursor may lag behind an outbox without alerts.
const CURSOR_LAG: Duration = Duration::from_secs(5);

/// What a notice needs of an alert line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: &'a str,
    state: &'a str,
    severity: &'a str,
}

/// Reads a notice from an alert line. `None`: it is not one.
#[must_use]
pub fn notice(line: &[u8], origin: Option<OutboxKey>) -> Option<Notice> {
    let alert: Line<'_> = serde_json::from_slice(line).ok()?;
    Some(Notice {
        id: alert.id.to_owned(),
        state: AlertState::parse(alert.state)?,
        severity: Severity::parse(alert.severity)?,
        body: Bytes::copy_from_slice(line),
        origin,
    })
}

/// Follows the outbox from after `cursor` until the shutdown.
pub async fn follow(
    mut outbox: Reader,
    mut cursor: OutboxKey,
    feed: mpsc::Sender<Batch>,
    mut shutdown: watch::Receiver<bool>,
) {
    let more = Arc::new(Notify::new());
    let wake = Arc::clone(&more);
    let _watch = outbox.published().watch(move || wake.notify_one());
    let mut sent = cursor;
    loop {
        let (batch, is_readable) = read_turn(&mut outbox, &mut cursor);
        // Where the disk says no, the same is tried again after a pause.
        let has_more = is_readable && outbox.has_more();
        if !batch.notices.is_empty() || (cursor != sent && !has_more) {
            sent = cursor;
            if feed.send(batch).await.is_err() {
                return;
            }
        }
        if has_more {
            tokio::task::yield_now().await;
            continue;
        }
        if *shutdown.borrow() {
            return;
        }
        tokio::select! {
            () = more.notified() => {}
            () = tokio::time::sleep(CURSOR_LAG) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Reads what there is; `false`: the disk said no.
fn read_turn(outbox: &mut Reader, cursor: &mut OutboxKey) -> (Batch, bool) {
    let (mut notices, mut is_readable) = (Vec::new(), true);
    for _ in 0..TURN_RECORDS_MAX {
        let record = match outbox.next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(ReadError::Cut { wanted, after }) => {
                tracing::error!(
                    wanted,
                    after,
                    "alerts between these positions were cut before this notifier read them"
                );
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "the outbox could not be read");
                is_readable = false;
                break;
            }
        };
        let Some(entries) = Entries::of(record.payload) else { continue };
        let received_at = entries.received_at().as_nanos();
        for (index, entry) in (0..).zip(entries) {
            let key = (record.position, index);
            if entry.kind == EntryKind::Alert && key > *cursor {
                notices.extend(notice(entry.data, Some(key)));
                meter::received_to_alert(seconds_since(received_at));
            }
        }
        *cursor = (*cursor).max((record.position, u32::MAX));
    }
    (Batch { notices, cursor: Some(*cursor) }, is_readable)
}
