//! HTTP POST of the alert line.
//!
//! Nothing of the URL but scheme, host and port is ever shown: paths and queries of webhooks carry tokens.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use sha2::Sha256;
use url::{Host, Url};

use super::reason::clean;
use super::{Answer, Kind, Letter, Reason, ReasonCode, Sender, StatusVerdict, judge_status};
use telemetry::problem::chain;

/// Bytes of an answer's body that are read for receipt or reason.
const EXCERPT_BYTES: usize = 512;

/// Where to send, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    /// `http` or `https`; a path, a query and credentials are kept and never shown.
    pub url: String,
    /// File with the secret of the signature; read when the sender is made, white space around it ignored.
    pub secret_file: Option<PathBuf>,
    /// For one try in all; default 10 s.
    pub timeout: Duration,
}

impl WebhookTarget {
    /// Returns a target without signature and with the default time-out.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), secret_file: None, timeout: Duration::from_secs(10) }
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookTarget")
            .field("url", &"***")
            .field("secret_file", &self.secret_file)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// Not an `http` or `https` URL with a host.
    #[error("the webhook's URL is not http:// or https:// with a host")]
    Url,
    /// The secret cannot be read.
    #[error("read the secret `{path}`")]
    Secret {
        /// The secret file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The secret file has nothing in it; a signature made with it would prove nothing.
    #[error("the secret `{path}` is empty")]
    EmptySecret {
        /// The secret file.
        path: PathBuf,
    },
    /// The HTTP client cannot be made, for example without a TLS provider.
    #[error("make the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Posts alert lines. Follows no redirect.
pub struct WebhookSender {
    client: Client,
    url: Url,
    secret: Option<Vec<u8>>,
    timeout: Duration,
}

impl fmt::Debug for WebhookSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.secret.is_some();
        f.debug_struct("WebhookSender")
            .field("origin", &self.origin())
            .field("signed", &signed)
            .finish()
    }
}

impl WebhookSender {
    /// Makes a sender.
    ///
    /// # Errors
    ///
    /// [`WebhookError`]: the URL, the secret file, or the client.
    pub fn new(target: &WebhookTarget) -> Result<Self, WebhookError> {
        let url = Url::parse(&target.url).map_err(|_| WebhookError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(WebhookError::Url);
        }
        store::install_tls_provider();
        let secret = target.secret_file.as_deref().map(read_secret).transpose()?;
        let mut builder = Client::builder()
            .user_agent(concat!("tianlu/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(target.timeout)
            .connect_timeout(target.timeout);
        if is_loopback(&url) {
            builder = builder.no_proxy(); // A proxy's loopback is not ours.
        }
        let client = builder.build().map_err(WebhookError::Client)?;
        Ok(Self { client, url, secret, timeout: target.timeout })
    }

    /// Returns scheme, host and port: what may be shown of the URL.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn explain(&self, error: reqwest::Error) -> Answer {
        let reason = if error.is_timeout() {
            Reason::new(ReasonCode::Timeout, &telemetry::time::show_duration(self.timeout))
        } else {
            Reason::new(ReasonCode::Unreachable, &chain(&error.without_url()))
        };
        Answer::Retry { reason, after: None }
    }
}

impl Sender for WebhookSender {
    fn kind(&self) -> Kind {
        Kind::Webhook
    }

    async fn send(&self, letter: &Letter) -> Answer {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", letter.idempotency_key());
        if let Some(secret) = &self.secret {
            request = request.header("X-Tianlu-Signature", sign(secret, &letter.body));
        }
        match request.body(letter.body.clone()).send().await {
            Ok(response) => judge(response).await,
            Err(error) => self.explain(error),
        }
    }
}

/// The status decides; the body is only an excerpt for people, and may be missing.
async fn judge(response: Response) -> Answer {
    let status = response.status().as_u16();
    let after = retry_after(response.headers());
    let note = clean(&format!("{status} {}", excerpt(response).await));
    match judge_status(status) {
        StatusVerdict::Delivered => Answer::Delivered { receipt: note },
        StatusVerdict::Retry => {
            Answer::Retry { reason: Reason::new(ReasonCode::Status, &note), after }
        }
        StatusVerdict::Refused => {
            Answer::Refused { reason: Reason::new(ReasonCode::Status, &note) }
        }
    }
}

async fn excerpt(mut response: Response) -> String {
    let mut start = Vec::new();
    while start.len() < EXCERPT_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => start.extend(chunk.iter().take(EXCERPT_BYTES)),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&start).into_owned()
}

/// Reads `Retry-After`: seconds, or a date, which counts from the same answer's `Date`, so that no clock but
/// the endpoint's own matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(after)?.duration_since(date(text(DATE)?)?);
    Duration::try_from(wait).ok()
}

/// `sha256=` and the HMAC-SHA256 of the body in lower-case hex.
fn sign(secret: &[u8], body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("sha256=");
    // A key of any length is good; the error type is for other algorithms.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let written = write!(out, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        }
    }
    out
}

fn read_secret(path: &Path) -> Result<Vec<u8>, WebhookError> {
    let bytes = std::fs::read(path)
        .map_err(|source| WebhookError::Secret { path: path.to_owned(), source })?;
    match bytes.trim_ascii() {
        [] => Err(WebhookError::EmptySecret { path: path.to_owned() }),
        secret => Ok(secret.to_vec()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
