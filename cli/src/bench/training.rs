//! `plumbline bench training`: one node beside a plain candle graph of the same
//! model, codecs beside each other, attacks beside honest runs, churn beside calm.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use plumbline_training_model::bench::{SEQUENCES, gpu_configuration, on_device};
use plumbline_training_model::{DeviceName, ModelConfig, Products};
use plumbline_training_net::bench::{self, BenchOptions, HostileRow};
use plumbline_training_net::corpus::SourceData;
use serde_json::{Map, Value, json};

use super::links::{Link, LinkBench};
use super::work_folder::WorkFolder;

/// Tokens of a batch on a GPU, which a small one leaves idle.
const GPU_TOKENS: usize = 16_384;

#[derive(Debug, Args)]
pub struct Training {
    /// Sections to run
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Section::DEFAULT)]
    only: Vec<Section>,
    /// Fewer and smaller models, fewer rounds
    #[arg(long)]
    quick: bool,
    /// Seeds data, models, draws and attacks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder or file with the text to train on, instead of cargo's registry
    #[arg(long)]
    text: Option<std::path::PathBuf>,
    /// Seconds for each measurement of one node
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// What the one node computes on: cpu, cuda, or cuda:N; the other sections use the CPU
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Threads of the one node
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Inner steps of a round behind slow links
    #[arg(long, default_value_t = 30)]
    link_steps: u64,
    /// Print one JSON object with a member for each section
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Section {
    /// Tokens per second of one node
    SingleNode,
    /// Bytes and loss of SparseLoCo, DiLoCo and every-step training
    Codec,
    /// Every attack against every aggregator and the whole defence
    Hostile,
    /// Half of the nodes killed and replaced
    Churn,
    /// Nodes behind slow links, as processes in network namespaces (needs root)
    Links,
}

impl Section {
    const ALL: [Self; 5] = [
        Self::SingleNode,
        Self::Codec,
        Self::Hostile,
        Self::Churn,
        Self::Links,
    ];
    /// What is run unless asked otherwise: all that needs no rights.
    const DEFAULT: [Self; 4] = [Self::SingleNode, Self::Codec, Self::Hostile, Self::Churn];
}

impl Training {
    pub fn run(self) -> Result<()> {
        self.device.describe()?;
        let folder = WorkFolder::of(None)?;
        let options = BenchOptions {
            seed: self.seed,
            quick: self.quick,
            text: self
                .text
                .clone()
                .map_or(SourceData::CargoRegistry, SourceData::Path),
            folder: folder.path().to_owned(),
        };
        let mut sections = Map::new();
        for section in Section::ALL {
            if !self.only.contains(&section) {
                continue;
            }
            let (name, value) = match section {
                Section::SingleNode if self.device.is_cpu() => ("single_node", self.single_node()?),
                Section::SingleNode => ("single_node", self.single_gpu()?),
                Section::Codec => ("codec", self.codec(&options)?),
                Section::Hostile => ("hostile", self.hostile(&options)?),
                Section::Churn => ("churn", self.churn(&options)?),
                Section::Links => ("links", self.links(folder.path())?),
            };
            sections.insert(name.to_owned(), value);
        }
        if self.json {
            println!("{}", Value::Object(sections));
        }
        Ok(())
    }

    fn single_node(&self) -> Result<Value> {
        let mut rows = Vec::new();
        if !self.json {
            println!(
                "parameters  vocabulary  threads  tokens/s  plain candle  ratio  of matmul peak"
            );
        }
        let all = configurations();
        let measured = if self.quick { &all[..1] } else { &all[..] };
        for config in measured {
            for &threads in &self.threads {
                let row =
                    plumbline_training_model::bench::single_node(config, self.seconds, threads)?;
                if !self.json {
                    println!(
                        "{:10} {:11} {:8} {:9.0} {:13.0} {:6.2} {:14.0} %",
                        row.parameters,
                        row.config.vocabulary,
                        row.threads,
                        row.tokens_per_second,
                        row.plain_tokens_per_second,
                        row.ratio_to_plain,
                        row.share_of_peak * 100.0
                    );
                }
                // The peer of this program is the plain graph; PyTorch is the
                // peer of bench/run_training.sh.
                rows.push(json!({
                    "parameters": row.parameters,
                    "vocabulary": row.config.vocabulary,
                    "threads": row.threads,
                    "tokens_per_s": row.tokens_per_second,
                    "plain_candle_tokens_per_s": row.plain_tokens_per_second,
                    "pytorch_tokens_per_s": null,
                    "ratio": row.ratio_to_plain,
                    "matmul_peak_share": row.share_of_peak,
                    "device": self.device.to_string(),
                    "mfu": null,
                }));
            }
        }
        Ok(Value::Array(rows))
    }

    /// The same models and one of a GPU's size, with both kinds of products.
    fn single_gpu(&self) -> Result<Value> {
        let mut rows = Vec::new();
        if !self.json {
            println!("parameters  vocabulary  products  tokens/s  model FLOPs utilisation");
        }
        let sized = configurations().into_iter().chain([gpu_configuration()]);
        for config in sized {
            let sequences = (GPU_TOKENS / config.sequence).max(SEQUENCES);
            for products in [Products::Bf16, Products::F32] {
                let place = (self.device, products);
                let row = on_device(&config, sequences, self.seconds, place)?;
                if !self.json {
                    let mfu = row.mfu.map(|mfu| format!("{:.1} %", 100.0 * mfu));
                    println!(
                        "{:10} {:11} {:>9} {:9.0}  {}",
                        row.parameters,
                        row.config.vocabulary,
                        row.products.to_string(),
                        row.tokens_per_second,
                        mfu.as_deref().unwrap_or("unknown peak"),
                    );
                }
                rows.push(json!({
                    "parameters": row.parameters,
                    "vocabulary": row.config.vocabulary,
                    "sequence": row.config.sequence,
                    "sequences": row.sequences,
                    "device": row.device,
                    "device_model": row.device_model,
                    "products": row.products,
                    "tokens_per_s": row.tokens_per_second,
                    "tokens_per_s_mean": row.tokens_per_second_mean,
                    "peak_flops": row.peak_flops,
                    "mfu": row.mfu,
                }));
            }
        }
        Ok(Value::Array(rows))
    }

    fn codec(&self, options: &BenchOptions) -> Result<Value> {
        let report = bench::codec(options)?;
        if !self.json {
            println!(
                "sparseloco, {} nodes, H = {}, {} rounds, {} parameters: {:.1} times fewer bytes \
                 per exchange, {:.0} times fewer than every step; held-out loss {:.4} \
                 (diloco {:.4}, every step {:.4}; ratios {:.4} and {:.4})",
                report.nodes,
                report.inner_steps,
                report.rounds,
                report.parameters,
                report.bytes_ratio_sync,
                report.bytes_ratio_ddp,
                report.loss_sparseloco,
                report.loss_diloco,
                report.loss_ddp,
                report.loss_vs_diloco,
                report.loss_vs_ddp
            );
        }
        Ok(serde_json::to_value(report)?)
    }

    fn hostile(&self, options: &BenchOptions) -> Result<Value> {
        if !self.json {
            println!(
                "aggregator         scheme      attack              hostile  loss ratio  out after  honest bans"
            );
        }
        let silent = self.json;
        let mut told = |row: &HostileRow| {
            if !silent {
                let out = row
                    .rounds_to_ban
                    .map_or("-".into(), |rounds| rounds.to_string());
                println!(
                    "{:18} {:11} {:18} {:7.0} %  {:10.4}  {:>9}  {:11}",
                    row.aggregator,
                    row.scheme,
                    row.attack,
                    row.fraction * 100.0,
                    row.loss_ratio,
                    out,
                    row.honest_bans
                );
            }
        };
        Ok(serde_json::to_value(bench::hostile(options, &mut told)?)?)
    }

    /// The two links of the specification with three nodes at full speed, then
    /// the better one with speeds 10 : 5 : 1.
    fn links(&self, folder: &std::path::Path) -> Result<Value> {
        let bench = LinkBench {
            folder,
            text: self.text.as_deref(),
            seed: self.seed,
            time: Duration::from_secs(if self.quick { 30 } else { 120 }),
            inner_steps: self.link_steps,
        };
        let fast = Link {
            mbit_s: 100.0,
            delay_ms: 25,
            loss_bps: 100,
        };
        let slow = Link {
            mbit_s: 20.0,
            ..fast
        };
        let spread = [0.5, 0.25, 0.05];
        let mut rows = Vec::new();
        for (link, shares) in [(fast, [0.5; 3]), (slow, [0.5; 3]), (fast, spread)] {
            let row = bench.measure(link, &shares)?;
            if !self.json {
                println!(
                    "{:4} Mb/s, {} ms and {} % loss each way, shares {:?}: with work {:.1} % of \
                     the time; {} rounds of {} steps, {} bytes",
                    row.mbit_s,
                    row.delay_ms,
                    f64::from(row.loss_bps) / 100.0,
                    row.shares,
                    100.0 * row.computing_share,
                    row.rounds,
                    row.inner_steps,
                    row.bytes
                );
            }
            rows.push(row);
        }
        Ok(serde_json::to_value(rows)?)
    }

    fn churn(&self, options: &BenchOptions) -> Result<Value> {
        let report = bench::churn(options)?;
        if !self.json {
            println!(
                "{} of {} nodes killed and replaced over {} rounds: loss {:.4}, undisturbed {:.4} \
                 (ratio {:.4}), {} rounds lost",
                report.kills,
                report.nodes,
                report.rounds,
                report.loss_disturbed,
                report.loss_undisturbed,
                report.loss_ratio,
                report.rounds_lost
            );
        }
        Ok(serde_json::to_value(report)?)
    }
}

/// The demo's model, one dominated by its vocabulary, one by its products.
fn configurations() -> [ModelConfig; 3] {
    let small = ModelConfig::default();
    [
        small.clone(),
        ModelConfig {
            layers: 4,
            vocabulary: 2048,
            ..small.clone()
        },
        ModelConfig {
            width: 256,
            hidden: 704,
            layers: 4,
            vocabulary: 512,
            ..small
        },
    ]
}
