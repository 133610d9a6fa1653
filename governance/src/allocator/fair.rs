//! The max–min fair point among all optima.

use good_lp::{Expression, ProblemVariables, Solution, SolverModel, constraint, microlp, variable};

use super::AllocatorError;
use super::program::{Item, Program, ShadowPrices, TIE, solver_error};

/// Slack of bounds and budgets that came out of a bisection or the solver, so
/// that rounding never makes a program infeasible.
const SLACK: f64 = 1e-9;

/// A run that can rise by no more than this is stuck: a hundredth of a basis
/// point, and more than the slacks of a whole pool of runs put together.
const STUCK: f64 = 1e-6;

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

/// The optimal face: the runs that may move, and what they share.
#[derive(Debug)]
struct Face {
    items: Vec<Item>,
    capacity: Budget,
    risk: Budget,
}

/// Shares in the order of the program's items.
pub(super) fn most_even(
    program: &Program,
    prices: &ShadowPrices,
) -> Result<Vec<f64>, AllocatorError> {
    let mut shares = Vec::with_capacity(program.items.len());
    let mut free = Vec::new();
    for (index, item) in program.items.iter().enumerate() {
        let reduced = prices.reduced(item);
        if reduced.abs() <= TIE {
            free.push(index);
        }
        shares.push(if reduced > TIE { item.cap } else { item.floor });
    }
    let scale = program.risk_scale();
    let settled = |weight: &dyn Fn(&Item) -> f64| -> f64 {
        (0..shares.len())
            .filter(|index| !free.contains(index))
            .map(|index| weight(&program.items[index]) * shares[index])
            .sum()
    };
    let face = Face {
        items: free
            .iter()
            .map(|&index| Item {
                risk: program.items[index].risk / scale,
                ..program.items[index]
            })
            .collect(),
        capacity: Budget {
            left: program.capacity - settled(&|_| 1.0),
            used_up: prices.capacity > 0.0,
        },
        risk: Budget {
            left: (program.risk_budget - settled(&|item| item.risk)) / scale,
            used_up: prices.risk > 0.0,
        },
    };
    let moved = match face.level() {
        Some(shares) => shares,
        None => face.lexicographic()?,
    };
    for (index, share) in free.into_iter().zip(moved) {
        shares[index] = share;
    }
    Ok(shares)
}

impl Face {
    fn sum(&self, shares: &[f64], weight: impl Fn(&Item) -> f64) -> f64 {
        let terms = self.items.iter().zip(shares);
        terms.map(|(item, share)| weight(item) * share).sum()
    }

    fn at_level(&self, level: f64) -> Vec<f64> {
        let items = self.items.iter();
        items
            .map(|item| level.clamp(item.floor, item.cap))
            .collect()
    }

    /// Raises all runs together, each held between its floor and cap, until a
    /// budget is used up. Where the result lies on the face it is the max–min
    /// fair point of the whole box, hence of the face; otherwise `None`.
    fn level(&self) -> Option<Vec<f64>> {
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        let fits = |shares: &[f64]| {
            self.sum(shares, |_| 1.0) <= self.capacity.left
                && self.sum(shares, |item| item.risk) <= self.risk.left
        };
        if fits(&self.at_level(high)) {
            low = high;
        }
        // Sixty halvings reach the resolution of a share in [0, 1].
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if fits(&self.at_level(middle)) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let shares = self.at_level(low);
        let on_face = self.capacity.admits(self.sum(&shares, |_| 1.0))
            && self.risk.admits(self.sum(&shares, |item| item.risk));
        on_face.then_some(shares)
    }

    /// Raises the smallest share as far as possible, fixes the runs that
    /// cannot go further, and repeats with the rest.
    fn lexicographic(&self) -> Result<Vec<f64>, AllocatorError> {
        let mut fixed: Vec<Option<f64>> = vec![None; self.items.len()];
        while fixed.iter().any(Option::is_none) {
            let (level, shares) = self.raise(&fixed, None)?;
            let mut stuck: Vec<usize> = (0..fixed.len())
                .filter(|&i| fixed[i].is_none() && shares[i] <= level + STUCK)
                .collect();
            let lowest = (0..fixed.len())
                .filter(|&i| fixed[i].is_none())
                .min_by(|&a, &b| shares[a].total_cmp(&shares[b]));
            // While some of these can rise together above the level, those that
            // do are not stuck; what remains in the end is.
            loop {
                let (_, best) = self.raise(&fixed, Some((&stuck, level)))?;
                let before = stuck.len();
                stuck.retain(|&i| best[i] <= level + STUCK);
                if stuck.len() == before || stuck.is_empty() {
                    break;
                }
            }
            if stuck.is_empty() {
                // Rounding in the solver hid the run that is stuck; the lowest
                // is within the slack of it.
                stuck.extend(lowest);
            }
            for i in stuck {
                fixed[i] = Some(level.clamp(self.items[i].floor, self.items[i].cap));
            }
        }
        Ok(fixed.into_iter().flatten().collect())
    }

    /// With `favoured = None`, the largest level that every run not yet fixed
    /// can have at once; with `Some((runs, level))`, the largest sum of the
    /// shares of those runs while every run keeps at least that level. The
    /// maximum, and the shares that reach it.
    fn raise(
        &self,
        fixed: &[Option<f64>],
        favoured: Option<(&[usize], f64)>,
    ) -> Result<(f64, Vec<f64>), AllocatorError> {
        let mut variables = ProblemVariables::new();
        let shares: Vec<_> = self
            .items
            .iter()
            .zip(fixed)
            .map(|(item, fixed)| match (fixed, favoured) {
                (Some(share), _) => (share - SLACK, share + SLACK),
                (None, Some((_, level))) => ((level - SLACK).clamp(item.floor, item.cap), item.cap),
                (None, None) => (item.floor, item.cap),
            })
            .map(|(low, high)| variables.add(variable().min(low).max(high)))
            .collect();
        let level = variables.add(variable().min(0.0).max(1.0));
        let target: Expression = match favoured {
            None => level.into(),
            Some((runs, _)) => runs.iter().map(|&index| shares[index]).sum(),
        };
        let mut model = variables.maximise(target.clone()).using(microlp);
        if favoured.is_none() {
            for (&share, _) in shares.iter().zip(fixed).filter(|(_, f)| f.is_none()) {
                model.add_constraint(constraint!(share >= level));
            }
        }
        let weighted = |weight: fn(&Item) -> f64| -> Expression {
            let mut sum = Expression::default();
            for (item, &share) in self.items.iter().zip(&shares) {
                sum.add_mul(weight(item), share);
            }
            sum
        };
        for (budget, sum) in [
            (self.capacity, weighted(|_| 1.0)),
            (self.risk, weighted(|item| item.risk)),
        ] {
            if budget.used_up {
                model.add_constraint(constraint!(sum.clone() >= budget.left - SLACK));
            }
            model.add_constraint(constraint!(sum <= budget.left + SLACK));
        }
        let solution = model.solve().map_err(solver_error)?;
        let values = shares.iter().map(|&share| solution.value(share)).collect();
        Ok((solution.eval(&target), values))
    }
}
