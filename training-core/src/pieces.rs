//! A payload in pieces that can be fetched from several peers and checked one
//! by one.
//!
//! BLAKE3 is a tree over its input. The chaining values of all subtrees of
//! [`PIECE`] bytes lead to the payload's hash, so a list of them is right or
//! wrong by itself, whoever sent it, and each piece is right or wrong by its
//! entry. Nothing has to be trusted and nothing bad has to be fetched twice.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Bytes of a piece; the last may be shorter. A power of two of BLAKE3's chunks.
pub const PIECE: usize = 256 << 10;

/// Longest payload in pieces: 4 GiB.
const LENGTH_MAX: u64 = 4 << 30;

/// A payload's length and the chaining values of its pieces; a payload of one
/// piece has none, as its hash says all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Bytes of the payload.
    pub length: u64,
    /// One value for each piece, when there are several.
    pub values: Vec<[u8; 32]>,
}

/// Why a manifest or a piece is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// The length is over the limit, or the values do not match it.
    #[error("the manifest's length and its values do not fit")]
    Length,
    /// The values lead to another hash.
    #[error("the manifest is of another payload")]
    Manifest,
    /// There is no such piece.
    #[error("no piece {0}")]
    Index(u64),
    /// The piece has other content.
    #[error("piece {0} is not the payload's")]
    Content(u64),
}

impl Manifest {
    /// The manifest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let values = if bytes.len() > PIECE {
            let pieces = bytes.chunks(PIECE).zip(0_u64..);
            pieces.map(|(piece, index)| value(index, piece)).collect()
        } else {
            Vec::new()
        };
        Self {
            length: bytes.len() as u64,
            values,
        }
    }

    /// Number of pieces, at least one.
    pub fn pieces(&self) -> u64 {
        self.length.div_ceil(PIECE as u64).max(1)
    }

    /// Bytes of piece `index`; 0 where there is none.
    pub fn piece_bytes(&self, index: u64) -> usize {
        let start = index.saturating_mul(PIECE as u64);
        self.length.saturating_sub(start).min(PIECE as u64) as usize
    }

    /// Checks that the values lead to `digest`. `most` bounds the length.
    ///
    /// # Errors
    /// [`PieceError::Length`], [`PieceError::Manifest`].
    pub fn check(&self, digest: &Digest, most: u64) -> Result<(), PieceError> {
        if self.length > most.min(LENGTH_MAX) {
            return Err(PieceError::Length);
        }
        if self.pieces() == 1 {
            return if self.values.is_empty() {
                Ok(())
            } else {
                Err(PieceError::Length)
            };
        }
        if self.values.len() as u64 != self.pieces() {
            return Err(PieceError::Length);
        }
        let (left, right) = split(&self.values);
        let hash = merge_subtrees_root(&merge(left), &merge(right), Mode::Hash);
        if hash.as_bytes() == &digest.0 {
            Ok(())
        } else {
            Err(PieceError::Manifest)
        }
    }

    /// Checks piece `index` of the payload `digest`, whose manifest this is.
    ///
    /// # Errors
    /// [`PieceError::Index`], [`PieceError::Content`].
    pub fn check_piece(&self, digest: &Digest, index: u64, bytes: &[u8]) -> Result<(), PieceError> {
        if index >= self.pieces() {
            return Err(PieceError::Index(index));
        }
        let right = bytes.len() == self.piece_bytes(index)
            && match self.values.get(index as usize) {
                Some(want) => value(index, bytes) == *want,
                None => Digest::of(bytes) == *digest,
            };
        right.then_some(()).ok_or(PieceError::Content(index))
    }
}

fn value(index: u64, piece: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * PIECE as u64);
    hasher.update(piece);
    hasher.finalize_non_root()
}

/// BLAKE3's split: the left part is the largest power of two that leaves
/// something to the right. Never called with fewer than two values.
fn split(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().next_power_of_two() / 2)
}

fn merge(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        [] => [0; 32],
        several => {
            let (left, right) = split(several);
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn payload(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 31 % 251) as u8).collect()
    }

    #[test]
    fn manifests_and_pieces_are_checked_against_the_hash_alone() {
        for length in [
            0,
            1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            3 * PIECE,
            5 * PIECE + 77,
            8 * PIECE,
        ] {
            let bytes = payload(length);
            let digest = Digest::of(&bytes);
            let manifest = Manifest::of(&bytes);
            manifest.check(&digest, 1 << 30).unwrap();
            assert_eq!(manifest.pieces() as usize, length.div_ceil(PIECE).max(1));
            for (index, piece) in bytes.chunks(PIECE).enumerate() {
                manifest.check_piece(&digest, index as u64, piece).unwrap();
                let mut wrong = piece.to_vec();
                wrong[piece.len() / 2] ^= 1;
                let refused = manifest.check_piece(&digest, index as u64, &wrong);
                assert_eq!(refused, Err(PieceError::Content(index as u64)));
                let short = manifest.check_piece(&digest, index as u64, &piece[1..]);
                assert!(short.is_err());
            }
            let none = manifest.pieces();
            assert_eq!(
                manifest.check_piece(&digest, none, &[]),
                Err(PieceError::Index(none))
            );
        }
    }

    #[test]
    fn lies_about_a_payload_are_refused() {
        let bytes = payload(3 * PIECE);
        let (digest, manifest) = (Digest::of(&bytes), Manifest::of(&bytes));
        assert_eq!(manifest.check(&digest, 100), Err(PieceError::Length));
        assert_eq!(
            manifest.check(&Digest::of(b"x"), 1 << 30),
            Err(PieceError::Manifest)
        );
        let spoil = |change: fn(&mut Manifest)| {
            let mut other = manifest.clone();
            change(&mut other);
            other.check(&digest, 1 << 30)
        };
        assert_eq!(spoil(|m| m.length += PIECE as u64), Err(PieceError::Length));
        assert_eq!(spoil(|m| m.length = u64::MAX), Err(PieceError::Length));
        assert_eq!(spoil(|m| m.length = 1), Err(PieceError::Length));
        assert_eq!(spoil(|m| m.values.truncate(2)), Err(PieceError::Length));
        assert_eq!(spoil(|m| m.values.swap(0, 1)), Err(PieceError::Manifest));
        assert_eq!(spoil(|m| m.values[2][0] ^= 1), Err(PieceError::Manifest));
    }
}
