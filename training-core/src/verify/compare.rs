//! Comparing a contribution with the same work done again.

use super::Evidence;
use crate::codec::{Geometry, Scheme};
use crate::digest::Digest;
use crate::local::{NodeState, Work};
use crate::outer::norm;

/// Least cosine between honest work on two kinds of machine. Rounding that
/// differs moves few of the selected values; other data gives far less.
const COSINE_LEAST: f64 = 0.9;
/// Most that norms of honest work on two kinds of machine differ by.
const NORM_MOST: f64 = 1.1;

/// What a node said about its round.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The payload as it was sent.
    pub payload: &'a [f32],
    /// Its hash.
    pub digest: Digest,
    /// Hash of the state shown with it, if one was.
    pub state: Option<Digest>,
    /// Tokens claimed.
    pub tokens: u64,
}

/// How alike two vectors are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// `‖a‖/‖b‖`; 0 when both are zero, infinite when only `b` is.
    pub norm_ratio: f64,
    /// `a·b/(‖a‖‖b‖)`, 0 where one is zero.
    pub cosine: f64,
}

impl Comparison {
    /// Of `a` with `b`, which have equal lengths.
    pub fn of(a: &[f32], b: &[f32]) -> Self {
        let (left, right) = (norm(a), norm(b));
        let dot: f64 = a
            .iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum();
        let both = left * right;
        Self {
            norm_ratio: if left == 0.0 { 0.0 } else { left / right },
            cosine: if both > 0.0 { dot / both } else { 0.0 },
        }
    }
}

/// What is wrong with `claim`, given the same work done again; `None` when
/// nothing is. `same_machine` says that both sides give equal bits for equal
/// work; then every difference is a lie. Otherwise norms and directions are
/// compared, and states are not.
pub fn examine(
    scheme: &Scheme,
    geometry: &Geometry,
    claim: &Claim<'_>,
    (work, tokens): (&Work, u64),
    same_machine: bool,
) -> Option<Evidence> {
    let recomputed = Digest::of(&work.payload);
    if claim.tokens > tokens {
        return Some(Evidence::Tokens {
            claimed: claim.tokens,
            held: tokens,
        });
    }
    if claim.digest != recomputed {
        // What this side encoded it can decode; if not, it proves nothing.
        let ours = scheme.decode(geometry, &work.payload).ok()?;
        let Comparison { norm_ratio, cosine } = Comparison::of(claim.payload, &ours);
        let alike = cosine >= COSINE_LEAST && (NORM_MOST.recip()..=NORM_MOST).contains(&norm_ratio);
        if same_machine || !alike {
            return Some(Evidence::Recomputed {
                norm_ratio: if norm_ratio.is_finite() {
                    norm_ratio
                } else {
                    f64::MAX
                },
                cosine,
                payload: claim.digest,
                recomputed,
            });
        }
    }
    let state = claim.state.filter(|_| same_machine)?;
    let ours = state_digest(&work.state);
    (state != ours).then_some(Evidence::State {
        state,
        recomputed: ours,
    })
}

/// The hash that names a node's state.
pub fn state_digest(state: &NodeState) -> Digest {
    Digest::of(&state.to_bytes())
}
