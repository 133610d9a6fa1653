//! The same answer by general linear programs, solved by another's solver: what the direct way is
//! checked against.

use good_lp::{Expression, ProblemVariables, Solution, SolverModel, constraint, microlp, variable};

use crate::allocator::program::{Item, Program, ShadowPrices, TIE};

/// Slack of bounds and budgets that came out of the solver, so that rounding never makes a program
/// infeasible.
const SLACK: f64 = 1e-9;

/// A run that can rise by no more than this is stuck: a hundredth of a basis
/// point, and more than the slacks of a whole pool of runs put together.
const STUCK: f64 = 1e-6;

/// A budget left to the runs that are neither at floor nor at cap.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: f64,
    used_up: bool,
}

/// The optimal face: the runs that may move, and what they share.
#[derive(Debug)]
struct Face {
    items: Vec<Item>,
    capacity: Budget,
    risk: Budget,
}

/// A dual solution of the program above its floors.
pub(super) fn shadow_prices(program: &Program) -> ShadowPrices {
    let floors: f64 = program.items.iter().map(|i| i.floor).sum();
    let floor_risk: f64 = program.items.iter().map(|i| i.floor * i.risk).sum();
    let scale = program.risk_scale();
    let spare_risk = (program.risk_budget - floor_risk) / scale;
    let mut variables = ProblemVariables::new();
    let lambda = variables.add(variable().min(0.0));
    let mu = variables.add(variable().min(0.0));
    let alphas = variables.add_vector(variable().min(0.0), program.items.len());
    let mut objective = Expression::default();
    objective.add_mul((program.capacity - floors).max(0.0), lambda);
    objective.add_mul(spare_risk.max(0.0), mu);
    for (item, &alpha) in program.items.iter().zip(&alphas) {
        objective.add_mul(item.cap - item.floor, alpha);
    }
    let mut model = variables.minimise(objective).using(microlp);
    for (item, &alpha) in program.items.iter().zip(&alphas) {
        let left: Expression = lambda + (item.risk / scale) * mu + alpha;
        model.add_constraint(constraint!(left >= item.value));
    }
    let solution = model.solve().unwrap();
    let positive = |price: f64| if price > TIE { price } else { 0.0 };
    ShadowPrices {
        capacity: positive(solution.value(lambda)),
        risk: positive(solution.value(mu)) / scale,
    }
}

/// Shares in the order of the program's items: the smallest as large as possible, then the next.
pub(super) fn most_even(program: &Program) -> Vec<f64> {
    let prices = shadow_prices(program);
    let mut shares = Vec::new();
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
    let scale = program.risk_scale();
    let scaled = |index: &usize| Item {
        risk: program.items[*index].risk / scale,
        ..program.items[*index]
    };
    let face = Face {
        items: free.iter().map(scaled).collect(),
        capacity: Budget {
            left: capacity,
            used_up: prices.capacity > 0.0,
        },
        risk: Budget {
            left: risk / scale,
            used_up: prices.risk > 0.0,
        },
    };
    for (index, share) in free.into_iter().zip(face.lexicographic()) {
        shares[index] = share;
    }
    shares
}

impl Face {
    /// Raises the smallest share as far as possible, fixes the runs that
    /// cannot go further, and repeats with the rest.
    fn lexicographic(&self) -> Vec<f64> {
        let mut fixed: Vec<Option<f64>> = vec![None; self.items.len()];
        while fixed.iter().any(Option::is_none) {
            let (level, shares) = self.raise(&fixed, None);
            let mut stuck: Vec<usize> = (0..fixed.len())
                .filter(|&i| fixed[i].is_none() && shares[i] <= level + STUCK)
                .collect();
            let lowest = (0..fixed.len())
                .filter(|&i| fixed[i].is_none())
                .min_by(|&a, &b| shares[a].total_cmp(&shares[b]));
            // While some of these can rise together above the level, those that
            // do are not stuck; what remains in the end is.
            loop {
                let (_, best) = self.raise(&fixed, Some((&stuck, level)));
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
        fixed.into_iter().flatten().collect()
    }

    /// With `favoured = None`, the largest level that every run not yet fixed
    /// can have at once; with `Some((runs, level))`, the largest sum of the
    /// shares of those runs while every run keeps at least that level. The
    /// maximum, and the shares that reach it.
    fn raise(&self, fixed: &[Option<f64>], favoured: Option<(&[usize], f64)>) -> (f64, Vec<f64>) {
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
        let solution = model.solve().unwrap();
        let values = shares.iter().map(|&share| solution.value(share)).collect();
        (solution.eval(&target), values)
    }
}
