//! A blocking HTTP client that hides nothing: statuses, headers and bodies as they came.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::runtime::Runtime;

/// How long one request may take; long polls ask for less.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One request, before it is known who sends it.
#[derive(Debug, Clone)]
pub struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Call {
    fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// Reads.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Deletes.
    #[must_use]
    pub fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    /// Writes JSON.
    #[must_use]
    pub fn post(path: &str, body: &Value) -> Self {
        Self::raw(path, "application/json", body.to_string())
    }

    /// Writes any bytes, declared as `content_type`; undeclared if that is empty.
    #[must_use]
    pub fn raw(path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut call = Self::new("POST", path);
        if !content_type.is_empty() {
            call = call.header("content-type", content_type);
        }
        call.body = Some(body.into());
        call
    }

    /// Writes an HTML form.
    #[must_use]
    pub fn form(path: &str, fields: &[(&str, &str)]) -> Self {
        let url = reqwest::Url::parse_with_params("http://form/", fields).expect("fields encode");
        let body = url.query().unwrap_or_default().to_owned();
        Self::raw(path, "application/x-www-form-urlencoded", body)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With an idempotency key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text, empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The JSON of a success.
    ///
    /// # Panics
    /// When the answer is an error.
    #[must_use]
    pub fn ok(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.text()
        );
        if self.body.is_empty() {
            return Value::Null;
        }
        self.json()
    }

    /// Status and code of a problem document, every part of which is checked.
    ///
    /// # Panics
    /// When the answer is no problem document of RFC 9457, or contradicts itself.
    #[must_use]
    pub fn problem(&self) -> (u16, String) {
        let shown = || format!("{} {}", self.status, self.text());
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            shown()
        );
        let body = self.json();
        assert_eq!(body["status"], self.status, "{}", shown());
        for field in ["type", "title", "detail", "code", "instance"] {
            assert!(
                body[field].as_str().is_some_and(|text| !text.is_empty()),
                "no {field}: {}",
                shown()
            );
        }
        assert_eq!(body["instance"], self.header("x-request-id"), "{}", shown());
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }
}

/// Somebody at a server: a base address and what is sent with every request.
#[derive(Clone)]
pub struct Http {
    runtime: Arc<Runtime>,
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Http {
    /// A visitor.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        Self {
            runtime: Arc::new(runtime),
            client: client(None),
            base: base.to_owned(),
            token: None,
        }
    }

    /// The same server, with a bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same, from another address of this machine: servers count by address.
    #[must_use]
    pub fn from_address(&self, address: IpAddr) -> Self {
        Self {
            client: client(Some(address)),
            ..self.clone()
        }
    }

    /// The same account at a server that has moved, as after a restart at a free port.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// The bearer token, if any.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Sends; `None` when no whole answer came, for whatever reason.
    #[must_use]
    pub fn try_send(&self, call: &Call) -> Option<Answer> {
        self.runtime.block_on(self.receive(call)).ok()
    }

    /// Sends.
    ///
    /// # Panics
    /// When no answer comes.
    #[must_use]
    pub fn send(&self, call: &Call) -> Answer {
        let received = self.runtime.block_on(self.receive(call));
        received.unwrap_or_else(|error| panic!("{} {}: {error:?}", call.method, call.path))
    }

    async fn receive(&self, call: &Call) -> Result<Answer, reqwest::Error> {
        let response = self.build(call).timeout(TIMEOUT).send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    }

    fn build(&self, call: &Call) -> reqwest::RequestBuilder {
        let method = call.method.parse().expect("a method's name");
        let mut request = self
            .client
            .request(method, format!("{}{}", self.base, call.path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &call.headers {
            request = request.header(name, value.as_slice());
        }
        match &call.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }

    /// Reads JSON.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        self.send(&Call::get(path)).ok()
    }

    /// Writes JSON.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.send(&Call::post(path, body)).ok()
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Panics
    /// When the server does not open it.
    #[must_use]
    pub fn events(&self, call: &Call) -> EventStream {
        let response = self.runtime.block_on(self.build(call).send());
        let response = response.expect("the server answers");
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].as_bytes();
        assert!(kind.starts_with(b"text/event-stream"));
        EventStream {
            runtime: Arc::clone(&self.runtime),
            response,
            text: String::new(),
        }
    }
}

fn client(address: Option<IpAddr>) -> reqwest::Client {
    reqwest::Client::builder()
        .local_address(address)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .build()
        .expect("a client without options builds")
}

/// An open stream of server-sent events.
pub struct EventStream {
    runtime: Arc<Runtime>,
    response: reqwest::Response,
    text: String,
}

impl EventStream {
    /// The next event's id and data, or `None` when none comes within `wait`.
    ///
    /// # Panics
    /// When the stream ends or its data is not JSON.
    pub fn next(&mut self, wait: Duration) -> Option<(i64, Value)> {
        let runtime = Arc::clone(&self.runtime);
        runtime.block_on(async { tokio::time::timeout(wait, self.read()).await.ok() })
    }

    async fn read(&mut self) -> (i64, Value) {
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let event = parse(frame);
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return event;
                }
            }
            let chunk = self.response.chunk().await.expect("the stream is readable");
            let chunk = chunk.expect("the stream goes on");
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

/// An event of the wire; `None` for comments and settings.
fn parse(frame: &str) -> Option<(i64, Value)> {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
    let data = serde_json::from_str(field("data: ")?).expect("data is JSON");
    Some((field("id: ")?.parse().expect("ids are numbers"), data))
}
