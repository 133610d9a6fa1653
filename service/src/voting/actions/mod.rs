//! What each kind of proposal is checked for, would do, and does.
//!
//! [`Service::check_action`] refuses what can never be done when it is proposed, and puts ids in place of
//! names, so that what was voted on is what is done. [`effects`] computes what it would do; [`execute`]
//! does it. Both ends check again, as the state of things changes in between.

mod effects;
mod execute;
mod oracle_change;

use std::collections::BTreeSet;

use jiff::Timestamp;
use plumbline_governance::Bps;
use plumbline_governance::policy::Policy;
use plumbline_governance::voting::seal::{Seal, SealTerms};
use plumbline_governance::voting::split::largest_remainder;
use plumbline_governance::voting::tracks::Track;
use plumbline_store::{Tx, markets, proposals};

pub(super) use execute::{execute, rejected};

use super::motion::person;
use crate::commands::{ProposedAction, RevenueShare};
use crate::runs::find_run;
use crate::{Result, Service, ServiceError, roles};

/// Longest term of a vote on a run: 90 days, in seconds.
const MAX_TERM: u64 = 90 * 86_400;
/// The same for an emergency: 3 days.
const MAX_EMERGENCY: u64 = 3 * 86_400;
/// Accounts that one split pays.
const MAX_SHARES: usize = 100;

/// The track that decides about an action.
pub(super) fn track(action: &ProposedAction) -> Track {
    match action {
        ProposedAction::Loosen { .. } => Track::Loosen,
        ProposedAction::Tighten { .. } => Track::Tighten,
        ProposedAction::PolicyChange { .. } => Track::PolicyChange,
        ProposedAction::OracleChange { .. } => Track::OracleChange,
        ProposedAction::SettlementDispute { .. } => Track::SettlementDispute,
        ProposedAction::Treasury { .. } => Track::Treasury,
        ProposedAction::Membership { .. } => Track::Membership,
        ProposedAction::Cancel { .. } => Track::Cancel,
        ProposedAction::RevenueSplit { .. } => Track::RevenueSplit,
        ProposedAction::SealCreation { .. } => Track::SealCreation,
        ProposedAction::Ratify { .. } => Track::EmergencyTighten,
    }
}

/// What an action is about, where only one proposal at a time may be, and whether it can be proposed again
/// once that has ended.
pub(super) fn subject(action: &ProposedAction) -> Option<(String, bool)> {
    match action {
        // Once: each holds up everybody's payout.
        ProposedAction::SettlementDispute { market_id } => {
            Some((format!("market:{market_id}"), false))
        }
        ProposedAction::Cancel { proposal_id } => Some((format!("proposal:{proposal_id}"), true)),
        ProposedAction::RevenueSplit { period, .. } => Some((format!("period:{period}"), false)),
        ProposedAction::Ratify { seal_id, .. } => Some((format!("seal:{seal_id}"), false)),
        _ => None,
    }
}

impl Service {
    /// The action with ids in place of names, if it makes sense now.
    pub(super) fn check_action(
        &self,
        track: Track,
        action: &ProposedAction,
    ) -> Result<ProposedAction> {
        let action = action.clone();
        let longest = if track == Track::EmergencyTighten {
            MAX_EMERGENCY
        } else {
            MAX_TERM
        };
        if let ProposedAction::OracleChange { version_id } = &action {
            self.check_version(version_id)?;
        }
        let (cap, at) = (self.config.voting.treasury_cap_micro, self.timestamp()?);
        self.read(move |tx| check(tx, action, longest, cap, at))
    }

    fn timestamp(&self) -> Result<Timestamp> {
        crate::policy::timestamp(self.now())
    }
}

fn check(
    tx: &mut Tx,
    action: ProposedAction,
    longest: u64,
    cap: i64,
    now: Timestamp,
) -> Result<ProposedAction> {
    match action {
        ProposedAction::Loosen {
            run,
            cap_bps,
            term_s,
        } => {
            share(cap_bps, 1)?;
            term(term_s, longest)?;
            let run = find_run(tx, &run)?.id;
            Ok(ProposedAction::Loosen {
                run,
                cap_bps,
                term_s,
            })
        }
        ProposedAction::Tighten {
            run,
            cap_bps,
            pause,
            term_s,
        } => {
            term(term_s, longest)?;
            match (pause, cap_bps) {
                (false, Some(bps)) => drop(share(bps, 0)?),
                (true, None) => {}
                _ => return Err(bad("give either cap_bps or pause")),
            }
            let run = find_run(tx, &run)?.id;
            Ok(ProposedAction::Tighten {
                run,
                cap_bps,
                pause,
                term_s,
            })
        }
        ProposedAction::PolicyChange { toml } => {
            parse_policy(&toml)?;
            Ok(ProposedAction::PolicyChange { toml })
        }
        // Checked before, as the judges are not in the store.
        ProposedAction::OracleChange { version_id } => {
            Ok(ProposedAction::OracleChange { version_id })
        }
        ProposedAction::SettlementDispute { market_id } => {
            disputable(tx, &market_id)?;
            Ok(ProposedAction::SettlementDispute { market_id })
        }
        other => check_organisation(tx, other, cap, now),
    }
}

/// Payments, roles, seals and proposals.
fn check_organisation(
    tx: &mut Tx,
    action: ProposedAction,
    cap: i64,
    now: Timestamp,
) -> Result<ProposedAction> {
    match &action {
        ProposedAction::Treasury {
            account,
            amount_micro,
            memo,
        } => {
            amount(*amount_micro, cap)?;
            words("memo", memo, 200)?;
            person(tx, account)?;
        }
        ProposedAction::Membership {
            account,
            grant,
            revoke,
        } => {
            person(tx, account)?;
            roles::check(grant.iter().chain(revoke))?;
            if grant.is_empty() && revoke.is_empty() {
                return Err(bad("name a role to give or to take"));
            }
        }
        ProposedAction::Cancel { proposal_id } => {
            let target = proposals::get(tx, proposal_id)?;
            if !super::LIVING.contains(&target.state.as_str()) {
                return Err(ServiceError::refused(
                    "proposal-over",
                    "that proposal has ended",
                ));
            }
        }
        ProposedAction::RevenueSplit {
            amount_micro,
            period,
            shares,
        } => {
            amount(*amount_micro, cap)?;
            words("period", period, 64)?;
            check_shares(tx, shares)?;
        }
        ProposedAction::SealCreation { title, .. } => {
            words("title", title, 120)?;
            return sealed(tx, action, now);
        }
        // What others check never comes here; people do not ratify by hand.
        _ => {
            return Err(ServiceError::invalid(
                "ratification-by-seal",
                "the use of a seal proposes its ratification by itself",
            ));
        }
    }
    Ok(action)
}

/// What each share of a sum comes to, to the last micro-credit: what is shown before a vote is what is paid.
fn parts(amount_micro: i64, shares: &[RevenueShare]) -> Result<Vec<(&RevenueShare, i64)>> {
    let weights: Vec<u64> = shares.iter().map(|share| share.weight).collect();
    let amount = u64::try_from(amount_micro).map_err(ServiceError::internal)?;
    let parts = largest_remainder(amount, &weights).into_iter();
    let whole = parts.map(|part| i64::try_from(part).map_err(ServiceError::internal));
    shares
        .iter()
        .zip(whole)
        .map(|(share, part)| Ok((share, part?)))
        .collect()
}

fn check_shares(tx: &mut Tx, shares: &[RevenueShare]) -> Result<()> {
    if !(1..=MAX_SHARES).contains(&shares.len()) {
        return Err(bad("a split has 1 to 100 accounts"));
    }
    let mut seen = BTreeSet::new();
    for one in shares {
        let account = person(tx, &one.account)?;
        if one.weight == 0 || i64::try_from(one.weight).is_err() || !seen.insert(account.id) {
            return Err(bad("each account is named once, with a weight above zero"));
        }
    }
    Ok(())
}

/// A proposal of a seal with the ids of its runs.
fn sealed(tx: &mut Tx, mut action: ProposedAction, now: Timestamp) -> Result<ProposedAction> {
    let terms = seal_terms(tx, &action)?;
    if let ProposedAction::SealCreation { runs, .. } = &mut action {
        *runs = terms.runs.iter().map(ToString::to_string).collect();
    }
    Seal::new(terms, now)
        .map_err(|error| ServiceError::invalid(error.code(), error.to_string()))?;
    Ok(action)
}

/// The terms of a proposed seal, whose guardians and runs are named.
fn seal_terms(tx: &mut Tx, action: &ProposedAction) -> Result<SealTerms> {
    let ProposedAction::SealCreation {
        guardians,
        threshold,
        runs,
        cap_bps,
        term_s,
        valid_s,
        ..
    } = action
    else {
        return Err(ServiceError::internal("not a seal"));
    };
    let guardians = guardians
        .iter()
        .map(|handle| Ok(person(tx, handle)?.id))
        .collect::<Result<BTreeSet<String>>>()?;
    let runs = runs
        .iter()
        .map(|run| {
            find_run(tx, run)?
                .id
                .parse()
                .map_err(ServiceError::internal)
        })
        .collect::<Result<BTreeSet<uuid::Uuid>>>()?;
    Ok(SealTerms {
        guardians,
        threshold: *threshold,
        runs,
        cap_bps: share(*cap_bps, 0)?,
        term_s: *term_s,
        valid_s: *valid_s,
    })
}

/// A market whose settlement stands and is not final.
fn disputable(tx: &mut Tx, market_id: &str) -> Result<()> {
    let market = markets::get(tx, market_id)?;
    if ["settling", "challenged"].contains(&market.status.as_str()) {
        return Ok(());
    }
    Err(ServiceError::refused(
        "no-appeal-window",
        format!(
            "this market is {}; a vote calls it off while its settlement is being found or can be challenged",
            market.status
        ),
    ))
}

/// A policy that could be put in force.
///
/// # Errors
/// Named by what is wrong: see [`plumbline_governance::policy::PolicyError::code`].
pub(crate) fn parse_policy(toml: &str) -> Result<Policy> {
    let policy = Policy::parse(toml)
        .map_err(|error| ServiceError::invalid(error.code(), error.to_string()))?;
    // The service signs with one key: consumers would accept nothing.
    if policy.document().signatures.loosen > 1 {
        return Err(ServiceError::invalid(
            "policy-needs-more-signers",
            "the policy asks for more signatures than this service has keys",
        ));
    }
    Ok(policy)
}

fn share(bps: u16, least: u16) -> Result<Bps> {
    let share = Bps::new(bps).map_err(|error| bad(&error.to_string()))?;
    if bps < least {
        return Err(bad("a permit is above zero"));
    }
    Ok(share)
}

fn term(seconds: u64, longest: u64) -> Result<()> {
    if (1..=longest).contains(&seconds) {
        return Ok(());
    }
    Err(bad(&format!(
        "a term lasts 1 to {longest} seconds on this track"
    )))
}

fn amount(micro: i64, cap: i64) -> Result<()> {
    if (1..=cap).contains(&micro) {
        return Ok(());
    }
    Err(bad(&format!("an amount is 1 to {cap} micro-credits")))
}

fn words(what: &str, text: &str, most: usize) -> Result<()> {
    let length = text.trim().chars().count();
    if (1..=most).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(bad(&format!(
        "{what} has 1 to {most} characters, on one line"
    )))
}

fn bad(why: &str) -> ServiceError {
    ServiceError::invalid("bad-action", why)
}
