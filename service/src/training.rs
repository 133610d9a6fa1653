//! Live training figures.

use plumbline_access::Action;

use crate::context::Context;
use crate::views::{BanView, ContributionView, ModelView, NodeView, RoundView, TrainingView};
use crate::{Result, Service, ServiceError};

impl Service {
    /// Progress of a run that is hosted here.
    pub fn training(&self, ctx: &Context, run_id: &str) -> Result<TrainingView> {
        self.allow(&ctx.actor, Action::ReadTraining)?;
        let run = self.run_row(run_id)?;
        self.host
            .training(&run.id)
            .ok_or_else(|| ServiceError::not_found("training run", run_id))
    }

    /// Completed rounds after `after`, oldest first.
    pub fn rounds(
        &self,
        ctx: &Context,
        run_id: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RoundView>> {
        self.allow(&ctx.actor, Action::ListRounds)?;
        let run = self.run_row(run_id)?;
        Ok(self.host.rounds(&run.id, after, limit.clamp(1, 2000)))
    }

    /// Members of a training run.
    pub fn nodes(&self, ctx: &Context, run_id: &str) -> Result<Vec<NodeView>> {
        self.allow(&ctx.actor, Action::ListNodes)?;
        Ok(self.host.nodes(&self.run_row(run_id)?.id))
    }

    /// Verified work per node.
    pub fn contributions(&self, ctx: &Context, run_id: &str) -> Result<Vec<ContributionView>> {
        self.allow(&ctx.actor, Action::ListContributions)?;
        Ok(self.host.contributions(&self.run_row(run_id)?.id))
    }

    /// Nodes removed for good, with the evidence, oldest first.
    pub fn bans(&self, ctx: &Context, run_id: &str) -> Result<Vec<BanView>> {
        self.allow(&ctx.actor, Action::ListBans)?;
        Ok(self.host.bans(&self.run_row(run_id)?.id))
    }

    /// What the gateway can serve.
    pub fn models(&self, ctx: &Context) -> Result<Vec<ModelView>> {
        self.allow(&ctx.actor, Action::ListModels)?;
        Ok(self.host.models())
    }

    /// One of them.
    ///
    /// # Errors
    /// `not-found`.
    pub fn model(&self, ctx: &Context, name: &str) -> Result<ModelView> {
        let models = self.models(ctx)?;
        models
            .into_iter()
            .find(|model| model.id == name)
            .ok_or_else(|| ServiceError::not_found("model", name))
    }
}
