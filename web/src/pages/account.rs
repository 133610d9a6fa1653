//! One's own account: balance, positions, statement, tokens.

use actix_web::web;
use plumbline_service::commands::CreateToken;
use plumbline_service::context::{Context, Scope};
use plumbline_service::views::{MeView, PositionView, TokenCreated, TokenView, TransferView};
use plumbline_service::{Result, Service};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::form::{Form, answer_with_page, fresh_key};
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::extract::Params;
use crate::templates::Page;

/// Which page of the statement.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// The account page's context.
#[derive(Debug, Serialize)]
pub(crate) struct AccountPage {
    /// The account.
    pub(crate) me: MeView,
    /// Its positions.
    pub(crate) positions: Vec<PositionView>,
    /// Its statement, newest first.
    pub(crate) transfers: Vec<TransferView>,
    /// Where the statement goes on.
    pub(crate) next_cursor: Option<String>,
    /// Its tokens.
    pub(crate) tokens: Vec<TokenView>,
    /// Every scope with what it allows.
    pub(crate) scopes: Vec<ScopeChoice>,
    /// A token that was just made, shown this once.
    pub(crate) created: Option<TokenCreated>,
    /// What is wrong with the token form.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

/// A scope that a token may have.
#[derive(Debug, Serialize)]
pub(crate) struct ScopeChoice {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it allows.
    pub(crate) about: &'static str,
    /// Whether the account itself has it.
    pub(crate) held: bool,
}

impl Page for AccountPage {
    const TEMPLATE: &'static str = "account.html";
}

/// What a scope allows, for people.
pub(crate) fn about(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "Read everything public and your own account; ask models",
        Scope::Trade => "Quote and trade with your balance",
        Scope::Evidence => "Submit evidence with your stake",
        Scope::Govern => "Vote and delegate",
        Scope::Schedule => "Register runs, acknowledge decisions",
        Scope::Node => "Join training runs",
        Scope::Admin => "Open markets, see operations",
    }
}

/// `GET /account`
pub(crate) async fn show(state: State, visit: Visit, query: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, query.0.cursor.as_deref())
        })
        .await
}

fn load(service: &Service, context: &Context, cursor: Option<&str>) -> Result<AccountPage> {
    let me = service.me(context)?;
    let statement = service.account_transfers(context, &me.id, cursor, 25)?;
    let held = |scope| context.actor.scopes.contains(&scope);
    let scopes = Scope::ALL.map(|scope| ScopeChoice {
        name: scope.as_str(),
        about: about(scope),
        held: held(scope),
    });
    Ok(AccountPage {
        positions: service.my_positions(context)?,
        transfers: statement.items,
        next_cursor: statement.next_cursor,
        tokens: service.tokens(context)?,
        scopes: scopes.into_iter().collect(),
        created: None,
        error: None,
        key: fresh_key(),
        me,
    })
}

/// `POST /account/tokens`: answers with the page itself, because a redirect would have to carry the secret
pub(crate) async fn create_token(state: State, form: Form) -> Answer {
    let (writing, context) = (form.writing(), form.caller.context());
    let command = CreateToken {
        name: form.fields.get("name").to_owned(),
        scopes: form.fields.all("scope"),
        valid_days: form.fields.get("days").parse().ok(),
    };
    let made = blocking(&state.service, move |service| {
        service.create_token(&writing, &command)
    })
    .await;
    let page = blocking(&state.service, move |service| load(service, &context, None)).await?;
    answer_with_page(&state, &form, made, page, |page, made| match made {
        Ok(token) => page.created = Some(token),
        Err(error) => page.error = Some(error),
    })
}

/// `POST /account/tokens/{id}/revoke`
pub(crate) async fn revoke_token(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    blocking(&state.service, move |service| {
        service.revoke_token(&context, &id)
    })
    .await?;
    Ok(redirect_with(
        "/account#tokens",
        "done",
        "The token is revoked; programs that used it are locked out.",
    ))
}
