//! How a flat parameter vector is cut into chunks of at most 4,096 values.
//!
//! A matrix is cut into blocks of 64 × 64 in row-major order of blocks, with
//! smaller blocks at its right and lower edges, because rows and columns of a
//! weight matrix belong together. Everything with a single row (gains) is
//! joined in canonical order and cut into runs of 4,096. Positions inside a
//! chunk then fit 12 bits.

use std::ops::Range;

use super::CodecError;
use crate::digest::Digest;

/// Side of a matrix block.
pub const BLOCK: usize = 64;
/// Most values in a chunk.
pub const CHUNK: usize = BLOCK * BLOCK;
/// Of how many values one is sent.
pub const ONE_OF: usize = 64;

/// Most values of a model: what a decoder allocates never exceeds this.
const VALUES_MAX: usize = 1 << 30;
/// Most tensors of a model.
const TENSORS_MAX: usize = 1 << 16;

/// A chunk: runs of adjacent positions of the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    runs: Vec<Range<usize>>,
    len: usize,
}

impl Chunk {
    fn new(runs: Vec<Range<usize>>) -> Self {
        let len = runs.iter().map(ExactSizeIterator::len).sum();
        Self { runs, len }
    }

    /// Values in it, `1..=4096`.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a chunk holds at least one value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Values that are sent of it: one in 64, at least one.
    pub fn kept(&self) -> usize {
        self.len.div_ceil(ONE_OF)
    }

    /// Bytes on the wire: 12 bits of index and 2 of value for each kept value.
    pub fn wire_bytes(&self) -> usize {
        (14 * self.kept()).div_ceil(8)
    }

    /// Positions in the flat vector, by index in the chunk.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(Clone::clone)
    }
}

/// The chunks of a model, by group. Values of a group share their centroids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    values: usize,
    groups: Vec<Vec<Chunk>>,
    digest: Digest,
}

impl Geometry {
    /// Cuts tensors of `rows × columns` that lie one after the other.
    ///
    /// # Errors
    /// [`CodecError::Geometry`] for an empty or absurdly large model.
    pub fn new(shapes: &[[usize; 2]]) -> Result<Self, CodecError> {
        let mut values = 0_usize;
        for [rows, columns] in shapes {
            let size = rows.checked_mul(*columns).filter(|size| *size > 0);
            let sum = size.and_then(|size| values.checked_add(size));
            values = sum
                .filter(|sum| *sum <= VALUES_MAX)
                .ok_or(CodecError::Geometry("a tensor is empty or too large"))?;
        }
        if values == 0 || shapes.len() > TENSORS_MAX {
            return Err(CodecError::Geometry("no tensors, or too many"));
        }
        let mut groups = Vec::new();
        let mut single = Vec::new();
        let mut start = 0;
        for &[rows, columns] in shapes {
            let end = start + rows * columns;
            if rows == 1 || columns == 1 {
                single.push(start..end);
            } else {
                groups.push(blocks(start, rows, columns));
            }
            start = end;
        }
        if !single.is_empty() {
            groups.push(pieces(single));
        }
        let mut text = Vec::new();
        for [rows, columns] in shapes {
            text.extend_from_slice(&(*rows as u64).to_le_bytes());
            text.extend_from_slice(&(*columns as u64).to_le_bytes());
        }
        Ok(Self {
            values,
            groups,
            digest: Digest::derive("plumbline 2026 codec geometry v1", &[&text]),
        })
    }

    /// Length of the flat vector.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Chunks by group, in the order of the wire.
    pub fn groups(&self) -> &[Vec<Chunk>] {
        &self.groups
    }

    /// Hash of the shapes: two sides that cut differently cannot be confused.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Values that are sent in all.
    pub fn kept(&self) -> usize {
        self.groups.iter().flatten().map(Chunk::kept).sum()
    }
}

fn blocks(start: usize, rows: usize, columns: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for top in (0..rows).step_by(BLOCK) {
        for left in (0..columns).step_by(BLOCK) {
            let right = (left + BLOCK).min(columns);
            let runs = (top..(top + BLOCK).min(rows))
                .map(|row| start + row * columns + left..start + row * columns + right);
            chunks.push(Chunk::new(runs.collect()));
        }
    }
    chunks
}

fn pieces(ranges: Vec<Range<usize>>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut runs = Vec::new();
    let mut free = CHUNK;
    for mut range in ranges {
        while !range.is_empty() {
            let taken = range.len().min(free);
            runs.push(range.start..range.start + taken);
            range.start += taken;
            free -= taken;
            if free == 0 {
                chunks.push(Chunk::new(std::mem::take(&mut runs)));
                free = CHUNK;
            }
        }
    }
    if !runs.is_empty() {
        chunks.push(Chunk::new(runs));
    }
    chunks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matrices_are_cut_into_blocks_and_gains_are_joined() {
        let geometry = Geometry::new(&[[130, 70], [1, 5], [3, 64], [1, 6]]).unwrap();
        let sizes: Vec<Vec<usize>> = geometry
            .groups()
            .iter()
            .map(|chunks| chunks.iter().map(Chunk::len).collect())
            .collect();
        let first = vec![64 * 64, 64 * 6, 64 * 64, 64 * 6, 2 * 64, 2 * 6];
        assert_eq!(sizes, [first, vec![3 * 64], vec![11]]);
        let gains: Vec<usize> = geometry.groups()[2][0].positions().collect();
        let (one, two) = (130 * 70, 130 * 70 + 5 + 192);
        assert_eq!(
            gains,
            (one..one + 5).chain(two..two + 6).collect::<Vec<_>>()
        );
        assert_eq!(geometry.groups()[0][0].kept(), 64);
        assert_eq!(geometry.groups()[0][0].wire_bytes(), 896 / 8);
        assert_eq!(geometry.groups()[2][0].kept(), 1);
    }

    #[test]
    fn absurd_shapes_are_refused() {
        for shapes in [
            &[][..],
            &[[0, 4]],
            &[[usize::MAX, 2]],
            &[[1 << 20, 1 << 20]],
        ] {
            assert!(Geometry::new(shapes).is_err(), "{shapes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_position_is_in_exactly_one_chunk(
            shapes in prop::collection::vec((1_usize..150, 1_usize..150), 1..6),
        ) {
            let shapes: Vec<[usize; 2]> = shapes.into_iter().map(|(r, c)| [r, c]).collect();
            let geometry = Geometry::new(&shapes).unwrap();
            let mut seen = vec![0_u8; geometry.values()];
            for chunk in geometry.groups().iter().flatten() {
                prop_assert!(chunk.len() <= CHUNK && !chunk.is_empty());
                chunk.positions().for_each(|position| seen[position] += 1);
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
        }
    }
}
