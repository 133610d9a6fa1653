//! How good the prices, the judges and their pool were, and whether the judges learn.

use plumbline_service::views::{
    CalibrationView, CurvePointView, KindCurveView, OracleCalibrationView, ScoresView,
};
use serde::{Deserialize, Serialize};

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::chart::Frame;
use crate::chart::line::{Labels, Series, draw};
use crate::chart::shape::Chart;
use crate::extract::Params;
use crate::templates::Page;
use crate::templates::format::decimal;

/// Kinds of claim with a curve on the page.
const MOST_CURVES: usize = 6;
/// Fewest points of a curve that shows anything.
const LEAST_POINTS: usize = 2;

/// The calibration page's context.
#[derive(Debug, Serialize)]
pub(crate) struct CalibrationPage {
    /// Scores and reliability of prices.
    pub(crate) calibration: CalibrationView,
    /// The kind of claim that it is limited to.
    pub(crate) claim_kind: Option<String>,
    /// Every kind with a case.
    pub(crate) kinds: Vec<String>,
    /// The judges, when all kinds are shown.
    pub(crate) oracle: Option<JudgesPart>,
}

/// What settled cases say of the judges.
#[derive(Debug, Serialize)]
pub(crate) struct JudgesPart {
    /// The figures.
    pub(crate) view: OracleCalibrationView,
    /// Reliability of the pool and of each judge.
    pub(crate) diagrams: Vec<Diagram>,
    /// Learning curves.
    pub(crate) curves: Vec<Curve>,
}

/// One reliability diagram.
#[derive(Debug, Serialize)]
pub(crate) struct Diagram {
    /// Whose.
    pub(crate) name: String,
    /// Cases.
    pub(crate) cases: usize,
    /// Scores.
    pub(crate) scores: ScoresView,
}

/// One learning curve.
#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    /// Kind of claim.
    pub(crate) claim_kind: String,
    /// Cases.
    pub(crate) cases: usize,
    /// The curve; absent for fewer than two points.
    pub(crate) chart: Option<Chart>,
    /// Where it stands now.
    pub(crate) last: Option<CurvePointView>,
}

impl Page for CalibrationPage {
    const TEMPLATE: &'static str = "calibration.html";
}

/// Which kind of claim.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct OfKind {
    claim_kind: Option<String>,
}

/// `GET /calibration`
pub(crate) async fn show(state: State, visit: Visit, query: Params<OfKind>) -> Answer {
    let claim_kind = query.0.claim_kind.filter(|kind| !kind.is_empty());
    visit
        .page(&state, move |service, context| {
            let all = service.calibration(context, None)?;
            let kinds = all
                .kinds
                .iter()
                .map(|kind| kind.claim_kind.clone())
                .collect();
            let (calibration, oracle) = match &claim_kind {
                None => {
                    let judges = service.oracle_calibration(context)?;
                    (all, Some(JudgesPart::of(judges)))
                }
                Some(kind) => (service.calibration(context, Some(kind))?, None),
            };
            Ok(CalibrationPage {
                calibration,
                claim_kind,
                kinds,
                oracle,
            })
        })
        .await
}

impl JudgesPart {
    pub(crate) fn of(view: OracleCalibrationView) -> Self {
        let pool = view.pool.iter().map(|scores| Diagram {
            name: "pool".to_owned(),
            cases: view.cases,
            scores: scores.clone(),
        });
        let judges = view.judges.iter().map(|judge| Diagram {
            name: judge.judge.clone(),
            cases: judge.cases,
            scores: judge.scores.clone(),
        });
        Self {
            diagrams: pool.chain(judges).collect(),
            curves: view.kinds.iter().take(MOST_CURVES).map(curve).collect(),
            view,
        }
    }
}

fn curve(kind: &KindCurveView) -> Curve {
    let last = kind.points.last().cloned();
    let drawn = last
        .as_ref()
        .filter(|_| kind.points.len() >= LEAST_POINTS)
        .map(|last| chart(&kind.points, last));
    Curve {
        claim_kind: kind.claim_kind.clone(),
        cases: kind.cases,
        chart: drawn,
        last,
    }
}

fn chart(points: &[CurvePointView], last: &CurvePointView) -> Chart {
    let line = |name: &str, class: &str, y: fn(&CurvePointView) -> f64| Series {
        name: name.to_owned(),
        class: class.to_owned(),
        points: points.iter().map(|p| (p.cases as f64, y(p))).collect(),
        steps: false,
        read: true,
    };
    let series = [
        line("learnt", "line-main", |p| p.learned_log_loss),
        line("untaught", "line-thick line-1", |p| p.untaught_log_loss),
        line("price", "line-thick line-2", |p| p.price_log_loss),
    ];
    let labels = Labels {
        x: |cases| decimal(cases, 0),
        y: |loss| decimal(loss, 2),
        x_unit: "settled cases",
        from_zero: true,
    };
    let summary = format!(
        "Mean log loss after {} cases: learnt {}, untaught {}, price {}.",
        last.cases,
        decimal(last.learned_log_loss, 3),
        decimal(last.untaught_log_loss, 3),
        decimal(last.price_log_loss, 3)
    );
    draw(&series, labels, Frame::HALF, summary)
}
