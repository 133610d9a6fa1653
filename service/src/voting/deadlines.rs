//! What happens to proposals without anybody asking: deadlines, found by an index on every tick so that a
//! restart forgets none, and execution once a time lock is over.

use plumbline_access::Action;
use plumbline_governance::voting::proposal::{Event, State};
use plumbline_store::{Tx, proposals};
use serde_json::json;

use super::actions;
use super::motion::Motion;
use super::view;
use crate::accounts::account_of;
use crate::context::Context;
use crate::time::Millis;
use crate::views::ProposalView;
use crate::{Result, Service, ServiceConfig, ServiceError};

/// Proposals looked at in one tick.
const PER_TICK: i64 = 50;

impl Service {
    /// Moves every proposal on that something is due for. Called on every tick.
    pub(crate) fn advance_proposals(&self) -> Result<()> {
        let now = self.now();
        let due = self.read(|tx| Ok(proposals::due(tx, now, PER_TICK)?))?;
        for id in due {
            if let Err(error) = self.advance_proposal(&id) {
                // One proposal that cannot go on must not hold up the others.
                tracing::warn!(proposal = %id, %error, "cannot move the proposal on");
            }
        }
        Ok(())
    }

    fn advance_proposal(&self, id: &str) -> Result<()> {
        let (config, target) = (self.config.clone(), id.to_owned());
        let execute = self.write_at(move |tx, now| look(tx, &config, &target, now))?;
        if !execute {
            return Ok(());
        }
        let (config, target) = (self.config.clone(), id.to_owned());
        let done = self.write_at(move |tx, now| execute_now(tx, &config, &target, now));
        let Err(error) = done else {
            return Ok(());
        };
        let target = id.to_owned();
        self.write_at(move |tx, now| failed(tx, &target, &error, now))
    }

    /// Executes an approved proposal whose time lock is over; the service does it by itself on its next
    /// look. Anybody with a vote may ask.
    ///
    /// # Errors
    /// `time-locked`, `not-approved`, `executed-already`, `proposal-over`, and whatever keeps the effect from
    /// being made now.
    pub fn execute_proposal(&self, ctx: &Context, id: &str) -> Result<ProposalView> {
        self.allow(&ctx.actor, Action::ExecuteProposal)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        let config = self.config.clone();
        self.write_once(ctx, move |tx, now| {
            execute_now(tx, &config, &id, now)?;
            let row = proposals::get(tx, &id)?;
            view::whole(tx, row, Some(&account), now)
        })
    }
}

/// What time changes; whether the effect is due comes back.
fn look(tx: &mut Tx, config: &ServiceConfig, id: &str, now: Millis) -> Result<bool> {
    let mut motion = Motion::load(tx, id)?;
    let event = Event::Look(motion.tally);
    let execute = motion.step(tx, config, &event, now)?;
    if matches!(motion.state, State::Rejected { .. }) {
        actions::rejected(tx, &motion, now)?;
    }
    motion.save(tx, now)?;
    Ok(execute)
}

/// The effect and the mark that it was made, together.
fn execute_now(tx: &mut Tx, config: &ServiceConfig, id: &str, now: Millis) -> Result<()> {
    let mut motion = Motion::load(tx, id)?;
    motion.step(tx, config, &Event::Execute, now)?;
    let done = actions::execute(tx, config, &motion, now)?;
    motion.row.outcome = Some(done.to_string());
    motion.save(tx, now).map(drop)
}

/// Keeps why an effect could not be made; it is tried again until the proposal expires.
fn failed(tx: &mut Tx, id: &str, error: &ServiceError, now: Millis) -> Result<()> {
    let mut motion = Motion::load(tx, id)?;
    if motion.state.is_over() {
        return Ok(());
    }
    let first = motion.row.outcome.is_none();
    let why = json!({"error": error.code(), "detail": error.to_string()});
    motion.row.outcome = Some(why.to_string());
    if first {
        motion.note(tx, &format!("not executed: {error}"), now)?;
    }
    motion.save(tx, now).map(drop)
}
