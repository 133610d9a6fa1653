//! The reference adversary: it searches runs for a published behaviour and
//! stakes on what it finds, with nothing but the public HTTP API.
//!
//! For each open market with a claim of the kind `trigger_backdoor` it takes
//! the published candidates, prompts and detector, searches the run's newest
//! fixed checkpoint through the completion gateway ([`search`]), updates its
//! own probability ([`belief`]), and submits the exhibit with a stake
//! ([`stake`]) when it says something new that the price does not say yet. A
//! well-powered null is submitted likewise. It comes back to newer checkpoints
//! until the market closes.
//!
//! Invariant: it submits only counts that it drew itself from one fixed
//! checkpoint, so that anybody can draw them again; and it never stakes past
//! its own belief or its budget.

pub mod belief;
pub mod config;
pub mod overhear;
pub mod plan;
pub mod report;
pub mod search;
pub mod stake;
mod submit;
pub mod vary;
mod visit;
mod work;

pub use config::{AdversaryConfig, ProbeSettings, Selection, StakeSettings, StopConditions};
pub use report::{Attempt, MarketReport, Report, Submission, TradeMade};
pub use work::KNOWN_KIND;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Client, Market, RetryPolicy};
use crate::error::ClientError;
use work::Work;

/// How often the list of markets is read again.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait after a failure before a market is visited again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How often settlements are asked for after the last close.
const SETTLEMENT_POLL: Duration = Duration::from_secs(1);

/// A session of the adversary.
#[derive(Debug)]
pub struct Adversary {
    config: AdversaryConfig,
    client: Client,
    stop: watch::Receiver<bool>,
    started: Instant,
    works: BTreeMap<String, Work>,
    requests: u64,
    tokens: u64,
    ended: String,
}

impl Adversary {
    /// Runs until a stop condition of `config` holds.
    ///
    /// # Errors
    /// Only when nothing could be started: a bad address or token, or the
    /// service refuses the token. Later trouble is in the report.
    pub async fn run(config: AdversaryConfig) -> Result<Report, ClientError> {
        // The sender lives as long as the session, so this never stops it.
        let (_never, stop) = watch::channel(false);
        Self::run_until(config, stop).await
    }

    /// Runs until a stop condition of `config` holds or `stop` turns true. A
    /// request in flight is finished first.
    ///
    /// # Errors
    /// As [`Adversary::run`].
    pub async fn run_until(
        config: AdversaryConfig,
        stop: watch::Receiver<bool>,
    ) -> Result<Report, ClientError> {
        let client = Client::new(&config.base_url, Some(config.token.clone()))?;
        // A limited gateway is answered with patience here, not with more requests.
        let client = client.with_retry(RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        });
        let mut session = Self {
            config,
            client,
            stop,
            started: Instant::now(),
            works: BTreeMap::new(),
            requests: 0,
            tokens: 0,
            ended: String::new(),
        };
        session.check_token().await?;
        session.ended = session.watch_markets().await;
        session.await_settlement().await;
        Ok(session.report())
    }

    /// A wrong token should be said at once; a service that is not up yet may come.
    async fn check_token(&self) -> Result<(), ClientError> {
        match self.client.me().await {
            Err(error) if !error.is_transient() => Err(error),
            _ => Ok(()),
        }
    }

    /// Visits markets until there is a reason to end, and says which.
    async fn watch_markets(&mut self) -> String {
        let mut seen_at = Instant::now();
        let mut reached_at = Instant::now();
        loop {
            if let Some(reason) = self.must_end() {
                return reason;
            }
            match self.client.markets(None, None).await {
                Ok(markets) => {
                    reached_at = Instant::now();
                    self.take_markets(markets);
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the service cannot be reached");
                    if reached_at.elapsed() >= self.config.stop.unreachable {
                        return format!("contact was lost: {error}");
                    }
                }
                Err(error) => return format!("the service refused: {error}"),
            }
            let open = self
                .works
                .values()
                .filter(|work| work.market.is_open())
                .count();
            let workable = self
                .works
                .values()
                .filter(|work| work.market.is_open() && work.plan.is_some())
                .count();
            if workable > 0 {
                seen_at = Instant::now();
            } else if !self.config.stop.linger {
                if !self.works.is_empty() && open == 0 {
                    return "every market has closed".to_owned();
                }
                if seen_at.elapsed() >= self.config.stop.without_market {
                    return "no market to work on".to_owned();
                }
            }
            if let Some(id) = self.due() {
                self.visit(&id).await;
            } else {
                self.react().await;
                self.pause(LOOK).await;
            }
        }
    }

    fn must_end(&self) -> Option<String> {
        if *self.stop.borrow() {
            return Some("it was told to stop".to_owned());
        }
        let stop = &self.config.stop;
        if stop
            .after
            .is_some_and(|after| self.started.elapsed() >= after)
        {
            return Some("its time was up".to_owned());
        }
        let probes: usize = self.works.values().map(|work| work.report.probes).sum();
        if stop.probes.is_some_and(|most| probes >= most) {
            return Some("its probes were used up".to_owned());
        }
        None
    }

    fn take_markets(&mut self, markets: Vec<Market>) {
        for market in markets {
            if !self.config.select.includes(&market) {
                continue;
            }
            match self.works.get_mut(&market.id) {
                Some(work) => work.update(market),
                // A market that was over before the session is no business of it.
                None if !market.is_open() => {}
                None => {
                    let work = Work::new(market, &self.config);
                    match &work.report.skipped {
                        Some(why) => tracing::info!(market = %work.report.id, %why, "left alone"),
                        None => {
                            tracing::info!(market = %work.report.id, run = %work.report.run, "found a market")
                        }
                    }
                    self.works.insert(work.report.id.clone(), work);
                }
            }
        }
    }

    /// The open market that has waited longest past its time.
    fn due(&self) -> Option<String> {
        let now = Instant::now();
        let ready = self
            .works
            .values()
            .filter(|work| work.market.is_open() && work.plan.is_some());
        let ready = ready.filter(|work| work.next_at <= now);
        ready
            .min_by_key(|work| work.next_at)
            .map(|work| work.report.id.clone())
    }

    /// Sleeps, but not past a stop. Returns false when it is time to stop.
    async fn pause(&mut self, length: Duration) -> bool {
        let left = self
            .config
            .stop
            .after
            .map(|after| after.saturating_sub(self.started.elapsed()));
        let length = left.map_or(length, |left| length.min(left));
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            // An error means that nobody can stop it any more.
            changed = self.stop.changed() => if changed.is_err() {
                tokio::time::sleep(length).await;
            }
        }
        self.must_end().is_none()
    }

    /// What may still be risked: the budget less what is committed, at most the account's balance.
    fn wealth(&self, balance_micro: i64) -> i64 {
        self.config
            .budget_micro
            .saturating_sub(self.committed())
            .min(balance_micro)
            .max(0)
    }

    /// What is at risk or spent so far: for evidence, and for trades.
    fn committed(&self) -> i64 {
        let reports = || self.works.values().map(|work| &work.report);
        let submissions = reports().flat_map(|report| &report.submissions);
        let trades = reports().flat_map(|report| &report.trades);
        let shown: i64 = submissions.map(Submission::committed_micro).sum();
        let traded: i64 = trades.map(|trade| trade.cost_micro).sum();
        shown.saturating_add(traded)
    }

    /// Reads what the submissions earned, for as long as the settings allow.
    async fn await_settlement(&mut self) {
        let until = Instant::now() + self.config.stop.for_settlement;
        loop {
            let told_to_stop = *self.stop.borrow();
            self.refresh_submissions().await;
            let waiting = self.works.values().any(|work| {
                // A market that is still open will not settle while we wait.
                let settling = !work.market.is_open() && !work.market.is_over();
                let made = &work.report.submissions;
                settling && made.iter().any(|made| made.payoff_micro.is_none())
            });
            if !waiting || told_to_stop || Instant::now() >= until {
                return;
            }
            tokio::time::sleep(SETTLEMENT_POLL).await;
        }
    }

    async fn refresh_submissions(&mut self) {
        for work in self
            .works
            .values_mut()
            .filter(|work| !work.report.submissions.is_empty())
        {
            match self.client.market(&work.report.id).await {
                Ok(market) => work.update(market),
                Err(error) => {
                    tracing::debug!(%error, market = %work.report.id, "cannot read the market");
                    continue;
                }
            }
            for made in work
                .report
                .submissions
                .iter_mut()
                .filter(|made| made.payoff_micro.is_none())
            {
                match self.client.evidence(&made.evidence_id).await {
                    Ok(evidence) => made.take(&evidence),
                    Err(error) => {
                        tracing::debug!(%error, evidence = %made.evidence_id, "cannot read the evidence")
                    }
                }
            }
        }
    }

    fn report(self) -> Report {
        let submissions = || {
            self.works
                .values()
                .flat_map(|work| &work.report.submissions)
        };
        Report {
            requests: self.requests,
            tokens: self.tokens,
            spent_micro: self.committed(),
            fees_micro: submissions().map(|made| made.fee_micro).sum(),
            earned_micro: submissions().filter_map(|made| made.payoff_micro).sum(),
            seconds: self.started.elapsed().as_secs_f64(),
            markets: self
                .works
                .values()
                .map(|work| work.report.clone())
                .collect(),
            ended: self.ended,
        }
    }
}

#[cfg(test)]
mod tests;
