//! The end of a round: audit, outer step, figures, letting go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::{Weighted, norm};
use plumbline_training_core::round::{Contribution, NodeId, Origin};
use plumbline_training_core::time::Micros;

use super::{Coordinator, CoordinatorError};
use crate::board::Snapshot;
use crate::payload::{self, VectorKind};
use crate::run::HistoryPoint;

impl Coordinator {
    /// Decodes every contribution; gives the nodes whose payload is not a
    /// finite vector of the model's length.
    pub(super) fn audit(&mut self, contributions: &[Contribution]) -> Vec<NodeId> {
        let mut rejected = Vec::new();
        for contribution in contributions {
            let decoded = self
                .options
                .transport
                .get(&contribution.digest)
                .map_err(|error| error.to_string())
                .and_then(|bytes| {
                    payload::decode(VectorKind::PseudoGradient, &bytes, self.parameters.len())
                        .map_err(|error| error.to_string())
                });
            match decoded {
                Ok(delta) => {
                    self.deltas.insert(contribution.node.clone(), delta);
                }
                Err(error) => {
                    let node = &contribution.node;
                    tracing::warn!(run = self.options.run, %node, error, "contribution rejected");
                    rejected.push(node.clone());
                }
            }
        }
        rejected
    }

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
        let mut parameters = self.parameters.to_vec();
        self.options.outer.step(&mut parameters, &delta)?;
        if parameters.iter().any(|value| !value.is_finite()) {
            return Err(CoordinatorError::Diverged);
        }
        let bytes = payload::encode(VectorKind::Parameters, &parameters);
        self.parameters = Arc::new(parameters);
        Ok(self.options.transport.put(bytes)?)
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
        let states = self.states_of(contributions);
        let snapshot = Arc::new(Snapshot {
            origin: next.clone(),
            rounds: self.rounds,
            parameters: Arc::clone(&self.parameters),
            velocity: Arc::new(self.options.outer.velocity().to_vec()),
            states,
            accounts: self.accounts.clone(),
            loss_first: self.loss_first,
            loss_last: Some(point.loss),
            bytes_sent: self.bytes_sent,
            bytes_every_step: self.bytes_every_step,
        });
        self.write_board(&snapshot, &point);
        self.options.observer.round_closed(&snapshot, &point);
        let kept = BTreeSet::from([next.parameters]);
        self.clear_round(&kept);
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
            bytes_every_step += shown.bytes * shown.report.steps;
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

    /// Inner optimiser states as they are after this round: of nodes that
    /// showed theirs now, and the last known of the others.
    fn states_of(&self, contributions: &[Contribution]) -> BTreeMap<NodeId, Arc<Vec<u8>>> {
        let before = self.options.board.lock().snapshot.clone();
        let mut states = before.map(|s| s.states.clone()).unwrap_or_default();
        states.retain(|node, _| self.state.members().contains_key(node));
        for contribution in contributions {
            let state = self
                .shown
                .get(&contribution.node)
                .and_then(|shown| shown.state);
            if let Some(digest) = state
                && let Ok(bytes) = self.options.transport.get(&digest)
            {
                states.insert(contribution.node.clone(), bytes);
            }
        }
        states
    }

    fn write_board(&mut self, snapshot: &Arc<Snapshot>, point: &HistoryPoint) {
        let mut board = self.options.board.lock();
        board.loss_first = self.loss_first;
        board.snapshot = Some(Arc::clone(snapshot));
        board.note_round(point.clone());
        for (node, account) in self.accounts.iter() {
            let figures = board.node(node);
            (figures.tokens, figures.rounds) = (account.tokens, account.rounds);
            figures.missed = account.missed;
            if let Some(shown) = self.shown.get(node) {
                let seconds = Micros(shown.report.cpu_us).as_secs_f64();
                figures.tokens_per_cpu_second = shown.report.tokens as f64 / seconds.max(1e-6);
            }
        }
    }

    /// Lets go of what the round needed, except `kept`.
    pub(super) fn clear_round(&mut self, kept: &BTreeSet<Digest>) {
        for (node, shown) in std::mem::take(&mut self.shown) {
            self.options.transport.forget(&shown.payload);
            if let Some(state) = shown.state {
                self.options.transport.forget(&state);
            }
            // It has trained since: the state of its earlier life is history.
            if let Some(state) = self.returning.remove(&node) {
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
