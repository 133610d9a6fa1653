//! The `remote` judge's settings, as the commands that serve take them.

use anyhow::{Context, Result, bail};
use clap::Args;
use plumbline_oracle_remote::{RemoteJudge, RemoteOptions};

/// A language model behind an OpenAI-compatible endpoint, as one more judge.
#[derive(Debug, Args)]
pub struct Remote {
    /// Base address of an OpenAI-compatible API whose model is to judge evidence, for example https://HOST/v1
    #[arg(
        long,
        value_name = "URL",
        env = "PLUMBLINE_JUDGE_URL",
        requires = "judge_model"
    )]
    judge_url: Option<String>,
    /// Name of its model
    #[arg(
        long,
        value_name = "NAME",
        env = "PLUMBLINE_JUDGE_MODEL",
        requires = "judge_url"
    )]
    judge_model: Option<String>,
    /// Its key; better in the environment than on the command line
    #[arg(
        long,
        value_name = "KEY",
        env = "PLUMBLINE_JUDGE_KEY",
        hide_env_values = true
    )]
    judge_key: Option<String>,
    /// Price of 1,000 of its tokens, micro-credits
    #[arg(long, value_name = "MICRO", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    judge_price: i64,
    /// Most that it may cost in 24 hours, micro-credits
    #[arg(long, value_name = "MICRO", default_value_t = 10_000_000, value_parser = clap::value_parser!(i64).range(0..))]
    judge_budget: i64,
}

impl Remote {
    /// The judge, if one is configured. Nothing is sent yet.
    pub fn judge(&self) -> Result<Option<RemoteJudge>> {
        let (Some(url), Some(model)) = (&self.judge_url, &self.judge_model) else {
            if self.judge_key.is_some() {
                bail!(
                    "a key for the remote judge and no --judge-url: give --judge-url and --judge-model too"
                );
            }
            return Ok(None);
        };
        let options = RemoteOptions {
            key: self.judge_key.clone(),
            price_per_1k_tokens_micro: self.judge_price,
            budget_per_day_micro: self.judge_budget,
            ..RemoteOptions::new(url, model)
        };
        RemoteJudge::new(options)
            .map(Some)
            .context("the remote judge")
    }
}
