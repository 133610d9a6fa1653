//! Deciding together: stakes, delegations, proposals, seals.
//!
//! A stake is money in an account of its own, so the ledger knows it; so are deposits. A proposal is a row
//! with the state of [`plumbline_governance::voting::proposal`]; every request and every deadline is one
//! step of it in one transaction, and its effect is made in the transaction that marks it executed, so it
//! is made once.
//!
//! - [`stakes`]: staking, delegating, and what locks a stake.
//! - [`motion`]: a proposal at a step of its life, and what follows from the step.
//! - [`proposals`]: writing, paying for and taking back proposals.
//! - [`ballots`]: the electorate, and votes.
//! - [`deadlines`]: what happens without anybody asking, execution included.
//! - [`actions`]: what each kind of proposal is checked for, would do, and does.
//! - [`seals`]: their use.
//! - [`view`]: what everybody may see.

pub(crate) mod actions;
mod ballots;
mod deadlines;
mod motion;
mod proposals;
mod seals;
mod stakes;
mod view;

use plumbline_governance::voting::tracks::{Track, Tracks};
use plumbline_store::Tx;
use plumbline_store::accounts::{Account, AccountKind};
use plumbline_store::proposals as rows;

use crate::ledger::{ensure_account, system_account};
use crate::time::Millis;
use crate::{Result, ServiceError};

/// The account that holds all stakes.
pub(crate) const STAKES: &str = "votes";
/// The account that holds the deposits of proposals.
pub(crate) const DEPOSITS: &str = "proposals";
/// Topic of every event about proposals, stakes and seals.
pub(crate) const TOPIC: &str = "proposals";
/// States in which a proposal can still be executed.
pub(crate) const LIVING: [&str; 5] = ["draft", "deposit", "voting", "confirming", "queued"];

/// Terms of voting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VotingConfig {
    /// What each track asks for.
    pub tracks: Tracks,
    /// One lock period of convictions, milliseconds.
    pub lock_period_ms: i64,
    /// Least stake, micro-credits.
    pub least_stake_micro: i64,
    /// Credits granted at sign-up give weight too: for groups whose members are known.
    pub grants_count: bool,
    /// Most that one proposal pays from the treasury, micro-credits.
    pub treasury_cap_micro: i64,
}

impl Default for VotingConfig {
    fn default() -> Self {
        Self {
            tracks: Tracks::default(),
            lock_period_ms: 7 * 86_400_000,
            least_stake_micro: 1_000_000,
            grants_count: false,
            treasury_cap_micro: 1_000_000_000_000,
        }
    }
}

/// Makes the accounts of stakes and deposits. Their handles are ones that nobody can sign up with.
pub(crate) fn ensure_accounts(tx: &mut Tx, now: Millis) -> Result<()> {
    for id in [STAKES, DEPOSITS] {
        let account = Account {
            handle: format!("system:{id}"),
            ..system_account(id, AccountKind::Escrow, now)
        };
        ensure_account(tx, &account)?;
    }
    Ok(())
}

/// The track of that name.
fn track_of(name: &str) -> Result<Track> {
    Track::parse(name).ok_or_else(|| {
        let names: Vec<&str> = Track::ALL.iter().map(|track| track.as_str()).collect();
        ServiceError::invalid(
            "bad-track",
            format!("'{name}' is no track; there are {}", names.join(", ")),
        )
    })
}

/// Whether a vote is under way that calls a market off: until it has ended the settlement is not final.
pub(crate) fn is_disputed(tx: &mut Tx, market_id: &str) -> Result<bool> {
    let states = ["voting", "confirming", "queued"];
    Ok(rows::about(tx, &format!("market:{market_id}"), &states)?.is_some())
}
