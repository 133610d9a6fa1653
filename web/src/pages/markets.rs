//! The list of markets.

use plumbline_service::views::MarketView;
use serde::{Deserialize, Serialize};

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::extract::Params;
use crate::templates::Page;

/// Which markets.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    status: Option<String>,
    cursor: Option<String>,
}

/// The list's context.
#[derive(Debug, Serialize)]
pub(crate) struct MarketsPage {
    /// The markets.
    pub(crate) markets: Vec<MarketView>,
    /// Status that the list is limited to.
    pub(crate) status: Option<String>,
    /// Where the next page starts.
    pub(crate) next_cursor: Option<String>,
}

impl Page for MarketsPage {
    const TEMPLATE: &'static str = "markets.html";
    fn topics(&self) -> String {
        "market:*".to_owned()
    }
}

/// `GET /markets`
pub(crate) async fn list(state: State, visit: Visit, filter: Params<Filter>) -> Answer {
    let filter = filter.0;
    visit
        .page(&state, move |service, context| {
            let status = filter.status.filter(|status| !status.is_empty());
            let page = service.markets(
                context,
                None,
                status.as_deref(),
                filter.cursor.as_deref(),
                50,
            )?;
            Ok(MarketsPage {
                markets: page.items,
                status,
                next_cursor: page.next_cursor,
            })
        })
        .await
}
