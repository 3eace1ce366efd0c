//! HTTP to the store: one request, one answer, everything bounded.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, LOCATION,
    RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use telemetry::time::EventTime;
use url::{Host, Url};

use crate::answer::Answer;
use crate::delivery::http_date;
use crate::influx::{InfluxOptions, OpenError};
use crate::token::Token;
use crate::{MESSAGE_MAX, Place, WriteError};

/// Longest time to make a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection pool to one store. `Debug` shows no token.
#[derive(Debug)]
pub(crate) struct Link {
    http: Client,
    base: Url,
    token: Token,
    gzip: bool,
    began: Instant,
    timeout: Duration,
    place: Place,
}

/// One request, kept so that it can be sent again with another token.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Path below the base URL.
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) content: Option<(&'static str, Bytes)>,
    pub(crate) gzipped: bool,
    /// Most bytes of the answer's body; what is beyond is not read.
    pub(crate) answer_max: usize,
}

impl<'a> Ask<'a> {
    pub(crate) const fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            method: Method::GET,
            path,
            query,
            content: None,
            gzipped: false,
            answer_max: MESSAGE_MAX,
        }
    }

    pub(crate) const fn post(
        path: &'a str,
        query: &'a [(&'a str, &'a str)],
        kind: &'static str,
        body: Bytes,
    ) -> Self {
        let content = Some((kind, body));
        Self { method: Method::POST, path, query, content, gzipped: false, answer_max: MESSAGE_MAX }
    }
}

/// Installs the process's TLS provider where there is none yet: no HTTP client can be made without.
pub fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster; then theirs stands.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

impl Link {
    pub(crate) fn open(options: &InfluxOptions) -> Result<Self, OpenError> {
        let base = check_url(&options.url)?;
        install_tls_provider();
        let mut builder = Client::builder();
        if is_loopback(&base) {
            // A proxy of the environment cannot mean this machine's own loopback.
            builder = builder.no_proxy();
        }
        let http = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .user_agent(concat!("tianlu/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| OpenError::Client(Box::new(error)))?;
        let place = Place {
            url: base.to_string(),
            org: options.org.clone(),
            bucket: options.bucket.clone(),
            token_file: options.token_file.display().to_string(),
        };
        let (token, timeout) = (Token::new(options.token_file.clone()), options.request_timeout);
        Ok(Self { http, base, token, gzip: options.gzip, began: Instant::now(), timeout, place })
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Returns monotonic time since the link was opened.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sends a request with the token. Where the store refuses it, the token file is read again, and
    /// another token is tried at once.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, WriteError> {
        let answer = self.send(ask.clone(), true).await?;
        if matches!(answer.status, 401 | 403) && self.token.reread()? {
            tracing::info!(file = %self.token.file().display(), "the token file has another token");
            return self.send(ask, true).await;
        }
        Ok(answer)
    }

    /// Sends a request without the token.
    pub(crate) async fn ask_openly(&self, ask: Ask<'_>) -> Result<Answer, WriteError> {
        self.send(ask, false).await
    }

    /// Writes lines to the bucket.
    pub(crate) async fn post_lines(&self, lines: &Bytes) -> Result<(), WriteError> {
        let (org, bucket) = (self.place.org.as_str(), self.place.bucket.as_str());
        let packed = if self.gzip { gzip(lines.clone()).await } else { None };
        let query = [("org", org), ("bucket", bucket), ("precision", "ns")];
        let gzipped = packed.is_some();
        let body = packed.unwrap_or_else(|| lines.clone());
        let mut ask = Ask::post("api/v2/write", &query, "text/plain; charset=utf-8", body);
        ask.gzipped = gzipped;
        let answer = self.ask(ask).await?;
        answer.judge(lines.len(), now())
    }

    async fn send(&self, ask: Ask<'_>, with_token: bool) -> Result<Answer, WriteError> {
        let mut request =
            self.http.request(ask.method, self.url(ask.path, ask.query)).timeout(self.timeout);
        if with_token {
            request = request.header(AUTHORIZATION, self.token.header()?);
        }
        if let Some((kind, body)) = ask.content {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        if ask.gzipped {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let mut response = request.send().await.map_err(failed)?;
        let text = |name| header(response.headers(), name);
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: text(RETRY_AFTER),
            location: text(LOCATION),
            date: text(DATE).as_deref().and_then(http_date),
            ..Answer::default()
        };
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let room = ask.answer_max.saturating_sub(answer.body.len());
            answer.body.extend(chunk.iter().take(room));
            if chunk.len() > room {
                answer.truncated = true;
                break;
            }
        }
        Ok(answer)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        // The base was checked to have a path, so that there always are segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// Reads our own clock, for a `Retry-After` from a store that tells no time.
pub(crate) fn now() -> EventTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    EventTime::default().plus(since)
}

fn check_url(text: &str) -> Result<Url, OpenError> {
    // A URL with a password must not reach a message.
    let wrong =
        |shown: &str, detail: &str| OpenError::Url { url: shown.into(), detail: detail.into() };
    let url = Url::parse(text)
        .map_err(|error| wrong(text.rsplit('@').next().unwrap_or_default(), &error.to_string()))?;
    let shown = url.host_str().unwrap_or_default();
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(wrong(shown, "http:// / https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(shown, "user:password@"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(shown, "? #"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn failed(error: reqwest::Error) -> WriteError {
    // A time-out while connecting means that nobody is there.
    if error.is_timeout() && !error.is_connect() {
        WriteError::TimedOut
    } else {
        WriteError::Unreachable(Box::new(error.without_url()))
    }
}

/// Compresses at the fastest level, away from the runtime's threads, since 4 MiB take tens of
/// milliseconds. `None`: the runtime is going down; plain bytes do as well.
async fn gzip(plain: Bytes) -> Option<Bytes> {
    let packed = tokio::task::spawn_blocking(move || {
        let out = Vec::with_capacity(plain.len() / 4);
        let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
        encoder.write_all(&plain).and_then(|()| encoder.finish())
    });
    packed.await.ok()?.ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(url: &str) -> Result<Link, OpenError> {
        Link::open(&InfluxOptions::new(url, "farm", "telemetry", "token"))
    }

    #[test]
    fn the_path_of_the_base_url_is_kept() {
        for (base, expected) in [
            ("http://h:8086", "http://h:8086/api/v2/write"),
            ("http://h:8086/", "http://h:8086/api/v2/write"),
            ("https://h/influx", "https://h/influx/api/v2/write"),
            ("https://h/a/b/", "https://h/a/b/api/v2/write"),
        ] {
            assert_eq!(link(base).unwrap().url("api/v2/write", &[]).as_str(), expected);
        }
        let url = link("http://h").unwrap().url("api/v2/write", &[("org", "农 & co")]);
        assert_eq!(url.query(), Some("org=%E5%86%9C+%26+co"));
    }

    #[test]
    fn a_url_with_a_password_is_refused_and_not_shown() {
        for wrong in [
            "http://me:secret@h",
            "http://secret@h",
            "ftp://h",
            "h:8086",
            "http://h/?db=x",
            "http://h/#x",
            "http://me:secret@",
            "",
        ] {
            let error = link(wrong).unwrap_err();
            let shown = format!("{error} {error:?} {}", error.message());
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
