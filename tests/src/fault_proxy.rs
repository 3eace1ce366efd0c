//! A proxy in front of InfluxDB that can be told to fail.

use std::io::BufReader;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{self, Call, Message};

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    Pass,
    /// The connection is closed without an answer.
    Refuse,
    /// It is read and never answered.
    Hang,
    /// It passes after a while.
    Slow(Duration),
    /// So many of them are answered with a status and, where given, `Retry-After` in seconds; then they pass.
    Answer {
        /// How many.
        times: u32,
        /// The status.
        status: u16,
        /// Seconds in `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Bodies above so many bytes are answered with 413; others pass.
    TooLargeAbove(usize),
}

#[derive(Debug)]
struct State {
    target: String,
    fault: Mutex<Fault>,
    failed: AtomicU64,
    stored: AtomicU64,
    writes: Mutex<Vec<Instant>>,
    over: AtomicBool,
}

/// A running proxy. Only writes (`/api/v2/write`) meet the fault; `Refuse` and `Hang` meet everything.
#[derive(Debug)]
pub struct FaultProxy {
    state: Arc<State>,
    port: u16,
}

impl FaultProxy {
    /// Starts one in front of `target` (`127.0.0.1:port`).
    #[must_use]
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target: target.to_owned(),
            fault: Mutex::new(Fault::Pass),
            failed: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            writes: Mutex::new(Vec::new()),
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { state, port }
    }

    /// Returns `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Fails like this from now on.
    pub fn fault(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Returns how many requests met a fault other than slowness.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.state.failed.load(Ordering::Relaxed)
    }

    /// Returns how many writes were answered with 204.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.state.stored.load(Ordering::Relaxed)
    }

    /// Returns when each write came in.
    #[must_use]
    pub fn writes(&self) -> Vec<Instant> {
        self.state.writes.lock().unwrap().clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(state: &State, stream: TcpStream) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = http::read(&mut reader) {
        let Some(answer) = meet(state, &request) else {
            drop(writer.shutdown(Shutdown::Both));
            return;
        };
        // Length and coding are set anew for the whole body.
        let own = ["content-length", "transfer-encoding", "connection"];
        let headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .cloned()
            .collect();
        if http::respond(&mut writer, answer.status(), &headers, &answer.body).is_err() {
            return;
        }
        if is_write(&request) && answer.status() == 204 {
            state.stored.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn is_write(request: &Message) -> bool {
    request.target().contains("/api/v2/write")
}

/// Returns the answer to a request; `None`: none comes.
fn meet(state: &State, request: &Message) -> Option<Message> {
    let write = is_write(request);
    if write {
        state.writes.lock().unwrap().push(Instant::now());
    }
    let fault = current(state, request, write);
    if matches!(fault, Fault::Refuse | Fault::Hang | Fault::Answer { .. }) {
        state.failed.fetch_add(1, Ordering::Relaxed);
    }
    match fault {
        Fault::Refuse => None,
        Fault::Hang => {
            while *state.fault.lock().unwrap() == Fault::Hang && !state.over.load(Ordering::Relaxed)
            {
                thread::sleep(Duration::from_millis(20));
            }
            None
        }
        Fault::Slow(wait) => {
            thread::sleep(wait);
            forward(state, request)
        }
        Fault::Answer { status, retry_after, .. } => {
            let retry = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
            let headers = [("content-type".to_owned(), "application/json".to_owned())];
            let body = br#"{"code":"proof","message":"told to fail"}"#.to_vec();
            Some(Message {
                start: format!("HTTP/1.1 {status} Fault"),
                headers: headers.into_iter().chain(retry).collect(),
                body,
            })
        }
        Fault::Pass | Fault::TooLargeAbove(_) => forward(state, request),
    }
}

/// Returns the fault this request meets, counting down those that are limited.
fn current(state: &State, request: &Message, write: bool) -> Fault {
    let mut fault = state.fault.lock().unwrap();
    match *fault {
        Fault::Slow(_) | Fault::Answer { .. } | Fault::TooLargeAbove(_) if !write => Fault::Pass,
        Fault::Answer { times: 0, .. } => Fault::Pass,
        Fault::Answer { times, status, retry_after } => {
            *fault = Fault::Answer { times: times - 1, status, retry_after };
            Fault::Answer { times, status, retry_after }
        }
        Fault::TooLargeAbove(most) if request.body.len() > most => {
            Fault::Answer { times: 1, status: 413, retry_after: None }
        }
        other @ (Fault::Pass
        | Fault::Refuse
        | Fault::Hang
        | Fault::Slow(_)
        | Fault::TooLargeAbove(_)) => other,
    }
}

fn forward(state: &State, request: &Message) -> Option<Message> {
    let own = ["host", "content-length", "transfer-encoding", "connection", "expect"];
    let headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !own.contains(name))
        .collect();
    let url = format!("http://{}{}", state.target, request.target());
    http::send(Call { method: request.method(), url: &url, headers: &headers, body: &request.body })
        .ok()
}
