//! The OpenAI-compatible gateway: the run's newest parameters or a pinned
//! checkpoint, limited by the run's allocation.
//!
//! Errors have OpenAI's shape. A throttled run answers 429 with `Retry-After`,
//! a paused one 503 with the decision that paused it.

mod chunks;
mod options;
mod request;
mod response;
mod texts;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::header;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Answer;
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::Json;
use crate::problem::Problem;

use chunks::{Chunks, Form};
use options::Checked;
use request::{ChatRequest, CompletionRequest};
use response::{ChatCompletion, Completion, Model, ModelList};
use texts::Texts;

/// An error in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    error: OpenAiErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiErrorBody {
    /// What is wrong and what to do about it.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Stable problem code.
    code: String,
    /// Always null.
    param: Option<String>,
    /// Decision that limits the run, when one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
}

/// The problem in OpenAI's shape.
fn problem_body(problem: &Problem) -> OpenAiError {
    let kind = match problem.status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let error = OpenAiErrorBody {
        message: problem.detail.clone(),
        kind,
        code: problem.code.clone(),
        param: None,
        decision_id: problem.decision_id.clone(),
    };
    OpenAiError { error }
}

/// The problem in OpenAI's shape, with the same status and headers.
pub(crate) fn error_response(problem: &Problem) -> HttpResponse {
    let mut response = HttpResponse::build(problem.status_code());
    if let Some(seconds) = problem.retry_after_s {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    response.json(problem_body(problem))
}

/// Models that can be asked: each run's newest parameters and its pinned checkpoints
#[utoipa::path(get, path = "/v1/models", tag = "gateway",
    responses((status = 200, description = "The models", body = ModelList)))]
pub(crate) async fn models(state: State, caller: Caller) -> Answer {
    let models = blocking(&state.service, move |service| {
        service.models(&caller.context())
    })
    .await?;
    Ok(HttpResponse::Ok().json(ModelList::of(models)))
}

/// One model that can be asked
#[utoipa::path(get, path = "/v1/models/{model}", tag = "gateway", params(("model" = String, Path, description = "Its name")),
    responses((status = 200, description = "The model", body = Model)))]
pub(crate) async fn model(
    state: State,
    caller: Caller,
    path: actix_web::web::Path<String>,
) -> Answer {
    let name = path.into_inner();
    let model = blocking(&state.service, move |service| {
        service.model(&caller.context(), &name)
    })
    .await?;
    Ok(HttpResponse::Ok().json(Model::from(model)))
}

/// Complete one prompt or several
#[utoipa::path(post, path = "/v1/completions", tag = "gateway", request_body = CompletionRequest,
    responses((status = 200, description = "The completions; with `stream` as data chunks ending in [DONE]", body = Completion)))]
pub(crate) async fn complete(
    state: State,
    caller: Caller,
    body: Json<Checked<CompletionRequest>>,
) -> Answer {
    let job = body.value.0.job()?;
    let texts = Texts::of(&state, &caller, &job).await?;
    let parameters = texts.parameters.clone();
    if job.stream {
        let chunks = Chunks::new(Form::Text, job, parameters);
        return Ok(chunks::stream(texts, chunks));
    }
    let mut texts = texts.all().await?;
    if job.echo {
        for (text, ask) in texts.iter_mut().zip(&job.asks) {
            text.text.insert_str(0, &ask.prompt);
        }
    }
    let completion = Completion::of(&job.model, parameters, texts, job.probable());
    Ok(HttpResponse::Ok().json(completion))
}

/// Answer a conversation; the messages become a prompt of `role: content` lines that ends with `assistant:`
#[utoipa::path(post, path = "/v1/chat/completions", tag = "gateway", request_body = ChatRequest,
    responses((status = 200, description = "The answers; with `stream` as data chunks ending in [DONE]", body = ChatCompletion)))]
pub(crate) async fn chat(state: State, caller: Caller, body: Json<Checked<ChatRequest>>) -> Answer {
    let job = body.value.0.job()?;
    let texts = Texts::of(&state, &caller, &job).await?;
    let parameters = texts.parameters.clone();
    if job.stream {
        let chunks = Chunks::new(Form::Chat, job, parameters);
        return Ok(chunks::stream(texts, chunks));
    }
    let texts = texts.all().await?;
    let completion = ChatCompletion::of(&job.model, parameters, texts, job.probable());
    Ok(HttpResponse::Ok().json(completion))
}
