//! Which contributions are recomputed.
//!
//! The draw is made from a secret of the coordinator after the commitments of
//! the round are in, so nobody can know it while the choice whether to lie is
//! still open. It spends a fixed part of all contributions. Who was not looked
//! at for long, and who shows signs, is likelier to be drawn:
//!
//! `weight = age⁶ · (1 + 10·suspicion²)`
//!
//! with `age` the rounds since the node was last drawn. Who was not drawn for
//! as many rounds as one audit of everybody takes comes first. At a rate of one
//! in ten that is nearly a turn of ten rounds, in an order that nobody can
//! predict, and a node that was drawn is not safe after it.

use std::collections::BTreeMap;

use crate::draw::Draw;
use crate::pacing::FULL_BPS;
use crate::round::NodeId;

/// Suspicion that is left after a round without a sign.
const FADING: f64 = 0.8;
/// Most suspicion.
const SUSPICION_MOST: f64 = 20.0;
/// Nodes remembered; those unheard of for longest give way.
const NODES_MAX: usize = 4_096;

/// The draw's state: what was spent, and who was looked at when.
#[derive(Debug, Clone)]
pub struct Lottery {
    secret: [u8; 32],
    rate_bps: u32,
    credit_bps: u64,
    nodes: BTreeMap<NodeId, Watch>,
}

#[derive(Debug, Clone, Copy)]
struct Watch {
    since: u64,
    seen: u64,
    suspicion: f64,
}

impl Lottery {
    /// A draw of `rate_bps` of all contributions.
    pub fn new(secret: [u8; 32], rate_bps: u32) -> Self {
        Self {
            secret,
            rate_bps: rate_bps.min(FULL_BPS),
            credit_bps: 0,
            nodes: BTreeMap::new(),
        }
    }

    /// Makes `node` likelier to be drawn; `weight` 1 is a plain sign.
    pub fn suspect(&mut self, round: u64, node: &NodeId, weight: f64) {
        let watch = self.watch(round, node);
        watch.suspicion = (watch.suspicion + weight.max(0.0)).min(SUSPICION_MOST);
    }

    /// How suspicious a node is, `0..=20`.
    pub fn suspicion(&self, node: &NodeId) -> f64 {
        self.nodes.get(node).map_or(0.0, |watch| watch.suspicion)
    }

    /// Draws among the round's contributors, each at most once.
    pub fn draw(&mut self, round: u64, contributors: &[NodeId]) -> Vec<NodeId> {
        let full = u64::from(FULL_BPS);
        let earned = u64::from(self.rate_bps) * contributors.len() as u64;
        // What cannot be spent on this round is not hoarded for a later one.
        self.credit_bps = (self.credit_bps + earned).min(earned + full);
        let mut draw = Draw::new(
            "plumbline 2026 training audit draw v1",
            &[&self.secret, &round.to_le_bytes()],
        );
        let mut nodes: Vec<(NodeId, f64, f64)> = contributors
            .iter()
            .map(|node| {
                let watch = self.watch(round, node);
                watch.seen = round;
                let age = (round + 1).saturating_sub(watch.since) as f64;
                let weight = age.powi(6) * (1.0 + 10.0 * watch.suspicion.powi(2));
                (node.clone(), age, weight)
            })
            .collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        let turn = f64::from(FULL_BPS) / f64::from(self.rate_bps.max(1));
        let mut drawn = Vec::new();
        while self.credit_bps >= full && !nodes.is_empty() {
            self.credit_bps -= full;
            let oldest = nodes.iter().map(|(_, age, _)| *age).fold(0.0, f64::max);
            let least = if oldest >= turn { oldest } else { 0.0 };
            let (node, ..) = nodes.remove(pick(&nodes, least, draw.unit()));
            self.watch(round, &node).since = round + 1;
            drawn.push(node);
        }
        self.nodes
            .values_mut()
            .for_each(|watch| watch.suspicion *= FADING);
        drawn
    }

    fn watch(&mut self, round: u64, node: &NodeId) -> &mut Watch {
        if !self.nodes.contains_key(node)
            && self.nodes.len() >= NODES_MAX
            && let Some(oldest) = self
                .nodes
                .iter()
                .min_by_key(|(_, w)| w.seen)
                .map(|(n, _)| n.clone())
        {
            self.nodes.remove(&oldest);
        }
        self.nodes.entry(node.clone()).or_insert(Watch {
            since: round,
            seen: round,
            suspicion: 0.0,
        })
    }
}

/// The index at `point ∈ [0, 1)` of the summed weights of those of at least
/// the age `least`.
fn pick(nodes: &[(NodeId, f64, f64)], least: f64, point: f64) -> usize {
    let weight = |(_, age, weight): &(NodeId, f64, f64)| if *age >= least { *weight } else { 0.0 };
    let total: f64 = nodes.iter().map(weight).sum();
    let mut left = point * total;
    for (index, node) in nodes.iter().enumerate() {
        left -= weight(node);
        if left < 0.0 {
            return index;
        }
    }
    nodes.len().saturating_sub(1)
}
