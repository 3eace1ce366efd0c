//! The built-in page: static, without data, and so open to everybody.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dashboards::{Asset, Page};

use super::problem::{Problem, not_found};

/// What the page may do: load its own files and ask its own server, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
/// The entry is asked for again each time, and mostly answered with 304.
const ASK_AGAIN: &str = "no-cache";
/// An asset's address has its version in it.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Returns whether a path is the page's, and needs no token.
pub(super) fn is_of_page(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// Serves the document.
pub(super) async fn entry(headers: HeaderMap) -> Response {
    let page = Page::get();
    send(&page.entry, &page.version, ASK_AGAIN, &headers)
}

/// Serves what the document names.
pub(super) async fn asset(
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = Page::get();
    let known = path.ok().filter(|Path((version, _))| *version == page.version);
    match known.and_then(|Path((_, name))| page.asset(&name)) {
        Some(asset) => Ok(send(asset, &page.version, FOR_EVER, &headers)),
        None => Err(not_found(uri).await),
    }
}

fn send(asset: &'static Asset, version: &str, cache: &'static str, asked: &HeaderMap) -> Response {
    let is_packed = takes_gzip(asked);
    // Two codings of one file are two representations, and so have two tags.
    let tag = format!("\"{version}{}\"", if is_packed { "-gzip" } else { "" });
    let head: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, cache),
        (header::ETAG, &tag),
        (header::VARY, "accept-encoding"),
    ];
    if is_known(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    if is_packed {
        return (head, [(header::CONTENT_ENCODING, "gzip")], &*asset.gzip).into_response();
    }
    (head, &*asset.bytes).into_response()
}

/// Returns whether the client takes gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    wanted.unwrap_or_default().split(',').any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f64>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// Returns whether the client has this representation.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        known.split(',').any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == tag)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (header, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
            ("gzip;q=x", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(header))]);
            assert_eq!(takes_gzip(&headers), takes, "{header}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
