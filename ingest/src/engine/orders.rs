//! What others ask of the journal's writer, and the space that both logs share.

use std::sync::atomic::{AtomicU64, Ordering};

use journal::{ReadFrom, Reader};
use pipeline::record::Record;
use telemetry::time::IngestTime;
use tokio::sync::{mpsc, oneshot};

/// Makes a record for the time at which it is appended.
pub type MakeRecord = Box<dyn FnOnce(IngestTime) -> Record<'static> + Send>;

/// What others ask of the writer.
pub enum Order {
    /// Append a record; the answer is its position once it is durable.
    Append(MakeRecord, oneshot::Sender<Result<u64, NotDurable>>),
    /// Remove whole segments that hold only records below a position.
    Cut(u64),
    /// Give a reader of the journal.
    Reader(ReadFrom, oneshot::Sender<Reader>),
    /// Make everything durable and end.
    Stop,
}

/// The record is not on disk; it may be ordered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal could not make the record durable")]
pub struct NotDurable;

/// A record on its way to the disk.
#[derive(Debug)]
pub struct Promise(oneshot::Receiver<Result<u64, NotDurable>>);

impl Promise {
    /// Waits until the record is durable; returns its position.
    ///
    /// # Errors
    ///
    /// [`NotDurable`] where the disk failed or the writer has ended.
    pub async fn durable(self) -> Result<u64, NotDurable> {
        self.0.await.map_err(|_| NotDurable)?
    }
}

/// Where orders go.
#[derive(Clone)]
pub struct Orders(pub(crate) mpsc::Sender<Order>);

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}

impl Orders {
    /// Orders a record; the promise is kept once it is durable.
    ///
    /// # Errors
    ///
    /// [`NotDurable`] where the writer has ended.
    pub async fn order(&self, make: MakeRecord) -> Result<Promise, NotDurable> {
        let (done, durable) = oneshot::channel();
        self.0.send(Order::Append(make, done)).await.map_err(|_| NotDurable)?;
        Ok(Promise(durable))
    }

    /// Appends a record and waits until it is durable.
    ///
    /// # Errors
    ///
    /// [`NotDurable`] where the disk failed or the writer has ended.
    pub async fn append(&self, make: MakeRecord) -> Result<u64, NotDurable> {
        self.order(make).await?.durable().await
    }

    /// Returns a reader of the journal. `None`: the writer has ended.
    pub async fn reader(&self, from: ReadFrom) -> Option<Reader> {
        let (reply, reader) = oneshot::channel();
        self.0.send(Order::Reader(from, reply)).await.ok()?;
        reader.await.ok()
    }
}

/// Space that both logs take, shared by writer and driver.
#[derive(Debug, Default)]
pub struct Space {
    /// Bytes of the journal's segments.
    pub journal: AtomicU64,
    /// Bytes of the outbox's segments.
    pub outbox: AtomicU64,
}

impl Space {
    /// Returns the bytes of both logs.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.journal.load(Ordering::Relaxed).saturating_add(self.outbox.load(Ordering::Relaxed))
    }
}
