//! The rules that turn prices into decisions: the policy in force, its versions and what changed between
//! them, what it would do at another price, and what another policy would have done.

use actix_web::http::StatusCode;
use actix_web::web;
use plumbline_service::commands::{AssumedPrice, SimulatePolicy};
use plumbline_service::context::Context;
use plumbline_service::views::{PolicyView, SimulationView};
use plumbline_service::{Result, Service};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::diff::{Change, diff};
use super::form::Form;
use super::proposals::{RunChart, charts};
use super::visit::render;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::extract::Params;
use crate::templates::Page;

/// Versions on the page.
const SHOWN: usize = 50;

/// A price that is dragged.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Dragged {
    run: Option<String>,
    /// Percent.
    price: Option<f64>,
}

/// The policy page's context.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyPage {
    /// In force.
    pub(crate) policy: PolicyView,
    /// All versions, newest first.
    pub(crate) versions: Vec<PolicyView>,
    /// Runs whose price can be dragged.
    pub(crate) runs: Vec<String>,
    /// The run whose price is.
    pub(crate) run: String,
    /// To how many percent.
    pub(crate) price: f64,
    /// What the policy would do.
    pub(crate) assumed: Option<SimulationView>,
    /// What is wrong with the price.
    pub(crate) error: Option<String>,
}

impl Page for PolicyPage {
    const TEMPLATE: &'static str = "policy.html";
    fn topics(&self) -> String {
        "policy".to_owned()
    }
}

/// `GET /policy`
pub(crate) async fn show(state: State, visit: Visit, query: Params<Dragged>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, query.0)
        })
        .await
}

fn load(service: &Service, context: &Context, dragged: Dragged) -> Result<PolicyPage> {
    let runs = service.runs(context, None, 200)?.items;
    let run = dragged.run.filter(|run| !run.is_empty());
    let run = run.or_else(|| runs.first().map(|run| run.name.clone()));
    let price = dragged.price.unwrap_or(50.0);
    let (mut assumed, mut error) = (None, None);
    if let Some(run) = &run {
        let price = AssumedPrice {
            run: run.clone(),
            probability: price / 100.0,
        };
        match service.assume_prices(context, &[price]) {
            Ok(simulation) => assumed = Some(simulation),
            Err(problem) if problem.status() < 500 => error = Some(problem.to_string()),
            Err(problem) => return Err(problem),
        }
    }
    Ok(PolicyPage {
        policy: service.policy(context)?,
        versions: service.policy_versions(context, None, SHOWN)?.items,
        runs: runs.into_iter().map(|run| run.name).collect(),
        run: run.unwrap_or_default(),
        price,
        assumed,
        error,
    })
}

/// The context of the page of one version.
#[derive(Debug, Serialize)]
pub(crate) struct VersionPage {
    /// The version.
    pub(crate) policy: PolicyView,
    /// The one in force.
    pub(crate) current: PolicyView,
    /// What changed from the version to the one in force, or from the one before it to the one in force.
    pub(crate) changes: Vec<Change>,
    /// The version that it is compared with.
    pub(crate) compared: i64,
}

impl Page for VersionPage {
    const TEMPLATE: &'static str = "policy_version.html";
}

/// `GET /policy/versions/{version}`
pub(crate) async fn version(state: State, visit: Visit, number: web::Path<i64>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let current = service.policy(context)?;
            let policy = service.policy_version(context, *number)?;
            // The one in force is compared with the one before it.
            let other = if policy.active && policy.version > 1 {
                service.policy_version(context, policy.version - 1)?
            } else {
                current.clone()
            };
            let (old, new) = if other.version < policy.version {
                (&other, &policy)
            } else {
                (&policy, &other)
            };
            Ok(VersionPage {
                changes: diff(&old.toml, &new.toml),
                compared: other.version,
                policy,
                current,
            })
        })
        .await
}

/// The context of a simulation's page.
#[derive(Debug, Serialize)]
pub(crate) struct SimulationPage {
    /// The candidate as typed.
    pub(crate) toml: String,
    /// What it would do, once asked.
    pub(crate) simulation: Option<SimulationView>,
    /// Shares of each run over the replayed time.
    pub(crate) replays: Vec<RunChart>,
    /// What changes from the policy in force.
    pub(crate) changes: Vec<Change>,
    /// What is wrong.
    pub(crate) error: Option<String>,
}

impl Page for SimulationPage {
    const TEMPLATE: &'static str = "policy_simulation.html";
}

/// `GET /policy/simulation`
pub(crate) async fn simulation_form(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| {
            Ok(SimulationPage {
                toml: service.policy(context)?.toml,
                simulation: None,
                replays: Vec::new(),
                changes: Vec::new(),
                error: None,
            })
        })
        .await
}

/// `POST /policy/simulation`
pub(crate) async fn simulate(state: State, form: Form) -> Answer {
    let context = form.caller.context();
    let toml = form.fields.raw("toml").replace("\r\n", "\n");
    let cmd = SimulatePolicy {
        toml: Some(toml.clone()),
        ..SimulatePolicy::default()
    };
    let answered = blocking(&state.service, move |service| {
        let simulation = service.simulate_policy(&context, &cmd)?;
        Ok((simulation, service.policy(&context)?.toml))
    })
    .await;
    let (status, facts, page) = match answered {
        Ok((simulation, current)) => {
            let replay = simulation.replay.as_ref();
            let page = SimulationPage {
                replays: replay.map(charts).unwrap_or_default(),
                changes: diff(&current, &toml),
                simulation: Some(simulation),
                error: None,
                toml,
            };
            (StatusCode::OK, form.facts.clone(), page)
        }
        Err(problem) if problem.status >= 500 => return Err(problem),
        Err(problem) => {
            let facts = form.refused("", &problem.detail);
            let page = SimulationPage {
                simulation: None,
                replays: Vec::new(),
                changes: Vec::new(),
                error: Some(problem.detail),
                toml,
            };
            (StatusCode::UNPROCESSABLE_ENTITY, facts, page)
        }
    };
    render(&state, &facts, status, &page)
}
