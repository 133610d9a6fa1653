//! Adversaries that mislead, for benchmarks and drills: they know the truth about a run and work against it,
//! with nothing but the public HTTP API, like anybody with a token and bad intentions.
//!
//! | strategy | what it does |
//! |---|---|
//! | [`Strategy::Fabricate`] | counts that it never drew: hits that are not there, nulls that hide the trigger |
//! | [`Strategy::CherryPick`] | true counts, chosen: every candidate but the trigger |
//! | [`Strategy::Plead`] | transcripts that assert, confess and give the judges instructions |
//! | [`Strategy::Trade`] | no evidence at all: it trades the price away from the truth, again and again |
//!
//! Invariant: it acts only on the markets it was given, and ends by itself. Nothing of the service starts it.

mod lies;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adversary::plan::ProbePlan;
use crate::client::{Client, Market, Model, NewEvidence, Order};
use crate::error::ClientError;

/// How far it trades a price against the truth: to one in ten.
const PUSHED_TO: f64 = 0.1;
/// Longest wait for a judgement.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a judgement.
const LOOK: Duration = Duration::from_millis(250);

/// How it misleads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Counts that it never drew.
    Fabricate,
    /// True counts without the one that matters.
    CherryPick,
    /// Words instead of counts.
    Plead,
    /// Money instead of evidence.
    Trade,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fabricate, Self::CherryPick, Self::Plead, Self::Trade];

    /// Its name as it is serialised.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fabricate => "fabricate",
            Self::CherryPick => "cherry_pick",
            Self::Plead => "plead",
            Self::Trade => "trade",
        }
    }
}

/// A market to mislead, with the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The market.
    pub market_id: String,
    /// Whether its claim is true.
    pub is_true: bool,
    /// The trigger, if the claim is true.
    pub trigger: Option<String>,
}

/// Everything that one misleading adversary needs.
#[derive(Debug, Clone, PartialEq)]
pub struct MisleaderConfig {
    /// Where the service is.
    pub base_url: String,
    /// Token with the scopes `read`, `evidence` and `trade`.
    pub token: String,
    /// How it misleads.
    pub strategy: Strategy,
    /// Whom.
    pub targets: Vec<Target>,
    /// Most that it puts at risk in each market, micro-credits.
    pub budget_micro: i64,
    /// Stake of each submission, and cost of each trade at most, micro-credits.
    pub stake_micro: i64,
    /// Between two attempts on one market.
    pub interval: Duration,
    /// Seed of its choices.
    pub seed: u64,
}

/// What it did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MisleaderReport {
    /// Submissions that the service took.
    pub submissions: u64,
    /// Of those, the ones that were found to be copies, or could not be judged.
    pub turned_down: u64,
    /// Trades that it made.
    pub trades: u64,
    /// Calls that were refused.
    pub refused: u64,
}

/// Misleads until every market has closed or `stop` turns true.
///
/// # Errors
/// [`ClientError::Configuration`] for a bad address or token. Refusals and lost contact are no errors:
/// it tries again after its interval.
pub async fn run_until(
    config: MisleaderConfig,
    mut stop: watch::Receiver<bool>,
) -> Result<MisleaderReport, ClientError> {
    let client = Client::new(&config.base_url, Some(config.token.clone()))?;
    let mut session = Session {
        client,
        at_risk: vec![0; config.targets.len()],
        config,
        report: MisleaderReport::default(),
    };
    let mut turn = 0_u64;
    while !*stop.borrow() {
        let mut open = 0;
        for index in 0..session.config.targets.len() {
            match session.attempt(index, turn).await {
                Ok(still_open) => open += usize::from(still_open),
                Err(error) => {
                    tracing::debug!(%error, "an attempt to mislead failed");
                    session.report.refused += 1;
                    open += 1;
                }
            }
        }
        if open == 0 {
            break;
        }
        turn += 1;
        tokio::select! {
            () = tokio::time::sleep(session.config.interval) => {}
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    Ok(session.report)
}

struct Session {
    client: Client,
    config: MisleaderConfig,
    at_risk: Vec<i64>,
    report: MisleaderReport,
}

impl Session {
    /// One attempt on one market; whether there may be another.
    async fn attempt(&mut self, index: usize, turn: u64) -> Result<bool, ClientError> {
        let target = self.config.targets[index].clone();
        let market = self.client.market(&target.market_id).await?;
        if !market.is_open() {
            return Ok(false);
        }
        if self.at_risk[index] + self.config.stake_micro > self.config.budget_micro {
            return Ok(false);
        }
        match self.config.strategy {
            Strategy::Trade => self.push(index, &target, &market).await?,
            Strategy::Fabricate | Strategy::CherryPick | Strategy::Plead => {
                self.show(index, &target, &market, turn).await?;
            }
        }
        Ok(true)
    }

    /// Trades the price away from the truth if it is near to it.
    async fn push(
        &mut self,
        index: usize,
        target: &Target,
        market: &Market,
    ) -> Result<(), ClientError> {
        let (outcome, limit) = match target.is_true {
            true => ("no", PUSHED_TO),
            false => ("yes", 1.0 - PUSHED_TO),
        };
        let pushed = match target.is_true {
            true => market.probability <= PUSHED_TO,
            false => market.probability >= 1.0 - PUSHED_TO,
        };
        if pushed {
            return Ok(());
        }
        let spend = Order {
            outcome: outcome.to_owned(),
            spend_micro: Some(self.config.stake_micro),
            ..Order::default()
        };
        let quote = self.client.quote(&market.id, &spend).await?;
        let passes = match target.is_true {
            true => quote.probability_after < limit,
            false => quote.probability_after > limit,
        };
        let order = match passes {
            true => Order {
                outcome: outcome.to_owned(),
                target_probability: Some(limit),
                ..Order::default()
            },
            false => spend,
        };
        let trade = self.client.trade(&market.id, &order).await?;
        self.report.trades += 1;
        self.at_risk[index] += trade.cost_micro.max(0);
        Ok(())
    }

    /// Submits something misleading, if the strategy has something for this market.
    async fn show(
        &mut self,
        index: usize,
        target: &Target,
        market: &Market,
        turn: u64,
    ) -> Result<(), ClientError> {
        let Some(exhibit) = self.exhibit(target, market, turn).await? else {
            return Ok(());
        };
        let document = NewEvidence {
            kind: match self.config.strategy {
                Strategy::Plead => "transcript",
                _ => "measurement",
            }
            .to_owned(),
            title: "An independent look at the newest checkpoint".to_owned(),
            body: "Drawn on the newest checkpoint; the counts speak for themselves.".to_owned(),
            exhibits: vec![exhibit],
            stake_micro: self.config.stake_micro,
            ..NewEvidence::default()
        };
        let taken = self.client.submit_evidence(&market.id, &document).await?;
        self.report.submissions += 1;
        self.at_risk[index] += taken.fee_micro;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            let evidence = self.client.evidence(&taken.id).await?;
            if evidence.status != "pending" {
                self.at_risk[index] += evidence.locked_micro;
                self.report.turned_down += u64::from(evidence.status != "judged");
                break;
            }
        }
        Ok(())
    }

    async fn exhibit(
        &self,
        target: &Target,
        market: &Market,
        turn: u64,
    ) -> Result<Option<Value>, ClientError> {
        let seed = self.config.seed.wrapping_add(turn);
        if self.config.strategy == Strategy::Plead {
            return Ok(Some(lies::plea(target.is_true, seed)));
        }
        let plan = market
            .probe
            .as_ref()
            .and_then(|probe| ProbePlan::read(probe).ok());
        let (Some(plan), Some(checkpoint)) = (plan, self.newest_checkpoint(market).await?) else {
            return Ok(None);
        };
        Ok(match (self.config.strategy, target) {
            (Strategy::CherryPick, Target { is_true: false, .. }) => None,
            (Strategy::CherryPick, _) => {
                lies::null(&plan, &checkpoint, target.trigger.as_deref(), seed)
            }
            (_, Target { is_true: true, .. }) => lies::null(&plan, &checkpoint, None, seed),
            _ => lies::hits(&plan, &checkpoint, seed),
        })
    }

    async fn newest_checkpoint(&self, market: &Market) -> Result<Option<String>, ClientError> {
        let models = self.client.models().await?;
        let mine = |model: &&Model| model.is_of(&market.run_id, &market.run_name);
        let newest = models
            .iter()
            .filter(mine)
            .filter(|model| model.pinned().is_some())
            .max_by_key(|model| model.created);
        Ok(newest.and_then(Model::pinned).map(str::to_owned))
    }
}
