//! The body of a request.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;

use super::problem::{Kind, Problem};

/// Reads a body of at most so many bytes and of one of these content types; `other` is the text where it is of none.
/// They are types that another site's page may not send unasked.
pub(super) async fn read(
    request: Request,
    (kinds, other): (&[&str], &str),
    most: usize,
) -> Result<Bytes, Problem> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kinds.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Err(Problem::say(Kind::NotJson, other, &[]));
    }
    let too_large =
        |_| Problem::say(Kind::BodyTooLarge, "ingest.http.body_most", &[("most", &most)]);
    to_bytes(request.into_body(), most).await.map_err(too_large)
}
