//! The end of a round: outer step, figures, letting go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use plumbline_training_core::assignment::Assignment;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::{OuterStep, Weighted, norm};
use plumbline_training_core::round::{Contribution, NodeId, Origin};
use plumbline_training_core::time::Micros;

use super::{Coordinator, CoordinatorError, Outer};
use crate::board::Snapshot;
use crate::message::Recipe;
use crate::payload::{self, VectorKind};
use crate::run::HistoryPoint;

impl Coordinator {
    /// Takes the outer step and publishes the new parameters.
    pub(super) fn aggregate(
        &mut self,
        contributions: &[Contribution],
    ) -> Result<Digest, CoordinatorError> {
        let weighted: Vec<Weighted<'_>> = contributions
            .iter()
            .filter_map(|contribution| {
                let delta = self.deltas.get(&contribution.node)?;
                let tokens = contribution.tokens;
                Some(Weighted { delta, tokens })
            })
            .collect();
        let delta = self.options.aggregator.aggregate(&weighted)?;
        self.update_norm = norm(&delta);
        let parameters = self.outer_step(&delta)?;
        if parameters.iter().any(|value| !value.is_finite()) {
            return Err(CoordinatorError::Diverged);
        }
        let bytes = payload::encode(VectorKind::Parameters, &parameters);
        self.parameters = Arc::new(parameters);
        self.renew_recipe(contributions, bytes.len() as u64);
        Ok(self.options.transport.put(bytes)?)
    }

    /// Says how the new parameters came about, where the contributions together
    /// are shorter than they are. What a former recipe named is let go.
    fn renew_recipe(&mut self, contributions: &[Contribution], whole: u64) {
        if let Some(former) = self.recipe.take() {
            for (_, payload, _) in &former.contributions {
                self.options.transport.forget(payload);
            }
        }
        let plain = matches!(&self.options.outer, Outer::Step(OuterStep::Plain(_)));
        let shown = contributions.iter().filter_map(|contribution| {
            let shown = self.shown.get(&contribution.node)?;
            Some((&contribution.node, shown, contribution.tokens))
        });
        let bytes: u64 = shown.clone().map(|(_, shown, _)| shown.bytes).sum();
        if !plain || bytes >= whole {
            return;
        }
        let contributions =
            shown.map(|(node, shown, tokens)| (node.clone(), shown.payload, tokens));
        self.recipe = Some(Recipe {
            from: self.state.parameters(),
            tokens: self.state.tokens(),
            contributions: contributions.collect(),
        });
    }

    fn outer_step(&mut self, delta: &[f32]) -> Result<Vec<f32>, CoordinatorError> {
        let tokens = self.state.tokens();
        match &mut self.options.outer {
            Outer::Step(step) => {
                let mut parameters = self.parameters.to_vec();
                step.step(&mut parameters, delta, tokens)?;
                Ok(parameters)
            }
            Outer::Central { trainer, schedule } => {
                trainer.set_parameters(&self.parameters)?;
                trainer.apply(delta, schedule.rate(tokens))?;
                Ok(trainer.parameters()?)
            }
        }
    }

    pub(super) fn close(
        &mut self,
        next: Origin,
        contributions: &[Contribution],
        missed: Vec<NodeId>,
        duration: Micros,
    ) {
        self.rounds += 1;
        let point = self.history_point(&next, contributions, missed, duration);
        self.bytes_sent += point.bytes;
        self.bytes_every_step += point.bytes_every_step;
        let old_bases = self.move_bases(contributions);
        let states = self.states();
        let held = self.held(&states);
        let (velocity, central) = self.outer_state();
        let snapshot = Arc::new(Snapshot {
            origin: next.clone(),
            rounds: self.rounds,
            parameters: Arc::clone(&self.parameters),
            velocity: Arc::new(velocity),
            central: Arc::new(central),
            states,
            held,
            accounts: self.accounts.clone(),
            bans: self.bans.clone(),
            loss_first: self.loss_first,
            loss_last: Some(point.loss),
            bytes_sent: self.bytes_sent,
            bytes_every_step: self.bytes_every_step,
        });
        self.write_board(&snapshot, &point);
        self.options.observer.round_closed(&snapshot, &point);
        let kept = BTreeSet::from([next.parameters]);
        for base in old_bases {
            self.options.transport.forget(&base);
        }
        self.clear_round(&kept);
    }

    fn outer_state(&self) -> (Vec<f32>, Vec<u8>) {
        match &self.options.outer {
            Outer::Step(step) => (step.velocity().to_vec(), Vec::new()),
            Outer::Central { trainer, .. } => {
                // A snapshot without it goes on with a fresh optimiser.
                (Vec::new(), trainer.optimizer_state().unwrap_or_default())
            }
        }
    }

    fn history_point(
        &mut self,
        next: &Origin,
        contributions: &[Contribution],
        missed: Vec<NodeId>,
        duration: Micros,
    ) -> HistoryPoint {
        let (mut loss, mut first, mut weight) = (0.0, 0.0, 0.0);
        let (mut bytes, mut bytes_every_step) = (0, 0);
        let every_step = payload::wire_bytes(self.parameters.len()) as u64;
        let mut node_losses = Vec::new();
        for contribution in contributions {
            let Some(shown) = self.shown.get(&contribution.node) else {
                continue;
            };
            let tokens = contribution.tokens as f64;
            loss += tokens * shown.report.loss;
            first += tokens * shown.report.loss_first;
            weight += tokens;
            bytes += shown.bytes;
            bytes_every_step += every_step * shown.report.steps;
            node_losses.push((contribution.node.clone(), shown.report.loss));
        }
        if weight > 0.0 {
            loss /= weight;
            self.loss_first.get_or_insert(first / weight);
        }
        HistoryPoint {
            round: self.rounds,
            at_ms: unix_ms(),
            tokens: next.tokens,
            loss,
            node_losses,
            missed,
            bytes,
            bytes_every_step,
            seconds: duration.as_secs_f64(),
            share_bps: self.options.control.share(),
            update_norm: self.update_norm,
        }
    }

    /// Counted nodes go on from the state that they showed; gives the states
    /// that nobody begins from any more.
    fn move_bases(&mut self, contributions: &[Contribution]) -> Vec<Digest> {
        let mut old = Vec::new();
        for contribution in contributions {
            let node = &contribution.node;
            let state = self.shown.get(node).and_then(|shown| shown.state);
            // Shown and promised, but not to be had: it begins afresh. A process
            // of its own keeps its state itself.
            let transport = &self.options.transport;
            let state =
                state.filter(|digest| transport.is_outside(node) || transport.get(digest).is_ok());
            let before = match state {
                Some(state) => self.bases.insert(node.clone(), state),
                None => self.bases.remove(node),
            };
            old.extend(before.filter(|before| Some(*before) != state));
        }
        old.retain(|digest| !self.bases.values().any(|base| base == digest));
        old
    }

    /// The states that nodes begin from, as they go into a checkpoint.
    fn states(&self) -> BTreeMap<NodeId, Arc<Vec<u8>>> {
        let bases = self.bases.iter();
        bases
            .filter_map(|(node, digest)| {
                let bytes = self.options.transport.get(digest).ok()?;
                Some((node.clone(), bytes))
            })
            .collect()
    }

    /// Hashes of the states that only their nodes have.
    fn held(&self, states: &BTreeMap<NodeId, Arc<Vec<u8>>>) -> BTreeMap<NodeId, Digest> {
        let bases = self.bases.iter();
        bases
            .filter(|(node, _)| !states.contains_key(*node))
            .map(|(node, digest)| (node.clone(), *digest))
            .collect()
    }

    /// What nodes with an assignment begin from.
    pub(super) fn bases_of(&self, assignments: &[Assignment]) -> BTreeMap<NodeId, Digest> {
        let named = assignments.iter().filter_map(|assignment| {
            let base = self.bases.get(&assignment.node)?;
            Some((assignment.node.clone(), *base))
        });
        named.collect()
    }

    /// A node that left begins afresh should it come back.
    pub(super) fn forget_base(&mut self, node: &NodeId) {
        if let Some(base) = self.bases.remove(node) {
            self.options.transport.forget(&base);
        }
    }

    fn write_board(&mut self, snapshot: &Arc<Snapshot>, point: &HistoryPoint) {
        let mut board = self.options.board.lock();
        board.loss_first = self.loss_first;
        board.snapshot = Some(Arc::clone(snapshot));
        board.note_round(point.clone());
        for (node, account) in self.accounts.iter() {
            let figures = board.node(node);
            figures.credit(account);
            if let Some(shown) = self.shown.get(node) {
                let seconds = Micros(shown.report.cpu_us).as_secs_f64();
                figures.tokens_per_cpu_second = shown.report.tokens as f64 / seconds.max(1e-6);
            }
        }
    }

    /// Lets go of what the round needed, except `kept`.
    pub(super) fn clear_round(&mut self, kept: &BTreeSet<Digest>) {
        for (_, shown) in std::mem::take(&mut self.shown) {
            let recipe = self.recipe.as_ref();
            let named = recipe.is_some_and(|recipe| {
                let mut payloads = recipe.contributions.iter().map(|(_, payload, _)| payload);
                payloads.any(|payload| *payload == shown.payload)
            });
            if !named {
                self.options.transport.forget(&shown.payload);
            }
            let state = shown.state;
            if let Some(state) = state.filter(|state| !self.bases.values().any(|b| b == state)) {
                self.options.transport.forget(&state);
            }
        }
        self.deltas.clear();
        if let Some(announced) = self.announced.take()
            && !kept.contains(&announced.parameters)
            && announced.parameters != self.state.parameters()
        {
            self.options.transport.forget(&announced.parameters);
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}
