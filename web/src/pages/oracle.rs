//! The ensemble of judges.

use plumbline_service::views::OracleView;
use serde::Serialize;

use super::Visit;
use crate::api::Answer;
use crate::auth::{Reader, State};
use crate::templates::Page;

/// The oracle page's context.
#[derive(Debug, Serialize)]
pub(crate) struct OraclePage {
    /// The ensemble.
    pub(crate) oracle: OracleView,
    /// Base rate as a probability.
    pub(crate) base_rate: f64,
}

impl Page for OraclePage {
    const TEMPLATE: &'static str = "oracle.html";
}

/// p = 1 / (1 + e^−ℓ)
pub(crate) fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// `GET /oracle`
pub(crate) async fn show(state: State, visit: Visit<Reader>) -> Answer {
    visit
        .page(&state, |service, context| {
            let oracle = service.oracle(context)?;
            Ok(OraclePage {
                base_rate: sigmoid(oracle.base_log_odds),
                oracle,
            })
        })
        .await
}
