//! The work of a round: honest nodes first, then those who saw what they did.

use std::collections::BTreeMap;

use super::Attack;
use super::arena::{Arena, Made};
use super::report::ArenaError;
use crate::assignment::Assignment;
use crate::codec::Memory;
use crate::local::Task;
use crate::round::NodeId;

/// Rounds that a delayed node is behind.
pub(super) const DELAY: usize = 5;

impl Arena<'_> {
    /// What every assigned node makes of the round.
    pub(super) fn work(
        &mut self,
        assignments: &[Assignment],
        round: u64,
    ) -> Result<BTreeMap<NodeId, Made>, ArenaError> {
        let (mut honest, mut hostile) = (Vec::new(), Vec::new());
        for assignment in assignments {
            match self.peers.get(&assignment.node) {
                Some(peer) if peer.hostile => hostile.push(assignment.node.clone()),
                Some(_) => honest.push(assignment.node.clone()),
                None => {}
            }
        }
        let mut made = BTreeMap::new();
        let mut seen = Vec::new();
        for node in honest {
            let (Some(task), Some(peer)) = (self.task(&node), self.peers.get(&node)) else {
                continue;
            };
            let (state, start) = (peer.state.clone(), self.parameters.clone());
            let (work, tokens) = self.train(task, start, state, |batch| batch)?;
            seen.push(
                self.spec
                    .plan
                    .scheme
                    .decode(&self.geometry, &work.payload)?,
            );
            let work = Made {
                payload: work.payload,
                state: work.state,
                tokens,
            };
            made.insert(node, work);
        }
        let attack = self.spec.hostility.map(|hostility| hostility.attack);
        for node in &hostile {
            if let (Some(attack), Some(task)) = (attack, self.task(node)) {
                let work = self.lie(attack, node, task, &seen, hostile.len(), round)?;
                made.insert(node.clone(), work);
            }
        }
        Ok(made)
    }

    fn lie(
        &mut self,
        attack: Attack,
        node: &NodeId,
        task: Task,
        honest: &[Vec<f32>],
        attackers: usize,
        round: u64,
    ) -> Result<Made, ArenaError> {
        let tokens = task.steps * (self.spec.plan.batch * self.spec.plan.length) as u64;
        let peer = self.peers.get(node);
        let state = peer.map(|peer| peer.state.clone()).unwrap_or_default();
        let repeated = match attack {
            Attack::FreeRiderReplay => peer.and_then(|peer| peer.first.clone()),
            Attack::Copycat => {
                let victim = self.peers.values().find(|peer| !peer.hostile);
                victim.and_then(|peer| peer.last.clone())
            }
            _ => None,
        };
        if let Some(payload) = repeated {
            return Ok(Made {
                payload,
                state,
                tokens,
            });
        }
        let (own, state) = if attack.trains(round == 0) {
            let late = (attack == Attack::Delayed).then(|| self.earlier.front().cloned());
            let start = late.flatten().unwrap_or_else(|| self.parameters.clone());
            let vocabulary = self.spec.vocabulary;
            let change = |batch| attack.batch(batch, vocabulary);
            let (work, _) = self.train(task, start, state, change)?;
            // Those who forge nothing send their work as it is.
            if !matches!(attack, Attack::SignFlip | Attack::Scale) {
                return Ok(Made {
                    payload: work.payload,
                    state: work.state,
                    tokens,
                });
            }
            let own = self
                .spec
                .plan
                .scheme
                .decode(&self.geometry, &work.payload)?;
            (Some(own), work.state)
        } else {
            (None, state)
        };
        let forged = attack.forge(own.as_deref(), honest, attackers, &mut self.draw);
        let mut memory = Memory::default();
        let scheme = self.spec.plan.scheme;
        Ok(Made {
            payload: scheme.encode(&self.geometry, &mut memory, &forged)?,
            state,
            tokens,
        })
    }
}
