//! Disputing a submission from its page.

use actix_web::web;
use plumbline_service::commands::ChallengeExhibit;

use super::form::{Form, micro_of};
use super::visit::redirect_with;
use super::{encode, evidence};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;

/// What ids of the form's fields begin with.
const FORM: &str = "dispute-";

/// `POST /evidence/{id}/challenges`
pub(crate) async fn challenge(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let page = format!("/evidence/{}#disputes", encode(&id));
    let bond_micro = match micro_of("The bond", form.fields.get("bond")) {
        Ok(bond_micro) => bond_micro,
        Err(error) => return evidence::refuse(&state, &form, &id, FORM, &error).await,
    };
    let command = ChallengeExhibit {
        reason: form.fields.raw("reason").to_owned(),
        bond_micro,
    };
    let evidence_id = id.clone();
    let made = blocking(&state.service, move |service| {
        service.challenge_exhibit(&context, &evidence_id, &command)
    })
    .await;
    match made {
        Ok(_) => Ok(redirect_with(
            &page,
            "done",
            "Disputed. A replay decides it where it can, else a panel.",
        )),
        Err(problem) if problem.status < 500 => {
            evidence::refuse(&state, &form, &id, FORM, &problem.detail).await
        }
        Err(problem) => Err(problem),
    }
}
