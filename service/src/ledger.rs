//! Statements and totals; how use cases post transfers.

use plumbline_access::Action;
use plumbline_market::{AccountId, Entry, Micro, Transfer};
use plumbline_store::accounts::{Account, AccountKind};
use plumbline_store::{Tx, accounts, ledger};

use crate::context::Context;
use crate::error::if_found;
use crate::time::{Millis, rfc3339};
use crate::views::{LedgerSummary, Page, TransferView};
use crate::{Result, Service, ServiceError, page};

/// The account that issues credits and pays subsidies; the only one that may
/// be negative, by exactly what it issued.
pub(crate) const TREASURY: &str = "treasury";

/// Posts one balanced transfer inside the caller's transaction. Nothing to
/// move is nothing to post.
pub(crate) fn post(
    tx: &mut Tx,
    id: String,
    at: Millis,
    kind: &str,
    reference: &str,
    entries: Vec<(String, i64)>,
) -> Result<()> {
    let moves = entries.into_iter().map(|(account, amount)| Entry {
        account: AccountId(account),
        amount: Micro(amount),
    });
    let Some(balanced) = Transfer::merged(moves).map_err(ServiceError::internal)? else {
        return Ok(());
    };
    let transfer = ledger::Transfer {
        id,
        at,
        kind: kind.to_owned(),
        reference: reference.to_owned(),
        entries: balanced
            .into_entries()
            .into_iter()
            .map(|entry| (entry.account.0, entry.amount.get()))
            .collect(),
    };
    Ok(ledger::post(tx, &transfer)?)
}

/// Makes the accounts that the ledger needs before anybody signs up.
pub(crate) fn ensure_treasury(tx: &mut Tx, now: Millis) -> Result<()> {
    ensure_account(tx, &system_account(TREASURY, AccountKind::Treasury, now))
}

/// Makes an account that holds money for others if there is none of this name.
pub(crate) fn ensure_holding(tx: &mut Tx, id: &str, now: Millis) -> Result<()> {
    ensure_account(tx, &system_account(id, AccountKind::Escrow, now))
}

/// Makes an account unless there is one of its id.
pub(crate) fn ensure_account(tx: &mut Tx, account: &Account) -> Result<()> {
    match if_found(accounts::get(tx, &account.id))? {
        Some(_) => Ok(()),
        None => Ok(accounts::insert(tx, account)?),
    }
}

/// An account without a person behind it; its handle is its id.
pub(crate) fn system_account(id: &str, kind: AccountKind, now: Millis) -> Account {
    Account {
        id: id.to_owned(),
        kind,
        handle: id.to_owned(),
        password_hash: None,
        roles: Vec::new(),
        balance_micro: 0,
        created_at: now,
    }
}

impl Service {
    /// An account's statement, newest first. Only its owner and the operator see it.
    pub fn account_transfers(
        &self,
        ctx: &Context,
        account_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<TransferView>> {
        let own = ctx.actor.account_id.as_deref() == Some(account_id);
        self.allow_on(&ctx.actor, Action::ReadStatement, own)?;
        let (before, limit, id) = (
            page::parse_cursor(cursor)?,
            page::bounded(limit),
            account_id.to_owned(),
        );
        self.read(move |tx| {
            accounts::get(tx, &id)?;
            let rows = ledger::transfers(tx, &id, before, (limit + 1) as i64)?;
            Ok(page::cut(
                rows,
                limit,
                |row| row.seq.to_string(),
                transfer_view,
            ))
        })
    }

    /// Totals over all accounts. The sum is 0 or something is broken.
    pub fn ledger_summary(&self, ctx: &Context) -> Result<LedgerSummary> {
        self.allow(&ctx.actor, Action::ReadLedger)?;
        self.read(|tx| {
            let totals = ledger::totals(tx)?;
            Ok(LedgerSummary {
                sum_micro: totals.sum_micro,
                treasury_micro: totals.treasury_micro,
                escrow_micro: totals.escrow_micro,
                users_micro: totals.users_micro,
            })
        })
    }
}

fn transfer_view(row: ledger::TransferRow) -> TransferView {
    TransferView {
        id: row.id,
        at: rfc3339(row.at),
        kind: row.kind,
        reference: row.reference,
        amount_micro: row.amount_micro,
    }
}
