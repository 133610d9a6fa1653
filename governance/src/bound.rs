//! The price that policy reads and the credible bounds round it.
//!
//! Everything is in log-odds, where a price of .99 is as far from certainty as
//! one of .01, and where a symmetric spread never leaves (0, 1).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::policy::{BoundSettings, PriceSettings};

/// Fewest effective judges that the formula divides by, so that none at all
/// gives a wide bound rather than an infinite one.
pub const MIN_EFFECTIVE_JUDGES: f64 = 0.25;

/// Why a price window or a bound could not be computed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BoundError {
    /// A probability outside [0, 1], or NaN.
    #[error("{value} is not a probability")]
    NotAProbability {
        /// The value given.
        value: f64,
    },
    /// A negative or non-finite quantity.
    #[error("{name} is {value}; it must be finite and not negative")]
    NotAQuantity {
        /// Name of the input.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// Observations are not in order of time.
    #[error("the observation at {at} comes after a later one")]
    OutOfOrder {
        /// Time of the offending observation.
        at: Timestamp,
    },
}

/// A price that held from an instant until the next observation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PriceObservation {
    /// When the price was posted.
    pub at: Timestamp,
    /// The posted price, 0 to 1.
    pub price: f64,
}

/// A time-weighted clamped price and the window it was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PriceWindow {
    /// First instant that entered the average.
    pub from: Timestamp,
    /// Last instant: the time of asking.
    pub to: Timestamp,
    /// The average, between the clamps.
    pub price: f64,
    /// Observations that entered it.
    pub observations: u32,
}

/// `logit(p) = ln(p / (1 − p))` for p in (0, 1).
#[must_use]
pub fn logit(p: f64) -> f64 {
    p.ln() - (-p).ln_1p()
}

/// `σ(x) = 1 / (1 + e^(−x))`, without overflow for any x.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `p̄ = σ( (1/T) ∫ logit(clamp(p(t), low, high)) dt )` over the last
/// `window_s` seconds before `now`, or over the part of them since the first
/// observation.
///
/// `observations` are in order of time; each price holds until the next.
/// Those after `now` are ignored. Clamping bounds what a burst of extreme
/// prices can do to the mean: holding the clamp for a share f of the window
/// moves it by at most `f · (logit(high) − logit(low))`. `None` when nothing
/// was observed by `now`.
///
/// # Errors
/// When a price is no probability or the order is wrong.
pub fn time_weighted_price(
    observations: &[PriceObservation],
    settings: &PriceSettings,
    now: Timestamp,
) -> Result<Option<PriceWindow>, BoundError> {
    check_observations(observations)?;
    let end = now.as_millisecond();
    let window_ms = i64::try_from(settings.window_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let start = end.saturating_sub(window_ms);
    let known = &observations[..observations.partition_point(|o| o.at <= now)];
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return Ok(None);
    };
    let clamped = |price: f64| logit(price.clamp(settings.clamp_low, settings.clamp_high));
    let mut weighted = 0.0;
    let mut total_ms = 0.0;
    let mut used = 0_u32;
    for (index, observation) in known.iter().enumerate() {
        let until = known
            .get(index + 1)
            .map_or(end, |next| next.at.as_millisecond());
        let held_ms = until - observation.at.as_millisecond().max(start);
        if held_ms > 0 {
            weighted += clamped(observation.price) * held_ms as f64;
            total_ms += held_ms as f64;
            used += 1;
        }
    }
    let (mean, used) = if total_ms > 0.0 {
        (weighted / total_ms, used)
    } else {
        // The first observation is from this very instant.
        (clamped(last.price), 1)
    };
    let from = first.at.as_millisecond().max(start);
    Ok(Some(PriceWindow {
        from: Timestamp::from_millisecond(from).unwrap_or(first.at),
        to: now,
        price: sigmoid(mean).clamp(settings.clamp_low, settings.clamp_high),
        observations: used,
    }))
}

fn check_observations(observations: &[PriceObservation]) -> Result<(), BoundError> {
    for observation in observations {
        probability(observation.price)?;
    }
    match observations.windows(2).find(|pair| pair[1].at < pair[0].at) {
        Some(pair) => Err(BoundError::OutOfOrder { at: pair[1].at }),
        None => Ok(()),
    }
}

/// What widens a bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Liquidity b of the market, micro-credits.
    pub liquidity_micro: u64,
    /// Seconds since the market last moved, ≥ 0.
    pub staleness_s: f64,
    /// Standard deviation of the judges' log-odds, ≥ 0.
    pub disagreement: f64,
    /// Effective number of judges, ≥ 0.
    pub effective_judges: f64,
}

/// Credible bounds round a price.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CredibleBound {
    /// The price between them, 0 to 1.
    pub price: f64,
    /// Lower bound, 0 to 1.
    pub lower: f64,
    /// Upper bound, 0 to 1.
    pub upper: f64,
    /// Half of the distance between them in log-odds, ≥ 0.
    pub half_width: f64,
}

impl CredibleBound {
    /// A settled claim: both bounds are π, as nothing is left to learn.
    ///
    /// # Errors
    /// When π is no probability.
    pub fn settled(pi: f64) -> Result<Self, BoundError> {
        probability(pi)?;
        Ok(Self {
            price: pi,
            lower: pi,
            upper: pi,
            half_width: 0.0,
        })
    }
}

/// Half-width of the credible interval in log-odds:
///
/// ```text
/// σ² = σ₀² + σ_b² · b₀/(b₀ + b) + σ_t² · (1 − e^(−s/τ)) + (σ_j² + d²)/max(n_eff, ¼)
/// h  = min(z · √σ², h_max)
/// ```
///
/// b: liquidity; b₀: `liquidity_scale_micro`; s: staleness in seconds; τ:
/// `staleness_scale_s`; d: disagreement, the standard deviation of the judges'
/// log-odds; n_eff: effective number of judges. The terms are variances of
/// independent errors in log-odds: what traders with little money at stake did
/// not correct, what happened since the last move, and the standard error of
/// a pool of n_eff judges. h falls in b and n_eff, and rises in s and d.
///
/// # Errors
/// When an input is negative or not finite.
pub fn half_width(uncertainty: &Uncertainty, settings: &BoundSettings) -> Result<f64, BoundError> {
    for (name, value) in [
        ("staleness_s", uncertainty.staleness_s),
        ("disagreement", uncertainty.disagreement),
        ("effective_judges", uncertainty.effective_judges),
    ] {
        if !value.is_finite() || value < 0.0 {
            return Err(BoundError::NotAQuantity { name, value });
        }
    }
    let scale = settings.liquidity_scale_micro as f64;
    let thin = scale / (scale + uncertainty.liquidity_micro as f64);
    let stale = -(-uncertainty.staleness_s / settings.staleness_scale_s as f64).exp_m1();
    let judges = uncertainty.effective_judges.max(MIN_EFFECTIVE_JUDGES);
    let variance = settings.sigma_base.powi(2)
        + settings.sigma_liquidity.powi(2) * thin
        + settings.sigma_staleness.powi(2) * stale
        + (settings.sigma_judges.powi(2) + uncertainty.disagreement.powi(2)) / judges;
    Ok((settings.z * variance.sqrt()).min(settings.max_half_width))
}

/// `lower, upper = σ(logit(p̄) ∓ h)` with h from [`half_width`].
///
/// # Errors
/// When `price` is no probability or an uncertainty is out of its domain.
pub fn credible_bound(
    price: f64,
    uncertainty: &Uncertainty,
    settings: &BoundSettings,
) -> Result<CredibleBound, BoundError> {
    probability(price)?;
    let half_width = half_width(uncertainty, settings)?;
    let centre = logit(price);
    Ok(CredibleBound {
        price,
        lower: sigmoid(centre - half_width),
        upper: sigmoid(centre + half_width),
        half_width,
    })
}

fn probability(value: f64) -> Result<(), BoundError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(BoundError::NotAProbability { value })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::Policy;
    use proptest::prelude::*;

    fn settings() -> (PriceSettings, BoundSettings) {
        let policy = Policy::parse(Policy::default_toml()).unwrap();
        (policy.document().price, policy.document().bound)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn seen(points: &[(i64, f64)]) -> Vec<PriceObservation> {
        let seen = |&(s, price)| PriceObservation { at: at(s), price };
        points.iter().map(seen).collect()
    }

    #[test]
    fn averages_over_the_window_only() {
        let settings = PriceSettings {
            window_s: 100,
            clamp_low: 0.02,
            clamp_high: 0.98,
        };
        // (observations, now, price): the values follow from the definition.
        let cases = [
            (vec![(0, 0.3)], 0, 0.3),
            (vec![(0, 0.3)], 500, 0.3),
            // Half the window at .2, half at .8: log-odds cancel.
            (vec![(0, 0.2), (50, 0.8)], 100, 0.5),
            // The part before the window does not count.
            (vec![(0, 0.9), (400, 0.2)], 500, 0.2),
            // A younger market counts from its first observation.
            (vec![(80, 0.2), (90, 0.8)], 100, 0.5),
            // Later observations are not known yet.
            (vec![(0, 0.4), (200, 0.9)], 100, 0.4),
        ];
        for (points, now, price) in cases {
            let window = time_weighted_price(&seen(&points), &settings, at(now))
                .unwrap()
                .unwrap();
            assert!(
                (window.price - price).abs() < 1e-12,
                "{points:?} {window:?}"
            );
            assert!(window.from <= window.to);
        }
        assert_eq!(time_weighted_price(&[], &settings, at(0)), Ok(None));
        assert_eq!(
            time_weighted_price(&seen(&[(9, 0.5)]), &settings, at(0)),
            Ok(None)
        );
    }

    #[test]
    fn a_burst_of_certainty_is_bounded_by_the_clamp() {
        let (price, _) = settings();
        let burst = seen(&[(0, 0.1), (3_590, 1.0)]);
        let window = time_weighted_price(&burst, &price, at(3_600))
            .unwrap()
            .unwrap();
        // 10 s of 3600 s at logit .98 instead of logit .1.
        let expected = sigmoid((3_590.0 * logit(0.1) + 10.0 * logit(0.98)) / 3_600.0);
        assert!((window.price - expected).abs() < 1e-12);
        assert!(window.price < 0.102);
    }

    #[test]
    fn bad_input_is_refused() {
        let (price, bound) = settings();
        assert!(time_weighted_price(&seen(&[(0, f64::NAN)]), &price, at(1)).is_err());
        assert!(time_weighted_price(&seen(&[(5, 0.5), (0, 0.5)]), &price, at(9)).is_err());
        let mut uncertainty = Uncertainty {
            liquidity_micro: 0,
            staleness_s: 0.0,
            disagreement: 0.0,
            effective_judges: 1.0,
        };
        assert!(credible_bound(1.5, &uncertainty, &bound).is_err());
        uncertainty.staleness_s = f64::INFINITY;
        assert!(credible_bound(0.5, &uncertainty, &bound).is_err());
        assert!(CredibleBound::settled(-0.1).is_err());
    }

    #[test]
    fn the_formula_by_hand() {
        let (_, bound) = settings();
        let uncertainty = Uncertainty {
            liquidity_micro: 100_000_000,
            staleness_s: 0.0,
            disagreement: 0.5,
            effective_judges: 1.6,
        };
        // .0225 + .25/2 + 0 + (.25 + .25)/1.6 = .46; 1.645·√.46 = 1.1156932822
        let half = half_width(&uncertainty, &bound).unwrap();
        assert!((half - 1.115_693_282_2).abs() < 1e-9, "{half}");
        let bound = credible_bound(0.5, &uncertainty, &bound).unwrap();
        // σ(1.1156932822) = 0.7531889910
        assert!((bound.upper - 0.753_188_991_0).abs() < 1e-9);
        assert!((bound.upper + bound.lower - 1.0).abs() < 1e-12);
    }

    #[test]
    fn knowing_nothing_does_not_trip_the_shipped_policies() {
        for text in [Policy::default_toml(), Policy::demo_toml()] {
            let policy = Policy::parse(text).unwrap();
            let nothing = Uncertainty {
                liquidity_micro: 0,
                staleness_s: 1e9,
                disagreement: 9.0,
                effective_judges: 0.0,
            };
            let bound = credible_bound(0.5, &nothing, &policy.document().bound).unwrap();
            assert!(bound.upper < policy.document().thresholds.trip);
            assert!(bound.upper > policy.document().thresholds.clear);
        }
    }

    fn any_uncertainty() -> impl Strategy<Value = Uncertainty> {
        (0u64..1 << 50, 0.0f64..1e7, 0.0f64..6.0, 0.0f64..20.0).prop_map(
            |(liquidity_micro, staleness_s, disagreement, effective_judges)| Uncertainty {
                liquidity_micro,
                staleness_s,
                disagreement,
                effective_judges,
            },
        )
    }

    proptest! {
        #[test]
        fn bounds_hold_the_price_and_move_the_right_way(
            price in 0.0f64..=1.0, first in any_uncertainty(), second in any_uncertainty()
        ) {
            let (_, settings) = settings();
            let worse = Uncertainty {
                liquidity_micro: first.liquidity_micro.min(second.liquidity_micro),
                staleness_s: first.staleness_s.max(second.staleness_s),
                disagreement: first.disagreement.max(second.disagreement),
                effective_judges: first.effective_judges.min(second.effective_judges),
            };
            let narrow = credible_bound(price, &first, &settings).unwrap();
            let wide = credible_bound(price, &worse, &settings).unwrap();
            prop_assert!(wide.upper >= narrow.upper && wide.lower <= narrow.lower);
            prop_assert!(narrow.lower <= price + 1e-12 && price <= narrow.upper + 1e-12);
            prop_assert!((0.0..=1.0).contains(&wide.lower) && (0.0..=1.0).contains(&wide.upper));
        }

        #[test]
        fn bounds_rise_with_the_price(
            low in 0.0f64..=1.0, more in 0.0f64..=1.0, uncertainty in any_uncertainty()
        ) {
            let (_, settings) = settings();
            let first = credible_bound(low, &uncertainty, &settings).unwrap();
            let second = credible_bound((low + more).min(1.0), &uncertainty, &settings).unwrap();
            prop_assert!(second.upper >= first.upper && second.lower >= first.lower);
        }

        #[test]
        fn the_average_lies_between_its_observations(
            prices in prop::collection::vec((0i64..4_000, 0.0f64..=1.0), 1..20)
        ) {
            let (settings, _) = settings();
            let mut prices = prices;
            prices.sort_by_key(|(s, _)| *s);
            let window = time_weighted_price(&seen(&prices), &settings, at(4_000)).unwrap().unwrap();
            let clamped = prices.iter().map(|(_, p)| p.clamp(settings.clamp_low, settings.clamp_high));
            let low = clamped.clone().fold(1.0, f64::min);
            let high = clamped.fold(0.0, f64::max);
            prop_assert!(window.price >= low - 1e-12 && window.price <= high + 1e-12);
        }
    }
}
