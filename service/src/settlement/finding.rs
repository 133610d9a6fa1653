//! The job that looks for a settlement: runs the committed test on the frozen checkpoint, asks
//! the judges, or reads the last price.

use plumbline_market::life::{Proposer, Ruler, Search};
use plumbline_market::plan::{SettlementPlan, Trial};
use plumbline_market::probability::Pi;
use plumbline_market::settle::{ObjectiveOutcome, judge_objective};
use plumbline_market::statistics::Counts;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_store::evidence;
use plumbline_store::markets::{self, Market};

use super::matter::{Matter, NewClaim, is_settling};
use crate::host::{HostError, Sampling};
use crate::ledger::TREASURY;
use crate::markets::{claim_of, life_of};
use crate::outcomes::settle::settle_by_test;
use crate::{Result, Service, ServiceError};

/// Prompts handed to the host at once: enough to fill its batches, few enough
/// that training nodes get their turn in between.
const BATCH: usize = 32;

/// What a run of the test found.
struct Tested {
    plan: SettlementPlan,
    outcome: ObjectiveOutcome,
}

impl Service {
    /// The job: finds the settlement by whatever looks for it now. Repeating it, or doing it
    /// when nothing looks any more, is harmless.
    pub(crate) fn settle_market(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let market = self.read(move |tx| Ok(markets::get(tx, &id)?))?;
        let life = life_of(&market)?;
        if !is_settling(life.status) {
            return Ok(());
        }
        match life.search {
            Some(Search::Test) => self.test(&market, life.proposal.is_some()),
            Some(Search::Ensemble) => self.ask_judges(&market),
            Some(Search::Reference) => self.settle_by_reference(&market.id),
            Some(Search::Proposals { .. } | Search::Panel { .. }) | None => Ok(()),
        }
    }

    /// A search that cannot succeed is handed to a jury; without one the market is called off.
    pub(crate) fn settlement_not_found(&self, market_id: &str, why: &str) -> Result<()> {
        let (id, why) = (market_id.to_owned(), why.to_owned());
        let config = self.config.clone();
        self.write_at(move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            let searching = matches!(
                matter.life.search,
                Some(Search::Test | Search::Ensemble | Search::Reference)
            );
            if !is_settling(matter.life.status) || !searching {
                return Ok(());
            }
            matter.hand_over(tx, &config, &why, now)?;
            matter.save(tx).map(drop)
        })
    }

    /// Runs the committed test; the first run proposes, a repeated one rules on the challenge.
    fn test(&self, market: &Market, repeated: bool) -> Result<()> {
        let tested = match self.run_test(market) {
            Err(TestError::Gone(name)) => {
                let why = format!("{name} is no longer served here");
                return self.settlement_not_found(&market.id, &why);
            }
            Err(TestError::Other(error)) => return Err(error),
            Ok(tested) => tested,
        };
        let (id, transfer_id) = (market.id.clone(), self.new_id());
        let config = self.config.clone();
        self.write_at(move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            let looks = matter.life.search == Some(Search::Test);
            if !looks || matter.life.proposal.is_some() != repeated {
                return Ok(());
            }
            let Tested { plan, outcome } = tested;
            let pi = settle_by_test(tx, &matter.market, &plan, &outcome)?;
            let commitment = plan.commitment().map_err(ServiceError::internal)?;
            let statistics = serde_json::to_string(&outcome).map_err(ServiceError::internal)?;
            matter.market.statistics = Some(statistics);
            if repeated {
                matter.rule(tx, &config, Ruler::Test { commitment }, pi, now)?;
            } else {
                let claim = by_treasury(pi, transfer_id, "the committed test");
                matter.propose(tx, &config, &claim, Proposer::Test { commitment }, now)?;
            }
            matter.save(tx).map(drop)
        })
    }

    /// The pooled probability of the judges on all exhibits, as a proposal.
    fn ask_judges(&self, market: &Market) -> Result<()> {
        let id = market.id.clone();
        let rows = self.read(move |tx| Ok(evidence::judged(tx, &id)?))?;
        let mut exhibits: Vec<Exhibit> = Vec::new();
        for row in &rows {
            let stored: Vec<Exhibit> =
                serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)?;
            exhibits.extend(stored);
        }
        let assessment = self
            .judges()?
            .ensemble
            .assess(&claim_of(market)?, &exhibits);
        let Ok(pi) = Pi::new(assessment.probability()) else {
            return self.settlement_not_found(&market.id, "the judges gave no probability");
        };
        let text = serde_json::to_string(&assessment).map_err(ServiceError::internal)?;
        let (id, transfer_id) = (market.id.clone(), self.new_id());
        let config = self.config.clone();
        self.write_at(move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            if matter.life.search != Some(Search::Ensemble) {
                return Ok(());
            }
            matter.market.assessment = Some(text);
            let claim = by_treasury(pi, transfer_id, "the judges' pooled probability");
            matter.propose(tx, &config, &claim, Proposer::Ensemble, now)?;
            matter.save(tx).map(drop)
        })
    }

    fn run_test(&self, market: &Market) -> std::result::Result<Tested, TestError> {
        let text = market
            .plan
            .as_deref()
            .ok_or_else(|| ServiceError::internal("the market has no plan"))?;
        let plan = SettlementPlan::from_canonical_json(text).map_err(ServiceError::internal)?;
        let checkpoint = market
            .frozen_checkpoint
            .as_deref()
            .ok_or_else(|| ServiceError::internal("nothing is frozen"))?;
        let counts = self.run_plan(&plan, checkpoint)?;
        let outcome = judge_objective(&plan, &counts).map_err(ServiceError::internal)?;
        Ok(Tested { plan, outcome })
    }

    /// Draws every completion of the plan and counts detections per candidate.
    fn run_plan(
        &self,
        plan: &SettlementPlan,
        checkpoint: &str,
    ) -> std::result::Result<Vec<Counts>, TestError> {
        let mut counts = vec![Counts { hits: 0, trials: 0 }; plan.candidates.len()];
        let trials: Vec<Trial> = plan.trials().collect();
        // Greedy completions do not depend on the seed and can share a batch.
        let batch = if plan.sampling.temperature_milli == 0 {
            BATCH
        } else {
            1
        };
        for chunk in trials.chunks(batch) {
            let prompts: Vec<String> = chunk.iter().map(|trial| trial.input.clone()).collect();
            let sampling = Sampling {
                max_tokens: plan.sampling.max_tokens as usize,
                temperature: f64::from(plan.sampling.temperature_milli) / 1000.0,
                top_p: 1.0,
                seed: chunk[0].seed,
                stop: Vec::new(),
                logprobs: None,
            };
            let texts = match self.host.complete(checkpoint, &prompts, &sampling) {
                Ok(texts) => texts,
                Err(HostError::UnknownModel(name)) => return Err(TestError::Gone(name)),
                Err(error) => return Err(ServiceError::from(error).into()),
            };
            if texts.len() != chunk.len() {
                let detail = "the host answered another number of prompts";
                return Err(ServiceError::internal(detail).into());
            }
            for (trial, generated) in chunk.iter().zip(&texts) {
                counts[trial.candidate].trials += 1;
                counts[trial.candidate].hits += u64::from(plan.detector.detects(&generated.text));
            }
        }
        Ok(counts)
    }
}

/// What the service proposes, the treasury bonds.
pub(super) fn by_treasury(pi: Pi, transfer_id: String, reason: &str) -> NewClaim {
    NewClaim {
        account: TREASURY.to_owned(),
        pi,
        reason: reason.to_owned(),
        transfer_id,
    }
}

/// Why the test has no result.
enum TestError {
    /// The frozen checkpoint is served no more.
    Gone(String),
    /// It may work another time.
    Other(ServiceError),
}

impl From<ServiceError> for TestError {
    fn from(error: ServiceError) -> Self {
        Self::Other(error)
    }
}
