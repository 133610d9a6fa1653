//! Saying what bound, and what would free it.

use super::program::{Program, ShadowPrices, TIE};
use super::{Allocation, Binding, BudgetUse, Request, RunShare};
use crate::Bps;

/// Puts the answer together. All slices are in the order of the program.
pub(super) fn explain(
    requests: &[&Request],
    program: &Program,
    prices: &ShadowPrices,
    exact: &[f64],
    rounded: &[Bps],
) -> Allocation {
    let shares: Vec<RunShare> = (0..requests.len())
        .map(|i| explain_run(requests[i], i, program, prices, exact[i], rounded[i]))
        .collect();
    let used = |weight: fn(&RunShare) -> f64| -> f64 {
        shares.iter().map(|s| weight(s) * s.share.fraction()).sum()
    };
    let capacity = BudgetUse {
        used: used(|_| 1.0),
        limit: program.capacity,
        shadow_price: prices.capacity * program.value_scale,
    };
    let risk = BudgetUse {
        used: used(|share| share.risk_rate),
        limit: program.risk_budget,
        shadow_price: prices.risk * program.value_scale,
    };
    Allocation {
        notes: notes(requests, program),
        floor_scale: program.floor_scale,
        shares,
        capacity,
        risk,
    }
}

fn notes(requests: &[&Request], program: &Program) -> Vec<String> {
    let mut notes = Vec::new();
    if program.floor_scale < 1.0 {
        notes.push(format!(
            "The floors do not fit into the budgets; all were scaled by {:.4}.",
            program.floor_scale
        ));
    }
    for &index in &program.capped_floors {
        let request = requests[index];
        notes.push(format!(
            "Run {}: the cap of {} is below the floor of {}; the cap holds.",
            request.run, request.cap, request.floor
        ));
    }
    notes
}

fn explain_run(
    request: &Request,
    index: usize,
    program: &Program,
    prices: &ShadowPrices,
    exact: f64,
    share: Bps,
) -> RunShare {
    let item = &program.items[index];
    let reduced = prices.reduced(item);
    let by_risk = prices.risk * item.risk > prices.capacity;
    let binding = if exact >= item.cap - TIE {
        Binding::Cap
    } else if reduced < -TIE {
        Binding::Floor
    } else if by_risk {
        Binding::RiskBudget
    } else {
        Binding::Capacity
    };
    let scarce = if by_risk { "risk budget" } else { "pool" };
    let explanation = match binding {
        Binding::Cap => format!("At its cap of {}: {}.", request.cap, request.cap_reason),
        Binding::Floor => {
            format!("At its floor of {share}: the {scarce} is worth more to other runs.")
        }
        Binding::RiskBudget => format!(
            "{share}: the risk budget is used up; this run takes {:.4} of it per unit of share.",
            item.risk
        ),
        Binding::Capacity => format!("{share}: an even part of the pool, which is given out."),
    };
    RunShare {
        run: request.run,
        share,
        exact,
        floor: item.floor,
        risk_rate: item.risk,
        binding,
        reduced_value: reduced * program.value_scale,
        explanation,
        would_free: would_free(request, binding, by_risk, program, prices),
    }
}

fn would_free(
    request: &Request,
    binding: Binding,
    by_risk: bool,
    program: &Program,
    prices: &ShadowPrices,
) -> Option<String> {
    if binding == Binding::Cap {
        let lifted = request.cap < Bps::FULL;
        return lifted.then(|| format!("A cap above {}.", request.cap));
    }
    if by_risk {
        // v − λ − s·u·μ = 0 at the bound where the run begins to gain.
        let value = request.value / program.value_scale;
        let bound = (value - prices.capacity) / (prices.risk * request.severity);
        let better = bound > 0.0 && bound < request.upper;
        return Some(if better {
            format!(
                "An upper bound below {bound:.4} (now {:.4}).",
                request.upper
            )
        } else {
            format!(
                "A larger risk budget, or an upper bound below {:.4}.",
                request.upper
            )
        });
    }
    match binding {
        Binding::Floor => Some(format!(
            "A value above {:.4} (now {:.4}), or shares released by other runs.",
            (prices.capacity + prices.risk * request.severity * request.upper)
                * program.value_scale,
            request.value
        )),
        _ => Some("A larger pool, or shares released by other runs.".into()),
    }
}
