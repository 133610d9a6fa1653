//! Error feedback: what a lossy codec left out, to be tried again.

use super::{CodecError, SparseDelta};

/// One node's error `e`; empty until something was left out. It belongs to the
/// node's state and is part of every checkpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    error: Vec<f32>,
}

impl Memory {
    /// The error, one value per parameter, or none yet.
    pub fn error(&self) -> &[f32] {
        &self.error
    }

    /// `a = β·e + Δ`.
    pub(super) fn accumulate(&self, feedback: f32, delta: &[f32]) -> Vec<f32> {
        if self.error.is_empty() {
            return delta.to_vec();
        }
        let pairs = self.error.iter().zip(delta);
        pairs.map(|(e, d)| feedback * e + d).collect()
    }

    /// `e ← a − Δ̂`.
    pub(super) fn remember(&mut self, mut wanted: Vec<f32>, sent: &SparseDelta) {
        for (position, value) in sent.entries() {
            wanted[position] -= value;
        }
        self.error = wanted;
    }

    /// For a checkpoint: little-endian `f32`, nothing when there is no error.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.error.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// What [`Memory::to_bytes`] gave for a model of `values` parameters.
    ///
    /// # Errors
    /// [`CodecError::Memory`].
    pub fn from_bytes(bytes: &[u8], values: usize) -> Result<Self, CodecError> {
        if !bytes.is_empty() && bytes.len() != 4 * values {
            return Err(CodecError::Memory("it is another model's"));
        }
        let error: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        if error.iter().any(|value| !value.is_finite()) {
            return Err(CodecError::Memory("a value is not finite"));
        }
        Ok(Self { error })
    }
}
