//! A device or gateway that publishes at QoS 1 with a window, and knows what was acknowledged.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::mqtt::{Connection, PUBACK, publish};
use crate::wait::until;

/// Messages put into one write.
const BATCH: usize = 200;

/// One message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// Makes an uplink of `device` of the tenant `t1` and the site `s1`.
    #[must_use]
    pub fn uplink(device: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: format!("tianlu/v1/t1/s1/{device}/up"), payload: payload.into() }
    }
}

/// A publisher with a window of unacknowledged messages; connects again where the broker goes away.
#[derive(Debug)]
pub struct Publisher {
    address: String,
    id: String,
    /// Messages sent and not acknowledged, at most.
    pub window: usize,
    /// Messages a second, at most; `None`: as fast as the window lets.
    pub per_second: Option<u32>,
    /// How many messages may have been sent by now; `None`: all.
    pub released: Option<Arc<AtomicUsize>>,
    /// Marks what is sent again as duplicate (DUP).
    pub mark_again: bool,
    /// How long a whole [`Publisher::send`] may take.
    pub within: Duration,
}

struct Run<'a> {
    messages: &'a [Message],
    waiting: VecDeque<(usize, bool)>,
    flying: HashMap<u16, usize>,
    acknowledged: Vec<usize>,
    next_id: u16,
    sent: usize,
    began: Instant,
}

impl Publisher {
    /// Makes a publisher with a window of 100 and no limit of its rate.
    #[must_use]
    pub fn new(address: &str, id: &str) -> Self {
        let (address, id) = (address.to_owned(), id.to_owned());
        Self {
            address,
            id,
            window: 100,
            per_second: None,
            released: None,
            mark_again: true,
            within: Duration::from_mins(2),
        }
    }

    /// Publishes all `messages`, in order but for what is sent again, until each is acknowledged; returns
    /// their indexes in the order of the acknowledgements.
    pub fn send(&self, messages: &[Message]) -> Vec<usize> {
        let mut run = Run {
            messages,
            waiting: (0..messages.len()).map(|index| (index, false)).collect(),
            flying: HashMap::new(),
            acknowledged: Vec::with_capacity(messages.len()),
            next_id: 0,
            sent: 0,
            began: Instant::now(),
        };
        while run.acknowledged.len() < messages.len() {
            let mut connection = self.connect();
            if let Err(error) = self.exchange(&mut run, &mut connection) {
                assert!(
                    run.began.elapsed() < self.within,
                    "{} of {} messages acknowledged within {:?}: {error}",
                    run.acknowledged.len(),
                    messages.len(),
                    self.within
                );
                run.fly_again();
            }
        }
        run.acknowledged
    }

    fn connect(&self) -> Connection {
        let what = format!("the broker at {} to take the publisher {}", self.address, self.id);
        until(&what, self.within, || Connection::open(&self.address, &self.id, true).ok())
    }

    fn exchange(&self, run: &mut Run<'_>, connection: &mut Connection) -> io::Result<()> {
        while run.acknowledged.len() < run.messages.len() {
            let room = self.room(run);
            if room > 0 {
                let bytes = run.next(room, self.mark_again);
                connection.writer.write_all(&bytes)?;
            }
            if run.began.elapsed() > self.within {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let must_wait = run.waiting.is_empty() || run.flying.len() >= self.window;
            take_acks(
                run,
                connection,
                if must_wait { Duration::from_secs(1) } else { Duration::from_millis(1) },
            )?;
        }
        Ok(())
    }

    fn room(&self, run: &Run<'_>) -> usize {
        let released = self.released.as_ref().map_or(usize::MAX, |all| all.load(Ordering::Relaxed));
        let room = run.waiting.len().min(self.window - run.flying.len()).min(BATCH);
        let room = room.min(released.saturating_sub(run.sent));
        let Some(rate) = self.per_second else { return room };
        let due = run.began.elapsed().as_millis() * u128::from(rate) / 1000 + 1;
        room.min(usize::try_from(due).unwrap().saturating_sub(run.sent))
    }
}

impl Run<'_> {
    fn next(&mut self, room: usize, mark_again: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, again) in self.waiting.drain(..room) {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            while self.flying.contains_key(&self.next_id) {
                self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            }
            self.flying.insert(self.next_id, index);
            let message = &self.messages[index];
            bytes.extend(publish(
                &message.topic,
                self.next_id,
                &message.payload,
                again && mark_again,
            ));
        }
        self.sent += room;
        bytes
    }

    /// Puts what was not acknowledged back in front, in order.
    fn fly_again(&mut self) {
        let mut lost: Vec<usize> = std::mem::take(&mut self.flying).into_values().collect();
        lost.sort_unstable();
        self.sent -= lost.len();
        for index in lost.into_iter().rev() {
            self.waiting.push_front((index, true));
        }
    }
}

/// Takes the acknowledgements that have come, waiting at most `wait` for the first.
fn take_acks(run: &mut Run<'_>, connection: &mut Connection, wait: Duration) -> io::Result<()> {
    connection.writer.set_read_timeout(Some(wait))?;
    if connection.reader.buffer().is_empty() {
        match io::BufRead::fill_buf(&mut connection.reader) {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(e) => return Err(e),
        }
    }
    connection.writer.set_read_timeout(Some(Duration::from_secs(5)))?;
    while !connection.reader.buffer().is_empty() {
        let packet = connection.read()?;
        if packet.head == PUBACK {
            let id = u16::from_be_bytes([packet.body[0], packet.body[1]]);
            run.acknowledged.extend(run.flying.remove(&id));
        }
    }
    Ok(())
}
