//! Entity tags: a client that has an answer already asks whether it still holds.
//!
//! JSON answers of the API are tagged by their content, so a tag is right whatever the answer was made of. They are
//! weak, because a compressed answer carries the same one.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;

/// Hexadecimal digits of a hash that make a tag.
const DIGITS: usize = 32;

/// The weak tag of a content.
pub(crate) fn weak(content: &[u8]) -> String {
    let hash = blake3::hash(content).to_hex();
    format!("W/\"{}\"", &hash[..DIGITS])
}

/// Tags an answer to a read that has no tag yet, and answers 304 where the client has it.
pub(crate) fn conditional(mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if response.status() != StatusCode::OK || response.request().method() != Method::GET {
        return response;
    }
    if !response.headers().contains_key(header::ETAG) && is_json_of_api(&response) {
        response = tagged(response);
    }
    let tag = response.headers().get(header::ETAG).cloned();
    match tag {
        Some(tag) if is_held(&response, &tag) => not_modified(response),
        _ => response,
    }
}

fn is_json_of_api(response: &ServiceResponse<BoxBody>) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    response.request().path().starts_with("/api/v1/")
        && media_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

fn tagged(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    // A body that comes in pieces has no tag.
    let (body, tag): (BoxBody, Option<String>) = match body.try_into_bytes() {
        Ok(bytes) => {
            let tag = weak(&bytes);
            (BoxBody::new(bytes), Some(tag))
        }
        Err(body) => (body, None),
    };
    let mut response = head.set_body(body);
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        let headers = response.headers_mut();
        headers.insert(header::ETAG, tag);
        // Kept by whom it was for, and never used without asking.
        let kept = HeaderValue::from_static("private, no-cache");
        headers.insert(header::CACHE_CONTROL, kept);
        let vary = HeaderValue::from_static("authorization, cookie");
        headers.append(header::VARY, vary);
    }
    ServiceResponse::new(request, response)
}

/// Whether the request says that the client has that very answer. Tags compare weakly, as RFC 9110 asks.
fn is_held(response: &ServiceResponse<BoxBody>, tag: &HeaderValue) -> bool {
    let given = response.request().headers().get_all(header::IF_NONE_MATCH);
    let Ok(tag) = tag.to_str() else {
        return false;
    };
    given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || opaque(one) == opaque(tag))
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn not_modified(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let mut response = response.set_body(BoxBody::new(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().remove(header::CONTENT_TYPE);
    ServiceResponse::new(request, response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::HttpResponse;
    use actix_web::test::TestRequest;

    fn answer(path: &str, if_none_match: Option<&str>) -> ServiceResponse<BoxBody> {
        let mut request = TestRequest::get().uri(path);
        if let Some(tags) = if_none_match {
            request = request.insert_header((header::IF_NONE_MATCH, tags));
        }
        let body = HttpResponse::Ok()
            .content_type("application/json")
            .body("{}");
        conditional(ServiceResponse::new(request.to_http_request(), body))
    }

    #[test]
    fn a_tag_is_of_the_content_and_is_compared_weakly() {
        let first = answer("/api/v1/markets", None);
        let tag = first.headers().get(header::ETAG).unwrap().to_str().unwrap();
        assert_eq!(tag, weak(b"{}"));
        let strong = tag.trim_start_matches("W/").to_owned();
        let listed = format!("\"other\", {tag}");
        for held in [tag, &strong, &listed, "*"] {
            let again = answer("/api/v1/markets", Some(held));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{held}");
            assert_eq!(again.headers().get(header::ETAG).unwrap(), tag);
        }
        for other in ["\"other\"", "", "W/"] {
            let again = answer("/api/v1/markets", Some(other));
            assert_eq!(again.status(), StatusCode::OK, "{other}");
        }
        assert!(
            answer("/markets", None)
                .headers()
                .get(header::ETAG)
                .is_none()
        );
    }
}
