//! What a proposal would do, computed before anybody votes on it.

use plumbline_governance::Bps;
use plumbline_governance::orders::{OrderEffect, OrderSource, StandingOrder};
use plumbline_store::{Tx, accounts, markets, positions, proposals, runs};
use uuid::Uuid;

use super::super::motion::person;
use super::{oracle_change, parse_policy, parts};
use crate::commands::ProposedAction;
use crate::ledger::TREASURY;
use crate::policy::timestamp;
use crate::policy_simulation::WhatIf;
use crate::time::rfc3339;
use crate::views::{EffectFact, EffectView};
use crate::{Result, Service, ServiceError};

fn fact(name: impl Into<String>, value: impl Into<String>) -> EffectFact {
    EffectFact {
        name: name.into(),
        value: value.into(),
    }
}

fn credits(micro: i64) -> String {
    format!("{:.6} credits", micro as f64 / 1e6)
}

impl Service {
    /// What an action that was checked would do if it were done now.
    pub(in crate::voting) fn effect_of(&self, action: &ProposedAction) -> Result<EffectView> {
        let effect = match action {
            ProposedAction::Loosen {
                run,
                cap_bps,
                term_s,
            } => {
                let effect = OrderEffect::Permit {
                    bps: Bps::saturating((*cap_bps).into()),
                };
                self.order_effect(run, effect, *term_s)?
            }
            ProposedAction::Tighten {
                run,
                cap_bps,
                term_s,
                ..
            } => {
                let effect = cap_bps.map_or(OrderEffect::Pause, |cap| OrderEffect::Cap {
                    bps: Bps::saturating(cap.into()),
                });
                self.order_effect(run, effect, *term_s)?
            }
            ProposedAction::PolicyChange { toml } => self.policy_effect(toml)?,
            other => self.read(|tx| organisation_effect(tx, other))?,
        };
        Ok(EffectView {
            at: rfc3339(self.now()),
            ..effect
        })
    }

    fn order_effect(&self, run: &str, effect: OrderEffect, term_s: u64) -> Result<EffectView> {
        let uid: Uuid = run.parse().map_err(ServiceError::internal)?;
        let policy = self.active_policy()?;
        let now = self.now();
        let order = StandingOrder {
            effect,
            source: OrderSource::Proposal { id: Uuid::nil() },
            from: timestamp(now)?,
            until: timestamp(now + 1_000)?,
            before: None,
        };
        let all = self.run_effects(&WhatIf {
            policy: &policy,
            orders: &[(uid, order)],
            prices: &[],
        })?;
        let name = self.read(|tx| Ok(runs::get(tx, run)?.name))?;
        let what = match effect {
            OrderEffect::Cap { bps } => format!("{name} gets at most {bps}"),
            OrderEffect::Pause => format!("{name} is paused; only a vote lifts that"),
            OrderEffect::Permit { bps } => {
                format!("{name} may grow to {bps} whatever the rules say, by the policy's steps")
            }
        };
        let changed = |run: &crate::views::RunEffect| {
            run.run_id == *uid.to_string()
                || (&run.action, run.share_bps) != (&run.then_action, run.then_share_bps)
        };
        Ok(EffectView {
            summary: format!("{what}, for {term_s} seconds."),
            runs: all.into_iter().filter(changed).collect(),
            ..EffectView::default()
        })
    }

    fn policy_effect(&self, toml: &str) -> Result<EffectView> {
        let (candidate, current) = (parse_policy(toml)?, self.active_policy()?);
        let replay = self.replay_recent(&candidate)?;
        let runs = self.run_effects(&WhatIf {
            policy: &candidate,
            orders: &[],
            prices: &[],
        })?;
        let (new, old) = (candidate.document(), current.document());
        Ok(EffectView {
            summary: format!(
                "{} version {} takes the place of {} version {}. Of {} recorded decisions {} would have been others.",
                new.name, new.version, old.name, old.version, replay.compared, replay.different
            ),
            facts: vec![
                fact("hash", candidate.hash()),
                fact("hash in force", current.hash()),
            ],
            runs,
            replay: Some(replay),
            ..EffectView::default()
        })
    }
}

/// Effects that no run feels.
fn organisation_effect(tx: &mut Tx, action: &ProposedAction) -> Result<EffectView> {
    let (summary, facts) = match action {
        ProposedAction::Treasury {
            account,
            amount_micro,
            memo,
        } => {
            let facts = payments(tx, *amount_micro, &[(account.clone(), *amount_micro)])?;
            let paid = credits(*amount_micro);
            (format!("The treasury pays {account} {paid}: {memo}"), facts)
        }
        ProposedAction::RevenueSplit {
            amount_micro,
            period,
            shares,
        } => {
            let paid = parts(*amount_micro, shares)?.into_iter();
            let lines: Vec<_> = paid
                .map(|(share, part)| (share.account.clone(), part))
                .collect();
            let facts = payments(tx, *amount_micro, &lines)?;
            let (paid, count) = (credits(*amount_micro), shares.len());
            (
                format!("The treasury divides {paid} over {count} accounts for {period}."),
                facts,
            )
        }
        ProposedAction::Membership {
            account,
            grant,
            revoke,
        } => {
            let facts = roles_then(tx, account, grant, revoke)?;
            (format!("The roles of {account} change."), facts)
        }
        ProposedAction::SettlementDispute { market_id } => {
            let summary = "The market is called off: everybody gets back what they put in. \
                           Its settlement waits for the end of this vote.";
            (summary.to_owned(), refunds(tx, market_id)?)
        }
        ProposedAction::OracleChange { version_id } => {
            let summary = "Submissions judged from then on are judged by this version. No price moves by itself.";
            (summary.to_owned(), oracle_change::facts(tx, version_id)?)
        }
        ProposedAction::Cancel { proposal_id } => {
            let target = proposals::get(tx, proposal_id)?;
            let facts = vec![
                fact("proposal", target.title),
                fact("track", target.track),
                fact("state", target.state),
            ];
            let summary =
                "The proposal ends, and its deposit is forfeit if it is not approved yet.";
            (summary.to_owned(), facts)
        }
        seal @ ProposedAction::SealCreation { .. } => seal_effect(tx, seal)?,
        _ => (String::new(), Vec::new()),
    };
    Ok(EffectView {
        summary,
        facts,
        ..EffectView::default()
    })
}

fn roles_then(
    tx: &mut Tx,
    account: &str,
    grant: &[String],
    revoke: &[String],
) -> Result<Vec<EffectFact>> {
    let held = person(tx, account)?.roles;
    let mut then = held.clone();
    then.retain(|role| !revoke.contains(role));
    then.extend(grant.iter().filter(|role| !held.contains(role)).cloned());
    Ok(vec![
        fact("roles", held.join(", ")),
        fact("roles then", then.join(", ")),
    ])
}

fn refunds(tx: &mut Tx, market_id: &str) -> Result<Vec<EffectFact>> {
    let market = markets::get(tx, market_id)?;
    let positions = positions::list(tx, market_id, None, 1_000)?;
    Ok(vec![
        fact("claim", market.claim),
        fact("status", market.status),
        fact("positions refunded", positions.len().to_string()),
        fact("subsidy returned", credits(market.subsidy_micro)),
    ])
}

fn seal_effect(tx: &mut Tx, action: &ProposedAction) -> Result<(String, Vec<EffectFact>)> {
    let ProposedAction::SealCreation {
        guardians,
        threshold,
        runs: covered,
        cap_bps,
        term_s,
        valid_s,
        ..
    } = action
    else {
        return Err(ServiceError::internal("not a seal"));
    };
    let mut names = Vec::new();
    for run in covered {
        names.push(runs::get(tx, run)?.name);
    }
    let scope = if names.is_empty() {
        "any run".to_owned()
    } else {
        names.join(", ")
    };
    let summary = format!(
        "{threshold} of {} guardians can cap {scope} at {cap_bps} bps once within {valid_s} seconds, for {term_s} \
         seconds; a vote about it opens by itself.",
        guardians.len()
    );
    Ok((summary, vec![fact("guardians", guardians.join(", "))]))
}

fn payments(tx: &mut Tx, amount_micro: i64, lines: &[(String, i64)]) -> Result<Vec<EffectFact>> {
    let treasury = accounts::get(tx, TREASURY)?.balance_micro;
    let mut facts = vec![
        fact("treasury", credits(treasury)),
        fact(
            "treasury then",
            credits(treasury.saturating_sub(amount_micro)),
        ),
    ];
    facts.extend(
        lines
            .iter()
            .map(|(account, micro)| fact(account, credits(*micro))),
    );
    Ok(facts)
}
