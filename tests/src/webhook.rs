//! A receiver of webhooks that can be told how to answer.

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{self, Message};
use crate::wait::until;

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With a status and no body.
    Status(u16),
    /// Not at all, until the other side gives up or the receiver is told otherwise.
    Hang,
}

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The request.
    pub request: Message,
    /// How it was answered.
    pub answer: Answer,
    /// When it was read.
    pub at: Instant,
}

#[derive(Debug)]
struct State {
    answer: Mutex<Answer>,
    deliveries: Mutex<Vec<Delivery>>,
    over: AtomicBool,
}

/// A running receiver.
#[derive(Debug)]
pub struct Webhook {
    state: Arc<State>,
    port: u16,
}

impl Webhook {
    /// Starts one that answers 200.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, deliveries) = (Mutex::new(Answer::Status(200)), Mutex::new(Vec::new()));
        let state = Arc::new(State { answer, deliveries, over: AtomicBool::new(false) });
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

    /// Returns where to deliver to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Answers like this from now on.
    pub fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// Returns what came in so far.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.state.deliveries.lock().unwrap().clone()
    }

    /// Waits for `count` deliveries that were answered with 2xx, and returns all such.
    #[must_use]
    pub fn wait(&self, count: usize, within: Duration) -> Vec<Delivery> {
        let good = || -> Vec<Delivery> {
            let all = self.deliveries().into_iter();
            all.filter(|d| matches!(d.answer, Answer::Status(200..=299))).collect()
        };
        until(&format!("{count} webhooks delivered"), within, || {
            Some(good()).filter(|all| all.len() >= count)
        })
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(state: &State, stream: TcpStream) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = http::read(&mut reader) {
        let answer = *state.answer.lock().unwrap();
        state.deliveries.lock().unwrap().push(Delivery { request, answer, at: Instant::now() });
        let Answer::Status(status) = answer else {
            while *state.answer.lock().unwrap() == Answer::Hang
                && !state.over.load(Ordering::Relaxed)
            {
                thread::sleep(Duration::from_millis(20));
            }
            return;
        };
        if http::respond(&mut writer, status, &[], b"").is_err() {
            return;
        }
    }
}
