//! Prints a line for each alert, in the order of the outbox.
//!
//! A line has no wall-clock time in it: the same seed and start give the same lines.

use std::time::Duration;

use ingest::engine::desk::Desk;
use ingest::http::Desk as _;
use journal::{ReadError, ReadFrom, Reader};
use pipeline::outbox::{Entries, EntryKind};
use serde::Deserialize;
use telemetry::text::Lang;
use tokio::sync::watch;

use crate::out;

/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct Message {
    zh: String,
    en: String,
}

/// What a line needs of an alert.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: &'a str,
    state: &'a str,
    severity: &'a str,
    rule: &'a str,
    device: &'a str,
    raised_at: &'a str,
    resolved_at: Option<&'a str>,
    message: Message,
}

/// Prints alerts from a position on until it is told to stop, then those that are there.
pub(super) async fn tell(
    desk: std::sync::Arc<Desk>,
    from: u64,
    lang: Lang,
    mut stop: watch::Receiver<bool>,
) {
    let Some(mut outbox) = desk.outbox(ReadFrom::Position(from)).await else { return };
    loop {
        let is_last = *stop.borrow();
        print(&mut outbox, lang);
        if is_last {
            return;
        }
        // A sender that is gone stops as well.
        let _stopped = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await.is_ok();
    }
}

fn print(outbox: &mut Reader, lang: Lang) {
    loop {
        match outbox.next() {
            Ok(Some(record)) => {
                let entries = Entries::of(record.payload).into_iter().flatten();
                for entry in entries.filter(|entry| entry.kind == EntryKind::Alert) {
                    if let Some(line) = line(entry.data, lang) {
                        out::line(&line);
                    }
                }
            }
            Ok(None) => return,
            // What was cut is long over; the next call goes on with the oldest record kept.
            Err(ReadError::Cut { .. }) => {}
            Err(error) => {
                tracing::error!(%error, "the outbox could not be read");
                return;
            }
        }
    }
}

/// Returns the line of an alert.
fn line(alert: &[u8], lang: Lang) -> Option<String> {
    let alert: Line<'_> = serde_json::from_slice(alert).ok()?;
    let at = alert.resolved_at.unwrap_or(alert.raised_at);
    let message = telemetry::text::Text { zh: alert.message.zh, en: alert.message.en };
    let Line { id, state, severity, rule, device, .. } = alert;
    let message = message.show(lang);
    Some(format!("{at}  {state:<8}  {severity:<6}  {rule}  {device}  {message}  [{id}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_where_and_why_and_nothing_of_the_wall_clock() {
        let alert = r#"{"id":"ab12","rule":"soil-dry","rule_version":"v","state":"firing","severity":"yellow","tenant":"t","site":"s","device":"d7","property":"p","value":0.1,"limit":0.12,"began_at":"2026-01-01T00:00:00Z","raised_at":"2026-01-01T00:30:00Z","resolved_at":null,"received_at":"2026-02-02T02:02:02Z","reason":null,"message":{"zh":"干","en":"dry"}}"#;
        assert_eq!(
            line(alert.as_bytes(), Lang::En).unwrap(),
            "2026-01-01T00:30:00Z  firing    yellow  soil-dry  d7  dry  [ab12]"
        );
        let resolved = alert
            .replace("\"firing\"", "\"resolved\"")
            .replace("\"resolved_at\":null", "\"resolved_at\":\"2026-01-01T01:00:00Z\"");
        assert!(
            line(resolved.as_bytes(), Lang::Zh)
                .unwrap()
                .starts_with("2026-01-01T01:00:00Z  resolved  yellow")
        );
    }
}
