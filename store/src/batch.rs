//! Points on their way to the store: already encoded, numbered as in the outbox.

use bytes::Bytes;

/// Names one entry of the outbox: `position.index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// Position of the journal record the point was derived from.
    pub position: u64,
    /// Index among the results of that record.
    pub index: u32,
}

/// One point of the outbox.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its number in the outbox.
    pub key: EntryKey,
    /// One line of line protocol with a time in nanoseconds; a trailing newline is allowed.
    pub line: &'a [u8],
}

/// The bounds of one batch, and how long it may wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most lines; at least 1 counts.
    pub lines_max: usize,
    /// Most bytes, newlines included. One longer line is still taken, alone.
    pub bytes_max: usize,
    /// How long the first line may wait for the batch to fill; the caller keeps it.
    pub wait_max: std::time::Duration,
}

impl Default for BatchLimits {
    /// 5,000 lines is what InfluxDB advises; 4 MiB stays under the body limits of common proxies.
    fn default() -> Self {
        Self {
            lines_max: 5_000,
            bytes_max: 4 << 20,
            wait_max: std::time::Duration::from_millis(200),
        }
    }
}

/// The batch is full: seal it, and push the same entry to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("add a line to a full batch")]
pub struct Full;

/// Collects entries into a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    limits: BatchLimits,
    body: Vec<u8>,
    ends: Vec<usize>,
    keys: Vec<EntryKey>,
}

impl BatchBuilder {
    /// Makes an empty batch with these bounds.
    #[must_use]
    pub const fn new(limits: BatchLimits) -> Self {
        Self { limits, body: Vec::new(), ends: Vec::new(), keys: Vec::new() }
    }

    /// Adds one entry.
    ///
    /// # Errors
    ///
    /// [`Full`]: nothing was added. Never on an empty batch, however long the line.
    pub fn push(&mut self, entry: Entry<'_>) -> Result<(), Full> {
        let line = entry.line.strip_suffix(b"\n").unwrap_or(entry.line);
        let over = self.body.len() + line.len() + 1 > self.limits.bytes_max;
        if !self.keys.is_empty() && (over || self.keys.len() >= self.limits.lines_max) {
            return Err(Full);
        }
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.ends.push(self.body.len());
        self.keys.push(entry.key);
        Ok(())
    }

    /// Returns how many lines are in.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether no line is in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns whether another line of any length would be refused.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        !self.keys.is_empty()
            && (self.keys.len() >= self.limits.lines_max
                || self.body.len() >= self.limits.bytes_max)
    }

    /// Takes the batch out and begins a new one with the same bounds. `None`: it is empty.
    #[must_use]
    pub fn seal(&mut self) -> Option<Batch> {
        if self.keys.is_empty() {
            return None;
        }
        Some(Batch {
            body: Bytes::from(std::mem::take(&mut self.body)),
            ends: std::mem::take(&mut self.ends).into(),
            keys: std::mem::take(&mut self.keys).into(),
        })
    }
}

/// Lines to write in one request, each with its key; at least one. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Batch {
    body: Bytes,
    ends: std::sync::Arc<[usize]>,
    keys: std::sync::Arc<[EntryKey]>,
}

impl Batch {
    /// Returns how many lines it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether it has no line; a sealed batch always has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the keys in the order of the lines.
    #[must_use]
    pub fn keys(&self) -> &[EntryKey] {
        &self.keys
    }

    /// Returns the key of the last line: where a cursor stands once all of it is settled.
    #[must_use]
    pub fn last_key(&self) -> Option<EntryKey> {
        self.keys.last().copied()
    }

    /// Returns all lines, each ended by a newline.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns line `at` without its newline; empty where there is none.
    #[must_use]
    pub fn line(&self, at: usize) -> &[u8] {
        let before = at.checked_sub(1).map_or(Some(0), |last| self.ends.get(last).copied());
        let end = self.ends.get(at).map(|end| end.saturating_sub(1));
        before.zip(end).and_then(|(from, to)| self.body.get(from..to)).unwrap_or_default()
    }

    /// Returns the key of line `at`.
    pub(crate) fn key(&self, at: usize) -> Option<EntryKey> {
        self.keys.get(at).copied()
    }

    /// Returns the lines `at` as one body, in that order.
    pub(crate) fn pick(&self, at: impl IntoIterator<Item = usize>) -> Bytes {
        let mut body = Vec::new();
        for at in at {
            body.extend_from_slice(self.line(at));
            body.push(b'\n');
        }
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry(index: u32, line: &[u8]) -> Entry<'_> {
        Entry { key: EntryKey { position: 7, index }, line }
    }

    #[test]
    fn a_batch_ends_at_its_bounds_and_keeps_every_line_with_its_key() {
        let mut builder = BatchBuilder::new(BatchLimits {
            lines_max: 2,
            bytes_max: 10,
            ..BatchLimits::default()
        });
        assert!(builder.seal().is_none());
        builder.push(entry(0, b"abc\n")).unwrap();
        builder.push(entry(1, b"de")).unwrap();
        assert!(builder.is_full());
        assert_eq!(builder.push(entry(2, b"f")), Err(Full));
        let batch = builder.seal().unwrap();
        assert_eq!(&batch.body()[..], b"abc\nde\n");
        assert_eq!([batch.line(0), batch.line(1), batch.line(2)], [&b"abc"[..], b"de", b""]);
        assert_eq!(batch.last_key(), Some(EntryKey { position: 7, index: 1 }));
        assert_eq!(&batch.pick([1])[..], b"de\n");
        builder.push(entry(2, b"longer than the bound of bytes")).unwrap();
        assert_eq!(builder.push(entry(3, b"g")), Err(Full), "a line over the bound travels alone");
    }
}
