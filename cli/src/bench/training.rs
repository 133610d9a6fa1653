//! `plumbline bench training`: one node beside a plain candle graph of the same model.

use anyhow::Result;
use clap::Args;
use plumbline_training_model::ModelConfig;

#[derive(Debug, Args)]
pub struct Training {
    /// Seconds for each measurement
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Threads of the node
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

impl Training {
    pub fn run(self) -> Result<()> {
        let mut rows = Vec::new();
        for config in configurations() {
            for &threads in &self.threads {
                rows.push(plumbline_training_model::bench::single_node(
                    &config,
                    self.seconds,
                    threads,
                )?);
            }
        }
        if self.json {
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(());
        }
        println!("parameters  vocabulary  threads  tokens/s  plain candle  ratio  of matmul peak");
        for row in &rows {
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
        Ok(())
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
