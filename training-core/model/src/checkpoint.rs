//! Content-addressed checkpoints: one safetensors file named by its BLAKE3 hash.
//!
//! Every weight is a named `f32` tensor, every extra byte section a `u8` tensor;
//! configuration, tokenizer and progress are JSON in the file's metadata. A file
//! appears under its name only when all of it is on disk.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::error::{ModelError, Result};
use crate::layout::Layout;
use crate::tokenizer::Tokenizer;

/// File name extension of checkpoints.
const EXTENSION: &str = "ckpt";

/// Version of the file's contents.
const FORMAT: u32 = 1;

/// Metadata key of the JSON header. One key only: the metadata is a hash map, and
/// two would be written in a random order, which would change the file's hash.
const HEADER: &str = "plumbline";

/// Name prefix of byte sections.
const SECTION: &str = "section.";

/// Name prefix of weights.
const WEIGHT: &str = "weight.";

/// The lower-case hexadecimal BLAKE3 hash of a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId(String);

impl CheckpointId {
    fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }

    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where a checkpoint of this id is kept in `folder`.
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{EXTENSION}", self.0))
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CheckpointId {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a checkpoint id is 64 lower-case hexadecimal digits".into())
        }
    }
}

impl TryFrom<String> for CheckpointId {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<CheckpointId> for String {
    fn from(id: CheckpointId) -> Self {
        id.0
    }
}

/// Everything needed to resume a run or to answer prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Shape of the model.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Parameters in canonical order.
    pub parameters: Vec<f32>,
    /// Free-form account of the run: round, tokens, seeds.
    pub progress: serde_json::Value,
    /// Named opaque states: inner optimisers, outer momentum, error feedback.
    pub sections: BTreeMap<String, Vec<u8>>,
}

/// The JSON part of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    config: ModelConfig,
    tokenizer: Tokenizer,
    progress: serde_json::Value,
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::CheckpointIo { path, source }
}

impl Checkpoint {
    /// Writes the checkpoint to `folder` (created if missing) and returns its
    /// id. The file is complete, durable and under its final name, or absent.
    ///
    /// # Errors
    /// [`ModelError::CheckpointIo`] naming the path; [`ModelError::ParameterCount`].
    pub fn save(&self, folder: &Path) -> Result<CheckpointId> {
        let bytes = self.to_bytes()?;
        let id = CheckpointId::of(&bytes);
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        // Two savers, in one process or in two, must not share a temporary file.
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".{id}.{}.{serial}.tmp", std::process::id()));
        let written = write_durably(&temporary, &bytes, &id.path_in(folder), folder);
        if written.is_err() {
            // Best effort: the error that matters is the one being returned.
            let _ = fs::remove_file(&temporary);
        }
        written.map(|()| id)
    }

    /// Reads and verifies the checkpoint at `path`, whose name must be its hash.
    ///
    /// # Errors
    /// [`ModelError::CheckpointIo`] when it cannot be read,
    /// [`ModelError::CheckpointCorrupt`] when its content is not what its name
    /// says or not a checkpoint; both name the file.
    pub fn load(path: &Path) -> Result<Self> {
        let corrupt = |reason: String| ModelError::CheckpointCorrupt {
            path: path.to_owned(),
            reason,
        };
        let bytes = fs::read(path).map_err(io_error(path))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let named: CheckpointId = stem
            .unwrap_or_default()
            .parse()
            .map_err(|reason| corrupt(format!("its name is not its hash: {reason}")))?;
        let found = CheckpointId::of(&bytes);
        if named != found {
            return Err(corrupt(format!(
                "its {} bytes hash to {found}, not to its name; it was truncated or altered",
                bytes.len()
            )));
        }
        Self::from_bytes(&bytes).map_err(corrupt)
    }

    /// Reads checkpoint `id` from `folder`.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn load_id(folder: &Path, id: &CheckpointId) -> Result<Self> {
        Self::load(&id.path_in(folder))
    }

    /// The file's bytes: equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// [`ModelError::ParameterCount`], [`ModelError::Config`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.config.validate()?;
        let layout = Layout::new(&self.config);
        let (got, want) = (self.parameters.len(), layout.parameter_count());
        if got != want {
            return Err(ModelError::ParameterCount { got, want });
        }
        let header = Header {
            format: FORMAT,
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            progress: self.progress.clone(),
        };
        let unwritable = |error: &dyn fmt::Display| ModelError::Config(error.to_string());
        let header = serde_json::to_string(&header).map_err(|e| unwritable(&e))?;
        let raw: Vec<u8> = self
            .parameters
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let mut tensors = Vec::new();
        for slot in layout.slots() {
            let data = &raw[4 * slot.range.start..4 * slot.range.end];
            let view = TensorView::new(Dtype::F32, slot.shape.to_vec(), data);
            tensors.push((format!("{WEIGHT}{}", slot.name), view));
        }
        for (name, data) in &self.sections {
            let view = TensorView::new(Dtype::U8, vec![data.len()], data);
            tensors.push((format!("{SECTION}{name}"), view));
        }
        let tensors = tensors
            .into_iter()
            .map(|(name, view)| view.map(|view| (name, view)))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| unwritable(&e))?;
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| unwritable(&e))
    }

    /// Reads what [`Checkpoint::to_bytes`] gave and a program carries with it, where no file name says the hash.
    ///
    /// # Errors
    /// [`ModelError::CheckpointCorrupt`] with `name` in place of a path.
    pub fn from_memory(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(bytes).map_err(|reason| ModelError::CheckpointCorrupt {
            path: PathBuf::from(name),
            reason,
        })
    }

    /// Inverse of [`Checkpoint::to_bytes`]; the error is the reason in words.
    fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let text = |error: safetensors::SafeTensorError| error.to_string();
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(text)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(text)?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get(HEADER))
            .ok_or("it has no header")?;
        let header: Header = serde_json::from_str(header).map_err(|e| e.to_string())?;
        if header.format != FORMAT {
            return Err(format!("format {} is not {FORMAT}", header.format));
        }
        header.config.validate().map_err(|e| e.to_string())?;
        if header.tokenizer.vocabulary() > header.config.vocabulary {
            return Err("its tokenizer has more tokens than its model".into());
        }
        let layout = Layout::new(&header.config);
        let mut parameters = Vec::with_capacity(layout.parameter_count());
        for slot in layout.slots() {
            let name = format!("{WEIGHT}{}", slot.name);
            let tensor = tensors.tensor(&name).map_err(text)?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != slot.shape {
                return Err(format!("{name} has another type or shape"));
            }
            let (values, _) = tensor.data().as_chunks::<4>();
            parameters.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
        }
        let sections = tensors
            .tensors()
            .into_iter()
            .filter_map(|(name, view)| {
                let name = name.strip_prefix(SECTION)?.to_owned();
                Some((name, view.data().to_vec()))
            })
            .collect();
        Ok(Self {
            config: header.config,
            tokenizer: header.tokenizer,
            parameters,
            progress: header.progress,
            sections,
        })
    }
}

/// Writes `bytes` to `temporary`, renames it to `target`, and makes both the data
/// and the directory entry durable.
fn write_durably(temporary: &Path, bytes: &[u8], target: &Path, folder: &Path) -> Result<()> {
    let mut file = File::create_new(temporary).map_err(io_error(temporary))?;
    file.write_all(bytes).map_err(io_error(temporary))?;
    file.sync_all().map_err(io_error(temporary))?;
    drop(file);
    fs::rename(temporary, target).map_err(io_error(target))?;
    let directory = File::open(folder).map_err(io_error(folder))?;
    directory.sync_all().map_err(io_error(folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sample() -> Checkpoint {
        let config = ModelConfig {
            vocabulary: 300,
            width: 8,
            layers: 1,
            heads: 2,
            hidden: 8,
            sequence: 16,
            ..ModelConfig::default()
        };
        let texts = (0..40).map(|i| format!("line {i} of the text\n"));
        Checkpoint {
            tokenizer: Tokenizer::train(texts, 290).unwrap(),
            parameters: crate::ops::check::noise(1, config.parameter_count()),
            config,
            progress: serde_json::json!({"round": 3, "tokens": 12_288, "name": "näme"}),
            sections: BTreeMap::from([
                ("outer".to_owned(), vec![1, 2, 3]),
                ("inner.0".to_owned(), Vec::new()),
            ]),
        }
    }

    #[test]
    fn saves_and_loads_itself_under_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("a/b");
        let checkpoint = sample();
        let id = checkpoint.save(&nested).unwrap();
        assert_eq!(id, checkpoint.save(&nested).unwrap());
        assert_eq!(Checkpoint::load_id(&nested, &id).unwrap(), checkpoint);
        let names: Vec<_> = fs::read_dir(&nested).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays: {names:?}");
    }

    #[test]
    fn damage_is_reported_with_the_file_name() {
        let folder = tempfile::tempdir().unwrap();
        let id = sample().save(folder.path()).unwrap();
        let path = id.path_in(folder.path());
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 5], b""] {
            fs::write(&path, bad).unwrap();
            let error = Checkpoint::load(&path).unwrap_err();
            assert!(matches!(error, ModelError::CheckpointCorrupt { .. }));
            assert!(error.to_string().contains(id.as_str()), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let error = Checkpoint::load(&path).unwrap_err();
        assert!(matches!(error, ModelError::CheckpointIo { .. }));
        assert!(error.to_string().contains(id.as_str()), "{error}");
    }

    #[test]
    fn a_file_that_is_not_a_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [&b"hello"[..], &[0xFF; 64]] {
            let path = CheckpointId::of(bytes).path_in(folder.path());
            fs::write(&path, bytes).unwrap();
            let error = Checkpoint::load(&path).unwrap_err();
            assert!(matches!(error, ModelError::CheckpointCorrupt { .. }));
        }
        let misnamed = folder.path().join("latest.ckpt");
        fs::write(&misnamed, sample().to_bytes().unwrap()).unwrap();
        assert!(Checkpoint::load(&misnamed).is_err());
    }

    #[test]
    fn wrong_parameter_count_is_not_saved() {
        let mut checkpoint = sample();
        checkpoint.parameters.pop();
        assert!(checkpoint.to_bytes().is_err());
    }

    #[test]
    fn ids_are_checked() {
        assert!("abc".parse::<CheckpointId>().is_err());
        assert!("G".repeat(64).parse::<CheckpointId>().is_err());
        assert!("a".repeat(64).parse::<CheckpointId>().is_ok());
    }
}
