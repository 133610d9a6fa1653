//! Becoming a juror, and stopping to be one.

use plumbline_access::Action;
use plumbline_store::Tx;
use plumbline_store::accounts::{self, Account, AccountKind};
use plumbline_store::gold::unused_secrets;
use plumbline_store::jurors::{self, Juror};
use serde_json::json;

use super::convene::{MAX_JURORS, may_sit, open_to_all, weight_of};
use super::settle::paid_out;
use super::{JURY, TOPIC};
use crate::accounts::account_of;
use crate::commands::JoinJury;
use crate::context::Context;
use crate::events::publish;
use crate::ledger::{ensure_account, post, system_account};
use crate::time::{Millis, rfc3339};
use crate::views::{DrawCommitment, JurorView, Page};
use crate::{Result, Service, ServiceConfig, ServiceError, page};

/// Most that is staked at once, micro-credits: sums of a few fit the ledger.
const MAX_STAKE: i64 = 1_000_000_000_000_000_000;

/// Makes the account of the jury. Its handle is one that nobody can sign up with.
pub(crate) fn ensure_jury(tx: &mut Tx, now: Millis) -> Result<()> {
    let account = Account {
        handle: format!("system:{JURY}"),
        ..system_account(JURY, AccountKind::Escrow, now)
    };
    ensure_account(tx, &account)
}

impl Service {
    /// Adds to the actor's stake as a juror, and makes it one.
    ///
    /// # Errors
    /// `forbidden` without the role `juror` where juries are not open; `bad-stake` for an amount
    /// that leaves the stake below two deposits; `jury-full`; `insufficient-funds`.
    pub fn join_jury(&self, ctx: &Context, cmd: &JoinJury) -> Result<JurorView> {
        self.allow(&ctx.actor, Action::JoinJury)?;
        let account_id = account_of(&ctx.actor)?;
        if !(1..=MAX_STAKE).contains(&cmd.stake_micro) {
            return Err(ServiceError::invalid(
                "bad-stake",
                "a stake is above zero, and at most a million million credits",
            ));
        }
        let (config, transfer_id, added) = (self.config.clone(), self.new_id(), cmd.stake_micro);
        self.write_once(ctx, move |tx, now| {
            if !may_sit(tx, &config, &account_id)? {
                return Err(ServiceError::Forbidden {
                    needs: "the role 'juror', which the operator gives to verified people".into(),
                });
            }
            let known = jurors::get(tx, &account_id)?;
            let juror = staked(tx, known.as_ref(), &account_id, added, now)?;
            let least = config.panels.least_stake();
            if juror.stake_micro < least {
                return Err(ServiceError::invalid(
                    "bad-stake",
                    format!("a juror stakes at least {least} micro-credits: two deposits"),
                ));
            }
            match known {
                Some(_) => jurors::update(tx, &juror)?,
                None => jurors::insert(tx, &juror)?,
            }
            let entries = vec![(account_id, -added), (JURY.to_owned(), added)];
            post(tx, transfer_id, now, "juror-stake", JURY, entries)?;
            publish(tx, now, TOPIC, "juror-joined", &json!({}))?;
            juror_view(tx, &config, juror, true)
        })
    }

    /// Takes the actor's stake back: at once what no seat locks, the rest as its seats end.
    pub fn leave_jury(&self, ctx: &Context) -> Result<JurorView> {
        self.allow(&ctx.actor, Action::LeaveJury)?;
        let account_id = account_of(&ctx.actor)?;
        let (config, transfer_id) = (self.config.clone(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let juror = jurors::get(tx, &account_id)?
                .filter(|juror| !juror.leaving)
                .ok_or_else(|| ServiceError::refused("no-juror", "you are no juror"))?;
            let (juror, left) = paid_out(Juror {
                leaving: true,
                ..juror
            });
            jurors::update(tx, &juror)?;
            let entries = vec![(JURY.to_owned(), -left), (account_id, left)];
            post(tx, transfer_id, now, "juror-stake", JURY, entries)?;
            publish(tx, now, TOPIC, "juror-left", &json!({}))?;
            juror_view(tx, &config, juror, true)
        })
    }

    /// The jurors, by account.
    pub fn jurors(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<JurorView>> {
        self.allow(&ctx.actor, Action::ListJurors)?;
        let (after, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        let me = ctx.actor.account_id.clone();
        self.read(move |tx| {
            let rows = jurors::sitting(tx, after.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.account_id.clone(), |row| row);
            let items = page.items.into_iter().map(|row| {
                let own = me.as_deref() == Some(row.account_id.as_str());
                juror_view(tx, &self.config, row, own)
            });
            Ok(Page {
                items: items.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// The actor as a juror, if it is or was one.
    pub fn own_juror(&self, ctx: &Context) -> Result<Option<JurorView>> {
        let Some(id) = ctx.actor.account_id.clone() else {
            return Ok(None);
        };
        self.read(move |tx| {
            let row = jurors::get(tx, &id)?;
            row.map(|row| juror_view(tx, &self.config, row, true))
                .transpose()
        })
    }

    /// Whether the actor may become a juror, and the least stake.
    pub fn jury_terms(&self, ctx: &Context) -> (bool, i64) {
        let may = open_to_all(&self.config) || ctx.actor.has_role("juror");
        let may = may && self.may(&ctx.actor, Action::JoinJury);
        (may, self.config.panels.least_stake())
    }

    /// Commitments of the secrets for draws to come, in the order in which they will be used.
    pub fn draw_commitments(&self, ctx: &Context) -> Result<Vec<DrawCommitment>> {
        self.allow(&ctx.actor, Action::ListDraws)?;
        let rows = self.read(|tx| Ok(unused_secrets(tx, 200)?))?;
        let view = |row: plumbline_store::gold::DrawSecret| DrawCommitment {
            number: row.number,
            commitment: row.commitment,
            committed_at: rfc3339(row.created_at),
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

/// The juror with a larger stake. What it learned about known cases is never forgotten, so that
/// leaving and joining again wipes out no record.
fn staked(
    tx: &mut Tx,
    known: Option<&Juror>,
    account_id: &str,
    added: i64,
    now: Millis,
) -> Result<Juror> {
    if known.is_none_or(|juror| juror.leaving) && jurors::count_sitting(tx)? >= MAX_JURORS {
        return Err(ServiceError::refused(
            "jury-full",
            "there are as many jurors as a draw can take",
        ));
    }
    let fresh = Juror {
        account_id: account_id.to_owned(),
        stake_micro: 0,
        locked_micro: 0,
        gold_cases: 0,
        gold_right: 0,
        seats: 0,
        coherent: 0,
        leaving: false,
        joined_at: now,
    };
    let juror = known.cloned().unwrap_or(fresh);
    let stake_micro = juror
        .stake_micro
        .checked_add(added)
        .ok_or_else(|| ServiceError::invalid("bad-stake", "the stake is out of range"))?;
    Ok(Juror {
        stake_micro,
        leaving: false,
        ..juror
    })
}

/// What others see of a juror says nothing about open seats.
fn juror_view(tx: &mut Tx, config: &ServiceConfig, row: Juror, own: bool) -> Result<JurorView> {
    let weight = weight_of(config, &row);
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let accuracy =
        plumbline_market::sortition::accuracy_ppm(count(row.gold_right), count(row.gold_cases));
    Ok(JurorView {
        account: accounts::get(tx, &row.account_id)?.handle,
        stake_micro: row.stake_micro,
        locked_micro: own.then_some(row.locked_micro),
        leaving: own.then_some(row.leaving),
        known_cases: row.gold_cases,
        known_right: row.gold_right,
        accuracy: accuracy as f64 / 1e6,
        weight,
        seats: row.seats,
        coherent: row.coherent,
        joined_at: rfc3339(row.joined_at),
    })
}
