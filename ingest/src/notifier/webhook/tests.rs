use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::super::fake::{Counts, T0, firing};
use super::super::{
    AlertState, Batch, Clock, Options, Queue, QueueLimits, Severity, Status, Wiring, run,
};
use super::*;

const BODY: &str = r#"{"id":"a1","state":"firing","message":{"zh":"土壤偏干","en":"dry"}}"#;

#[tokio::test]
async fn answers_are_judged_by_status_and_retry_after() {
    let status = |detail: &str| Reason::new(ReasonCode::Status, detail);
    let seconds = |n| Some(Duration::from_secs(n));
    let dates =
        "Date: Sun, 23 Nov 2025 00:00:00 GMT\r\nRetry-After: Sun, 23 Nov 2025 00:01:30 GMT\r\n";
    let table = [
        (reply("200 OK", "", "id-77"), Answer::Delivered { receipt: "200 id-77".into() }),
        (reply("204 No Content", "", ""), Answer::Delivered { receipt: "204 ".into() }),
        (
            reply("500 Oops", "", "a\u{7}b"),
            Answer::Retry { reason: status("500 a b"), after: None },
        ),
        (
            reply("429 Slow", "Retry-After: 7\r\n", ""),
            Answer::Retry { reason: status("429 "), after: seconds(7) },
        ),
        (
            reply("503 Later", dates, ""),
            Answer::Retry { reason: status("503 "), after: seconds(90) },
        ),
        (
            reply("503 Later", "Retry-After: soon\r\n", ""),
            Answer::Retry { reason: status("503 "), after: None },
        ),
        (reply("404 No", "", "gone"), Answer::Refused { reason: status("404 gone") }),
        (
            reply("302 Found", "Location: /elsewhere\r\n", ""),
            Answer::Refused { reason: status("302 ") },
        ),
    ];
    for (reply, expected) in table {
        let mut server = Server::start(vec![Some(reply.clone())]).await;
        let answer = sender(&server.url("/hook"), None).send(&letter()).await;
        assert_eq!(trimmed(answer), trimmed(expected), "{reply}");
        assert!(server.requests.recv().await.is_some());
        assert!(server.requests.try_recv().is_err(), "a redirect was followed");
    }
}

#[tokio::test]
async fn the_request_is_the_alert_line_with_its_headers() {
    let dir = tempfile::tempdir().unwrap();
    let secret_file = dir.path().join("secret");
    std::fs::write(&secret_file, "  hush hush\n").unwrap();
    let mut server = Server::start(vec![Some(reply("200 OK", "", ""))]).await;
    sender(&server.url("/hook/path?token=t0ken"), Some(secret_file)).send(&letter()).await;
    let request = server.requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, BODY);
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /hook/path?token=t0ken http/1.1"), "{head}");
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "content-type: application/json",
        "idempotency-key: a1:firing",
        &format!("user-agent: tianlu/{version}"),
        &format!("x-tianlu-signature: {}", sign(b"hush hush", BODY.as_bytes())),
    ] {
        assert!(head.lines().any(|have| have == line), "`{line}` is missing in\n{head}");
    }
}

#[test]
fn signatures_are_hmac_sha256_in_hex() {
    // RFC 4231, test case 2.
    let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), expected);
}

#[tokio::test]
async fn an_endpoint_that_hangs_times_out_and_one_that_is_not_there_is_unreachable() {
    let server = Server::start(vec![None]).await;
    let mut target = WebhookTarget::new(server.url("/secret-path"));
    target.timeout = Duration::from_millis(50);
    let answer = sender_for(&target).send(&letter()).await;
    let expected = Reason::new(ReasonCode::Timeout, "50ms");
    assert_eq!(answer, Answer::Retry { reason: expected, after: None });

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:pa55@{}/secret-path", listener.local_addr().unwrap());
    drop(listener);
    let answer = sender(&url, None).send(&letter()).await;
    let Answer::Retry { reason, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(reason.code, ReasonCode::Unreachable);
    assert!(
        !reason.detail.contains("secret-path") && !reason.detail.contains("pa55"),
        "{reason:?}"
    );
}

#[test]
fn neither_url_nor_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret_file = dir.path().join("s");
    std::fs::write(&secret_file, "hush").unwrap();
    let mut target = WebhookTarget::new("https://user:pa55@example.org:8443/p4th?token=t0ken");
    target.secret_file = Some(secret_file);
    let sender = sender_for(&target);
    assert_eq!(sender.origin(), "https://example.org:8443");
    for shown in [format!("{sender:?}"), format!("{target:?}")] {
        let hidden = ["pa55", "p4th", "t0ken", "hush"];
        assert!(hidden.iter().all(|word| !shown.contains(word)), "{shown}");
    }
}

#[test]
fn targets_that_cannot_work_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, " \n").unwrap();
    let make = |url: &str, secret_file| {
        let timeout = Duration::from_secs(1);
        WebhookSender::new(&WebhookTarget { url: url.into(), secret_file, timeout }).unwrap_err()
    };
    for url in ["", "example.org/hook", "ftp://example.org", "mqtt://example.org"] {
        assert!(matches!(make(url, None), WebhookError::Url), "{url}");
    }
    let url = "http://example.org";
    assert!(matches!(make(url, Some(empty)), WebhookError::EmptySecret { .. }));
    assert!(matches!(make(url, Some(dir.path().join("none"))), WebhookError::Secret { .. }));
}

/// Scenario: the endpoint answers 500, then 200; queue, task and HTTP are the real ones.
/// Guarantees: the same key on both tries, one delivery in the log.
#[tokio::test]
async fn a_notice_goes_from_the_queue_to_the_endpoint() {
    let replies = vec![Some(reply("500 Oops", "", "")), Some(reply("200 OK", "", "done"))];
    let mut server = Server::start(replies).await;
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(&dir.path().join("queue.redb"), QueueLimits::default(), T0).unwrap();
    let (queue, counts) = (Arc::new(queue), Arc::new(Counts::default()));
    let wiring = Wiring {
        queue: Arc::clone(&queue),
        sender: Arc::new(sender(&server.url("/"), None)),
        observer: Arc::clone(&counts),
        clock: Clock::start(T0),
        options: Options::named("webhook", Severity::Blue),
    };
    let (feed, batches) = mpsc::channel(1);
    let running = tokio::spawn(run(wiring, batches, std::future::pending()));
    feed.send(Batch { notices: vec![firing("a1")], cursor: Some((1, 0)) }).await.unwrap();
    assert_eq!(counts.wait_for(|counts| counts.0 == 1).await, (1, 0, 1));
    drop(feed);
    running.await.unwrap();
    for _ in 0..2 {
        assert!(server.requests.recv().await.unwrap().contains("a1:firing"));
    }
    let status = queue.log(1).unwrap().remove(0).status;
    assert!(
        matches!(&status, Status::Delivered { receipt, .. } if receipt == "200 done"),
        "{status:?}"
    );
}

fn sender(url: &str, secret_file: Option<PathBuf>) -> WebhookSender {
    sender_for(&WebhookTarget { secret_file, ..WebhookTarget::new(url) })
}

fn sender_for(target: &WebhookTarget) -> WebhookSender {
    WebhookSender::new(target).unwrap()
}

fn letter() -> Letter {
    Letter {
        key: 0,
        id: "a1".into(),
        state: AlertState::Firing,
        severity: Severity::Yellow,
        body: Bytes::from_static(BODY.as_bytes()),
        accepted_at: T0,
        tries: 0,
    }
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn trimmed(answer: Answer) -> Answer {
    let trim = |reason: Reason| Reason::new(reason.code, reason.detail.trim());
    match answer {
        Answer::Delivered { receipt } => Answer::Delivered { receipt: receipt.trim().to_owned() },
        Answer::Retry { reason, after } => Answer::Retry { reason: trim(reason), after },
        Answer::Refused { reason } => Answer::Refused { reason: trim(reason) },
    }
}

/// Answers each connection with the next reply; `None` hangs.
struct Server {
    address: std::net::SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn start(replies: Vec<Option<String>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut hanging = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().await.unwrap();
                report.send(request(&mut stream).await).unwrap();
                match reply {
                    Some(reply) => stream.write_all(reply.as_bytes()).await.unwrap(),
                    None => hanging.push(stream),
                }
            }
            std::future::pending::<()>().await;
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request ends early");
    }
}
