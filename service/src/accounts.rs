//! Accounts and their API tokens.

use plumbline_access::{Action, SignUp};
use plumbline_store::accounts::{Account, AccountKind};
use plumbline_store::{Tx, accounts, invitations, tokens};
use subtle::ConstantTimeEq;

use crate::commands::{CreateAccount, CreateToken};
use crate::context::{Actor, Context, Scope};
use crate::ledger::{TREASURY, post};
use crate::people::invitations::usable;
use crate::people::password::check_password;
use crate::secrets::{TOKEN_PREFIX, fingerprint, hash_password};
use crate::time::{Millis, rfc3339};
use crate::views::{MeView, TokenCreated, TokenView};
use crate::{Result, Service, ServiceError, notices};

const MAX_TOKEN_DAYS: u32 = 3_650;
const DAY: Millis = 24 * 3_600_000;
const MAX_TOKENS_PER_ACCOUNT: usize = 50;

/// Roles of an account made by sign-up.
const PARTICIPANT: [&str; 2] = ["participant", "researcher"];
/// Roles of the first account.
const OPERATOR: [&str; 4] = ["participant", "researcher", "operator", "scheduler"];

impl Service {
    /// Signs up a participant and grants the opening balance.
    pub fn create_account(&self, ctx: &Context, cmd: &CreateAccount) -> Result<MeView> {
        self.allow(&ctx.actor, Action::SignUp)?;
        if self.needs_setup()? {
            return Err(ServiceError::refused(
                "needs-setup",
                "the operator has not set up this service yet",
            ));
        }
        let invitation = match &cmd.invitation {
            None if self.needs_invitation(ctx) => {
                return Err(ServiceError::invalid(
                    "bad-invitation",
                    "accounts are made by invitation here; bring the code of one",
                ));
            }
            code => code.as_deref(),
        };
        self.insert_account(cmd, &PARTICIPANT, invitation)
    }

    /// Who may make an account here.
    pub fn sign_up(&self) -> SignUp {
        self.config.sign_up
    }

    /// True until the first account exists.
    pub fn needs_setup(&self) -> Result<bool> {
        self.read(|tx| Ok(!accounts::any_user(tx)?))
    }

    /// The code that the first account's maker must bring; printed at start.
    pub fn setup_code(&self) -> &str {
        &self.setup_code
    }

    /// Creates the first account (operator) when `setup_code` is the one printed at start.
    pub fn set_up(&self, setup_code: &str, cmd: &CreateAccount) -> Result<MeView> {
        if !bool::from(setup_code.as_bytes().ct_eq(self.setup_code.as_bytes())) {
            return Err(ServiceError::Forbidden {
                needs: "the set-up code printed when the service started".into(),
            });
        }
        if !self.needs_setup()? {
            return Err(ServiceError::refused(
                "already-set-up",
                "this service has an operator; sign in instead",
            ));
        }
        self.insert_account(cmd, &OPERATOR, None)
    }

    /// Makes an account with the given roles; for wiring programs, not reachable over HTTP.
    pub fn provision_account(&self, cmd: &CreateAccount, roles: &[&str]) -> Result<MeView> {
        self.insert_account(cmd, roles, None)
    }

    /// The account of a scheduler inside this process: made once, without a
    /// password, so that nobody can sign in as it.
    pub fn system_scheduler(&self, handle: &str) -> Result<MeView> {
        let handle = check_handle(handle)?;
        let id = self.new_id();
        self.write_at(move |tx, now| {
            if let Some(account) = accounts::by_handle(tx, &handle)? {
                return me_view(tx, &account.id);
            }
            let account = Account {
                id,
                kind: AccountKind::User,
                handle,
                password_hash: None,
                roles: vec!["scheduler".to_owned()],
                balance_micro: 0,
                created_at: now,
            };
            accounts::insert(tx, &account)?;
            me_view(tx, &account.id)
        })
    }

    /// Name of the pool whose compute the policy divides.
    pub fn pool(&self) -> &str {
        &self.config.pool
    }

    fn insert_account(
        &self,
        cmd: &CreateAccount,
        roles: &[&str],
        invitation: Option<&str>,
    ) -> Result<MeView> {
        let handle = check_handle(&cmd.handle)?;
        check_password(&cmd.password, &handle)?;
        let invitation = invitation.map(str::to_owned);
        let hash = hash_password(
            &cmd.password,
            self.config.password_cost,
            self.entropy.as_ref(),
        )?;
        let (id, roles) = (
            self.new_id(),
            roles.iter().map(|role| (*role).to_owned()).collect(),
        );
        let (grant, transfer_id) = (self.config.sign_up_grant_micro, self.new_id());
        self.write_at(move |tx, now| {
            let mut account = Account {
                id,
                kind: AccountKind::User,
                handle,
                password_hash: Some(hash),
                roles,
                balance_micro: 0,
                created_at: now,
            };
            let invitation = match invitation {
                Some(code) => Some(usable(tx, &code, account.created_at)?),
                None => None,
            };
            if let Some(roles) = invitation.as_ref().map(|one| &one.roles)
                && !roles.is_empty()
            {
                account.roles.clone_from(roles);
            }
            if accounts::by_handle(tx, &account.handle)?.is_some() {
                return Err(ServiceError::refused(
                    "handle-taken",
                    format!("the handle {} is taken", account.handle),
                ));
            }
            accounts::insert(tx, &account)?;
            if let Some(invitation) = invitation {
                invitations::redeem(tx, &invitation.id, &account.id, account.created_at)?;
            }
            if grant > 0 {
                let entries = vec![(TREASURY.to_owned(), -grant), (account.id.clone(), grant)];
                post(
                    tx,
                    transfer_id,
                    account.created_at,
                    "grant",
                    &account.id,
                    entries,
                )?;
            }
            me_view(tx, &account.id)
        })
    }

    /// The actor's own account.
    pub fn me(&self, ctx: &Context) -> Result<MeView> {
        let id = account_of(&ctx.actor)?;
        self.read(move |tx| me_view(tx, &id))
    }

    /// Makes an API token; its secret is in the answer and nowhere else.
    pub fn create_token(&self, ctx: &Context, cmd: &CreateToken) -> Result<TokenCreated> {
        let account_id = account_of(&ctx.actor)?;
        let scopes = check_token(&ctx.actor, cmd)?;
        let secret = format!("{TOKEN_PREFIX}{}", self.new_secret()?);
        let row = tokens::Token {
            id: self.new_id(),
            account_id: account_id.clone(),
            name: cmd.name.trim().to_owned(),
            hash: fingerprint(&secret),
            scopes: scopes.clone(),
            created_at: self.now(),
            last_used_at: None,
            revoked_at: None,
            expires_at: cmd
                .valid_days
                .map(|days| self.now() + i64::from(days) * DAY),
        };
        let created = TokenCreated {
            expires_at: row.expires_at.map(rfc3339),
            id: row.id.clone(),
            name: row.name.clone(),
            scopes,
            token: secret,
        };
        self.write_at(move |tx, now| {
            let live = tokens::list(tx, &account_id)?
                .iter()
                .filter(|token| tokens_live(token, now))
                .count();
            if live >= MAX_TOKENS_PER_ACCOUNT {
                return Err(ServiceError::refused(
                    "too-many-tokens",
                    "revoke a token first: 50 are in use",
                ));
            }
            tokens::insert(tx, &row)?;
            let title = format!("A token was made: {}", row.name);
            let body = "If it was not you, revoke it and change your password.";
            notices::warn(tx, &account_id, &row.id, &title, body, now)
        })?;
        Ok(created)
    }

    /// The actor's live tokens, without their secrets.
    pub fn tokens(&self, ctx: &Context) -> Result<Vec<TokenView>> {
        let id = account_of(&ctx.actor)?;
        let rows = self.read(move |tx| Ok(tokens::list(tx, &id)?))?;
        let now = self.now();
        Ok(rows
            .into_iter()
            .filter(|row| tokens_live(row, now))
            .map(token_view)
            .collect())
    }

    /// Revokes one of the actor's tokens.
    pub fn revoke_token(&self, ctx: &Context, id: &str) -> Result<()> {
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        self.write_at(move |tx, now| {
            let owned = tokens::list(tx, &account)?
                .iter()
                .any(|token| token.id == id && token.revoked_at.is_none());
            if !owned {
                return Err(ServiceError::not_found("token", id));
            }
            Ok(tokens::revoke(tx, &id, &account, now)?)
        })
    }
}

/// The actor's account id.
pub(crate) fn account_of(actor: &Actor) -> Result<String> {
    actor
        .account_id
        .clone()
        .ok_or(ServiceError::Unauthenticated)
}

/// `session` says that the credential is a session and not an API token.
pub(crate) fn actor_of(account: Account, scopes: Vec<Scope>, session: bool) -> Actor {
    Actor {
        account_id: Some(account.id),
        handle: account.handle,
        roles: account.roles,
        scopes,
        session,
    }
}

fn check_handle(handle: &str) -> Result<String> {
    let handle = handle.trim().to_lowercase();
    let fine = (3..=32).contains(&handle.len())
        && handle
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fine {
        return Ok(handle);
    }
    Err(ServiceError::invalid(
        "bad-handle",
        "a handle is 3 to 32 of the characters a-z 0-9 _ -",
    ))
}

/// Whether a token is neither revoked nor past its time.
pub(crate) fn tokens_live(token: &tokens::Token, now: Millis) -> bool {
    token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now)
}

fn check_token(actor: &Actor, cmd: &CreateToken) -> Result<Vec<String>> {
    let name = cmd.name.trim();
    if name.is_empty() || name.chars().count() > 64 {
        return Err(ServiceError::invalid(
            "bad-token-name",
            "a token's name has 1 to 64 characters",
        ));
    }
    if cmd
        .valid_days
        .is_some_and(|days| !(1..=MAX_TOKEN_DAYS).contains(&days))
    {
        return Err(ServiceError::invalid(
            "bad-token-time",
            "a token is good for 1 to 3650 days, or until it is revoked",
        ));
    }
    if cmd.scopes.is_empty() {
        return Err(ServiceError::invalid(
            "no-scopes",
            "name at least one scope, for example read",
        ));
    }
    let mut scopes = Vec::new();
    for name in &cmd.scopes {
        let scope = Scope::parse(name).ok_or_else(|| {
            ServiceError::invalid("unknown-scope", format!("there is no scope '{name}'"))
        })?;
        // A token never has more than the credential that made it.
        if !actor.scopes.contains(&scope) {
            return Err(ServiceError::Forbidden {
                needs: format!("the scope '{name}' yourself"),
            });
        }
        if !scopes.contains(name) {
            scopes.push(name.clone());
        }
    }
    Ok(scopes)
}

fn me_view(tx: &mut Tx, id: &str) -> Result<MeView> {
    let account = accounts::get(tx, id)?;
    Ok(MeView {
        locked_micro: accounts::locked_micro(tx, id)?,
        id: account.id,
        handle: account.handle,
        balance_micro: account.balance_micro,
        roles: account.roles,
        created_at: rfc3339(account.created_at),
    })
}

fn token_view(row: tokens::Token) -> TokenView {
    let used: Option<Millis> = row.last_used_at;
    TokenView {
        id: row.id,
        name: row.name,
        scopes: row.scopes,
        created_at: rfc3339(row.created_at),
        last_used_at: used.map(rfc3339),
        expires_at: row.expires_at.map(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::authorise::scopes_of;

    #[test]
    fn handles_are_normalised_and_bounded() {
        assert_eq!(check_handle("  Ada-1 ").unwrap(), "ada-1");
        for bad in ["ab", "", "has space", "ünïcode", &"x".repeat(33)] {
            assert_eq!(check_handle(bad).unwrap_err().code(), "bad-handle", "{bad}");
        }
    }

    #[test]
    fn roles_never_give_a_scope_over_settlement() {
        let all: Vec<String> = OPERATOR.iter().map(|role| (*role).to_owned()).collect();
        assert_eq!(scopes_of(&all).len(), Scope::ALL.len());
        assert_eq!(scopes_of(&[]), vec![Scope::Read]);
    }

    #[test]
    fn a_token_cannot_hold_more_than_its_maker() {
        let actor = Actor {
            account_id: Some("a".into()),
            handle: "a".into(),
            roles: vec![],
            scopes: vec![Scope::Read, Scope::Trade],
            session: false,
        };
        let ask = |scopes: &[&str]| CreateToken {
            name: "t".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            valid_days: None,
        };
        assert_eq!(
            check_token(&actor, &ask(&["read", "read", "trade"])).unwrap(),
            ["read", "trade"]
        );
        assert_eq!(
            check_token(&actor, &ask(&["admin"])).unwrap_err().code(),
            "forbidden"
        );
        assert_eq!(
            check_token(&actor, &ask(&["fly"])).unwrap_err().code(),
            "unknown-scope"
        );
        assert_eq!(
            check_token(&actor, &ask(&[])).unwrap_err().code(),
            "no-scopes"
        );
    }
}
