//! The dead letters of the running service, over its HTTP API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use super::{Choice, DeadLetter, DeadLetterError, DeadLetterSource};
use crate::config::{Http, SecretFile};

const PATIENCE: Duration = Duration::from_secs(30);

/// The service that a configuration describes.
#[derive(Debug, Clone)]
pub struct Service {
    address: SocketAddr,
    token_file: Option<SecretFile>,
}

impl Service {
    /// Names the service of `[http]`.
    #[must_use]
    pub fn of(http: &Http) -> Self {
        // Whoever listens everywhere also listens here.
        let ip = match http.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        Self {
            address: SocketAddr::new(ip, http.listen.port()),
            token_file: http.token_file.clone(),
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Value, DeadLetterError> {
        let refused = |detail: String| DeadLetterError::Refused { detail };
        store::install_tls_provider();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refused(error.to_string()))?;
        runtime.block_on(async {
            let client = Client::builder()
                .timeout(PATIENCE)
                .no_proxy()
                .build()
                .map_err(|error| refused(error.to_string()))?;
            let mut request = client.request(method, format!("http://{}{path}", self.address));
            if let Some(file) = &self.token_file {
                let token = file
                    .read()
                    .map_err(|error| refused(format!("{}: {error}", file.path().display())))?;
                request = request.bearer_auth(token.expose());
            }
            if let Some(body) = body {
                request =
                    request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
            }
            let response = request.send().await.map_err(|error| {
                if error.is_connect() {
                    DeadLetterError::NoService { address: self.address.to_string() }
                } else {
                    refused(error.to_string())
                }
            })?;
            let status = response.status();
            let bytes = response.bytes().await.map_err(|error| refused(error.to_string()))?;
            let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            if status.is_success() { Ok(answer) } else { Err(refused(complaint(status, &answer))) }
        })
    }
}

/// Returns what a problem document says.
fn complaint(status: reqwest::StatusCode, answer: &Value) -> String {
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    text("detail")
        .or_else(|| text("title"))
        .map_or_else(|| status.to_string(), |said| format!("{status}: {said}"))
}

impl DeadLetterSource for Service {
    fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut answer = self.ask(Method::GET, "/api/v1/deadletters", None)?;
        let letters = answer.get_mut("deadletters").map(Value::take).unwrap_or(answer);
        serde_json::from_value(letters)
            .map_err(|error| DeadLetterError::Refused { detail: error.to_string() })
    }

    fn redrive(&self, choice: &Choice) -> Result<u64, DeadLetterError> {
        let body = serde_json::to_string(choice)
            .map_err(|error| DeadLetterError::Refused { detail: error.to_string() })?;
        let answer = self.ask(Method::POST, "/api/v1/deadletters/redrive", Some(body))?;
        let redriven = answer.get("redriven").and_then(Value::as_u64);
        redriven.ok_or_else(|| DeadLetterError::Refused { detail: answer.to_string() })
    }
}
