//! A small HTTP proxy before the real server, which does to writes what its script says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one write.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// It is passed on.
    Pass,
    /// It is answered with status, extra header lines and body.
    Answer(u16, &'static str, &'static str),
    /// It is never answered.
    Hang,
    /// It is passed on after a while.
    Slow(Duration),
    /// The connection closes before the server hears of it.
    Close,
    /// The server takes it, and its answer is lost.
    LoseAnswer,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Script {
    acts: VecDeque<Act>,
    /// Once `acts` is used up; `None`: pass.
    always: Option<Act>,
    /// The script counts for every request, not for writes alone.
    everything: bool,
    writes: Vec<Seen>,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy that serves `prefix` (`""`, or `/influx`) and answers 404 elsewhere.
    pub(crate) async fn start(target: SocketAddr, prefix: &'static str, acts: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            acts: acts.iter().cloned().collect(),
            ..Script::default()
        }));
        let shared = Arc::clone(&script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                tokio::spawn(async move { while_open(stream, target, prefix, &script).await });
            }
        });
        Self { address, script, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does the same to each write from now on.
    pub(crate) fn always(&self, act: Act) {
        self.script.lock().unwrap().always = Some(act);
    }

    /// Does the same to each request from now on.
    pub(crate) fn to_everything(&self, act: Act) {
        let mut script = self.script.lock().unwrap();
        (script.always, script.everything) = (Some(act), true);
    }

    pub(crate) fn then(&self, acts: &[Act]) {
        self.script.lock().unwrap().acts.extend(acts.iter().cloned());
    }

    /// Returns the writes that came so far.
    pub(crate) fn writes(&self) -> Vec<Seen> {
        self.script.lock().unwrap().writes.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn while_open(
    mut stream: TcpStream,
    target: SocketAddr,
    prefix: &str,
    script: &Mutex<Script>,
) -> Option<()> {
    loop {
        let seen = read_request(&mut stream).await?;
        let rest = seen.head.split(' ').nth(1)?.strip_prefix(prefix).map(str::to_owned);
        let act = {
            let mut script = script.lock().unwrap();
            let write = seen.head.contains("/api/v2/write");
            if write {
                script.writes.push(seen.clone());
            }
            let always = script.always.clone().unwrap_or(Act::Pass);
            let scripted =
                (write || script.everything).then(|| script.acts.pop_front().unwrap_or(always));
            scripted.unwrap_or(Act::Pass)
        };
        let Some(path) = rest else {
            answer(&mut stream, 404, "", b"no such path").await?;
            continue;
        };
        match act {
            Act::Pass => {}
            Act::Slow(wait) => tokio::time::sleep(wait).await,
            Act::Answer(status, headers, body) => {
                answer(&mut stream, status, headers, body.as_bytes()).await?;
                continue;
            }
            Act::Hang => std::future::pending().await,
            Act::Close => return None,
            Act::LoseAnswer => {
                pass_on(target, &path, &seen).await?;
                return None;
            }
        }
        match pass_on(target, &path, &seen).await {
            Some((status, headers, body)) => answer(&mut stream, status, &headers, &body).await?,
            None => answer(&mut stream, 502, "", b"bad gateway").await?,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { head, body: bytes.split_off(head_end) })
}

/// Sends a request on as HTTP/1.0, so that the answer ends with the connection.
async fn pass_on(target: SocketAddr, path: &str, seen: &Seen) -> Option<(u16, String, Vec<u8>)> {
    let mut upstream = TcpStream::connect(target).await.ok()?;
    let method = seen.head.split(' ').next()?;
    let kept = ["authorization", "content-type", "content-encoding", "content-length"];
    let headers: String = kept
        .iter()
        .filter_map(|name| Some(format!("{name}: {}\r\n", header(&seen.head, name)?)))
        .collect();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {target}\r\n{headers}\r\n");
    upstream.write_all(head.as_bytes()).await.ok()?;
    upstream.write_all(&seen.body).await.ok()?;
    let mut bytes = Vec::new();
    upstream.read_to_end(&mut bytes).await.ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let date = header(&head, "date").map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
    Some((head.split(' ').nth(1)?.parse().ok()?, date, bytes.split_off(end)))
}

async fn answer(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> Option<()> {
    // 204 has no body and no length.
    let length =
        if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("HTTP/1.1 {status} Said\r\n{headers}{length}\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()
}

pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let found = head.lines().filter_map(|line| line.split_once(':'));
    found.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
