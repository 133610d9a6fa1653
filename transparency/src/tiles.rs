//! How a tree is kept: tiles of 32 hashes.
//!
//! Tile `position` of level `l` holds, in order, the hashes of complete subtrees of `32^l` entries, up to 32
//! of them. A batch of entries touches the last tile of each level that it completes subtrees of, so a
//! tree of any size grows by few writes, and every hash of a proof comes from the few tiles on its way.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::tree::{Hash, Subtrees, node};

/// Levels of the tree that a tile spans.
pub const HEIGHT: u32 = 5;
/// Hashes of a full tile.
pub const WIDTH: u64 = 1 << HEIGHT;

/// Where a tile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Level of tiles; its hashes are over `32^level` entries each.
    pub level: u32,
    /// Position among the tiles of the level.
    pub position: u64,
}

/// Where tiles are kept.
pub trait Tiles {
    /// Why a tile could not be had.
    type Error;

    /// The hashes of a tile as it is kept; none where there is none yet.
    ///
    /// # Errors
    /// When it cannot be read.
    fn tile(&mut self, id: TileId) -> Result<Vec<Hash>, Self::Error>;
}

/// Adds the hashes of further entries to a tree of `size` entries. Gives back the tiles that changed, as
/// they are now.
///
/// # Errors
/// Those of `kept`.
pub fn append<T: Tiles>(
    kept: &mut T,
    size: u64,
    leaves: &[Hash],
) -> Result<BTreeMap<TileId, Vec<Hash>>, T::Error> {
    let mut changed: BTreeMap<TileId, Vec<Hash>> = BTreeMap::new();
    for (entry, leaf) in (size..).zip(leaves) {
        let (mut hash, mut index, mut level) = (*leaf, entry, 0);
        loop {
            let id = TileId {
                level,
                position: index / WIDTH,
            };
            let hashes = match changed.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                // A tile that begins here is not asked for: there is none.
                Entry::Vacant(new) if index % WIDTH == 0 => new.insert(Vec::new()),
                Entry::Vacant(new) => new.insert(kept.tile(id)?),
            };
            hashes.push(hash);
            if hashes.len() as u64 != WIDTH {
                break;
            }
            hash = fold(hashes);
            index /= WIDTH;
            level += 1;
        }
    }
    Ok(changed)
}

/// Hash over a complete subtree from those of its equal parts; their number is a power of two.
fn fold(parts: &[Hash]) -> Hash {
    let mut row = parts.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| node(&pair[0], &pair[1])).collect();
    }
    row.first().copied().unwrap_or_else(crate::tree::empty)
}

/// Reads the subtrees of a tree out of its tiles; remembers what it has read.
pub struct TileReader<'a, T> {
    kept: &'a mut T,
    read: BTreeMap<TileId, Vec<Hash>>,
}

impl<'a, T: Tiles> TileReader<'a, T> {
    /// A reader of what is kept there.
    pub fn new(kept: &'a mut T) -> Self {
        Self {
            kept,
            read: BTreeMap::new(),
        }
    }
}

/// A hash could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// A tile lacks a hash that it should have.
    #[error("tile {position} of level {level} lacks a hash")]
    Missing {
        /// Its level.
        level: u32,
        /// Its position.
        position: u64,
    },
    /// A tile could not be read.
    #[error(transparent)]
    Unreadable(E),
}

impl<T: Tiles> Subtrees for TileReader<'_, T> {
    type Error = TileError<T::Error>;

    fn subtree(&mut self, level: u32, position: u64) -> Result<Hash, Self::Error> {
        let within = level % HEIGHT;
        let first = position << within;
        let id = TileId {
            level: level / HEIGHT,
            position: first / WIDTH,
        };
        let tile = match self.read.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.kept.tile(id).map_err(TileError::Unreadable)?),
        };
        let start = usize::try_from(first % WIDTH).unwrap_or(usize::MAX);
        let parts = tile.get(start..start + (1 << within));
        parts.map(fold).ok_or(TileError::Missing {
            level: id.level,
            position: id.position,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::tree::{consistency, inclusion, leaf, root};

    #[derive(Default)]
    struct Kept(BTreeMap<TileId, Vec<Hash>>, usize);

    impl Tiles for Kept {
        type Error = Infallible;
        fn tile(&mut self, id: TileId) -> Result<Vec<Hash>, Infallible> {
            self.1 += 1;
            Ok(self.0.get(&id).cloned().unwrap_or_default())
        }
    }

    impl Kept {
        fn grow(&mut self, size: u64, leaves: &[Hash]) -> usize {
            let changed = append(self, size, leaves).unwrap();
            let count = changed.len();
            self.0.extend(changed);
            count
        }
    }

    proptest! {
        #[test]
        fn a_tree_grown_in_batches_is_the_tree(batches in prop::collection::vec(0_usize..200, 1..20)) {
            let total: usize = batches.iter().sum();
            let all: Vec<Hash> = (0..total as u64).map(|n| leaf(&n.to_be_bytes())).collect();
            let (mut kept, mut size) = (Kept::default(), 0);
            for batch in batches {
                let written = kept.grow(size as u64, &all[size..size + batch]);
                prop_assert!(written <= batch / 16 + 5);
                size += batch;
                let mut tree = &all[..size];
                let mut reader = TileReader::new(&mut kept);
                let n = size as u64;
                prop_assert_eq!(root(&mut reader, n).unwrap(), root(&mut tree, n).unwrap());
                if n > 0 {
                    prop_assert_eq!(inclusion(&mut reader, n / 3, n).unwrap(), inclusion(&mut tree, n / 3, n).unwrap());
                    prop_assert_eq!(consistency(&mut reader, n / 2, n).unwrap(), consistency(&mut tree, n / 2, n).unwrap());
                }
            }
        }
    }

    #[test]
    fn what_is_lost_is_not_made_up() {
        let all: Vec<Hash> = (0..70_u64).map(|n| leaf(&n.to_be_bytes())).collect();
        let mut kept = Kept::default();
        kept.grow(0, &all);
        let lost = TileId {
            level: 0,
            position: 2,
        };
        kept.0.remove(&lost);
        assert_eq!(
            root(&mut TileReader::new(&mut kept), 70),
            Err(TileError::Missing {
                level: 0,
                position: 2
            })
        );
        assert!(root(&mut TileReader::new(&mut kept), 64).is_ok());
    }
}
