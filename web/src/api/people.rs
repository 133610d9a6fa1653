//! Passwords, second factors, sessions, invitations, leaving.

use actix_web::{HttpRequest, HttpResponse, web};
use plumbline_service::commands::{
    ChangePassword, CloseAccount, ConfirmSecondFactor, GivePassword, Invite, RemoveSecondFactor,
};
use plumbline_service::views::{
    AccountExport, InvitationMade, InvitationView, Page, RecoveryCodes, SecondFactorKey,
    SecondFactorView, SessionInfo,
};

use super::accounts::count_attempt;
use super::{Answer, created, done, ok};
use crate::auth::{Caller, State, no_session_cookie};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params};

/// Own sessions, newest first
#[utoipa::path(get, path = "/api/v1/sessions", tag = "accounts",
    responses((status = 200, description = "Own sessions", body = Vec<SessionInfo>)))]
pub(crate) async fn sessions(state: State, caller: Caller) -> Answer {
    let sessions = blocking(&state.service, move |service| {
        let current = caller
            .session
            .as_ref()
            .map(|session| session.secret.as_str());
        service.sessions(&caller.context(), current)
    });
    ok(&sessions.await?)
}

/// End one of one's own sessions
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Session id")),
    responses((status = 204, description = "Ended")))]
pub(crate) async fn revoke_session(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    blocking(&state.service, move |service| {
        service.revoke_session(&caller.context(), &id)
    })
    .await?;
    done()
}

/// Change one's own password; every other session ends
#[utoipa::path(post, path = "/api/v1/me/password", tag = "accounts", request_body = ChangePassword,
    responses((status = 204, description = "Changed")))]
pub(crate) async fn change_password(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<ChangePassword>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    blocking(&state.service, move |service| {
        let keep = caller
            .session
            .as_ref()
            .map(|session| session.secret.as_str());
        service.change_password(&caller.context(), &body.value, keep)
    })
    .await?;
    done()
}

/// Whether one's own account asks for one-time codes
#[utoipa::path(get, path = "/api/v1/me/second-factor", tag = "accounts",
    responses((status = 200, description = "The second factor", body = SecondFactorView)))]
pub(crate) async fn second_factor(state: State, caller: Caller) -> Answer {
    let view = blocking(&state.service, move |service| {
        service.second_factor(&caller.context())
    });
    ok(&view.await?)
}

/// Make a key for one-time codes (RFC 6238); it counts once a code of it was confirmed
#[utoipa::path(post, path = "/api/v1/me/second-factor", tag = "accounts", request_body = GivePassword,
    responses((status = 201, description = "The key, shown this once", body = SecondFactorKey)))]
pub(crate) async fn begin_second_factor(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<GivePassword>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    let key = blocking(&state.service, move |service| {
        service.begin_second_factor(&caller.context(), &body.value)
    });
    created(&key.await?)
}

/// Turn one-time codes on
#[utoipa::path(post, path = "/api/v1/me/second-factor/confirmation", tag = "accounts",
    request_body = ConfirmSecondFactor,
    responses((status = 201, description = "Recovery codes, shown this once", body = RecoveryCodes)))]
pub(crate) async fn confirm_second_factor(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<ConfirmSecondFactor>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    let codes = blocking(&state.service, move |service| {
        service.confirm_second_factor(&caller.context(), &body.value)
    });
    created(&codes.await?)
}

/// Turn one-time codes off
#[utoipa::path(post, path = "/api/v1/me/second-factor/removal", tag = "accounts",
    request_body = RemoveSecondFactor, responses((status = 204, description = "Turned off")))]
pub(crate) async fn remove_second_factor(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<RemoveSecondFactor>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    blocking(&state.service, move |service| {
        service.remove_second_factor(&caller.context(), &body.value)
    })
    .await?;
    done()
}

/// Everything that the service has about one's own account
#[utoipa::path(get, path = "/api/v1/me/export", tag = "accounts",
    responses((status = 200, description = "The export", body = AccountExport)))]
pub(crate) async fn export(state: State, caller: Caller) -> Answer {
    let export = blocking(&state.service, move |service| {
        service.export_account(&caller.context())
    });
    Ok(HttpResponse::Ok()
        .insert_header((
            "content-disposition",
            "attachment; filename=\"account.json\"",
        ))
        .json(export.await?))
}

/// Close one's own account for good; what it did stays on record under a tombstone
#[utoipa::path(post, path = "/api/v1/me/closure", tag = "accounts", request_body = CloseAccount,
    responses((status = 204, description = "Closed")))]
pub(crate) async fn close(
    req: HttpRequest,
    state: State,
    caller: Caller,
    body: Json<CloseAccount>,
) -> Answer {
    count_attempt(&state, &req, &caller.actor.handle)?;
    blocking(&state.service, move |service| {
        service.close_account(&caller.context(), &body.value)
    })
    .await?;
    Ok(HttpResponse::NoContent()
        .cookie(no_session_cookie(&state.config))
        .finish())
}

/// Make an invitation; its code is in this answer and nowhere else
#[utoipa::path(post, path = "/api/v1/invitations", tag = "accounts", request_body = Invite,
    responses((status = 201, description = "The invitation with its code", body = InvitationMade)))]
pub(crate) async fn invite(state: State, caller: Caller, body: Json<Invite>) -> Answer {
    let made = blocking(&state.service, move |service| {
        service.invite(&caller.context(), &body.value)
    });
    created(&made.await?)
}

/// Invitations, newest first
#[utoipa::path(get, path = "/api/v1/invitations", tag = "accounts", params(Paging),
    responses((status = 200, description = "Invitations without their codes", body = Page<InvitationView>)))]
pub(crate) async fn invitations(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.invitations(&caller.context(), cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Take an invitation back
#[utoipa::path(delete, path = "/api/v1/invitations/{id}", tag = "accounts",
    params(("id" = String, Path, description = "Invitation id")),
    responses((status = 204, description = "Taken back")))]
pub(crate) async fn revoke_invitation(
    state: State,
    caller: Caller,
    id: web::Path<String>,
) -> Answer {
    blocking(&state.service, move |service| {
        service.revoke_invitation(&caller.context(), &id)
    })
    .await?;
    done()
}
