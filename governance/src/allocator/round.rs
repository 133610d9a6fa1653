//! Whole basis points.

use super::program::Program;
use crate::Bps;

/// Shares within this many basis points of a whole number are that number;
/// two remainders within it are equal.
const SNAP: f64 = 1e-3;

/// Rounds every share down to whole basis points and hands the basis points
/// that are left to the largest remainders. Runs with equal remainders get a
/// point all together or not at all, so that equal runs stay equal; nobody
/// goes above a cap, and neither budget is overdrawn.
pub(super) fn largest_remainder(program: &Program, exact: &[f64]) -> Vec<Bps> {
    let scaled: Vec<f64> = exact.iter().map(|share| share * 10_000.0).collect();
    let mut whole: Vec<u32> = scaled.iter().map(|s| (s + SNAP).floor() as u32).collect();
    let total = (scaled.iter().sum::<f64>() + SNAP).floor() as u32;
    let limit = total.min((program.capacity * 10_000.0).round() as u32);
    let risk_limit = program.risk_budget * 10_000.0;
    let mut order: Vec<usize> = (0..exact.len()).collect();
    let remainder = |i: usize| scaled[i] - scaled[i].floor();
    order.retain(|&i| scaled[i] - f64::from(whole[i]) > SNAP);
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)));
    let mut given: u32 = whole.iter().sum();
    let points = whole.iter().zip(&program.items);
    let mut risk: f64 = points.map(|(&n, item)| f64::from(n) * item.risk).sum();
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let equal = |&&i: &&usize| remainder(first) - remainder(i) <= SNAP;
        let (group, after) = rest.split_at(rest.iter().take_while(equal).count());
        rest = after;
        let more = u32::try_from(group.len()).unwrap_or(u32::MAX);
        let added: f64 = group.iter().map(|&i| program.items[i].risk).sum();
        let within_caps = group
            .iter()
            .all(|&i| f64::from(whole[i] + 1) <= program.items[i].cap * 10_000.0 + SNAP);
        if given.saturating_add(more) <= limit && risk + added <= risk_limit && within_caps {
            for &i in group {
                whole[i] += 1;
            }
            given += more;
            risk += added;
        }
    }
    whole.into_iter().map(Bps::saturating).collect()
}
