//! Which browser writes are ours: same origin, and the session's token.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use subtle::ConstantTimeEq;

use crate::problem::Problem;

/// Header that carries the session's token on JSON writes.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// Refuses a write that a browser says came from another origin.
///
/// Browsers send `Sec-Fetch-Site` and `Origin` and pages cannot forge them. A
/// request with neither is not a browser's, and then no cookie was attached
/// against its user's will.
pub(crate) fn require_same_origin(req: &HttpRequest) -> Result<(), Problem> {
    let host = req
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if same_origin(req.headers(), host) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "cross-origin",
        "this write came from another site's page",
    ))
}

fn same_origin(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("invalid"))
    };
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return false;
    }
    match text("origin") {
        None => true,
        Some(origin) => origin
            .split_once("://")
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
    }
}

/// Refuses a write whose token is not the session's. Compared in constant time.
pub(crate) fn require_token(given: Option<&str>, expected: &str) -> Result<(), Problem> {
    let given = given.unwrap_or_default();
    if !expected.is_empty() && bool::from(given.as_bytes().ct_eq(expected.as_bytes())) {
        return Ok(());
    }
    let detail = "the session's CSRF token is missing or old; reload the page and try again";
    Err(Problem::new(StatusCode::FORBIDDEN, "csrf", detail))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn origins() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("origin", "http://a:8600")], true),
            (&[("origin", "HTTP://A:8600")], true),
            (&[("origin", "http://a:8601")], false),
            (&[("origin", "http://evil")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[("sec-fetch-site", "same-site"), ("origin", "http://a:8600")],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "http://a:8600"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "none")], true),
        ];
        for (headers, allowed) in cases {
            let mut req = TestRequest::post().insert_header(("host", "a:8600"));
            for (name, value) in *headers {
                req = req.insert_header((*name, *value));
            }
            assert_eq!(
                require_same_origin(&req.to_http_request()).is_ok(),
                *allowed,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn tokens() {
        assert!(require_token(Some("abc"), "abc").is_ok());
        for given in [None, Some(""), Some("abd"), Some("abcd")] {
            assert_eq!(require_token(given, "abc").unwrap_err().code, "csrf");
        }
        assert!(
            require_token(Some(""), "").is_err(),
            "no token never matches no token"
        );
    }
}
