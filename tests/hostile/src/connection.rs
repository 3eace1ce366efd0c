//! The state machine of one connection to the listener, against any bytes.

use std::time::Instant;

use ingest::listener::drive::{Driven, drive};

/// Bytes of unsent answers that may wait at most: the bound of a connection and the largest answer beyond it.
const ANSWERS_MOST: usize = 256 << 10;

/// A connection that sends any bytes: it ends or waits, its answers are bounded, and nothing depends on where the
/// bytes were cut on their way.
pub fn listener(bytes: &[u8]) {
    let now = Instant::now();
    let whole = drive([bytes], now);
    assert!(whole.answers_most <= ANSWERS_MOST, "{} bytes of answers wait", whole.answers_most);
    let taken: usize =
        whole.records.iter().map(|(topic, payload)| topic.len() + payload.len()).sum();
    assert!(taken <= bytes.len(), "records of {taken} bytes out of {}", bytes.len());
    let cut = bytes.len() / 2;
    let (head, tail) = bytes.split_at(cut);
    alike(&whole, &drive([head, tail], now));
    alike(&whole, &drive(bytes.chunks(1), now));
}

fn alike(whole: &Driven, cut: &Driven) {
    assert_eq!(
        (&whole.answers, &whole.records, whole.end),
        (&cut.answers, &cut.records, cut.end),
        "it depends on where the bytes are cut"
    );
}
