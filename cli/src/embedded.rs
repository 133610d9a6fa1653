//! Joins the embedded training host to what needs it: the service (progress,
//! completions, frozen checkpoints), the replay judge (completions on a
//! checkpoint) and the consumer of decisions (shares).

mod hosting;
mod news;

use plumbline_agents::enforce::{Applied, EnforceError, Enforcer, Gateway, Order};
use plumbline_governance::decision::DecisionTarget;
use plumbline_governance::{Action, Bps, Workload};
use plumbline_oracle::exhibit::ReplaySampling;
use plumbline_oracle_candle::{CheckpointRunner, RunnerError};
use plumbline_service::host::{
    Ask, FrozenCheckpoint, Generated, HostError, HostedRun, RunHost, RunNews, Sampling, TextSink,
};
use plumbline_service::time::rfc3339;
use plumbline_service::views::{
    BanView, ContributionView, ModelView, NodeView, RoundView, SwarmView, TrainingView,
};
use plumbline_training_model::Generator;
use plumbline_training_net::error::HostError as TrainingError;
use plumbline_training_net::host::Host;
use plumbline_training_net::run::{HistoryPoint, RunStats, RunStatus};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::completions::{self, completions};
use news::News;

/// The training host, seen from the rest of the service.
#[derive(Clone)]
pub struct EmbeddedRuns {
    host: Host,
    /// What the decisions on inference let in.
    gateway: Gateway,
    /// Where the operator keeps training data.
    corpora: Arc<Path>,
    news: Arc<News>,
}

/// How long a share may take to be in force before what is in force is reported as it is.
const SHARE_LOOKS: u32 = 40;
const SHARE_LOOK: Duration = Duration::from_millis(50);

/// What a model name asks for.
enum Model {
    /// A run's newest parameters.
    Newest(String),
    /// One checkpoint, with the run that it belongs to.
    Checkpoint { run: String, hash: String },
}

impl EmbeddedRuns {
    pub fn new(host: Host, corpora: &Path) -> Self {
        let news = Arc::new(News::default());
        let ears = Arc::clone(&news);
        host.subscribe(move |event| ears.hear(event));
        Self {
            host,
            gateway: Gateway::default(),
            corpora: corpora.into(),
            news,
        }
    }

    /// A run by id or name.
    fn find_run(&self, name: &str) -> Option<String> {
        let runs = self.host.runs();
        if runs.iter().any(|id| id == name) {
            return Some(name.to_owned());
        }
        runs.into_iter()
            .find(|id| self.host.stats(id).is_ok_and(|stats| stats.name == name))
    }

    /// `name`, `id`, `hash` or `name@hash`.
    fn find_model(&self, model: &str) -> Option<Model> {
        let hash = model.rsplit_once('@').map_or(model, |(_, hash)| hash);
        if let Some((run, found)) = self.host.find_checkpoint(hash) {
            return Some(Model::Checkpoint {
                run,
                hash: found.id,
            });
        }
        self.find_run(model).map(Model::Newest)
    }

    /// What answers for a model, and what names those very parameters.
    fn served(&self, model: &str) -> Result<(String, Arc<Generator>), TrainingError> {
        match self.find_model(model) {
            Some(Model::Newest(run)) => {
                let (round, generator) = self.host.newest(&run)?;
                Ok((format!("{run}@round-{round}"), generator))
            }
            Some(Model::Checkpoint { hash, .. }) => {
                let generator = self.host.generator_for_checkpoint(&hash)?;
                Ok((hash, generator))
            }
            None => Err(TrainingError::UnknownRun(model.to_owned())),
        }
    }

    /// The share in force once the nodes have taken it up. A run that is still
    /// reading its data, or is over, uses nothing: its cap is all there is to report.
    async fn await_share(&self, run: &str, share: Bps) -> Result<Bps, TrainingError> {
        for _ in 0..SHARE_LOOKS {
            tokio::time::sleep(SHARE_LOOK).await;
            let stats = self.host.stats(run)?;
            let idle = stats.status == RunStatus::Preparing || stats.status.is_over();
            if idle || stats.share_bps == u32::from(share.get()) {
                return Ok(share);
            }
        }
        Ok(Bps::saturating(self.host.stats(run)?.share_bps))
    }

    fn stats(&self, run: &str) -> Option<RunStats> {
        self.host.stats(&self.find_run(run)?).ok()
    }
}

impl RunHost for EmbeddedRuns {
    fn training(&self, run_id: &str) -> Option<TrainingView> {
        self.stats(run_id).map(training_view)
    }

    fn rounds(&self, run_id: &str, after: u64, limit: usize) -> Vec<RoundView> {
        let Some(run) = self.find_run(run_id) else {
            return Vec::new();
        };
        let points = self
            .host
            .history_after(&run, after, limit)
            .unwrap_or_default();
        points.into_iter().map(round_view).collect()
    }

    fn nodes(&self, run_id: &str) -> Vec<NodeView> {
        let nodes = self
            .stats(run_id)
            .map(|stats| stats.nodes)
            .unwrap_or_default();
        nodes
            .into_iter()
            .map(|node| NodeView {
                id: node.id.to_string(),
                status: node.status.as_str().to_owned(),
                tokens: node.tokens,
                tokens_per_second: node.tokens_per_cpu_second,
                loss: node.loss,
            })
            .collect()
    }

    fn contributions(&self, run_id: &str) -> Vec<ContributionView> {
        let Some(stats) = self.stats(run_id) else {
            return Vec::new();
        };
        let total: u64 = stats.nodes.iter().map(|node| node.tokens).sum();
        stats
            .nodes
            .into_iter()
            .map(|node| ContributionView {
                node: node.id.to_string(),
                rounds: node.rounds,
                tokens: node.tokens,
                share: node.tokens as f64 / total.max(1) as f64,
                verified_tokens: node.verified,
                audits: node.audits,
            })
            .collect()
    }

    fn bans(&self, run_id: &str) -> Vec<BanView> {
        let bans = self.stats(run_id).map(|stats| stats.bans);
        bans.unwrap_or_default()
            .into_iter()
            .map(|ban| BanView {
                node: ban.node.to_string(),
                round: ban.round,
                reason: ban.evidence.name().to_owned(),
                slash_bps: ban.slash_bps,
                evidence: serde_json::to_value(&ban.evidence).unwrap_or_default(),
            })
            .collect()
    }

    fn examine(&self, run: &HostedRun) -> Result<u64, HostError> {
        self.examine_run(run)
    }

    fn start(&self, run: &HostedRun) -> Result<(), HostError> {
        self.start_run(run)
    }

    fn stop(&self, run_id: &str) -> Result<(), HostError> {
        self.stop_run(run_id)
    }

    fn ticket(&self, run_id: &str) -> Result<String, HostError> {
        self.ticket_of(run_id)
    }

    fn admit(&self, run_id: &str, keys: &[String]) {
        self.admit_nodes(run_id, keys);
    }

    fn news(&self) -> Vec<RunNews> {
        self.news.take()
    }

    fn swarm(&self, run_id: &str) -> Option<SwarmView> {
        self.swarm_of(run_id)
    }

    fn freeze(&self, run_id: &str) -> Result<FrozenCheckpoint, HostError> {
        let run = self
            .find_run(run_id)
            .ok_or_else(|| HostError::UnknownModel(run_id.to_owned()))?;
        let saved = self.host.checkpoint_now(&run).map_err(host_error)?;
        Ok(FrozenCheckpoint {
            id: saved.id,
            round: saved.round,
            tokens: saved.tokens,
        })
    }

    fn models(&self) -> Vec<ModelView> {
        let mut models = Vec::new();
        for run in self.host.runs() {
            let Ok(stats) = self.host.stats(&run) else {
                continue;
            };
            models.push(ModelView {
                id: stats.name.clone(),
                run_id: run.clone(),
                checkpoint: stats.checkpoint.clone(),
                created: 0,
            });
            for saved in self.host.checkpoints(&run).unwrap_or_default() {
                models.push(ModelView {
                    id: format!("{}@{}", stats.name, saved.id),
                    run_id: run.clone(),
                    checkpoint: Some(saved.id),
                    created: 0,
                });
            }
        }
        models
    }

    fn run_of(&self, model: &str) -> Option<String> {
        self.find_model(model).map(|found| match found {
            Model::Newest(run) | Model::Checkpoint { run, .. } => run,
        })
    }

    fn complete(
        &self,
        model: &str,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Generated>, HostError> {
        let (_, generator) = self.served(model).map_err(host_error)?;
        completions(&generator, prompts, sampling)
    }

    fn generate(&self, model: &str, asks: Vec<Ask>, sink: &TextSink) -> Result<String, HostError> {
        let run = self
            .run_of(model)
            .ok_or_else(|| HostError::UnknownModel(model.to_owned()))?;
        let place = completions::admit(&self.gateway, &run, &asks)?;
        let (parameters, generator) = self.served(model).map_err(host_error)?;
        completions::generate(self.host.serving(), &generator, asks, sink, place)?;
        Ok(parameters)
    }
}

impl CheckpointRunner for EmbeddedRuns {
    fn complete_batch(
        &self,
        checkpoint: &str,
        prompts: &[String],
        sampling: &ReplaySampling,
    ) -> Result<Vec<String>, RunnerError> {
        let generator = self
            .host
            .generator_for_checkpoint(checkpoint)
            .map_err(|error| RunnerError::Unreachable {
                checkpoint: checkpoint.to_owned(),
                reason: error.to_string(),
            })?;
        replay(&generator, checkpoint, prompts, sampling)
    }
}

/// What a model writes after each prompt, for the replay judge.
pub fn replay(
    generator: &Generator,
    checkpoint: &str,
    prompts: &[String],
    sampling: &ReplaySampling,
) -> Result<Vec<String>, RunnerError> {
    let options = plumbline_training_model::Sampling {
        max_tokens: sampling.max_tokens as usize,
        temperature: sampling.temperature as f32,
        seed: sampling.seed,
        ..plumbline_training_model::Sampling::default()
    };
    let texts = generator
        .complete_batch(prompts, &options)
        .map_err(|error| RunnerError::Failed {
            checkpoint: checkpoint.to_owned(),
            reason: error.to_string(),
        })?;
    Ok(texts
        .into_iter()
        .map(|completion| completion.text)
        .collect())
}

impl Enforcer for EmbeddedRuns {
    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        if order.target.workload == Workload::Inference {
            return self.gateway.apply(order).await;
        }
        let run = order.target.uid.to_string();
        let failed = |error: TrainingError| EnforceError(error.to_string());
        let share = match order.action {
            Action::Allow | Action::Throttle => order.share_bps,
            Action::Pause | Action::Drain | Action::Terminate => Bps::ZERO,
        };
        self.host
            .set_share_bps(&run, share.get().into())
            .map_err(failed)?;
        let in_force = self.await_share(&run, share).await.map_err(failed)?;
        Ok(Applied {
            actual_bps: in_force,
            method: "inner_steps paced by CPU time".to_owned(),
        })
    }

    fn controls(&self, target: &DecisionTarget) -> bool {
        self.host.stats(&target.uid.to_string()).is_ok()
    }

    /// Training admits no requests, and those for completions are let in by the limits of their order.
    async fn admission(&mut self, _order: &Order) {}
}

fn training_view(stats: RunStats) -> TrainingView {
    TrainingView {
        run_id: stats.id,
        name: stats.name,
        status: stats.status.as_str().to_owned(),
        parameters: stats.parameters,
        round: stats.round,
        tokens: stats.tokens,
        loss_first: stats.loss_first,
        loss_last: stats.loss_last,
        tokens_per_second: stats.tokens_per_second,
        share_bps: stats.share_bps,
        bytes_sent: stats.bytes_sent,
        bytes_every_step: stats.bytes_every_step,
        members: stats
            .nodes
            .iter()
            .filter(|node| node.status.as_str() == "active")
            .count() as u32,
        checkpoint: stats.checkpoint,
    }
}

fn round_view(point: HistoryPoint) -> RoundView {
    RoundView {
        round: point.round,
        at: rfc3339(point.at_ms as i64),
        tokens: point.tokens,
        loss: point.loss,
        node_losses: point
            .node_losses
            .into_iter()
            .map(|(node, loss)| (node.to_string(), loss))
            .collect(),
        seconds: point.seconds,
        bytes: point.bytes,
        share_bps: point.share_bps,
    }
}

fn host_error(error: TrainingError) -> HostError {
    let text = error.to_string();
    match error {
        TrainingError::UnknownRun(name) | TrainingError::UnknownCheckpoint(name) => {
            HostError::UnknownModel(name)
        }
        TrainingError::NotReady(name, _) => HostError::NotReady(name),
        _ => HostError::Failed(text),
    }
}
