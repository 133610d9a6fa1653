//! Extractors whose every failure is a [`Problem`].

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt;
use futures_util::future::{LocalBoxFuture, Ready, ready};
use plumbline_service::attachments::MAX_ATTACHMENT;
use plumbline_service::context::Idempotency;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::problem::Problem;
use crate::state::AppState;

/// Header that makes a write safe to send twice.
pub(crate) const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Longest idempotency key.
const MAX_KEY: usize = 128;
/// Rows of a page unless asked otherwise.
const DEFAULT_LIMIT: usize = 50;
/// Most rows of a page.
const MAX_LIMIT: usize = 200;
/// Longest cursor, bytes.
const MAX_CURSOR: usize = 256;

/// A JSON body, and the idempotency key that came with it.
#[derive(Debug)]
pub(crate) struct Json<T> {
    /// The body.
    pub(crate) value: T,
    /// The key with the hash of the request, if one was sent.
    pub(crate) idempotency: Option<Idempotency>,
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            require_json(&req)?;
            let body = read_body(&req, payload).await?;
            let idempotency = idempotency(&req, &body)?;
            Ok(Self {
                value: parse_json(&body)?,
                idempotency,
            })
        })
    }
}

/// A body of any kind up to the size of an attachment, and the idempotency key that came with it.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Content-Type as declared.
    pub(crate) media_type: String,
    /// The body.
    pub(crate) data: Bytes,
    /// The key with the hash of the request, if one was sent.
    pub(crate) idempotency: Option<Idempotency>,
}

impl FromRequest for Raw {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let declared = req.headers().get(header::CONTENT_TYPE);
            let media_type = declared
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let data = read_up_to(&req, payload, MAX_ATTACHMENT).await?;
            let idempotency = idempotency(&req, &data)?;
            Ok(Self {
                media_type,
                data,
                idempotency,
            })
        })
    }
}

/// A write without a body.
#[derive(Debug)]
pub(crate) struct NoBody {
    /// The key with the hash of the request, if one was sent.
    pub(crate) idempotency: Option<Idempotency>,
}

impl FromRequest for NoBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let body = read_body(&req, payload).await?;
            Ok(Self {
                idempotency: idempotency(&req, &body)?,
            })
        })
    }
}

/// Query parameters; unknown ones are refused.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest for Params<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = web::Query::<T>::from_query(req.query_string());
        ready(
            parsed
                .map(|query| Self(query.into_inner()))
                .map_err(|error| {
                    let detail = error.to_string();
                    let unknown = detail.contains("unknown field");
                    Problem::bad_request(
                        if unknown {
                            "unknown-parameter"
                        } else {
                            "invalid-parameter"
                        },
                        detail,
                    )
                }),
        )
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Paging {
    /// Cursor and limit. Errors: as [`limit_beside`].
    pub(crate) fn read(&self) -> Result<(Option<String>, usize), Problem> {
        let limit = limit_beside(self.cursor.as_deref(), self.limit)?;
        Ok((self.cursor.clone(), limit))
    }
}

/// The limit of a page that comes after `cursor`. Errors: as [`limit`], and a cursor that cannot be one.
pub(crate) fn limit_beside(cursor: Option<&str>, given: Option<usize>) -> Result<usize, Problem> {
    let length = cursor.map(str::len);
    if length.is_some_and(|length| !(1..=MAX_CURSOR).contains(&length)) {
        let detail = "pass the next_cursor of the page before, unchanged";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-cursor",
            detail,
        ));
    }
    limit(given)
}

/// The given limit, or the default. Errors: outside 1 to 200.
pub(crate) fn limit(given: Option<usize>) -> Result<usize, Problem> {
    match given {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(Problem::bad_request(
            "invalid-parameter",
            format!("limit must be 1 to {MAX_LIMIT}"),
        )),
    }
}

fn require_json(req: &HttpRequest) -> Result<(), Problem> {
    let declared = req
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = declared
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "send the body as JSON with Content-Type: application/json";
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        detail,
    ))
}

/// Reads the whole body, refusing it as soon as it is known to be too large.
pub(crate) async fn read_body(req: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    read_up_to(req, payload, usize::MAX).await
}

/// As [`read_body`], with a limit that may be lower than that of the server.
async fn read_up_to(
    req: &HttpRequest,
    mut payload: Payload,
    most: usize,
) -> Result<Bytes, Problem> {
    let limit = AppState::of(req)?.config.body_limit.min(most);
    let too_large = || {
        let detail = format!("the request body is larger than {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
    };
    let declared = req
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if declared
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|error| Problem::bad_request("bad-request", error.to_string()))?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Parses a JSON body into a problem that says what to change.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    use serde_json::error::Category;
    if std::str::from_utf8(body).is_err() {
        return Err(Problem::bad_request("not-utf8", "the body is not UTF-8"));
    }
    // Structures could be read from lists too, in the order of their fields; nobody means that.
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let detail = "the body is an object";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-field",
            detail,
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        let detail = error.to_string();
        match error.classify() {
            Category::Data if detail.starts_with("unknown field") => {
                Problem::bad_request("unknown-field", detail)
            }
            Category::Data => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field", detail)
            }
            _ => Problem::bad_request("malformed-json", format!("the body is not JSON: {detail}")),
        }
    })
}

/// The request's idempotency key with the hash of method, path and body. Errors: not 1 to 128 visible ASCII characters.
fn idempotency(req: &HttpRequest, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = req.headers().get(IDEMPOTENCY_HEADER) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    keyed(key, req, body).map(Some)
}

/// Binds a key to a request: BLAKE3 of method, path and body.
pub(crate) fn keyed(key: &str, req: &HttpRequest, body: &[u8]) -> Result<Idempotency, Problem> {
    if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = format!("Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters");
        return Err(Problem::bad_request("invalid-idempotency-key", detail));
    }
    let mut hasher = blake3::Hasher::new();
    for part in [
        req.method().as_str().as_bytes(),
        req.uri().path().as_bytes(),
    ] {
        hasher.update(part).update(b"\n");
    }
    let request_hash = hasher.update(body).finalize().to_hex().to_string();
    Ok(Idempotency {
        key: key.to_owned(),
        request_hash,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::test::TestRequest;
    use plumbline_service::commands::TradeOrder;

    fn code_of(body: &[u8]) -> (u16, String) {
        let problem = parse_json::<TradeOrder>(body).unwrap_err();
        (problem.status, problem.code)
    }

    #[test]
    fn bad_bodies_have_stable_codes() {
        let cases: &[(&[u8], u16, &str)] = &[
            (b"", 400, "malformed-json"),
            (b"{", 400, "malformed-json"),
            (
                b"{\"outcome\":\"yes\",\"limit_probability\":NaN}",
                400,
                "malformed-json",
            ),
            (
                b"{\"outcome\":\"yes\",\"target_probability\":1e999}",
                400,
                "malformed-json",
            ),
            (b"{\"outcome\":\"\xff\"}", 400, "not-utf8"),
            (b"{\"outcome\":\"yes\",\"spend\":1}", 400, "unknown-field"),
            (b"{}", 422, "invalid-field"),
            (b"[]", 422, "invalid-field"),
            (
                b"{\"outcome\":\"yes\",\"spend_micro\":99999999999999999999}",
                422,
                "invalid-field",
            ),
            (
                b"{\"outcome\":\"yes\",\"spend_micro\":1.5}",
                422,
                "invalid-field",
            ),
            (
                b"{\"outcome\":\"yes\",\"spend_micro\":\"1\"}",
                422,
                "invalid-field",
            ),
        ];
        for (body, status, code) in cases {
            assert_eq!(
                code_of(body),
                (*status, (*code).to_owned()),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        assert_eq!(
            code_of(&deep).0 / 100,
            4,
            "deep nesting is refused, not a stack overflow"
        );
    }

    #[test]
    fn a_key_is_bound_to_method_path_and_body() {
        let post = |path: &str| TestRequest::post().uri(path).to_http_request();
        let hash = |req: &HttpRequest, body: &[u8]| keyed("k", req, body).unwrap().request_hash;
        let base = hash(&post("/a"), b"x");
        assert_eq!(base, hash(&post("/a"), b"x"));
        assert_ne!(base, hash(&post("/b"), b"x"));
        assert_ne!(base, hash(&post("/a"), b"y"));
        let long = "x".repeat(129);
        for bad in ["", "a b", "schlüssel", long.as_str()] {
            assert_eq!(
                keyed(bad, &post("/a"), b"").unwrap_err().code,
                "invalid-idempotency-key"
            );
        }
    }

    #[test]
    fn pages_are_bounded() {
        let parse = |query: &str| {
            let req = TestRequest::get()
                .uri(&format!("/x?{query}"))
                .to_http_request();
            Params::<Paging>::from_request(&req, &mut Payload::None).into_inner()
        };
        assert_eq!(parse("").unwrap().0.read().unwrap(), (None, 50));
        assert_eq!(
            parse("limit=200&cursor=c").unwrap().0.read().unwrap(),
            (Some("c".into()), 200)
        );
        for bad in ["limit=0", "limit=201"] {
            assert_eq!(
                parse(bad).unwrap().0.read().unwrap_err().code,
                "invalid-parameter"
            );
        }
        assert_eq!(parse("limit=-1").unwrap_err().code, "invalid-parameter");
        assert_eq!(parse("limits=1").unwrap_err().code, "unknown-parameter");
    }
}
