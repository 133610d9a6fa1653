//! How a request is sent: one place for headers, timeouts, retries, bounds and errors.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER, SET_COOKIE};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::{Client, Page, retry};
use crate::error::{ApiError, ClientError};

/// Largest answer read, bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Longest piece of an unexpected answer that goes into an error, characters.
const MAX_EXCERPT: usize = 200;
/// Rows asked for per page when a whole list is wanted.
const PAGE: usize = 100;
/// Most pages followed for one list.
const MAX_PAGES: usize = 1_000;

/// One request before it is sent.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) key: Option<String>,
    pub(super) timeout: Duration,
    pub(super) cookie: Option<String>,
    pub(super) csrf: Option<String>,
}

/// The answer to a request: status, headers, body.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
    ) -> Result<T, ClientError> {
        let mut request = self.request(Method::GET, path);
        request.query = query;
        self.send(&request).await?.json()
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(&self.post_request(path, body)?).await?.json()
    }

    /// Every row of a list, page after page.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Vec<T>, ClientError> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = query.clone();
            query.push(("limit", PAGE.to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, query).await?;
            rows.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(rows)
    }

    pub(super) fn request<'a>(&self, method: Method, path: &'a [&'a str]) -> Request<'a> {
        Request {
            method,
            path,
            query: Vec::new(),
            body: None,
            key: None,
            timeout: self.timeout,
            cookie: None,
            csrf: None,
        }
    }

    pub(super) fn post_request<'a>(
        &self,
        path: &'a [&'a str],
        body: &impl Serialize,
    ) -> Result<Request<'a>, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            ClientError::Configuration(format!("the request cannot be written as JSON: {error}"))
        })?;
        let mut request = self.request(Method::POST, path);
        request.body = Some(body);
        request.key = Some(Uuid::now_v7().to_string());
        Ok(request)
    }

    fn url(&self, request: &Request<'_>) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| {
                ClientError::Configuration(format!("`{}` cannot carry a path", self.base))
            })?
            .pop_if_empty()
            .extend(request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    /// Sends a request, trying again as the policy allows.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, ClientError> {
        let url = self.url(request)?;
        let mut failed = 0;
        loop {
            let error = match self.try_once(request, &url).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            // A repeat is safe: reads change nothing, writes carry their key.
            let wait = error
                .is_transient()
                .then(|| {
                    self.retry
                        .wait(failed, error.retry_after(), retry::jitter())
                })
                .flatten();
            let Some(wait) = wait else {
                return Err(error);
            };
            tracing::debug!(%url, failed, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(&self, request: &Request<'_>, url: &Url) -> Result<Answer, ClientError> {
        let mut builder = self
            .http
            .request(request.method.clone(), url.clone())
            .timeout(request.timeout);
        builder = builder.header("accept", "application/json");
        if let Some(token) = &self.token {
            builder = builder.bearer_auth(token);
        }
        if let Some(key) = &request.key {
            builder = builder.header("idempotency-key", key);
        }
        if let Some(cookie) = &request.cookie {
            builder = builder
                .header("cookie", cookie)
                .header("origin", self.base.origin().ascii_serialization());
        }
        if let Some(csrf) = &request.csrf {
            builder = builder.header("x-csrf-token", csrf);
        }
        if let Some(body) = &request.body {
            builder = builder
                .header("content-type", "application/json")
                .body(body.clone());
        }
        let lost = |error: reqwest::Error| lost_contact(url, request.timeout, &error);
        let response = builder.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read_bounded(response, url).await?.map_err(lost)?;
        let answer = Answer {
            url: url.to_string(),
            status,
            headers,
            body,
        };
        if status == 304 || (200..300).contains(&status) {
            Ok(answer)
        } else {
            Err(ClientError::Api(answer.problem()))
        }
    }
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(error.to_string()))
    }

    /// Rows of a list that is either bare or under one of `names`.
    pub(super) fn rows<T: DeserializeOwned>(&self, names: &[&str]) -> Result<Vec<T>, ClientError> {
        let mut document: Value = self.json()?;
        let rows = match names
            .iter()
            .find_map(|name| document.get_mut(name).map(Value::take))
        {
            Some(rows) => rows,
            None => document,
        };
        serde_json::from_value(rows).map_err(|error| self.malformed(error.to_string()))
    }

    pub(super) fn malformed(&self, why: String) -> ClientError {
        ClientError::Malformed {
            url: self.url.clone(),
            why,
        }
    }

    /// `name=value` of every cookie that the answer sets, as a `Cookie` header.
    pub(super) fn cookies(&self) -> String {
        let pairs = self
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let pairs: Vec<&str> = pairs
            .filter_map(|cookie| cookie.split(';').next())
            .map(str::trim)
            .collect();
        pairs.join("; ")
    }

    /// The token against cross-site requests that came with a session, in the body or a header.
    pub(super) fn csrf_token(&self) -> Option<String> {
        let document: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let body = ["csrf", "csrf_token"]
            .iter()
            .find_map(|name| document.get(name)?.as_str());
        let header = self
            .headers
            .get("x-csrf-token")
            .and_then(|value| value.to_str().ok());
        body.or(header).map(str::to_owned)
    }

    /// The error that the body describes: a problem document, or the
    /// gateway's `{"error": {"code", "message"}}`.
    fn problem(&self) -> ApiError {
        let document: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let fields = document
            .get("error")
            .filter(|error| error.is_object())
            .unwrap_or(&document);
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail")
            .or_else(|| text("message"))
            .or_else(|| text("title"));
        let retry_after = self
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        ApiError {
            status: self.status,
            code: text("code")
                .or_else(|| text("type"))
                .unwrap_or_else(|| format!("http-{}", self.status)),
            detail: detail.unwrap_or_else(|| excerpt(&self.body)),
            retry_after: retry_after
                .and_then(|value| retry::parse_retry_after(value, Timestamp::now())),
        }
    }
}

/// The body, at most [`MAX_ANSWER_BYTES`] of it; the inner error is a lost connection.
async fn read_bounded(
    mut response: Response,
    url: &Url,
) -> Result<Result<Vec<u8>, reqwest::Error>, ClientError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                let why = format!("longer than {MAX_ANSWER_BYTES} bytes");
                return Err(ClientError::Malformed {
                    url: url.to_string(),
                    why,
                });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Ok(body)),
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn lost_contact(url: &Url, within: Duration, error: &reqwest::Error) -> ClientError {
    let url = url.to_string();
    if error.is_timeout() && !error.is_connect() {
        return ClientError::Timeout { url, within };
    }
    ClientError::Unreachable {
        url,
        cause: root_cause(error),
    }
}

pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let short: String = text
        .chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_EXCERPT)
        .collect();
    if short.is_empty() {
        "no explanation was given".to_owned()
    } else {
        short
    }
}
