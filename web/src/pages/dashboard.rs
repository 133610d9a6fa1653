//! The front page: every run's risk, share and state, and what changed.

use plumbline_service::views::RunView;
use serde::Serialize;

use super::Visit;
use super::feed::{FeedItem, recent};
use crate::api::Answer;
use crate::auth::State;
use crate::chart::price::spark;
use crate::templates::Page;

/// Points of a sparkline.
const SPARK_POINTS: usize = 80;

/// The dashboard's context.
#[derive(Debug, Serialize)]
pub(crate) struct Dashboard {
    /// The runs.
    pub(crate) runs: Vec<RunRow>,
    /// How the pool of compute is split.
    pub(crate) slices: Vec<Slice>,
    /// Share of the pool that is allocated.
    pub(crate) allocated_bps: i64,
    /// Share of allocated compute whose scheduler acknowledged its decision.
    pub(crate) stop_coverage: Option<f64>,
    /// Tokens per second over all runs.
    pub(crate) tokens_per_second: f64,
    /// What changed, newest first.
    pub(crate) feed: Vec<FeedItem>,
    /// Nobody has an account yet.
    pub(crate) needs_setup: bool,
}

/// One run of the list.
#[derive(Debug, Serialize)]
pub(crate) struct RunRow {
    /// The run.
    pub(crate) run: RunView,
    /// `good`, `warn`, `bad` or `none`.
    pub(crate) tone: &'static str,
    /// State in one word.
    pub(crate) state: &'static str,
    /// Path of the price's recent history in a 120 × 32 box.
    pub(crate) spark: Option<String>,
}

/// A run's part of the pool.
#[derive(Debug, Serialize)]
pub(crate) struct Slice {
    /// Run's name.
    pub(crate) name: String,
    /// Where it starts, 0 to 1.
    pub(crate) from: f64,
    /// How wide it is, 0 to 1.
    pub(crate) width: f64,
    /// Share in basis points.
    pub(crate) share_bps: i64,
    /// Which of the series colours.
    pub(crate) colour: usize,
}

impl Page for Dashboard {
    const TEMPLATE: &'static str = "dashboard.html";
    fn topics(&self) -> String {
        "market:*,run:*,training:*,allocations".to_owned()
    }
    fn every_s(&self) -> u32 {
        3
    }
}

/// `GET /`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| {
            let runs = service.runs(context, None, 100)?.items;
            let feed = recent(service, context, &runs)?;
            let mut rows = Vec::with_capacity(runs.len());
            for run in runs {
                let points = match &run.risk {
                    Some(risk) => service.price_chart(context, &risk.market_id, SPARK_POINTS)?,
                    None => Vec::new(),
                };
                rows.push(RunRow {
                    tone: tone(&run),
                    state: state_of(&run),
                    spark: spark(&points),
                    run,
                });
            }
            Ok(Dashboard {
                slices: slices(&rows),
                allocated_bps: rows.iter().map(|row| share_of(&row.run)).sum(),
                stop_coverage: stop_coverage(&rows),
                tokens_per_second: rows
                    .iter()
                    .filter_map(|row| row.run.training.as_ref())
                    .map(|t| t.tokens_per_second)
                    .sum(),
                feed,
                needs_setup: service.needs_setup()?,
                runs: rows,
            })
        })
        .await
}

pub(crate) fn share_of(run: &RunView) -> i64 {
    run.allocation
        .as_ref()
        .map_or(0, |allocation| allocation.share_bps)
}

/// How worried to look: by settlement first, then by what the allocation does, then by the price.
pub(crate) fn tone(run: &RunView) -> &'static str {
    let settled = run.risk.as_ref().and_then(|risk| risk.settlement);
    let price = run.risk.as_ref().map(|risk| risk.probability);
    let action = run
        .allocation
        .as_ref()
        .map(|allocation| allocation.action.as_str());
    match (settled, price, action) {
        (Some(pi), ..) if pi >= 0.5 => "bad",
        (_, _, Some("pause" | "terminate" | "drain")) => "bad",
        (Some(_), ..) => "good",
        (None, Some(price), _) if price >= 0.75 => "bad",
        (None, Some(price), _) if price >= 0.4 => "warn",
        (None, Some(_), _) => "good",
        (None, None, _) => "none",
    }
}

/// The state of a run in one word for people.
pub(crate) fn state_of(run: &RunView) -> &'static str {
    match run
        .allocation
        .as_ref()
        .map(|allocation| allocation.action.as_str())
    {
        Some("allow") => "running",
        Some("throttle") => "throttled",
        Some("pause") => "paused",
        Some("drain") => "draining",
        Some("terminate") => "stopped",
        Some(_) => "limited",
        None => "not allocated",
    }
}

fn slices(rows: &[RunRow]) -> Vec<Slice> {
    let mut from = 0.0;
    let mut slices = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let share_bps = share_of(&row.run);
        let width = (share_bps as f64 / 10_000.0).clamp(0.0, 1.0 - from);
        slices.push(Slice {
            name: row.run.name.clone(),
            from,
            width,
            share_bps,
            colour: index % 6 + 1,
        });
        from += width;
    }
    slices
}

/// Stop coverage: acknowledged share over allocated share; `None` when nothing is allocated.
fn stop_coverage(rows: &[RunRow]) -> Option<f64> {
    let allocations = || rows.iter().filter_map(|row| row.run.allocation.as_ref());
    let total: i64 = allocations().map(|allocation| allocation.share_bps).sum();
    let holds = |phase: &str| {
        matches!(
            phase,
            "accepted" | "applying" | "enforced" | "partial" | "released"
        )
    };
    let covered: i64 = allocations()
        .filter(|allocation| allocation.phase.as_deref().is_some_and(holds))
        .map(|allocation| allocation.share_bps)
        .sum();
    (total > 0).then(|| covered as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::samples;

    #[test]
    fn slices_fill_the_pool_and_no_more() {
        let rows: Vec<RunRow> = [7_000, 2_500, 5_000]
            .into_iter()
            .map(|share_bps| {
                let mut run = samples::run();
                if let Some(allocation) = &mut run.allocation {
                    allocation.share_bps = share_bps;
                }
                RunRow {
                    run,
                    tone: "good",
                    state: "running",
                    spark: None,
                }
            })
            .collect();
        let slices = slices(&rows);
        let end = slices
            .last()
            .map(|slice| slice.from + slice.width)
            .unwrap_or_default();
        assert!((end - 1.0).abs() < 1e-9);
        assert!(stop_coverage(&rows).is_some_and(|share| (0.0..=1.0).contains(&share)));
        assert_eq!(stop_coverage(&[]), None);
    }

    #[test]
    fn a_settled_run_is_judged_by_its_settlement() {
        let mut run = samples::run();
        let mut tone_at = |price: f64, settlement: Option<f64>| {
            if let Some(risk) = &mut run.risk {
                risk.probability = price;
                risk.settlement = settlement;
            }
            tone(&run)
        };
        assert_eq!(tone_at(0.2, Some(1.0)), "bad");
        assert_eq!(tone_at(0.9, Some(0.0)), "good");
        assert_eq!(tone_at(0.9, None), "bad");
        assert_eq!(tone_at(0.5, None), "warn");
        assert_eq!(tone_at(0.1, None), "good");
    }
}
