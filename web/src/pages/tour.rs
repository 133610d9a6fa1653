//! A first visit: the loop from a run to a decision, told on the visitor's own market.

use actix_web::HttpResponse;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use plumbline_service::context::Context;
use plumbline_service::views::{EvidenceView, MarketView, PositionView, RunView, ShareChange};
use plumbline_service::{Result, Service};
use serde::Serialize;

use super::Visit;
use super::visit::TOUR_COOKIE;
use crate::api::Answer;
use crate::auth::State;
use crate::templates::Page;

/// Markets among which the most telling one is looked for.
const LOOKED_AT: usize = 30;

/// The tour's context. What is not there yet is told in general.
#[derive(Debug, Default, Serialize)]
pub(crate) struct TourPage {
    /// The market that the tour is told on.
    pub(crate) market: Option<MarketView>,
    /// Its run.
    pub(crate) run: Option<RunView>,
    /// The visitor's own position in it.
    pub(crate) mine: Option<PositionView>,
    /// The submission that moved it most.
    pub(crate) evidence: Option<EvidenceView>,
    /// The newest decision that changed its run's share.
    pub(crate) decision: Option<ShareChange>,
}

impl Page for TourPage {
    const TEMPLATE: &'static str = "tour.html";
}

/// `GET /tour`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    let mut response = visit.page(&state, load).await?;
    // It is offered until it was seen.
    response.add_cookie(&seen()).map_err(|error| {
        crate::problem::Problem::internal(format!("the tour's cookie: {error}"))
    })?;
    Ok(response)
}

/// `GET /tour/skip`: only a cosmetic cookie is set, so a link is enough.
pub(crate) async fn skip() -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, "/"))
        .cookie(seen())
        .finish()
}

fn seen() -> Cookie<'static> {
    Cookie::build(TOUR_COOKIE, "seen")
        .path("/")
        .same_site(SameSite::Lax)
        .max_age(Duration::days(365))
        .finish()
}

fn load(service: &Service, context: &Context) -> Result<TourPage> {
    let positions = match context.actor.account_id {
        Some(_) => service.my_positions(context)?,
        None => Vec::new(),
    };
    let markets = service.markets(context, None, None, None, LOOKED_AT)?.items;
    let plain = markets.into_iter().filter(|one| one.outcomes.is_none());
    let held = |market: &MarketView| positions.iter().any(|one| one.market_id == market.id);
    let open = |market: &MarketView| matches!(market.status.as_str(), "open" | "closing");
    // One's own before others', one that still moves before one that is over, then the one with most to see.
    let market = plain.max_by_key(|one| (held(one), open(one), one.evidence, one.trades));
    let Some(market) = market else {
        return Ok(TourPage::default());
    };
    let evidence = service.evidence_list(context, &market.id, None, 50)?.items;
    let moved = |one: &EvidenceView| match (one.probability_before, one.probability_after) {
        (Some(before), Some(after)) => (after - before).abs(),
        _ => 0.0,
    };
    let judged = evidence.into_iter().filter(|one| one.status == "judged");
    Ok(TourPage {
        run: Some(service.run(context, &market.run_id)?),
        mine: positions.into_iter().find(|one| one.market_id == market.id),
        evidence: judged.max_by(|a, b| moved(a).total_cmp(&moved(b))),
        decision: service.share_changes(context, &market.run_id)?.pop(),
        market: Some(market),
    })
}
