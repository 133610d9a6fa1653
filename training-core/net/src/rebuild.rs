//! Taking the outer step oneself, from what the other nodes have sent.
//!
//! With a sparse scheme the contributions of a round are far shorter than the
//! parameters that come of them. A node that has the parameters before fetches
//! the contributions from their makers and does what the coordinator did. The
//! announced hash decides: where it differs, for instance because this machine
//! rounds otherwise, the parameters are fetched whole.

use plumbline_training_core::codec::{Geometry, Scheme};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::{Aggregator, OuterStep, Weighted};
use plumbline_training_core::round::NodeId;

use crate::message::Recipe;
use crate::payload::{self, VectorKind};
use crate::transport::Transport;

/// Most contributions in a recipe.
const CONTRIBUTIONS_MAX: usize = 64;

/// A copy of what the coordinator takes its steps with.
pub struct Rebuild {
    /// Reduces contributions to one.
    pub aggregator: Box<dyn Aggregator>,
    /// The outer step.
    pub outer: OuterStep,
}

impl Rebuild {
    /// The encoded parameters `target`, if they can be made from what is here
    /// and what the recipe names.
    pub fn apply(
        &mut self,
        transport: &dyn Transport,
        (scheme, geometry): (&Scheme, &Geometry),
        recipe: &Recipe,
        target: &Digest,
    ) -> Option<Vec<u8>> {
        if recipe.contributions.len() > CONTRIBUTIONS_MAX {
            return None;
        }
        let before = transport.peek(&recipe.from)?;
        let count = geometry.values();
        let mut parameters = payload::decode(VectorKind::Parameters, &before, count).ok()?;
        let wanted: Vec<(NodeId, Digest)> = recipe
            .contributions
            .iter()
            .map(|(node, payload, _)| (node.clone(), *payload))
            .collect();
        let payloads = transport.get_all(&wanted).ok()?;
        let decoded = payloads.iter().map(|bytes| scheme.decode(geometry, bytes));
        let deltas: Vec<Vec<f32>> = decoded.collect::<Result<_, _>>().ok()?;
        let tokens = recipe.contributions.iter().map(|(_, _, tokens)| *tokens);
        let weighted: Vec<Weighted<'_>> = deltas
            .iter()
            .zip(tokens)
            .map(|(delta, tokens)| Weighted { delta, tokens })
            .collect();
        let delta = self.aggregator.aggregate(&weighted).ok()?;
        self.outer
            .step(&mut parameters, &delta, recipe.tokens)
            .ok()?;
        let bytes = payload::encode(VectorKind::Parameters, &parameters);
        (Digest::of(&bytes) == *target).then_some(bytes)
    }
}
