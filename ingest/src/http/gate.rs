//! What every request passes: headers and language, the token, the clock.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use telemetry::text::Lang;

use super::page::is_of_page;
use super::problem::{Kind, Problem};
use super::{App, Desk};

/// A path that needs no token, as the page does not: whoever watches over the process has none.
const OPEN: &str = "/healthz";

/// Headers of every answer that does not bring its own. The page brings a policy that lets it load its files.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The language a reader wants, as an extractor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Language(pub(super) Lang);

impl<S: Sync> axum::extract::FromRequestParts<S> for Language {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(language(&parts.headers)))
    }
}

/// Returns the language that `Accept-Language` prefers among those there are; else both.
fn language(headers: &HeaderMap) -> Lang {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let ranked = wanted.unwrap_or_default().split(',').filter_map(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, "q=1"));
        let weight: f64 = weight.trim().strip_prefix("q=")?.trim().parse().ok()?;
        let lang = Lang::from_locale(name);
        (lang != Lang::Both && weight > 0.0).then_some((lang, weight))
    });
    // The first of the greatest weight.
    ranked
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
        .map_or(Lang::Both, |(lang, _)| lang)
}

/// Writes problems out in the reader's language, and adds the headers.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    let lang = language(request.headers());
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = problem {
        *response.body_mut() = problem.body(lang);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Lets in who bears the token.
pub(super) async fn admit<D: Desk>(
    State(app): State<Arc<App<D>>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_open = path == OPEN || is_of_page(path);
    let Some(token) = app.options.token.as_ref().filter(|_| !is_open) else {
        return next.run(request).await;
    };
    let refusal = match request.headers().get(header::AUTHORIZATION) {
        Some(offered) if token.is_borne_by(offered.as_bytes()) => return next.run(request).await,
        Some(_) => "ingest.http.wrong_token",
        None => "ingest.http.no_token",
    };
    Problem::say(Kind::Unauthorized, refusal, &[]).into_response()
}

/// Ends what takes too long to begin its answer.
pub(super) async fn in_time<D: Desk>(
    State(app): State<Arc<App<D>>>,
    request: Request,
    next: Next,
) -> Response {
    let answer_max = app.options.limits.answer_max;
    let answer = tokio::time::timeout(answer_max, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let seconds = answer_max.as_secs();
        Problem::say(Kind::Busy, "ingest.http.too_slow", &[("seconds", &seconds)]).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_wins_among_those_there_are() {
        for (header, lang) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("en-US,en;q=0.9", Lang::En),
            ("fr, en;q=0.5, zh;q=0.7", Lang::Zh),
            ("en;q=0, zh;q=0.1", Lang::Zh),
            ("fr", Lang::Both),
            ("*", Lang::Both),
            ("", Lang::Both),
            ("zh;q=high", Lang::Both),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(header))]);
            assert_eq!(language(&headers), lang, "{header}");
        }
        assert_eq!(language(&HeaderMap::new()), Lang::Both);
    }
}
