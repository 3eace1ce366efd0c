//! The loop of a listener: one thread, one task for each connection and few for all.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use telemetry::text::say;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::acks::Acks;
use super::config::{ListenerConfig, SetUpError};
use super::fault::Fault;
use super::hub::Hub;
use super::link::{self, Link, Scratch, now};
use super::mailbox::{Change, Commands};
use super::prover::Prover;
use super::terms::Terms;
use super::tls;
use super::turn::Turn;
use crate::meter;
use crate::mqtt::handover::{Handover, Refused};
use crate::mqtt::watchdog::Silence;
use crate::source::{Acknowledge, Alarms, Incoming, Intake, LinkState};

/// How often sessions are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How long to wait after a failed accept: the system is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener whose address is taken.
#[derive(Debug)]
pub struct Listener {
    config: ListenerConfig,
    socket: StdListener,
    address: SocketAddr,
    acceptor: Option<TlsAcceptorOf>,
    handover: Handover,
    acks: Arc<Acks>,
    commands: Commands,
    changed: mpsc::Receiver<Change>,
    link: watch::Sender<LinkState>,
    alarms: watch::Sender<Alarms>,
}

/// Notes what comes, and tells of silence.
struct Ear {
    has_heard: Cell<bool>,
    /// Whether anything is expected.
    expects: Cell<bool>,
    silence: RefCell<Silence>,
    alarms: watch::Sender<Alarms>,
}

impl Ear {
    /// Notes that devices could connect for so long.
    fn listened(&self, passed: Duration) {
        let mut silence = self.silence.borrow_mut();
        let lasting = if self.has_heard.take() {
            self.expects.set(true);
            silence.heard();
            None
        } else {
            self.expects.get().then(|| silence.listened(passed)).flatten()
        };
        let told = lasting.map(|seconds| say("listener.silence", &[("seconds", &seconds)]));
        Alarms::set(&self.alarms, |alarms| &mut alarms.silence, told);
    }
}

/// [`TlsAcceptor`] with a `Debug`.
struct TlsAcceptorOf(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl Listener {
    /// Takes the address and reads the files of TLS. Nothing is accepted before [`Listener::run`].
    ///
    /// # Errors
    /// [`SetUpError`]
    pub fn bind(config: ListenerConfig) -> Result<(Self, Intake, Commands), SetUpError> {
        let address = config.bind;
        let taken = |source| SetUpError::Bind { address, source };
        let or_password = config.credentials.is_some();
        let tls = config.tls.as_ref().map(|files| tls::server_config(files, or_password));
        let acceptor = tls.transpose()?.map(|config| TlsAcceptorOf(TlsAcceptor::from(config)));
        let socket = listen_at(address, config.or_any_port).map_err(taken)?;
        socket.set_nonblocking(true).map_err(taken)?;
        let address = socket.local_addr().map_err(taken)?;
        let (handover, batches) = Handover::new(config.limits.buffer_bytes);
        let (commands, changed) = Commands::new();
        let (link, link_seen) = watch::channel(LinkState::Connecting);
        let (alarms, alarms_seen) = watch::channel(Alarms::default());
        let acks = Arc::new(Acks::default());
        let intake = Intake {
            source: config.source,
            batches,
            acks: acks.clone(),
            link: link_seen,
            alarms: alarms_seen,
        };
        let of_others = commands.clone();
        let listener = Self {
            config,
            socket,
            address,
            acceptor,
            handover,
            acks,
            commands,
            changed,
            link,
            alarms,
        };
        Ok((listener, intake, of_others))
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Listens until `shutdown` is true or its sender is gone, or the journal's side of the intake is. On a thread of
    /// its own, so that nothing else keeps devices waiting.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let (done, finished) = oneshot::channel::<()>();
        let link = self.link.clone();
        let spawned = thread::Builder::new().name("listener".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => LocalSet::new().block_on(&runtime, self.listen(shutdown)),
                Err(error) => self.fail(&error),
            }
            // Nobody waits any more where the service is gone.
            let _told = done.send(());
        });
        if let Err(error) = spawned {
            link.send_replace(down(&error));
            return;
        }
        if finished.await.is_err() {
            let reason = say("ingest.ended", &[("name", &"listener")]);
            link.send_replace(LinkState::Down { reason, remedy: say("ingest.ended.remedy", &[]) });
        }
    }

    fn fail(&self, error: &io::Error) {
        tracing::error!(%error, "the listener cannot run");
        self.link.send_replace(down(error));
    }

    async fn listen(self, mut shutdown: watch::Receiver<bool>) {
        let socket = match TcpListener::from_std(self.socket) {
            Ok(socket) => socket,
            Err(error) => {
                self.link.send_replace(down(&error));
                return;
            }
        };
        let ear = Rc::new(Ear {
            has_heard: Cell::default(),
            expects: Cell::new(self.config.silence_from_start),
            silence: RefCell::new(Silence::new(self.config.silence_after)),
            alarms: self.alarms,
        });
        let ListenerConfig { source, credentials, tls, max_connections, patterns, limits, .. } =
            self.config;
        let has_client_authorities = tls.is_some_and(|files| files.client_ca_file.is_some());
        let prover = Prover::new(credentials, has_client_authorities);
        let terms = Arc::new(Terms { limits, patterns, generation: 0 });
        let max_connections = usize::try_from(max_connections).unwrap_or(usize::MAX);
        let (acks, commands) = (self.acks, self.commands);
        let turn = Turn::new(terms, source);
        let hub = Rc::new(Hub::new(turn, prover, acks, commands, max_connections));
        let handing =
            tokio::task::spawn_local(hand_over(Rc::clone(&hub), self.handover, Rc::clone(&ear)));
        self.link.send_replace(LinkState::Subscribed);
        tracing::info!(address = %self.address, "devices may connect");
        let acceptor = self.acceptor.map(|acceptor| acceptor.0);
        tokio::select! {
            () = stopped(&mut shutdown) => {}
            ended = handing => {
                if let Err(error) = ended { tracing::error!(%error, "records are handed over no more"); }
            }
            () = accept(&hub, &socket, acceptor, max_connections) => {}
            () = keep_time(&hub, &ear) => {}
            () = follow(&hub, self.changed) => {}
        }
        drop(socket);
        self.link.send_replace(LinkState::Connecting);
        stop(&hub, limits.stop_timeout).await;
    }
}

fn down(error: &io::Error) -> LinkState {
    LinkState::Down {
        reason: say("listener.cannot_run", &[("error", error)]),
        remedy: say("listener.cannot_run.remedy", &[]),
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error says that nobody can ask us to stop any more, which is the same.
    drop(shutdown.wait_for(|stop| *stop).await);
}

async fn accept(
    hub: &Rc<Hub>,
    socket: &TcpListener,
    acceptor: Option<TlsAcceptor>,
    max_connections: usize,
) {
    let scratch = Scratch::new(RefCell::new(BytesMut::new()));
    loop {
        match socket.accept().await {
            Ok((_, _)) if hub.connections() >= max_connections => {
                meter::listener_ended(Fault::Busy)
            }
            Ok((stream, peer)) => {
                let member = hub.admit(now());
                let scratch = Rc::clone(&scratch);
                let link = Link { hub: Rc::clone(hub), member, scratch, peer: peer.ip() };
                tokio::task::spawn_local(link::serve(link, stream, acceptor.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Hands over what a turn of the loop gave, all in one batch. It runs after the connections that are ready, since it
/// is woken by the first of them.
async fn hand_over(hub: Rc<Hub>, handover: Handover, ear: Rc<Ear>) {
    loop {
        tokio::select! {
            () = hub.filled.notified() => {}
            () = handover.closed() => return,
        }
        hub.note_records();
        let mut uplinks = hub.turn.borrow_mut().take();
        ear.has_heard.set(true);
        let epoch = hub.turn.borrow().epoch;
        let of_epoch = |uplink: &&Incoming| uplink.ack.is_some_and(|token| token.epoch() == epoch);
        // Before they are given: the acknowledgement may be faster than this thread.
        hub.acks.handed_over(epoch, uplinks.iter().filter(of_epoch).count());
        while !uplinks.is_empty() {
            match handover.give(uplinks) {
                Ok(()) => break,
                Err(Refused::Closed) => return,
                Err(Refused::Full(kept)) => {
                    hub.set_blocked(true);
                    handover.room_for(&kept).await;
                    uplinks = kept;
                }
            }
        }
        hub.set_blocked(false);
    }
}

/// Follows the journal's side, commands and changes.
async fn follow(hub: &Rc<Hub>, mut changed: mpsc::Receiver<Change>) {
    loop {
        tokio::select! {
            () = hub.acks.changed() => hub.handle_progress(now()),
            () = hub.commands.rung() => hub.wake_all(),
            change = changed.recv() => match change {
                Some(change) => hub.handle_change(now(), change),
                None => return,
            },
        }
    }
}

async fn keep_time(hub: &Rc<Hub>, ear: &Ear) {
    loop {
        tokio::time::sleep(SWEEP).await;
        hub.handle_timeout(now());
        // Devices that wait for room, or for the acknowledgement of what they sent, are not silent.
        if hub.is_reading() && hub.acks.unacked() == 0 {
            ear.listened(SWEEP);
        }
    }
}

/// Takes the address, or its host with any other port where that one is taken and any will do.
fn listen_at(address: SocketAddr, or_any_port: bool) -> io::Result<StdListener> {
    match StdListener::bind(address) {
        Err(error) if or_any_port && error.kind() == io::ErrorKind::AddrInUse => {
            StdListener::bind(SocketAddr::new(address.ip(), 0))
        }
        bound => bound,
    }
}

/// Waits shortly for what was handed over, then ends every connection.
async fn stop(hub: &Rc<Hub>, most: Duration) {
    hub.stop();
    let settled = async {
        while !hub.is_settled() {
            hub.acks.changed().await;
            hub.handle_progress(now());
        }
    };
    let in_time = tokio::time::timeout(most, settled).await.is_ok();
    // The connections that were woken write their last acknowledgements.
    tokio::task::yield_now().await;
    hub.end_all(now());
    let gone = async {
        while hub.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let all_gone = tokio::time::timeout(most, gone).await.is_ok();
    tracing::info!(in_time, all_gone, "the listener has stopped");
}
