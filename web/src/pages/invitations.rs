//! Invitations, for operators.

use actix_web::web;
use plumbline_service::Service;
use plumbline_service::commands::Invite;
use plumbline_service::context::Context;
use plumbline_service::views::{InvitationMade, InvitationView};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::form::{Form, answer_with_page};
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::extract::Params;
use crate::templates::Page;

/// Which page of the list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// The invitations page's context.
#[derive(Debug, Serialize)]
pub(crate) struct InvitationsPage {
    /// Invitations, newest first.
    pub(crate) invitations: Vec<InvitationView>,
    /// Where the list goes on.
    pub(crate) next_cursor: Option<String>,
    /// One that was just made, shown this once.
    pub(crate) made: Option<InvitationMade>,
    /// What is wrong with the form.
    pub(crate) error: Option<String>,
    /// As typed.
    pub(crate) note: String,
    /// Who may sign up: `open`, `invite`, `closed`.
    pub(crate) sign_up: &'static str,
}

impl Page for InvitationsPage {
    const TEMPLATE: &'static str = "invitations.html";
}

fn load(
    service: &Service,
    context: &Context,
    cursor: Option<&str>,
) -> plumbline_service::Result<InvitationsPage> {
    let page = service.invitations(context, cursor, 50)?;
    Ok(InvitationsPage {
        invitations: page.items,
        next_cursor: page.next_cursor,
        made: None,
        error: None,
        note: String::new(),
        sign_up: service.sign_up().as_str(),
    })
}

/// `GET /invitations`
pub(crate) async fn show(state: State, visit: Visit, query: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, query.0.cursor.as_deref())
        })
        .await
}

/// `POST /invitations`: answers with the page itself, because a redirect would have to carry the code
pub(crate) async fn create(state: State, form: Form) -> Answer {
    let (writing, context) = (form.writing(), form.caller.context());
    let note = form.fields.get("note").to_owned();
    let cmd = Invite {
        note: note.clone(),
        // What is no number is out of bounds, and refused with the bounds.
        valid_days: form.fields.get("days").parse().unwrap_or(0),
        roles: form.fields.all("role"),
    };
    let made = blocking(&state.service, move |service| {
        service.invite(&writing, &cmd)
    })
    .await;
    let page = blocking(&state.service, move |service| load(service, &context, None)).await?;
    answer_with_page(&state, &form, made, page, |page, made| match made {
        Ok(made) => page.made = Some(made),
        Err(error) => {
            page.error = Some(error);
            page.note = note;
        }
    })
}

/// `POST /invitations/{id}/revoke`
pub(crate) async fn revoke(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    blocking(&state.service, move |service| {
        service.revoke_invitation(&context, &id)
    })
    .await?;
    Ok(redirect_with(
        "/invitations",
        "done",
        "The invitation is taken back.",
    ))
}
