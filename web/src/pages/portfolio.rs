//! Portfolio, history, leaderboard and calibration.

use plumbline_service::views::{HistoryView, OrderView, PortfolioView, StandingView};
use serde::{Deserialize, Serialize};

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::extract::Params;
use crate::templates::Page;

/// Lines of a page.
const LINES: usize = 50;

/// The portfolio's context.
#[derive(Debug, Serialize)]
pub(crate) struct PortfolioPage {
    /// What is held and what it is worth.
    pub(crate) portfolio: PortfolioView,
}

impl Page for PortfolioPage {
    const TEMPLATE: &'static str = "portfolio.html";
    fn topics(&self) -> String {
        "market:*".to_owned()
    }
}

/// `GET /portfolio`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, move |service, context| {
            Ok(PortfolioPage {
                portfolio: service.portfolio(context)?,
            })
        })
        .await
}

/// Where a list goes on.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// The history's context.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryPage {
    /// Lines, newest first.
    pub(crate) lines: Vec<HistoryView>,
    /// Orders that have ended or rest, newest first; on the first page.
    pub(crate) orders: Vec<OrderView>,
    /// Where the list goes on.
    pub(crate) next_cursor: Option<String>,
}

impl Page for HistoryPage {
    const TEMPLATE: &'static str = "history.html";
}

/// `GET /portfolio/history`
pub(crate) async fn history(state: State, visit: Visit, query: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let cursor = query.0.cursor.as_deref();
            let page = service.history(context, cursor, LINES)?;
            let orders = match cursor {
                None => service.orders(context, None, None, LINES)?.items,
                Some(_) => Vec::new(),
            };
            Ok(HistoryPage {
                lines: page.items,
                orders,
                next_cursor: page.next_cursor,
            })
        })
        .await
}

/// Which standings.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ranking {
    by: Option<String>,
    cursor: Option<String>,
}

/// The leaderboard's context.
#[derive(Debug, Serialize)]
pub(crate) struct LeaderboardPage {
    /// Standings, the best first.
    pub(crate) standings: Vec<StandingView>,
    /// What they are ordered by.
    pub(crate) by: &'static str,
    /// Where the list goes on.
    pub(crate) next_cursor: Option<String>,
}

impl Page for LeaderboardPage {
    const TEMPLATE: &'static str = "leaderboard.html";
}

/// `GET /leaderboard`
pub(crate) async fn leaderboard(state: State, visit: Visit, query: Params<Ranking>) -> Answer {
    let by = match query.0.by.as_deref() {
        Some("trading") => "trading",
        Some("evidence") => "evidence",
        _ => "total",
    };
    visit
        .page(&state, move |service, context| {
            let page = service.leaderboard(context, by, query.0.cursor.as_deref(), LINES)?;
            Ok(LeaderboardPage {
                standings: page.items,
                by,
                next_cursor: page.next_cursor,
            })
        })
        .await
}
