//! Passkeys: the forms that `passkeys.js` fills with what the browser answered.

use actix_web::{HttpRequest, web};
use plumbline_service::commands::{AddPasskey, PasskeyLogin};
use serde_json::Value;

use super::form::{Fields, Form};
use super::security::{self, HERE};
use super::session::{enter, login_again};
use super::visit::redirect_with;
use crate::api::Answer;
use crate::api::accounts::{agent_of, count_attempt, count_passkey};
use crate::auth::State;
use crate::blocking::blocking;

/// What the browser answered; nothing where it is no JSON, which the service refuses.
fn credential_of(fields: &Fields) -> Value {
    serde_json::from_str(fields.get("credential")).unwrap_or(Value::Null)
}

/// `POST /account/passkeys`
pub(crate) async fn add(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, &form.caller.actor.handle)?;
    let (context, caller) = (form.writing(), form.caller.clone());
    let cmd = AddPasskey {
        attempt: form.fields.get("attempt").to_owned(),
        name: form.fields.get("name").to_owned(),
        credential: credential_of(&form.fields),
    };
    let added = blocking(&state.service, move |service| {
        service.add_passkey(&context, &cmd, caller.secret())
    });
    match added.await {
        Ok(_) => Ok(redirect_with(
            HERE,
            "done",
            "The passkey is added. It signs you in from now on.",
        )),
        Err(problem) => security::refused(&state, &form, "passkeys", problem).await,
    }
}

/// `POST /account/passkeys/{id}/remove`
pub(crate) async fn remove(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let removed = blocking(&state.service, move |service| {
        service.remove_passkey(&context, &id)
    });
    match removed.await {
        Ok(()) => Ok(redirect_with(HERE, "done", "The passkey is removed.")),
        Err(problem) if problem.status == 404 => Err(problem),
        Err(problem) => security::refused(&state, &form, "passkeys", problem).await,
    }
}

/// `POST /login/passkey`
pub(crate) async fn sign_in(req: HttpRequest, state: State, form: Form) -> Answer {
    let cmd = PasskeyLogin {
        attempt: form.fields.get("attempt").to_owned(),
        credential: credential_of(&form.fields),
    };
    count_passkey(&state, &req, Some(&cmd.credential))?;
    let agent = agent_of(&req);
    let session = blocking(&state.service, move |service| {
        service.sign_in_with_passkey(&cmd, &agent)
    });
    match session.await {
        Ok(session) => enter(&state, &form, &session).await,
        Err(problem) => login_again(&state, &form, problem),
    }
}
