//! One's password, second factor, passkeys, sessions; taking one's data and leaving.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use plumbline_service::commands::{
    ChangePassword, CloseAccount, ConfirmSecondFactor, GivePassword, RemoveSecondFactor,
};
use plumbline_service::context::Context;
use plumbline_service::views::{
    MeView, PasskeysView, SecondFactorKey, SecondFactorView, SessionInfo,
};
use plumbline_service::{Result, Service};
use qrcode::{Color, EcLevel, QrCode};
use serde::Serialize;

use super::Visit;
use super::form::Form;
use super::visit::{redirect_with, render};
use crate::api::Answer;
use crate::api::accounts::count_attempt;
use crate::auth::{Caller, State, no_session_cookie};
use crate::blocking::blocking;
use crate::problem::Problem;
use crate::templates::Page;

/// The page's address.
pub(super) const HERE: &str = "/account/security";

/// The security page's context.
#[derive(Debug, Serialize)]
pub(crate) struct SecurityPage {
    /// The account.
    pub(crate) me: MeView,
    /// Its sessions, newest first.
    pub(crate) sessions: Vec<SessionInfo>,
    /// Whether it asks for one-time codes.
    pub(crate) factor: SecondFactorView,
    /// Its passkeys.
    pub(crate) passkeys: PasskeysView,
    /// A key that was just made, shown this once.
    pub(crate) key: Option<KeyShown>,
    /// Recovery codes that were just made, shown this once.
    pub(crate) codes: Vec<String>,
    /// The form that was refused: `password`, `factor`, `passkeys` or `close`.
    pub(crate) refused: &'static str,
    /// What was wrong with it.
    pub(crate) error: Option<String>,
}

/// A key as a picture and as text.
#[derive(Debug, Serialize)]
pub(crate) struct KeyShown {
    /// In groups of four, to be typed.
    pub(crate) secret: String,
    /// Path of the dark squares, one unit each.
    pub(crate) path: String,
    /// Units of a side, with the margin that readers need.
    pub(crate) side: usize,
}

impl Page for SecurityPage {
    const TEMPLATE: &'static str = "security.html";
}

impl KeyShown {
    /// Errors: an address that is too long for a picture.
    fn of(key: &SecondFactorKey) -> std::result::Result<Self, Problem> {
        const MARGIN: usize = 4;
        let code = QrCode::with_error_correction_level(key.address.as_bytes(), EcLevel::M)
            .map_err(Problem::internal)?;
        let width = code.width().max(1);
        let dark = code.to_colors().into_iter().enumerate();
        let dark = dark.filter(|(_, color)| *color == Color::Dark);
        let square =
            |at: usize| format!("M{} {}h1v1h-1z", at % width + MARGIN, at / width + MARGIN);
        let groups = key.secret.as_bytes().chunks(4);
        let groups = groups.map(|group| String::from_utf8_lossy(group).into_owned());
        Ok(Self {
            secret: groups.collect::<Vec<_>>().join(" "),
            path: dark.map(|(at, _)| square(at)).collect(),
            side: width + 2 * MARGIN,
        })
    }
}

fn load(service: &Service, context: &Context, current: Option<&str>) -> Result<SecurityPage> {
    Ok(SecurityPage {
        me: service.me(context)?,
        sessions: service.sessions(context, current)?,
        factor: service.second_factor(context)?,
        passkeys: service.passkeys(context)?,
        key: None,
        codes: Vec::new(),
        refused: "",
        error: None,
    })
}

fn secret_of(caller: &Caller) -> Option<String> {
    caller.secret().map(str::to_owned)
}

/// `GET /account/security`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    let current = secret_of(&visit.caller);
    visit
        .page(&state, move |service, context| {
            load(service, context, current.as_deref())
        })
        .await
}

/// Shows the page again with what was made or what was wrong.
async fn again(
    state: &State,
    form: &Form,
    status: StatusCode,
    change: impl FnOnce(&mut SecurityPage),
) -> Answer {
    let (context, current) = (form.caller.context(), secret_of(&form.caller));
    let mut page = blocking(&state.service, move |service| {
        load(service, &context, current.as_deref())
    })
    .await?;
    change(&mut page);
    let prefix = match (page.refused, form.fields.get("code")) {
        ("close", _) => "close-",
        ("passkeys", _) => "passkey-",
        // The form that asks for the first code of a new key has no password.
        ("factor", _) if form.fields.get("password").is_empty() => "",
        ("factor", "") => "on-",
        ("factor", _) => "off-",
        _ => "",
    };
    let facts = match &page.error {
        Some(error) => form.refused(prefix, error),
        None => form.facts.clone(),
    };
    render(state, &facts, status, &page)
}

/// Shows the page again with what was wrong.
pub(super) async fn refused(
    state: &State,
    form: &Form,
    which: &'static str,
    problem: Problem,
) -> Answer {
    if problem.status >= 500 {
        return Err(problem);
    }
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    again(state, form, status, |page| {
        page.refused = which;
        page.error = Some(problem.detail);
    })
    .await
}

/// `POST /account/password`
pub(crate) async fn password(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, &form.caller.actor.handle)?;
    let (context, keep) = (form.writing(), secret_of(&form.caller));
    let cmd = ChangePassword {
        current: form.fields.raw("current").to_owned(),
        new: form.fields.raw("new").to_owned(),
    };
    let changed = blocking(&state.service, move |service| {
        service.change_password(&context, &cmd, keep.as_deref())
    });
    match changed.await {
        Ok(()) => Ok(redirect_with(
            HERE,
            "done",
            "Your password is changed; every other session was ended.",
        )),
        Err(problem) => refused(&state, &form, "password", problem).await,
    }
}

/// `POST /account/second-factor`
pub(crate) async fn begin(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, &form.caller.actor.handle)?;
    let context = form.writing();
    let cmd = GivePassword {
        password: form.fields.raw("password").to_owned(),
    };
    let made = blocking(&state.service, move |service| {
        service.begin_second_factor(&context, &cmd)
    });
    match made.await {
        Ok(key) => {
            let shown = KeyShown::of(&key)?;
            again(&state, &form, StatusCode::CREATED, |page| {
                page.key = Some(shown)
            })
            .await
        }
        Err(problem) => refused(&state, &form, "factor", problem).await,
    }
}

/// `POST /account/second-factor/confirm`
pub(crate) async fn confirm(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, &form.caller.actor.handle)?;
    let context = form.writing();
    let cmd = ConfirmSecondFactor {
        code: form.fields.get("code").to_owned(),
    };
    let confirmed = blocking(&state.service, move |service| {
        service.confirm_second_factor(&context, &cmd)
    });
    match confirmed.await {
        Ok(made) => {
            again(&state, &form, StatusCode::CREATED, |page| {
                page.codes = made.codes
            })
            .await
        }
        Err(problem) => refused(&state, &form, "factor", problem).await,
    }
}

/// `POST /account/second-factor/remove`
pub(crate) async fn remove(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, &form.caller.actor.handle)?;
    let context = form.writing();
    let cmd = RemoveSecondFactor {
        password: form.fields.raw("password").to_owned(),
        code: form.fields.get("code").to_owned(),
    };
    let removed = blocking(&state.service, move |service| {
        service.remove_second_factor(&context, &cmd)
    });
    match removed.await {
        Ok(()) => Ok(redirect_with(
            HERE,
            "done",
            "One-time codes are turned off.",
        )),
        Err(problem) => refused(&state, &form, "factor", problem).await,
    }
}

/// `POST /account/sessions/{id}/revoke`
pub(crate) async fn revoke(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    blocking(&state.service, move |service| {
        service.revoke_session(&context, &id)
    })
    .await?;
    Ok(redirect_with(HERE, "done", "That session is over."))
}

/// `POST /account/close`
pub(crate) async fn close(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, &form.caller.actor.handle)?;
    let context = form.writing();
    let cmd = CloseAccount {
        password: form.fields.raw("password").to_owned(),
        code: Some(form.fields.get("code").to_owned()),
        surrender: form.fields.get("surrender") == "yes",
    };
    let closed = blocking(&state.service, move |service| {
        service.close_account(&context, &cmd)
    });
    match closed.await {
        Ok(()) => {
            let mut response = redirect_with("/", "done", "Your account is closed.");
            response
                .add_cookie(&no_session_cookie(&state.config))
                .map_err(Problem::internal)?;
            Ok(response)
        }
        Err(problem) => refused(&state, &form, "close", problem).await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_becomes_a_picture_and_groups_of_four() {
        let shown = KeyShown::of(&SecondFactorKey {
            secret: "ABCDEFGHIJ".into(),
            address: "otpauth://totp/Plumbline:ada?secret=ABCDEFGHIJ&issuer=Plumbline".into(),
        })
        .unwrap();
        assert_eq!(shown.secret, "ABCD EFGH IJ");
        assert!(shown.side > 30 && shown.path.starts_with("M4 4h1v1h-1z"));
    }
}
