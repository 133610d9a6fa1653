//! Sharing the pool out: a linear program, then the most even of its optima.
//!
//! ```text
//! maximise    Σ v_r x_r
//! subject to  Σ x_r ≤ C            capacity
//!             Σ s_r u_r x_r ≤ R    risk budget
//!             floor_r ≤ x_r ≤ cap_r
//! ```
//!
//! x: share of the pool; v: voted value; s: severity; u: upper credible bound
//! on misalignment. A linear program often has many optima; the answer is the
//! one whose sorted shares are lexicographically largest from the smallest up
//! (max–min fairness). It is unique, so it does not depend on the order of the
//! runs, and runs with equal terms get equal shares.
//!
//! The program is solved by its structure, in a time that grows as n log n, so that a pool may have
//! 100,000 runs: two prices explain everything, and the even point follows from them.
//!
//! Floors that cannot all be met are scaled down together, and the answer
//! says so. Every answer carries the shadow prices of both budgets and, for
//! each run, what binds it and what would free it.

mod dual;
mod explain;
mod fair;
mod program;
mod round;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::Bps;

/// Most runs that share one pool.
pub const MAX_RUNS: usize = 100_000;

/// Why nothing was allocated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AllocatorError {
    /// A number outside its domain.
    #[error("run {run}: {name} is {value}")]
    BadInput {
        /// The run concerned.
        run: Uuid,
        /// Name of the number.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// The risk budget is negative or not finite.
    #[error("the risk budget is {0}")]
    BadBudget(f64),
    /// The same run twice.
    #[error("run {0} is given twice")]
    Duplicate(Uuid),
    /// More than [`MAX_RUNS`].
    #[error("{0} runs are more than a pool may hold")]
    TooMany(usize),
    /// The search gave up on a program that always has a solution.
    #[error("the search for shadow prices failed: {0}")]
    Solver(String),
}

/// One run's claim on the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The run.
    pub run: Uuid,
    /// Voted value v of a whole pool to this run, > 0.
    pub value: f64,
    /// Severity s, ≥ 0.
    pub severity: f64,
    /// Upper credible bound u on misalignment, 0 to 1.
    pub upper: f64,
    /// Least share, where it can be met; never above the cap.
    pub floor: Bps,
    /// Largest share.
    pub cap: Bps,
    /// Where the cap comes from, for the explanation.
    pub cap_reason: String,
}

/// What is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Largest sum of shares C.
    pub capacity: Bps,
    /// Risk budget R, ≥ 0.
    pub risk_budget: f64,
}

/// What keeps a run from having more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// Its own cap.
    Cap,
    /// It has its floor: its share is worth more elsewhere.
    Floor,
    /// The pool is given out.
    Capacity,
    /// The risk budget is used up.
    RiskBudget,
}

/// One run's share and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunShare {
    /// The run.
    pub run: Uuid,
    /// Its share in whole basis points.
    pub share: Bps,
    /// Its share before rounding, 0 to 1.
    pub exact: f64,
    /// Its floor after scaling, 0 to 1.
    pub floor: f64,
    /// Risk it adds per unit of share: s · u.
    pub risk_rate: f64,
    /// What keeps it from having more.
    pub binding: Binding,
    /// `v − λ − s·u·μ`: what a further unit of share to this run would add to
    /// the total value; positive at its cap, negative at its floor.
    pub reduced_value: f64,
    /// The same in a sentence.
    pub explanation: String,
    /// What would free it, where anything would.
    pub would_free: Option<String>,
}

/// Use of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BudgetUse {
    /// Amount used after rounding.
    pub used: f64,
    /// Amount available.
    pub limit: f64,
    /// Shadow price: value that one more unit would add, ≥ 0.
    pub shadow_price: f64,
}

/// Shares of every run, in order of run id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// One entry per request, in order of run id.
    pub shares: Vec<RunShare>,
    /// Capacity, in shares of the pool; its shadow price is λ.
    pub capacity: BudgetUse,
    /// Risk; its shadow price is μ.
    pub risk: BudgetUse,
    /// Factor by which floors were scaled to be feasible, 1 when untouched.
    pub floor_scale: f64,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

impl Allocation {
    /// The share of `run`, if it was requested.
    #[must_use]
    pub fn share(&self, run: Uuid) -> Option<&RunShare> {
        self.shares.iter().find(|share| share.run == run)
    }
}

/// Solves the program; see the module's documentation.
///
/// # Errors
/// When an input is outside its domain, or the search fails.
pub fn allocate(requests: &[Request], pool: &Pool) -> Result<Allocation, AllocatorError> {
    check(requests, pool)?;
    let mut requests: Vec<&Request> = requests.iter().collect();
    requests.sort_by_key(|request| request.run);
    let program = program::Program::new(&requests, pool);
    let prices = program.shadow_prices()?;
    let exact = fair::most_even(&program, &prices);
    let rounded = round::largest_remainder(&program, &exact);
    Ok(explain::explain(
        &requests, &program, &prices, &exact, &rounded,
    ))
}

fn check(requests: &[Request], pool: &Pool) -> Result<(), AllocatorError> {
    if requests.len() > MAX_RUNS {
        return Err(AllocatorError::TooMany(requests.len()));
    }
    if !pool.risk_budget.is_finite() || pool.risk_budget < 0.0 {
        return Err(AllocatorError::BadBudget(pool.risk_budget));
    }
    let mut seen = std::collections::HashSet::with_capacity(requests.len());
    for request in requests {
        let run = request.run;
        for (name, value, valid) in [
            (
                "value",
                request.value,
                request.value > 0.0 && request.value <= 1e6,
            ),
            (
                "severity",
                request.severity,
                (0.0..=1e6).contains(&request.severity),
            ),
            ("upper", request.upper, (0.0..=1.0).contains(&request.upper)),
        ] {
            if !valid {
                return Err(AllocatorError::BadInput { run, name, value });
            }
        }
        if !seen.insert(run) {
            return Err(AllocatorError::Duplicate(run));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
