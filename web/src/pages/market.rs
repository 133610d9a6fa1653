//! The market page: price, trading, evidence, settlement.

use actix_web::http::StatusCode;
use actix_web::web;
use jiff::Timestamp;
use plumbline_service::commands::TradeOrder;
use plumbline_service::context::Context;
use plumbline_service::views::{
    BookView, EvidenceView, ManipulationView, MarketView, OrderView, PositionView, QuoteView,
    TradeView,
};
use plumbline_service::views::{CommentView, CommitmentView};
use plumbline_service::{Result, Service};
use serde::Serialize;

use super::comments::SHOWN;
use super::exhibit::{Fact, JudgementRow, facts_of, judgement_rows};
use super::form::{Fields, Form, fresh_key, micro_of, show_again};
use super::outcomes::{OutcomesPart, settled_as};
use super::settlement::CasePart;
use super::verdict::{OutcomeView, ReplayView, outcome_of, replays_of};
use super::visit::{redirect_with, render};
use super::{Visit, encode};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::chart::price::draw;
use crate::chart::shape::Chart;
use crate::templates::Page;
use crate::templates::format::{credits, decimal, percent};

/// Points of the chart.
const CHART_POINTS: usize = 300;

/// The market page's context.
#[derive(Debug, Serialize)]
pub(crate) struct MarketPage {
    /// The market.
    pub(crate) market: MarketView,
    /// Its price over time.
    pub(crate) chart: Chart,
    /// Whether decisions on its run are marked in the chart.
    pub(crate) decided: bool,
    /// Its outcomes, where it has several.
    pub(crate) outcomes: Option<OutcomesPart>,
    /// Whether orders are taken.
    pub(crate) trading: bool,
    /// Evidence, newest first.
    pub(crate) evidence: Vec<EvidenceRow>,
    /// Trades, newest first.
    pub(crate) trades: Vec<TradeView>,
    /// Largest positions.
    pub(crate) positions: Vec<PositionView>,
    /// The viewer's own position.
    pub(crate) mine: Option<PositionView>,
    /// The viewer's free balance.
    pub(crate) balance_micro: Option<i64>,
    /// The trade form.
    pub(crate) order: OrderForm,
    /// The viewer's own open orders.
    pub(crate) orders: Vec<OrderView>,
    /// Everybody's open orders by limit.
    pub(crate) book: BookView,
    /// What it takes to mislead the market.
    pub(crate) manipulation: Option<ManipulationView>,
    /// The market's life so far and what is to come.
    pub(crate) steps: Vec<Step>,
    /// How it ends.
    pub(crate) case: CasePart,
    /// The committed test plan.
    pub(crate) plan: Vec<Fact>,
    /// Result of the test.
    pub(crate) outcome: Option<OutcomeView>,
    /// Comments, oldest first.
    pub(crate) comments: Vec<CommentView>,
    /// Commitments that judging waits for.
    pub(crate) commitments: Vec<CommitmentView>,
}

/// One submission in the list.
#[derive(Debug, Serialize)]
pub(crate) struct EvidenceRow {
    /// The submission.
    pub(crate) item: EvidenceView,
    /// Each judge's view.
    pub(crate) judgements: Vec<JudgementRow>,
    /// What replaying it gave.
    pub(crate) replays: Vec<ReplayView>,
}

/// The trade form as it stands.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct OrderForm {
    /// `yes` or `no`, or the name of one of several.
    pub(crate) outcome: String,
    /// `spend`, `sell` or `target`.
    pub(crate) mode: String,
    /// As typed.
    pub(crate) amount: String,
    /// Dry run of the order.
    pub(crate) quote: Option<QuoteView>,
    /// What is wrong with it.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

/// A stage of the market's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// Its name.
    pub(crate) name: &'static str,
    /// `done`, `now` or `next`.
    pub(crate) state: &'static str,
    /// When it was or will be.
    pub(crate) at: Option<String>,
    /// What it means.
    pub(crate) note: String,
}

impl Page for MarketPage {
    const TEMPLATE: &'static str = "market.html";
    fn about(&self) -> Option<String> {
        Some(format!("market:{}", self.market.id))
    }
    fn topics(&self) -> String {
        format!("market:{},run:{}", self.market.id, self.market.run_id)
    }
}

/// `GET /markets/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, &id, OrderForm::empty())
        })
        .await
}

/// `POST /markets/{id}`: the order form; `do=quote` shows what the order would do, anything else places it
pub(crate) async fn trade(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let asked = form.fields.get("do") == "quote";
    let entered = OrderForm::of(&form.fields);
    let order = match entered.order() {
        Ok(order) => order,
        Err(error) => {
            return again(&state, &form, id.into_inner(), entered.with_error(error)).await;
        }
    };
    let (market_id, wanted) = (id.clone(), order.clone());
    if asked {
        let quote = blocking(&state.service, move |service| {
            service.quote(&context, &market_id, &wanted)
        })
        .await;
        let shown = match quote {
            Ok(quote) => OrderForm {
                quote: Some(quote),
                ..entered
            },
            Err(problem) => entered.with_error(problem.detail),
        };
        return again(&state, &form, id.into_inner(), shown).await;
    }
    match blocking(&state.service, move |service| {
        service.trade(&context, &market_id, &wanted)
    })
    .await
    {
        Ok(trade) => Ok(redirect_with(
            &format!("/markets/{}#trade", encode(&id)),
            "done",
            &told(&trade),
        )),
        Err(problem) if problem.status < 500 => {
            again(
                &state,
                &form,
                id.into_inner(),
                entered.with_error(problem.detail),
            )
            .await
        }
        Err(problem) => Err(problem),
    }
}

/// Shows the page again with the form as it was filled in.
async fn again(state: &State, form: &Form, id: String, order: OrderForm) -> Answer {
    let context = form.caller.context();
    let (status, facts) = match &order.error {
        Some(error) => (StatusCode::UNPROCESSABLE_ENTITY, form.refused("", error)),
        None => (StatusCode::OK, form.facts.clone()),
    };
    let page = blocking(&state.service, move |service| {
        load(service, &context, &id, order)
    })
    .await?;
    render(state, &facts, status, &page)
}

/// Shows the page again because one of its other forms was refused.
pub(crate) async fn refuse(
    state: &State,
    form: &Form,
    id: &str,
    which: &'static str,
    text: &str,
) -> Answer {
    show_again(state, form, id, (which, text), |service, context, id| {
        load(service, context, id, OrderForm::empty())
    })
    .await
}

fn told(trade: &TradeView) -> String {
    let shares = if trade.outcome == "no" {
        trade.no_micro
    } else {
        trade.yes_micro
    };
    let outcome = match trade.outcome.as_str() {
        side @ ("yes" | "no") => side.to_uppercase(),
        name => name.to_owned(),
    };
    let verb = if shares < 0 { "Sold" } else { "Bought" };
    let money = if trade.cost_micro < 0 {
        "received"
    } else {
        "paid"
    };
    format!(
        "{verb} {} {} shares, {money} {}; the price went from {} to {}.",
        decimal(shares.unsigned_abs() as f64 / 1e6, 2),
        outcome,
        credits((trade.cost_micro + trade.fee_micro).saturating_abs()),
        percent(trade.probability_before),
        percent(trade.probability_after),
    )
}

/// Loads everything the page shows.
fn load(service: &Service, context: &Context, id: &str, order: OrderForm) -> Result<MarketPage> {
    let market = service.market(context, id)?;
    let now = Timestamp::now().as_millisecond();
    let outcomes = OutcomesPart::load(service, context, &market, now)?;
    let points = service.price_chart(context, &market.id, CHART_POINTS)?;
    let shares = service.share_changes(context, &market.run_id)?;
    let evidence = service.evidence_list(context, &market.id, None, 50)?.items;
    let signed_in = context.actor.account_id.is_some();
    let mine = if signed_in {
        service.my_positions(context)?
    } else {
        Vec::new()
    };
    let balance_micro = if signed_in {
        Some(service.me(context)?.balance_micro)
    } else {
        None
    };
    let mut orders = if signed_in {
        service.orders(context, Some(&market.id), None, 200)?.items
    } else {
        Vec::new()
    };
    orders.retain(|order| order.status == "open");
    let manipulation = match outcomes {
        None => Some(service.manipulation(context, &market.id)?),
        Some(_) => None,
    };
    let rows = evidence.into_iter().map(|item| EvidenceRow {
        judgements: judgement_rows(&item.judgements),
        replays: item.replay.as_ref().map(replays_of).unwrap_or_default(),
        item,
    });
    Ok(MarketPage {
        decided: !shares.is_empty(),
        chart: draw(&market, &points, &shares, now),
        outcomes,
        trading: matches!(market.status.as_str(), "open" | "closing"),
        evidence: rows.collect(),
        trades: service.trades(context, &market.id, None, 12)?.items,
        positions: service.positions(context, &market.id, None, 12)?.items,
        mine: mine
            .into_iter()
            .find(|position| position.market_id == market.id),
        balance_micro,
        order,
        orders,
        book: service.book(context, &market.id)?,
        manipulation,
        steps: steps(&market),
        comments: service
            .comments(context, &market.id, None, None, SHOWN)?
            .items,
        commitments: service.open_commitments(context, &market.id)?,
        case: CasePart::load(service, context, &market.id)?,
        plan: market
            .settlement
            .plan
            .as_ref()
            .map(facts_of)
            .unwrap_or_default(),
        outcome: outcome(&market),
        market,
    })
}

/// The result of the market's test, read against its plan.
pub(crate) fn outcome(market: &MarketView) -> Option<OutcomeView> {
    let settlement = &market.settlement;
    settlement
        .statistics
        .as_ref()
        .map(|statistics| outcome_of(statistics, settlement.plan.as_ref()))
}

impl OrderForm {
    /// A form nobody has filled in.
    pub(crate) fn empty() -> Self {
        Self {
            outcome: "yes".to_owned(),
            mode: "spend".to_owned(),
            key: fresh_key(),
            ..Self::default()
        }
    }

    fn of(fields: &Fields) -> Self {
        let pick = |name: &str, known: &[&str]| {
            let given = fields.get(name);
            known
                .iter()
                .find(|one| **one == given)
                .unwrap_or(&known[0])
                .to_string()
        };
        Self {
            // The name of an outcome, which the service knows.
            outcome: fields.get("outcome").chars().take(120).collect(),
            mode: pick("mode", &["spend", "sell", "target"]),
            amount: fields.get("amount").chars().take(40).collect(),
            key: fresh_key(),
            ..Self::default()
        }
    }

    fn with_error(self, error: String) -> Self {
        Self {
            error: Some(error),
            ..self
        }
    }

    /// The order meant. Errors: a sentence for the person.
    fn order(&self) -> std::result::Result<TradeOrder, String> {
        let mut order = TradeOrder {
            outcome: self.outcome.clone(),
            ..TradeOrder::default()
        };
        match self.mode.as_str() {
            "sell" => order.shares_micro = Some(-micro_of("The number of shares", &self.amount)?),
            "target" => {
                let number: f64 = self
                    .amount
                    .trim_end_matches('%')
                    .trim()
                    .parse()
                    .map_err(|_| "The target must be a percentage, such as 80".to_owned())?;
                order.target_probability = Some(number / 100.0);
            }
            _ => order.spend_micro = Some(micro_of("The amount", &self.amount)?),
        }
        Ok(order)
    }
}

/// Where a market is among its stages; `None` when it is void.
fn stage_now(status: &str) -> Option<usize> {
    match status {
        "open" | "closing" => Some(1),
        "frozen" => Some(2),
        "auditing" | "settling" | "challenged" => Some(3),
        "final" => Some(4),
        "paid" => Some(5),
        _ => None,
    }
}

/// The life of a market: what is done, what is now, what comes.
pub(crate) fn steps(market: &MarketView) -> Vec<Step> {
    let settlement = &market.settlement;
    // Trading may have ended before its announced time.
    let closed_at = settlement.frozen_at.as_ref().unwrap_or(&market.closes_at);
    let until = match (&settlement.frozen_at, market.closes_after_tokens) {
        (Some(_), _) => "Trading stopped.".to_owned(),
        (None, None) => "Trading stops then.".to_owned(),
        (None, Some(tokens)) => {
            let tokens = decimal(tokens as f64, 0);
            format!("Trading stops then, or at {tokens} tokens of the run, whichever is first.")
        }
    };
    let way = match settlement.method.as_str() {
        "objective" => "The committed test runs on the frozen checkpoint.",
        "panel" => "A bonded proposal stands unless it is challenged; juries decide.",
        "ensemble" => "The judges' pooled probability is proposed, and can be challenged.",
        _ => "The last price settles it; the last trades are undone.",
    };
    let verdict = settlement.pi.map_or(way.to_owned(), |pi| {
        settled_as(market).unwrap_or_else(|| format!("Settled at {}.", percent(pi)))
    });
    let stages = [
        (
            "Opened",
            Some(&market.opened_at),
            "Rules, rubric and seeds were fixed by their hashes.".to_owned(),
        ),
        ("Close", Some(closed_at), until),
        (
            "Freeze",
            settlement.frozen_at.as_ref(),
            "Checkpoint, exhibits and rules are fixed.".to_owned(),
        ),
        ("Settle", settlement.settled_at.as_ref(), verdict),
        (
            "Pay",
            None,
            "Every position is paid by the same formula.".to_owned(),
        ),
    ];
    let now = stage_now(&market.status);
    let step = |(index, (name, at, note)): (usize, (&'static str, Option<&String>, String))| {
        let state = match now {
            Some(now) if index < now => "done",
            Some(now) if index == now => "now",
            // A void market keeps the dates of what did happen.
            None if at.is_some() => "done",
            _ => "next",
        };
        Step {
            name,
            state,
            at: at.cloned(),
            note,
        }
    };
    let mut steps: Vec<Step> = stages.into_iter().enumerate().map(step).collect();
    if market.status == "void" {
        let note = "Everyone was refunded.".to_owned();
        steps.push(Step {
            name: "Void",
            state: "now",
            at: None,
            note,
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::templates::samples;

    fn form(mode: &str, amount: &str) -> std::result::Result<TradeOrder, String> {
        OrderForm {
            outcome: "no".into(),
            mode: mode.into(),
            amount: amount.into(),
            ..OrderForm::default()
        }
        .order()
    }

    #[test]
    fn forms_become_orders() {
        assert_eq!(form("spend", "12.5").unwrap().spend_micro, Some(12_500_000));
        assert_eq!(form("sell", "3").unwrap().shares_micro, Some(-3_000_000));
        assert_eq!(form("target", "80%").unwrap().target_probability, Some(0.8));
        for (mode, amount) in [("spend", "much"), ("sell", ""), ("target", "high")] {
            assert!(form(mode, amount).is_err());
        }
    }

    #[test]
    fn a_market_lives_in_order() {
        let mut market = samples::market();
        for (status, states) in [
            ("open", ["done", "now", "next", "next", "next"]),
            ("frozen", ["done", "done", "now", "next", "next"]),
            ("auditing", ["done", "done", "done", "now", "next"]),
            ("final", ["done", "done", "done", "done", "now"]),
            ("paid", ["done"; 5]),
        ] {
            market.status = status.into();
            let got: Vec<_> = steps(&market).iter().map(|step| step.state).collect();
            assert_eq!(got, states, "{status}");
        }
        market.status = "void".into();
        assert_eq!(steps(&market).last().map(|step| step.name), Some("Void"));
    }
}
