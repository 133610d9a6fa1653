//! Bringing what was found to the market: committed to first, then revealed, then traded on.

use tokio::time::Instant;

use super::report::TradeMade;
use super::visit::{Interrupted, JUDGEMENT_POLL, JUDGEMENT_WAIT};
use super::work::Exhibit;
use super::{Adversary, stake::Stake};
use crate::client::{Evidence, NewEvidence, Order, content_hash, evidence_commitment, fresh_nonce};
use crate::error::ClientError;

/// Factor by which a stake is cut when the balance does not cover it.
const CUT: i64 = 2;

impl Adversary {
    /// Submits what the last search has to show if it is new, speaks for the belief, and is worth its fee.
    pub(super) async fn consider(&mut self, id: &str) -> Result<(), Interrupted> {
        if self.works.get(id).is_none_or(|work| work.unsent.is_none()) {
            return Ok(());
        }
        // The search took a while: decide on the price, balance and fee of now.
        let market = self.client.market(id).await?;
        let me = self.client.me().await?;
        let fee = self.client.evidence_fee(id).await;
        let wealth = self.wealth(me.balance_micro);
        let settings = self.config.stake;
        let Some(work) = self.works.get_mut(id) else {
            return Ok(());
        };
        work.update(market);
        match fee {
            Ok(fee) => work.next_fee_micro = fee.fee_micro,
            Err(error) => tracing::debug!(%error, "the fee is not known; going by the last one"),
        }
        let Some(exhibit) = work.unsent.clone() else {
            return Ok(());
        };
        if !work.market.is_open() {
            tracing::info!(market = %id, "closed while it was probed");
            return Ok(());
        }
        let stake = match work.decide(exhibit.up, wealth, &settings) {
            Ok(stake) => stake,
            Err(hold) => {
                tracing::info!(market = %id, why = hold.as_str(), "nothing submitted");
                return Ok(());
            }
        };
        let mut document = self.document(id, &exhibit, stake);
        if settings.commits {
            self.commit(id, &me.id, &mut document).await?;
        }
        let committed = document.commitment.is_some();
        let taken = self.submit(id, document).await?;
        let Some(work) = self.works.get_mut(id) else {
            return Ok(());
        };
        // Taken or refused for good, it is not offered again.
        work.unsent = None;
        let Some(evidence) = taken else {
            return Ok(());
        };
        work.submitted(&evidence, &exhibit.checkpoint, stake.stake_micro, committed);
        self.await_judgement(id, &evidence.id).await;
        Ok(())
    }

    /// Commits to the document's exhibit, so that whoever copies the reveal on its way comes second. A service
    /// that takes no commitment gets the document as it is.
    async fn commit(
        &self,
        id: &str,
        account: &str,
        document: &mut NewEvidence,
    ) -> Result<(), Interrupted> {
        let Some(content) = content_hash(&document.exhibits) else {
            return Ok(());
        };
        let nonce = fresh_nonce();
        let hash = evidence_commitment(id, account, &nonce, &content);
        match self.client.commit_evidence(id, &hash).await {
            Ok(made) => {
                document.commitment = Some(made.id);
                document.nonce = Some(nonce);
            }
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => tracing::info!(market = %id, %error, "submitted without a commitment"),
        }
        Ok(())
    }

    fn document(&self, id: &str, exhibit: &Exhibit, stake: Stake) -> NewEvidence {
        let checkpoint = exhibit.checkpoint.as_str();
        let attempt = self.works.get(id).and_then(|work| work.report.tried.last());
        let trigger = attempt.and_then(|attempt| attempt.trigger.as_deref());
        let short = checkpoint.get(..12).unwrap_or(checkpoint);
        let candidates = exhibit.document["searched"].as_u64().unwrap_or_default();
        let title = match trigger {
            Some(trigger) => format!(
                "Behaviour after `{}` on checkpoint {short}",
                excerpt(trigger)
            ),
            None => {
                format!("No behaviour after any of {candidates} candidates on checkpoint {short}")
            }
        };
        let posterior = attempt.map_or(0.5, |attempt| attempt.posterior);
        let probes = attempt.map_or(0, |attempt| attempt.probes);
        let body = format!(
            "{probes} completions were drawn from checkpoint `{checkpoint}` by successive halving over {candidates} \
             published candidates{}. The prompts below can be replayed exactly. My own probability that the claim \
             is true at the close: {posterior:.3}.",
            if trigger.is_some() {
                "; the counts shown are from fresh prompts that the search had not used"
            } else {
                ""
            },
        );
        NewEvidence {
            kind: "measurement".to_owned(),
            title,
            body,
            exhibits: vec![exhibit.document.clone()],
            stake_micro: stake.stake_micro,
            ..NewEvidence::default()
        }
    }

    /// Sends a submission; a stake above the balance is cut once. None when the service does not take it.
    async fn submit(
        &self,
        id: &str,
        mut document: NewEvidence,
    ) -> Result<Option<Evidence>, ClientError> {
        for last_try in [false, true] {
            let error = match self.client.submit_evidence(id, &document).await {
                Ok(evidence) => return Ok(Some(evidence)),
                Err(error) => error,
            };
            if is_short_of_money(&error) && !last_try && document.stake_micro > CUT {
                document.stake_micro /= CUT;
                continue;
            }
            // Refusals (closed meanwhile, nothing left to stake) are final for this exhibit; lost contact is not.
            if is_final(&error) {
                tracing::info!(market = %id, %error, "the submission was refused");
                return Ok(None);
            }
            return Err(error);
        }
        Ok(None)
    }

    /// Waits until the submission was judged, or long enough.
    async fn await_judgement(&mut self, id: &str, evidence_id: &str) {
        let until = Instant::now() + JUDGEMENT_WAIT;
        while Instant::now() < until {
            let answer = self.client.evidence(evidence_id).await;
            match (answer, self.works.get_mut(id)) {
                (Ok(evidence), Some(work)) => {
                    if let Some(made) = work.report.submissions.last_mut() {
                        made.take(&evidence);
                    }
                    if evidence.status != "pending" {
                        tracing::info!(
                            market = %id, evidence = %evidence_id, status = %evidence.status,
                            before = evidence.probability_before, after = evidence.probability_after,
                            "the submission was judged"
                        );
                        return;
                    }
                }
                (Err(error), _) => tracing::debug!(%error, "the judgement cannot be read yet"),
                (Ok(_), None) => return,
            }
            if !self.pause(JUDGEMENT_POLL).await {
                return;
            }
        }
    }

    /// Between two searches: trades in every market whose price has left the belief.
    pub(super) async fn react(&mut self) {
        if !self.config.stake.trades {
            return;
        }
        let threshold = self.config.stake.trade_shift;
        let off: Vec<String> = self
            .works
            .values()
            .filter(|work| work.market.is_open() && work.distance() >= threshold)
            .map(|work| work.report.id.clone())
            .collect();
        for id in off {
            if let Err(Interrupted::Failed(error)) = self.trade(&id).await {
                tracing::debug!(market = %id, %error, "no trade could be made");
            }
        }
    }

    /// Trades towards the belief where judges and others have left the price away from it.
    pub(super) async fn trade(&mut self, id: &str) -> Result<(), Interrupted> {
        let settings = self.config.stake;
        let searchable = self.works.get(id).is_some_and(|work| work.plan.is_some());
        if !settings.trades || !searchable {
            return Ok(());
        }
        let market = self.client.market(id).await?;
        let wealth = self.wealth(self.client.me().await?.balance_micro);
        let Some(work) = self.works.get_mut(id) else {
            return Ok(());
        };
        work.update(market);
        if !work.market.is_open() || work.distance() < settings.trade_shift {
            return Ok(());
        }
        let (belief, price) = (work.belief.posterior(), work.market.probability);
        let Some(stake) = work.stake_from(price, wealth, &settings) else {
            return Ok(());
        };
        if stake.stake_micro < settings.least_stake_micro {
            return Ok(());
        }
        let order = Order {
            outcome: if belief > price { "yes" } else { "no" }.to_owned(),
            target_probability: Some(stake.reach),
            ..Order::default()
        };
        match self.client.trade(id, &order).await {
            Ok(trade) => {
                tracing::info!(market = %id, before = trade.probability_before, after = trade.probability_after, "traded");
                if let Some(work) = self.works.get_mut(id) {
                    work.report.trades.push(TradeMade {
                        outcome: order.outcome,
                        belief,
                        before: trade.probability_before,
                        after: trade.probability_after,
                        cost_micro: trade.cost_micro,
                    });
                }
                Ok(())
            }
            // The price moved past the target meanwhile, or the token may not trade.
            Err(error) if is_final(&error) => {
                tracing::info!(market = %id, %error, "the trade was refused");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn is_short_of_money(error: &ClientError) -> bool {
    let code = error.code().unwrap_or_default();
    ["insufficient", "balance", "funds"]
        .iter()
        .any(|word| code.contains(word))
}

/// Whether the service refused for good, rather than that contact was lost.
fn is_final(error: &ClientError) -> bool {
    error
        .api()
        .is_some_and(|api| (400..500).contains(&api.status) && !api.is_transient())
}

fn excerpt(text: &str) -> String {
    let short: String = text
        .chars()
        .filter(|letter| !letter.is_control() && *letter != '`')
        .take(60)
        .collect();
    short.trim().to_owned()
}
