//! How contributions are written: the wire formats, the memory that a lossy
//! one needs, and what a payload costs in bytes.
//!
//! | scheme | a contribution is | payload |
//! |---|---|---|
//! | [`Scheme::EveryStep`] | the gradient of one step | [`dense`], kind 3 |
//! | [`Scheme::DiLoCo`] | the pseudo-gradient of H steps | [`dense`], kind 2 |
//! | [`Scheme::SparseLoCo`] | one in 64 of its values, two bits each | [`sparse`] |
//!
//! Decoders take any bytes: they never panic, they allocate no more than the
//! model is long, and every payload has exactly one encoding.

pub mod dense;
pub mod geometry;
pub mod memory;
pub mod sparse;

use serde::{Deserialize, Serialize};

use crate::schedule::{Decay, LrSchedule};
pub use dense::{PayloadError, VectorKind};
pub use geometry::Geometry;
pub use memory::Memory;
pub use sparse::SparseDelta;

/// What nodes exchange, and how the exchanged becomes a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scheme {
    /// Gradients at every step and one AdamW update of the mean: the baseline
    /// of data-parallel training.
    EveryStep,
    /// Full differences after H steps, outer Nesterov momentum.
    #[default]
    #[serde(rename = "diloco")]
    DiLoCo,
    /// Sparse two-bit differences after H steps with error feedback, and a
    /// plain outer step (Sarfi et al., "Communication Efficient LLM
    /// Pre-training with SparseLoCo", 2025).
    #[serde(rename = "sparseloco")]
    SparseLoCo(SparseOptions),
}

/// The constants of SparseLoCo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparseOptions {
    /// `β ∈ [0, 1)`: how much of what was left out before is tried again.
    pub feedback: f32,
    /// `α` by tokens: rate of the plain outer step, `> 0`.
    pub rate: LrSchedule,
}

impl SparseOptions {
    /// `β = .8`, and `α` falling on a cosine from 4 to 2.6 over `tokens`: what
    /// did best on small models with four nodes and a hundred exchanges (see
    /// `bench/RESULTS.md`). Contributions of few nodes hardly overlap, so their
    /// mean is shorter than what each of them wants.
    pub const fn over(tokens: u64) -> Self {
        Self {
            feedback: 0.8,
            rate: LrSchedule {
                peak: 4.0,
                warm_up: 0,
                decay: Decay::Cosine {
                    until: tokens,
                    floor: 0.65,
                },
            },
        }
    }
}

impl Default for SparseOptions {
    /// The published `β = .95, α = 1`.
    fn default() -> Self {
        Self {
            feedback: 0.95,
            rate: LrSchedule::flat(1.0, 0),
        }
    }
}

impl Scheme {
    /// What is out of its domain, if anything is.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::SparseLoCo(options) => {
                let rate = options.rate.peak;
                if !(0.0..1.0).contains(&options.feedback) {
                    Some("the feedback must lie in [0, 1)")
                } else if !(rate.is_finite() && rate > 0.0) {
                    Some("the outer rate must be positive")
                } else {
                    None
                }
            }
            Self::EveryStep | Self::DiLoCo => None,
        }
    }

    /// Bytes of one contribution of a model cut by `geometry`.
    pub fn wire_bytes(&self, geometry: &Geometry) -> usize {
        match self {
            Self::EveryStep | Self::DiLoCo => dense::wire_bytes(geometry.values()),
            Self::SparseLoCo(_) => sparse::wire_bytes(geometry),
        }
    }

    /// The contribution in `bytes`, as one value per parameter.
    ///
    /// # Errors
    /// [`PayloadError`] for anything that this scheme does not write.
    pub fn decode(&self, geometry: &Geometry, bytes: &[u8]) -> Result<Vec<f32>, PayloadError> {
        let want = geometry.values();
        match self {
            Self::EveryStep => dense::decode(VectorKind::Gradient, bytes, want),
            Self::DiLoCo => dense::decode(VectorKind::PseudoGradient, bytes, want),
            Self::SparseLoCo(_) => Ok(sparse::decode(geometry, bytes)?.to_dense()),
        }
    }

    /// Writes a contribution. `memory` is what the node remembers from
    /// earlier rounds; it is changed where the scheme loses something.
    ///
    /// # Errors
    /// [`CodecError::Length`] when `delta` is not one value per parameter, and
    /// [`CodecError::NotFinite`].
    pub fn encode(
        &self,
        geometry: &Geometry,
        memory: &mut Memory,
        delta: &[f32],
    ) -> Result<Vec<u8>, CodecError> {
        let want = geometry.values();
        if delta.len() != want {
            return Err(CodecError::Length {
                got: delta.len(),
                want,
            });
        }
        if let Some(position) = delta.iter().position(|value| !value.is_finite()) {
            return Err(CodecError::NotFinite(position));
        }
        match self {
            Self::EveryStep => Ok(dense::encode(VectorKind::Gradient, delta)),
            Self::DiLoCo => Ok(dense::encode(VectorKind::PseudoGradient, delta)),
            Self::SparseLoCo(options) => {
                let wanted = memory.accumulate(options.feedback, delta);
                if let Some(position) = wanted.iter().position(|value| !value.is_finite()) {
                    return Err(CodecError::NotFinite(position));
                }
                let sent = SparseDelta::select(geometry, &wanted);
                memory.remember(wanted, &sent);
                Ok(sparse::encode(geometry, &sent))
            }
        }
    }
}

/// Why something could not be written or set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The shapes describe no model that can be cut.
    #[error("model shapes: {0}")]
    Geometry(&'static str),
    /// Another number of values than the model has.
    #[error("a difference has {got} values, the model has {want}")]
    Length {
        /// Values given.
        got: usize,
        /// Values needed.
        want: usize,
    },
    /// A value is infinite or not a number.
    #[error("value {0} of the difference is not finite")]
    NotFinite(usize),
    /// Stored memory that is not this model's.
    #[error("stored error feedback: {0}")]
    Memory(&'static str),
}
