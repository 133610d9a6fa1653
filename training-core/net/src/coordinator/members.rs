//! Nodes that come, go, or cannot be reached any more.

use plumbline_training_core::digest::Digest;
use plumbline_training_core::round::{Event, NodeId, Phase, RoundError};

use super::{Coordinator, CoordinatorError};
use crate::message::Message;
use crate::run::NodeStatus;

impl Coordinator {
    /// Members that share this machine's cores.
    pub(super) fn inside_members(&self) -> usize {
        let members = self.state.members().keys();
        members
            .filter(|node| !self.options.transport.is_outside(node))
            .count()
    }

    pub(super) fn announce_rate(&self) -> Result<(), CoordinatorError> {
        if let Some((share, bps)) = self.rate {
            self.options.transport.announce(&Message::Rate {
                bps,
                outside_bps: share,
            })?;
        }
        Ok(())
    }

    pub(super) fn on_hello(
        &mut self,
        node: NodeId,
        holds: Vec<Digest>,
        speed: u64,
    ) -> Result<(), CoordinatorError> {
        self.check_base(&node, &holds)?;
        let known = self.state.members().contains_key(&node);
        let join = Event::Join { node: node.clone() };
        let effects = match self.transition(&join) {
            Ok(effects) => effects,
            Err(error) => {
                tracing::warn!(run = self.options.run, %node, %error, "join refused");
                if matches!(error, RoundError::Banned(_)) {
                    let reason = error.to_string();
                    let refusal = Message::Banned { node, reason };
                    self.options.transport.announce(&refusal)?;
                }
                return Ok(());
            }
        };
        let welcome = Message::Welcome { node: node.clone() };
        self.options.transport.announce(&welcome)?;
        if !known {
            self.node_changed(&node, NodeStatus::Active, None);
            if speed > 0 {
                let node = node.clone();
                self.dispatch(&Event::Measured { node, speed })?;
            }
        }
        self.announce_rate()?;
        if known {
            self.repeat_for(node)?;
        }
        self.perform(effects)
    }

    /// It may have missed the announcement of a round that counts on it.
    fn repeat_for(&self, node: NodeId) -> Result<(), CoordinatorError> {
        let Some(open) = self.state.open() else {
            return Ok(());
        };
        let promised = open.commitments.contains_key(&node);
        let revealing = matches!(self.state.phase(), Phase::Reveal { .. });
        let nodes = vec![node];
        let message = match &self.announced {
            _ if promised && revealing => {
                let round = self.state.round();
                Some(Message::RequestReveals { round, nodes })
            }
            Some(announced) if announced.assignments.iter().any(|a| a.node == nodes[0]) => {
                Some(Message::Open(announced.clone()))
            }
            _ => None,
        };
        match message {
            Some(message) => Ok(self.options.transport.announce(&message)?),
            None => Ok(()),
        }
    }

    /// A node that has lost the state it is to begin from begins afresh. Where
    /// the round under way counts on that state, its work goes back.
    fn check_base(&mut self, node: &NodeId, holds: &[Digest]) -> Result<(), CoordinatorError> {
        let Some(base) = self.bases.get(node).copied() else {
            return Ok(());
        };
        let had = holds.contains(&base) || self.options.transport.get(&base).is_ok();
        if had {
            return Ok(());
        }
        self.forget_base(node);
        if self.state.members().contains_key(node) {
            self.dispatch(&Event::Leave { node: node.clone() })?;
        }
        Ok(())
    }

    pub(super) fn on_bye(
        &mut self,
        node: NodeId,
        failure: Option<String>,
    ) -> Result<(), CoordinatorError> {
        // Whoever trains elsewhere can end itself, not the run.
        if let Some(failure) = &failure
            && !self.options.transport.is_outside(&node)
        {
            self.failure = Some(format!("{node}: {failure}"));
        }
        // A banned node's goodbye changes nothing.
        if !self.state.banned().contains(&node) {
            self.node_changed(&node, NodeStatus::Left, failure);
            self.forget_base(&node);
        }
        self.dispatch(&Event::Leave { node })
    }

    /// Nobody waits for a node whose connection is gone. It may come back and
    /// go on from its state.
    pub(super) fn on_lost(&mut self, node: NodeId, reason: String) -> Result<(), CoordinatorError> {
        let member = self.state.members().contains_key(&node);
        if member && !self.state.banned().contains(&node) {
            tracing::warn!(run = self.options.run, %node, reason, "node lost");
            self.node_changed(&node, NodeStatus::Dead, Some(reason));
        }
        self.dispatch(&Event::Leave { node })
    }

    /// Forgets what was fetched for a reveal that does not count, unless
    /// somebody else showed the same.
    pub(super) fn let_go(&self, payload: &Digest, state: Option<&Digest>) {
        if !self.shown.values().any(|shown| shown.payload == *payload) {
            self.options.transport.forget(payload);
        }
        if let Some(state) = state
            && !self.bases.values().any(|base| base == state)
            && !self.shown.values().any(|s| s.state.as_ref() == Some(state))
        {
            self.options.transport.forget(state);
        }
    }
}
