//! The driver of a whole run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ed25519_dalek::SigningKey;

use super::Attack;
use crate::aggregate::AggregatorSpec;
use crate::codec::{CodecError, Geometry, PayloadError, Scheme};
use crate::contribution::Accounts;
use crate::digest::Digest;
use crate::draw::Draw;
use crate::local::{InnerPlan, LocalError, LocalRound, NodeState, Task, Work, commitment};
use crate::outer::{Nesterov, OuterError, OuterOptions, OuterStep, Weighted};
use crate::round::{
    Contribution, DeadlineRule, Effect, Event, NodeId, Origin, RoundError, RoundRules, RoundState,
    step,
};
use crate::time::Micros;
use crate::trainer::{LocalTrainer, SequenceSource, TrainerError};
use crate::verify::screen::Shown;
use crate::verify::statement::node_of;
use crate::verify::{
    Ban, Claim, Equivocation, Evidence, Gain, Lottery, Screen, Statement, VerifyRules, compare,
    examine,
};

/// Sequences from here on are assigned to nobody.
const HELD_OUT: u64 = 1 << 40;
/// Virtual time of a round's phases.
const MOMENT: Micros = Micros(1_000);

/// Who is hostile, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hostility {
    /// What they do.
    pub attack: Attack,
    /// How many of the nodes do it.
    pub nodes: usize,
}

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct ArenaSpec {
    /// Nodes, hostile ones included.
    pub nodes: usize,
    /// The hostile ones.
    pub hostility: Option<Hostility>,
    /// Inner steps of a round.
    pub inner_steps: u64,
    /// Rounds.
    pub rounds: u64,
    /// What nodes do in a round.
    pub plan: InnerPlan,
    /// Outer optimiser of DiLoCo.
    pub outer: OuterOptions,
    /// How contributions become one.
    pub aggregator: AggregatorSpec,
    /// How closely they are looked at; not at all without.
    pub verify: Option<VerifyRules>,
    /// Token ids, for attacks that need them.
    pub vocabulary: u32,
    /// Held-out rows that the loss is measured on.
    pub held_out_rows: usize,
    /// The loss is measured every so many rounds, and at the end.
    pub measure_every: u64,
    /// Seeds data order, keys and draws.
    pub seed: u64,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// The machine refused an event of the driver.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// A node's work failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The replica failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The outer step failed.
    #[error(transparent)]
    Outer(#[from] OuterError),
    /// The model's shapes cannot be cut.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The driver's own payload could not be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct ArenaReport {
    /// Held-out loss before the first round and after every measured one, nats
    /// per token; infinite once it is no number.
    pub losses: Vec<f64>,
    /// Rounds that closed.
    pub rounds: u64,
    /// Tokens counted.
    pub tokens: u64,
    /// Bytes of contributions.
    pub bytes: u64,
    /// Contributions that were shown.
    pub contributions: u64,
    /// Of these, recomputed.
    pub audits: u64,
    /// Bans, in order.
    pub bans: Vec<Ban>,
    /// Hostile nodes that were dropped for missing rounds, with the round.
    pub evicted: Vec<(NodeId, u64)>,
    /// Hostile nodes.
    pub hostile: BTreeSet<NodeId>,
    /// The first round in which they were.
    pub hostile_from: u64,
    /// Rounds that came to nothing.
    pub voided: u64,
    /// Accounts.
    pub accounts: Accounts,
}

impl ArenaReport {
    /// The last loss.
    pub fn final_loss(&self) -> f64 {
        self.losses.last().copied().unwrap_or(f64::INFINITY)
    }

    /// Honest nodes that were banned.
    pub fn honest_bans(&self) -> usize {
        let honest = |ban: &&Ban| !self.hostile.contains(&ban.node);
        self.bans.iter().filter(honest).count()
    }

    /// Rounds from the first hostile one until the last hostile node was out;
    /// `None` when some stayed.
    pub fn rounds_to_ban(&self) -> Option<u64> {
        let out: BTreeMap<&NodeId, u64> = self
            .bans
            .iter()
            .map(|ban| (&ban.node, ban.round + 1))
            .chain(self.evicted.iter().map(|(node, round)| (node, round + 1)))
            .collect();
        let rounds = self.hostile.iter().map(|node| out.get(node).copied());
        let last = rounds.collect::<Option<Vec<_>>>()?.into_iter().max()?;
        Some(last.saturating_sub(self.hostile_from))
    }
}

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
    state: RoundState,
    outer: OuterStep,
    /// The one optimiser of every-step training.
    central: Vec<u8>,
    lottery: Lottery,
    screen: Screen,
    made: BTreeMap<NodeId, Made>,
    deltas: BTreeMap<NodeId, Vec<f32>>,
    due: Vec<Ban>,
    now: Micros,
    report: ArenaReport,
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

    fn accuse(&mut self, node: NodeId, round: u64, evidence: Evidence) {
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

    fn audit(
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
        let random = HELD_OUT + (1 << 30) + round * rows as u64;
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
