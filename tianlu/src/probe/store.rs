//! Asks InfluxDB for its health and, with the token, for the bucket.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, DATE};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::Trouble;
use crate::config::{Endpoint, InfluxDb};

const PATIENCE: Duration = Duration::from_secs(5);

/// What the store said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoreAnswer {
    /// What keeps the service from writing; empty: nothing.
    pub troubles: Vec<Trouble>,
    /// Its version, where it tells one.
    pub version: Option<String>,
    /// How far the clock here is ahead of the store's, in seconds; whole seconds, since that is what the
    /// header `Date` tells.
    pub clock_ahead_s: Option<i64>,
    /// The bucket; `None` where the store was not asked or does not tell.
    pub bucket: Option<Bucket>,
}

/// What is known of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// It exists, and keeps points so many seconds; 0: for ever.
    Keeps(u64),
    /// It does not exist, or the token may not see it.
    Missing,
}

/// Asks a store. Nothing is written or created.
#[must_use]
pub fn store(influx: &InfluxDb) -> StoreAnswer {
    store::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.map(|runtime| runtime.block_on(ask(influx)));
    asked.unwrap_or_else(|error| failed("tianlu.store.unreachable", influx, &error))
}

fn failed(name: &str, influx: &InfluxDb, error: &dyn std::fmt::Display) -> StoreAnswer {
    let trouble =
        Trouble::of(name, &[("store", &influx.url), ("error", error), ("bucket", &influx.bucket)]);
    StoreAnswer { troubles: vec![trouble], ..StoreAnswer::default() }
}

async fn ask(influx: &InfluxDb) -> StoreAnswer {
    let client = match Client::builder().timeout(PATIENCE).connect_timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => return failed("tianlu.store.unreachable", influx, &deepest(&error)),
    };
    let health = match client.get(below(&influx.url, "health")).send().await {
        Ok(health) => health,
        Err(error) => return failed("tianlu.store.unreachable", influx, &deepest(&error)),
    };
    let date = health.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(seconds_of);
    let (status, health) = (health.status(), body(health).await);
    let version = health.get("version").and_then(Value::as_str).map(str::to_owned);
    let mut answer =
        StoreAnswer { version, clock_ahead_s: date.map(ahead_of), ..StoreAnswer::default() };
    let says_fail = health.get("status").and_then(Value::as_str) == Some("fail");
    if status.is_server_error() || says_fail {
        let args: [(&str, &dyn std::fmt::Display); 2] =
            [("store", &influx.url), ("error", &status)];
        answer.troubles.push(Trouble::of("tianlu.store.unhealthy", &args));
        return answer;
    }
    // That the token cannot be read is a problem of its own.
    let Ok(token) = influx.token_file.read() else { return answer };
    let mut url = below(&influx.url, "api/v2/buckets");
    url.query_pairs_mut().append_pair("org", &influx.org).append_pair("name", &influx.bucket);
    let request = client.get(url).header(AUTHORIZATION, format!("Token {}", token.expose()));
    match request.send().await {
        Ok(response) => judge(influx, response.status(), &body(response).await, &mut answer),
        Err(error) => answer
            .troubles
            .extend(failed("tianlu.store.unreachable", influx, &deepest(&error)).troubles),
    }
    if answer.troubles.is_empty() && answer.bucket.is_none() {
        answer.troubles.extend(look_for_writing(influx, &client, token.expose()).await);
    }
    answer
}

/// Writes nothing, to see whether that can be done: what tells of no bucket may be no store at all.
async fn look_for_writing(influx: &InfluxDb, client: &Client, token: &str) -> Option<Trouble> {
    let mut url = below(&influx.url, "api/v2/write");
    let query = [("org", &*influx.org), ("bucket", &*influx.bucket), ("precision", "ns")];
    url.query_pairs_mut().extend_pairs(query);
    let request = client.post(url).header(AUTHORIZATION, format!("Token {token}")).body("");
    // Whoever has answered twice and is gone now is looked for by the service again and again.
    let status = request.send().await.ok()?.status();
    match status.as_u16() {
        401 | 403 => Some(of_org("tianlu.store.token", influx)),
        404 | 405 | 501 => Some(Trouble::of("store.no_such_path", &[("url", &influx.url)])),
        _ => None,
    }
}

/// A trouble with the organisation of a store.
fn of_org(name: &str, influx: &InfluxDb) -> Trouble {
    Trouble::of(name, &[("store", &influx.url), ("org", &influx.org)])
}

fn judge(influx: &InfluxDb, status: StatusCode, body: &Value, answer: &mut StoreAnswer) {
    match status.as_u16() {
        401 | 403 => answer.troubles.push(of_org("tianlu.store.token", influx)),
        // InfluxDB answers 404 for an unknown organisation with a message, and for an unknown bucket as well;
        // what only speaks line protocol has no such path.
        404 if body
            .get("message")
            .and_then(Value::as_str)
            .is_some_and(|message| message.contains("organization")) =>
        {
            answer.troubles.push(of_org("tianlu.store.org", influx));
        }
        404 if body.get("code").is_some() => answer.bucket = Some(Bucket::Missing),
        200 => {
            let buckets = body.get("buckets").and_then(Value::as_array);
            let named = buckets.and_then(|buckets| {
                buckets.iter().find(|bucket| {
                    bucket.get("name").and_then(Value::as_str) == Some(influx.bucket.as_str())
                })
            });
            let keeps = named.map(|bucket| {
                let rule = bucket.pointer("/retentionRules/0/everySeconds").and_then(Value::as_u64);
                Bucket::Keeps(rule.unwrap_or(0))
            });
            answer.bucket = buckets.map(|_| keeps.unwrap_or(Bucket::Missing));
        }
        _ => {}
    }
}

/// Returns a path below the base address, whose own path is kept.
fn below(base: &Endpoint, path: &str) -> reqwest::Url {
    let mut url = base.url().clone();
    let kept = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{kept}/{path}"));
    url
}

/// Reads an answer as JSON, at most 1 MiB of it; null where it is none.
async fn body(mut response: reqwest::Response) -> Value {
    const MOST: usize = 1 << 20;
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if bytes.len() + chunk.len() > MOST {
            return Value::Null;
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

fn seconds_of(date: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(date).ok().map(|at| at.timestamp().as_second())
}

fn ahead_of(store: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(store)
}

/// Returns the cause that says most: reqwest's own text repeats the address, query and all.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::addr_eq(cause, error) {
        error.status().map_or("request failed".to_owned(), |s| s.to_string())
    } else {
        cause.to_string()
    }
}
