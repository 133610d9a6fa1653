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

/// Nodes whose speeds differ by less than this many percent are given the same:
/// measured speeds are never quite equal.
const ALIKE_PERCENT: u64 = 125;

/// Most that a node is given, in multiples of the mean.
const SHARE_MOST: u64 = 16;

/// How many sequences each node gets so that all are done at the same time.
///
/// `per_node × nodes × speedᵢ / Σ speed`, rounded down to multiples of `unit`
/// and within `unit ..= 16 × per_node`. A node of unknown speed (0) counts as
/// of mean speed. Without a unit, or where speeds are alike, every node gets
/// `per_node`.
pub fn shares(per_node: u64, unit: u64, speeds: &[u64]) -> Vec<u64> {
    let known: Vec<u64> = speeds.iter().copied().filter(|&speed| speed > 0).collect();
    let (least, most) = (known.iter().min(), known.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else {
        return vec![per_node; speeds.len()];
    };
    let alike = u128::from(most) * 100 <= u128::from(least) * u128::from(ALIKE_PERCENT);
    if unit == 0 || alike {
        return vec![per_node; speeds.len()];
    }
    let sum: u128 = known.iter().map(|&speed| u128::from(speed)).sum();
    let count = known.len() as u128;
    let share = |speed: u64| {
        if speed == 0 {
            return per_node;
        }
        // Of what all nodes of known speed have together.
        let exact = u128::from(per_node) * count * u128::from(speed) / sum;
        let most = u128::from(per_node.saturating_mul(SHARE_MOST));
        let whole = u64::try_from(exact.min(most)).unwrap_or(u64::MAX) / unit * unit;
        whole.max(unit)
    };
    speeds.iter().map(|&speed| share(speed)).collect()
}

/// Hands sequences from `cursor` on to every node, as many as it is to have,
/// one after the other in the order of `BLAKE3(seed, node)`.
pub fn assign(
    seed: &Digest,
    cursor: u64,
    counts: impl IntoIterator<Item = (NodeId, u64)>,
) -> Vec<Assignment> {
    let mut ranked: Vec<(Digest, NodeId, u64)> = counts
        .into_iter()
        .map(|(node, count)| {
            let rank = Digest::derive(
                "plumbline 2026 training assignment v1",
                &[&seed.0, node.as_str().as_bytes()],
            );
            (rank, node, count)
        })
        .collect();
    ranked.sort_unstable();
    let mut start = cursor;
    ranked
        .into_iter()
        .map(|(_, node, count)| {
            let assignment = Assignment { node, start, count };
            start = start.saturating_add(count);
            assignment
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
            let forward = assign(&seed, cursor, nodes.iter().cloned().map(|node| (node, per_node)));
            let backward = assign(&seed, cursor, nodes.iter().rev().cloned().map(|node| (node, per_node)));
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
        let first = |round| {
            assign(&round_seed(1, round), 0, nodes().map(|node| (node, 1)))[0]
                .node
                .clone()
        };
        let leaders: BTreeSet<NodeId> = (0..40).map(first).collect();
        assert!(leaders.len() > 3, "the same nodes always lead: {leaders:?}");
    }

    #[test]
    fn work_follows_speed() {
        // per node, unit, speeds → sequences
        let cases: [(u64, u64, &[u64], &[u64]); 7] = [
            (480, 0, &[10, 100], &[480, 480]),
            (480, 16, &[], &[]),
            (480, 16, &[0, 0], &[480, 480]),
            (480, 16, &[100, 124], &[480, 480]),
            (480, 16, &[100, 1_000], &[80, 864]),
            (480, 16, &[1, 1_000_000, 0], &[16, 944, 480]),
            (100, 10, &[1, 9, 0], &[20, 180, 100]),
        ];
        for (per_node, unit, speeds, want) in cases {
            assert_eq!(shares(per_node, unit, speeds), want, "{speeds:?}");
        }
        let many: Vec<u64> = std::iter::once(u64::MAX).chain(vec![1; 99]).collect();
        assert_eq!(shares(160, 16, &many)[0], 16 * 160);
    }
}
