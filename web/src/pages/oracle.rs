//! The ensemble of judges: who they are, how they hang together, what was learnt, what is in force.

use actix_web::web;
use plumbline_service::views::{JudgeView, OracleVersionView, OracleView, PoolPointView};
use serde::Serialize;

use super::Visit;
use super::form::Form;
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::chart::Frame;
use crate::chart::line::{Labels, Series, draw};
use crate::chart::shape::Chart;
use crate::templates::Page;
use crate::templates::format::decimal;

/// Judges with a line of their own in the chart of weights.
const MOST_LINES: usize = 6;
/// Steps of shading in the heat map.
const SHADES: f64 = 10.0;

/// The oracle page's context.
#[derive(Debug, Serialize)]
pub(crate) struct OraclePage {
    /// The ensemble.
    pub(crate) oracle: OracleView,
    /// Base rate as a probability.
    pub(crate) base_rate: f64,
    /// The judges with what became of them.
    pub(crate) judges: Vec<JudgeRow>,
    /// Correlation of the judges' errors: learnt, or in force before anything was.
    pub(crate) heat: Vec<HeatRow>,
    /// Effective number along the line of learnt versions.
    pub(crate) n_eff: Option<Chart>,
    /// Weights along it.
    pub(crate) weights: Option<Chart>,
    /// The version in force, then the candidates.
    pub(crate) versions: Vec<OracleVersionView>,
}

/// One judge.
#[derive(Debug, Serialize)]
pub(crate) struct JudgeRow {
    /// The judge.
    pub(crate) view: JudgeView,
    /// Colour of its status.
    pub(crate) tone: &'static str,
}

/// One row of the heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HeatRow {
    /// The judge.
    pub(crate) judge: String,
    /// Against each judge.
    pub(crate) cells: Vec<HeatCell>,
}

/// One cell of the heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HeatCell {
    /// The other judge.
    pub(crate) other: String,
    /// Correlation.
    pub(crate) value: f64,
    /// How dark, 0 to 10.
    pub(crate) shade: u8,
    /// A judge against itself.
    pub(crate) own: bool,
}

impl Page for OraclePage {
    const TEMPLATE: &'static str = "oracle.html";
    fn topics(&self) -> String {
        "oracle".to_owned()
    }
}

impl OraclePage {
    pub(crate) fn of(oracle: OracleView) -> Self {
        let shown = oracle.learned.as_ref().unwrap_or(&oracle.state);
        let heat = heat(&shown.judges, &shown.correlation);
        let judges = oracle.judges.iter().cloned().map(judge_row).collect();
        let versions = [&oracle.in_force]
            .into_iter()
            .chain(&oracle.candidates)
            .cloned()
            .collect();
        let drawn = oracle.history.len() > 1;
        Self {
            base_rate: sigmoid(oracle.base_log_odds),
            judges,
            heat,
            n_eff: drawn.then(|| n_eff_chart(&oracle.history)),
            weights: drawn.then(|| weights_chart(&oracle)),
            versions,
            oracle,
        }
    }
}

/// p = 1 / (1 + e^−ℓ)
pub(crate) fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// `GET /oracle`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| {
            Ok(OraclePage::of(service.oracle(context)?))
        })
        .await
}

/// `POST /oracle/versions/{id}/adopt`
pub(crate) async fn adopt(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let adopted = blocking(&state.service, move |service| {
        service.adopt_oracle_version(&context, &id)
    })
    .await;
    match adopted {
        Ok(_) => {
            let text = "The version is in force. Submissions judged from now on are judged by it.";
            Ok(redirect_with("/oracle", "done", text))
        }
        Err(problem) if problem.status < 500 => {
            Ok(redirect_with("/oracle", "error", &problem.detail))
        }
        Err(problem) => Err(problem),
    }
}

fn judge_row(view: JudgeView) -> JudgeRow {
    let tone = match view.status.as_str() {
        "ok" => "good",
        "failing" => "bad",
        "missing" => "warn",
        _ => "none",
    };
    JudgeRow { view, tone }
}

fn heat(judges: &[String], correlation: &[Vec<f64>]) -> Vec<HeatRow> {
    let cell = |row: usize, (at, value): (usize, &f64)| HeatCell {
        other: judges.get(at).cloned().unwrap_or_default(),
        value: *value,
        shade: (value.clamp(0.0, 1.0) * SHADES).round() as u8,
        own: row == at,
    };
    let row = |(at, judge): (usize, &String)| HeatRow {
        judge: judge.clone(),
        cells: correlation
            .get(at)
            .map(|row| row.iter().enumerate().map(|each| cell(at, each)).collect())
            .unwrap_or_default(),
    };
    judges.iter().enumerate().map(row).collect()
}

fn by_cases(places: fn(f64) -> String, from_zero: bool) -> Labels {
    Labels {
        x: |cases| decimal(cases, 0),
        y: places,
        x_unit: "settled cases",
        from_zero,
    }
}

fn n_eff_chart(history: &[PoolPointView]) -> Chart {
    let points: Vec<(f64, f64)> = history
        .iter()
        .map(|point| (point.cases as f64, point.n_eff))
        .collect();
    let last = points.last().map_or(0.0, |point| point.1);
    let summary = format!(
        "From {} at the first version to {} now.",
        decimal(points.first().map_or(0.0, |point| point.1), 2),
        decimal(last, 2)
    );
    let series = Series {
        name: "effective number".to_owned(),
        class: "line-main".to_owned(),
        points,
        steps: true,
        read: true,
    };
    draw(
        &[series],
        by_cases(|value| decimal(value, 2), false),
        Frame::HALF,
        summary,
    )
}

fn weights_chart(oracle: &OracleView) -> Chart {
    let judges: Vec<&String> = oracle.state.judges.iter().take(MOST_LINES).collect();
    let line = |(at, judge): (usize, &&String)| Series {
        name: (*judge).clone(),
        class: format!("line-thick line-{}", at + 1),
        points: oracle
            .history
            .iter()
            .filter_map(|point| Some((point.cases as f64, *point.weights.get(*judge)?)))
            .collect(),
        steps: true,
        read: true,
    };
    let series: Vec<Series> = judges.iter().enumerate().map(line).collect();
    let now = oracle.learned.as_ref().unwrap_or(&oracle.state);
    let said: Vec<String> = now
        .judges
        .iter()
        .zip(&now.weights)
        .map(|(judge, weight)| format!("{judge} {}", decimal(*weight, 2)))
        .collect();
    draw(
        &series,
        by_cases(|value| decimal(value, 1), true),
        Frame::HALF,
        format!("Now: {}.", said.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heat_map_is_as_dark_as_judges_err_alike() {
        let rows = heat(
            &["a".to_owned(), "b".to_owned()],
            &[vec![1.0, 0.34], vec![0.34, 1.0]],
        );
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].cells[1].shade, rows[0].cells[1].own), (3, false));
        assert_eq!((rows[1].cells[1].shade, rows[1].cells[1].own), (10, true));
        assert!(heat(&["a".to_owned()], &[])[0].cells.is_empty());
    }
}
