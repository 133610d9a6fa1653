//! Accounts of what each node contributed and had counted.
//!
//! Only contributions that a closed round counted are credited, so a node
//! earns nothing by claiming, committing or being late. Credit is tokens times
//! quality, waits until a recomputation vouches for it, and is lost with a ban.

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
    /// Tokens × quality of counted rounds that a passed recomputation vouches
    /// for: those up to the last one that it covered.
    #[serde(default)]
    pub verified: u64,
    /// The same of rounds since then.
    #[serde(default)]
    pub pending: u64,
    /// Recomputations that it passed.
    #[serde(default)]
    pub audits: u64,
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

    /// Adds `tokens × quality` to what waits for a recomputation. `quality` in
    /// basis points, at most 10,000.
    pub fn earn(&mut self, node: &NodeId, tokens: u64, quality_bps: u32) {
        let account = self.nodes.entry(node.clone()).or_default();
        let full = u128::from(crate::pacing::FULL_BPS);
        let part = u128::from(tokens) * u128::from(quality_bps).min(full) / full;
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        account.pending = account.pending.saturating_add(part);
    }

    /// A recomputation found nothing wrong: what waited is vouched for.
    pub fn pass(&mut self, node: &NodeId) {
        let account = self.nodes.entry(node.clone()).or_default();
        account.verified = account.verified.saturating_add(account.pending);
        account.pending = 0;
        account.audits += 1;
    }

    /// A ban: what nothing vouches for is lost.
    pub fn forfeit(&mut self, node: &NodeId) {
        if let Some(account) = self.nodes.get_mut(node) {
            account.pending = 0;
        }
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

    #[test]
    fn credit_waits_for_a_recomputation_and_is_lost_with_a_ban() {
        let mut accounts = Accounts::default();
        let node = NodeId::new("a").unwrap();
        accounts.earn(&node, 1_000, 5_000);
        accounts.earn(&node, 100, 20_000);
        accounts.pass(&node);
        accounts.earn(&node, 7, 10_000);
        let account = accounts.get(&node).unwrap();
        assert_eq!(
            (account.verified, account.pending, account.audits),
            (600, 7, 1)
        );
        accounts.forfeit(&node);
        let account = accounts.get(&node).unwrap();
        assert_eq!((account.verified, account.pending), (600, 0));
    }
}
