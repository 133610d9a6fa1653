//! The driver of a whole run.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::SigningKey;

use super::Attack;
use super::report::{ArenaError, ArenaReport, ArenaSpec};
use crate::codec::{Geometry, Scheme};
use crate::digest::Digest;
use crate::draw::Draw;
use crate::local::{LocalRound, NodeState, Task, Work, commitment};
use crate::outer::{Nesterov, OuterStep, Weighted};
use crate::round::{
    Contribution, DeadlineRule, Effect, Event, NodeId, Origin, RoundRules, RoundState, step,
};
use crate::time::Micros;
use crate::trainer::{LocalTrainer, SequenceSource};
use crate::verify::statement::node_of;
use crate::verify::{Ban, Equivocation, Evidence, Lottery, Screen, Statement, compare};

/// Sequences from here on are assigned to nobody.
pub(super) const HELD_OUT: u64 = 1 << 40;
/// Virtual time of a round's phases.
const MOMENT: Micros = Micros(1_000);
/// A node as the driver knows it.
pub(super) struct Peer {
    pub(super) key: SigningKey,
    pub(super) hostile: bool,
    pub(super) state: NodeState,
    /// What it sent in its first and in its last round.
    pub(super) first: Option<Vec<u8>>,
    pub(super) last: Option<Vec<u8>>,
}

/// What a node made in a round.
pub(super) struct Made {
    pub(super) payload: Vec<u8>,
    pub(super) state: NodeState,
    pub(super) tokens: u64,
}

/// A run under way.
pub struct Arena<'a> {
    pub(super) spec: ArenaSpec,
    pub(super) trainer: &'a mut dyn LocalTrainer,
    pub(super) data: &'a dyn SequenceSource,
    pub(super) geometry: Geometry,
    pub(super) parameters: Vec<f32>,
    /// Parameters of the last rounds, oldest first.
    pub(super) earlier: VecDeque<Vec<f32>>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) draw: Draw,
    pub(super) state: RoundState,
    outer: OuterStep,
    /// The one optimiser of every-step training.
    central: Vec<u8>,
    pub(super) lottery: Lottery,
    pub(super) screen: Screen,
    pub(super) made: BTreeMap<NodeId, Made>,
    pub(super) deltas: BTreeMap<NodeId, Vec<f32>>,
    due: Vec<Ban>,
    now: Micros,
    pub(super) report: ArenaReport,
}

impl<'a> Arena<'a> {
    /// A run from the replica's parameters.
    ///
    /// # Errors
    /// [`ArenaError::Round`] for settings that make no round.
    pub fn new(
        spec: ArenaSpec,
        trainer: &'a mut dyn LocalTrainer,
        data: &'a dyn SequenceSource,
    ) -> Result<Self, ArenaError> {
        let geometry = Geometry::new(&trainer.shapes())?;
        let parameters = trainer.parameters()?;
        let (peers, report) = peers(&spec)?;
        let origin = Origin {
            run_seed: spec.seed,
            round: 0,
            parameters: digest_of(&parameters),
            cursor: 0,
            tokens: 0,
        };
        let outer = match spec.plan.scheme {
            Scheme::SparseLoCo(options) => OuterStep::Plain(options.rate),
            _ => OuterStep::Nesterov(Nesterov::new(spec.outer, parameters.len())),
        };
        let secret = Digest::derive(
            "plumbline 2026 test-bed secret v1",
            &[&spec.seed.to_le_bytes()],
        );
        let rate = spec.verify.map_or(0, |rules| rules.audit_bps);
        Ok(Self {
            state: RoundState::new(rules(&spec), origin, Micros(0))?,
            draw: Draw::new("plumbline 2026 test-bed v1", &[&spec.seed.to_le_bytes()]),
            lottery: Lottery::new(secret.0, rate),
            screen: Screen::default(),
            earlier: VecDeque::new(),
            central: Vec::new(),
            made: BTreeMap::new(),
            deltas: BTreeMap::new(),
            due: Vec::new(),
            now: Micros(0),
            outer,
            geometry,
            parameters,
            peers,
            report,
            spec,
            trainer,
            data,
        })
    }

    /// Runs every round.
    ///
    /// # Errors
    /// [`ArenaError`].
    pub fn run(mut self) -> Result<ArenaReport, ArenaError> {
        self.measure()?;
        let nodes: Vec<NodeId> = self.peers.keys().cloned().collect();
        for node in nodes {
            self.send(&Event::Join { node })?;
        }
        // Voided rounds use up numbers too; they are bounded by evictions.
        let most = self.spec.rounds.saturating_mul(2) + 16;
        for _ in 0..most {
            if self.state.round() >= self.spec.rounds + self.report.voided {
                break;
            }
            self.round()?;
        }
        self.report.tokens = self.state.tokens();
        Ok(self.report)
    }

    fn round(&mut self) -> Result<(), ArenaError> {
        self.tick(MOMENT)?;
        let Some(open) = self.state.open().cloned() else {
            return Ok(());
        };
        let round = self.state.round();
        let made = self.work(&open.assignments, round)?;
        for (node, made) in &made {
            let digest = commit_digest(round, node, made);
            let commit = Event::Commit {
                node: node.clone(),
                round,
                digest,
                tokens: made.tokens,
            };
            self.send(&commit)?;
            self.promise_twice(node, round, digest)?;
        }
        self.made = made;
        let hidden = |node: &NodeId, arena: &Self| {
            let withholds = arena.spec.hostility.map(|h| h.attack) == Some(Attack::Withholding);
            withholds && arena.peers.get(node).is_some_and(|peer| peer.hostile)
        };
        let shown: Vec<(NodeId, Digest)> = self
            .made
            .iter()
            .filter(|(node, _)| !hidden(node, self))
            .map(|(node, made)| (node.clone(), commit_digest(round, node, made)))
            .collect();
        for (node, digest) in shown {
            self.send(&Event::Reveal { node, digest })?;
        }
        if self.state.round() == round {
            // Somebody keeps a promise to himself: the phase runs out.
            self.tick(Micros::from_secs(10))?;
        }
        self.settle_bans()?;
        let done = self.state.round();
        let last = done >= self.spec.rounds + self.report.voided;
        if last || done.is_multiple_of(self.spec.measure_every.max(1)) {
            self.measure()?;
        }
        Ok(())
    }

    /// Two signed commitments for one round reach each other by gossip.
    fn promise_twice(
        &mut self,
        node: &NodeId,
        round: u64,
        digest: Digest,
    ) -> Result<(), ArenaError> {
        let doubles = self.spec.hostility.map(|h| h.attack) == Some(Attack::Equivocation);
        let Some(peer) = self.peers.get(node).filter(|peer| doubles && peer.hostile) else {
            return Ok(());
        };
        let run = Digest::of(&self.spec.seed.to_le_bytes());
        let say = |what| Statement::sign(&peer.key, run, round, what);
        let second = Digest::of(&digest.0);
        if let Ok(proof) = Equivocation::prove(say(digest)?, say(second)?) {
            self.accuse(node.clone(), round, Evidence::Equivocation(Box::new(proof)));
        }
        Ok(())
    }

    pub(super) fn accuse(&mut self, node: NodeId, round: u64, evidence: Evidence) {
        let Some(rules) = self.spec.verify else {
            return;
        };
        self.due.push(Ban {
            node,
            round,
            evidence,
            slash_bps: rules.slash_bps,
        });
    }

    fn settle_bans(&mut self) -> Result<(), ArenaError> {
        for ban in std::mem::take(&mut self.due) {
            if self.state.banned().contains(&ban.node) {
                continue;
            }
            let node = ban.node.clone();
            self.report.accounts.forfeit(&node);
            self.send(&Event::Ban { node })?;
            self.report.bans.push(ban);
        }
        Ok(())
    }

    fn tick(&mut self, time: Micros) -> Result<(), ArenaError> {
        self.now = self.now.plus(time);
        self.send(&Event::Tick)
    }

    fn send(&mut self, event: &Event) -> Result<(), ArenaError> {
        let mut events = VecDeque::from([event.clone()]);
        while let Some(event) = events.pop_front() {
            let (next, effects) = step(&self.state, &event, self.now)?;
            self.state = next;
            for effect in effects {
                events.extend(self.perform(effect)?);
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<Option<Event>, ArenaError> {
        match effect {
            Effect::Audit {
                round,
                contributions,
            } => {
                let rejected = self.audit(round, &contributions)?;
                Ok(Some(Event::Audited { rejected }))
            }
            Effect::Aggregate { contributions, .. } => {
                self.aggregate(&contributions)?;
                let parameters = digest_of(&self.parameters);
                Ok(Some(Event::Aggregated { parameters }))
            }
            Effect::Closed {
                round,
                contributions,
                missed,
                ..
            } => {
                self.report.rounds += 1;
                self.report
                    .accounts
                    .close_round(round, &contributions, &missed);
                self.keep();
                Ok(None)
            }
            Effect::Voided { .. } => {
                self.report.voided += 1;
                self.keep();
                Ok(None)
            }
            Effect::Evicted { node } => {
                if self.report.hostile.contains(&node) {
                    self.report.evicted.push((node, self.state.round()));
                }
                Ok(None)
            }
            Effect::Opened { .. } | Effect::RequestReveals { .. } => Ok(None),
        }
    }

    /// Everybody goes on from what the round led to.
    fn keep(&mut self) {
        for (node, made) in std::mem::take(&mut self.made) {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.first.get_or_insert_with(|| made.payload.clone());
                peer.last = Some(made.payload);
                peer.state = made.state;
            }
        }
        self.deltas.clear();
    }
    pub(super) fn task(&self, node: &NodeId) -> Option<Task> {
        let open = self.state.open()?;
        let mine = open.assignments.iter().find(|a| a.node == *node)?;
        Some(Task {
            round: self.state.round(),
            first: mine.start,
            steps: mine.count / self.spec.plan.batch.max(1) as u64,
            tokens_before: self.state.tokens(),
            members: open.assignments.len() as u64,
        })
    }

    /// A round of local work on the one replica.
    pub(super) fn train(
        &mut self,
        task: Task,
        start: Vec<f32>,
        state: NodeState,
        change: impl Fn(crate::trainer::Batch) -> crate::trainer::Batch,
    ) -> Result<(Work, u64), ArenaError> {
        let plan = self.spec.plan;
        let mut local = LocalRound::begin(self.trainer, plan, task, start, state)?;
        while !local.is_done() {
            let batch = self
                .data
                .batch(local.next_sequence(), plan.batch, plan.length);
            local.step(self.trainer, &change(batch))?;
        }
        let tokens = local.report().tokens;
        Ok((local.finish(self.trainer, &self.geometry)?, tokens))
    }

    fn aggregate(&mut self, contributions: &[Contribution]) -> Result<(), ArenaError> {
        let weighted: Vec<Weighted<'_>> = contributions
            .iter()
            .filter_map(|contribution| {
                let delta = self.deltas.get(&contribution.node)?;
                let tokens = contribution.tokens;
                Some(Weighted { delta, tokens })
            })
            .collect();
        let delta = self.spec.aggregator.build().aggregate(&weighted)?;
        self.earlier.push_back(self.parameters.clone());
        if self.earlier.len() > super::hostile::DELAY {
            self.earlier.pop_front();
        }
        let tokens = self.state.tokens();
        if self.spec.plan.scheme == Scheme::EveryStep {
            self.trainer.set_parameters(&self.parameters)?;
            if self.central.is_empty() {
                self.trainer.reset_optimizer()?;
            } else {
                self.trainer.restore_optimizer(&self.central)?;
            }
            self.trainer
                .apply(&delta, self.spec.plan.schedule.rate(tokens))?;
            self.central = self.trainer.optimizer_state()?;
            self.parameters = self.trainer.parameters()?;
        } else {
            self.outer.step(&mut self.parameters, &delta, tokens)?;
        }
        // A run that was blown up stays a run: its loss says what happened.
        for value in &mut self.parameters {
            if !value.is_finite() || value.abs() > 1e6 {
                *value = if value.is_nan() {
                    0.0
                } else {
                    value.clamp(-1e6, 1e6)
                };
            }
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<(), ArenaError> {
        let rows = self.spec.held_out_rows.max(1);
        let batch = self.data.batch(HELD_OUT, rows, self.spec.plan.length);
        self.trainer.set_parameters(&self.parameters)?;
        let loss = f64::from(self.trainer.evaluate(&batch)?);
        let loss = if loss.is_nan() { f64::INFINITY } else { loss };
        self.report.losses.push(loss);
        Ok(())
    }
}

/// The nodes with their keys; the first ones are the hostile ones.
fn peers(spec: &ArenaSpec) -> Result<(BTreeMap<NodeId, Peer>, ArenaReport), ArenaError> {
    let hostile = spec.hostility.map_or(0, |hostility| hostility.nodes);
    let mut peers = BTreeMap::new();
    let mut report = ArenaReport {
        hostile_from: spec.hostility.map_or(0, |h| h.attack.first_round()),
        ..ArenaReport::default()
    };
    for number in 0..spec.nodes {
        let seed = Digest::derive(
            "plumbline 2026 test-bed key v1",
            &[&spec.seed.to_le_bytes(), &number.to_le_bytes()],
        );
        let key = SigningKey::from_bytes(&seed.0);
        let node = node_of(&key)?;
        if number < hostile {
            report.hostile.insert(node.clone());
        }
        let peer = Peer {
            key,
            hostile: number < hostile,
            state: NodeState::default(),
            first: None,
            last: None,
        };
        peers.insert(node, peer);
    }
    Ok((peers, report))
}

fn rules(spec: &ArenaSpec) -> RoundRules {
    let sequences = spec.inner_steps.saturating_mul(spec.plan.batch as u64);
    RoundRules {
        quorum: 1,
        max_members: spec.nodes.max(1),
        warm_up: Micros(1),
        reveal: Micros::from_secs(5),
        cooldown: MOMENT,
        deadline: DeadlineRule::default(),
        max_age: 0,
        max_missed: 1,
        sequences_per_node: sequences,
        tokens_per_node: sequences.saturating_mul(spec.plan.length as u64),
        unit: 0,
    }
}

fn commit_digest(round: u64, node: &NodeId, made: &Made) -> Digest {
    let state = compare::state_digest(&made.state);
    let payload = Digest::of(&made.payload);
    commitment(round, node, &payload, Some(&state), made.tokens)
}

fn digest_of(parameters: &[f32]) -> Digest {
    let bytes: Vec<u8> = parameters.iter().flat_map(|v| v.to_le_bytes()).collect();
    Digest::of(&bytes)
}
