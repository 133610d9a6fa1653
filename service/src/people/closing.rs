//! Closing an account: the person goes, the ledger stays as it is.

use plumbline_access::Action;
use plumbline_store::{
    Tx, accounts, hosted, jurors, orders, passkeys, portfolio, revenue_shares, second_factors,
    sessions, stakes, tokens,
};
use serde_json::json;

use super::second_factor::check_code;
use crate::accounts::account_of;
use crate::commands::CloseAccount;
use crate::context::Context;
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::{Result, Service, ServiceError, notices, roles};

impl Service {
    /// Closes the actor's account. Credentials go, the handle becomes a tombstone, and what is left of the
    /// balance goes to the treasury, if `surrender` says so. What the account did stays on record.
    ///
    /// # Errors
    /// `wrong-password`, `second-factor`; `account-in-use` with what has to end first; `balance-left` without
    /// `surrender`; `last-operator`.
    pub fn close_account(&self, ctx: &Context, cmd: &CloseAccount) -> Result<()> {
        self.allow(&ctx.actor, Action::CloseAccount)?;
        self.check_own_password(ctx, &cmd.password)?;
        let (id, transfer_id) = (account_of(&ctx.actor)?, self.new_id());
        let (code, surrender) = (cmd.code.clone(), cmd.surrender);
        let defences = self.config.defences;
        // A wrong code has to be written down, so it must not undo the transaction.
        let refused = self.write_at(move |tx, now| {
            if let Some(refused) = check_code(tx, &id, code.as_deref(), now, defences)? {
                return Ok(Some(refused));
            }
            let account = accounts::get(tx, &id)?;
            if let Some(what) = in_use(tx, &id)? {
                return Err(ServiceError::refused(
                    "account-in-use",
                    format!("the account still has {what}; end that first"),
                ));
            }
            let operates = account.roles.iter().any(|role| role == "operator");
            if operates && !roles::another_operator(tx, &id)? {
                return Err(ServiceError::refused(
                    "last-operator",
                    "nobody else is operator; give the role to another account first",
                ));
            }
            if account.balance_micro > 0 {
                if !surrender {
                    return Err(ServiceError::refused(
                        "balance-left",
                        format!(
                            "{} micro-credits are left; say that you give them up",
                            account.balance_micro
                        ),
                    ));
                }
                let left = account.balance_micro;
                let entries = vec![(id.clone(), -left), (TREASURY.to_owned(), left)];
                post(tx, transfer_id, now, "account-closed", &id, entries)?;
            }
            forget(tx, &id)?;
            publish(
                tx,
                now,
                "accounts",
                "account-closed",
                &json!({"account_id": id}),
            )?;
            Ok(None)
        })?;
        refused.map_or(Ok(()), Err)
    }
}

/// What keeps an account from being closed, for people.
fn in_use(tx: &mut Tx, id: &str) -> Result<Option<&'static str>> {
    if !portfolio::open_positions(tx, id, 1)?.is_empty() {
        return Ok(Some("positions in markets that are not paid yet"));
    }
    if !orders::open_of_account(tx, id, 1)?.is_empty() {
        return Ok(Some("resting orders"));
    }
    if portfolio::pending_stakes(tx, id)? > 0 {
        return Ok(Some("evidence that waits for the judges"));
    }
    if stakes::get(tx, id)?.is_some_and(|row| row.stake_micro > 0) {
        return Ok(Some("a stake in votes"));
    }
    if jurors::get(tx, id)?.is_some_and(|row| row.stake_micro > 0) {
        return Ok(Some("a stake as a juror"));
    }
    if hosted::any_held_of(tx, id)? {
        return Ok(Some("a stake of a node"));
    }
    if revenue_shares::any_unclaimed_of(tx, id)? {
        return Ok(Some("a share of revenue to claim"));
    }
    Ok(None)
}

/// Removes what lets anybody act as the account, and its name.
fn forget(tx: &mut Tx, id: &str) -> Result<()> {
    for session in sessions::of_account(tx, id)? {
        sessions::delete(tx, &session.id_hash)?;
    }
    tokens::forget(tx, id)?;
    second_factors::remove(tx, id)?;
    passkeys::forget(tx, id)?;
    notices::forget(tx, id)?;
    for delegation in stakes::of_delegator(tx, id)? {
        stakes::undelegate(tx, id, &delegation.track)?;
    }
    // The end of an identifier is its random part; no handle that people choose has a colon.
    let end = id.get(id.len().saturating_sub(12)..).unwrap_or(id);
    Ok(accounts::close(tx, id, &format!("closed:{end}"))?)
}
