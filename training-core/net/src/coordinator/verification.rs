//! The phase *audit*, and what comes of recomputations rounds later.

use std::sync::Arc;

use plumbline_training_core::local::Task;
use plumbline_training_core::pacing::FULL_BPS;
use plumbline_training_core::round::{Contribution, Event, NodeId};
use plumbline_training_core::verify::screen::Shown as Screened;
use plumbline_training_core::verify::{Ban, Evidence, Gain, Lottery, Screen, VerifyRules};

use super::{Coordinator, CoordinatorError};
use crate::auditor::{Auditor, Case, Job, Outcome};
use crate::message::{Message, bounded_reason};
use crate::run::{NodeStatus, RunEvent};

/// What measuring gains costs, beside the recomputations, in basis points of
/// the nodes' work: two evaluations of few rows against H steps.
const GAINS_BPS: u32 = 1_000;

/// Who checks, and how closely.
pub struct Verification {
    /// The rules.
    pub rules: VerifyRules,
    /// Decides the draw; nobody else may know it.
    pub secret: [u8; 32],
    /// Does contributions again.
    pub auditor: Auditor,
    /// Whether nodes of this process compute as the auditor does, bit for bit.
    pub exact: bool,
    /// Inner batch rows, to tell steps from sequences.
    pub batch: usize,
}

/// What the checks remember.
pub(super) struct Checks {
    lottery: Lottery,
    screen: Screen,
}

impl Checks {
    pub(super) fn new(verification: Option<&Verification>) -> Self {
        let (secret, rate) = verification.map_or(([0; 32], 0), |v| (v.secret, v.rules.audit_bps));
        Self {
            lottery: Lottery::new(secret, rate),
            screen: Screen::default(),
        }
    }
}

impl Coordinator {
    /// Decodes every contribution, looks for signs, and draws who is to be
    /// done again. Gives the nodes whose contribution is not to be counted.
    pub(super) fn audit(
        &mut self,
        contributions: &[Contribution],
    ) -> Result<Vec<NodeId>, CoordinatorError> {
        let mut rejected = Vec::new();
        for contribution in contributions {
            let node = &contribution.node;
            match self.decode(node) {
                Ok(delta) => {
                    self.deltas.insert(node.clone(), Arc::new(delta));
                }
                Err(error) => {
                    tracing::warn!(run = self.options.run, %node, error, "contribution rejected");
                    rejected.push(node.clone());
                }
            }
        }
        if let Some(rules) = self.options.verification.as_ref().map(|v| v.rules) {
            self.look(&rules, &mut rejected)?;
        }
        Ok(rejected)
    }

    fn decode(&self, node: &NodeId) -> Result<Vec<f32>, String> {
        let shown = self.shown.get(node).ok_or("nothing was shown")?;
        let bytes = self.options.transport.get(&shown.payload);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let decoded = self.options.scheme.decode(&self.options.geometry, &bytes);
        decoded.map_err(|error| error.to_string())
    }

    fn look(
        &mut self,
        rules: &VerifyRules,
        rejected: &mut Vec<NodeId>,
    ) -> Result<(), CoordinatorError> {
        let round = self.state.round();
        let shown: Vec<Screened<'_>> = self
            .deltas
            .iter()
            .filter_map(|(node, delta)| {
                let payload = self.shown.get(node)?.payload;
                Some(Screened {
                    node,
                    payload,
                    delta,
                })
            })
            .collect();
        let findings = self.checks.screen.look(rules, round, &shown);
        rejected.extend(findings.rejected);
        for (node, sign) in findings.signs {
            self.checks.lottery.suspect(round, &node, sign.weight());
        }
        let proven: Vec<NodeId> = findings
            .proofs
            .iter()
            .map(|(node, _)| node.clone())
            .collect();
        let nodes: Vec<NodeId> = self.deltas.keys().cloned().collect();
        self.hand_over(rules, round, &nodes);
        // Bans come last: they take the round's promises of the node away.
        for (node, evidence) in findings.proofs {
            self.ban(node, round, evidence)?;
        }
        rejected.extend(proven);
        Ok(())
    }

    /// Gives the auditor its work of this round.
    fn hand_over(&mut self, rules: &VerifyRules, round: u64, nodes: &[NodeId]) {
        let cases: Vec<Case> = nodes.iter().filter_map(|node| self.case(node)).collect();
        let drawn = self.checks.lottery.draw(round, nodes);
        let start = Arc::clone(&self.parameters);
        let Some(verification) = &self.options.verification else {
            return;
        };
        for case in cases.iter().filter(|case| drawn.contains(&case.node)) {
            let case = Box::new(case.clone());
            let start = Arc::clone(&start);
            if !verification.auditor.offer(Job::Recompute { start, case }) {
                tracing::warn!(run = self.options.run, round, "the auditor is behind");
            }
        }
        if rules.gain_rows > 0 {
            verification.auditor.offer(Job::Gains {
                start,
                round,
                rows: rules.gain_rows,
                cases,
            });
        }
    }

    /// What a node's contribution of this round follows from.
    fn case(&self, node: &NodeId) -> Option<Case> {
        let open = self.state.open()?;
        let mine = open.assignments.iter().find(|a| a.node == *node)?;
        let shown = self.shown.get(node)?;
        let verification = self.options.verification.as_ref()?;
        let batch = verification.batch.max(1) as u64;
        let base = match self.bases.get(node) {
            Some(digest) => Some(self.options.transport.get(digest).ok()?),
            None => None,
        };
        Some(Case {
            node: node.clone(),
            task: Task {
                round: self.state.round(),
                first: mine.start,
                steps: mine.count / batch,
                tokens_before: self.state.tokens(),
                members: open.assignments.len() as u64,
            },
            base,
            delta: Arc::clone(self.deltas.get(node)?),
            payload: shown.payload,
            state: shown.state,
            tokens: open.commitments.get(node)?.tokens,
            same_machine: verification.exact && !self.options.transport.is_outside(node),
        })
    }

    /// Takes in what the auditor has finished.
    pub(super) fn hear_auditor(&mut self) -> Result<(), CoordinatorError> {
        loop {
            let verification = self.options.verification.as_ref();
            let Some(outcome) = verification.and_then(|v| v.auditor.outcome()) else {
                return Ok(());
            };
            match outcome {
                Outcome::Recomputed {
                    node,
                    round,
                    evidence,
                } => {
                    self.options.board.lock().audits += 1;
                    match evidence {
                        Some(evidence) => self.ban(node, round, evidence)?,
                        None => self.accounts.pass(&node),
                    }
                }
                Outcome::Gains { round, gains } => self.credit(round, &gains),
            }
        }
    }

    fn credit(&mut self, round: u64, gains: &[(NodeId, Gain, u64)]) {
        let typical = Gain::typical(gains.iter().map(|(_, gain, _)| gain));
        for (node, gain, tokens) in gains {
            if let Some(sign) = gain.sign(typical) {
                self.checks.lottery.suspect(round, node, sign.weight());
            }
            if !self.state.banned().contains(node) {
                self.accounts.earn(node, *tokens, gain.quality_bps(typical));
            }
        }
    }

    /// Removes a node for good.
    fn ban(
        &mut self,
        node: NodeId,
        round: u64,
        evidence: Evidence,
    ) -> Result<(), CoordinatorError> {
        let rules = self.options.verification.as_ref().map(|v| v.rules);
        let Some(rules) = rules.filter(|_| !self.state.banned().contains(&node)) else {
            return Ok(());
        };
        let reason = bounded_reason(evidence.name());
        tracing::warn!(run = self.options.run, %node, round, reason, "node banned");
        let ban = Ban {
            node: node.clone(),
            round,
            evidence,
            slash_bps: rules.slash_bps,
        };
        self.accounts.forfeit(&node);
        self.bans.push(ban.clone());
        self.options.board.lock().bans.push(ban.clone());
        self.node_changed(&node, NodeStatus::Banned, None);
        let run = self.options.run.clone();
        self.options
            .observer
            .happened(RunEvent::NodeBanned { run, ban });
        self.forget_base(&node);
        let notice = Message::Banned {
            node: node.clone(),
            reason,
        };
        self.options.transport.announce(&notice)?;
        self.dispatch(&Event::Ban { node })
    }

    /// Divides the share between nodes, each at `rate`, and the auditor, so
    /// that together they take no more than the nodes alone would.
    pub(super) fn share_with_auditor(&self, (share, rate): (u32, u32), members: usize) -> u32 {
        let Some(verification) = &self.options.verification else {
            return rate;
        };
        if members == 0 {
            // All train elsewhere: what there is here is the auditor's.
            verification.auditor.set_rate(share);
            return rate;
        }
        let rules = &verification.rules;
        let gains = if rules.gain_rows > 0 { GAINS_BPS } else { 0 };
        let (full, extra) = (u64::from(FULL_BPS), u64::from(rules.audit_bps + gains));
        let nodes = u64::from(rate) * full / (full + extra);
        let auditor = u64::from(rate).saturating_sub(nodes) * members as u64;
        verification.auditor.set_rate(auditor.min(full) as u32);
        nodes as u32
    }
}
