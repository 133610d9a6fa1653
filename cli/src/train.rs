//! `plumbline train`: one training job, without markets and without a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::{Scheme, SparseOptions};
use plumbline_training_core::digest::Digest;
use plumbline_training_model::{Checkpoint, DeviceName, Generator, Model};
use plumbline_training_net::corpus::SourceSpec;
use plumbline_training_net::host::{Host, HostOptions};
use plumbline_training_net::remote::ListenOptions;
use plumbline_training_net::run::{HistoryPoint, OutsideRules, RunSpec, RunStats, RunStatus};
use serde_json::json;

use crate::data_dir::DataDir;
use crate::job::{Sizes, checkpoint_every};
use crate::stop::told_to_stop;

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Rounds printed at a look.
const LINES: usize = 1_000;

/// Trains a small language model on nodes of this machine, and with --listen on
/// those that join. Started again on the same folder it goes on from its newest
/// checkpoint.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Train {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Folder for checkpoints and history
    #[arg(long, default_value = "plumbline-train")]
    data_dir: PathBuf,
    /// Name of the job
    #[arg(long, default_value = "job")]
    id: String,
    /// Folder, text file or JSONL to train on; the Rust sources of cargo's registry unless given
    #[arg(long)]
    text: Option<PathBuf>,
    /// Tokens to train on in all
    #[arg(long, default_value_t = 2_000_000)]
    tokens: u64,
    /// Node threads of this machine; 0 makes sense with --listen
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// What these nodes train on: cpu, cuda, or cuda:N for the GPU of that number
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Let nodes elsewhere join at this UDP address, for example 127.0.0.1:7700
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// A relay to be reached through as well; none unless given
    #[arg(long, requires = "listen")]
    relay: Option<String>,
    /// Admit this node key only; may be given several times
    #[arg(long, value_name = "KEY", requires = "listen")]
    admit: Vec<Digest>,
    /// Fewest nodes that make a round
    #[arg(long, default_value_t = 1, requires = "listen")]
    quorum: usize,
    /// Do not wait for a node that has work and does nothing for so many seconds
    #[arg(long, default_value_t = 60, requires = "listen")]
    stall_seconds: u64,
    /// Write a checkpoint every so many rounds [default: 10, with --listen 1]
    #[arg(long)]
    checkpoint_every: Option<u64>,
    /// Inner steps between two exchanges
    #[arg(long, default_value_t = 30)]
    inner_steps: u64,
    /// Rows of a batch
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// What nodes exchange
    #[arg(long, value_enum, default_value_t = SchemeName::Diloco)]
    scheme: SchemeName,
    /// How contributions become one
    #[arg(long, value_enum, default_value_t = AggregatorName::Mean)]
    aggregator: AggregatorName,
    /// Part of contributions to recompute, basis points; 0 trusts every node
    #[arg(long, default_value_t = 0)]
    audit_bps: u32,
    /// Highest inner learning rate
    #[arg(long, default_value_t = 4e-3)]
    learning_rate: f32,
    /// Share of the machine, basis points
    #[arg(long, default_value_t = 10_000)]
    max_share: u32,
    /// Width of the model; its other sizes follow
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// Blocks of the model
    #[arg(long, default_value_t = 3)]
    layers: usize,
    /// Begin with this model instead of a fresh one: what `train export` wrote, or a checkpoint (.ckpt); its shape and
    /// tokenizer are kept
    #[arg(long, value_name = "FILE", conflicts_with_all = ["width", "layers", "vocabulary"])]
    from: Option<PathBuf>,
    /// Token ids of the model
    #[arg(long, default_value_t = 1_024)]
    vocabulary: usize,
    /// Seeds parameters, data and their order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object for each round, and one at the end
    #[arg(long)]
    json: bool,
}

/// What else can be done with what was trained.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a checkpoint's model for other programs: safetensors, config.json and tokenizer.json
    Export(Export),
}

#[derive(Debug, Args)]
struct Export {
    /// The checkpoint (.ckpt)
    checkpoint: PathBuf,
    /// File for the weights; config.json and tokenizer.json come beside it
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    out: PathBuf,
    /// Also write probe.json: the tokens of this text, and the logits after the last of them
    #[arg(long, value_name = "TEXT")]
    probe: Option<String>,
}

impl Verb {
    fn run(self) -> Result<()> {
        let Self::Export(export) = self;
        let checkpoint = Checkpoint::load(&export.checkpoint)?;
        if let Some(folder) = export.out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        if let Some(text) = &export.probe {
            let (tokens, logits) = Generator::from_checkpoint(&checkpoint)?.logits(text);
            let probe = json!({"text": text, "tokens": tokens, "logits": logits});
            std::fs::write(
                export.out.with_file_name("probe.json"),
                serde_json::to_vec(&probe)?,
            )?;
        }
        Model::from(checkpoint).export(&export.out)?;
        println!("{}", export.out.display());
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemeName {
    /// Full differences, outer Nesterov momentum
    Diloco,
    /// One value in 64, two bits each, error feedback
    Sparseloco,
    /// Gradients at every step (sets --inner-steps to 1)
    EveryStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AggregatorName {
    /// Weighted by tokens; trusts everybody
    Mean,
    /// The mean of contributions no longer than the median one
    NormClippedMean,
    /// In each coordinate the median
    CoordinateMedian,
    /// In each coordinate the mean of the middle fifth
    TrimmedMean,
    /// The one contribution closest to the others
    Krum,
    /// Centered clipping
    CenteredClip,
}

impl AggregatorName {
    fn spec(self) -> AggregatorSpec {
        match self {
            Self::Mean => AggregatorSpec::Mean,
            Self::NormClippedMean => AggregatorSpec::NormClippedMean,
            Self::CoordinateMedian => AggregatorSpec::CoordinateMedian,
            Self::TrimmedMean => AggregatorSpec::TrimmedMean { share: 0.4 },
            Self::Krum => AggregatorSpec::Krum { faulty: 0.4 },
            Self::CenteredClip => AggregatorSpec::CenteredClip,
        }
    }
}

impl Train {
    pub fn run(self) -> Result<()> {
        if let Some(verb) = self.verb {
            return verb.run();
        }
        let device = self.device.describe()?;
        let folder = DataDir::open(&self.data_dir)?;
        let spec = self.spec()?;
        tracing::info!(%device, "nodes of this machine train on it");
        let host = Host::start(HostOptions {
            data_dir: folder.training(),
            cores: 0,
            device: self.device,
        })?;
        if let Some(address) = self.listen {
            let relay = self.relay.clone();
            host.listen(&ListenOptions { address, relay })?;
        }
        host.start_run(spec)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.watch(&host))?;
        let checkpoint = host.checkpoints(&self.id)?.pop();
        self.tell_end(&host.stats(&self.id)?, checkpoint.map(|c| c.path));
        match host.stats(&self.id)?.status {
            RunStatus::Failed(reason) => bail!("the job failed: {reason}"),
            _ => Ok(()),
        }
    }

    /// Prints rounds until the job is over or the program is told to stop.
    async fn watch(&self, host: &Host) -> Result<()> {
        let (mut told, mut ticket) = (0, self.listen.is_none());
        let stop = told_to_stop();
        tokio::pin!(stop);
        loop {
            let status = host.stats(&self.id)?.status;
            for point in host.history_after(&self.id, told, LINES)? {
                told = point.round;
                self.tell_round(&point);
            }
            if status.is_over() {
                return Ok(());
            }
            // There is one as soon as the data is prepared.
            if !ticket && let Ok(text) = host.ticket(&self.id) {
                ticket = true;
                self.tell_ticket(&text);
            }
            tokio::select! {
                result = &mut stop => {
                    result?;
                    host.stop(&self.id)?;
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn spec(&self) -> Result<RunSpec> {
        let source = match &self.text {
            Some(path) => SourceSpec::path("text", path),
            None => SourceSpec::registry(),
        };
        let sizes = Sizes {
            width: self.width,
            layers: self.layers,
            vocabulary: self.vocabulary,
            tokens: self.tokens,
            rate: self.learning_rate,
            audit_bps: self.audit_bps,
        };
        let every_step = self.scheme == SchemeName::EveryStep;
        let spec = sizes.spec(&self.id, &self.id, self.seed);
        let model = match &self.from {
            Some(path) => Model::import(path)?.config,
            None => spec.model.clone(),
        };
        Ok(RunSpec {
            model,
            from: self.from.clone(),
            nodes: self.nodes,
            inner_steps: if every_step { 1 } else { self.inner_steps },
            batch: self.batch,
            scheme: match self.scheme {
                SchemeName::Diloco => Scheme::DiLoCo,
                SchemeName::Sparseloco => Scheme::SparseLoCo(SparseOptions::over(self.tokens)),
                SchemeName::EveryStep => Scheme::EveryStep,
            },
            aggregator: self.aggregator.spec(),
            sources: vec![source],
            share_bps: self.max_share,
            checkpoint_every: self
                .checkpoint_every
                .unwrap_or_else(|| checkpoint_every(self.listen.is_some())),
            outside: self.listen.map(|_| OutsideRules {
                quorum: self.quorum,
                admit: self.admit.clone(),
                staked: false,
                stall_ms: self.stall_seconds.saturating_mul(1_000),
            }),
            ..spec
        })
    }

    fn tell_ticket(&self, ticket: &str) {
        if self.json {
            println!("{}", json!({"ticket": ticket}));
        } else {
            println!("join with: plumbline node --join {ticket}");
        }
    }

    fn tell_round(&self, point: &HistoryPoint) {
        if self.json {
            let line = json!({"round": point.round, "tokens": point.tokens, "loss": point.loss,
                "bytes": point.bytes, "seconds": point.seconds, "missed": point.missed});
            println!("{line}");
        } else {
            println!(
                "round {:5}  {:9} tokens  loss {:.4}  {:8} bytes  {:.1} s",
                point.round, point.tokens, point.loss, point.bytes, point.seconds
            );
        }
    }

    fn tell_end(&self, stats: &RunStats, checkpoint: Option<PathBuf>) {
        if self.json {
            let line = json!({"status": stats.status.as_str(), "rounds": stats.round,
                "tokens": stats.tokens, "loss_first": stats.loss_first,
                "loss_last": stats.loss_last, "bytes_sent": stats.bytes_sent,
                "bytes_every_step": stats.bytes_every_step, "audits": stats.audits,
                "bans": stats.bans, "checkpoint": checkpoint});
            println!("{line}");
            return;
        }
        println!(
            "{} after {} rounds and {} tokens; {} bytes sent, {} at every step",
            stats.status.as_str(),
            stats.round,
            stats.tokens,
            stats.bytes_sent,
            stats.bytes_every_step
        );
        if let Some(path) = checkpoint {
            println!("{}", path.display());
        }
    }
}
