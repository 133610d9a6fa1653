//! Merkle trees as in RFC 6962, section 2.1, with BLAKE3 in place of SHA-256.
//!
//! ```text
//! MTH({})      = BLAKE3("")
//! MTH({d})     = BLAKE3(0x00 ‖ d)
//! MTH(D[0..n]) = BLAKE3(0x01 ‖ MTH(D[0..k]) ‖ MTH(D[k..n])),  k the largest power of two < n
//! ```

use crate::digest::Digest;

/// `BLAKE3(0x00 ‖ data)`: what stands for one entry.
pub fn leaf(data: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]);
    hasher.update(data);
    Digest(*hasher.finalize().as_bytes())
}

/// What stands for one exhibit set in a market's exhibit tree: the leaf of its evidence id
/// (UTF-8) followed by the 32 bytes of its content hash.
pub fn exhibit_leaf(evidence_id: &str, content: &Digest) -> Digest {
    leaf(&[evidence_id.as_bytes(), &content.0].concat())
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[1]);
    hasher.update(&left.0);
    hasher.update(&right.0);
    Digest(*hasher.finalize().as_bytes())
}

/// The largest power of two below `n`, for `n ≥ 2`.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

/// The root over leaves, in their order.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The siblings on the way from leaf `index` up to the root, nearest first; `None` when there
/// is no such leaf.
pub fn inclusion(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut part, mut at) = (leaves, index);
    while part.len() > 1 {
        let (left, right) = part.split_at(split(part.len()));
        if at < left.len() {
            path.push(root(right));
            part = left;
        } else {
            path.push(root(left));
            at -= left.len();
            part = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether `path` shows that the leaf is the `index`-th of `size` under `root`.
pub fn verify(root: &Digest, leaf: &Digest, index: usize, size: usize, path: &[Digest]) -> bool {
    if index >= size {
        return false;
    }
    // RFC 9162, section 2.1.3.2: from the leaf up, skipping levels without a sibling.
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            hash = node(sibling, &hash);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at /= 2;
        last /= 2;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
    }

    #[test]
    fn small_trees_by_hand() {
        let all = leaves(3);
        assert_eq!(root(&[]), Digest::of(b""));
        assert_eq!(leaf(b"x"), Digest::of(b"\0x"));
        assert_eq!(root(&all[..1]), all[0]);
        let pair = Digest::of(&[&[1][..], &all[0].0, &all[1].0].concat());
        assert_eq!(root(&all[..2]), pair);
        let three = Digest::of(&[&[1][..], &pair.0, &all[2].0].concat());
        assert_eq!(root(&all), three);
    }

    #[test]
    fn every_leaf_is_proven_and_nothing_else_is() {
        for size in 1..=65 {
            let all = leaves(size);
            let top = root(&all);
            for index in 0..size {
                let path = inclusion(&all, index).unwrap();
                assert!(
                    verify(&top, &all[index], index, size, &path),
                    "{index} of {size}"
                );
                assert!(!verify(&top, &leaf(b"other"), index, size, &path));
                let elsewhere = (index + 1) % size;
                assert!(size == 1 || !verify(&top, &all[index], elsewhere, size, &path));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!verify(&top, &all[index], index, size, shorter));
                }
                let longer = [&path[..], &[top]].concat();
                assert!(!verify(&top, &all[index], index, size, &longer));
            }
            assert_eq!(inclusion(&all, size), None);
            assert!(!verify(&top, &all[0], size, size, &[]));
        }
    }
}
