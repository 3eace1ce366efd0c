//! As much of HTTP/1.1 as the tests need: one request a connection out, kept connections in.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A request or a response, its body decoded from chunks.
#[derive(Debug, Clone)]
pub struct Message {
    /// `POST /path HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// Names in lower case, values as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// Returns the status code of a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Returns the method of a request.
    #[must_use]
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Returns the target of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Returns the first header of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {} {}", self.start, self.text()))
    }
}

/// A request to send.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// `http://127.0.0.1:port/path`.
    pub url: &'a str,
    /// Headers besides host, length and connection.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Sends `call` and returns the response.
///
/// # Errors
///
/// When nobody listens, the other side hangs up, or 30 s pass without a byte.
pub fn send(call: Call<'_>) -> io::Result<Message> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("not a URL: {}", call.url));
    let rest = call.url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = host.to_socket_addrs()?.next().ok_or_else(wrong)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let mut out =
        format!("{} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", call.method);
    out.push_str(&format!("content-length: {}\r\n", call.body.len()));
    for (name, value) in call.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    stream.write_all(out.as_bytes())?;
    stream.write_all(call.body)?;
    read(&mut BufReader::new(stream))?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Sends a GET.
///
/// # Errors
///
/// As [`send`].
pub fn get(url: &str) -> io::Result<Message> {
    send(Call { method: "GET", url, headers: &[], body: b"" })
}

/// Sends a POST of JSON.
///
/// # Errors
///
/// As [`send`].
pub fn post_json(url: &str, body: &serde_json::Value) -> io::Result<Message> {
    let headers = [("content-type", "application/json")];
    send(Call { method: "POST", url, headers: &headers, body: body.to_string().as_bytes() })
}

/// Reads one request or response; `None` where the other side closed before it.
///
/// # Errors
///
/// When the other side hangs up in the middle or the stream's time-out passes.
pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Message>> {
    let Some(start) = line(stream)? else { return Ok(None) };
    let mut headers = Vec::new();
    while let Some(text) = line(stream)?.filter(|text| !text.is_empty()) {
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut message = Message { start, headers, body: Vec::new() };
    if message.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        message.body = chunks(stream)?;
    } else if let Some(length) = message.header("content-length") {
        message.body.resize(length.parse().unwrap_or(0), 0);
        stream.read_exact(&mut message.body)?;
    } else if message.start.starts_with("HTTP/") && message.status() != 204 {
        stream.read_to_end(&mut message.body)?;
    }
    Ok(Some(message))
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Ok(None);
    }
    Ok(Some(text.trim_end().to_owned()))
}

fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let head = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = head.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let at = body.len();
        body.resize(at + size, 0);
        stream.read_exact(&mut body[at..])?;
        line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Writes a response and keeps the connection.
///
/// # Errors
///
/// When the other side has hung up.
pub fn respond(
    stream: &mut impl Write,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut out = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    stream.write_all(out.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()
}
