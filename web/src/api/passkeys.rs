//! Passkeys: one's own, and signing in with one.

use actix_web::{HttpRequest, web};
use plumbline_service::commands::{AddPasskey, BeginPasskey, PasskeyLogin};
use plumbline_service::views::{PasskeyChallenge, PasskeyView, PasskeysView};

use super::accounts::{SessionView, agent_of, count_attempt, count_passkey, opened};
use super::{Answer, created, done, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::csrf;
use crate::envelope::client_of;
use crate::extract::{Json, NoBody};
use crate::limit::block_of;

/// Own passkeys, oldest first, and whether they can be used here
#[utoipa::path(get, path = "/api/v1/me/passkeys", tag = "accounts",
    responses((status = 200, description = "The passkeys", body = PasskeysView)))]
pub(crate) async fn passkeys(state: State, caller: Caller) -> Answer {
    let listed = blocking(&state.service, move |service| {
        service.passkeys(&caller.context())
    });
    ok(&listed.await?)
}

/// Begin to add a passkey (WebAuthn): what to ask the device; good for five minutes, in the session that asks
#[utoipa::path(post, path = "/api/v1/me/passkeys/options", tag = "accounts", request_body = BeginPasskey,
    responses((status = 201, description = "What to ask the device", body = PasskeyChallenge)))]
pub(crate) async fn begin_passkey(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<BeginPasskey>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    let begun = blocking(&state.service, move |service| {
        service.begin_passkey(&caller.context(), &body.value, caller.secret())
    });
    created(&begun.await?)
}

/// Add the passkey that the device made; from then on it signs in alone
#[utoipa::path(post, path = "/api/v1/me/passkeys", tag = "accounts", request_body = AddPasskey,
    responses((status = 201, description = "The passkey", body = PasskeyView)))]
pub(crate) async fn add_passkey(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<AddPasskey>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    let added = blocking(&state.service, move |service| {
        let context = caller.writing(body.idempotency);
        service.add_passkey(&context, &body.value, caller.secret())
    });
    created(&added.await?)
}

/// Remove one of one's own passkeys
#[utoipa::path(delete, path = "/api/v1/me/passkeys/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Passkey id")),
    responses((status = 204, description = "Removed")))]
pub(crate) async fn remove_passkey(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    blocking(&state.service, move |service| {
        service.remove_passkey(&caller.context(), &id)
    })
    .await?;
    done()
}

/// Begin to sign in with a passkey (WebAuthn): what to ask the device; good for five minutes
#[utoipa::path(post, path = "/api/v1/passkey-sessions/options", tag = "accounts",
    responses((status = 201, description = "What to ask the device", body = PasskeyChallenge)))]
pub(crate) async fn begin_passkey_sign_in(req: HttpRequest, state: State, _: NoBody) -> Answer {
    csrf::require_same_origin(&req)?;
    count_passkey(&state, &req, None)?;
    let holder = block_of(client_of(req.peer_addr())).to_string();
    let begun = blocking(&state.service, move |service| {
        service.begin_passkey_sign_in(&holder)
    });
    created(&begun.await?)
}

/// Sign in with a passkey, without handle, password and one-time code; the session comes as an HttpOnly cookie
#[utoipa::path(post, path = "/api/v1/passkey-sessions", tag = "accounts", request_body = PasskeyLogin,
    responses((status = 201, description = "Signed in", body = SessionView)))]
pub(crate) async fn sign_in_with_passkey(
    req: HttpRequest,
    state: State,
    body: Json<PasskeyLogin>,
) -> Answer {
    csrf::require_same_origin(&req)?;
    count_passkey(&state, &req, Some(&body.value.credential))?;
    let agent = agent_of(&req);
    let session = blocking(&state.service, move |service| {
        service.sign_in_with_passkey(&body.value, &agent)
    });
    opened(&req, &state, session.await?).await
}
