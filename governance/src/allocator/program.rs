//! The linear program in normal form.

use super::{Pool, Request};

/// Differences below this are ties, on scales where the largest value is 1.
pub(super) const TIE: f64 = 1e-9;

/// One run, with its value scaled to the largest and its floor feasible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// v over the largest v, in (0, 1].
    pub(super) value: f64,
    /// s · u.
    pub(super) risk: f64,
    /// Scaled floor, 0 to cap.
    pub(super) floor: f64,
    /// Cap, 0 to 1.
    pub(super) cap: f64,
}

/// The program, its budgets and the scales that were taken out.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) items: Vec<Item>,
    pub(super) capacity: f64,
    pub(super) risk_budget: f64,
    pub(super) value_scale: f64,
    pub(super) floor_scale: f64,
    /// Runs whose floor was above their cap, by index.
    pub(super) capped_floors: Vec<usize>,
}

/// Values of one more unit of capacity (λ) and of risk (μ), values scaled.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShadowPrices {
    pub(super) capacity: f64,
    pub(super) risk: f64,
}

impl ShadowPrices {
    /// `v − λ − a μ`, the gain from a further unit of share to `item`.
    pub(super) fn reduced(&self, item: &Item) -> f64 {
        item.value - self.capacity - item.risk * self.risk
    }
}

impl Program {
    pub(super) fn new(requests: &[&Request], pool: &Pool) -> Self {
        let value_scale = requests.iter().map(|r| r.value).fold(0.0, f64::max);
        let capped_floors = (0..requests.len())
            .filter(|&i| requests[i].floor > requests[i].cap)
            .collect();
        let mut items: Vec<Item> = requests
            .iter()
            .map(|request| Item {
                value: request.value / value_scale,
                risk: request.severity * request.upper,
                floor: request.floor.min(request.cap).fraction(),
                cap: request.cap.fraction(),
            })
            .collect();
        let capacity = pool.capacity.fraction();
        let floor_sum: f64 = items.iter().map(|item| item.floor).sum();
        let floor_risk: f64 = items.iter().map(|item| item.floor * item.risk).sum();
        let mut floor_scale = 1.0_f64;
        if floor_sum > capacity {
            floor_scale = floor_scale.min(capacity / floor_sum);
        }
        if floor_risk > pool.risk_budget {
            floor_scale = floor_scale.min(pool.risk_budget / floor_risk);
        }
        for item in &mut items {
            item.floor *= floor_scale;
        }
        Self {
            items,
            capacity,
            risk_budget: pool.risk_budget,
            value_scale,
            floor_scale,
            capped_floors,
        }
    }

    /// Largest risk rate, at least 1, by which the risk row is divided so that
    /// absolute tolerances mean the same on both budgets.
    pub(super) fn risk_scale(&self) -> f64 {
        self.items.iter().map(|item| item.risk).fold(1.0, f64::max)
    }
}
