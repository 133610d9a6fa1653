//! One run: risk, allocation, markets, checkpoints.

use actix_web::web;
use plumbline_service::views::{CheckpointView, MarketView, RunView};
use serde::Serialize;

use super::Visit;
use super::dashboard::{state_of, tone};
use crate::api::Answer;
use crate::auth::State;
use crate::templates::Page;

/// The run page's context.
#[derive(Debug, Serialize)]
pub(crate) struct RunPage {
    /// The run.
    pub(crate) run: RunView,
    /// `good`, `warn`, `bad` or `none`.
    pub(crate) tone: &'static str,
    /// State in one word.
    pub(crate) state: &'static str,
    /// Its markets.
    pub(crate) markets: Vec<MarketView>,
    /// Its checkpoints, newest first.
    pub(crate) checkpoints: Vec<CheckpointView>,
}

impl Page for RunPage {
    const TEMPLATE: &'static str = "run.html";
    fn about(&self) -> Option<String> {
        Some(format!("run:{}", self.run.id))
    }
    fn topics(&self) -> String {
        format!("run:{0},training:{0},allocations,market:*", self.run.id)
    }
    fn every_s(&self) -> u32 {
        3
    }
}

/// `GET /runs/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let run = service.run(context, &id)?;
            let markets = service
                .markets(context, Some(&run.id), None, None, 20)?
                .items;
            let mut checkpoints = service.checkpoints(context, &run.id)?;
            checkpoints.truncate(20);
            Ok(RunPage {
                tone: tone(&run),
                state: state_of(&run),
                markets,
                checkpoints,
                run,
            })
        })
        .await
}
