//! The peer of benchmarks over HTTP: a server that does nothing but answer, with the same library, number of
//! workers and size of answer as the real one.

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};

use crate::config::WebConfig;
use crate::server::{RunningServer, WebError, bind, started};

/// About as long as the answer to a trade.
const ANSWER: &str = r#"{"id":"00000000-0000-7000-8000-000000000000","market_id":"00000000-0000-7000-8000-000000000000","account":"constant","at":"2026-01-01T00:00:00.000Z","outcome":"yes","yes_micro":10000,"no_micro":0,"cost_micro":5000,"probability_before":0.5,"probability_after":0.5,"cause":"trade"}"#;

/// The only answer of a server.
#[derive(Debug, Clone)]
pub struct Constant {
    /// Status of HTTP.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// What every request gets.
    pub body: Vec<u8>,
}

impl Constant {
    /// An answer like that to a trade.
    #[must_use]
    pub fn trade() -> Self {
        Self {
            status: 201,
            content_type: "application/json",
            body: ANSWER.into(),
        }
    }
}

/// Starts a server on any free port of this machine that reads every request and answers with a constant.
///
/// # Errors
/// As [`crate::serve`].
pub fn serve_constant(config: &WebConfig, constant: Constant) -> Result<RunningServer, WebError> {
    let (status, media) = (constant.status, constant.content_type);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let body = web::Bytes::from(constant.body);
    let workers = config.workers.max(1);
    let listener = bind(([127, 0, 0, 1], 0).into())?;
    started(listener, "web-constant", async move |listener, stopped| {
        let server = HttpServer::new(move || {
            let body = body.clone();
            App::new().default_service(web::to(move |_body: web::Bytes| {
                let body = body.clone();
                async move { HttpResponse::build(status).content_type(media).body(body) }
            }))
        })
        .workers(workers)
        .disable_signals()
        .listen(listener)
        .map_err(|error| WebError::Server(error.to_string()))?
        .run();
        let handle = server.handle();
        let stopper = actix_web::rt::spawn(async move {
            // An error means that nobody will stop it: it ends with the process.
            if stopped.await.is_ok() {
                handle.stop(false).await;
            }
        });
        let ended = server.await;
        stopper.abort();
        ended.map_err(|error| WebError::Server(error.to_string()))
    })
}
