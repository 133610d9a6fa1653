//! RFC 6962 with SHA-256, from the leaves: the auditor has them all.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub(crate) type Hash = [u8; 32];

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// What stands for an entry.
pub(crate) fn leaf(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry].concat())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left[..], right].concat())
}

/// A tree that takes one leaf after another and knows its root at any time: complete subtrees of falling
/// size, as the bits of the number of leaves say.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    complete: Vec<Hash>,
    size: u64,
}

impl Growing {
    /// Adds a leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // One subtree is merged for each trailing one of the size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.complete.pop() {
                hash = node(&left, &hash);
            }
        }
        self.complete.push(hash);
        self.size += 1;
    }

    /// Number of leaves.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Root over them.
    pub(crate) fn root(&self) -> Hash {
        let mut parts = self.complete.iter().rev();
        match parts.next() {
            None => sha256(b""),
            Some(last) => parts.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_certificate_transparency() {
        // Inputs and roots of its reference tests for 0, 1, 2, 3 and 7 leaves.
        let inputs: [&[u8]; 7] = [
            b"",
            b"\0",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
        ];
        let known = [
            (0, "e3b0c442"),
            (1, "6e340b9c"),
            (2, "fac54203"),
            (3, "aeb6bcfe"),
            (7, "ddb89be4"),
        ];
        let mut tree = Growing::default();
        let mut roots = vec![tree.root()];
        for input in inputs {
            tree.push(leaf(input));
            roots.push(tree.root());
        }
        for (size, start) in known {
            let root: String = roots[size]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert!(root.starts_with(start), "{size}: {root}");
        }
    }
}
