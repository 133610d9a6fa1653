//! Runs that an operator has this service train: started, stopped, joined by nodes elsewhere, told of.
//!
//! The store says what is wanted of each run, and whatever trains is brought into line with it: when the service
//! starts, and after every request. So a death between the two loses nothing that was answered.

use plumbline_access::Action;
use plumbline_store::Tx;
use plumbline_store::hosted::{self, HostedRun as Row};
use plumbline_store::runs::{self, Run, RunKind};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::{RegisterRun, StartRun};
use crate::context::Context;
use crate::events::publish;
use crate::host::{HostError, HostedRun};
use crate::runs::{check_run, insert_run_row, run_view};
use crate::views::{RunView, SwarmView, TicketView};
use crate::{Result, Service, ServiceError};

/// Runs that are trained at once, at most.
const MOST_RUNS: i64 = 16;
/// What is wanted of a run.
const RUNNING: &str = "running";
const STOPPED: &str = "stopped";

impl Service {
    /// Starts a run here. It trains once a decision says how much it may use.
    ///
    /// # Errors
    /// `bad-run-name`, `bad-run`, `run-name-taken`, `too-many-runs`, `no-training` where nothing trains.
    pub fn start_training(&self, ctx: &Context, cmd: &StartRun) -> Result<RunView> {
        self.allow(&ctx.actor, Action::StartTraining)?;
        check_terms(cmd)?;
        let draft = HostedRun {
            id: self.new_id(),
            name: cmd.name.clone(),
            terms: cmd.clone(),
        };
        let parameters = self.host.examine(&draft)?;
        let run = Run {
            id: draft.id,
            name: draft.name,
            kind: RunKind::Embedded,
            owner_id: account_of(&ctx.actor)?,
            status: "registered".to_owned(),
            base_model: None,
            parameters: i64::try_from(parameters).unwrap_or(i64::MAX),
            tokens: 0,
            created_at: self.now(),
        };
        let terms = draft.terms;
        let view = self.write_once(ctx, move |tx, now| {
            check_room(tx)?;
            insert_run_row(tx, &run, now)?;
            let outside = terms.outside.as_ref();
            let row = Row {
                run_id: run.id.clone(),
                terms: serde_json::to_string(&terms).map_err(ServiceError::internal)?,
                wanted: RUNNING.to_owned(),
                least_stake_micro: outside.map_or(0, |outside| outside.least_stake_micro),
                changed_at: now,
            };
            hosted::insert(tx, &row)?;
            tell(tx, now, &run.id, "started")?;
            Ok(run_view(run))
        })?;
        self.bring_up(&view.id)?;
        self.with_live_figures(view)
    }

    /// Ends the training of a run and keeps its last closed round; it can be resumed.
    ///
    /// # Errors
    /// `not-found` for a run that is not trained here.
    pub fn stop_training(&self, ctx: &Context, run_id: &str) -> Result<RunView> {
        self.want(ctx, run_id, STOPPED)
    }

    /// Goes on with a run that was stopped.
    ///
    /// # Errors
    /// `not-found`, `too-many-runs`, `bad-run` when its data is gone.
    pub fn resume_training(&self, ctx: &Context, run_id: &str) -> Result<RunView> {
        self.want(ctx, run_id, RUNNING)
    }

    fn want(&self, ctx: &Context, run_id: &str, wanted: &'static str) -> Result<RunView> {
        let running = wanted == RUNNING;
        let action = if running {
            Action::StartTraining
        } else {
            Action::StopTraining
        };
        self.allow(&ctx.actor, action)?;
        let run = self.run_row(run_id)?;
        let view = self.write_once(ctx, move |tx, now| {
            let row = hosted_row(tx, &run.id)?;
            if row.wanted != wanted {
                if running {
                    check_room(tx)?;
                }
                hosted::want(tx, &run.id, wanted, now)?;
                let kind = if running { "started" } else { "stopped" };
                tell(tx, now, &run.id, kind)?;
            }
            Ok(run_view(run))
        })?;
        self.bring_up(&view.id)?;
        self.with_live_figures(view)
    }

    /// Brings what trains a run into line with what is wanted of it. Doing it again changes nothing.
    fn bring_up(&self, run_id: &str) -> Result<()> {
        let id = run_id.to_owned();
        let (run, row) = self.read(move |tx| Ok((runs::get(tx, &id)?, hosted_row(tx, &id)?)))?;
        if row.wanted == STOPPED {
            return Ok(self.host.stop(run_id)?);
        }
        let terms = serde_json::from_str(&row.terms).map_err(ServiceError::internal)?;
        let (id, name) = (run.id, run.name);
        let Err(error) = self.host.start(&HostedRun { id, name, terms }) else {
            return self.open_door(run_id);
        };
        let id = run_id.to_owned();
        self.write_at(move |tx, now| {
            runs::set_progress(tx, &id, "failed", run.tokens)?;
            Ok(hosted::want(tx, &id, STOPPED, now)?)
        })?;
        Err(error.into())
    }

    /// Starts every run that is wanted and ends the others, after a start of the program. One that cannot go on is
    /// named in the log and left alone.
    ///
    /// # Errors
    /// Those of the store.
    pub fn bring_up_all(&self) -> Result<()> {
        for wanted in [RUNNING, STOPPED] {
            for row in self.read(move |tx| Ok(hosted::wanted(tx, wanted)?))? {
                if let Err(error) = self.bring_up(&row.run_id) {
                    tracing::error!(run = row.run_id, %error, "cannot bring a run to what is wanted of it");
                }
            }
        }
        Ok(())
    }

    /// Whether an operator had this service train the run.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_hosted(&self, run_id: &str) -> Result<bool> {
        let id = run_id.to_owned();
        self.read(move |tx| Ok(hosted::get(tx, &id)?.is_some()))
    }

    /// What a node elsewhere needs to join.
    ///
    /// # Errors
    /// `run-closed` where nobody can join, `run-not-ready` before its data is prepared.
    pub fn ticket(&self, ctx: &Context, run_id: &str) -> Result<TicketView> {
        self.allow(&ctx.actor, Action::ReadTicket)?;
        let run = self.run_row(run_id)?;
        let ticket = self.host.ticket(&run.id)?;
        let id = run.id.clone();
        let row = self.read(move |tx| Ok(hosted::get(tx, &id)?))?;
        Ok(TicketView {
            run_id: run.id,
            command: format!("plumbline node --join {ticket}"),
            ticket,
            least_stake_micro: row.map_or(0, |row| row.least_stake_micro),
        })
    }

    /// How the nodes of a run work together.
    ///
    /// # Errors
    /// `not-found` for a run that is not trained here.
    pub fn swarm(&self, ctx: &Context, run_id: &str) -> Result<SwarmView> {
        self.allow(&ctx.actor, Action::ReadSwarm)?;
        let run = self.run_row(run_id)?;
        let swarm = self.host.swarm(&run.id);
        swarm.ok_or_else(|| ServiceError::not_found("training run", run_id))
    }

    /// What happened to runs since the last look, as events; and what it means for stakes.
    pub(crate) fn follow_training(&self) -> Result<()> {
        let news = self.host.news();
        if !news.is_empty() {
            self.write_at(move |tx, now| {
                for one in news {
                    let topic = format!("training:{}", one.run_id);
                    publish(tx, now, &topic, one.kind, &one.detail)?;
                }
                Ok(())
            })?;
        }
        self.settle_node_stakes()
    }
}

fn tell(tx: &mut Tx, now: i64, run_id: &str, kind: &str) -> Result<()> {
    publish(tx, now, &format!("training:{run_id}"), kind, &json!({}))
}

fn check_room(tx: &mut Tx) -> Result<()> {
    if hosted::count_running(tx)? < MOST_RUNS {
        return Ok(());
    }
    Err(ServiceError::refused(
        "too-many-runs",
        format!("{MOST_RUNS} runs are trained here at most; stop one first"),
    ))
}

/// A run that is trained here.
pub(crate) fn hosted_row(tx: &mut Tx, run_id: &str) -> Result<Row> {
    hosted::get(tx, run_id)?.ok_or_else(|| ServiceError::not_found("training run", run_id))
}

/// What can be said against the terms without asking whatever trains.
fn check_terms(cmd: &StartRun) -> Result<()> {
    check_run(&RegisterRun {
        name: cmd.name.clone(),
        parameters: 0,
    })?;
    let within = |name: &str, value: u64, least: u64, most: u64| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(ServiceError::invalid(
            "bad-run",
            format!("{name} is {value}, must be {least} to {most}"),
        ))
    };
    let model = &cmd.model;
    within("tokens", cmd.tokens, 1, 1_000_000_000_000)?;
    within(
        "workers",
        cmd.workers.into(),
        u64::from(cmd.outside.is_none()),
        64,
    )?;
    within("width", model.width.into(), 8, 1_024)?;
    within("layers", model.layers.into(), 1, 32)?;
    within("vocabulary", model.vocabulary.into(), 260, 16_384)?;
    within("sequence", model.sequence.into(), 16, 1_024)?;
    within("inner_steps", cmd.inner_steps.into(), 1, 1_000)?;
    within("batch", cmd.batch.into(), 1, 256)?;
    within("audit_bps", cmd.audit_bps.into(), 0, 10_000)?;
    if !(cmd.learning_rate > 0.0 && cmd.learning_rate <= 1.0) {
        return Err(ServiceError::invalid(
            "bad-run",
            "learning_rate is above 0 and at most 1",
        ));
    }
    let Some(outside) = &cmd.outside else {
        return Ok(());
    };
    within("quorum", outside.quorum.into(), 1, 64)?;
    within("stall_s", outside.stall_s.into(), 1, 3_600)?;
    within("the number of keys", outside.admit.len() as u64, 0, 1_024)?;
    let most = crate::node_stakes::MOST_STAKE;
    if !(0..=most).contains(&outside.least_stake_micro) {
        return Err(ServiceError::invalid(
            "bad-run",
            format!("least_stake_micro is 0 to {most}"),
        ));
    }
    if outside.least_stake_micro > 0 && cmd.audit_bps == 0 {
        return Err(ServiceError::invalid(
            "bad-run",
            "a stake answers for nothing where audit_bps is 0",
        ));
    }
    Ok(())
}

/// What a host's refusal to train means to a caller.
pub(crate) fn refusal(error: HostError) -> ServiceError {
    match error {
        HostError::NoTraining => ServiceError::refused("no-training", error.to_string()),
        HostError::BadTerms(detail) => ServiceError::invalid("bad-run", detail),
        HostError::Closed(_) => ServiceError::refused("run-closed", error.to_string()),
        HostError::NotYet(_) => ServiceError::refused("run-not-ready", error.to_string()),
        other => ServiceError::internal(other),
    }
}
