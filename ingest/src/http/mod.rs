//! The HTTP API, the built-in page, the metrics page and the live feed.
//!
//! ```text
//! connection (bounded, timed) ─▶ dress (language, headers, problems) ─▶ admit (token) ─▶ route ─▶ Desk
//!                                                                                 └─▶ live: outbox Reader ─▶ SSE
//! ```
//!
//! - **H1 bounded (P3)**: connections, watchers, readings per watcher and second, bodies, and the time of a
//!   request and of an answer; see [`Limits`].
//! - **H2 isolated (P5)**: each watcher reads the outbox by itself and at its own pace; a slow one holds up
//!   nothing but its own connection.
//! - **H3 honest**: an unknown parameter of the API is an error, and whatever the live feed leaves out it says so.
//! - **H4 no secret leaves**: the token is in no answer, log or `Debug`.
//!
//! It does not: speak TLS (a proxy's work), know the engine (see [`Desk`]), or keep state of its own.

mod alert;
mod command;
mod config;
mod connection;
mod desk;
mod device;
mod gate;
mod history;
mod letter;
mod live;
mod page;
mod params;
mod problem;
mod site;
mod status;
mod strip;
mod token;

use std::future::{Future, IntoFuture};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::meter;
use connection::Bounded;
use problem::{Kind, Problem};

pub use desk::{BalanceAt, Desk, LetterChoice, LetterFilter, LetterLine, NotReady, Unavailable};
pub use token::Token;

/// Bounds of the server (**H1**).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the system's queue. Default 1,024.
    pub connections_max: usize,
    /// Longest time from the first byte of a request to the first byte of its answer. Default 30 s.
    pub request_max: Duration,
    /// Longest time without a byte in an answer or between two requests. Default 60 s.
    pub idle_max: Duration,
    /// Longest time that an answer may take to begin; beyond it 503. Default 20 s.
    pub answer_max: Duration,
    /// Large answers (devices, history, dead letters) at once; further ones wait. Default 8.
    pub large_max: usize,
    /// Watchers of the live feed at once; beyond it 503. Default 200.
    pub watchers_max: usize,
    /// Watchers that read the disk at once. Default 4.
    pub watchers_reading_max: usize,
    /// Readings a watcher gets in a second; beyond it they are skipped, and a `gap` says how many.
    /// Default 2,000.
    pub readings_per_s_max: u32,
    /// Longest silence of the live feed. Default 15 s.
    pub heartbeat: Duration,
    /// Longest time that answers under way may take once the server stops. Default 2 s.
    pub stop_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            request_max: Duration::from_secs(30),
            idle_max: Duration::from_mins(1),
            answer_max: Duration::from_secs(20),
            large_max: 8,
            watchers_max: 200,
            watchers_reading_max: 4,
            readings_per_s_max: 2_000,
            heartbeat: Duration::from_secs(15),
            stop_max: Duration::from_secs(2),
        }
    }
}

/// Options of the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// What requests must bear, but for `/healthz` and the built-in page, which holds no data; `None`: everybody is let in.
    pub token: Option<Token>,
    /// What `/metrics` shows, from [`meter::install`].
    pub metrics: PrometheusHandle,
    /// Bounds.
    pub limits: Limits,
}

/// What every handler sees.
struct App<D> {
    desk: Arc<D>,
    options: Options,
    large: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    watchers_reading: Arc<Semaphore>,
    is_stopping: watch::Receiver<bool>,
}

impl<D> App<D> {
    /// Waits for a turn among the large answers; it lasts until the permit is dropped.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = Arc::clone(&self.large).acquire_owned().await;
        turn.map_err(|_| Problem::say(Kind::Busy, "ingest.http.stopping", &[]))
    }
}

/// Serves until `stop` resolves; then ends the live feeds and gives other answers [`Limits::stop_max`].
///
/// # Errors
///
/// The listener cannot be used by the runtime. Later errors of single connections end only those.
pub async fn serve<D: Desk>(
    listener: TcpListener,
    desk: Arc<D>,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stopping, is_stopping) = watch::channel(false);
    let limits = options.limits;
    let metrics = options.metrics.clone();
    let app = Arc::new(App {
        desk,
        options,
        large: Arc::new(Semaphore::new(limits.large_max)),
        watchers: Arc::new(Semaphore::new(limits.watchers_max)),
        watchers_reading: Arc::new(Semaphore::new(limits.watchers_reading_max)),
        is_stopping: is_stopping.clone(),
    });
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let serving = axum::serve(Bounded::new(listener, limits), router(app));
    let serving = serving.with_graceful_shutdown(stop).into_future();
    tokio::select! {
        ended = serving => ended,
        () = overdue(is_stopping, limits.stop_max) => Ok(()),
        () = meter::upkeep(metrics) => Ok(()),
    }
}

/// Resolves when what is under way has had its time.
async fn overdue(mut is_stopping: watch::Receiver<bool>, stop_max: Duration) {
    // An error means that the sender is gone, which `serving` tells better.
    if is_stopping.wait_for(|stopping| *stopping).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(stop_max).await;
}

fn router<D: Desk>(app: Arc<App<D>>) -> Router {
    Router::new()
        .route("/", get(page::entry))
        .route("/page/{version}/{name}", get(page::asset))
        .route("/healthz", get(status::alive))
        .route("/readyz", get(status::ready::<D>))
        .route("/metrics", get(status::metrics::<D>))
        .route("/api/v1/balance", get(status::balance::<D>))
        .route("/api/v1/devices", get(device::list::<D>))
        .route("/api/v1/devices/{tenant}/{device}", get(device::show::<D>))
        .route("/api/v1/devices/{tenant}/{device}/commands", post(command::send::<D>))
        .route("/api/v1/range", get(history::range::<D>))
        .route("/api/v1/matrix", get(strip::matrix::<D>))
        .route("/api/v1/sites", get(site::list::<D>))
        .route("/api/v1/rules", get(config::rules::<D>))
        .route("/api/v1/profiles", get(config::profiles::<D>))
        .route("/api/v1/alerts", get(alert::list::<D>))
        .route("/api/v1/deadletters", get(letter::list::<D>))
        .route("/api/v1/deadletters/redrive", post(letter::redrive::<D>))
        .route("/api/v1/deadletters/{id}", get(letter::show::<D>))
        .route("/api/v1/live", get(live::watch::<D>))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), gate::in_time::<D>))
        .layer(from_fn_with_state(Arc::clone(&app), gate::admit::<D>))
        .layer(from_fn(gate::dress))
        .with_state(app)
}

#[cfg(test)]
mod tests;
