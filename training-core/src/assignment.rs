//! Which sequences a node trains on in a round.
//!
//! A run's data is one endless numbered list of sequences; sequence `i` is a
//! pure function of the run's data seed and `i`. A round hands out the next
//! `members × per_node` numbers, so the list position (the cursor) is all the
//! state there is: it resumes exactly, no sequence number is used twice, and
//! an auditor can rebuild what any node should have trained on. The order of
//! nodes is drawn from the round seed, so a node cannot choose its data by
//! choosing its name.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::round::NodeId;

/// A contiguous range of sequence numbers for one node in one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The node that trains on it.
    pub node: NodeId,
    /// First sequence number.
    pub start: u64,
    /// How many sequences follow from `start`.
    pub count: u64,
}

/// Seed of round `round` in a run seeded with `run_seed`.
pub fn round_seed(run_seed: u64, round: u64) -> Digest {
    Digest::derive(
        "plumbline 2026 training round seed v1",
        &[&run_seed.to_le_bytes(), &round.to_le_bytes()],
    )
}

/// Hands `per_node` sequences from `cursor` on to every node: node at rank `k`
/// of `BLAKE3(seed, node)` gets `[cursor + k·per_node, cursor + (k+1)·per_node)`.
pub fn assign(
    seed: &Digest,
    cursor: u64,
    nodes: impl IntoIterator<Item = NodeId>,
    per_node: u64,
) -> Vec<Assignment> {
    let mut ranked: Vec<(Digest, NodeId)> = nodes
        .into_iter()
        .map(|node| {
            let rank = Digest::derive(
                "plumbline 2026 training assignment v1",
                &[&seed.0, node.as_str().as_bytes()],
            );
            (rank, node)
        })
        .collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .zip(0_u64..)
        .map(|((_, node), rank)| Assignment {
            node,
            start: cursor.saturating_add(rank.saturating_mul(per_node)),
            count: per_node,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_disjoint_complete_and_independent_of_order(
            seed in any::<u64>(), cursor in 0_u64..1_000_000, count in 1_usize..20, per_node in 1_u64..50,
        ) {
            let seed = round_seed(seed, 3);
            let nodes: Vec<NodeId> =
                (0..count).map(|n| NodeId::new(format!("node-{n}")).unwrap()).collect();
            let forward = assign(&seed, cursor, nodes.iter().cloned(), per_node);
            let backward = assign(&seed, cursor, nodes.iter().rev().cloned(), per_node);
            prop_assert_eq!(&forward, &backward);
            let numbers: BTreeSet<u64> =
                forward.iter().flat_map(|a| a.start..a.start + a.count).collect();
            let want: BTreeSet<u64> = (cursor..cursor + count as u64 * per_node).collect();
            prop_assert_eq!(numbers, want);
        }
    }

    #[test]
    fn order_changes_from_round_to_round() {
        let nodes = || (0..6).map(|n| NodeId::new(format!("n{n}")).unwrap());
        let first = |round| assign(&round_seed(1, round), 0, nodes(), 1)[0].node.clone();
        let leaders: BTreeSet<NodeId> = (0..40).map(first).collect();
        assert!(leaders.len() > 3, "the same nodes always lead: {leaders:?}");
    }
}
