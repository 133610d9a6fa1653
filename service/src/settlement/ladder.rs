//! Proposals, challenges, rulings and their deadlines.

use plumbline_access::Action;
use plumbline_market::life::{Event, Proposer, Ruler, Search, Source, Status};
use plumbline_market::probability::Pi;
use plumbline_store::markets::Market;
use plumbline_store::{Tx, evidence, positions, runs};

use super::matter::{Entry, Matter, NewClaim, is_settling};
use crate::accounts::account_of;
use crate::commands::{ChallengeSettlement, ProposeSettlement, VoidMarket};
use crate::context::Context;
use crate::outcomes::require_binary;
use crate::panels::PanelOutcome;
use crate::time::Millis;
use crate::views::SettlementRecord;
use crate::voting::is_disputed;
use crate::{Result, Service, ServiceConfig, ServiceError};

const MAX_REASON: usize = 2_000;
const MAX_VOID_REASON: usize = 500;

impl Service {
    /// Proposes the settlement of a panel market, with a bond. Not for those with a part in it.
    pub fn propose_settlement(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &ProposeSettlement,
    ) -> Result<SettlementRecord> {
        self.allow(&ctx.actor, Action::ProposeSettlement)?;
        let claim = self.new_claim(ctx, cmd.pi, &cmd.reason, 0)?;
        let (id, bond, config) = (market_id.to_owned(), cmd.bond_micro, self.config.clone());
        self.write_once(ctx, move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            if has_part(tx, &matter.market, &claim.account)? {
                return Err(ServiceError::refused(
                    "conflict-of-interest",
                    "whoever holds a position, submitted evidence, owns the run or opened the market proposes nothing; \
                     a proposal can be challenged by anybody",
                ));
            }
            let by = Proposer::Person {
                bond: plumbline_market::Micro(bond),
            };
            matter.propose(tx, &config, &claim, by, now)?;
            matter.save(tx)?;
            super::record::case_view(tx, &id, now)
        })
    }

    /// Disputes the settlement that stands, with a doubled bond.
    pub fn challenge_settlement(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &ChallengeSettlement,
    ) -> Result<SettlementRecord> {
        self.allow(&ctx.actor, Action::ChallengeSettlement)?;
        let claim = self.new_claim(ctx, cmd.pi, &cmd.reason, 1)?;
        let (id, bond, config) = (market_id.to_owned(), cmd.bond_micro, self.config.clone());
        self.write_once(ctx, move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            require_binary(&matter.market)?;
            challenge(tx, &config, &mut matter, &claim, bond, now)?;
            matter.save(tx)?;
            super::record::case_view(tx, &id, now)
        })
    }

    /// Calls a market off before it is final: everybody gets back what they put in.
    pub fn void(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &VoidMarket,
    ) -> Result<SettlementRecord> {
        self.allow(&ctx.actor, Action::VoidMarket)?;
        let why = checked_reason(&cmd.reason, 1, MAX_VOID_REASON)?;
        let id = market_id.to_owned();
        self.write_once(ctx, move |tx, now| {
            call_off(tx, &id, &why, now)?;
            super::record::case_view(tx, &id, now)
        })
    }

    fn new_claim(&self, ctx: &Context, pi: f64, reason: &str, least: usize) -> Result<NewClaim> {
        let pi = Pi::new(pi)
            .map_err(|_| ServiceError::invalid("bad-settlement", "pi is a number from 0 to 1"))?;
        Ok(NewClaim {
            account: account_of(&ctx.actor)?,
            pi,
            reason: checked_reason(reason, least, MAX_REASON)?,
            transfer_id: self.new_id(),
        })
    }

    /// What the clock alone decides about a case: the windows for proposals and challenges.
    pub(super) fn keep_deadline(&self, market_id: &str) -> Result<()> {
        let (id, config) = (market_id.to_owned(), self.config.clone());
        self.write_at(move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            if matter.life.due_at().is_none_or(|due| due.0 > now) {
                return Ok(());
            }
            match matter.life.search {
                Some(Search::Proposals { .. }) => {
                    let why = "nobody proposed a settlement in time";
                    matter.hand_over(tx, &config, why, now)?;
                }
                // A vote that may call the market off comes first.
                None if is_disputed(tx, &id)? => return Ok(()),
                None if matter.life.status == Status::Settling => {
                    let effects = matter.step(&Event::Finalise, now)?;
                    matter.pursue(tx, &config, effects, now)?;
                }
                _ => return Ok(()),
            }
            matter.save(tx).map(drop)
        })
    }
}

/// Calls a market off before it is final: everybody gets back what they put in.
pub(crate) fn call_off(tx: &mut Tx, market_id: &str, why: &str, now: Millis) -> Result<()> {
    let mut matter = Matter::load(tx, market_id)?;
    matter.step(&Event::Void, now)?;
    matter.refund(tx, why, now)?;
    matter.save(tx).map(drop)
}

fn challenge(
    tx: &mut Tx,
    config: &ServiceConfig,
    matter: &mut Matter,
    claim: &NewClaim,
    bond: i64,
    now: Millis,
) -> Result<()> {
    let required = matter.life.challenge_bond();
    let ruled = matter
        .life
        .proposal
        .is_some_and(|stands| matches!(stands.source, Source::Test | Source::Panel));
    if ruled && !config.defences.appeals {
        return Err(ServiceError::refused(
            "appeals-off",
            "appeals are switched off here: the first ruling stands",
        ));
    }
    let event = Event::Challenge {
        pi: claim.pi,
        bond: plumbline_market::Micro(bond),
    };
    let effects = matter.step(&event, now)?;
    let required = required
        .ok_or_else(|| ServiceError::internal("a challenge without a bond"))?
        .get();
    matter.hold(tx, &claim.account, required, claim.transfer_id.clone(), now)?;
    let disputes = matter
        .standing()
        .map(|claim| claim.round)
        .ok_or_else(|| ServiceError::internal("a challenge of nothing"))?;
    let entry = Entry {
        account: Some(claim.account.clone()),
        pi: Some(claim.pi),
        bond_micro: required,
        disputes: Some(disputes),
        reason: claim.reason.clone(),
        ..Entry::new("challenge", "person")
    };
    matter.note(tx, entry, now)?;
    matter.tell(tx, "challenged", now)?;
    matter.pursue(tx, config, effects, now)?;
    // Somebody's word may fall for want of a jury. What a test or a jury found may not.
    if ruled && matter.life.status == Status::Void {
        return Err(ServiceError::refused(
            "no-jury",
            "there are not enough jurors without a part in the case to hear a challenge of a ruling",
        ));
    }
    Ok(())
}

/// Takes a jury's outcome in. Outcomes of panels that nobody waits for any more are ignored,
/// so reporting one twice is harmless.
pub(crate) fn settlement_ruled(
    tx: &mut Tx,
    config: &ServiceConfig,
    market_id: &str,
    round: u32,
    outcome: PanelOutcome,
    now: Millis,
) -> Result<()> {
    let mut matter = Matter::load(tx, market_id)?;
    let Some(Search::Panel { size }) = matter.life.search else {
        return Ok(());
    };
    let awaited = matter
        .record
        .last()
        .is_some_and(|last| last.kind == "search" && last.round == i64::from(round));
    if !awaited || !is_settling(matter.life.status) {
        return Ok(());
    }
    match outcome {
        PanelOutcome::Ruled { pi } => matter.rule(tx, config, Ruler::Panel, pi, now)?,
        PanelOutcome::Tie | PanelOutcome::NoQuorum => {
            let why = if outcome == PanelOutcome::Tie {
                "the jury was split"
            } else {
                "too few jurors voted"
            };
            let panel_id = matter.record.last().and_then(|last| last.panel_id.clone());
            let entry = Entry {
                panel_id,
                reason: why.to_owned(),
                ..Entry::no_ruling(size)
            };
            matter.note(tx, entry, now)?;
            matter.tell(tx, "no-ruling", now)?;
            let effects = matter.step(&Event::NoRuling, now)?;
            matter.pursue(tx, config, effects, now)?;
        }
    }
    matter.save(tx).map(drop)
}

/// Disputes about a market's settlement that are not decided yet.
pub(crate) fn open_disputes(market: &Market) -> u32 {
    u32::from(market.status == Status::Challenged.as_str())
}

/// Whether an account has a part in a market: a position, evidence, the run, or its opening.
fn has_part(tx: &mut Tx, market: &Market, account: &str) -> Result<bool> {
    Ok(market.creator_id == account
        || positions::get(tx, &market.id, account)?.is_some()
        || evidence::count_by_account(tx, &market.id, account)? > 0
        || runs::get(tx, &market.run_id)?.owner_id == account)
}

fn checked_reason(text: &str, least: usize, most: usize) -> Result<String> {
    let text = text.trim();
    if (least..=most).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    Err(ServiceError::invalid(
        "bad-reason",
        format!("a reason has {least} to {most} characters"),
    ))
}
