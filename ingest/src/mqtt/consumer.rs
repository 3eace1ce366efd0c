//! Connection after connection, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::tokio_rustls::TlsConnector;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::client::Dialer;
use super::config::{Address, MqttConfig};
use super::fault::Fault;
use super::handover::{Handover, Refused};
use super::outlet::Outlet;
use super::session::{Desk, End, Session, stopped};
use super::tls::{SetUpError, client_config};
use super::watchdog::{SameError, Silence};
use crate::source::{Alarms, Incoming, Intake, LinkState};

/// Consumes from one broker. It does nothing until [`Consumer::run`] is polled.
pub struct Consumer {
    desk: Desk,
    backoff: Backoff,
    same: SameError,
    /// Messages without an acknowledgement that no batch has taken yet: nobody would send them again.
    leftover: Vec<Incoming>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("config", &self.desk.dialer.config).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Returns the address of its broker.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.desk.dialer.config.address
    }

    /// Makes a consumer and the side that the rest of the process sees. Certificates are read here.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] for certificates that cannot be used.
    pub fn new(config: MqttConfig) -> Result<(Self, Intake), SetUpError> {
        let tls =
            config.address.tls.as_ref().map(client_config).transpose()?.map(TlsConnector::from);
        let outlet = Arc::new(Outlet::new(config.receive_maximum.get().into()));
        let (handover, batches) = Handover::new(config.buffer_bytes);
        let (link, seen_link) = watch::channel(LinkState::Connecting);
        let (alarms, seen_alarms) = watch::channel(Alarms::default());
        let source = config.source;
        let silence = Silence::new(config.silence_after);
        let dialer = Dialer { config: Arc::new(config), tls, outlet: outlet.clone() };
        let desk = Desk { dialer, handover, link, alarms, silence };
        let consumer = Self {
            desk,
            backoff: Backoff::default(),
            same: SameError::default(),
            leftover: Vec::new(),
        };
        Ok((
            consumer,
            Intake { source, batches, acks: outlet, link: seen_link, alarms: seen_alarms },
        ))
    }

    #[cfg(test)]
    pub(crate) fn outlet(&self) -> Arc<Outlet> {
        self.desk.dialer.outlet.clone()
    }

    /// Consumes until `stop` turns true or its sender is dropped, or [`Intake::batches`] is dropped.
    ///
    /// At the end reading stops, acknowledgements of what was handed over are awaited for at most 5 s
    /// and written, and the session is left in order; the broker keeps it and what comes later.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        if self.desk.dialer.config.is_shared() {
            tracing::warn!(
                source = self.desk.dialer.config.source.0,
                "topics has a shared subscription: a device's state is in one process, so its messages must always reach the same one"
            );
        }
        loop {
            let end = self.connection(&mut stop).await;
            match end {
                End::Stopped | End::Gone => return,
                End::Blocked => self.wait_for_room(&mut stop).await,
                End::Again => {
                    // A disk that stays broken must not make us come back without end.
                    let pause = self.backoff.next(fastrand::f64());
                    self.wait_for_room(&mut stop).await;
                    self.pause(pause, &mut stop).await;
                }
                End::Lost(fault) => self.wait_after(&fault, &mut stop).await,
            }
            if *stop.borrow() || stop.has_changed().is_err() || self.desk.handover.is_closed() {
                return;
            }
        }
    }

    async fn connection(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        let (mut session, link) = Session::new(&mut self.desk);
        let end = session.run(link, stop).await;
        let held = session.held;
        // The broker sends again what waits for an acknowledgement.
        self.leftover.extend(
            std::mem::take(&mut session.batch).into_iter().filter(|uplink| uplink.ack.is_none()),
        );
        self.desk.dialer.outlet.close();
        self.desk.dialer.outlet.shut(false);
        if held {
            self.backoff.reset();
            self.same.held();
        }
        end
    }

    async fn wait_for_room(&mut self, stop: &mut watch::Receiver<bool>) {
        self.desk.link.send_replace(LinkState::Blocked);
        tracing::warn!(
            source = self.desk.dialer.config.source.0,
            "intake is blocked; disconnected until there is room"
        );
        tokio::select! {
            () = self.desk.handover.half_empty() => {}
            () = stopped(stop) => {}
        }
        self.give_leftover();
    }

    async fn wait_after(&mut self, fault: &Fault, stop: &mut watch::Receiver<bool>) {
        self.desk.link.send_replace(fault.state());
        let repeated = self.same.failed(&fault.reason);
        let alarm = repeated.is_some();
        Alarms::set(&self.desk.alarms, |alarms| &mut alarms.repeated, repeated);
        let pause = self.backoff.next(fastrand::f64());
        tracing::warn!(source = self.desk.dialer.config.source.0, reason = %fault.reason.en, alarm, ?pause, "no connection to the broker");
        self.pause(pause, stop).await;
        self.give_leftover();
    }

    async fn pause(&self, pause: Duration, stop: &mut watch::Receiver<bool>) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(stop) => {}
        }
    }

    fn give_leftover(&mut self) {
        if self.leftover.is_empty() {
            return;
        }
        if let Err(Refused::Full(uplinks)) =
            self.desk.handover.give(std::mem::take(&mut self.leftover))
        {
            self.leftover = uplinks;
        }
    }
}
