//! Accounts, sessions and API tokens.

use std::time::Instant;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use plumbline_service::commands::{CreateAccount, CreateToken, Login};
use plumbline_service::views::{MeView, SessionOpened, TokenCreated, TokenView};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, created, done, ok};
use crate::auth::{Caller, State, no_session_cookie, session_cookie};
use crate::blocking::blocking;
use crate::csrf;
use crate::envelope::client_of;
use crate::extract::{Json, NoBody};
use crate::limit::Client;
use crate::problem::Problem;
use crate::state::AppState;

/// `POST /sessions`: the session itself is in the cookie.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Send it as `X-CSRF-Token` with every write that uses the cookie.
    csrf_token: String,
    /// Seconds until the session ends.
    max_age_s: i64,
}

/// Counts an attempt to present or choose credentials, for the address and for the handle that is tried, whether
/// or not anybody has it. Errors: 429.
pub(crate) fn count_attempt(
    state: &AppState,
    req: &HttpRequest,
    handle: &str,
) -> Result<(), Problem> {
    let handle = handle.trim().chars().take(64).collect::<String>();
    count(state, req, Some(handle.to_lowercase()))
}

/// Counts an attempt to sign in with a passkey, for the address and for the passkey that is named, whether or not
/// anybody has it. Errors: 429.
pub(crate) fn count_passkey(
    state: &AppState,
    req: &HttpRequest,
    credential: Option<&serde_json::Value>,
) -> Result<(), Problem> {
    let named = credential.and_then(|credential| credential["id"].as_str());
    let named = named.map(|id| id.chars().take(64).collect::<String>());
    // No handle has a colon.
    count(state, req, named.map(|id| format!("passkey:{id}")))
}

fn count(state: &AppState, req: &HttpRequest, named: Option<String>) -> Result<(), Problem> {
    let address = Client::at(client_of(req.peer_addr()));
    for client in [Some(address), named.map(Client::Account)]
        .into_iter()
        .flatten()
    {
        let taken = state.credentials.take(client, Instant::now());
        taken.map_err(|wait| Problem::too_many("attempts", wait))?;
    }
    Ok(())
}

/// What the browser calls itself.
pub(crate) fn agent_of(req: &HttpRequest) -> String {
    let agent = req.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    agent.unwrap_or_default().to_owned()
}

/// Ends the session that a browser had before it opened another: what was known of it before is worth nothing.
pub(crate) async fn end_former(state: &AppState, caller: &Caller) -> Result<(), Problem> {
    if let Some(former) = &caller.session {
        let secret = former.secret.clone();
        blocking(&state.service, move |service| service.logout(&secret)).await?;
    }
    Ok(())
}

/// Sign up
#[utoipa::path(post, path = "/api/v1/accounts", tag = "accounts", request_body = CreateAccount,
    responses((status = 201, description = "The new account", body = MeView)))]
pub(crate) async fn sign_up(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<CreateAccount>,
) -> Answer {
    count_attempt(&state, &req, &body.value.handle)?;
    let context = caller.writing(body.idempotency);
    let me = blocking(&state.service, move |service| {
        service.create_account(&context, &body.value)
    })
    .await?;
    created(&me)
}

/// Sign in; the session comes as an HttpOnly cookie
#[utoipa::path(post, path = "/api/v1/sessions", tag = "accounts", request_body = Login,
    responses((status = 201, description = "Signed in", body = SessionView)))]
pub(crate) async fn sign_in(req: HttpRequest, state: State, body: Json<Login>) -> Answer {
    csrf::require_same_origin(&req)?;
    count_attempt(&state, &req, &body.value.handle)?;
    let agent = agent_of(&req);
    let session = blocking(&state.service, move |service| {
        service.sign_in(&body.value, &agent)
    })
    .await?;
    opened(&req, &state, session).await
}

/// Gives a session that was just opened to whoever asked.
pub(super) async fn opened(req: &HttpRequest, state: &AppState, session: SessionOpened) -> Answer {
    end_former(state, &Caller::of(req)?).await?;
    let view = SessionView {
        csrf_token: session.csrf,
        max_age_s: session.max_age_s,
    };
    let cookie = session_cookie(&state.config, &session.secret, session.max_age_s);
    Ok(HttpResponse::Created().cookie(cookie).json(view))
}

/// Sign out
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "accounts",
    responses((status = 204, description = "Signed out")))]
pub(crate) async fn sign_out(state: State, caller: Caller) -> Answer {
    if let Some(session) = caller.session {
        blocking(&state.service, move |service| {
            service.logout(&session.secret)
        })
        .await?;
    }
    Ok(HttpResponse::NoContent()
        .cookie(no_session_cookie(&state.config))
        .finish())
}

/// Own account and balance
#[utoipa::path(get, path = "/api/v1/me", tag = "accounts",
    responses((status = 200, description = "Own account", body = MeView)))]
pub(crate) async fn me(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| service.me(&caller.context())).await?)
}

/// Make an API token; its secret is in this answer and nowhere else
#[utoipa::path(post, path = "/api/v1/tokens", tag = "accounts", request_body = CreateToken,
    responses((status = 201, description = "The token with its secret", body = TokenCreated)))]
pub(crate) async fn create_token(state: State, caller: Caller, body: Json<CreateToken>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.create_token(&context, &body.value)
        })
        .await?,
    )
}

/// Own API tokens, without secrets
#[utoipa::path(get, path = "/api/v1/tokens", tag = "accounts",
    responses((status = 200, description = "Own tokens", body = Vec<TokenView>)))]
pub(crate) async fn tokens(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.tokens(&caller.context())
    })
    .await?)
}

/// Revoke an API token
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "accounts", params(("id" = String, Path, description = "Token id")),
    responses((status = 204, description = "Revoked")))]
pub(crate) async fn revoke_token(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    blocking(&state.service, move |service| {
        service.revoke_token(&context, &id)
    })
    .await?;
    done()
}
