//! The peer of benchmarks over HTTP: a server that does nothing but answer, with the same library, number of
//! workers and size of answer as the real one.

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::config::WebConfig;
use crate::server::{RunningServer, WebError, bind, started};

/// About as long as the answer to a trade.
const ANSWER: &str = r#"{"id":"00000000-0000-7000-8000-000000000000","market_id":"00000000-0000-7000-8000-000000000000","account":"constant","at":"2026-01-01T00:00:00.000Z","outcome":"yes","yes_micro":10000,"no_micro":0,"cost_micro":5000,"probability_before":0.5,"probability_after":0.5,"cause":"trade"}"#;

/// Starts a server on any free port of this machine that reads every request and answers with a constant.
///
/// # Errors
/// As [`crate::serve`].
pub fn serve_constant(config: &WebConfig) -> Result<RunningServer, WebError> {
    let workers = config.workers.max(1);
    let listener = bind(([127, 0, 0, 1], 0).into())?;
    started(listener, "web-constant", async move |listener, stopped| {
        let server = HttpServer::new(|| {
            App::new().default_service(web::to(|_body: web::Bytes| async {
                HttpResponse::Created()
                    .content_type("application/json")
                    .body(ANSWER)
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
