//! Juries: roles, jurors, panels, votes, cases with a known answer.

use actix_web::web;
use plumbline_service::commands::{
    CommitVote, CreateGoldCase, Denounce, GrantRoles, JoinJury, RevealVote,
};
use plumbline_service::views::{
    DrawCommitment, GoldCaseView, JurorView, Page, PanelView, RolesView,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, done, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Paging, Params, limit_beside};

/// Which panels.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PanelFilter {
    /// `true`: those with a seat of the caller's, running ones too. Else those that are over, for everybody.
    #[serde(default)]
    mine: bool,
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which cases.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CaseFilter {
    /// `true`: cases whose answer is at least one half; else the others.
    #[serde(default)]
    affirms: bool,
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Give an account roles; it has them from its next request on
#[utoipa::path(post, path = "/api/v1/accounts/{handle}/roles", tag = "accounts", request_body = GrantRoles,
    params(("handle" = String, Path, description = "Handle of the account")),
    responses((status = 201, description = "Its roles now", body = RolesView)))]
pub(crate) async fn grant_roles(
    state: State,
    caller: Caller,
    handle: web::Path<String>,
    body: Json<GrantRoles>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.grant_roles(&context, &handle, &body.value)
        })
        .await?,
    )
}

/// Take a role from an account
#[utoipa::path(delete, path = "/api/v1/accounts/{handle}/roles/{role}", tag = "accounts",
    params(("handle" = String, Path, description = "Handle of the account"), ("role" = String, Path, description = "The role")),
    responses((status = 200, description = "Its roles now", body = RolesView)))]
pub(crate) async fn revoke_role(
    state: State,
    caller: Caller,
    path: web::Path<(String, String)>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.revoke_role(&context, &path.0, &path.1)
    })
    .await?)
}

/// The jurors, by account
#[utoipa::path(get, path = "/api/v1/jurors", tag = "juries", params(Paging),
    responses((status = 200, description = "A page of jurors", body = Page<JurorView>)))]
pub(crate) async fn jurors(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.jurors(&caller.context(), cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Become a juror, or add to the stake
#[utoipa::path(post, path = "/api/v1/jurors", tag = "juries", request_body = JoinJury,
    responses((status = 201, description = "The juror", body = JurorView)))]
pub(crate) async fn join(state: State, caller: Caller, body: Json<JoinJury>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.join_jury(&context, &body.value)
        })
        .await?,
    )
}

/// Stop being a juror; what no seat locks comes back at once, the rest as seats end
#[utoipa::path(delete, path = "/api/v1/jurors", tag = "juries",
    responses((status = 200, description = "The juror", body = JurorView)))]
pub(crate) async fn leave(state: State, caller: Caller, body: NoBody) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| service.leave_jury(&context)).await?)
}

/// Panels, newest first
#[utoipa::path(get, path = "/api/v1/panels", tag = "juries", params(PanelFilter),
    responses((status = 200, description = "A page of panels", body = Page<PanelView>)))]
pub(crate) async fn panels(state: State, caller: Caller, filter: Params<PanelFilter>) -> Answer {
    let filter = filter.0;
    let limit = limit_beside(filter.cursor.as_deref(), filter.limit)?;
    let page = blocking(&state.service, move |service| {
        service.panels(
            &caller.context(),
            filter.mine,
            filter.cursor.as_deref(),
            limit,
        )
    });
    ok(&page.await?)
}

/// Commitments of the secrets for draws to come, in the order in which they will be used
#[utoipa::path(get, path = "/api/v1/panels/draws", tag = "juries",
    responses((status = 200, description = "The commitments", body = Vec<DrawCommitment>)))]
pub(crate) async fn draws(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.draw_commitments(&caller.context())
    })
    .await?)
}

/// One panel: the case to its jurors, everything to everybody once it is over
#[utoipa::path(get, path = "/api/v1/panels/{id}", tag = "juries", params(("id" = String, Path, description = "Panel id")),
    responses((status = 200, description = "The panel", body = PanelView)))]
pub(crate) async fn panel(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.panel(&caller.context(), &id)
    })
    .await?)
}

/// Commit a vote; it cannot be replaced
#[utoipa::path(post, path = "/api/v1/panels/{id}/commits", tag = "juries", request_body = CommitVote,
    params(("id" = String, Path, description = "Panel id")),
    responses((status = 201, description = "The panel", body = PanelView)))]
pub(crate) async fn commit(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<CommitVote>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.commit_vote(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Reveal the committed vote
#[utoipa::path(post, path = "/api/v1/panels/{id}/reveals", tag = "juries", request_body = RevealVote,
    params(("id" = String, Path, description = "Panel id")),
    responses((status = 201, description = "The panel", body = PanelView)))]
pub(crate) async fn reveal(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<RevealVote>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.reveal_vote(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Show a juror's vote while votes are secret; ends the seat and pays half of its deposit
#[utoipa::path(post, path = "/api/v1/panels/{id}/denouncements", tag = "juries", request_body = Denounce,
    params(("id" = String, Path, description = "Panel id")),
    responses((status = 201, description = "The panel", body = PanelView)))]
pub(crate) async fn denounce(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<Denounce>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.denounce(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Cases with a known answer, newest first
#[utoipa::path(get, path = "/api/v1/gold-cases", tag = "juries", params(CaseFilter),
    responses((status = 200, description = "A page of cases", body = Page<GoldCaseView>)))]
pub(crate) async fn gold_cases(state: State, caller: Caller, filter: Params<CaseFilter>) -> Answer {
    let filter = filter.0;
    let limit = limit_beside(filter.cursor.as_deref(), filter.limit)?;
    let page = blocking(&state.service, move |service| {
        service.gold_cases(
            &caller.context(),
            filter.affirms,
            filter.cursor.as_deref(),
            limit,
        )
    });
    ok(&page.await?)
}

/// Add a case with a known answer
#[utoipa::path(post, path = "/api/v1/gold-cases", tag = "juries", request_body = CreateGoldCase,
    responses((status = 201, description = "The case", body = GoldCaseView)))]
pub(crate) async fn create_gold_case(
    state: State,
    caller: Caller,
    body: Json<CreateGoldCase>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.create_gold_case(&context, &body.value)
        })
        .await?,
    )
}

/// Take a case out of use
#[utoipa::path(delete, path = "/api/v1/gold-cases/{id}", tag = "juries", params(("id" = String, Path, description = "Case id")),
    responses((status = 204, description = "Retired")))]
pub(crate) async fn retire_gold_case(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    blocking(&state.service, move |service| {
        service.retire_gold_case(&context, &id)
    })
    .await?;
    done()
}
