//! Those who propose, challenge and dispute, and those who bet on what such a case will say.

use plumbline_service::commands::{
    ChallengeExhibit, ChallengeSettlement, ProposeSettlement, TradeOrder,
};
use plumbline_service::views::SettlementRecord;
use serde_json::json;

use crate::actors::{Actor, Kind};
use crate::behave::{CREDIT, Done};
use crate::judge;
use crate::market::{Method, Venue};
use crate::play::{Play, Told};
use crate::{SimulationError, play};

/// Markets that somebody looks at for one that is at issue.
const LOOKS: usize = 5;
/// A settlement this far from the truth is worth a challenge.
const FAR: f64 = 0.4;

impl Play {
    /// Proposes what it believes where a proposal is asked for, challenges what is far from it, and
    /// disputes exhibits that look made up.
    pub(crate) fn dispute(&mut self, actor: &Actor) -> Done {
        if self.rng.chance(0.35) {
            let wary = !self.rng.chance(0.1);
            let made_up = |report: &play::Report| report.made_up == wary;
            return self.dispute_exhibit(actor, made_up);
        }
        let Some((venue, case)) = self.at_issue(actor)? else {
            return Ok(());
        };
        // One in ten is wrong about it.
        let truth = venue.truth != self.rng.chance(0.1);
        let pi = if truth { 1.0 } else { 0.0 };
        match case.stage.as_str() {
            "proposals" => self.propose(actor, &venue, &case, pi).map(|_| ()),
            _ if case
                .proposed_pi
                .is_some_and(|stands| (stands - pi).abs() > FAR) =>
            {
                self.challenge(actor, &venue, &case, pi)
            }
            _ => Ok(()),
        }
    }

    /// A closed market whose case asks for a proposal or can be challenged.
    fn at_issue(
        &mut self,
        actor: &Actor,
    ) -> Result<Option<(Venue, SettlementRecord)>, SimulationError> {
        let now = self.world.now();
        let closed: Vec<usize> = (0..self.venues.len())
            .filter(|at| self.venues[*at].closes_at <= now && !self.over.contains(at))
            .collect();
        for _ in 0..LOOKS {
            let Some(&at) = self.rng.pick(&closed) else {
                break;
            };
            let venue = self.venues[at].clone();
            let Ok(case) = self.world.service()?.case(&actor.context, &venue.id) else {
                continue;
            };
            if ["final", "paid", "void"].contains(&case.stage.as_str()) {
                self.over.insert(at);
            }
            if venue.outcomes.is_empty()
                && ["proposals", "challengeable"].contains(&case.stage.as_str())
            {
                return Ok(Some((venue, case)));
            }
        }
        Ok(None)
    }

    fn propose(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        case: &SettlementRecord,
        pi: f64,
    ) -> Result<bool, SimulationError> {
        let body = ProposeSettlement {
            pi,
            bond_micro: case.next_bond_micro.unwrap_or(CREDIT),
            reason: String::new(),
        };
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.propose_settlement(context, &venue.id, &body)
        })?;
        Ok(self.note_claim(venue, answer))
    }

    fn challenge(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        case: &SettlementRecord,
        pi: f64,
    ) -> Done {
        let body = ChallengeSettlement {
            pi,
            bond_micro: case.next_bond_micro.unwrap_or(CREDIT),
            reason: "It is not so.".to_owned(),
        };
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.challenge_settlement(context, &venue.id, &body)
        })?;
        self.note_claim(venue, answer);
        Ok(())
    }

    fn note_claim(
        &mut self,
        venue: &Venue,
        answer: Option<Result<SettlementRecord, plumbline_service::ServiceError>>,
    ) -> bool {
        let Some(Ok(record)) = answer else {
            return false;
        };
        let rounds = record.record.len();
        self.told.push(Told::Claims(venue.id.clone(), rounds));
        true
    }

    /// Disputes a submission that `fits`.
    fn dispute_exhibit(&mut self, actor: &Actor, fits: impl Fn(&play::Report) -> bool) -> Done {
        let known: Vec<usize> = (0..self.reports.len())
            .filter(|at| fits(&self.reports[*at]))
            .collect();
        let Some(&at) = self.rng.pick(&known) else {
            return Ok(());
        };
        let report = self.reports[at].clone();
        let service = self.world.service()?;
        let earlier = service.exhibit_challenges(&actor.context, &report.id);
        let body = ChallengeExhibit {
            reason: "It is made up.".to_owned(),
            bond_micro: service.challenge_bond(earlier.map_or(0, |earlier| earlier.len())),
        };
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.challenge_exhibit(context, &report.id, &body)
        })?;
        if let Some(Ok(view)) = answer {
            self.told.push(Told::Dispute(view.id));
        }
        Ok(())
    }

    /// Proposes what is wrong and challenges it through a second account, or has its own exhibit
    /// disputed by it: the bonds go from one hand into the other.
    pub(crate) fn challenge_itself(&mut self, actor: &Actor) -> Done {
        let partner = self
            .actors
            .iter()
            .find(|other| other.kind == Kind::SelfChallenger && other.account() != actor.account())
            .cloned();
        let Some(partner) = partner else {
            return Ok(());
        };
        if self.rng.chance(0.4) {
            let account = actor.account().to_owned();
            if self.reports.iter().any(|report| report.account == account) {
                return self.dispute_exhibit(&partner, |report| report.account == account);
            }
            return match self.open_where(Venue::is_plain) {
                Some(venue) => self.make_up(actor, &venue, 0.0, 0.0, CREDIT),
                None => Ok(()),
            };
        }
        let Some((venue, case)) = self.at_issue(actor)? else {
            return Ok(());
        };
        let truth = if venue.truth { 1.0 } else { 0.0 };
        if case.stage == "proposals"
            && self.propose(actor, &venue, &case, 1.0 - truth)?
            && let Ok(case) = self.world.service()?.case(&partner.context, &venue.id)
        {
            return self.challenge(&partner, &venue, &case, truth);
        }
        Ok(())
    }

    /// Bets on the wrong side of a market that a jury settles; its friends know on which.
    pub(crate) fn lead_ring(&mut self, actor: &Actor) -> Done {
        self.bet_before_jury(actor, "", 80 * CREDIT)
    }

    /// As a ring leader, with its own vote.
    pub(crate) fn bet_as_juror(&mut self, actor: &Actor) -> Done {
        let account = actor.account().to_owned();
        self.bet_before_jury(actor, &account, 30 * CREDIT)
    }

    fn bet_before_jury(&mut self, actor: &Actor, friends_of: &str, most: i64) -> Done {
        let Some(venue) = self.open_where(|venue| venue.method == Method::Panel) else {
            return Ok(());
        };
        let spend = self.rng.between(most / 4, most);
        if self.bet_wrong(actor, &venue, spend)? {
            let side = !venue.truth;
            self.bets
                .insert((venue.number, friends_of.to_owned()), side);
        }
        Ok(())
    }

    /// Bets on the wrong side where the judges settle, and shows them something made up that
    /// convinces them.
    pub(crate) fn game_judges(&mut self, actor: &Actor) -> Done {
        let Some(venue) = self.open_where(|venue| venue.method == Method::Ensemble) else {
            return Ok(());
        };
        let spend = self.rng.between(10 * CREDIT, 40 * CREDIT);
        self.bet_wrong(actor, &venue, spend)?;
        let side = if venue.truth { -1.0 } else { 1.0 };
        self.make_up(actor, &venue, side * 4.0, 1.0, 5 * CREDIT)
    }

    fn bet_wrong(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        spend: i64,
    ) -> Result<bool, SimulationError> {
        let order = TradeOrder {
            outcome: if venue.truth { "no" } else { "yes" }.to_owned(),
            spend_micro: Some(spend),
            ..TradeOrder::default()
        };
        Ok(self.trade(actor, venue, order)?.is_some())
    }

    /// Submits something made up that claims so much, of which the judges believe so much.
    pub(crate) fn make_up(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        claim: f64,
        worth: f64,
        stake: i64,
    ) -> Done {
        let text = judge::report(claim, worth, &self.words());
        self.made_up.insert(text.clone());
        self.submit(actor, venue, json!({"type": "report", "text": text}), stake)
    }
}
