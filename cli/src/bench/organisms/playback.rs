//! Recorded training, played back at the pace of the share in force.
//!
//! The models are real and their completions are drawn when they are asked for; only the gradient steps
//! between two checkpoints are not taken again. So every condition of a benchmark governs the very same runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use plumbline_agents::enforce::{Applied, EnforceError, Enforcer, Order};
use plumbline_governance::decision::DecisionTarget;
use plumbline_governance::{Action, Bps};
use plumbline_oracle::exhibit::ReplaySampling;
use plumbline_oracle_candle::{CheckpointRunner, RunnerError};
use plumbline_service::host::{FrozenCheckpoint, Generated, HostError, RunHost, Sampling};
use plumbline_service::views::{ContributionView, ModelView, NodeView, RoundView, TrainingView};
use plumbline_training_model::Generator;
use plumbline_training_net::organisms::Grown;

use crate::completions::completions;
use crate::embedded::replay;

const FULL_BPS: f64 = 10_000.0;

/// Any number of recorded runs; clones are the same.
#[derive(Clone, Default)]
pub struct Playback {
    runs: Arc<Mutex<BTreeMap<String, Tape>>>,
}

/// One recorded run.
struct Tape {
    name: String,
    parameters: u64,
    loss_first: f64,
    loss_last: f64,
    checkpoints: Vec<Frame>,
    /// Tokens per second with the whole pool.
    pace: f64,
    share_bps: u16,
    tokens: f64,
    moved_at: Instant,
}

/// One recorded checkpoint.
struct Frame {
    tokens: u64,
    hash: String,
    generator: Arc<Generator>,
}

impl Tape {
    fn last(&self) -> f64 {
        self.checkpoints
            .last()
            .map_or(0.0, |frame| frame.tokens as f64)
    }

    /// Goes on to now under the share so far.
    fn wind(&mut self) {
        let now = Instant::now();
        let seconds = now.duration_since(self.moved_at).as_secs_f64();
        self.moved_at = now;
        let share = f64::from(self.share_bps) / FULL_BPS;
        self.tokens = (self.tokens + seconds * self.pace * share).min(self.last());
    }

    /// Checkpoints made so far.
    fn reached(&self) -> impl DoubleEndedIterator<Item = (usize, &Frame)> {
        let made = |frame: &Frame| frame.tokens as f64 <= self.tokens;
        let count = self.checkpoints.partition_point(made);
        self.checkpoints[..count].iter().enumerate()
    }

    fn newest(&self) -> Option<(usize, &Frame)> {
        self.reached().next_back()
    }

    fn status(&self) -> &'static str {
        match self.share_bps {
            _ if self.tokens >= self.last() => "finished",
            0 => "paused",
            _ => "training",
        }
    }

    fn view(&self, id: &str) -> TrainingView {
        TrainingView {
            run_id: id.to_owned(),
            name: self.name.clone(),
            status: self.status().to_owned(),
            parameters: self.parameters,
            round: self.newest().map_or(0, |(at, _)| at as u64 + 1),
            tokens: self.tokens as u64,
            loss_first: Some(self.loss_first),
            loss_last: Some(self.loss_last),
            tokens_per_second: match self.status() {
                "training" => self.pace * f64::from(self.share_bps) / FULL_BPS,
                _ => 0.0,
            },
            share_bps: self.share_bps.into(),
            bytes_sent: 0,
            bytes_every_step: 0,
            members: 1,
            checkpoint: self.newest().map(|(_, frame)| frame.hash.clone()),
        }
    }
}

impl Playback {
    /// Adds a run of the service. Nothing moves before it has a share.
    pub fn add(&self, run_id: &str, name: &str, grown: &Grown, pace: f64) -> Result<()> {
        let mut checkpoints = Vec::with_capacity(grown.checkpoints.len());
        for saved in &grown.checkpoints {
            checkpoints.push(Frame {
                tokens: saved.tokens,
                hash: saved.hash.clone(),
                generator: Arc::new(grown.generator(saved)?),
            });
        }
        let tape = Tape {
            name: name.to_owned(),
            parameters: grown.parameters,
            loss_first: grown.loss_first,
            loss_last: grown.loss_last,
            checkpoints,
            pace,
            share_bps: 0,
            tokens: 0.0,
            moved_at: Instant::now(),
        };
        self.tapes().insert(run_id.to_owned(), tape);
        Ok(())
    }

    /// Every run, wound on to now.
    fn tapes(&self) -> MutexGuard<'_, BTreeMap<String, Tape>> {
        // Plain numbers: usable whoever died while holding them.
        let mut tapes = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        tapes.values_mut().for_each(Tape::wind);
        tapes
    }

    /// The run and the generator that a model name means: `name`, `id`, `hash` or `name@hash`. Checkpoints
    /// that are still to come are not there.
    fn find(&self, model: &str) -> Option<(String, Option<Arc<Generator>>)> {
        let hash = model.rsplit_once('@').map_or(model, |(_, hash)| hash);
        let tapes = self.tapes();
        let pinned = tapes.iter().find_map(|(id, tape)| {
            let (_, frame) = tape.reached().find(|(_, frame)| frame.hash == hash)?;
            Some((id.clone(), Some(Arc::clone(&frame.generator))))
        });
        pinned.or_else(|| {
            let (id, tape) = tapes
                .iter()
                .find(|(id, tape)| *id == model || tape.name == model)?;
            let newest = tape.newest();
            Some((
                id.clone(),
                newest.map(|(_, frame)| Arc::clone(&frame.generator)),
            ))
        })
    }
}

impl RunHost for Playback {
    fn training(&self, run_id: &str) -> Option<TrainingView> {
        self.tapes().get(run_id).map(|tape| tape.view(run_id))
    }

    fn rounds(&self, _run_id: &str, _after: u64, _limit: usize) -> Vec<RoundView> {
        Vec::new()
    }

    fn nodes(&self, _run_id: &str) -> Vec<NodeView> {
        Vec::new()
    }

    fn contributions(&self, _run_id: &str) -> Vec<ContributionView> {
        Vec::new()
    }

    fn freeze(&self, run_id: &str) -> Result<FrozenCheckpoint, HostError> {
        let tapes = self.tapes();
        let tape = tapes
            .get(run_id)
            .ok_or_else(|| HostError::UnknownModel(run_id.to_owned()))?;
        let (at, frame) = tape
            .newest()
            .ok_or_else(|| HostError::NotReady(run_id.to_owned()))?;
        Ok(FrozenCheckpoint {
            id: frame.hash.clone(),
            round: at as u64 + 1,
            tokens: frame.tokens,
        })
    }

    fn models(&self) -> Vec<ModelView> {
        let tapes = self.tapes();
        let mut models = Vec::new();
        for (id, tape) in tapes.iter() {
            models.extend(tape.reached().map(|(at, frame)| ModelView {
                id: format!("{}@{}", tape.name, frame.hash),
                run_id: id.clone(),
                checkpoint: Some(frame.hash.clone()),
                created: at as i64,
            }));
        }
        models
    }

    fn run_of(&self, model: &str) -> Option<String> {
        self.find(model).map(|(run, _)| run)
    }

    fn complete(
        &self,
        model: &str,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Generated>, HostError> {
        let (_, generator) = self
            .find(model)
            .ok_or_else(|| HostError::UnknownModel(model.to_owned()))?;
        let generator = generator.ok_or_else(|| HostError::NotReady(model.to_owned()))?;
        completions(&generator, prompts, sampling)
    }
}

impl CheckpointRunner for Playback {
    fn complete_batch(
        &self,
        checkpoint: &str,
        prompts: &[String],
        sampling: &ReplaySampling,
    ) -> Result<Vec<String>, RunnerError> {
        let found = self.find(checkpoint).and_then(|(_, generator)| generator);
        let generator = found.ok_or_else(|| RunnerError::Unreachable {
            checkpoint: checkpoint.to_owned(),
            reason: "no such checkpoint".to_owned(),
        })?;
        replay(&generator, checkpoint, prompts, sampling)
    }
}

impl Enforcer for Playback {
    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        let run = order.target.uid.to_string();
        let share = match order.action {
            Action::Allow | Action::Throttle => order.share_bps,
            Action::Pause | Action::Drain | Action::Terminate => Bps::ZERO,
        };
        let mut tapes = self.tapes();
        let tape = tapes
            .get_mut(&run)
            .ok_or_else(|| EnforceError(format!("no run {run}")))?;
        tape.share_bps = share.get();
        Ok(Applied {
            actual_bps: share,
            method: "pace of a recorded training".to_owned(),
        })
    }

    fn controls(&self, target: &DecisionTarget) -> bool {
        self.tapes().contains_key(&target.uid.to_string())
    }

    /// Training admits no requests; the share is all there is to hold.
    async fn admission(&mut self, _order: &Order) {}
}
