//! Comments on markets and evidence.

use actix_web::web;
use plumbline_service::commands::WriteComment;
use plumbline_service::views::{CommentView, Page};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, done, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Params, limit_beside};

/// Which comments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommentFilter {
    /// Only those on this submission.
    evidence_id: Option<String>,
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Comments on a market and its evidence, oldest first
#[utoipa::path(get, path = "/api/v1/markets/{id}/comments", tag = "evidence",
    params(("id" = String, Path, description = "Market id"), CommentFilter),
    responses((status = 200, description = "A page of comments", body = Page<CommentView>)))]
pub(crate) async fn list(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    filter: Params<CommentFilter>,
) -> Answer {
    let filter = filter.0;
    let limit = limit_beside(filter.cursor.as_deref(), filter.limit)?;
    let page = blocking(&state.service, move |service| {
        let (about, cursor) = (filter.evidence_id.as_deref(), filter.cursor.as_deref());
        service.comments(&caller.context(), &id, about, cursor, limit)
    });
    ok(&page.await?)
}

/// Comment on a market or on a submission in it; at most ten a minute
#[utoipa::path(post, path = "/api/v1/markets/{id}/comments", tag = "evidence", request_body = WriteComment,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The comment", body = CommentView)))]
pub(crate) async fn write(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<WriteComment>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.comment(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Remove a comment's text for good; for its author and the operator
#[utoipa::path(delete, path = "/api/v1/comments/{id}", tag = "evidence",
    params(("id" = String, Path, description = "Comment id")),
    responses((status = 204, description = "Removed; its place stays")))]
pub(crate) async fn remove(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    blocking(&state.service, move |service| {
        service.remove_comment(&context, &id)
    })
    .await?;
    done()
}
