//! Commitments to evidence: kept in time, too late or never, and overtaken on their way.

use plumbline_service::commands::{CommitEvidence, SubmitEvidence};

use crate::actors::{Actor, Kind};
use crate::behave::Done;
use crate::market::Venue;
use crate::play::{Play, Told};

/// A commitment that its maker means to reveal.
pub(crate) struct Promise {
    /// The turn in which it does.
    turn: usize,
    actor: Actor,
    venue: Venue,
    reveal: SubmitEvidence,
}

impl Play {
    /// Commits to a submission first, and means to show it in some turns: most in time, some too
    /// late, some never.
    pub(crate) fn promise(&mut self, actor: &Actor, venue: &Venue, cmd: SubmitEvidence) -> Done {
        let nonce = format!("{:016x}{:016x}", self.rng.next(), self.rng.next());
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.commit_submission(context, &venue.id, &cmd, &nonce)
        })?;
        let Some(Ok(commitment)) = answer else {
            return Ok(());
        };
        self.told.push(Told::Commitment(commitment.id.clone()));
        let delay = match self.rng.below(10) {
            0 => return Ok(()),
            1 => self.rng.between(5, 8),
            _ => self.rng.between(1, 3),
        };
        self.promises.push(Promise {
            turn: self.turn + delay as usize,
            actor: actor.clone(),
            venue: venue.clone(),
            reveal: SubmitEvidence {
                commitment: Some(commitment.id),
                nonce: Some(nonce),
                ..cmd
            },
        });
        Ok(())
    }

    /// Reveals what is due in this turn. Somebody may see it on its way and be faster.
    pub(crate) fn keep_promises(&mut self) -> Done {
        let turn = self.turn;
        let (due, later) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition(|promise| promise.turn <= turn);
        self.promises = later;
        let due: Vec<Promise> = due;
        for promise in due {
            if self.rng.chance(0.4) {
                self.overtake(&promise)?;
            }
            self.send_evidence(&promise.actor, &promise.venue, &promise.reveal)?;
        }
        Ok(())
    }

    fn overtake(&mut self, promise: &Promise) -> Done {
        let runners: Vec<usize> = (0..self.actors.len())
            .filter(|at| self.actors[*at].kind == Kind::FrontRunner)
            .collect();
        let Some(&at) = self.rng.pick(&runners) else {
            return Ok(());
        };
        let runner = self.actors[at].clone();
        let copy = SubmitEvidence {
            commitment: None,
            nonce: None,
            ..promise.reveal.clone()
        };
        self.send_evidence(&runner, &promise.venue, &copy)
    }

    /// Commits to nothing at all, so that whoever comes later waits for a reveal.
    pub(crate) fn hold_up(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let nothing = blake3::hash(&self.rng.next().to_le_bytes());
        let cmd = CommitEvidence {
            commitment: nothing.to_hex().to_string(),
        };
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.commit_evidence(context, &venue.id, &cmd)
        })?;
        if let Some(Ok(commitment)) = answer {
            self.told.push(Told::Commitment(commitment.id));
        }
        Ok(())
    }
}
