//! Steady load on the running service, and what it holds meanwhile: memory, handles, threads, disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::publisher::{Message, Publisher};
use crate::sample::Sample;
use crate::tianlu::Tianlu;
use crate::wait::{now_ms, pass};
use crate::work::Work;

/// Seconds of load made at once.
const CHUNK_SECONDS: u32 = 10;
/// How late a chunk may become acknowledged on a busy machine.
const LATE: Duration = Duration::from_mins(5);

/// A load: devices that take turns, each uplink with the time of its turn.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Devices.
    pub devices: u32,
    /// Uplinks a second.
    pub per_second: u32,
    /// How long; whole chunks of ten seconds.
    pub seconds: u32,
    /// Bytes of the text that each uplink carries beside its two numbers.
    pub note_bytes: usize,
}

/// What the service held at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Since the load began.
    pub after: Duration,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Resident memory that is no page of a file, as those of the program are.
    pub own_bytes: u64,
    /// Open files, sockets and the like.
    pub handles: usize,
    /// Threads.
    pub threads: usize,
    /// What the data folder takes on disk, space set aside included.
    pub disk_bytes: u64,
}

impl Load {
    /// Returns how many uplinks it has.
    #[must_use]
    pub fn uplinks(&self) -> u64 {
        u64::from(self.per_second) * u64::from(self.seconds)
    }

    /// Publishes it to the broker at `address`, and looks at the service each second until all is acknowledged.
    #[must_use]
    pub fn run(&self, service: &Tianlu, work: &Work, address: &str) -> Vec<Look> {
        let (data, began) = (work.path("data"), Instant::now());
        thread::scope(|scope| {
            let publishing = scope.spawn(|| self.publish(address));
            let mut looks = Vec::new();
            while !publishing.is_finished() {
                looks.push(Look::at(service, &data, began));
                let next = Duration::from_secs(u64::try_from(looks.len()).unwrap());
                pass(next.saturating_sub(began.elapsed()));
            }
            looks
        })
    }

    fn publish(&self, address: &str) {
        let (began, start_ms) = (Instant::now(), now_ms());
        let mut publisher = Publisher::new(address, "steady");
        (publisher.per_second, publisher.within) = (Some(self.per_second), LATE);
        publisher.window = 1000;
        for first in (0..self.seconds).step_by(usize::try_from(CHUNK_SECONDS).unwrap()) {
            let numbers = first * self.per_second..(first + CHUNK_SECONDS) * self.per_second;
            let uplinks: Vec<Message> = numbers.map(|n| self.uplink(start_ms, n)).collect();
            pass(Duration::from_secs(first.into()).saturating_sub(began.elapsed()));
            assert_eq!(publisher.send(&uplinks).len(), uplinks.len());
        }
    }

    /// Makes the uplink with the number `n`.
    fn uplink(&self, start_ms: i64, n: u32) -> Message {
        let at_ms = start_ms + i64::from(n) * 1000 / i64::from(self.per_second);
        let sample = Sample::new(&format!("g{:04}", n % self.devices), at_ms, n);
        let payload = sample.payload();
        let open = payload.strip_suffix('}').unwrap();
        let note = "n".repeat(self.note_bytes);
        Message::uplink(&sample.device, format!(r#"{open},"note":"{note}"}}"#))
    }
}

impl Look {
    fn at(service: &Tianlu, data: &Path, began: Instant) -> Self {
        let process = service.process();
        Self {
            after: began.elapsed(),
            resident_bytes: process.resident_bytes(),
            own_bytes: process.own_bytes(),
            handles: process.handles(),
            threads: process.threads(),
            disk_bytes: disk_bytes(data),
        }
    }
}

/// Returns what the files of a folder take on disk; a file that is removed meanwhile takes nothing.
fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let taken = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    });
    taken.sum()
}

/// Returns the mean of a number of bytes of each look.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
pub fn mean(looks: &[Look], of: impl Fn(&Look) -> u64) -> f64 {
    looks.iter().map(|look| of(look) as f64).sum::<f64>() / looks.len() as f64
}

/// Returns the least and the greatest of a number of each look.
#[must_use]
pub fn span<N: Ord + Copy + Default>(looks: &[Look], of: impl Fn(&Look) -> N) -> (N, N) {
    let values = || looks.iter().map(&of);
    (values().min().unwrap_or_default(), values().max().unwrap_or_default())
}

/// Returns the slope of the line of least squares through `(x, y)`; 0 where they have no width.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let width: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let shared: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    if width > 0.0 { shared / width } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_noisy_line_is_that_of_the_line() {
        let noise = [0.5, -0.5, -0.5, 0.5];
        let points: Vec<(f64, f64)> =
            (0..40).map(|n| (f64::from(n), 7.0 + 0.25 * f64::from(n))).collect();
        let noisy: Vec<(f64, f64)> =
            points.iter().zip(noise.iter().cycle()).map(|((x, y), off)| (*x, y + off)).collect();
        assert!((slope(&points) - 0.25).abs() < 1e-9, "{}", slope(&points));
        assert!((slope(&noisy) - 0.25).abs() < 1e-3, "{}", slope(&noisy));
        assert!(slope(&points[..1]).abs() < 1e-9);
    }
}
