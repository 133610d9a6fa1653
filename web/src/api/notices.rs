//! Following, notifications, and the address that they are mailed to.

use actix_web::web;
use plumbline_service::commands::{
    ChooseNotices, FollowTopic, MarkRead, SetMailAddress, VerifyMailAddress,
};
use plumbline_service::views::{ChoiceView, FollowView, MailView, NoticesPage, Page, UnreadView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, done, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params, limit};

/// Which notifications.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Rows of the page, 1 to 200; 50 without it.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those that were not marked as read.
    #[serde(default)]
    unread: bool,
}

/// Your notifications, newest first; the last 500 are kept
#[utoipa::path(get, path = "/api/v1/notifications", tag = "notifications", params(Asked),
    responses((status = 200, description = "A page of them, and how many are unread", body = NoticesPage)))]
pub(crate) async fn list(state: State, caller: Caller, asked: Params<Asked>) -> Answer {
    let asked = asked.0;
    let limit = limit(asked.limit)?;
    ok(&blocking(&state.service, move |service| {
        service.notices(
            &caller.context(),
            asked.unread,
            asked.cursor.as_deref(),
            limit,
        )
    })
    .await?)
}

/// Mark notifications as read: one, or all up to one
#[utoipa::path(post, path = "/api/v1/notifications/read", tag = "notifications", request_body = MarkRead,
    responses((status = 200, description = "How many are still unread", body = UnreadView)))]
pub(crate) async fn mark(state: State, caller: Caller, body: Json<MarkRead>) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.mark_read(&context, &body.value)
    })
    .await?)
}

/// Which kinds come by which way
#[utoipa::path(get, path = "/api/v1/notifications/preferences", tag = "notifications",
    responses((status = 200, description = "Every kind", body = Vec<ChoiceView>)))]
pub(crate) async fn choices(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.notice_choices(&caller.context())
    })
    .await?)
}

/// Choose which kinds come by which way
#[utoipa::path(put, path = "/api/v1/notifications/preferences", tag = "notifications", request_body = ChooseNotices,
    responses((status = 200, description = "Every kind, as it is now", body = Vec<ChoiceView>)))]
pub(crate) async fn choose(state: State, caller: Caller, body: Json<ChooseNotices>) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.choose_notices(&context, &body.value)
    })
    .await?)
}

/// What you follow, by topic
#[utoipa::path(get, path = "/api/v1/follows", tag = "notifications", params(Paging),
    responses((status = 200, description = "A page of it", body = Page<FollowView>)))]
pub(crate) async fn follows(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.follows(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Follow a market, a run, a proposal, or all proposals
#[utoipa::path(post, path = "/api/v1/follows", tag = "notifications", request_body = FollowTopic,
    responses((status = 201, description = "It is followed", body = FollowView)))]
pub(crate) async fn follow(state: State, caller: Caller, body: Json<FollowTopic>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.follow(&context, &body.value)
        })
        .await?,
    )
}

/// Leave what you follow; taking part does not bring it back
#[utoipa::path(delete, path = "/api/v1/follows/{topic}", tag = "notifications",
    params(("topic" = String, Path, description = "As in the list of what you follow")),
    responses((status = 204, description = "It is left")))]
pub(crate) async fn unfollow(state: State, caller: Caller, topic: web::Path<String>) -> Answer {
    blocking(&state.service, move |service| {
        service.unfollow(&caller.context(), &topic)
    })
    .await?;
    done()
}

/// Where your notifications are mailed
#[utoipa::path(get, path = "/api/v1/me/mail", tag = "notifications",
    responses((status = 200, description = "The address, if there is one", body = MailView)))]
pub(crate) async fn mail(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.mail_address(&caller.context())
    })
    .await?)
}

/// Set the address; it is mailed a code, and nothing else before the code was shown
#[utoipa::path(put, path = "/api/v1/me/mail", tag = "notifications", request_body = SetMailAddress,
    responses((status = 200, description = "The address, not verified yet", body = MailView)))]
pub(crate) async fn set_mail(state: State, caller: Caller, body: Json<SetMailAddress>) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.set_mail_address(&context, &body.value)
    })
    .await?)
}

/// Show the code that was mailed
#[utoipa::path(post, path = "/api/v1/me/mail/verification", tag = "notifications", request_body = VerifyMailAddress,
    responses((status = 200, description = "The address, verified", body = MailView)))]
pub(crate) async fn verify_mail(
    state: State,
    caller: Caller,
    body: Json<VerifyMailAddress>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.verify_mail_address(&context, &body.value)
    })
    .await?)
}

/// Forget the address
#[utoipa::path(delete, path = "/api/v1/me/mail", tag = "notifications",
    responses((status = 204, description = "It is forgotten")))]
pub(crate) async fn remove_mail(state: State, caller: Caller) -> Answer {
    blocking(&state.service, move |service| {
        service.remove_mail_address(&caller.context())
    })
    .await?;
    done()
}
