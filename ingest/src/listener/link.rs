//! Serves one connection: moves bytes between its socket and its state machine. It decides nothing about MQTT.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::poll_read_buf;

use super::connection::Wish;
use super::fault::Fault;
use super::greet::{Checking, greet, run};
use super::hub::{Hub, Member};
use super::prover::Verdict;
use super::transport::Transport;

/// Bytes read at once, and from one connection before others have their turn.
const READ_BYTES: usize = 64 << 10;
/// The buffer that slow connections share: their messages hold slices of it until they are durable.
const SCRATCH_BYTES: usize = 256 << 10;
/// What the rest of a packet grows by while the client is slow.
const REST_BYTES: usize = 4 << 10;
/// How long the last answer may take to leave.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// One buffer for the reads of all connections, so that an idle one has none.
pub(crate) type Scratch = Rc<RefCell<BytesMut>>;

/// What is needed to serve a connection.
pub(crate) struct Link {
    pub(crate) hub: Rc<Hub>,
    pub(crate) member: Rc<Member>,
    pub(crate) scratch: Scratch,
    pub(crate) peer: IpAddr,
}

/// Serves a connection to its end.
pub(crate) async fn serve(link: Link, socket: TcpStream, acceptor: Option<TlsAcceptor>) {
    let (hub, member) = (Rc::clone(&link.hub), Rc::clone(&link.member));
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its small packets back");
    }
    if let Some((transport, certificate)) = greet(&link, socket, acceptor).await {
        let mut served = Served {
            link,
            transport,
            certificate,
            rest: BytesMut::new(),
            checking: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            stuck_since: None,
            is_busy: false,
        };
        poll_fn(|cx| served.poll(cx)).await;
        if served.checking.take().is_some() {
            drop(hub.prover.borrow_mut().handle_checked(served.link.peer, None));
        }
    }
    hub.dismiss(now(), &member);
}

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Served {
    link: Link,
    transport: Transport,
    certificate: Option<String>,
    /// The start of a packet whose end is not there yet.
    rest: BytesMut,
    checking: Option<Checking>,
    timer: Pin<Box<Sleep>>,
    /// Since when the client takes no answer.
    stuck_since: Option<Instant>,
    /// The last read filled the buffer.
    is_busy: bool,
}

/// What one try to read gave.
enum Read {
    Bytes,
    Nothing,
    End,
}

impl Served {
    /// Does what can be done now; ready once the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let member = Rc::clone(&self.link.member);
        member.set_waker(cx.waker());
        let now = now();
        {
            let mut connection = member.connection.borrow_mut();
            connection.handle_durable(self.link.hub.durable());
            connection.handle_commands(&mut self.link.hub.turn.borrow_mut());
        }
        if self.check_clock(now, cx) == Poll::Ready(()) {
            return Poll::Ready(());
        }
        let mut budget = READ_BYTES;
        loop {
            if self.write(now, cx).is_err() {
                return Poll::Ready(());
            }
            if member.has_ended() {
                return self.leave(now, cx);
            }
            if self.grant_wish(now, cx) {
                continue;
            }
            match self.read(now, &mut budget, cx) {
                Read::Bytes if budget > 0 => {}
                Read::Bytes => {
                    cx.waker().wake_by_ref();
                    break;
                }
                Read::Nothing => break,
                Read::End => {
                    let hub = &self.link.hub;
                    member.connection.borrow_mut().end(
                        now,
                        Fault::Lost,
                        &mut hub.turn.borrow_mut(),
                    );
                    return Poll::Ready(());
                }
            }
        }
        self.register(now, cx);
        Poll::Pending
    }

    /// Looks at every time-out.
    fn check_clock(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let hub = &self.link.hub;
        let limits = hub.turn.borrow().terms.limits;
        let is_stuck =
            |since: Instant| now.saturating_duration_since(since) >= limits.stuck_timeout;
        let is_reading = hub.is_reading();
        let mut connection = self.link.member.connection.borrow_mut();
        let turn = &mut hub.turn.borrow_mut();
        if self.stuck_since.is_some_and(is_stuck) {
            connection.end(now, Fault::Stuck, turn);
            return Poll::Ready(());
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            // A client that leaves its answers unread is judged by that.
            let is_read = self.stuck_since.is_none()
                && is_reading
                && (connection.wants_bytes(&turn.terms) || connection.unacked() == 0);
            connection.handle_timeout(now, is_read, turn);
        }
        Poll::Pending
    }

    /// Writes what there is to write. An error ends the connection.
    fn write(&mut self, now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        let mut connection = self.link.member.connection.borrow_mut();
        let answers = &mut connection.answers;
        while !answers.is_empty() {
            match Pin::new(&mut self.transport).poll_write(cx, answers) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    answers.advance(written);
                    self.stuck_since = None;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.stuck_since.get_or_insert(now);
                    return Ok(());
                }
            }
        }
        if answers.capacity() > REST_BYTES {
            *answers = BytesMut::new();
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.transport).poll_flush(cx) {
            return Err(error);
        }
        Ok(())
    }

    /// Lets the last answer leave, then closes.
    fn leave(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.link.hub.settle(now, &self.link.member);
        let connection = self.link.member.connection.borrow();
        let is_said = matches!(connection.ended(), Some(Fault::Goodbye | Fault::Lost));
        let is_written = connection.answers.is_empty();
        drop(connection);
        if is_written
            && Pin::new(&mut self.transport).poll_shutdown(cx).is_ready()
            && (is_said || self.drain(cx))
        {
            return Poll::Ready(());
        }
        let since = *self.stuck_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= GOODBYE_MAX {
            return Poll::Ready(());
        }
        self.arm(since + GOODBYE_MAX, cx);
        Poll::Pending
    }

    /// Throws away what still comes: closing before it is read would take our last answer along. Returns whether the
    /// client has closed.
    fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        let mut scratch = self.link.scratch.borrow_mut();
        make_room(&mut scratch, SCRATCH_BYTES);
        let read = poll_read_buf(
            Pin::new(&mut self.transport),
            cx,
            &mut (&mut *scratch).limit(REST_BYTES),
        );
        scratch.clear();
        match read {
            Poll::Pending => false,
            Poll::Ready(Err(_) | Ok(0)) => true,
            Poll::Ready(Ok(_)) => {
                cx.waker().wake_by_ref();
                false
            }
        }
    }

    /// Gets the connection what it waits for; returns whether it got it.
    fn grant_wish(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Link { hub, member, peer, .. } = &self.link;
        if let Some(checking) = &mut self.checking {
            let Poll::Ready(checked) = checking.as_mut().poll(cx) else { return false };
            self.checking = None;
            let proven = hub.prover.borrow_mut().handle_checked(*peer, checked);
            self.proven(now, proven);
            return true;
        }
        let mut connection = member.connection.borrow_mut();
        match connection.poll_wish() {
            Wish::Nothing => false,
            Wish::Proof(connect) => {
                let certificate = self.certificate.as_deref();
                let verdict = hub.prover.borrow_mut().look(connect, certificate, *peer);
                drop(connection);
                match verdict {
                    Verdict::Settled(proven) => self.proven(now, proven),
                    Verdict::Unsettled(check) => self.checking = Some(run(hub, check)),
                }
                true
            }
            Wish::Session(key, is_clean) => {
                let opened = hub.open(now, member.number, (&key, is_clean));
                let turn = &mut hub.turn.borrow_mut();
                connection.handle_session(now, opened, turn);
                connection.handle_commands(turn);
                true
            }
        }
    }

    fn proven(&self, now: Instant, proven: Result<super::terms::Identity, Fault>) {
        let Link { hub, member, .. } = &self.link;
        // Of this process alone, so that it is nobody's but this connection's.
        let assigned = format!("tianlu-{}-{}", std::process::id(), member.number);
        let turn = &mut hub.turn.borrow_mut();
        member.connection.borrow_mut().handle_proven(now, proven, &assigned, turn);
    }

    /// Reads once, if the connection wants bytes and there is room for what they bring.
    fn read(&mut self, now: Instant, budget: &mut usize, cx: &mut Context<'_>) -> Read {
        let Link { hub, member, scratch, .. } = &self.link;
        if !hub.is_reading() {
            hub.await_room(member);
            return Read::Nothing;
        }
        let wants = member.connection.borrow().wants_bytes(&hub.turn.borrow().terms);
        if !wants || self.stuck_since.is_some() {
            return Read::Nothing;
        }
        let mut scratch = scratch.borrow_mut();
        let is_fresh = self.rest.is_empty();
        let buffer = if is_fresh { &mut *scratch } else { &mut self.rest };
        // Packets that were left when the connection paused come before new ones.
        let before = buffer.len();
        hand_in(hub, member, now, buffer);
        if buffer.len() == before {
            make_room(
                buffer,
                if is_fresh {
                    SCRATCH_BYTES
                } else if self.is_busy {
                    READ_BYTES
                } else {
                    REST_BYTES
                },
            );
            let most = READ_BYTES.min(*budget).min(buffer.capacity() - buffer.len());
            match poll_read_buf(Pin::new(&mut self.transport), cx, &mut (&mut *buffer).limit(most))
            {
                Poll::Pending => return Read::Nothing,
                Poll::Ready(Err(_) | Ok(0)) => return Read::End,
                Poll::Ready(Ok(count)) => {
                    self.is_busy = count >= most;
                    *budget = budget.saturating_sub(count);
                }
            }
            hand_in(hub, member, now, buffer);
        }
        if is_fresh {
            self.rest = BytesMut::from(&**scratch);
            scratch.clear();
        } else if self.rest.is_empty() {
            self.rest = BytesMut::new();
        }
        Read::Bytes
    }

    /// Asks to be woken when something is due.
    fn register(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Link { hub, member, .. } = &self.link;
        let connection = member.connection.borrow();
        if let Some(record) = connection.awaits() {
            hub.await_durable(member, record);
        }
        let terms = &hub.turn.borrow().terms.clone();
        let due = connection.poll_timeout(terms).unwrap_or(now + GOODBYE_MAX);
        drop(connection);
        let due = self.stuck_since.map_or(due, |since| due.min(since + terms.limits.stuck_timeout));
        self.arm(due, cx);
    }

    /// Sets the timer, unless it is early enough: a timer that fires early is set again then.
    fn arm(&mut self, due: Instant, cx: &mut Context<'_>) {
        let due = tokio::time::Instant::from_std(due);
        if self.timer.is_elapsed() || self.timer.deadline() > due {
            self.timer.as_mut().reset(due);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// Makes room for another read; a buffer that has some keeps what it has.
fn make_room(buffer: &mut BytesMut, bytes: usize) {
    if buffer.capacity() - buffer.len() < REST_BYTES.min(bytes) {
        buffer.reserve(bytes);
    }
}

/// Hands bytes to the state machine.
fn hand_in(hub: &Rc<Hub>, member: &Rc<Member>, now: Instant, bytes: &mut BytesMut) {
    let turn = &mut hub.turn.borrow_mut();
    member.connection.borrow_mut().handle_bytes(now, bytes, turn);
    let has_news = !turn.is_empty() || !turn.subscribed.is_empty() || turn.dropped != [0; 3];
    if has_news {
        hub.filled.notify_one();
    }
}
