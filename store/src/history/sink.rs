//! A file on its way to the disk: written under a temporary name, checked by sums, then named.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};
use journal::{Disk, DiskFile};

/// Bytes that one checksum covers: what a reader must read to trust any of it.
pub(super) const BLOCK: usize = 64 << 10;

/// Takes the bytes of a file in order. What stands before [`Sink::begin_tail`] has a sum for each block,
/// what stands behind it has one sum.
#[derive(Debug)]
pub(super) struct Sink {
    file: Arc<dyn DiskFile>,
    written: u64,
    block: Vec<u8>,
    sums: Vec<u32>,
    tail: Option<(u32, u32)>,
}

impl Sink {
    /// Creates the file.
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.create(path)?;
        Ok(Self {
            file,
            written: 0,
            block: Vec::with_capacity(BLOCK),
            sums: Vec::new(),
            tail: None,
        })
    }

    /// Ends the data and returns the sums of its blocks.
    pub(super) fn begin_tail(&mut self) -> io::Result<Vec<u32>> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.tail = Some((0, 0));
        Ok(std::mem::take(&mut self.sums))
    }

    /// Makes the file durable; returns its length, and length and sum of its tail.
    pub(super) fn finish(mut self) -> io::Result<(u64, u32, u32)> {
        self.write_block()?;
        self.file.sync_all()?;
        let (bytes, sum) = self.tail.unwrap_or_default();
        Ok((self.written, bytes, sum))
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.tail.is_none() {
            self.sums.push(crc32c(&self.block));
        }
        self.write_block()
    }

    fn write_block(&mut self) -> io::Result<()> {
        let mut bytes = self.block.as_slice();
        while !bytes.is_empty() {
            match self.file.write_at(bytes, self.written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    self.written += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.block.clear();
        Ok(())
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(BLOCK - self.block.len());
        let bytes = bytes.get(..n).unwrap_or_default();
        self.block.extend_from_slice(bytes);
        if let Some((length, sum)) = &mut self.tail {
            *length += u32::try_from(n).unwrap_or(u32::MAX);
            *sum = crc32c_append(*sum, bytes);
        }
        if self.block.len() == BLOCK {
            self.end_block()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Whole blocks only: a sum stands for a block.
        Ok(())
    }
}

/// Adds a suffix to the name of a file.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
