//! Runs and their checkpoints.

use plumbline_access::Action;
use plumbline_store::checkpoints::{self, Checkpoint};
use plumbline_store::runs::{self, Run, RunKind};
use plumbline_store::{Tx, markets};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::{RegisterCheckpoint, RegisterRun};
use crate::context::Context;
use crate::error::if_found;
use crate::events::publish;
use crate::markets::risk_view;
use crate::time::{Millis, rfc3339};
use crate::views::{CheckpointView, Page, RunView};
use crate::{Result, Service, ServiceError, page};

/// Checkpoints shown of one run.
const CHECKPOINTS_SHOWN: i64 = 100;

impl Service {
    /// Registers a run of an outside scheduler.
    pub fn register_run(&self, ctx: &Context, cmd: &RegisterRun) -> Result<RunView> {
        self.allow(&ctx.actor, Action::RegisterRun)?;
        self.insert_run(ctx, cmd, RunKind::External)
    }

    /// Registers a run that the embedded training core hosts; for wiring programs.
    pub fn register_embedded_run(&self, ctx: &Context, cmd: &RegisterRun) -> Result<RunView> {
        self.allow(&ctx.actor, Action::RegisterRun)?;
        self.insert_run(ctx, cmd, RunKind::Embedded)
    }

    fn insert_run(&self, ctx: &Context, cmd: &RegisterRun, kind: RunKind) -> Result<RunView> {
        check_run(cmd)?;
        let run = Run {
            id: self.new_id(),
            name: cmd.name.clone(),
            kind,
            owner_id: account_of(&ctx.actor)?,
            status: "registered".to_owned(),
            base_model: None,
            parameters: cmd.parameters,
            tokens: 0,
            created_at: self.now(),
        };
        self.write_once(ctx, move |tx, now| {
            insert_run_row(tx, &run, now)?;
            Ok(run_view(run))
        })
    }

    /// All runs, oldest first.
    pub fn runs(&self, ctx: &Context, cursor: Option<&str>, limit: usize) -> Result<Page<RunView>> {
        self.allow(&ctx.actor, Action::ListRuns)?;
        let (after, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        let page = self.read(move |tx| {
            let after = after.unwrap_or_default();
            let rows = runs::list(tx)?
                .into_iter()
                .filter(|run| run.id > after)
                .take(limit + 1)
                .collect();
            let mut page = page::cut(rows, limit, |run| run.id.clone(), run_view);
            for view in &mut page.items {
                view.risk = risk_view(tx, &view.id)?;
            }
            Ok(page)
        })?;
        let items = page
            .items
            .into_iter()
            .map(|view| self.with_live_figures(view))
            .collect::<Result<_>>()?;
        Ok(Page {
            items,
            next_cursor: page.next_cursor,
        })
    }

    /// One run, by id or by name.
    pub fn run(&self, ctx: &Context, id: &str) -> Result<RunView> {
        self.allow(&ctx.actor, Action::ReadRun)?;
        let run = self.run_row(id)?;
        let view = self.read(move |tx| {
            let risk = risk_view(tx, &run.id)?;
            Ok(RunView {
                risk,
                ..run_view(run)
            })
        })?;
        self.with_live_figures(view)
    }

    pub(crate) fn with_live_figures(&self, view: RunView) -> Result<RunView> {
        let training = self.host.training(&view.id);
        let allocation = self.allocation_of(&view.id)?;
        let weight = self.active_policy()?.weight(&view.name);
        let (status, tokens, parameters) = match &training {
            Some(live) => (
                live.status.clone(),
                live.tokens as i64,
                live.parameters as i64,
            ),
            None => (view.status.clone(), view.tokens, view.parameters),
        };
        Ok(RunView {
            status,
            tokens,
            parameters,
            allocation,
            training,
            value_weight: weight.value,
            severity: weight.severity,
            ..view
        })
    }

    /// A run's row by id or by name.
    pub(crate) fn run_row(&self, id: &str) -> Result<Run> {
        let id = id.to_owned();
        self.read(move |tx| find_run(tx, &id))
    }

    /// Records that a checkpoint with this hash exists. The same one twice is the same fact.
    pub fn register_checkpoint(
        &self,
        ctx: &Context,
        run_id: &str,
        cmd: &RegisterCheckpoint,
    ) -> Result<CheckpointView> {
        self.allow(&ctx.actor, Action::RegisterCheckpoint)?;
        check_checkpoint(cmd)?;
        let (run, actor, cmd) = (self.run_row(run_id)?, account_of(&ctx.actor)?, cmd.clone());
        if run.owner_id != actor {
            return Err(ServiceError::Forbidden {
                needs: "the run's owner".to_owned(),
            });
        }
        self.write_once(ctx, move |tx, now| {
            let row = Checkpoint {
                run_id: run.id.clone(),
                id: cmd.hash.to_lowercase(),
                round: cmd.round,
                tokens: cmd.tokens,
                at: now,
                pinned: false,
            };
            checkpoints::upsert(tx, &row)?;
            runs::set_progress(tx, &run.id, "training", cmd.tokens.max(run.tokens))?;
            publish(
                tx,
                now,
                &format!("run:{}", run.id),
                "checkpoint",
                &json!({"hash": row.id, "tokens": row.tokens}),
            )?;
            Ok(checkpoint_view(row))
        })
    }

    /// A run's checkpoints, newest first.
    pub fn checkpoints(&self, ctx: &Context, run_id: &str) -> Result<Vec<CheckpointView>> {
        self.allow(&ctx.actor, Action::ListCheckpoints)?;
        let run = self.run_row(run_id)?;
        let rows = self.read(move |tx| Ok(checkpoints::list(tx, &run.id, CHECKPOINTS_SHOWN)?))?;
        Ok(rows.into_iter().map(checkpoint_view).collect())
    }
}

/// A run by id or by name.
pub(crate) fn find_run(tx: &mut Tx, id: &str) -> Result<Run> {
    match if_found(runs::get(tx, id))? {
        Some(run) => Ok(run),
        None => runs::by_name(tx, id)?.ok_or_else(|| ServiceError::not_found("run", id)),
    }
}

/// The run's newest market, whatever its state.
pub(crate) fn newest_market(tx: &mut Tx, run_id: &str) -> Result<Option<markets::Market>> {
    Ok(markets::newest_binary(tx, run_id, 1)?.into_iter().next())
}

/// Adds a run to the transaction, with its event.
pub(crate) fn insert_run_row(tx: &mut Tx, run: &Run, now: Millis) -> Result<()> {
    if runs::by_name(tx, &run.name)?.is_some() {
        return Err(ServiceError::refused(
            "run-name-taken",
            format!("a run named {} exists", run.name),
        ));
    }
    runs::insert(tx, run)?;
    let topic = format!("run:{}", run.id);
    publish(tx, now, &topic, "registered", &json!({"name": run.name}))
}

pub(crate) fn check_run(cmd: &RegisterRun) -> Result<()> {
    let name_ok = (1..=64).contains(&cmd.name.len())
        && cmd
            .name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !name_ok {
        return Err(ServiceError::invalid(
            "bad-run-name",
            "a run's name is 1 to 64 of a-z A-Z 0-9 . _ -",
        ));
    }
    if cmd.parameters < 0 {
        return Err(ServiceError::invalid(
            "bad-parameters",
            "parameters cannot be negative",
        ));
    }
    Ok(())
}

fn check_checkpoint(cmd: &RegisterCheckpoint) -> Result<()> {
    let hash_ok = cmd.hash.len() == 64 && cmd.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hash_ok {
        return Err(ServiceError::invalid(
            "bad-hash",
            "hash is the checkpoint's BLAKE3 as 64 hex digits",
        ));
    }
    if cmd.round < 0 || cmd.tokens < 0 {
        return Err(ServiceError::invalid(
            "bad-progress",
            "round and tokens cannot be negative",
        ));
    }
    Ok(())
}

pub(crate) fn run_view(run: Run) -> RunView {
    RunView {
        id: run.id,
        name: run.name,
        kind: run.kind.as_str().to_owned(),
        status: run.status,
        parameters: run.parameters,
        tokens: run.tokens,
        value_weight: 1.0,
        severity: 1.0,
        created_at: rfc3339(run.created_at),
        risk: None,
        allocation: None,
        training: None,
    }
}

fn checkpoint_view(row: Checkpoint) -> CheckpointView {
    let at: Millis = row.at;
    CheckpointView {
        hash: row.id,
        round: row.round,
        tokens: row.tokens,
        at: rfc3339(at),
        pinned: row.pinned,
    }
}
