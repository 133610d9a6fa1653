//! The transitions.

use super::{
    Commitment, Contribution, Effect, Event, Member, NodeId, OpenRound, Phase, RoundError,
    RoundState, VoidReason,
};
use crate::assignment::{assign, round_seed, shares};
use crate::digest::Digest;
use crate::time::Micros;

/// Applies one event at `now` and gives the next state and what to do.
///
/// `now` may not go backwards; if it does, it counts as the last time seen.
///
/// # Errors
/// [`RoundError`] when the event is not possible; the caller keeps the old state.
pub fn step(
    state: &RoundState,
    event: &Event,
    now: Micros,
) -> Result<(RoundState, Vec<Effect>), RoundError> {
    let mut next = state.clone();
    let mut effects = Vec::new();
    next.pass_time(now);
    next.apply(event, &mut effects)?;
    while next.advance(&mut effects) {}
    Ok((next, effects))
}

impl RoundState {
    fn pass_time(&mut self, now: Micros) {
        self.allotted += u128::from(now.since(self.now).0) * u128::from(self.rate_bps);
        self.now = self.now.max(now);
    }

    fn apply(&mut self, event: &Event, effects: &mut Vec<Effect>) -> Result<(), RoundError> {
        match event {
            Event::Join { node } => self.join(node),
            Event::Leave { node } => {
                self.leave(node);
                Ok(())
            }
            Event::Ban { node } => {
                self.ban(node);
                Ok(())
            }
            Event::Measured { node, speed } => {
                let member = self.members.get_mut(node);
                if let Some(member) = member.filter(|member| member.speed == 0) {
                    member.speed = *speed;
                }
                Ok(())
            }
            Event::Commit {
                node,
                round,
                digest,
                tokens,
            } => self.commit(node, *round, *digest, *tokens),
            Event::Reveal { node, digest } => self.reveal(node, *digest),
            Event::Audited { rejected } => self.audited(rejected, effects),
            Event::Aggregated { parameters } => self.aggregated(*parameters, effects),
            Event::Rate { bps } => {
                self.rate_bps = (*bps).min(crate::pacing::FULL_BPS);
                Ok(())
            }
            Event::Tick => Ok(()),
        }
    }

    fn join(&mut self, node: &NodeId) -> Result<(), RoundError> {
        if self.banned.contains(node) {
            return Err(RoundError::Banned(node.clone()));
        }
        if self.members.contains_key(node) {
            return Ok(());
        }
        if self.members.len() >= self.rules.max_members {
            return Err(RoundError::Full(self.members.len()));
        }
        let member = Member {
            joined: self.round,
            missed: 0,
            speed: 0,
        };
        self.members.insert(node.clone(), member);
        Ok(())
    }

    /// A payload that was already shown stays in the round: its work is done
    /// and checked. A bare promise goes with its node.
    fn leave(&mut self, node: &NodeId) {
        self.members.remove(node);
        if let Some(open) = &mut self.open
            && open.commitments.get(node).is_some_and(|c| !c.revealed)
        {
            open.commitments.remove(node);
        }
    }

    /// What a liar has shown in this round is not counted either, unless the
    /// outer step is being taken already.
    fn ban(&mut self, node: &NodeId) {
        self.banned.insert(node.clone());
        self.leave(node);
        if self.phase != Phase::Aggregate
            && let Some(open) = &mut self.open
        {
            open.commitments.remove(node);
        }
    }

    fn commit(
        &mut self,
        node: &NodeId,
        round: u64,
        digest: Digest,
        tokens: u64,
    ) -> Result<(), RoundError> {
        let current = self.round;
        let most = self.tokens_most(node);
        let oldest = current.saturating_sub(self.rules.max_age);
        if !self.members.contains_key(node) {
            return Err(RoundError::NotMember(node.clone()));
        }
        if round > current || round < oldest {
            return Err(RoundError::Stale { round, current });
        }
        if tokens == 0 || tokens > most {
            return Err(RoundError::Tokens {
                claimed: tokens,
                most,
            });
        }
        let collecting = matches!(self.phase, Phase::Train | Phase::Commit);
        let elapsed = self.allotted_time();
        let open = match &mut self.open {
            Some(open) => open,
            None => return Err(RoundError::WrongPhase("no round is open")),
        };
        if let Some(earlier) = open.commitments.get(node) {
            let same = earlier.digest == digest && earlier.tokens == tokens;
            return same
                .then_some(())
                .ok_or_else(|| RoundError::AlreadyCommitted(node.clone()));
        }
        if !collecting {
            return Err(RoundError::WrongPhase("committing is over"));
        }
        let age = current - round;
        if age == 0 {
            let Some(mine) = open.assignments.iter().find(|a| a.node == *node) else {
                return Err(RoundError::NotAssigned(node.clone()));
            };
            let taken = elapsed.since(open.opened).0;
            if let Some(member) = self.members.get_mut(node) {
                member.speed = seen_speed(member.speed, mine.count, taken);
            }
            self.durations.push_back(taken);
            if self.durations.len() > self.rules.deadline.window {
                self.durations.pop_front();
            }
        }
        let commitment = Commitment {
            digest,
            tokens,
            age,
            revealed: false,
        };
        open.commitments.insert(node.clone(), commitment);
        self.phase = Phase::Commit;
        Ok(())
    }

    fn reveal(&mut self, node: &NodeId, digest: Digest) -> Result<(), RoundError> {
        if !matches!(self.phase, Phase::Reveal { .. }) {
            return Err(RoundError::WrongPhase("nothing is being revealed"));
        }
        let commitment = self
            .open
            .as_mut()
            .and_then(|open| open.commitments.get_mut(node))
            .ok_or_else(|| RoundError::NotCommitted(node.clone()))?;
        if commitment.digest != digest {
            return Err(RoundError::RevealMismatch {
                node: node.clone(),
                got: digest,
                want: commitment.digest,
            });
        }
        commitment.revealed = true;
        Ok(())
    }

    fn audited(
        &mut self,
        rejected: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoundError> {
        if self.phase != Phase::Audit {
            return Err(RoundError::WrongPhase("no audit is due"));
        }
        if let Some(open) = &mut self.open {
            for node in rejected {
                if open.commitments.remove(node).is_some() {
                    open.missed.push(node.clone());
                }
            }
            open.missed.sort();
        }
        if self.contributions().len() < self.rules.quorum {
            self.void(VoidReason::Rejected, effects);
            return Ok(());
        }
        self.phase = Phase::Aggregate;
        effects.push(Effect::Aggregate {
            round: self.round,
            contributions: self.contributions(),
        });
        Ok(())
    }

    fn aggregated(
        &mut self,
        parameters: Digest,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoundError> {
        if self.phase != Phase::Aggregate {
            return Err(RoundError::WrongPhase("no aggregate is due"));
        }
        let contributions = self.contributions();
        let Some(open) = self.open.take() else {
            return Err(RoundError::WrongPhase("no round is open"));
        };
        for contribution in &contributions {
            self.tokens = self.tokens.saturating_add(contribution.tokens);
            if let Some(member) = self.members.get_mut(&contribution.node) {
                member.missed = 0;
            }
        }
        let round = self.round;
        self.parameters = parameters;
        self.round += 1;
        effects.push(Effect::Closed {
            round,
            next: self.origin(),
            contributions,
            missed: open.missed.clone(),
            duration: self.now.since(open.opened_at),
        });
        self.blame(&open.missed, effects);
        self.phase = Phase::Cooldown {
            until: self.now.plus(self.rules.cooldown),
        };
        Ok(())
    }

    /// Allotted time that nodes may still train in this round; `None` while they do not.
    pub fn time_left(&self) -> Option<Micros> {
        let trains = matches!(self.phase, Phase::Train | Phase::Commit);
        let open = self.open.as_ref().filter(|_| trains)?;
        let elapsed = self.allotted_time();
        Some(Micros(open.deadline.0.saturating_sub(elapsed.0)))
    }

    /// Takes one transition that is due; `false` when none is.
    fn advance(&mut self, effects: &mut Vec<Effect>) -> bool {
        match self.phase {
            Phase::WarmUp { quorum_since } => self.advance_warm_up(quorum_since, effects),
            Phase::Train | Phase::Commit => self.advance_training(effects),
            Phase::Reveal { until } => self.advance_reveal(until, effects),
            Phase::Audit | Phase::Aggregate => false,
            Phase::Cooldown { until } => {
                let over = self.now >= until;
                if over {
                    self.open_or_warm_up(effects);
                }
                over
            }
        }
    }

    fn advance_warm_up(&mut self, since: Option<Micros>, effects: &mut Vec<Effect>) -> bool {
        let enough = self.members.len() >= self.rules.quorum;
        match (enough, since) {
            (false, None) => false,
            (false, Some(_)) => {
                self.phase = Phase::WarmUp { quorum_since: None };
                false
            }
            (true, None) => {
                self.phase = Phase::WarmUp {
                    quorum_since: Some(self.now),
                };
                true
            }
            (true, Some(since)) => {
                let over = self.now >= since.plus(self.rules.warm_up);
                if over {
                    self.open_round(effects);
                }
                over
            }
        }
    }

    fn advance_training(&mut self, effects: &mut Vec<Effect>) -> bool {
        let elapsed = self.allotted_time();
        let quorum = self.rules.quorum;
        let Some(open) = &self.open else { return false };
        let outstanding = self.outstanding(open);
        let committed = open.commitments.len();
        if committed + outstanding.len() < quorum {
            self.void(VoidReason::MembersLeft, effects);
            return true;
        }
        let late = elapsed >= open.deadline;
        if !outstanding.is_empty() && !late {
            return false;
        }
        if committed >= quorum {
            self.start_reveal(outstanding, effects);
        } else {
            self.extend(&outstanding, effects);
        }
        true
    }

    fn start_reveal(&mut self, outstanding: Vec<NodeId>, effects: &mut Vec<Effect>) {
        let Some(open) = &mut self.open else { return };
        open.missed.extend(outstanding);
        open.missed.sort();
        effects.push(Effect::RequestReveals {
            round: self.round,
            nodes: open.commitments.keys().cloned().collect(),
        });
        self.phase = Phase::Reveal {
            until: self.now.plus(self.rules.reveal),
        };
    }

    /// Too few commitments at the deadline: give the rest as long again, but
    /// count it against them, so that a run of dead nodes empties itself.
    fn extend(&mut self, outstanding: &[NodeId], effects: &mut Vec<Effect>) {
        let elapsed = self.allotted_time();
        self.blame(outstanding, effects);
        let allowance = self.rules.deadline.allowance(&self.durations);
        if let Some(open) = &mut self.open {
            open.extensions = open.extensions.saturating_add(1);
            let factor = 1_u64.checked_shl(open.extensions).unwrap_or(u64::MAX);
            let longer = allowance.0.saturating_mul(factor);
            let bounded = longer.min(self.rules.deadline.most.0.max(1));
            open.deadline = elapsed.plus(Micros(bounded));
        }
    }

    fn advance_reveal(&mut self, until: Micros, effects: &mut Vec<Effect>) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        let all = open.commitments.values().all(|c| c.revealed);
        if !all && self.now < until {
            return false;
        }
        let withheld: Vec<NodeId> = open
            .commitments
            .iter()
            .filter(|(_, commitment)| !commitment.revealed)
            .map(|(node, _)| node.clone())
            .collect();
        open.commitments.retain(|_, commitment| commitment.revealed);
        open.missed.extend(withheld);
        open.missed.sort();
        if open.commitments.len() < self.rules.quorum {
            self.void(VoidReason::Withheld, effects);
            return true;
        }
        self.phase = Phase::Audit;
        effects.push(Effect::Audit {
            round: self.round,
            contributions: self.contributions(),
        });
        true
    }

    fn open_or_warm_up(&mut self, effects: &mut Vec<Effect>) {
        if self.members.len() >= self.rules.quorum {
            self.open_round(effects);
        } else {
            self.phase = Phase::WarmUp { quorum_since: None };
        }
    }

    fn open_round(&mut self, effects: &mut Vec<Effect>) {
        let seed = round_seed(self.run_seed, self.round);
        let assignments = assign(&seed, self.cursor, self.counts());
        let handed_out = assignments
            .iter()
            .map(|a| a.count)
            .fold(0, u64::saturating_add);
        self.cursor = self.cursor.saturating_add(handed_out);
        let opened = self.allotted_time();
        effects.push(Effect::Opened {
            round: self.round,
            seed,
            parameters: self.parameters,
            assignments: assignments.clone(),
            tokens: self.tokens,
        });
        self.open = Some(OpenRound {
            seed,
            assignments,
            commitments: Default::default(),
            missed: Vec::new(),
            opened,
            deadline: opened.plus(self.rules.deadline.allowance(&self.durations)),
            extensions: 0,
            opened_at: self.now,
        });
        self.phase = Phase::Train;
    }

    /// What each member is to train on, in sequences.
    fn counts(&self) -> Vec<(NodeId, u64)> {
        let per_node = self.rules.sequences_per_node;
        let speeds: Vec<u64> = self.members.values().map(|member| member.speed).collect();
        let counts = shares(per_node, self.rules.unit, &speeds);
        self.members.keys().cloned().zip(counts).collect()
    }

    /// Tokens in what `node` was assigned in this round.
    fn tokens_most(&self, node: &NodeId) -> u64 {
        let per_node = self.rules.tokens_per_node;
        let mine = self
            .open
            .as_ref()
            .and_then(|open| open.assignments.iter().find(|a| a.node == *node));
        mine.map_or(per_node, |mine| {
            let tokens = u128::from(per_node) * u128::from(mine.count);
            let tokens = tokens / u128::from(self.rules.sequences_per_node.max(1));
            u64::try_from(tokens).unwrap_or(u64::MAX)
        })
    }

    /// Ends the round without new parameters. Its number is used up, so that
    /// a late commitment can never be mistaken for one of the next attempt.
    fn void(&mut self, reason: VoidReason, effects: &mut Vec<Effect>) {
        effects.push(Effect::Voided {
            round: self.round,
            reason,
        });
        if let Some(open) = self.open.take() {
            self.blame(&open.missed, effects);
        }
        self.round += 1;
        self.phase = Phase::Cooldown {
            until: self.now.plus(self.rules.cooldown),
        };
    }

    /// Counts a missed round against members and evicts those over the limit.
    fn blame(&mut self, nodes: &[NodeId], effects: &mut Vec<Effect>) {
        for node in nodes {
            let Some(member) = self.members.get_mut(node) else {
                continue;
            };
            member.missed += 1;
            if member.missed > self.rules.max_missed {
                self.leave(node);
                effects.push(Effect::Evicted { node: node.clone() });
            }
        }
    }

    /// Assigned nodes that are still members and have not committed.
    fn outstanding(&self, open: &OpenRound) -> Vec<NodeId> {
        open.assignments
            .iter()
            .map(|assignment| &assignment.node)
            .filter(|node| self.members.contains_key(node) && !open.commitments.contains_key(node))
            .cloned()
            .collect()
    }

    /// The commitments of the open round as contributions, by node.
    fn contributions(&self) -> Vec<Contribution> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        open.commitments
            .iter()
            .map(|(node, commitment)| Contribution {
                node: node.clone(),
                digest: commitment.digest,
                tokens: commitment.tokens,
                age: commitment.age,
            })
            .collect()
    }
}

/// Sequences in 1,000 seconds after `count` took `micros`; half of it is what
/// was known before, so that one odd round does not move much work.
fn seen_speed(before: u64, count: u64, micros: u64) -> u64 {
    let now = u128::from(count) * 1_000_000_000 / u128::from(micros.max(1));
    let now = u64::try_from(now).unwrap_or(u64::MAX).max(1);
    if before == 0 {
        now
    } else {
        before / 2 + now / 2 + (before & now & 1)
    }
}
