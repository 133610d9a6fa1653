//! The phase *audit* of a run in the test-bed.

use super::arena::Arena;
use super::report::ArenaError;
use crate::digest::Digest;
use crate::round::{Contribution, NodeId};
use crate::verify::screen::Shown;
use crate::verify::{Claim, Evidence, Gain, VerifyRules, compare, examine};

/// Sequences that gains on random data are measured on.
const RANDOM: u64 = super::arena::HELD_OUT + (1 << 30);

impl Arena<'_> {
    pub(super) fn audit(
        &mut self,
        round: u64,
        contributions: &[Contribution],
    ) -> Result<Vec<NodeId>, ArenaError> {
        let mut rejected = Vec::new();
        for contribution in contributions {
            let Some(made) = self.made.get(&contribution.node) else {
                continue;
            };
            self.report.bytes += made.payload.len() as u64;
            self.report.contributions += 1;
            match self.spec.plan.scheme.decode(&self.geometry, &made.payload) {
                Ok(delta) => {
                    self.deltas.insert(contribution.node.clone(), delta);
                }
                Err(_) => rejected.push(contribution.node.clone()),
            }
        }
        if let Some(rules) = self.spec.verify {
            self.look(rules, round, &mut rejected)?;
        }
        rejected.sort();
        rejected.dedup();
        Ok(rejected)
    }

    fn look(
        &mut self,
        rules: VerifyRules,
        round: u64,
        rejected: &mut Vec<NodeId>,
    ) -> Result<(), ArenaError> {
        let shown: Vec<Shown<'_>> = self
            .deltas
            .iter()
            .filter_map(|(node, delta)| {
                let payload = Digest::of(&self.made.get(node)?.payload);
                Some(Shown {
                    node,
                    payload,
                    delta,
                })
            })
            .collect();
        let findings = self.screen.look(&rules, round, &shown);
        for (node, evidence) in findings.proofs {
            rejected.push(node.clone());
            self.accuse(node, round, evidence);
        }
        rejected.extend(findings.rejected);
        for (node, sign) in findings.signs {
            self.lottery.suspect(round, &node, sign.weight());
        }
        self.gains(rules, round)?;
        let nodes: Vec<NodeId> = self.deltas.keys().cloned().collect();
        for node in self.lottery.draw(round, &nodes) {
            self.report.audits += 1;
            match self.recompute(&node, round)? {
                Some(evidence) => {
                    rejected.push(node.clone());
                    self.accuse(node, round, evidence);
                }
                None => self.report.accounts.pass(&node),
            }
        }
        Ok(())
    }

    fn gains(&mut self, rules: VerifyRules, round: u64) -> Result<(), ArenaError> {
        if rules.gain_rows == 0 {
            return Ok(());
        }
        let rows = rules.gain_rows.min(self.spec.plan.batch);
        let length = self.spec.plan.length;
        let random = RANDOM + round * rows as u64;
        let random = self.data.batch(random, rows, length);
        let mut gains = Vec::new();
        for (node, delta) in &self.deltas {
            let Some(task) = self.task(node) else {
                continue;
            };
            let assigned = self.data.batch(task.first, rows, length);
            let both = (&assigned, &random);
            let gain = Gain::measure(self.trainer, &self.parameters, delta, both)?;
            gains.push((node.clone(), gain));
        }
        let typical = Gain::typical(gains.iter().map(|(_, gain)| gain));
        for (node, gain) in gains {
            if let Some(sign) = gain.sign(typical) {
                self.lottery.suspect(round, &node, sign.weight());
            }
            let tokens = self.made.get(&node).map_or(0, |made| made.tokens);
            self.report
                .accounts
                .earn(&node, tokens, gain.quality_bps(typical));
        }
        Ok(())
    }

    /// Does a node's round again; what is wrong with it, if anything.
    fn recompute(&mut self, node: &NodeId, round: u64) -> Result<Option<Evidence>, ArenaError> {
        let (Some(task), Some(peer)) = (self.task(node), self.peers.get(node)) else {
            return Ok(None);
        };
        let state = peer.state.clone();
        debug_assert_eq!(task.round, round);
        let start = self.parameters.clone();
        let (work, tokens) = self.train(task, start, state, |batch| batch)?;
        let (Some(made), Some(payload)) = (self.made.get(node), self.deltas.get(node)) else {
            return Ok(None);
        };
        let claim = Claim {
            payload,
            digest: Digest::of(&made.payload),
            state: Some(compare::state_digest(&made.state)),
            tokens: made.tokens,
        };
        let scheme = &self.spec.plan.scheme;
        Ok(examine(
            scheme,
            &self.geometry,
            &claim,
            (&work, tokens),
            true,
        ))
    }
}
