//! How much to stake: fractional Kelly on the market's own payoff.
//!
//! A submission that moves the price from `p` to `q` pays, with liquidity `b`,
//! `b ln(q/p)` if the claim is true and `b ln((1−q)/(1−p))` if not (the
//! logarithmic market scoring rule). With belief `π` and wealth `W` the move
//! that maximises expected log wealth (Kelly 1956) is the root `q*` of
//!
//! ```text
//! π / (q · (W + b ln(q/p)))  =  (1−π) / ((1−q) · (W + b ln((1−q)/(1−p))))
//! ```
//!
//! which lies between `p` and `π` and tends to `π` as `W` grows. Its collateral
//! is `b ln((1−p)/(1−q*))` upwards and `b ln(p/q*)` downwards; the stake is a
//! fraction of that. The service truncates a move where its collateral reaches
//! the stake, so a stake sized this way never pays for a move past `π`.

/// What the stake depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The market's price p, in (0, 1).
    pub price: f64,
    /// The adversary's own probability π, in (0, 1).
    pub belief: f64,
    /// Liquidity b, micro-credits.
    pub liquidity_micro: i64,
    /// Wealth W that may be risked, micro-credits.
    pub wealth_micro: i64,
    /// Fraction of the Kelly stake, in (0, 1].
    pub fraction: f64,
}

/// A stake with what it is expected to earn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stake {
    /// Most that the submission may lose, micro-credits; at most the wealth.
    pub stake_micro: i64,
    /// Price at which that stake is used up.
    pub reach: f64,
    /// Expected payoff of a move from the price to `reach`, micro-credits: `b·(KL(π‖p) − KL(π‖q))`.
    pub gain_micro: f64,
}

impl Terms {
    /// The fractional Kelly stake; `None` when belief and price agree, or nothing can be risked.
    #[must_use]
    pub fn stake(&self) -> Option<Stake> {
        let inside = |x: f64| x > 0.0 && x < 1.0;
        if !inside(self.price)
            || !inside(self.belief)
            || self.liquidity_micro <= 0
            || self.wealth_micro <= 0
        {
            return None;
        }
        let full = self.collateral(self.kelly_price());
        let stake = (full * self.fraction.clamp(0.0, 1.0))
            .min(self.wealth_micro as f64)
            .floor();
        if stake < 1.0 {
            return None;
        }
        let reach = self.reach(stake);
        Some(Stake {
            stake_micro: stake as i64,
            reach,
            gain_micro: self.expected_payoff(reach),
        })
    }

    /// `q*` by bisection in log-odds; the derivative falls monotonically between price and belief.
    fn kelly_price(&self) -> f64 {
        let (mut near, mut far) = (logit(self.price), logit(self.belief));
        for _ in 0..80 {
            let middle = 0.5 * (near + far);
            let still_gains = self.marginal(sigmoid(middle)) * (far - near).signum() > 0.0;
            if still_gains {
                near = middle;
            } else {
                far = middle;
            }
        }
        sigmoid(near)
    }

    /// Sign of d/dq of expected log wealth at `q`; a move that would cost all wealth counts as too far.
    fn marginal(&self, q: f64) -> f64 {
        let (b, wealth) = (self.liquidity_micro as f64, self.wealth_micro as f64);
        let up = wealth + b * (q / self.price).ln();
        let down = wealth + b * ((1.0 - q) / (1.0 - self.price)).ln();
        if up <= 0.0 {
            return 1.0;
        }
        if down <= 0.0 {
            return -1.0;
        }
        self.belief / (q * up) - (1.0 - self.belief) / ((1.0 - q) * down)
    }

    fn collateral(&self, q: f64) -> f64 {
        let b = self.liquidity_micro as f64;
        if q > self.price {
            b * ((1.0 - self.price) / (1.0 - q)).ln()
        } else {
            b * (self.price / q).ln()
        }
    }

    /// The inverse of [`Terms::collateral`] on the belief's side of the price.
    fn reach(&self, stake: f64) -> f64 {
        let kept = (-stake / self.liquidity_micro as f64).exp();
        if self.belief > self.price {
            1.0 - (1.0 - self.price) * kept
        } else {
            self.price * kept
        }
    }

    /// `b [π ln(q/p) + (1−π) ln((1−q)/(1−p))]`.
    fn expected_payoff(&self, q: f64) -> f64 {
        let up = (q / self.price).ln();
        let down = ((1.0 - q) / (1.0 - self.price)).ln();
        self.liquidity_micro as f64 * (self.belief * up + (1.0 - self.belief) * down)
    }
}

/// `ln(p / (1−p))`.
pub(crate) fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn terms(price: f64, belief: f64, liquidity: i64, wealth: i64, fraction: f64) -> Terms {
        Terms {
            price,
            belief,
            liquidity_micro: liquidity,
            wealth_micro: wealth,
            fraction,
        }
    }

    #[test]
    fn the_rich_move_to_their_belief_and_the_poor_less_far() {
        let rich = terms(0.5, 0.9, 1_000_000, i64::MAX / 4, 1.0)
            .stake()
            .unwrap();
        assert!((rich.reach - 0.9).abs() < 1e-4, "{rich:?}");
        // b ln(.5/.1) = 1.6094379 b
        assert!((rich.stake_micro - 1_609_437).abs() < 300, "{rich:?}");
        let poor = terms(0.5, 0.9, 1_000_000, 500_000, 1.0).stake().unwrap();
        assert!(
            poor.reach < rich.reach && poor.stake_micro < 500_000,
            "{poor:?}"
        );
        let half = terms(0.5, 0.9, 1_000_000, 500_000, 0.5).stake().unwrap();
        assert!((half.stake_micro * 2 - poor.stake_micro).abs() <= 2);
    }

    #[test]
    fn a_root_of_the_first_order_condition_is_found() {
        let case = terms(0.3, 0.6, 1_000_000, 1_000_000, 1.0);
        let q = case.kelly_price();
        let up = 1.0 + (q / 0.3).ln();
        let down = 1.0 + ((1.0 - q) / 0.7).ln();
        assert!(
            (0.6 / (q * up) - 0.4 / ((1.0 - q) * down)).abs() < 1e-9,
            "{q}"
        );
    }

    #[test]
    fn nothing_to_gain_means_no_stake() {
        for case in [
            terms(0.5, 0.5, 1_000_000, 1_000_000, 1.0),
            terms(0.5, 0.9, 0, 1_000_000, 1.0),
            terms(0.5, 0.9, 1_000_000, 0, 1.0),
            terms(0.5, f64::NAN, 1_000_000, 1_000_000, 1.0),
            terms(1.0, 0.9, 1_000_000, 1_000_000, 1.0),
        ] {
            assert_eq!(case.stake(), None, "{case:?}");
        }
    }

    proptest! {
        #[test]
        fn a_stake_is_affordable_gains_and_never_passes_the_belief(
            price in 0.005..0.995_f64, belief in 0.005..0.995_f64,
            liquidity in 1_000_i64..1_000_000_000, wealth in 1_i64..1_000_000_000, fraction in 0.01..1.0_f64,
        ) {
            let case = terms(price, belief, liquidity, wealth, fraction);
            if let Some(stake) = case.stake() {
                prop_assert!(stake.stake_micro >= 1 && stake.stake_micro <= wealth);
                let (low, high) = if belief > price { (price, belief) } else { (belief, price) };
                prop_assert!(stake.reach >= low - 1e-9 && stake.reach <= high + 1e-9);
                prop_assert!(stake.gain_micro >= -1e-3);
            }
        }
    }
}
