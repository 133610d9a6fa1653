//! A node's own part of a round: H inner steps and what comes of them.
//!
//! Nodes, auditors and the test-bed all do it through this one piece, so that
//! a recomputation is the same computation. It begins from committed things
//! only: the round's parameters, the node's state as the node showed it last,
//! and the sequences it was assigned. What it leads to is therefore a function
//! of public facts, and on equal machines equal to the bit.

use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Geometry, Memory, Scheme};
use crate::digest::Digest;
use crate::outer::{OuterError, pseudo_gradient};
use crate::round::NodeId;
use crate::schedule::LrSchedule;
use crate::trainer::{Batch, LocalTrainer, StepReport, TrainerError};

/// What every node of a run does in a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerPlan {
    /// Rows of a batch.
    pub batch: usize,
    /// Predicted positions of a row.
    pub length: usize,
    /// Learning rate by tokens.
    pub schedule: LrSchedule,
    /// What is exchanged.
    pub scheme: Scheme,
}

/// One node's work in one round, as it follows from the announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The round.
    pub round: u64,
    /// First sequence number.
    pub first: u64,
    /// Inner steps.
    pub steps: u64,
    /// Tokens of the run before the round.
    pub tokens_before: u64,
    /// Nodes in the round.
    pub members: u64,
}

/// Why a node's round came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The replica failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The difference could not be taken.
    #[error(transparent)]
    Outer(#[from] OuterError),
    /// The difference could not be written.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The stored state is not a node's.
    #[error("node state: {0}")]
    State(&'static str),
}

/// What a node carries from round to round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeState {
    /// Moments of the inner optimiser; empty for a fresh one.
    pub optimizer: Vec<u8>,
    /// What the codec left out.
    pub memory: Memory,
}

const STATE_MAGIC: &[u8; 8] = b"PLNS\x01\0\0\0";

impl NodeState {
    /// `"PLNS"`, version 1, three zeros, length of the optimiser's part (u64),
    /// that part, then the error feedback.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = STATE_MAGIC.to_vec();
        bytes.extend_from_slice(&(self.optimizer.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.optimizer);
        bytes.extend_from_slice(&self.memory.to_bytes());
        bytes
    }

    /// Reads what [`NodeState::to_bytes`] gave for a model of `values` parameters.
    ///
    /// # Errors
    /// [`LocalError::State`], [`LocalError::Codec`].
    pub fn from_bytes(bytes: &[u8], values: usize) -> Result<Self, LocalError> {
        let wrong = LocalError::State("not a node's state of version 1");
        let Some((head, rest)) = bytes.split_at_checked(16) else {
            return Err(wrong);
        };
        let mut length = [0; 8];
        length.copy_from_slice(&head[8..]);
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        match rest.split_at_checked(length) {
            Some((optimizer, memory)) if head[..8] == STATE_MAGIC[..] => Ok(Self {
                optimizer: optimizer.to_vec(),
                memory: Memory::from_bytes(memory, values)?,
            }),
            _ => Err(wrong),
        }
    }
}

/// What is committed for a contribution: bound to its round and its node, so
/// that repeating somebody else's commitment promises nothing that one could
/// ever show.
pub fn commitment(
    round: u64,
    node: &NodeId,
    payload: &Digest,
    state: Option<&Digest>,
    tokens: u64,
) -> Digest {
    let state = state.map_or(&[][..], |state| &state.0[..]);
    Digest::derive(
        "plumbline 2026 training commitment v1",
        &[
            &round.to_le_bytes(),
            node.as_str().as_bytes(),
            &payload.0,
            state,
            &tokens.to_le_bytes(),
        ],
    )
}

/// What came of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// The contribution as it is sent.
    pub payload: Vec<u8>,
    /// The node's state after it.
    pub state: NodeState,
}

/// The steps done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LocalReport {
    /// Inner steps taken.
    pub steps: u64,
    /// Tokens predicted.
    pub tokens: u64,
    /// Mean loss over the steps, nats per token.
    pub loss: f64,
    /// Loss of the first step, before its update.
    pub loss_first: f64,
}

/// A round under way on one replica.
#[derive(Debug, Clone)]
pub struct LocalRound {
    plan: InnerPlan,
    task: Task,
    start: Vec<f32>,
    memory: Memory,
    gradient: Vec<f32>,
    report: LocalReport,
}

impl LocalRound {
    /// Puts `trainer` at the round's parameters and the node's state.
    ///
    /// # Errors
    /// [`LocalError::Trainer`] when they are not this model's.
    pub fn begin(
        trainer: &mut dyn LocalTrainer,
        plan: InnerPlan,
        task: Task,
        start: Vec<f32>,
        state: NodeState,
    ) -> Result<Self, LocalError> {
        trainer.set_parameters(&start)?;
        if state.optimizer.is_empty() {
            trainer.reset_optimizer()?;
        } else {
            trainer.restore_optimizer(&state.optimizer)?;
        }
        Ok(Self::go_on(plan, task, start, state.memory))
    }

    /// As [`LocalRound::begin`] where `trainer` is in that state already.
    pub fn go_on(plan: InnerPlan, task: Task, start: Vec<f32>, memory: Memory) -> Self {
        Self {
            plan,
            task,
            start,
            memory,
            gradient: Vec::new(),
            report: LocalReport::default(),
        }
    }

    /// The work it was begun for.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// How it went so far.
    pub fn report(&self) -> &LocalReport {
        &self.report
    }

    /// Whether every step is done.
    pub fn is_done(&self) -> bool {
        self.report.steps >= self.task.steps
    }

    /// First sequence number of the next step.
    pub fn next_sequence(&self) -> u64 {
        let done = self.report.steps.saturating_mul(self.plan.batch as u64);
        self.task.first.saturating_add(done)
    }

    /// The next inner step, on the batch from [`LocalRound::next_sequence`].
    ///
    /// # Errors
    /// [`LocalError::Trainer`].
    pub fn step(
        &mut self,
        trainer: &mut dyn LocalTrainer,
        batch: &Batch,
    ) -> Result<StepReport, LocalError> {
        // The others are assumed to be as far as this one.
        let others = self.task.members.saturating_mul(self.report.tokens);
        let rate = self
            .plan
            .schedule
            .rate(self.task.tokens_before.saturating_add(others));
        let step = match self.plan.scheme {
            Scheme::EveryStep => {
                let (step, gradient) = trainer.gradient(batch)?;
                accumulate(&mut self.gradient, &gradient, self.report.steps);
                step
            }
            Scheme::DiLoCo | Scheme::SparseLoCo(_) => trainer.step(batch, rate)?,
        };
        let loss = f64::from(step.loss);
        let report = &mut self.report;
        if report.steps == 0 {
            report.loss_first = loss;
        }
        report.loss = (report.loss * report.steps as f64 + loss) / (report.steps + 1) as f64;
        report.steps += 1;
        report.tokens += step.tokens;
        Ok(step)
    }

    /// The contribution and the state after it.
    ///
    /// # Errors
    /// [`LocalError`] when the result is not finite.
    pub fn finish(
        &mut self,
        trainer: &dyn LocalTrainer,
        geometry: &Geometry,
    ) -> Result<Work, LocalError> {
        let delta = match self.plan.scheme {
            Scheme::EveryStep => std::mem::take(&mut self.gradient),
            Scheme::DiLoCo | Scheme::SparseLoCo(_) => {
                pseudo_gradient(&self.start, &trainer.parameters()?)?
            }
        };
        let mut memory = std::mem::take(&mut self.memory);
        let payload = self.plan.scheme.encode(geometry, &mut memory, &delta)?;
        let optimizer = match self.plan.scheme {
            Scheme::EveryStep => Vec::new(),
            _ => trainer.optimizer_state()?,
        };
        Ok(Work {
            payload,
            state: NodeState { optimizer, memory },
        })
    }
}

/// Running mean of gradients over `count` earlier ones.
fn accumulate(mean: &mut Vec<f32>, gradient: &[f32], count: u64) {
    if mean.is_empty() {
        mean.extend_from_slice(gradient);
        return;
    }
    let part = 1.0 / (count + 1) as f32;
    for (mean, value) in mean.iter_mut().zip(gradient) {
        *mean += part * (value - *mean);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn states_round_trip_and_rubbish_is_refused() {
        let memory: Vec<u8> = [1.5_f32, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let state = NodeState {
            optimizer: vec![1, 2, 3],
            memory: Memory::from_bytes(&memory, 2).unwrap(),
        };
        let bytes = state.to_bytes();
        assert_eq!(NodeState::from_bytes(&bytes, 2).unwrap(), state);
        let empty = NodeState::default();
        assert_eq!(NodeState::from_bytes(&empty.to_bytes(), 2).unwrap(), empty);
        assert!(NodeState::from_bytes(&bytes, 3).is_err());
        assert!(NodeState::from_bytes(&bytes[..15], 2).is_err());
        let mut long = bytes.clone();
        long[15] = 0xff;
        assert!(NodeState::from_bytes(&long, 2).is_err());
        long = bytes;
        long[4] = 2;
        assert!(NodeState::from_bytes(&long, 2).is_err());
    }

    #[test]
    fn a_commitment_is_its_nodes_and_its_rounds() {
        let (a, b) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
        let payload = Digest::of(b"p");
        let mine = commitment(3, &a, &payload, None, 7);
        for other in [
            commitment(3, &b, &payload, None, 7),
            commitment(4, &a, &payload, None, 7),
            commitment(3, &a, &payload, Some(&payload), 7),
            commitment(3, &a, &payload, None, 8),
        ] {
            assert_ne!(mine, other);
        }
    }
}
