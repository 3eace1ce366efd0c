//! Dead letters: the list, one of them, trying again.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State, rejection::PathRejection};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, try_unfold};
use pipeline::Reason;
use pipeline::letter::parse_letter_id;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::params::{Params, unknown_word};
use super::problem::{Kind, Problem, cut};
use super::{App, Desk, LetterChoice, LetterFilter, Unavailable, body};

/// Letters asked of the desk at once. A letter takes at most about 90 KiB.
const PAGE: usize = 16;
/// Most bytes of a body.
const BODY_MAX: usize = 64 << 10;
const JSON: &str = "application/json";

/// Lists open dead letters, oldest first. Without a limit all of them: the answer is made page by page as it
/// is sent, so that its size bounds nothing.
pub(super) async fn list<D: Desk>(
    State(app): State<Arc<App<D>>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut params = Params::of(&uri);
    let reason = params.take("reason")?.map(|word| reason(&word)).transpose()?;
    let limit = params.take_count("limit")?;
    let after = params.take("after")?.map(|id| key(&id)).transpose()?;
    params.finish()?;
    let mut listing = Listing {
        turn: app.turn().await?,
        app,
        reason,
        after,
        left: limit.unwrap_or(usize::MAX),
        progress: Progress::Begin,
    };
    // Before the head is sent: a pipeline that has ended is a status, not the beginning of a list.
    let first = listing.next().await?;
    let rest = try_unfold(listing, |mut listing| async move {
        // Later it breaks the answer off, so that half a list does not look whole.
        let part = listing.next().await.map_err(|ended| io::Error::other(ended.message.en))?;
        Ok::<_, io::Error>(part.map(|part| (part, listing)))
    });
    let parts = stream::iter(first.map(Ok)).chain(rest);
    Ok(([(header::CONTENT_TYPE, JSON)], Body::from_stream(parts)).into_response())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Begin,
    Letters,
    Over,
}

/// A list that is being sent.
struct Listing<D> {
    app: Arc<App<D>>,
    reason: Option<Reason>,
    after: Option<(u64, u32)>,
    left: usize,
    progress: Progress,
    #[expect(dead_code, reason = "held, not used: the turn ends with the answer")]
    turn: OwnedSemaphorePermit,
}

impl<D: Desk> Listing<D> {
    /// Makes the next part of the answer's body: one page.
    async fn next(&mut self) -> Result<Option<Bytes>, Unavailable> {
        let mut part = match self.progress {
            Progress::Begin => r#"{"deadletters":["#.to_owned(),
            Progress::Letters => String::new(),
            Progress::Over => return Ok(None),
        };
        let limit = self.left.min(PAGE);
        let filter = LetterFilter { reason: self.reason, after: self.after, limit };
        let page = self.app.desk.dead_letters(filter).await?;
        let is_last = page.len() < limit;
        for line in page {
            if self.progress == Progress::Letters {
                part.push(',');
            }
            self.progress = Progress::Letters;
            part.push_str(&line.json);
            self.after = Some(line.key);
            self.left = self.left.saturating_sub(1);
        }
        if is_last || self.left == 0 {
            part.push_str("]}");
            self.progress = Progress::Over;
        }
        Ok(Some(part.into()))
    }
}

/// Shows one open dead letter.
pub(super) async fn show<D: Desk>(
    State(app): State<Arc<App<D>>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    Params::of(&uri).finish()?;
    let Path(id) = path.map_err(|_| Problem::bad("ingest.http.path_text", &[]))?;
    let shown = cut(&id);
    let unknown = || Problem::say(Kind::NotFound, "ingest.http.no_such_letter", &[("id", &shown)]);
    let line = app.desk.dead_letter(id).await?.ok_or_else(unknown)?;
    Ok(([(header::CONTENT_TYPE, JSON)], line))
}

/// What a redrive is asked for; both left out or `null`: every open letter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    id: Option<String>,
}

/// Tries dead letters again.
pub(super) async fn redrive<D: Desk>(
    State(app): State<Arc<App<D>>>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    Params::of(request.uri()).finish()?;
    let asked = asked(request).await?;
    let choice = LetterChoice {
        reason: asked.reason.map(|word| reason(&word)).transpose()?,
        id: asked.id.map(|id| key(&id).map(|_| id)).transpose()?,
    };
    // In a task of its own: a client that goes away must not leave half of them tried again.
    let redriving = tokio::spawn(async move { app.desk.redrive(choice).await });
    let gone = |_| Problem::say(Kind::Unavailable, "ingest.http.stopping", &[]);
    let redriven = redriving.await.map_err(gone)??;
    Ok(Json(json!({ "redriven": redriven })))
}

async fn asked(request: Request) -> Result<Asked, Problem> {
    let body = body::read(request, (&[JSON], "ingest.http.not_json_detail"), BODY_MAX).await?;
    let value: Value = serde_json::from_slice(&body).map_err(|error| {
        let detail: &dyn Display = &error;
        Problem::bad("ingest.http.bad_json", &[("detail", detail)])
    })?;
    // A list would be read as an object's values in order, and an empty one as "all".
    let asked = if value.is_object() { serde_json::from_value(value).ok() } else { None };
    asked.ok_or_else(|| Problem::bad("ingest.http.redrive_body", &[]))
}

fn reason(word: &str) -> Result<Reason, Problem> {
    let known = || Reason::ALL.into_iter().map(Reason::code);
    Reason::parse(word).ok_or_else(|| unknown_word("reason", word, known()))
}

fn key(id: &str) -> Result<(u64, u32), Problem> {
    parse_letter_id(id).ok_or_else(|| Problem::bad("ingest.http.letter_id", &[("value", &cut(id))]))
}
