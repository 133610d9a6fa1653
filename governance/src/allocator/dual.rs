//! The two shadow prices, without a general solver.
//!
//! With the price μ of risk given, the program is a knapsack of fractions: the capacity goes to the runs
//! of the largest `v − a μ`, and the marginal one sets λ. What that is worth, plus `R μ`, is a convex
//! function of μ made of straight pieces; its lowest point is the optimum. Two pieces that slope down on
//! either side of it cross where the next one is looked at, until a piece there is level. Every look
//! costs a time linear in the number of runs, and a dozen looks are usual.

use super::AllocatorError;
use super::program::{Item, Program, ShadowPrices, TIE};

/// Slack of sums of shares, so that rounding in them decides nothing.
const SLACK: f64 = 1e-10;
/// Looks after which the next one halves the interval every other time.
const PATIENCE: usize = 32;
/// Looks after which there is no answer; halving alone needs fewer for any two doubles.
const MAX_LOOKS: usize = 2_200;

/// A way to fill the capacity: its value and its risk, above the floors.
#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    value: f64,
    risk: f64,
}

/// The best fillings at one price of risk.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// The price of capacity there.
    lambda: f64,
    /// Of all best fillings the one of the least risk.
    safest: Piece,
    /// The one of the most.
    riskiest: Piece,
}

/// What is above the floors.
struct Spare<'a> {
    items: &'a [Item],
    capacity: f64,
    risk: f64,
    /// What the rates of risk were divided by.
    scale: f64,
}

impl Program {
    /// Prices that prove the optimum: a dual solution of the program.
    ///
    /// ```text
    /// minimise    C′ λ + R′ μ + Σ (cap − floor) α
    /// subject to  λ + a μ + α ≥ v,   λ, μ, α ≥ 0
    /// ```
    ///
    /// By complementary slackness any dual optimum describes every primal
    /// optimum: a positive reduced value means the cap, a negative one the
    /// floor, a positive price a budget used up.
    ///
    /// # Errors
    /// When rounding keeps the search from ending.
    pub(super) fn shadow_prices(&self) -> Result<ShadowPrices, AllocatorError> {
        let floors: f64 = self.items.iter().map(|item| item.floor).sum();
        let floor_risk: f64 = self.items.iter().map(|item| item.floor * item.risk).sum();
        let scale = self.risk_scale();
        let spare = Spare {
            items: &self.items,
            capacity: (self.capacity - floors).max(0.0),
            risk: ((self.risk_budget - floor_risk) / scale).max(0.0),
            scale,
        };
        let (lambda, mu) = spare.lowest()?;
        let positive = |price: f64| if price > TIE { price } else { 0.0 };
        Ok(ShadowPrices {
            capacity: positive(lambda),
            risk: positive(mu) / scale,
        })
    }
}

impl Spare<'_> {
    fn rate(&self, item: &Item) -> f64 {
        item.risk / self.scale
    }

    /// λ and μ at the lowest point.
    fn lowest(&self) -> Result<(f64, f64), AllocatorError> {
        let mut room = Vec::with_capacity(self.items.len());
        let free = self.look(0.0, &mut room);
        if free.safest.risk <= self.risk + SLACK {
            return Ok((free.lambda, 0.0));
        }
        // At this price nobody with any risk is worth having.
        let rates = self.items.iter().filter(|item| item.risk > 0.0);
        let dearest = rates
            .map(|item| item.value / self.rate(item))
            .fold(0.0, f64::max);
        let (mut low, mut high) = (0.0, dearest);
        let (mut falling, mut rising) = (free.safest, self.riskless(&mut room));
        for looks in 0..MAX_LOOKS {
            let crossing = (falling.value - rising.value) / (falling.risk - rising.risk);
            let halve = looks > PATIENCE && looks % 2 == 0;
            let mu = if halve {
                f64::midpoint(low, high)
            } else {
                crossing.clamp(low, high)
            };
            let look = self.look(mu, &mut room);
            if look.safest.risk > self.risk + SLACK {
                (falling, low) = (look.safest, mu);
            } else if look.riskiest.risk < self.risk - SLACK {
                (rising, high) = (look.riskiest, mu);
            } else {
                return Ok((look.lambda, mu));
            }
        }
        Err(AllocatorError::Solver(
            "the price of risk was not found".to_owned(),
        ))
    }

    /// The best filling with runs that have no risk at all.
    fn riskless(&self, room: &mut Vec<(f64, f64)>) -> Piece {
        room.clear();
        let none = self.items.iter().filter(|item| item.risk <= 0.0);
        room.extend(none.map(|item| (item.value, item.cap - item.floor)));
        room.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut piece = Piece::default();
        let mut left = self.capacity;
        for &(value, width) in room.iter() {
            let taken = width.min(left);
            piece.value += value * taken;
            left -= taken;
        }
        piece
    }

    fn look(&self, mu: f64, room: &mut Vec<(f64, f64)>) -> Look {
        room.clear();
        for item in self.items {
            let (worth, width) = (item.value - self.rate(item) * mu, item.cap - item.floor);
            if worth > 0.0 && width > 0.0 {
                room.push((worth, width));
            }
        }
        let lambda = marginal(room, self.capacity);
        let mut sure = Piece::default();
        let mut left = self.capacity;
        let mut tied: Vec<&Item> = Vec::new();
        for item in self.items {
            let gain = item.value - self.rate(item) * mu - lambda;
            if gain > TIE {
                self.take(&mut sure, item, item.cap - item.floor, &mut left);
            } else if gain >= -TIE {
                tied.push(item);
            }
        }
        tied.sort_unstable_by(|a, b| a.risk.total_cmp(&b.risk));
        let (mut safest, mut riskiest, mut rest) = (sure, sure, left);
        // Capacity without a price need not be used.
        if lambda > TIE {
            for item in &tied {
                self.take(&mut safest, item, item.cap - item.floor, &mut rest);
            }
        }
        for item in tied.iter().rev() {
            self.take(&mut riskiest, item, item.cap - item.floor, &mut left);
        }
        Look {
            lambda,
            safest,
            riskiest,
        }
    }

    fn take(&self, piece: &mut Piece, item: &Item, width: f64, left: &mut f64) {
        let taken = width.min(*left).max(0.0);
        piece.value += item.value * taken;
        piece.risk += self.rate(item) * taken;
        *left -= taken;
    }
}

/// What the last unit of `capacity` is worth when it goes to the largest worths first, of pairs of worth
/// and width; 0 when there is enough for all.
fn marginal(room: &mut [(f64, f64)], capacity: f64) -> f64 {
    let (mut rest, mut left) = (room, capacity.max(0.0));
    while !rest.is_empty() {
        let middle = rest.len() / 2;
        let (above, at, below) = rest.select_nth_unstable_by(middle, |a, b| b.0.total_cmp(&a.0));
        let wide: f64 = above.iter().map(|(_, width)| width).sum();
        if wide > left {
            rest = above;
        } else if wide + at.1 > left {
            return at.0;
        } else {
            left = (left - wide - at.1).max(0.0);
            rest = below;
        }
    }
    0.0
}
