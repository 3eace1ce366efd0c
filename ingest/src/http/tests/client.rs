//! A server on a port of its own, and clients of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fake::Fake;
use crate::http::{Limits, Options, Token, serve};
use crate::meter;

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Server {
    pub(super) fake: Arc<Fake>,
    pub(super) address: SocketAddr,
    pub(super) client: Client,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) task: JoinHandle<std::io::Result<()>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(super) fn start() -> Self {
        Self::start_with(Limits::default(), None)
    }

    pub(super) fn start_with(limits: Limits, token: Option<&str>) -> Self {
        store::install_tls_provider();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake::new();
        let (stop, stopped) = oneshot::channel();
        let options = Options {
            token: token.map(|secret| Token::new(secret).unwrap()),
            metrics: meter::install().unwrap(),
            limits,
        };
        let stop_signal = async move { drop(stopped.await) };
        let task = tokio::spawn(serve(listener, Arc::clone(&fake), options, stop_signal));
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { fake, address, client, stop: Some(stop), task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = self.client.request(method, self.url(path)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(super) async fn live(&self, query: &str, last: Option<&str>) -> Live {
        let mut request = self.client.get(self.url(&format!("/api/v1/live{query}")));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut live = Live { response, text: String::new() };
        assert_eq!(live.block().await.as_deref(), Some(": tianlu\nretry: 3000"));
        live
    }
}

/// A live feed that is being read.
pub(super) struct Live {
    response: Response,
    text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: Value,
}

impl Live {
    /// Returns the text up to the next empty line. `None`: the feed is over.
    pub(super) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// Returns the next event, past heartbeats.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("the feed is over");
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(id), Some(data)) =
                (field("event: "), field("id: "), field("data: "))
            {
                let data = serde_json::from_str(data).unwrap();
                return Event { name: name.to_owned(), id: id.to_owned(), data };
            }
        }
    }

    pub(super) async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }
}
