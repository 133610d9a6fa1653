//! The forms for resting orders on the market page.

use actix_web::web;
use plumbline_service::commands::PlaceOrder;
use plumbline_service::views::OrderView;

use super::form::{Fields, Form, micro_of};
use super::visit::redirect_with;
use super::{encode, market};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::templates::format::{credits, percent};

/// What ids of the form's fields begin with.
const FORM: &str = "order-";

/// `POST /markets/{id}/orders`
pub(crate) async fn place(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let back = format!("/markets/{}#orders", encode(&id));
    let order = match order_of(&form.fields) {
        Ok(order) => order,
        Err(error) => return market::refuse(&state, &form, &id, FORM, &error).await,
    };
    let market_id = id.clone();
    let placed = blocking(&state.service, move |service| {
        service.place_order(&context, &market_id, &order)
    })
    .await;
    match placed {
        Ok(order) => Ok(redirect_with(&back, "done", &told(&order))),
        Err(problem) if problem.status < 500 => {
            market::refuse(&state, &form, &id, FORM, &problem.detail).await
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /orders/{id}/cancel`
pub(crate) async fn cancel(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let ended = blocking(&state.service, move |service| {
        service.cancel_order(&context, &id)
    })
    .await;
    match ended {
        Ok(order) => {
            let back = format!("/markets/{}#orders", encode(&order.market_id));
            Ok(redirect_with(
                &back,
                "done",
                "The order is cancelled; what was set aside for it is back.",
            ))
        }
        Err(problem) if problem.status == 409 => {
            Ok(redirect_with("/portfolio", "error", &problem.detail))
        }
        Err(problem) => Err(problem),
    }
}

/// The order meant. Errors: a sentence for the person.
fn order_of(fields: &Fields) -> Result<PlaceOrder, String> {
    let limit = fields.get("limit").trim_end_matches('%').trim();
    let limit: f64 = limit
        .parse()
        .map_err(|_| "The limit must be a percentage, such as 35".to_owned())?;
    let mut order = PlaceOrder {
        outcome: fields.get("outcome").to_owned(),
        limit_probability: limit / 100.0,
        ..PlaceOrder::default()
    };
    let amount = micro_of("The amount", fields.get("amount"))?;
    if fields.get("mode") == "sell" {
        order.shares_micro = Some(-amount);
    } else {
        order.spend_micro = Some(amount);
    }
    Ok(order)
}

fn told(order: &OrderView) -> String {
    let limit = percent(order.limit_probability);
    match (order.status.as_str(), order.fills) {
        ("open", 0) => format!(
            "The order rests until the price is better than {limit}; {} are set aside.",
            credits(order.reserved_micro)
        ),
        ("open", _) => format!(
            "Part of the order ran at once for {}; the rest waits at {limit}.",
            credits(order.cost_micro.saturating_abs())
        ),
        _ => format!(
            "The order ran at once for {}.",
            credits(order.cost_micro.saturating_abs())
        ),
    }
}
