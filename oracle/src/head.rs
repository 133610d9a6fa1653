//! A judge that is a model and a head: the model reads the transcripts, the head says what they come to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claim::Claim;
use crate::error::{JudgeError, WeightsError};
use crate::exhibit::Exhibit;
use crate::judge::{Judge, JudgeContext, Judgement};
use crate::reader::{Passage, Reader};
use crate::transcripts;
use crate::weights::{Opinion, Weights};

/// Opinions that are remembered.
const REMEMBERED: usize = 4_096;

/// Trained heads on what a model reads.
pub struct HeadJudge {
    reader: Arc<dyn Reader>,
    weights: Weights,
    version: String,
    memory: Mutex<Memory>,
}

/// Opinions by the content of the passage, the oldest first to go.
#[derive(Default)]
struct Memory {
    opinions: HashMap<[u8; 32], Opinion>,
    order: VecDeque<[u8; 32]>,
}

impl HeadJudge {
    /// A judge of this model with heads that were fitted on it.
    ///
    /// Errors: [`WeightsError::WrongModel`] for heads fitted on another model.
    pub fn new(reader: Arc<dyn Reader>, weights: Weights) -> Result<Self, WeightsError> {
        let (name, version) = (reader.name().to_owned(), reader.version());
        if weights.reader() != Some((&name, &version)) || weights.widths() != Some(reader.widths())
        {
            let fitted = weights.reader();
            return Err(WeightsError::WrongModel {
                found: format!("{name} {version}"),
                expected: fitted.map_or("none".to_owned(), |(name, version)| {
                    format!("{name} {version}")
                }),
            });
        }
        let mut hasher = blake3::Hasher::new();
        for part in [&version, &reader.build(), &weights.version()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Ok(Self {
            version: hasher.finalize().to_hex()[..16].to_owned(),
            reader,
            weights,
            memory: Mutex::default(),
        })
    }

    /// The heads' weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Opinions on passages, from memory or from the model, which reads all that are new together.
    fn opinions(&self, passages: &[Passage<'_>]) -> Result<Vec<Opinion>, JudgeError> {
        let hashes: Vec<[u8; 32]> = passages.iter().map(Passage::content_hash).collect();
        let mut opinions: Vec<Option<Opinion>> = {
            let memory = self.memory();
            let known = hashes.iter().map(|hash| memory.opinions.get(hash).copied());
            known.collect()
        };
        let missing: Vec<usize> = (0..passages.len())
            .filter(|i| opinions[*i].is_none())
            .collect();
        if !missing.is_empty() {
            let unread: Vec<Passage<'_>> = missing.iter().map(|i| passages[*i]).collect();
            let read = self.reader.read(&unread)?;
            if read.len() != unread.len() {
                let what = "the model read another number of passages than it was given";
                return Err(JudgeError::Failed(what.to_owned()));
            }
            let mut memory = self.memory();
            for (i, features) in missing.into_iter().zip(read) {
                if !self.reader.widths().fit(&features) {
                    let what = "the model gave a value that is not finite";
                    return Err(JudgeError::Failed(what.to_owned()));
                }
                let opinion = self.weights.head_opinion(&passages[i], &features);
                memory.keep(hashes[i], opinion);
                opinions[i] = Some(opinion);
            }
        }
        Ok(opinions.into_iter().flatten().collect())
    }

    /// What a panicked holder left is whole: an opinion is in the map before it is in the order.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn keep(&mut self, hash: [u8; 32], opinion: Opinion) {
        if self.opinions.insert(hash, opinion).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.opinions.remove(&oldest);
        }
    }
}

impl Judge for HeadJudge {
    fn name(&self) -> &str {
        self.reader.name()
    }

    fn family(&self) -> &str {
        self.reader.family()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn judge(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let pairs = transcripts::read(exhibits)?;
        if pairs.is_empty() {
            return Err(JudgeError::NothingToJudge);
        }
        let passages: Vec<Passage<'_>> = pairs
            .iter()
            .map(|(prompt, response)| Passage {
                kind: &claim.kind,
                prompt,
                response,
            })
            .collect();
        let opinions = self.opinions(&passages)?;
        Ok(transcripts::judgement(self.name(), &opinions, context))
    }
}

/// A judge of the ensemble whose model is not there: it fails with the reason wherever it would have judged, so that
/// the interval is wider for it and everybody can see what is missing.
#[derive(Debug, Clone)]
pub struct MissingJudge {
    name: String,
    reason: String,
}

impl MissingJudge {
    /// A judge of this name, and why it is missing.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

impl Judge for MissingJudge {
    fn name(&self) -> &str {
        &self.name
    }

    fn family(&self) -> &str {
        "missing"
    }

    fn version(&self) -> String {
        "missing".to_owned()
    }

    fn missing(&self) -> Option<&str> {
        Some(&self.reason)
    }

    fn judge(
        &self,
        _: &Claim,
        exhibits: &[Exhibit],
        _: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        if transcripts::read(exhibits)?.is_empty() {
            return Err(JudgeError::NothingToJudge);
        }
        Err(JudgeError::Unavailable(self.reason.clone()))
    }
}
