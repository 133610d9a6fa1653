//! The OpenAI-compatible gateway: the run's newest parameters or a pinned
//! checkpoint, limited by the run's allocation.
//!
//! Errors have OpenAI's shape. A throttled run answers 429 with `Retry-After`,
//! a paused one 503 with the decision that paused it.

mod request;
mod response;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::header;
use plumbline_service::host::{Generated, Sampling};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Answer;
use crate::auth::{Caller, Reader, SignedReader, State};
use crate::blocking::blocking;
use crate::extract::Json;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) use request::{ChatRequest, CompletionRequest, Job};
pub(crate) use response::{ChatCompletion, Completion, ModelList};

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

/// The problem in OpenAI's shape, with the same status and headers.
pub(crate) fn error_response(problem: &Problem) -> HttpResponse {
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
    let mut response = HttpResponse::build(problem.status_code());
    if let Some(seconds) = problem.retry_after_s {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    response.json(OpenAiError { error })
}

/// Models that can be asked: each run's newest parameters and its pinned checkpoints
#[utoipa::path(get, path = "/v1/models", tag = "gateway",
    responses((status = 200, description = "The models", body = ModelList)))]
pub(crate) async fn models(state: State, caller: Caller<Reader>) -> Answer {
    let models = blocking(&state.service, move |service| {
        service.models(&caller.context())
    })
    .await?;
    Ok(HttpResponse::Ok().json(ModelList::of(models)))
}

/// Complete one prompt or several
#[utoipa::path(post, path = "/v1/completions", tag = "gateway", request_body = CompletionRequest,
    responses((status = 200, description = "The completions; with `stream` as data chunks ending in [DONE]", body = Completion)))]
pub(crate) async fn complete(
    state: State,
    caller: Caller<SignedReader>,
    body: Json<CompletionRequest>,
) -> Answer {
    let request = body.value;
    let job = request.job()?;
    let (model, stream) = (job.model.clone(), job.stream);
    let texts = generate(&state, &caller, job).await?;
    let completion = Completion::of(&model, texts);
    if stream {
        Ok(response::stream(completion.chunks()))
    } else {
        Ok(HttpResponse::Ok().json(completion))
    }
}

/// Answer a conversation; the messages become a prompt of `role: content` lines that ends with `assistant:`
#[utoipa::path(post, path = "/v1/chat/completions", tag = "gateway", request_body = ChatRequest,
    responses((status = 200, description = "The answers; with `stream` as data chunks ending in [DONE]", body = ChatCompletion)))]
pub(crate) async fn chat(
    state: State,
    caller: Caller<SignedReader>,
    body: Json<ChatRequest>,
) -> Answer {
    let request = body.value;
    let job = request.job()?;
    let (model, stream) = (job.model.clone(), job.stream);
    let texts = generate(&state, &caller, job).await?;
    let completion = ChatCompletion::of(&model, texts);
    if stream {
        Ok(response::stream(completion.chunks()))
    } else {
        Ok(HttpResponse::Ok().json(completion))
    }
}

/// Runs a job within the server's bounds: few at once, a bounded queue behind them.
///
/// Errors: 503 when the queue is full, or whatever the service says.
async fn generate(
    state: &AppState,
    caller: &Caller<SignedReader>,
    job: Job,
) -> Result<Vec<Generated>, Problem> {
    let queue = state.completion_queue.clone();
    let _place = queue
        .try_acquire_owned()
        .map_err(|_| Problem::overloaded("completions"))?;
    let turn = state
        .completions
        .clone()
        .acquire_owned()
        .await
        .map_err(Problem::internal)?;
    let context = caller.context();
    blocking(&state.service, move |service| {
        // Held by the work and not by the request: a client that hangs up must not let another job in early.
        let _turn = turn;
        let mut texts = vec![Vec::with_capacity(job.copies); job.prompts.len()];
        for copy in 0..job.copies {
            let sampling = Sampling {
                seed: job.sampling.seed.wrapping_add(copy as u64),
                ..job.sampling.clone()
            };
            let answers = service.complete(&context, &job.model, &job.prompts, &sampling)?;
            for (prompt, answer) in texts.iter_mut().zip(answers) {
                prompt.push(answer);
            }
        }
        Ok(texts.into_iter().flatten().collect())
    })
    .await
}
