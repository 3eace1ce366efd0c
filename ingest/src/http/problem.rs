//! What could not be answered: `application/problem+json` in the reader's language.

use std::fmt::Display;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use telemetry::text::{Lang, Text, say};

/// Why a request has no other answer.
///
/// As a response it carries itself, and `gate::dress`, which knows the reader's language, writes it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    kind: Kind,
    detail: Text,
}

/// What kind of problem it is: status, code and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A parameter or the body is not what it should be.
    BadRequest,
    /// No token, or a wrong one.
    Unauthorized,
    /// No such path.
    NotFound,
    /// Such a path, and yet not for this method.
    MethodNotAllowed,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not JSON by its content type.
    NotJson,
    /// The pipeline has not passed every cursor since the start.
    Recovering,
    /// What is behind the answer does not answer.
    Unavailable,
    /// The answer took too long, or too many others are under way.
    Busy,
}

impl Kind {
    const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Recovering | Self::Unavailable | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::NotJson => "not_json",
            Self::Recovering => "recovering",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
        }
    }

    fn title(self) -> Text {
        let key = match self {
            Self::BadRequest => "ingest.http.bad_request",
            Self::Unauthorized => "ingest.http.unauthorized",
            Self::NotFound => "ingest.http.not_found",
            Self::MethodNotAllowed => "ingest.http.method_not_allowed",
            Self::BodyTooLarge => "ingest.http.body_too_large",
            Self::NotJson => "ingest.http.not_json",
            Self::Recovering => "ingest.http.recovering",
            Self::Unavailable => "ingest.http.unavailable",
            Self::Busy => "ingest.http.busy",
        };
        say(key, &[])
    }

    /// Returns the header that belongs to the status.
    const fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tianlu\""),
            )),
            Self::Recovering | Self::Unavailable | Self::Busy => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("5")))
            }
            Self::BadRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::NotJson => None,
        }
    }
}

#[derive(Serialize)]
struct Document {
    r#type: String,
    title: String,
    status: u16,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(super) const fn new(kind: Kind, detail: Text) -> Self {
        Self { kind, detail }
    }

    /// Makes a problem whose detail is a message of the catalogue.
    pub(super) fn say(kind: Kind, key: &str, args: &[(&str, &dyn Display)]) -> Self {
        Self::new(kind, say(key, args))
    }

    /// Makes the problem of a parameter or body that is wrong.
    pub(super) fn bad(key: &str, args: &[(&str, &dyn Display)]) -> Self {
        Self::say(Kind::BadRequest, key, args)
    }

    /// Returns the document as JSON.
    pub(super) fn body(&self, lang: Lang) -> Body {
        let code = self.kind.code();
        let document = Document {
            r#type: format!("urn:tianlu:problem:{code}"),
            title: self.kind.title().show(lang),
            status: self.kind.status().as_u16(),
            code,
            detail: self.detail.show(lang),
        };
        let written = serde_json::to_vec(&document);
        debug_assert!(written.is_ok(), "a problem is always writable as JSON");
        written.unwrap_or_default().into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if let Some((name, value)) = self.kind.header() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers for a path that does not exist.
pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem::say(Kind::NotFound, "ingest.http.no_such_path", &[("path", &cut(uri.path()))])
}

/// Answers for a path that has other methods.
pub(super) async fn method_not_allowed(method: axum::http::Method, uri: Uri) -> Problem {
    let args: [(&str, &dyn Display); 2] = [("method", &method), ("path", &cut(uri.path()))];
    Problem::say(Kind::MethodNotAllowed, "ingest.http.no_such_method", &args)
}

/// Cuts what a request said, so that an answer does not repeat it at length.
pub(super) fn cut(text: &str) -> String {
    telemetry::problem::excerpt(text)
}
