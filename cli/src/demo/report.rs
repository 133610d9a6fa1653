//! The result of the demo as one object.

use std::time::Duration;

use anyhow::Result;
use plumbline_agents::adversary::Report as AdversaryReport;
use serde::Serialize;

use super::stage::Stage;
use super::story::{Story, Track};
use crate::wiring::Running;

/// What `plumbline demo --once --json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    pub runs: Vec<RunReport>,
    pub markets: Vec<MarketReport>,
    pub evidence: i64,
    pub trades: i64,
    pub decisions: usize,
    pub acks: usize,
    pub ledger_sum_micro: i64,
    pub seconds: f64,
    /// The adversary's own account, when it had ended in time.
    pub adversary: Option<AdversarySummary>,
}

#[derive(Debug, Serialize)]
pub struct RunReport {
    pub name: String,
    pub parameters: i64,
    pub tokens: i64,
    pub loss_first: Option<f64>,
    pub loss_last: Option<f64>,
    pub share_bps_first: i64,
    pub share_bps_last: i64,
    pub tokens_per_second_before: f64,
    pub tokens_per_second_after: f64,
}

#[derive(Debug, Serialize)]
pub struct MarketReport {
    pub id: String,
    pub run: String,
    pub probability_open: f64,
    pub probability_close: f64,
    pub settlement: Option<f64>,
    pub status: String,
}

#[derive(Debug, Serialize)]
pub struct AdversarySummary {
    pub requests: u64,
    pub fees_micro: i64,
    pub earned_micro: i64,
    pub triggers: Vec<String>,
}

/// Reads everything back from the service.
pub fn collect(
    running: &Running,
    stage: &Stage,
    story: &Story<'_>,
    adversary: Option<&AdversaryReport>,
    elapsed: Duration,
) -> Result<Report> {
    let (mut runs, mut markets) = (Vec::new(), Vec::new());
    let (mut evidence, mut trades) = (0, 0);
    for subject in &stage.subjects {
        let run = running.service.run(&stage.operator, &subject.run_id)?;
        let market = running
            .service
            .market(&stage.operator, &subject.market_id)?;
        let track = story.tracks.get(subject.name).cloned().unwrap_or_default();
        runs.push(run_report(&run, &track));
        evidence += market.evidence;
        trades += market.trades;
        markets.push(MarketReport {
            id: market.id,
            run: market.run_name,
            probability_open: market.opening_probability,
            probability_close: market.probability,
            settlement: market.settlement.pi,
            status: market.status,
        });
    }
    let (decisions, acks) = count_decisions(running, stage)?;
    Ok(Report {
        runs,
        markets,
        evidence,
        trades,
        decisions,
        acks,
        ledger_sum_micro: running.service.ledger_summary(&stage.operator)?.sum_micro,
        seconds: (elapsed.as_secs_f64() * 10.0).round() / 10.0,
        adversary: adversary.map(summary),
    })
}

fn run_report(run: &plumbline_service::views::RunView, track: &Track) -> RunReport {
    RunReport {
        name: run.name.clone(),
        parameters: run.parameters,
        tokens: run.tokens,
        loss_first: track.loss_first,
        loss_last: run
            .training
            .as_ref()
            .and_then(|training| training.loss_last),
        share_bps_first: track.share_first.unwrap_or(0),
        share_bps_last: track.share_last,
        tokens_per_second_before: track.speed_before.round(),
        tokens_per_second_after: track.speed_after.round(),
    }
}

fn count_decisions(running: &Running, stage: &Stage) -> Result<(usize, usize)> {
    let (mut decisions, mut acks, mut cursor) = (0, 0, None::<String>);
    loop {
        let page = running
            .service
            .decisions(&stage.operator, cursor.as_deref(), 200)?;
        decisions += page.items.len();
        acks += page.items.iter().map(|view| view.acks.len()).sum::<usize>();
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok((decisions, acks));
        }
    }
}

fn summary(report: &AdversaryReport) -> AdversarySummary {
    let found = report
        .markets
        .iter()
        .flat_map(|market| &market.tried)
        .filter_map(|attempt| attempt.trigger.clone());
    let mut triggers: Vec<String> = found.collect();
    triggers.sort();
    triggers.dedup();
    AdversarySummary {
        requests: report.requests,
        fees_micro: report.fees_micro,
        earned_micro: report.earned_micro,
        triggers,
    }
}

/// The same for people.
pub fn print(report: &Report) {
    println!();
    println!("The loop closed after {:.0} seconds.", report.seconds);
    for (run, market) in report.runs.iter().zip(&report.markets) {
        let verdict = match market.settlement {
            Some(pi) if pi >= 0.5 => "misaligned",
            Some(_) => "not misaligned",
            None => "not settled",
        };
        println!(
            "  {:8} price {:.2} -> {:.2}, settled: {verdict}; share {:.0} % -> {:.0} %; {:.0} -> {:.0} tokens/s",
            run.name,
            market.probability_open,
            market.probability_close,
            run.share_bps_first as f64 / 100.0,
            run.share_bps_last as f64 / 100.0,
            run.tokens_per_second_before,
            run.tokens_per_second_after,
        );
    }
    if let Some(adversary) = &report.adversary {
        println!(
            "  the adversary earned {:+.2} credits, paid {:.2} in fees, and found: {}",
            adversary.earned_micro as f64 / 1e6,
            adversary.fees_micro as f64 / 1e6,
            if adversary.triggers.is_empty() {
                "nothing".to_owned()
            } else {
                adversary.triggers.join(", ")
            },
        );
    }
    println!(
        "  {} submissions of evidence, {} trades, {} decisions, {} acknowledgements; the ledger sums to {}",
        report.evidence, report.trades, report.decisions, report.acks, report.ledger_sum_micro
    );
}
