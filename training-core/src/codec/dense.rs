//! Payload bytes: vectors of `f32` with a header that says what they are.
//!
//! `"PLMB"`, version (1), kind (1), two zero bytes, count (u64), then `count`
//! little-endian `f32` values.

use serde::{Deserialize, Serialize};

pub(super) const MAGIC: &[u8; 4] = b"PLMB";
pub(super) const VERSION: u8 = 1;
const HEADER: usize = 16;

/// What a vector is, so that one kind can never be taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum VectorKind {
    /// Model parameters `θ`.
    Parameters = 1,
    /// A pseudo-gradient `Δ`.
    PseudoGradient = 2,
    /// The gradient of one step.
    Gradient = 3,
    /// A pseudo-gradient in the sparse format.
    SparseDelta = 4,
}

/// Bytes that are not the vector that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Wrong magic, version, kind or length.
    #[error("not a {0:?} payload of version {VERSION}")]
    Format(VectorKind),
    /// Another number of values than the model has.
    #[error("payload holds {got} values, the model has {want}")]
    Count {
        /// Values in the payload.
        got: usize,
        /// Values needed.
        want: usize,
    },
    /// A value is infinite or not a number.
    #[error("payload value {0} is not finite")]
    NotFinite(usize),
    /// The content could have been written in another way.
    #[error("payload is not in its one allowed form")]
    NotCanonical,
}

/// Length of a payload of `values` values.
pub const fn wire_bytes(values: usize) -> usize {
    HEADER + 4 * values
}

/// The payload of `values`.
pub fn encode(kind: VectorKind, values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 4 * values.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The `want` finite values of a payload of `kind`.
///
/// # Errors
/// [`PayloadError`] for anything else: payloads come from strangers.
pub fn decode(kind: VectorKind, bytes: &[u8], want: usize) -> Result<Vec<f32>, PayloadError> {
    let (header, body) = bytes
        .split_at_checked(HEADER)
        .ok_or(PayloadError::Format(kind))?;
    let head = [MAGIC.as_slice(), &[VERSION, kind as u8, 0, 0]].concat();
    if header[..8] != head || body.len() % 4 != 0 {
        return Err(PayloadError::Format(kind));
    }
    let got = body.len() / 4;
    if header[8..] != (got as u64).to_le_bytes() {
        return Err(PayloadError::Format(kind));
    }
    if got != want {
        return Err(PayloadError::Count { got, want });
    }
    let values: Vec<f32> = body
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(PayloadError::NotFinite(position)),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_what_it_should() {
        use VectorKind::{Parameters, PseudoGradient};
        let values = [1.5, -0.0, f32::MIN_POSITIVE];
        let bytes = encode(Parameters, &values);
        assert_eq!(decode(Parameters, &bytes, 3), Ok(values.to_vec()));
        let count = PayloadError::Count { got: 3, want: 4 };
        assert_eq!(decode(Parameters, &bytes, 4), Err(count));
        let format = |kind, bytes: &[u8]| {
            assert_eq!(decode(kind, bytes, 3), Err(PayloadError::Format(kind)));
        };
        format(PseudoGradient, &bytes);
        format(Parameters, &bytes[..27]);
        format(Parameters, &bytes[..24]);
        format(Parameters, &[]);
        let bad = encode(PseudoGradient, &[0.0, f32::NAN, 1.0]);
        assert_eq!(
            decode(PseudoGradient, &bad, 3),
            Err(PayloadError::NotFinite(1))
        );
    }
}
