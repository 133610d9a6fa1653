//! Handlers of `/api/v1`: extract, call one use case, answer. One file per aggregate.

pub(crate) mod accounts;
pub(crate) mod allocations;
pub(crate) mod attachments;
pub(crate) mod audit;
pub(crate) mod comments;
pub(crate) mod evidence;
pub(crate) mod health;
pub(crate) mod juries;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod markets;
pub(crate) mod notices;
pub(crate) mod oracle;
pub(crate) mod orders;
pub(crate) mod outcomes;
pub(crate) mod passkeys;
pub(crate) mod people;
pub(crate) mod portfolio;
pub(crate) mod reference;
pub(crate) mod runs;
pub(crate) mod settlement;
pub(crate) mod training;
pub(crate) mod training_runs;
pub(crate) mod voting;
pub(crate) mod webhooks;

use actix_web::HttpResponse;
use serde::Serialize;

/// What every handler returns.
pub(crate) type Answer = Result<HttpResponse, crate::problem::Problem>;

/// 200 with a JSON body.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    Ok(HttpResponse::Ok().json(body))
}

/// 201 with a JSON body.
pub(crate) fn created(body: &impl Serialize) -> Answer {
    Ok(HttpResponse::Created().json(body))
}

/// 204.
pub(crate) fn done() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}
