//! Models in the form that other programs read: `model.safetensors` with one tensor for each weight, and beside it
//! `config.json` and `tokenizer.json`.
//!
//! The names and shapes are those of [`Layout`]: matrices `outputs × inputs`, gains of one dimension. What a checkpoint
//! holds besides the model, the states of optimisers and of nodes, stays behind.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::{ModelError, Result};
use crate::layout::{Layout, Slot};
use crate::tokenizer::Tokenizer;

/// Largest file that is taken in: the weights of the largest model, and room for names.
const FILE_BYTES_MAX: u64 = (4 << 30) + (1 << 20);

/// A model without anything of how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Shape.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Parameters in canonical order, all finite.
    pub parameters: Vec<f32>,
}

impl From<Checkpoint> for Model {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            config: checkpoint.config,
            tokenizer: checkpoint.tokenizer,
            parameters: checkpoint.parameters,
        }
    }
}

impl Model {
    /// Writes the three files; `path` names the one with the weights.
    ///
    /// # Errors
    /// [`ModelError::CheckpointIo`] naming the file; [`ModelError::ParameterCount`].
    pub fn export(&self, path: &Path) -> Result<()> {
        let weights = self.weights()?;
        let config = serde_json::to_string_pretty(&self.config)
            .map_err(|error| ModelError::Config(error.to_string()))?;
        let write = |path: &Path, bytes: &[u8]| {
            fs::write(path, bytes).map_err(|source| ModelError::CheckpointIo {
                path: path.to_owned(),
                source,
            })
        };
        write(&path.with_file_name("config.json"), config.as_bytes())?;
        let tokenizer = self.tokenizer.to_json();
        write(&path.with_file_name("tokenizer.json"), tokenizer.as_bytes())?;
        write(path, &weights)
    }

    fn weights(&self) -> Result<Vec<u8>> {
        self.config.validate()?;
        let layout = Layout::new(&self.config);
        let (got, want) = (self.parameters.len(), layout.parameter_count());
        if got != want {
            return Err(ModelError::ParameterCount { got, want });
        }
        let bytes = self.parameters.iter().flat_map(|x| x.to_le_bytes());
        let raw: Vec<u8> = bytes.collect();
        let unwritable =
            |error: safetensors::SafeTensorError| ModelError::Config(error.to_string());
        let mut tensors = Vec::new();
        for slot in layout.slots() {
            let data = raw.get(4 * slot.range.start..4 * slot.range.end);
            let view = TensorView::new(Dtype::F32, shape_of(slot), data.unwrap_or_default());
            tensors.push((slot.name.clone(), view.map_err(unwritable)?));
        }
        safetensors::serialize(tensors, None).map_err(unwritable)
    }

    /// Reads a checkpoint of ours (`.ckpt`), or the weights of [`Model::export`] with the two files beside them.
    ///
    /// # Errors
    /// [`ModelError::CheckpointIo`] and [`ModelError::CheckpointCorrupt`] naming the file; [`ModelError::Config`],
    /// [`ModelError::Tokenizer`].
    pub fn import(path: &Path) -> Result<Self> {
        if path
            .extension()
            .is_some_and(|extension| extension == "ckpt")
        {
            return Checkpoint::load(path).map(Self::from);
        }
        let config_path = path.with_file_name("config.json");
        let config = read_bounded(&config_path)?;
        let config: ModelConfig =
            serde_json::from_slice(&config).map_err(|error| corrupt(&config_path, &error))?;
        config.validate()?;
        let tokenizer_path = path.with_file_name("tokenizer.json");
        let tokenizer = String::from_utf8(read_bounded(&tokenizer_path)?)
            .map_err(|error| corrupt(&tokenizer_path, &error))?;
        let tokenizer = Tokenizer::from_json(&tokenizer)?;
        if tokenizer.vocabulary() > config.vocabulary {
            return Err(ModelError::Tokenizer(format!(
                "{} tokens exceed the model's {}",
                tokenizer.vocabulary(),
                config.vocabulary
            )));
        }
        let bytes = read_bounded(path)?;
        let parameters = parameters(&bytes, &config).map_err(|reason| corrupt(path, &reason))?;
        Ok(Self {
            config,
            tokenizer,
            parameters,
        })
    }
}

fn parameters(bytes: &[u8], config: &ModelConfig) -> std::result::Result<Vec<f32>, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let layout = Layout::new(config);
    if tensors.len() != layout.slots().len() {
        return Err("it has other tensors than its config.json asks for".into());
    }
    let mut parameters = Vec::with_capacity(layout.parameter_count());
    for slot in layout.slots() {
        let tensor = tensors.tensor(&slot.name).map_err(|e| e.to_string())?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape_of(slot) {
            return Err(format!("{} has another type or shape", slot.name));
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        parameters.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
    }
    let finite = parameters.iter().all(|value| value.is_finite());
    finite
        .then_some(parameters)
        .ok_or_else(|| "it has values that are not finite".into())
}

/// A gain has one dimension, as other programs expect it.
fn shape_of(slot: &Slot) -> Vec<usize> {
    match slot.shape {
        [1, width] if !slot.decay => vec![width],
        shape => shape.to_vec(),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| ModelError::CheckpointIo {
        path: path.to_owned(),
        source,
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(corrupt(path, &"it is larger than any model"));
    }
    fs::read(path).map_err(failed)
}

fn corrupt(path: &Path, reason: &dyn std::fmt::Display) -> ModelError {
    ModelError::CheckpointCorrupt {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model() -> Model {
        let config = ModelConfig {
            vocabulary: 300,
            width: 16,
            layers: 2,
            heads: 2,
            hidden: 24,
            sequence: 12,
            ..ModelConfig::default()
        };
        let lines = (0..200).map(|n| format!("let x{n} = {n};"));
        Model {
            tokenizer: Tokenizer::train(lines, 300).unwrap(),
            parameters: (0..config.parameter_count()).map(|n| n as f32).collect(),
            config,
        }
    }

    #[test]
    fn what_is_exported_is_what_is_imported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let model = model();
        model.export(&path).unwrap();
        assert_eq!(Model::import(&path).unwrap(), model);
    }

    #[test]
    fn what_is_no_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let refused = || Model::import(&path).unwrap_err().to_string();
        assert!(refused().contains("config.json"));
        let mut bad = model();
        bad.parameters[5] = f32::NAN;
        bad.export(&path).unwrap();
        assert!(refused().contains("not finite"));
        let mut other = model();
        other.config.layers = 1;
        other.parameters.truncate(other.config.parameter_count());
        other.export(&path).unwrap();
        let config = serde_json::to_string(&model().config).unwrap();
        fs::write(path.with_file_name("config.json"), config).unwrap();
        assert!(refused().contains("other tensors"));
        fs::write(&path, b"rubbish").unwrap();
        assert!(refused().contains("corrupt"));
    }
}
