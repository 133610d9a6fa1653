//! Giving and taking roles; the operator's.

use plumbline_access::{Action, ROLES};
use plumbline_store::{Tx, accounts};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::GrantRoles;
use crate::context::Context;
use crate::events::publish;
use crate::time::Millis;
use crate::views::RolesView;
use crate::{Result, Service, ServiceError};

/// Topic of the record of who gave and took which role.
const TOPIC: &str = "accounts";

impl Service {
    /// Adds roles to an account. It holds them from its next request on.
    ///
    /// # Errors
    /// `bad-role` with the name that is none; `not-found`.
    pub fn grant_roles(&self, ctx: &Context, handle: &str, cmd: &GrantRoles) -> Result<RolesView> {
        self.allow(&ctx.actor, Action::GrantRole)?;
        if cmd.roles.is_empty() || cmd.roles.len() > ROLES.len() {
            return Err(ServiceError::invalid("bad-role", "name one to eight roles"));
        }
        for role in &cmd.roles {
            check_role(role)?;
        }
        let (handle, by, added) = (
            handle.to_owned(),
            account_of(&ctx.actor)?,
            cmd.roles.clone(),
        );
        self.write_once(ctx, move |tx, now| {
            change(tx, &handle, &by, now, |roles| {
                for role in &added {
                    if !roles.contains(role) {
                        roles.push(role.clone());
                    }
                }
            })
        })
    }

    /// Takes a role from an account. An operator cannot stop being one: somebody has to be.
    ///
    /// # Errors
    /// `bad-role`; `own-role`; `not-found`.
    pub fn revoke_role(&self, ctx: &Context, handle: &str, role: &str) -> Result<RolesView> {
        self.allow(&ctx.actor, Action::RevokeRole)?;
        check_role(role)?;
        let own = handle.eq_ignore_ascii_case(&ctx.actor.handle);
        if own && role == "operator" {
            return Err(ServiceError::refused(
                "own-role",
                "another operator has to take this role from you",
            ));
        }
        let (handle, by, role) = (handle.to_owned(), account_of(&ctx.actor)?, role.to_owned());
        self.write_once(ctx, move |tx, now| {
            change(tx, &handle, &by, now, |roles| {
                roles.retain(|held| *held != role);
            })
        })
    }
}

/// Checks the names of roles.
pub(crate) fn check<'a>(names: impl Iterator<Item = &'a String>) -> Result<()> {
    for name in names {
        check_role(name)?;
    }
    Ok(())
}

/// Gives and takes roles because a vote said so. Somebody has to be operator.
pub(crate) fn by_vote(
    tx: &mut Tx,
    handle: &str,
    grant: &[String],
    revoke: &[String],
    proposal_id: &str,
    now: Millis,
) -> Result<RolesView> {
    let operator = |role: &String| role == "operator";
    if revoke.iter().any(operator) && !grant.iter().any(operator) {
        let account = accounts::by_handle(tx, handle)?;
        let id = account.map(|account| account.id).unwrap_or_default();
        if !another_operator(tx, &id)? {
            return Err(ServiceError::refused(
                "last-operator",
                "nobody else is operator; give the role to another account first",
            ));
        }
    }
    change(tx, handle, proposal_id, now, |roles| {
        roles.retain(|held| !revoke.contains(held));
        for role in grant {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
    })
}

pub(crate) fn another_operator(tx: &mut Tx, but: &str) -> Result<bool> {
    let mut after = None;
    loop {
        let page = accounts::list(tx, after.as_deref(), 500)?;
        let operates = |account: &accounts::Account| {
            account.id != but
                && account.password_hash.is_some()
                && account.roles.iter().any(|role| role == "operator")
        };
        if page.iter().any(operates) {
            return Ok(true);
        }
        match page.last() {
            Some(last) => after = Some(last.id.clone()),
            None => return Ok(false),
        }
    }
}

fn check_role(role: &str) -> Result<()> {
    if ROLES.contains(&role) {
        return Ok(());
    }
    Err(ServiceError::invalid(
        "bad-role",
        format!("'{role}' is no role; there are {}", ROLES.join(", ")),
    ))
}

fn change(
    tx: &mut Tx,
    handle: &str,
    by: &str,
    now: Millis,
    f: impl FnOnce(&mut Vec<String>),
) -> Result<RolesView> {
    let account = accounts::by_handle(tx, handle)?
        // Accounts without a password belong to the service.
        .filter(|account| account.password_hash.is_some())
        .ok_or_else(|| ServiceError::not_found("account", handle))?;
    let mut roles = account.roles.clone();
    f(&mut roles);
    if roles != account.roles {
        accounts::set_roles(tx, &account.id, &roles)?;
        let change = json!({"account": account.handle, "roles": roles, "by": by});
        publish(tx, now, TOPIC, "roles-changed", &change)?;
    }
    Ok(RolesView {
        account: account.handle,
        roles,
    })
}
