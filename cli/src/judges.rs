//! The judges of the default ensemble, and where the models of two of them are looked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use plumbline_oracle::{
    HeadJudge, LexicalJudge, MissingJudge, Reader, Reference, SharedJudge, Weights,
};
use plumbline_oracle_candle::{
    Causal, CausalOptions, CausalReader, Encoder, EncoderOptions, EncoderReader, GuardOptions,
    GuardedJudge, ModelError, ModelSource, TrainedReader,
};

/// Heads on what the sentence encoder reads.
const ENCODER_HEADS: &[u8] = include_bytes!("../../oracle/weights/encoder.bin");
/// Heads on what the language model reads.
const CAUSAL_HEADS: &[u8] = include_bytes!("../../oracle/weights/causal.bin");
/// The pool fitted on labelled cases, by family of claims.
const POOL: &str = include_str!("../../oracle/weights/pool.json");

/// A folder of optional models, as `make models` fills it.
#[derive(Debug, Clone)]
pub struct ModelFolder(pub PathBuf);

impl ModelFolder {
    /// The sentence encoder.
    pub fn encoder(&self) -> Result<Arc<dyn Reader>, ModelError> {
        let files = self.source("minilm").encoder_files()?;
        let encoder = Encoder::load(&files, EncoderOptions::default())?;
        Ok(Arc::new(EncoderReader::new(encoder)))
    }

    /// The language model.
    pub fn causal(&self) -> Result<Arc<dyn Reader>, ModelError> {
        let file = self.source("gemma").gguf_file(None)?;
        let causal = Causal::load(&file, CausalOptions::default())?;
        Ok(Arc::new(CausalReader::new(causal)))
    }

    fn source(&self, name: &str) -> ModelSource {
        ModelSource::Folder(self.0.join(name))
    }
}

/// The judges that read text and come with the program, and those whose models are in the folder. A model that is not
/// there, or not the one that the shipped heads were fitted on, leaves a judge that says so.
pub fn text_judges(models: &Path) -> Result<Vec<SharedJudge>> {
    let folder = ModelFolder(models.to_owned());
    let lexical =
        LexicalJudge::shipped().context("the lexical judge's built-in weights are damaged")?;
    let trained = TrainedReader::judge().context("the trained judge's built-in weights")?;
    Ok(vec![
        Arc::new(lexical),
        guarded(Arc::new(trained), Duration::from_secs(20))?,
        optional("encoder", folder.encoder(), ENCODER_HEADS, 30)?,
        optional("causal", folder.causal(), CAUSAL_HEADS, 120)?,
    ])
}

/// What the judges' errors were on labelled cases that they had not seen.
pub fn reference() -> Result<Reference> {
    serde_json::from_str(POOL).context("the built-in statistics of the pool")
}

fn optional(
    name: &str,
    reader: Result<Arc<dyn Reader>, ModelError>,
    heads: &[u8],
    seconds: u64,
) -> Result<SharedJudge> {
    let weights =
        Weights::from_bytes(heads).with_context(|| format!("the built-in heads of {name}"))?;
    let judge = reader
        .map_err(|error| error.to_string())
        .and_then(|reader| HeadJudge::new(reader, weights).map_err(|error| error.to_string()));
    match judge {
        Ok(judge) => guarded(Arc::new(judge), Duration::from_secs(seconds)),
        Err(reason) => {
            tracing::info!(judge = name, reason, "a judge is missing");
            Ok(Arc::new(MissingJudge::new(name, reason)))
        }
    }
}

/// A judge that runs a model answers in time or counts as failed.
fn guarded(judge: SharedJudge, timeout: Duration) -> Result<SharedJudge> {
    let options = GuardOptions {
        timeout,
        ..GuardOptions::default()
    };
    Ok(Arc::new(GuardedJudge::start(judge, options)?))
}
