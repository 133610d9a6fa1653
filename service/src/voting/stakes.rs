//! Staking, delegating, and what locks a stake.

use plumbline_access::Action;
use plumbline_governance::voting::ballot::Conviction;
use plumbline_governance::voting::tally::{DelegationError, check_delegation};
use plumbline_governance::voting::tracks::TrackTerms;
use plumbline_store::stakes::{self, Delegation, Stake};
use plumbline_store::{Tx, accounts, ledger};
use serde_json::json;

use super::{STAKES, TOPIC, VotingConfig, track_of};
use crate::accounts::account_of;
use crate::commands::{ChangeStake, Delegate};
use crate::context::Context;
use crate::events::publish;
use crate::ledger::post;
use crate::time::{Millis, rfc3339};
use crate::views::{DelegationView, StakeView};
use crate::{Result, Service, ServiceConfig, ServiceError};

/// Accounts that have ever staked, at most: a vote begins by noting each.
pub(super) const MAX_ELECTORS: i64 = 5_000;
/// Delegations on one track, at most.
pub(super) const MAX_DELEGATIONS: i64 = 5_000;
/// Most that is staked at once, micro-credits: sums of all fit the ledger.
const MAX_STAKE: i64 = 1_000_000_000_000_000;
/// Delegators shown.
const SHOWN: i64 = 100;

impl Service {
    /// Adds to the actor's stake.
    ///
    /// # Errors
    /// `bad-stake`, `electorate-full`, `insufficient-funds`.
    pub fn stake(&self, ctx: &Context, cmd: &ChangeStake) -> Result<StakeView> {
        self.allow(&ctx.actor, Action::ChangeStake)?;
        let (account, added) = (account_of(&ctx.actor)?, amount_of(cmd)?);
        let (config, transfer_id) = (self.config.clone(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let known = stakes::get(tx, &account)?;
            if known.is_none() && stakes::count(tx)? >= MAX_ELECTORS {
                return Err(ServiceError::refused(
                    "electorate-full",
                    "there are as many stakes as a vote can count",
                ));
            }
            let before = known.unwrap_or_else(|| nothing(&account));
            let stake_micro = before.stake_micro.saturating_add(added);
            let least = config.voting.least_stake_micro;
            if stake_micro < least || stake_micro > MAX_STAKE {
                return Err(ServiceError::invalid(
                    "bad-stake",
                    format!("a stake is at least {least} micro-credits"),
                ));
            }
            let entries = vec![(account.clone(), -added), (STAKES.to_owned(), added)];
            post(tx, transfer_id, now, "vote-stake", STAKES, entries)?;
            changed(tx, before, stake_micro, now)?;
            stake_view(tx, &config, &account, now)
        })
    }

    /// Takes part of the actor's stake back.
    ///
    /// # Errors
    /// `stake-locked` while a vote locks it, `stake-delegated`, `bad-stake`.
    pub fn withdraw_stake(&self, ctx: &Context, cmd: &ChangeStake) -> Result<StakeView> {
        self.allow(&ctx.actor, Action::WithdrawStake)?;
        let (account, taken) = (account_of(&ctx.actor)?, amount_of(cmd)?);
        let (config, transfer_id) = (self.config.clone(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let before = stakes::get(tx, &account)?.unwrap_or_else(|| nothing(&account));
            free(tx, &before, now)?;
            let left = before.stake_micro.saturating_sub(taken);
            if left < 0 || (left > 0 && left < config.voting.least_stake_micro) {
                return Err(ServiceError::invalid(
                    "bad-stake",
                    format!(
                        "your stake is {}; take all of it back, or leave at least {}",
                        before.stake_micro, config.voting.least_stake_micro
                    ),
                ));
            }
            let entries = vec![(STAKES.to_owned(), -taken), (account.clone(), taken)];
            post(tx, transfer_id, now, "vote-stake", STAKES, entries)?;
            changed(tx, before, left, now)?;
            stake_view(tx, &config, &account, now)
        })
    }

    /// Has another account vote with the actor's stake on a track, in votes that begin from now on and
    /// wherever the actor does not vote.
    ///
    /// # Errors
    /// `delegation-cycle`, `delegation-to-oneself`, `delegation-chain-too-long`, `bad-track`,
    /// `bad-conviction`, `not-found`, `delegations-full`.
    pub fn delegate(&self, ctx: &Context, cmd: &Delegate) -> Result<StakeView> {
        self.allow(&ctx.actor, Action::Delegate)?;
        let (account, track) = (account_of(&ctx.actor)?, track_of(&cmd.track)?);
        let conviction = conviction_of(cmd.conviction)?;
        let (handle, config) = (cmd.delegate.clone(), self.config.clone());
        self.write_once(ctx, move |tx, now| {
            let track = track.as_str();
            let delegate = accounts::by_handle(tx, &handle)?
                .filter(|account| account.password_hash.is_some())
                .ok_or_else(|| ServiceError::not_found("account", &handle))?;
            check_delegation::<ServiceError>(&account, &delegate.id, |at| {
                let next = stakes::delegation(tx, at, track)?;
                Ok(next.map(|next| next.delegate_id))
            })?;
            let known = stakes::delegation(tx, &account, track)?;
            if known.is_none() && stakes::count_on_track(tx, track)? >= MAX_DELEGATIONS {
                return Err(ServiceError::refused(
                    "delegations-full",
                    "there are as many delegations on this track as a vote can follow",
                ));
            }
            if let Some(ended) = known {
                end(tx, &config, &ended, now)?;
            }
            let row = Delegation {
                account_id: account.clone(),
                track: track.to_owned(),
                delegate_id: delegate.id,
                conviction: conviction.level().into(),
                since: now,
            };
            stakes::delegate(tx, &row)?;
            publish(tx, now, TOPIC, "delegated", &json!({"track": track}))?;
            stake_view(tx, &config, &account, now)
        })
    }

    /// Ends a delegation. The stake stays locked as its conviction says.
    ///
    /// # Errors
    /// `bad-track`, `not-found`.
    pub fn undelegate(&self, ctx: &Context, track: &str) -> Result<StakeView> {
        self.allow(&ctx.actor, Action::EndDelegation)?;
        let (account, track) = (account_of(&ctx.actor)?, track_of(track)?.as_str());
        let config = self.config.clone();
        self.write_once(ctx, move |tx, now| {
            let row = stakes::delegation(tx, &account, track)?
                .ok_or_else(|| ServiceError::not_found("delegation", track))?;
            end(tx, &config, &row, now)?;
            stakes::undelegate(tx, &account, track)?;
            publish(tx, now, TOPIC, "undelegated", &json!({"track": track}))?;
            stake_view(tx, &config, &account, now)
        })
    }

    /// The actor's stake and delegations.
    pub fn own_stake(&self, ctx: &Context) -> Result<StakeView> {
        self.allow(&ctx.actor, Action::ReadOwnStake)?;
        let (account, now) = (account_of(&ctx.actor)?, self.now());
        self.read(|tx| stake_view(tx, &self.config, &account, now))
    }
}

impl From<DelegationError> for ServiceError {
    fn from(error: DelegationError) -> Self {
        let code = match error {
            DelegationError::Oneself => "delegation-to-oneself",
            DelegationError::Cycle => "delegation-cycle",
            DelegationError::TooLong => "delegation-chain-too-long",
        };
        Self::refused(code, error.to_string())
    }
}

/// A level of conviction as requests state it.
pub(super) fn conviction_of(level: u8) -> Result<Conviction> {
    Conviction::new(level)
        .map_err(|error| ServiceError::invalid("bad-conviction", error.to_string()))
}

fn amount_of(cmd: &ChangeStake) -> Result<i64> {
    if (1..=MAX_STAKE).contains(&cmd.stake_micro) {
        return Ok(cmd.stake_micro);
    }
    Err(ServiceError::invalid(
        "bad-stake",
        "stake_micro is above zero, and at most a thousand million credits",
    ))
}

fn nothing(account: &str) -> Stake {
    Stake {
        account_id: account.to_owned(),
        stake_micro: 0,
        earned_micro: 0,
        locked_until: 0,
        changed_at: 0,
    }
}

/// Refuses while something locks the stake.
fn free(tx: &mut Tx, stake: &Stake, now: Millis) -> Result<()> {
    if now < stake.locked_until {
        return Err(ServiceError::refused(
            "stake-locked",
            format!(
                "your votes lock your stake until {}",
                rfc3339(stake.locked_until)
            ),
        ));
    }
    if !stakes::of_delegator(tx, &stake.account_id)?.is_empty() {
        return Err(ServiceError::refused(
            "stake-delegated",
            "others vote with your stake; end your delegations first",
        ));
    }
    Ok(())
}

/// Stores a changed stake. What of it was earned is what the account holds beyond its grant: granted
/// credits could be had without end by signing up again.
fn changed(tx: &mut Tx, before: Stake, stake_micro: i64, now: Millis) -> Result<()> {
    let account = accounts::get(tx, &before.account_id)?;
    let granted = match ledger::first(tx, &before.account_id)? {
        Some((kind, amount)) if kind == "grant" => amount,
        _ => 0,
    };
    let earned = account
        .balance_micro
        .saturating_add(stake_micro)
        .saturating_sub(granted);
    let stake = Stake {
        stake_micro,
        earned_micro: earned.clamp(0, stake_micro),
        changed_at: now,
        ..before
    };
    stakes::put(tx, &stake)?;
    publish(tx, now, TOPIC, "stake-changed", &json!({}))
}

/// What of a stake gives weight.
pub(super) fn counts(config: &ServiceConfig, stake: &Stake) -> i64 {
    if config.voting.grants_count || !config.defences.earned_weight {
        stake.stake_micro
    } else {
        stake.earned_micro
    }
}

/// The longest that a vote on these terms can take, milliseconds.
pub(super) fn longest_vote(terms: &TrackTerms) -> Millis {
    let swings = terms.swing_s.saturating_mul(terms.extensions.into());
    let seconds = terms
        .voting_s
        .saturating_add(swings)
        .saturating_add(terms.confirm_s);
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// Until when a conviction locks a stake after a vote that ends at `end`.
pub(super) fn lock_end(voting: &VotingConfig, conviction: Conviction, end: Millis) -> Millis {
    let periods = i64::try_from(conviction.lock_periods()).unwrap_or(i64::MAX);
    end.saturating_add(periods.saturating_mul(voting.lock_period_ms))
}

/// Locks a stake until then, if there is one and it is not locked for longer.
pub(super) fn lock(tx: &mut Tx, account_id: &str, until: Millis) -> Result<()> {
    let Some(stake) = stakes::get(tx, account_id)? else {
        return Ok(());
    };
    if stake.locked_until < until {
        let locked_until = until;
        stakes::put(
            tx,
            &Stake {
                locked_until,
                ..stake
            },
        )?;
    }
    Ok(())
}

/// Votes that began under a delegation go on with it; the stake is locked until the last of them can have
/// ended, and as long as the conviction says.
fn end(tx: &mut Tx, config: &ServiceConfig, row: &Delegation, now: Millis) -> Result<()> {
    let terms = config.voting.tracks.of(track_of(&row.track)?);
    let conviction = conviction_of(u8::try_from(row.conviction).unwrap_or(u8::MAX))?;
    let end = now.saturating_add(longest_vote(&terms));
    lock(
        tx,
        &row.account_id,
        lock_end(&config.voting, conviction, end),
    )
}

fn stake_view(tx: &mut Tx, config: &ServiceConfig, id: &str, now: Millis) -> Result<StakeView> {
    let stake = stakes::get(tx, id)?.unwrap_or_else(|| nothing(id));
    let made = stakes::of_delegator(tx, id)?;
    let got = stakes::of_delegate(tx, id, SHOWN)?;
    let mut views = |rows: Vec<Delegation>| -> Result<Vec<DelegationView>> {
        rows.into_iter()
            .map(|row| delegation_view(tx, row))
            .collect()
    };
    let (delegations, delegators) = (views(made)?, views(got)?);
    Ok(StakeView {
        account: accounts::get(tx, id)?.handle,
        stake_micro: stake.stake_micro,
        voting_micro: counts(config, &stake),
        locked_until: (stake.locked_until > now).then(|| rfc3339(stake.locked_until)),
        delegations,
        delegators,
    })
}

fn delegation_view(tx: &mut Tx, row: Delegation) -> Result<DelegationView> {
    Ok(DelegationView {
        account: accounts::get(tx, &row.account_id)?.handle,
        track: row.track,
        delegate: accounts::get(tx, &row.delegate_id)?.handle,
        conviction: row.conviction,
        since: rfc3339(row.since),
    })
}
