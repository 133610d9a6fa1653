//! Writing and removing comments from a page.

use actix_web::web;
use plumbline_service::commands::WriteComment;

use super::form::Form;
use super::visit::redirect_with;
use super::{encode, evidence, local_path, market};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;

/// Comments shown on a page; more are behind the API.
pub(crate) const SHOWN: usize = 100;

/// What ids of the form's fields begin with.
const FORM: &str = "comment-";

/// `POST /markets/{id}/comments`
pub(crate) async fn write(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let about = form.fields.get("evidence_id");
    let page = match about {
        "" => format!("/markets/{}", encode(&id)),
        about => format!("/evidence/{}", encode(about)),
    };
    let command = WriteComment {
        body: form.fields.raw("body").to_owned(),
        evidence_id: (!about.is_empty()).then(|| about.to_owned()),
    };
    let market_id = id.clone();
    let written = blocking(&state.service, move |service| {
        service.comment(&context, &market_id, &command)
    })
    .await;
    match written {
        Ok(_) => Ok(redirect_with(
            &format!("{page}#comments"),
            "done",
            "Your comment is there.",
        )),
        Err(problem) if problem.status >= 500 => Err(problem),
        Err(problem) if about.is_empty() => {
            market::refuse(&state, &form, &id, FORM, &problem.detail).await
        }
        Err(problem) => evidence::refuse(&state, &form, about, FORM, &problem.detail).await,
    }
}

/// `POST /comments/{id}/remove`
pub(crate) async fn remove(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let back = local_path(Some(form.fields.get("back")));
    let removed = blocking(&state.service, move |service| {
        service.remove_comment(&context, &id)
    })
    .await;
    let (kind, text) = match removed {
        Ok(()) => ("done", "The comment is removed.".to_owned()),
        Err(problem) if problem.status < 500 => ("error", problem.detail),
        Err(problem) => return Err(problem),
    };
    Ok(redirect_with(&format!("{back}#comments"), kind, &text))
}
