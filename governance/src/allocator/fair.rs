//! The max–min fair point among all optima.
//!
//! All runs that the prices leave undecided rise together, each between its floor and its cap, as far as
//! the face of the optima allows. Where a budget that is used up stands in the way of the next step, what
//! is left of it can only go to the runs of the least risk (or of the most), so these take it and the
//! others stay; among runs of equal risk the level is even again.

use super::program::{Item, Program, ShadowPrices, TIE};

/// Slack of budgets, so that rounding in sums of shares never makes a face empty.
const SLACK: f64 = 1e-9;
/// Halvings that reach the resolution of a share in [0, 1].
const HALVINGS: usize = 60;

/// A budget left to the runs that are neither at floor nor at cap.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: f64,
    /// A priced budget must be used up; an unpriced one may be.
    used_up: bool,
}

impl Budget {
    fn admits(self, used: f64) -> bool {
        used <= self.left + SLACK && (!self.used_up || used >= self.left - SLACK)
    }
}

/// The optimal face: the runs that may move, the least risky first, and what they share.
#[derive(Debug)]
struct Face {
    items: Vec<Item>,
    capacity: Budget,
    risk: Budget,
}

/// Which runs take what the level leaves over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    LeastRisk,
    MostRisk,
}

/// Shares in the order of the program's items.
pub(super) fn most_even(program: &Program, prices: &ShadowPrices) -> Vec<f64> {
    let mut shares = Vec::with_capacity(program.items.len());
    let mut free = Vec::new();
    let (mut capacity, mut risk) = (program.capacity, program.risk_budget);
    for (index, item) in program.items.iter().enumerate() {
        let reduced = prices.reduced(item);
        let share = if reduced > TIE { item.cap } else { item.floor };
        if reduced.abs() <= TIE {
            free.push(index);
        } else {
            capacity -= share;
            risk -= item.risk * share;
        }
        shares.push(share);
    }
    free.sort_by(|&a, &b| program.items[a].risk.total_cmp(&program.items[b].risk));
    let scale = program.risk_scale();
    let face = Face {
        items: free
            .iter()
            .map(|&index| Item {
                risk: program.items[index].risk / scale,
                ..program.items[index]
            })
            .collect(),
        capacity: Budget {
            left: capacity,
            used_up: prices.capacity > 0.0,
        },
        risk: Budget {
            left: risk / scale,
            used_up: prices.risk > 0.0,
        },
    };
    for (index, share) in free.into_iter().zip(face.most_even()) {
        shares[index] = share;
    }
    shares
}

/// The largest level in [0, 1] of which `fits` holds, where it holds below it; 0 where it holds nowhere.
fn highest(fits: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    if fits(high) {
        return high;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn at(level: f64, item: &Item) -> f64 {
    level.clamp(item.floor, item.cap)
}

impl Face {
    fn most_even(&self) -> Vec<f64> {
        let level = highest(|level| {
            let (used, risk) = self.used(level);
            used <= self.capacity.left && risk <= self.risk.left
        });
        let (used, risk) = self.used(level);
        if self.capacity.admits(used) && self.risk.admits(risk) {
            return self.items.iter().map(|item| at(level, item)).collect();
        }
        let level = highest(|level| self.can_reach(level));
        // What stands in the way of a little more decides who takes the rest.
        let from_above = self.risk.used_up && self.safest(level) < self.risk.left - 2.0 * SLACK;
        let first = if !self.capacity.used_up || from_above {
            First::MostRisk
        } else {
            First::LeastRisk
        };
        self.filled(level, first)
    }

    /// Capacity and risk used when all are at a level.
    fn used(&self, level: f64) -> (f64, f64) {
        let mut sums = (0.0, 0.0);
        for item in &self.items {
            let share = at(level, item);
            sums.0 += share;
            sums.1 += item.risk * share;
        }
        sums
    }

    /// Whether some point of the face has everybody at `level` or above.
    fn can_reach(&self, level: f64) -> bool {
        let (used, risk) = self.used(level);
        if used > self.capacity.left + SLACK || risk > self.risk.left + SLACK {
            return false;
        }
        if self.capacity.used_up {
            let enough = !self.risk.used_up || self.riskiest(level) >= self.risk.left - SLACK;
            return enough && self.safest(level) <= self.risk.left + SLACK;
        }
        !self.risk.used_up || self.narrowest(level) <= self.capacity.left + SLACK
    }

    /// Least risk with the capacity used up and everybody at `level` or above.
    fn safest(&self, level: f64) -> f64 {
        self.risk_of_rest(level, self.items.iter())
    }

    /// Most risk, likewise.
    fn riskiest(&self, level: f64) -> f64 {
        self.risk_of_rest(level, self.items.iter().rev())
    }

    fn risk_of_rest<'a>(&self, level: f64, order: impl Iterator<Item = &'a Item>) -> f64 {
        let (used, mut risk) = self.used(level);
        let mut left = self.capacity.left - used;
        for item in order {
            if left <= 0.0 {
                break;
            }
            let more = (item.cap - at(level, item)).min(left);
            risk += more * item.risk;
            left -= more;
        }
        risk
    }

    /// Least capacity with the risk budget used up and everybody at `level` or above.
    fn narrowest(&self, level: f64) -> f64 {
        let (mut used, risk) = self.used(level);
        let mut left = self.risk.left - risk;
        for item in self.items.iter().rev() {
            if left <= 0.0 || item.risk <= 0.0 {
                break;
            }
            let more = (item.cap - at(level, item)).min(left / item.risk);
            used += more;
            left -= more * item.risk;
        }
        used
    }

    /// Everybody at `level`, and what is left of the budget that is used up to some first.
    fn filled(&self, level: f64, first: First) -> Vec<f64> {
        let mut shares: Vec<f64> = self.items.iter().map(|item| at(level, item)).collect();
        let (used, risk) = self.used(level);
        let by_capacity = self.capacity.used_up;
        let mut left = if by_capacity {
            self.capacity.left - used
        } else {
            self.risk.left - risk
        };
        let mut classes = self.classes();
        if first == First::MostRisk {
            classes.reverse();
        }
        for class in classes {
            let rate = self.items[class.start].risk;
            if left <= 0.0 || (!by_capacity && rate <= 0.0) {
                break;
            }
            let worth = if by_capacity { left } else { left / rate };
            let before: f64 = shares[class.clone()].iter().sum();
            even(
                &self.items[class.clone()],
                &mut shares[class.clone()],
                worth,
            );
            let more = shares[class].iter().sum::<f64>() - before;
            left -= if by_capacity { more } else { more * rate };
        }
        shares
    }

    /// Runs of equal risk, the least risky first.
    fn classes(&self) -> Vec<std::ops::Range<usize>> {
        let mut classes: Vec<std::ops::Range<usize>> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            match classes.last_mut() {
                Some(class) if item.risk - self.items[class.start].risk <= TIE => {
                    class.end = index + 1;
                }
                _ => classes.push(index..index + 1),
            }
        }
        classes
    }
}

/// Raises these shares together by `more` in all, or to their caps.
fn even(items: &[Item], shares: &mut [f64], more: f64) {
    let now: f64 = shares.iter().sum();
    let raised = |level: f64, item: &Item, share: f64| level.clamp(share, item.cap.max(share));
    let level = highest(|level| {
        let pairs = items.iter().zip(&*shares);
        let sum: f64 = pairs.map(|(item, &share)| raised(level, item, share)).sum();
        sum <= now + more
    });
    for (share, item) in shares.iter_mut().zip(items) {
        *share = raised(level, item, *share);
    }
}
