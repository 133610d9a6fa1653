//! Signs that cost little: norms, repeated payloads, likeness between nodes,
//! gains on assigned and on random data.

use std::collections::{BTreeMap, VecDeque};

use super::{Comparison, Evidence, VerifyRules};
use crate::aggregate::median;
use crate::digest::Digest;
use crate::draw::Draw;
use crate::outer::norm;
use crate::round::NodeId;
use crate::trainer::{Batch, LocalTrainer, TrainerError};

/// Rounds whose payload hashes are remembered.
const REMEMBERED: u64 = 256;
/// Values of a contribution that likeness is judged by.
const SAMPLE: usize = 4_096;
/// Cosine above which two nodes' contributions are suspiciously alike.
const ALIKE: f64 = 0.9;

/// Something that makes a node likelier to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Sign {
    /// Its norm over the round's median.
    Norm(f64),
    /// It is like another's, of this round or the one before.
    Alike(NodeId),
    /// It does not lower the loss on the data that it was assigned.
    Harmful,
    /// It lowers that loss by less than a quarter of what others' does.
    Weak,
    /// It lowers the loss on random data more than on assigned.
    Elsewhere,
}

impl Sign {
    /// Weight in the draw.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Norm(_) => 2.0,
            Self::Alike(_) => 3.0,
            Self::Harmful => 2.0,
            Self::Weak => 1.5,
            Self::Elsewhere => 0.1,
        }
    }
}

/// A contribution as it is screened.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Whose.
    pub node: &'a NodeId,
    /// Hash of its payload.
    pub payload: Digest,
    /// Its values.
    pub delta: &'a [f32],
}

/// What a screening found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Proof of a lie.
    pub proofs: Vec<(NodeId, Evidence)>,
    /// Not counted this time, though nothing is proven.
    pub rejected: Vec<NodeId>,
    /// Signs.
    pub signs: Vec<(NodeId, Sign)>,
}

impl Findings {
    /// Notes likeness, once for a node however many it is like.
    fn alike(&mut self, node: &NodeId, other: &NodeId) {
        let noted =
            |(known, sign): &(NodeId, Sign)| known == node && matches!(sign, Sign::Alike(_));
        if !self.signs.iter().any(noted) {
            self.signs.push((node.clone(), Sign::Alike(other.clone())));
        }
    }
}

/// What earlier rounds have shown.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    payloads: BTreeMap<Digest, (u64, NodeId)>,
    order: VecDeque<(u64, Digest)>,
    before: Vec<Row>,
}

impl Screen {
    /// Looks at the contributions of a round.
    pub fn look(&mut self, rules: &VerifyRules, round: u64, shown: &[Shown<'_>]) -> Findings {
        let mut findings = Findings::default();
        self.repeated(round, shown, &mut findings);
        norms(rules, shown, &mut findings);
        self.likeness(round, shown, &mut findings);
        findings
    }

    /// An equal payload from an earlier round is a copy of it: honest work is
    /// on data that no round had before. Equal ones in one round are a sign
    /// against both, as nothing says whose came first.
    fn repeated(&mut self, round: u64, shown: &[Shown<'_>], findings: &mut Findings) {
        while let Some((seen, payload)) = self.order.front().copied()
            && seen + REMEMBERED < round
        {
            self.order.pop_front();
            self.payloads.remove(&payload);
        }
        for one in shown {
            match self.payloads.get(&one.payload) {
                Some((seen, node)) if *seen < round => {
                    let evidence = Evidence::Repeated {
                        payload: one.payload,
                        round: *seen,
                        node: node.clone(),
                    };
                    findings.proofs.push((one.node.clone(), evidence));
                }
                Some((_, node)) => {
                    findings.alike(one.node, node);
                    findings.alike(node, one.node);
                }
                None => {
                    self.order.push_back((round, one.payload));
                    let first = (round, one.node.clone());
                    self.payloads.insert(one.payload, first);
                }
            }
        }
    }

    fn likeness(&mut self, round: u64, shown: &[Shown<'_>], findings: &mut Findings) {
        let Some(first) = shown.first() else { return };
        let positions = sample(round, first.delta.len());
        let rows: Vec<Row> = shown
            .iter()
            .map(|one| {
                let values = positions
                    .iter()
                    .filter_map(|at| one.delta.get(*at).copied());
                (one.node.clone(), values.collect())
            })
            .collect();
        let within = pairs(&rows, &rows, |first, second| first < second);
        let across = pairs(&rows, &self.before, |_, _| true);
        for (pairs, mutual) in [(within, true), (across, false)] {
            let most = too_alike(&pairs);
            for (node, other, _) in pairs.into_iter().filter(|(.., cosine)| *cosine > most) {
                findings.alike(node, other);
                if mutual {
                    findings.alike(other, node);
                }
            }
        }
        let next = sample(round + 1, first.delta.len());
        self.before = shown
            .iter()
            .map(|one| {
                let values = next.iter().filter_map(|at| one.delta.get(*at).copied());
                (one.node.clone(), values.collect())
            })
            .collect();
    }
}

/// Positions that a round's likeness is judged at.
fn sample(round: u64, values: usize) -> Vec<usize> {
    if values <= SAMPLE {
        return (0..values).collect();
    }
    let mut draw = Draw::new(
        "plumbline 2026 training likeness v1",
        &[&round.to_le_bytes()],
    );
    // Whole rows of neighbours are read faster than single values.
    let run = 16;
    (0..SAMPLE / run)
        .flat_map(|_| {
            let start = draw.below((values - run) as u64) as usize;
            start..start + run
        })
        .collect()
}

type Row = (NodeId, Vec<f32>);

/// Cosines of the pairs of different nodes whose positions are `wanted`.
fn pairs<'a>(
    rows: &'a [Row],
    others: &'a [Row],
    wanted: impl Fn(usize, usize) -> bool,
) -> Vec<(&'a NodeId, &'a NodeId, f64)> {
    let mut pairs = Vec::new();
    for (first, (node, row)) in rows.iter().enumerate() {
        for (second, (other, theirs)) in others.iter().enumerate() {
            if wanted(first, second) && node != other && row.len() == theirs.len() {
                pairs.push((node, other, Comparison::of(row, theirs).cosine));
            }
        }
    }
    pairs
}

/// The cosine from which a pair is more alike than work on different data
/// makes it: a twentieth of the usual distance, and never below [`ALIKE`].
fn too_alike(pairs: &[(&NodeId, &NodeId, f64)]) -> f64 {
    let usual = median(pairs.iter().map(|(.., cosine)| *cosine).collect());
    (1.0 - (1.0 - usual) / 20.0).max(ALIKE)
}

fn norms(rules: &VerifyRules, shown: &[Shown<'_>], findings: &mut Findings) {
    let norms: Vec<f64> = shown.iter().map(|one| norm(one.delta)).collect();
    let middle = median(norms.clone());
    if middle <= 0.0 || shown.len() < 2 {
        return;
    }
    for (one, norm) in shown.iter().zip(norms) {
        let ratio = norm / middle;
        let outside = |most: f64| !(most.recip()..=most).contains(&ratio);
        if outside(rules.norm_ratio) {
            findings.rejected.push(one.node.clone());
        }
        if outside(rules.norm_ratio.sqrt()) {
            findings.signs.push((one.node.clone(), Sign::Norm(ratio)));
        }
    }
}

/// How much a contribution lowers the loss, nats per token (Gauntlet's test:
/// work on assigned data helps most on assigned data).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// On sequences that the node was assigned.
    pub assigned: f64,
    /// On sequences that nobody was.
    pub random: f64,
}

impl Gain {
    /// Loss at `parameters` minus loss at `parameters − delta`, on both batches.
    /// `trainer` is left at other parameters.
    ///
    /// # Errors
    /// [`TrainerError`] when the batches or vectors are not the model's.
    pub fn measure(
        trainer: &mut dyn LocalTrainer,
        parameters: &[f32],
        delta: &[f32],
        (assigned, random): (&Batch, &Batch),
    ) -> Result<Self, TrainerError> {
        let mut losses = [[0.0; 2]; 2];
        let moved: Vec<f32> = parameters.iter().zip(delta).map(|(p, d)| p - d).collect();
        for (row, values) in losses.iter_mut().zip([parameters, &moved]) {
            trainer.set_parameters(values)?;
            row[0] = f64::from(trainer.evaluate(assigned)?);
            row[1] = f64::from(trainer.evaluate(random)?);
        }
        // A loss that is no number is as bad as a loss can be.
        let gain = |index: usize| {
            let gain = losses[0][index] - losses[1][index];
            if gain.is_nan() {
                f64::NEG_INFINITY
            } else {
                gain
            }
        };
        Ok(Self {
            assigned: gain(0),
            random: gain(1),
        })
    }

    /// The median gain on assigned data.
    pub fn typical<'a>(gains: impl IntoIterator<Item = &'a Self>) -> f64 {
        median(gains.into_iter().map(|gain| gain.assigned).collect())
    }

    /// What it says against the node, if anything; `typical` is the round's
    /// median gain on assigned data.
    pub fn sign(&self, typical: f64) -> Option<Sign> {
        if self.assigned <= 0.0 {
            Some(Sign::Harmful)
        } else if self.assigned < typical / 4.0 {
            Some(Sign::Weak)
        } else if self.assigned < self.random {
            Some(Sign::Elsewhere)
        } else {
            None
        }
    }

    /// Quality in basis points: the gain on assigned data over the round's
    /// median `typical`, from 0 to 1.
    pub fn quality_bps(&self, typical: f64) -> u32 {
        if typical <= 0.0 {
            return crate::pacing::FULL_BPS;
        }
        let full = f64::from(crate::pacing::FULL_BPS);
        ((self.assigned / typical).clamp(0.0, 1.0) * full) as u32
    }
}
