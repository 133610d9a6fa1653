//! The Merkle tree of RFC 6962, section 2.1.
//!
//! ```text
//! MTH({})      = SHA-256("")
//! MTH({d})     = SHA-256(0x00 ‖ d)
//! MTH(D[0..n]) = SHA-256(0x01 ‖ MTH(D[0..k]) ‖ MTH(D[k..n])),  k the largest power of two < n
//! ```
//!
//! Sizes are counted in entries. Nothing here holds a tree: what is asked of one is asked of a
//! [`Subtrees`], which knows the hashes of complete subtrees.

use std::ops::Range;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// SHA-256 of a text.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    digest(&[bytes])
}

/// What stands for an entry: `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    digest(&[&[0], entry])
}

/// What stands for two neighbours: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
}

/// Root of the tree without entries.
#[must_use]
pub fn empty() -> Hash {
    digest(&[])
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Hashes of complete subtrees, by where they are.
pub trait Subtrees {
    /// Why a hash could not be had.
    type Error;

    /// Hash over the entries `position << level .. (position + 1) << level`, all of which there are.
    ///
    /// # Errors
    /// When what is kept does not have it.
    fn subtree(&mut self, level: u32, position: u64) -> Result<Hash, Self::Error>;
}

/// Leaves in memory, for tests and for auditors who have them all.
impl Subtrees for &[Hash] {
    type Error = std::convert::Infallible;

    fn subtree(&mut self, level: u32, position: u64) -> Result<Hash, Self::Error> {
        let first = usize::try_from(position << level).unwrap_or(usize::MAX);
        let mut row: Vec<Hash> = self.iter().skip(first).take(1 << level).copied().collect();
        while row.len() > 1 {
            row = row
                .chunks(2)
                .map(|pair| pair.get(1).map_or(pair[0], |right| node(&pair[0], right)))
                .collect();
        }
        Ok(row.first().copied().unwrap_or_else(empty))
    }
}

/// What was asked of a tree that cannot have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a tree of {size} entries has no entry or beginning {asked}")]
pub struct Beyond {
    /// Index or size asked for.
    pub asked: u64,
    /// Size of the tree.
    pub size: u64,
}

/// The largest power of two below `n`, for `n ≥ 2`.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Hash over a range that begins at a multiple of the power of two that covers it: every subtree that
/// the recursion of RFC 6962 meets.
fn range<S: Subtrees>(tree: &mut S, entries: Range<u64>) -> Result<Hash, S::Error> {
    let (mut start, end) = (entries.start, entries.end);
    if start == end {
        return Ok(empty());
    }
    // Complete subtrees of falling size, from the left.
    let mut parts = Vec::new();
    while start < end {
        let level = (end - start).ilog2();
        parts.push(tree.subtree(level, start >> level)?);
        start += 1 << level;
    }
    let mut parts = parts.into_iter().rev();
    let last = parts.next().unwrap_or_else(empty);
    Ok(parts.fold(last, |right, left| node(&left, &right)))
}

/// The root of the first `size` entries.
///
/// # Errors
/// Those of `tree`.
pub fn root<S: Subtrees>(tree: &mut S, size: u64) -> Result<Hash, S::Error> {
    range(tree, 0..size)
}

/// The siblings on the way from entry `index` to the root of the first `size` entries, nearest first.
///
/// # Errors
/// Those of `tree`; [`Beyond`] in the inner result when there is no such entry.
pub fn inclusion<S: Subtrees>(
    tree: &mut S,
    index: u64,
    size: u64,
) -> Result<Result<Vec<Hash>, Beyond>, S::Error> {
    if index >= size {
        return Ok(Err(Beyond { asked: index, size }));
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range(tree, middle..end)?);
            end = middle;
        } else {
            path.push(range(tree, start..middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Ok(path))
}

/// What shows that the first `from` of `to` entries are what they were: RFC 6962, section 2.1.2. Nothing
/// needs to be shown for `from = 0` and for `from = to`.
///
/// # Errors
/// Those of `tree`; [`Beyond`] in the inner result when `from` is the larger one.
pub fn consistency<S: Subtrees>(
    tree: &mut S,
    from: u64,
    to: u64,
) -> Result<Result<Vec<Hash>, Beyond>, S::Error> {
    if from > to {
        return Ok(Err(Beyond {
            asked: from,
            size: to,
        }));
    }
    if from == 0 || from == to {
        return Ok(Ok(Vec::new()));
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, to);
    // Whether the part that is looked at is the whole old tree, whose root the verifier has.
    let mut known = true;
    while from != end {
        let middle = start + split(end - start);
        if from <= middle {
            path.push(range(tree, middle..end)?);
            end = middle;
        } else {
            path.push(range(tree, start..middle)?);
            start = middle;
            known = false;
        }
    }
    if !known {
        path.push(range(tree, start..end)?);
    }
    path.reverse();
    Ok(Ok(path))
}

/// Whether `path` shows that `leaf` is the hash of entry `index` of the tree of `size` entries with this root:
/// RFC 9162, section 2.1.3.2.
#[must_use]
pub fn verify_inclusion(root: &Hash, leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `path` shows that the tree of `from` entries with root `old` is the beginning of the one of `to`
/// entries with root `new`: RFC 9162, section 2.1.4.2.
#[must_use]
pub fn verify_consistency(from: u64, old: &Hash, to: u64, new: &Hash, path: &[Hash]) -> bool {
    if from > to {
        return false;
    }
    if from == to {
        return path.is_empty() && old == new;
    }
    if from == 0 {
        return path.is_empty() && *old == empty();
    }
    // A complete old tree is itself the first node of the proof.
    let mut path = path.iter();
    let first = if from.is_power_of_two() {
        Some(old)
    } else {
        path.next()
    };
    let Some(first) = first else {
        return false;
    };
    let (mut at, mut last) = (from - 1, to - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut left, mut right) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            left = node(sibling, &left);
            right = node(sibling, &right);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            right = node(&right, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && left == *old && right == *new
}

#[cfg(test)]
mod tests;
