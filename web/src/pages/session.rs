//! Signing in, signing up, first set-up, signing out.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use plumbline_service::commands::{CreateAccount, Login};
use plumbline_service::views::SessionOpened;
use serde::{Deserialize, Serialize};

use super::form::{Fields, Form};
use super::visit::{redirect_with, render};
use super::{Visit, local_path};
use crate::api::Answer;
use crate::api::accounts::{agent_of, count_attempt, end_former};
use crate::auth::{State, no_session_cookie, session_cookie};
use crate::blocking::blocking;
use crate::extract::Params;
use crate::problem::Problem;
use crate::state::AppState;
use crate::templates::Page;

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
    invitation: Option<String>,
}

/// What the credential forms show; a password is never sent back.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Credentials {
    /// As typed.
    pub(crate) handle: String,
    /// As typed, on the set-up form.
    pub(crate) setup_code: String,
    /// As typed, or as in the link that was followed.
    pub(crate) invitation: String,
    /// Where to go afterwards.
    pub(crate) next: String,
    /// What was wrong.
    pub(crate) error: Option<String>,
}

impl Credentials {
    fn of(fields: &Fields) -> Self {
        Self {
            handle: fields.get("handle").chars().take(64).collect(),
            setup_code: fields.get("setup_code").chars().take(64).collect(),
            invitation: fields.get("invitation").chars().take(64).collect(),
            next: local_path(Some(fields.get("next"))),
            error: None,
        }
    }

    fn next(next: Option<&str>) -> Self {
        Self {
            next: local_path(next),
            ..Self::default()
        }
    }
}

/// The sign-in page's context.
#[derive(Debug, Serialize)]
pub(crate) struct LoginPage {
    /// The form.
    pub(crate) form: Credentials,
    /// Nobody has an account yet.
    pub(crate) needs_setup: bool,
    /// Origin of the pages on which passkeys work, where they do.
    pub(crate) passkeys: Option<String>,
}

/// The sign-up page's context.
#[derive(Debug, Serialize)]
pub(crate) struct SignUpPage {
    /// The form.
    pub(crate) form: Credentials,
}

/// The set-up page's context.
#[derive(Debug, Serialize)]
pub(crate) struct SetUpPage {
    /// The form.
    pub(crate) form: Credentials,
    /// Whether it is still needed.
    pub(crate) needed: bool,
}

impl Page for LoginPage {
    const TEMPLATE: &'static str = "login.html";
}
impl Page for SignUpPage {
    const TEMPLATE: &'static str = "signup.html";
}
impl Page for SetUpPage {
    const TEMPLATE: &'static str = "setup.html";
}

/// `GET /login`
pub(crate) async fn login_form(state: State, visit: Visit, query: Params<Next>) -> Answer {
    let form = Credentials::next(query.0.next.as_deref());
    visit
        .page(&state, move |service, _| {
            Ok(LoginPage {
                form,
                needs_setup: service.needs_setup()?,
                passkeys: service.passkey_origin().map(str::to_owned),
            })
        })
        .await
}

/// `POST /login`
pub(crate) async fn login(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, form.fields.get("handle"))?;
    let next = local_path(Some(form.fields.get("next")));
    let opened = open_session(&req, &state, &form, &next, None).await;
    opened.or_else(|problem| login_again(&state, &form, problem))
}

/// Shows the sign-in page again with what was wrong.
pub(super) fn login_again(state: &AppState, form: &Form, problem: Problem) -> Answer {
    if problem.status >= 500 {
        return Err(problem);
    }
    let page = LoginPage {
        form: Credentials {
            error: Some(problem.detail.clone()),
            ..Credentials::of(&form.fields)
        },
        needs_setup: false,
        passkeys: state.service.passkey_origin().map(str::to_owned),
    };
    let facts = form.refused("", &problem.detail);
    render(state, &facts, problem.http_status(), &page)
}

/// Signs in with the form's handle and password and goes on to `next`.
async fn open_session(
    req: &HttpRequest,
    state: &AppState,
    form: &Form,
    next: &str,
    told: Option<&str>,
) -> Answer {
    let fields = &form.fields;
    let code = fields.get("code");
    let command = Login {
        handle: fields.get("handle").to_owned(),
        password: fields.raw("password").to_owned(),
        code: (!code.is_empty()).then(|| code.to_owned()),
    };
    let agent = agent_of(req);
    let session = blocking(&state.service, move |service| {
        service.sign_in(&command, &agent)
    })
    .await?;
    go_on(state, form, &session, next, told).await
}

/// Goes on to where the form says, in a session that was just opened.
pub(super) async fn enter(state: &AppState, form: &Form, session: &SessionOpened) -> Answer {
    let next = local_path(Some(form.fields.get("next")));
    go_on(state, form, session, &next, None).await
}

async fn go_on(
    state: &AppState,
    form: &Form,
    session: &SessionOpened,
    next: &str,
    told: Option<&str>,
) -> Answer {
    end_former(state, &form.caller).await?;
    let cookie = session_cookie(&state.config, &session.secret, session.max_age_s);
    let mut response = match told {
        Some(text) => redirect_with(next, "done", text),
        None => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, next))
            .finish(),
    };
    response.add_cookie(&cookie).map_err(Problem::internal)?;
    Ok(response)
}

/// `GET /signup`
pub(crate) async fn sign_up_form(state: State, visit: Visit, query: Params<Next>) -> Answer {
    let invitation = query.0.invitation.unwrap_or_default();
    let form = Credentials {
        invitation: invitation.chars().take(64).collect(),
        ..Credentials::next(query.0.next.as_deref())
    };
    visit
        .page(&state, move |_, _| Ok(SignUpPage { form }))
        .await
}

fn account_of(fields: &Fields) -> CreateAccount {
    let code = fields.get("invitation");
    CreateAccount {
        handle: fields.get("handle").to_owned(),
        password: fields.raw("password").to_owned(),
        invitation: (!code.is_empty()).then(|| code.to_owned()),
    }
}

/// `POST /signup`
pub(crate) async fn sign_up(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, form.fields.get("handle"))?;
    let (context, shown) = (form.writing(), Credentials::of(&form.fields));
    let command = account_of(&form.fields);
    match blocking(&state.service, move |service| {
        service.create_account(&context, &command)
    })
    .await
    {
        Ok(_) => {
            open_session(
                &req,
                &state,
                &form,
                // Whoever came for nothing in particular is shown round once.
                if shown.next == "/" {
                    "/tour"
                } else {
                    &shown.next
                },
                Some("Welcome. Your account is ready to trade."),
            )
            .await
        }
        Err(problem) if problem.status < 500 => {
            let facts = form.refused("", &problem.detail);
            let page = SignUpPage {
                form: Credentials {
                    error: Some(problem.detail),
                    ..shown
                },
            };
            render(&state, &facts, StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

/// `GET /setup`
pub(crate) async fn set_up_form(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, _| {
            Ok(SetUpPage {
                form: Credentials::default(),
                needed: service.needs_setup()?,
            })
        })
        .await
}

/// `POST /setup`
pub(crate) async fn set_up(req: HttpRequest, state: State, form: Form) -> Answer {
    count_attempt(&state, &req, form.fields.get("handle"))?;
    let (command, shown) = (account_of(&form.fields), Credentials::of(&form.fields));
    let code = shown.setup_code.clone();
    match blocking(&state.service, move |service| {
        service.set_up(&code, &command)
    })
    .await
    {
        Ok(_) => {
            open_session(
                &req,
                &state,
                &form,
                "/",
                Some("The operator account is ready."),
            )
            .await
        }
        Err(problem) if problem.status < 500 => {
            let facts = form.refused("", &problem.detail);
            let page = SetUpPage {
                form: Credentials {
                    error: Some(problem.detail),
                    ..shown
                },
                needed: true,
            };
            render(&state, &facts, StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /logout`
pub(crate) async fn logout(state: State, form: Form) -> Answer {
    if let Some(session) = form.caller.session {
        blocking(&state.service, move |service| {
            service.logout(&session.secret)
        })
        .await?;
    }
    let mut response = redirect_with("/", "done", "You are signed out.");
    response
        .add_cookie(&no_session_cookie(&state.config))
        .map_err(Problem::internal)?;
    Ok(response)
}
