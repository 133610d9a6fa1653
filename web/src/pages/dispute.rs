//! Disputing a submission from its page.

use actix_web::web;
use plumbline_service::commands::ChallengeExhibit;

use super::encode;
use super::form::{Form, micro_of};
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;

/// `POST /evidence/{id}/challenges`
pub(crate) async fn challenge(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let page = format!("/evidence/{}#disputes", encode(&id));
    let bond_micro = match micro_of("The bond", form.fields.get("bond")) {
        Ok(bond_micro) => bond_micro,
        Err(error) => return Ok(redirect_with(&page, "error", &error)),
    };
    let command = ChallengeExhibit {
        reason: form.fields.raw("reason").to_owned(),
        bond_micro,
    };
    let made = blocking(&state.service, move |service| {
        service.challenge_exhibit(&context, &id, &command)
    })
    .await;
    let (kind, text) = match made {
        Ok(_) => (
            "done",
            "Disputed. A replay decides it where it can, else a panel.".to_owned(),
        ),
        Err(problem) if problem.status < 500 => ("error", problem.detail),
        Err(problem) => return Err(problem),
    };
    Ok(redirect_with(&page, kind, &text))
}
