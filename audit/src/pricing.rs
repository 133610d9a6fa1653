//! The scoring rule's amounts, with twice the engine's precision.

use crate::double::Double;

/// What an engine's cost may exceed the exact one by, as a part of it: its guard of 4·10⁻¹⁴ and
/// the error of its doubles.
const ENGINE_ERROR: f64 = 1e-13;

/// `sp(x) = ln(1 + e^x) = max(x, 0) + ln(1 + e^(−|x|))`.
fn softplus(x: Double) -> Double {
    x.max(Double::ZERO) + (Double::ONE + (-x.abs()).exp()).ln()
}

/// One market's prices: `ℓ(n) = ℓ₀ + n/b` after `n` net YES micro-shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pricing {
    opening: f64,
    liquidity: i64,
}

/// What a rounded amount must lie within to be the exact one rounded against the trader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    exact: Double,
    error: f64,
}

impl Bounds {
    /// Round `exact`, by an engine whose doubles and guard add at most `error` of it.
    pub(crate) const fn new(exact: Double, error: f64) -> Self {
        Self { exact, error }
    }

    /// Whether `stated` is `⌈exact⌉` within the declared error: `exact ≤ stated ≤ exact + 1 + error·|exact|`.
    pub(crate) fn admit(&self, stated: i64) -> bool {
        let excess = Double::of_integer(stated) - self.exact;
        let most = Double::ONE + self.exact.abs() * Double::of(self.error);
        !excess.is_negative() && !(most - excess).is_negative()
    }

    /// The exact amount, for people.
    pub(crate) fn exact(&self) -> f64 {
        self.exact.to_f64()
    }
}

impl Pricing {
    /// Prices of a market that opened at log-odds `opening` with `liquidity` micro-credits.
    pub(crate) const fn new(opening: f64, liquidity: i64) -> Self {
        Self { opening, liquidity }
    }

    /// `ℓ₀ + n/b` in doubles, as the engine states it: equal bit for bit, because IEEE 754
    /// division and addition have one result.
    pub(crate) fn stated_log_odds(&self, net: i64) -> f64 {
        self.opening + net as f64 / self.liquidity as f64
    }

    fn log_odds(&self, net: i64) -> Double {
        Double::of(self.opening) + Double::of_integer(net) / Double::of_integer(self.liquidity)
    }

    /// `C = b [sp(±ℓ(n+d)) − sp(±ℓ(n))]` for a trade that moves the net shares from `from` to
    /// `to`: plus for YES shares, minus for NO shares.
    pub(crate) fn cost(&self, yes: bool, from: i64, to: i64) -> Bounds {
        let side = |l: Double| if yes { l } else { -l };
        let difference = softplus(side(self.log_odds(to))) - softplus(side(self.log_odds(from)));
        Bounds::new(
            Double::of_integer(self.liquidity) * difference,
            ENGINE_ERROR,
        )
    }

    /// `S = b·max(ln 1/p₀, ln 1/(1−p₀)) = b·max(sp(−ℓ₀), sp(ℓ₀))`.
    pub(crate) fn subsidy(&self) -> Bounds {
        let l = Double::of(self.opening);
        let worst = softplus(l).max(softplus(-l));
        Bounds::new(Double::of_integer(self.liquidity) * worst, ENGINE_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values computed with 50 digits by mpmath: opening ℓ₀ = ln(p₀/(1−p₀)) as the nearest double.
    #[test]
    fn published_and_independent_values() {
        // .1 → .9 at b = 10: 10·ln 9; net shares 10·2·ln 9 = 43.944491546724 credits.
        let pricing = Pricing::new(-2.197_224_577_336_219_6, 10_000_000);
        let cost = pricing.cost(true, 0, 43_944_492).exact() / 1e6;
        assert!((cost - 21.972_245_773_4).abs() < 1e-6, "{cost}");
        // b = 14.4269504088, ½, spend 10: 15.8496250072 shares.
        let pricing = Pricing::new(0.0, 14_426_950);
        let cost = pricing.cost(true, 0, 15_849_625).exact() / 1e6;
        assert!((cost - 10.0).abs() < 1e-6, "{cost}");
        let subsidy = pricing.subsidy().exact() / 1e6;
        assert!((subsidy - 14.426_950 * std::f64::consts::LN_2).abs() < 1e-9);
    }

    #[test]
    fn a_cost_is_admitted_only_when_rounded_against_the_trader() {
        let pricing = Pricing::new(0.3, 50_000_000);
        for (yes, to) in [
            (true, 1_234_567),
            (false, -1_234_567),
            (true, -77),
            (false, 77),
        ] {
            let bounds = pricing.cost(yes, 0, to);
            let up = bounds.exact().ceil() as i64;
            assert!(bounds.admit(up), "{yes} {to}");
            assert!(!bounds.admit(up - 1) && !bounds.admit(up + 2), "{yes} {to}");
        }
    }

    #[test]
    fn the_largest_market_is_told_to_the_micro_credit() {
        let pricing = Pricing::new(-5.29, 100_000_000_000_000);
        let there = pricing.cost(true, 0, 1_000_000_000_000_000);
        let back = pricing.cost(true, 1_000_000_000_000_000, 0);
        assert!((there.exact + back.exact).abs().to_f64() < 1e-9);
        let one = pricing
            .cost(true, 500_000_000_000_000, 500_000_000_000_001)
            .exact();
        assert!(one > 0.0 && one < 1.0, "{one}");
    }
}
