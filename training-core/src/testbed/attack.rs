//! What hostile nodes do, as functions of what they could know.
//!
//! The attackers are given more than real ones would have: they see every
//! honest contribution of the round before they make theirs, and work
//! together.

use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::outer::norm;
use crate::trainer::Batch;

/// A way to be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Honest work, sent with the opposite sign.
    SignFlip,
    /// Honest work, times −1000.
    Scale,
    /// A random direction with the norm of honest work.
    Random,
    /// Work on the assigned data with every token replaced by its mirror
    /// image in the vocabulary.
    LabelFlip,
    /// Honest work from parameters of five rounds ago.
    Delayed,
    /// "A little is enough" (Baruch et al., 2019): the honest mean, moved in
    /// every coordinate by as many deviations as a majority would tolerate.
    Alie,
    /// Inner-product manipulation (Xie et al., 2019): minus the honest mean.
    InnerProduct,
    /// Nothing at all, claimed as work.
    FreeRiderZeros,
    /// Its own first contribution, again and again.
    FreeRiderReplay,
    /// What another node sent in the round before.
    Copycat,
    /// Work on other data than assigned: one planted phrase.
    PoisonedData,
    /// Honest work, promised twice in different forms.
    Equivocation,
    /// A promise that is never kept.
    Withholding,
}

impl Attack {
    /// Every attack.
    pub const ALL: [Self; 13] = [
        Self::SignFlip,
        Self::Scale,
        Self::Random,
        Self::LabelFlip,
        Self::Delayed,
        Self::Alie,
        Self::InnerProduct,
        Self::FreeRiderZeros,
        Self::FreeRiderReplay,
        Self::Copycat,
        Self::PoisonedData,
        Self::Equivocation,
        Self::Withholding,
    ];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignFlip => "sign_flip",
            Self::Scale => "scale_minus_1000",
            Self::Random => "random_direction",
            Self::LabelFlip => "label_flip",
            Self::Delayed => "delayed",
            Self::Alie => "alie",
            Self::InnerProduct => "inner_product",
            Self::FreeRiderZeros => "free_rider_zeros",
            Self::FreeRiderReplay => "free_rider_replay",
            Self::Copycat => "copycat",
            Self::PoisonedData => "poisoned_data",
            Self::Equivocation => "equivocation",
            Self::Withholding => "withholding",
        }
    }

    /// The first round in which it differs from honest work.
    pub fn first_round(self) -> u64 {
        match self {
            Self::Delayed | Self::FreeRiderReplay | Self::Copycat => 1,
            _ => 0,
        }
    }

    /// Whether the attacker trains in this round at all.
    pub(super) fn trains(self, first_round: bool) -> bool {
        match self {
            Self::SignFlip
            | Self::Scale
            | Self::LabelFlip
            | Self::Delayed
            | Self::PoisonedData
            | Self::Equivocation
            | Self::Withholding => true,
            Self::FreeRiderReplay | Self::Copycat => first_round,
            Self::Random | Self::Alie | Self::InnerProduct | Self::FreeRiderZeros => false,
        }
    }

    /// The batch that the attacker trains on instead of `batch`.
    pub(super) fn batch(self, mut batch: Batch, vocabulary: u32) -> Batch {
        match self {
            Self::LabelFlip => {
                let last = vocabulary.saturating_sub(1);
                batch
                    .tokens
                    .iter_mut()
                    .for_each(|t| *t = last.saturating_sub(*t));
            }
            Self::PoisonedData => {
                let phrase = 5.min(vocabulary).max(1);
                for (index, token) in batch.tokens.iter_mut().enumerate() {
                    *token = index as u32 % phrase;
                }
            }
            _ => {}
        }
        batch
    }

    /// What is sent in place of the attacker's own work `own`, given the
    /// `honest` contributions of the round and how many `attackers` there are.
    pub(super) fn forge(
        self,
        own: Option<&[f32]>,
        honest: &[Vec<f32>],
        attackers: usize,
        draw: &mut Draw,
    ) -> Vec<f32> {
        let width = honest.first().map_or(0, Vec::len);
        let own = || own.map_or_else(|| vec![0.0; width], <[f32]>::to_vec);
        match self {
            Self::SignFlip => scaled(&own(), -1.0),
            Self::Scale => scaled(&own(), -1_000.0),
            Self::Random => random(honest, width, draw),
            Self::Alie => alie(honest, width, attackers),
            Self::InnerProduct => scaled(&mean(honest, width), -1.0),
            Self::FreeRiderZeros => vec![0.0; width],
            Self::LabelFlip
            | Self::Delayed
            | Self::PoisonedData
            | Self::FreeRiderReplay
            | Self::Copycat
            | Self::Equivocation
            | Self::Withholding => own(),
        }
    }
}

fn scaled(values: &[f32], factor: f32) -> Vec<f32> {
    values.iter().map(|value| factor * value).collect()
}

fn mean(rows: &[Vec<f32>], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0_f32; width];
    for row in rows {
        for (sum, value) in mean.iter_mut().zip(row) {
            *sum += value / rows.len() as f32;
        }
    }
    mean
}

fn random(honest: &[Vec<f32>], width: usize, draw: &mut Draw) -> Vec<f32> {
    let size = honest.iter().map(|row| norm(row)).sum::<f64>() / honest.len().max(1) as f64;
    let direction: Vec<f32> = (0..width).map(|_| (draw.unit() - 0.5) as f32).collect();
    let length = norm(&direction).max(f64::MIN_POSITIVE);
    scaled(&direction, (size / length) as f32)
}

/// `μ − z·σ` with `z` the quantile of `(n − m − s)/(n − m)`,
/// `s = ⌊n/2 + 1⌋ − m`: honest nodes further out than that are needed for a
/// majority, so the lie looks less odd than they do.
fn alie(honest: &[Vec<f32>], width: usize, attackers: usize) -> Vec<f32> {
    let all = honest.len() + attackers;
    let supporters = (all / 2 + 1).saturating_sub(attackers);
    let part = honest.len().saturating_sub(supporters) as f64 / honest.len().max(1) as f64;
    let z = normal_quantile(part.clamp(0.01, 0.99)) as f32;
    let mean = mean(honest, width);
    let mut variance = vec![0.0_f32; width];
    for row in honest {
        for ((sum, value), centre) in variance.iter_mut().zip(row).zip(&mean) {
            *sum += (value - centre).powi(2) / honest.len() as f32;
        }
    }
    let pairs = mean.iter().zip(&variance);
    pairs
        .map(|(mean, variance)| mean - z * variance.sqrt())
        .collect()
}

/// The standard normal quantile by bisection of an integrated density; exact
/// to about 10⁻⁴, which is plenty for an attack.
fn normal_quantile(part: f64) -> f64 {
    let step = 1e-4;
    let mut cumulative = 0.5;
    let mut at = 0.0_f64;
    let wanted = if part < 0.5 { 1.0 - part } else { part };
    while cumulative < wanted && at < 6.0 {
        let density = (-at * at / 2.0).exp() / std::f64::consts::TAU.sqrt();
        cumulative += step * density;
        at += step;
    }
    if part < 0.5 { -at } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_normal_ones() {
        for (part, want) in [
            (0.5, 0.0),
            (0.975, 1.95996),
            (0.025, -1.95996),
            (0.8413, 0.99982),
        ] {
            let got = normal_quantile(part);
            assert!((got - want).abs() < 2e-3, "{part}: {got}, not {want}");
        }
    }

    #[test]
    fn forgeries_are_what_they_are_called() {
        let honest = vec![vec![1.0, 2.0], vec![3.0, 2.0]];
        let own = [0.5, -1.0];
        let mut draw = Draw::new("test", &[]);
        let mut forge = |attack: Attack| attack.forge(Some(&own), &honest, 1, &mut draw);
        assert_eq!(forge(Attack::SignFlip), [-0.5, 1.0]);
        assert_eq!(forge(Attack::Scale), [-500.0, 1_000.0]);
        assert_eq!(forge(Attack::InnerProduct), [-2.0, -2.0]);
        assert_eq!(forge(Attack::FreeRiderZeros), [0.0, 0.0]);
        assert_eq!(forge(Attack::PoisonedData), own);
        let random = forge(Attack::Random);
        let size = (5.0_f64.sqrt() + 13.0_f64.sqrt()) / 2.0;
        assert!((norm(&random) - size).abs() < 1e-5);
        // n = 3, m = 1: s = 1, half of the honest, z = 0.
        assert_eq!(forge(Attack::Alie), [2.0, 2.0]);
        let batch = Batch {
            sequences: 1,
            length: 5,
            tokens: vec![0, 1, 2, 7, 4, 5],
        };
        let flipped = Attack::LabelFlip.batch(batch.clone(), 8);
        assert_eq!(flipped.tokens, [7, 6, 5, 0, 3, 2]);
        let poisoned = Attack::PoisonedData.batch(batch, 8);
        assert_eq!(poisoned.tokens, [0, 1, 2, 3, 4, 0]);
    }
}
