//! Accounts of what each node contributed and had counted.
//!
//! Only contributions that a closed round counted are credited, so a node
//! earns nothing by claiming, committing or being late.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::round::{Contribution, NodeId};

/// One node's totals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Tokens of counted contributions.
    pub tokens: u64,
    /// Rounds in which a contribution was counted.
    pub rounds: u64,
    /// Rounds that closed without the node although it had been assigned data.
    pub missed: u64,
    /// The last round that was counted.
    pub last_round: Option<u64>,
}

/// Totals of every node that ever contributed to a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    nodes: BTreeMap<NodeId, Account>,
    closed: Option<u64>,
}

impl Accounts {
    /// Credits a closed round. A round at or before the last one credited
    /// changes nothing and gives `false`, so replays never pay twice.
    pub fn close_round(
        &mut self,
        round: u64,
        contributions: &[Contribution],
        missed: &[NodeId],
    ) -> bool {
        if self.closed.is_some_and(|closed| round <= closed) {
            return false;
        }
        self.closed = Some(round);
        for contribution in contributions {
            let account = self.nodes.entry(contribution.node.clone()).or_default();
            account.tokens = account.tokens.saturating_add(contribution.tokens);
            account.rounds += 1;
            account.last_round = Some(round);
        }
        for node in missed {
            self.nodes.entry(node.clone()).or_default().missed += 1;
        }
        true
    }

    /// One node's totals, if it ever took part.
    pub fn get(&self, node: &NodeId) -> Option<&Account> {
        self.nodes.get(node)
    }

    /// Every node's totals, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Account)> {
        self.nodes.iter()
    }

    /// Tokens over all nodes.
    pub fn total_tokens(&self) -> u64 {
        self.nodes.values().map(|account| account.tokens).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::digest::Digest;

    fn contribution(node: &str, tokens: u64) -> Contribution {
        Contribution {
            node: NodeId::new(node).unwrap(),
            digest: Digest::of(node.as_bytes()),
            tokens,
            age: 0,
        }
    }

    #[test]
    fn credits_each_round_once() {
        let mut accounts = Accounts::default();
        let late = [NodeId::new("c").unwrap()];
        assert!(accounts.close_round(0, &[contribution("a", 10), contribution("b", 5)], &late));
        assert!(!accounts.close_round(0, &[contribution("a", 10)], &[]));
        assert!(accounts.close_round(2, &[contribution("a", 7)], &[]));
        assert!(!accounts.close_round(1, &[contribution("b", 7)], &[]));
        let a = accounts.get(&NodeId::new("a").unwrap()).unwrap();
        assert_eq!((a.tokens, a.rounds, a.last_round), (17, 2, Some(2)));
        assert_eq!(accounts.get(&late[0]).unwrap().missed, 1);
        assert_eq!(accounts.total_tokens(), 22);
    }
}
