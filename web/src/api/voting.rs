//! Proposals, stakes, delegations, seals, and simulations of policies.

use actix_web::web;
use plumbline_service::commands::{
    AssumedPrice, CastVote, ChangeStake, CreateProposal, Delegate, PayDeposit, SimulatePolicy,
    UseSeal,
};
use plumbline_service::views::{
    EffectView, OrderInForce, Page, ProposalView, SealView, SimulationView, StakeView, TrackView,
    VoteView,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Paging, Params, limit_beside};

/// Which proposals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProposalFilter {
    /// Those of a track.
    track: Option<String>,
    /// Those in a state.
    state: Option<String>,
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A price to assume.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Assumption {
    /// Id or name of the run.
    run: String,
    /// Probability of misalignment, above 0 and below 1.
    probability: f64,
}

/// Proposals, newest first
#[utoipa::path(get, path = "/api/v1/proposals", tag = "governance", params(ProposalFilter),
    responses((status = 200, description = "A page of proposals", body = Page<ProposalView>)))]
pub(crate) async fn list(state: State, caller: Caller, filter: Params<ProposalFilter>) -> Answer {
    let filter = filter.0;
    let limit = limit_beside(filter.cursor.as_deref(), filter.limit)?;
    let page = blocking(&state.service, move |service| {
        service.proposals(
            &caller.context(),
            filter.track.as_deref(),
            filter.state.as_deref(),
            filter.cursor.as_deref(),
            limit,
        )
    });
    ok(&page.await?)
}

/// Write a proposal; what it would do is computed and kept with it before anybody votes
#[utoipa::path(post, path = "/api/v1/proposals", tag = "governance", request_body = CreateProposal,
    responses((status = 201, description = "The proposal", body = ProposalView)))]
pub(crate) async fn create(state: State, caller: Caller, body: Json<CreateProposal>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.create_proposal(&context, &body.value)
        })
        .await?,
    )
}

/// What a proposal would do, without making one
#[utoipa::path(post, path = "/api/v1/proposals/preview", tag = "governance", request_body = CreateProposal,
    responses((status = 200, description = "Its effect", body = EffectView)))]
pub(crate) async fn preview(state: State, caller: Caller, body: Json<CreateProposal>) -> Answer {
    let effect = blocking(&state.service, move |service| {
        service.preview_proposal(&caller.context(), &body.value)
    });
    ok(&effect.await?)
}

/// One proposal: its effect, count and life so far, and the caller's own ballot
#[utoipa::path(get, path = "/api/v1/proposals/{id}", tag = "governance", params(("id" = String, Path, description = "Proposal id")),
    responses((status = 200, description = "The proposal", body = ProposalView)))]
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.proposal(&caller.context(), &id)
    })
    .await?)
}

/// Take an own proposal back before its vote begins
#[utoipa::path(delete, path = "/api/v1/proposals/{id}", tag = "governance", params(("id" = String, Path, description = "Proposal id")),
    responses((status = 200, description = "The proposal", body = ProposalView)))]
pub(crate) async fn withdraw(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.withdraw_proposal(&context, &id)
    })
    .await?)
}

/// Pay part of a proposal's deposit; its vote begins when the deposit is complete
#[utoipa::path(post, path = "/api/v1/proposals/{id}/deposits", tag = "governance", request_body = PayDeposit,
    params(("id" = String, Path, description = "Proposal id")),
    responses((status = 201, description = "The proposal", body = ProposalView)))]
pub(crate) async fn deposit(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<PayDeposit>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.pay_deposit(&context, &id, &body.value)
        })
        .await?,
    )
}

/// The ballots on a proposal, by account
#[utoipa::path(get, path = "/api/v1/proposals/{id}/votes", tag = "governance", params(("id" = String, Path, description = "Proposal id"), Paging),
    responses((status = 200, description = "A page of ballots", body = Page<VoteView>)))]
pub(crate) async fn votes(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.votes(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Vote, or vote otherwise than before
#[utoipa::path(post, path = "/api/v1/proposals/{id}/votes", tag = "governance", request_body = CastVote,
    params(("id" = String, Path, description = "Proposal id")),
    responses((status = 201, description = "The proposal with the new count", body = ProposalView)))]
pub(crate) async fn vote(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<CastVote>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.cast_vote(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Execute an approved proposal whose time lock is over; the service does it by itself too
#[utoipa::path(post, path = "/api/v1/proposals/{id}/execution", tag = "governance",
    params(("id" = String, Path, description = "Proposal id")),
    responses((status = 200, description = "The proposal with what it did", body = ProposalView)))]
pub(crate) async fn execute(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.execute_proposal(&context, &id)
    })
    .await?)
}

/// What each track asks for
#[utoipa::path(get, path = "/api/v1/tracks", tag = "governance",
    responses((status = 200, description = "The tracks", body = Vec<TrackView>)))]
pub(crate) async fn tracks(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.tracks(&caller.context())
    })
    .await?)
}

/// The caller's stake and delegations
#[utoipa::path(get, path = "/api/v1/stakes", tag = "governance",
    responses((status = 200, description = "The stake", body = StakeView)))]
pub(crate) async fn own_stake(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.own_stake(&caller.context())
    })
    .await?)
}

/// Add to the stake that gives the caller weight in votes
#[utoipa::path(post, path = "/api/v1/stakes", tag = "governance", request_body = ChangeStake,
    responses((status = 201, description = "The stake", body = StakeView)))]
pub(crate) async fn stake(state: State, caller: Caller, body: Json<ChangeStake>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.stake(&context, &body.value)
        })
        .await?,
    )
}

/// Take part of the stake back, when nothing locks it
#[utoipa::path(post, path = "/api/v1/stakes/withdrawals", tag = "governance", request_body = ChangeStake,
    responses((status = 201, description = "The stake", body = StakeView)))]
pub(crate) async fn withdraw_stake(
    state: State,
    caller: Caller,
    body: Json<ChangeStake>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.withdraw_stake(&context, &body.value)
        })
        .await?,
    )
}

/// Have another account vote with the caller's stake on a track, wherever the caller does not
#[utoipa::path(post, path = "/api/v1/delegations", tag = "governance", request_body = Delegate,
    responses((status = 201, description = "The caller's stake and delegations", body = StakeView)))]
pub(crate) async fn delegate(state: State, caller: Caller, body: Json<Delegate>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.delegate(&context, &body.value)
        })
        .await?,
    )
}

/// End a delegation
#[utoipa::path(delete, path = "/api/v1/delegations/{track}", tag = "governance",
    params(("track" = String, Path, description = "Track")),
    responses((status = 200, description = "The caller's stake and delegations", body = StakeView)))]
pub(crate) async fn undelegate(
    state: State,
    caller: Caller,
    track: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.undelegate(&context, &track)
    })
    .await?)
}

/// Seals, newest first
#[utoipa::path(get, path = "/api/v1/seals", tag = "governance", params(Paging),
    responses((status = 200, description = "A page of seals", body = Page<SealView>)))]
pub(crate) async fn seals(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.seals(&caller.context(), cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// One seal
#[utoipa::path(get, path = "/api/v1/seals/{id}", tag = "governance", params(("id" = String, Path, description = "Seal id")),
    responses((status = 200, description = "The seal", body = SealView)))]
pub(crate) async fn seal(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.seal(&caller.context(), &id)
    })
    .await?)
}

/// Sign the use of a seal; the last signature that is needed caps the run at once
#[utoipa::path(post, path = "/api/v1/seals/{id}/use", tag = "governance", request_body = UseSeal,
    params(("id" = String, Path, description = "Seal id")),
    responses((status = 201, description = "The seal", body = SealView)))]
pub(crate) async fn use_seal(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<UseSeal>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.use_seal(&context, &id, &body.value)
        })
        .await?,
    )
}

/// What votes and seals have put on runs and is in force
#[utoipa::path(get, path = "/api/v1/standing-orders", tag = "governance",
    responses((status = 200, description = "The orders", body = Vec<OrderInForce>)))]
pub(crate) async fn orders(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.orders_in_force(&caller.context())
    })
    .await?)
}

/// What a policy would grant now and would have decided on the recorded history
#[utoipa::path(post, path = "/api/v1/policy/simulate", tag = "policy", request_body = SimulatePolicy,
    responses((status = 200, description = "What it would do", body = SimulationView)))]
pub(crate) async fn simulate(state: State, caller: Caller, body: Json<SimulatePolicy>) -> Answer {
    let simulation = blocking(&state.service, move |service| {
        service.simulate_policy(&caller.context(), &body.value)
    });
    ok(&simulation.await?)
}

/// What the policy in force would grant if a run's price were another
#[utoipa::path(get, path = "/api/v1/policy/assume", tag = "policy", params(Assumption),
    responses((status = 200, description = "What it would grant", body = SimulationView)))]
pub(crate) async fn assume(state: State, caller: Caller, query: Params<Assumption>) -> Answer {
    let price = AssumedPrice {
        run: query.0.run,
        probability: query.0.probability,
    };
    let simulation = blocking(&state.service, move |service| {
        service.assume_prices(&caller.context(), &[price])
    });
    ok(&simulation.await?)
}
