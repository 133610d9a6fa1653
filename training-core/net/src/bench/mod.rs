//! Figures of distributed training, each a ratio within one run: what the
//! codecs cost in loss, what hostile nodes do, what churn does.
//!
//! Codecs and hostility are measured in the
//! [test-bed](plumbline_training_core::testbed), which is a function of its
//! seed; churn on a real [host](crate::host) with threads that are killed.

mod churn;
mod codec;
mod hostile;

use std::sync::Arc;

use plumbline_training_core::local::InnerPlan;
use plumbline_training_core::outer::OuterOptions;
use plumbline_training_core::schedule::{Decay, LrSchedule};
use plumbline_training_core::testbed::{Arena, ArenaError, ArenaReport, ArenaSpec};
use plumbline_training_core::trainer::TrainerError;
use plumbline_training_model::{AdamW, ModelConfig, ModelError, Tokenizer, Trainer};

use crate::corpus::{Corpus, CorpusError, SourceData, SourceSpec, load_sources};
use crate::error::HostError;

pub use churn::{ChurnReport, churn};
pub use codec::{CodecReport, codec};
pub use hostile::{HostileRow, hostile};

/// Text that a benchmark reads, bytes.
const TEXT_BYTES: u64 = 3 << 20;

/// How a benchmark is run.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Seeds data, models and draws.
    pub seed: u64,
    /// Smaller models and fewer rounds: minutes instead of an hour.
    pub quick: bool,
    /// The text; the Rust sources of cargo's registry by default.
    pub text: SourceData,
    /// Folder for runs that need files; removed by nobody.
    pub folder: std::path::PathBuf,
}

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No text.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The model could not be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The replica failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// A run of the test-bed failed.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// A run of the host failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A run did not end well.
    #[error("a run ended as {0}")]
    Run(String),
}

/// A model with tokenised text.
struct Stage {
    model: ModelConfig,
    corpus: Arc<Corpus>,
    seed: u64,
}

impl Stage {
    fn new(options: &BenchOptions, model: ModelConfig) -> Result<Self, BenchError> {
        let source = SourceSpec {
            max_bytes: TEXT_BYTES,
            data: options.text.clone(),
            ..SourceSpec::registry()
        };
        let sources = load_sources(&[source], options.seed)?;
        let documents = sources.iter().flat_map(|source| &source.documents);
        let mut left = 1_usize << 20;
        let texts: Vec<String> = documents
            .map(|document| document.text.clone())
            .take_while(|text| {
                left = left.saturating_sub(text.len());
                left > 0
            })
            .collect();
        let tokenizer = Tokenizer::train(texts.into_iter(), model.vocabulary)?;
        let encode = |text: &str| tokenizer.encode(text);
        let corpus = Corpus::tokenise(sources, options.seed, tokenizer.separator(), &encode)?;
        Ok(Self {
            model,
            corpus: Arc::new(corpus),
            seed: options.seed,
        })
    }

    /// One run of the test-bed from fresh parameters.
    fn run(&self, spec: ArenaSpec) -> Result<ArenaReport, BenchError> {
        let mut trainer = Trainer::new(self.model.clone(), AdamW::default(), self.seed)?;
        Ok(Arena::new(spec, &mut trainer, &*self.corpus)?.run()?)
    }
}

/// A rate that rises over a twentieth of `tokens` and falls to a tenth.
fn schedule(peak: f32, tokens: u64) -> LrSchedule {
    LrSchedule {
        peak,
        warm_up: tokens / 20,
        decay: Decay::Cosine {
            until: tokens,
            floor: 0.1,
        },
    }
}

/// Outer options of DiLoCo for few rounds: the published rate of .7 with
/// momentum .9 overshoots for the first dozens of them.
const OUTER: OuterOptions = OuterOptions {
    rate: 1.0,
    momentum: 0.0,
};

fn plan(model: &ModelConfig, batch: usize, schedule: LrSchedule) -> InnerPlan {
    InnerPlan {
        batch,
        length: model.sequence,
        schedule,
        scheme: Default::default(),
    }
}
