//! The account of the running service, and the invariant P1 on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;

use crate::http;
use crate::wait::until;

/// `GET /api/v1/balance`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Balance {
    /// Of whole uplinks.
    pub uplinks: Uplinks,
    /// Of readings.
    pub readings: Readings,
    /// Dead letters that came in again.
    pub redriven: serde_json::Value,
}

/// What became of the uplinks received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Uplinks {
    /// Fsynced in the journal.
    pub received: u64,
    /// Passed on as readings.
    pub decoded: u64,
    /// Set aside as a whole.
    pub dead: u64,
    /// Damaged on disk.
    pub lost: u64,
    /// Not processed yet.
    pub held: u64,
}

/// What became of the readings decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Readings {
    /// Elements found, good or bad.
    pub decoded: u64,
    /// Passed by the store's durable cursor.
    pub stored: u64,
    /// Set aside.
    pub dead: u64,
    /// Told to be repeats.
    pub duplicate: u64,
    /// Not stored yet.
    pub held: u64,
}

impl Balance {
    /// Waits until this many uplinks were received, and returns the balance then.
    pub fn received(base: &str, least: u64, within: Duration) -> Self {
        until(&format!("{least} uplinks received"), within, || {
            Self::fetch(base).filter(|balance| balance.uplinks.received >= least)
        })
    }

    /// Fetches it; `None`: nobody answers, or the service is recovering.
    ///
    /// Fails on any other answer.
    #[must_use]
    pub fn fetch(base: &str) -> Option<Self> {
        let answer = http::get(&format!("{base}/api/v1/balance")).ok()?;
        if answer.status() == 503 {
            return None;
        }
        assert_eq!(answer.status(), 200, "balance: {}", answer.text());
        Some(
            serde_json::from_value(answer.json())
                .unwrap_or_else(|e| panic!("balance ({e}): {}", answer.text())),
        )
    }

    /// Returns what is wrong with the two sums.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let (u, r) = (self.uplinks, self.readings);
        let uplinks = u.decoded + u.dead + u.lost + u.held;
        let readings = r.stored + r.dead + r.duplicate + r.held;
        (u.received != uplinks || r.decoded != readings)
            .then(|| format!("the balance does not add up: {self:?}"))
    }

    /// Returns both sums with their numbers.
    #[must_use]
    pub fn sums(&self) -> String {
        let (u, r) = (self.uplinks, self.readings);
        let uplinks = format!(
            "received {} = decoded {} + dead {} + lost {} + held {}",
            u.received, u.decoded, u.dead, u.lost, u.held
        );
        let readings = format!(
            "decoded {} = stored {} + dead {} + duplicate {} + held {}",
            r.decoded, r.stored, r.dead, r.duplicate, r.held
        );
        format!("uplinks: {uplinks}; readings: {readings}")
    }

    /// Returns whether nothing is held any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.uplinks.held == 0 && self.readings.held == 0
    }
}

/// Samples the balance in the background and checks both sums each time.
#[derive(Debug)]
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64, String>>>,
}

/// Begins to sample the balance at `base` each 20 ms; the service may be away meanwhile.
#[must_use]
pub fn assert_balance_always(base: &str) -> Watch {
    let over = Arc::new(AtomicBool::new(false));
    let (stop, base) = (Arc::clone(&over), base.to_owned());
    let thread = thread::spawn(move || {
        let mut samples = 0;
        while !stop.load(Ordering::Relaxed) {
            if let Some(balance) = Balance::fetch(&base) {
                samples += 1;
                if let Some(wrong) = balance.wrong() {
                    return Err(format!("sample {samples}: {wrong}"));
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(samples)
    });
    Watch { over, thread: Some(thread) }
}

impl Watch {
    /// Ends the sampling, fails where a sample did not add up or none was taken, and returns their number.
    pub fn finish(self) -> u64 {
        let samples = self.end().unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(samples > 0, "the balance was never answered");
        samples
    }

    /// Ends the sampling and returns the number of samples.
    ///
    /// # Errors
    ///
    /// The first sample that did not add up.
    pub fn end(mut self) -> Result<u64, String> {
        self.over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(0) };
        thread.join().unwrap_or_else(|_| Err("an answer was no balance".to_owned()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_does_not_hold_is_told() {
        let text = r#"{"as_of":"2026-01-01T00:00:00Z","uplinks":{"received":5,"decoded":3,"dead":1,"lost":0,"held":1},
            "readings":{"decoded":9,"stored":5,"dead":1,"duplicate":2,"held":1},"redriven":0}"#;
        let mut balance: Balance = serde_json::from_str(text).unwrap();
        assert_eq!(balance.wrong(), None);
        balance.readings.duplicate = 1;
        assert!(balance.wrong().is_some());
    }
}
