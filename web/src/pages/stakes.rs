//! One's own stake and delegations, and the seals.

use actix_web::http::StatusCode;
use actix_web::web;
use plumbline_service::commands::{ChangeStake, Delegate, UseSeal};
use plumbline_service::context::Context;
use plumbline_service::views::{OrderInForce, SealView, StakeView};
use plumbline_service::{Result, Service};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::form::{Form, fresh_key, micro_of};
use super::visit::{redirect_with, render};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::extract::Params;
use crate::problem::Problem;
use crate::templates::Page;

/// Seals on a page.
const SHOWN: usize = 30;

/// The context of the stake's page.
#[derive(Debug, Serialize)]
pub(crate) struct StakePage {
    /// The stake.
    pub(crate) stake: StakeView,
    /// Names of the tracks.
    pub(crate) tracks: Vec<String>,
    /// What is wrong.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Page for StakePage {
    const TEMPLATE: &'static str = "stake.html";
    fn topics(&self) -> String {
        "proposals".to_owned()
    }
}

/// The context of the seals' page.
#[derive(Debug, Serialize)]
pub(crate) struct SealsPage {
    /// Seals, newest first.
    pub(crate) seals: Vec<SealView>,
    /// Where they go on.
    pub(crate) next_cursor: Option<String>,
    /// What votes and seals have put on runs.
    pub(crate) orders: Vec<OrderInForce>,
    /// Runs to choose from, names.
    pub(crate) runs: Vec<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Page for SealsPage {
    const TEMPLATE: &'static str = "seals.html";
    fn topics(&self) -> String {
        "proposals".to_owned()
    }
}

/// Where a list goes on.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// `GET /stake`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| load(service, context, None))
        .await
}

fn load(service: &Service, context: &Context, error: Option<String>) -> Result<StakePage> {
    let tracks = service.tracks(context)?;
    Ok(StakePage {
        stake: service.own_stake(context)?,
        tracks: tracks.into_iter().map(|track| track.track).collect(),
        error,
        key: fresh_key(),
    })
}

/// `POST /stake`: adds, takes back, delegates or ends a delegation.
pub(crate) async fn change(state: State, form: Form) -> Answer {
    let writing = form.writing();
    let what = form.fields.get("do").to_owned();
    let text = |name: &str| form.fields.get(name).to_owned();
    let done = match what.as_str() {
        "add" | "take" => match micro_of("The stake", &text("stake")) {
            Err(error) => return again(&state, &form, error).await,
            Ok(stake_micro) => {
                let taking = what == "take";
                blocking(&state.service, move |service| {
                    let cmd = ChangeStake { stake_micro };
                    if taking {
                        service.withdraw_stake(&writing, &cmd)
                    } else {
                        service.stake(&writing, &cmd)
                    }
                })
                .await
            }
        },
        "delegate" => {
            let cmd = Delegate {
                track: text("track"),
                delegate: text("delegate"),
                conviction: text("conviction").parse().unwrap_or(u8::MAX),
            };
            blocking(&state.service, move |service| {
                service.delegate(&writing, &cmd)
            })
            .await
        }
        _ => {
            let track = text("track");
            blocking(&state.service, move |service| {
                service.undelegate(&writing, &track)
            })
            .await
        }
    };
    match done {
        Ok(_) => Ok(redirect_with(
            "/stake",
            "done",
            "Done. It counts in votes that begin from now on.",
        )),
        Err(problem) if problem.status >= 500 => Err(problem),
        Err(problem) => again(&state, &form, problem.detail).await,
    }
}

async fn again(state: &State, form: &Form, error: String) -> Answer {
    let context = form.caller.context();
    let facts = form.refused("", &error);
    let page = blocking(&state.service, move |service| {
        load(service, &context, Some(error))
    });
    render(
        state,
        &facts,
        StatusCode::UNPROCESSABLE_ENTITY,
        &page.await?,
    )
}

/// `GET /seals`
pub(crate) async fn seals(state: State, visit: Visit, query: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let page = service.seals(context, query.0.cursor.as_deref(), SHOWN)?;
            let runs = service.runs(context, None, 200)?.items;
            Ok(SealsPage {
                seals: page.items,
                next_cursor: page.next_cursor,
                orders: service.orders_in_force(context)?,
                runs: runs.into_iter().map(|run| run.name).collect(),
                key: fresh_key(),
            })
        })
        .await
}

/// `POST /seals/{id}/use`
pub(crate) async fn use_seal(state: State, form: Form, id: web::Path<String>) -> Answer {
    let writing = form.writing();
    let cmd = UseSeal {
        run: form.fields.get("run").to_owned(),
    };
    let used = blocking(&state.service, move |service| {
        service.use_seal(&writing, &id, &cmd)
    });
    flash(used.await.map(|seal| seal.status))
}

fn flash(used: std::result::Result<String, Problem>) -> Answer {
    Ok(match used {
        Ok(status) if status == "used" => redirect_with(
            "/seals",
            "done",
            "The seal is used: the cap is in force, and a vote about it is open.",
        ),
        Ok(_) => redirect_with("/seals", "done", "Signed. It takes more guardians."),
        Err(problem) if problem.status < 500 => redirect_with("/seals", "error", &problem.detail),
        Err(problem) => return Err(problem),
    })
}
