//! Proposals: the list, one with what it would do, and the forms to write, pay for and vote on them.

use actix_web::http::StatusCode;
use actix_web::web;
use plumbline_service::commands::{CastVote, CreateProposal, PayDeposit, ProposedAction};
use plumbline_service::context::Context;
use plumbline_service::views::{
    EffectView, ProposalView, ReplayPoint, ReplayView, RunReplayView, TrackView, VoteView,
};
use plumbline_service::{Result, Service};
use serde::{Deserialize, Serialize};

use super::form::{Form, fresh_key, micro_of};
use super::proposal_form::{Draft, action_of};
use super::visit::{redirect_with, render};
use super::{Visit, encode};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::chart::Frame;
use crate::chart::line::{Labels, Series, draw};
use crate::chart::shape::Chart;
use crate::extract::Params;
use crate::templates::Page;

/// Proposals and ballots on a page.
const SHOWN: usize = 30;
/// States that the list can be narrowed to.
const STATES: [&str; 9] = [
    "draft",
    "deposit",
    "voting",
    "confirming",
    "queued",
    "executed",
    "rejected",
    "expired",
    "cancelled",
];

/// Which proposals.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    state: Option<String>,
    cursor: Option<String>,
}

/// The context of the list.
#[derive(Debug, Serialize)]
pub(crate) struct ProposalsPage {
    /// Proposals, newest first.
    pub(crate) proposals: Vec<ProposalView>,
    /// Where they go on.
    pub(crate) next_cursor: Option<String>,
    /// The state asked for; empty for all.
    pub(crate) state: String,
    /// States to choose from.
    pub(crate) states: Vec<&'static str>,
    /// What each track asks for.
    pub(crate) tracks: Vec<TrackView>,
}

impl Page for ProposalsPage {
    const TEMPLATE: &'static str = "proposals.html";
    fn topics(&self) -> String {
        "proposals".to_owned()
    }
}

/// A ballot being written.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BallotForm {
    /// `for`, `against` or `abstain`.
    pub(crate) side: String,
    /// Level of conviction.
    pub(crate) conviction: String,
    /// Deposit as typed.
    pub(crate) deposit: String,
    /// What is wrong.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

/// The context of a proposal's page.
#[derive(Debug, Serialize)]
pub(crate) struct ProposalPage {
    /// The proposal.
    pub(crate) proposal: ProposalView,
    /// What it does, as JSON.
    pub(crate) action: String,
    /// The approval that is needed over time, with the approval that there is.
    pub(crate) curve: Chart,
    /// Shares of each run over the replayed time.
    pub(crate) replays: Vec<RunChart>,
    /// Its ballots, the first of them.
    pub(crate) votes: Vec<VoteView>,
    /// The forms.
    pub(crate) form: BallotForm,
}

impl Page for ProposalPage {
    const TEMPLATE: &'static str = "proposal.html";
    fn about(&self) -> Option<String> {
        Some(format!("proposal:{}", self.proposal.id))
    }
    fn topics(&self) -> String {
        "proposals".to_owned()
    }
    fn every_s(&self) -> u32 {
        // The needed agreement falls all the time.
        if ["voting", "confirming", "queued"].contains(&self.proposal.state.as_str()) {
            10
        } else {
            0
        }
    }
}

/// A run's replay, drawn.
#[derive(Debug, Serialize)]
pub(crate) struct RunChart {
    /// The run.
    pub(crate) name: String,
    /// Shares as decided and as they would have been.
    pub(crate) chart: Chart,
}

/// `GET /proposals`
pub(crate) async fn list(state: State, visit: Visit, query: Params<Filter>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let state = query.0.state.filter(|state| !state.is_empty());
            let page = service.proposals(
                context,
                None,
                state.as_deref(),
                query.0.cursor.as_deref(),
                SHOWN,
            )?;
            Ok(ProposalsPage {
                proposals: page.items,
                next_cursor: page.next_cursor,
                state: state.unwrap_or_default(),
                states: STATES.to_vec(),
                tracks: service.tracks(context)?,
            })
        })
        .await
}

/// `GET /proposals/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, &id, BallotForm::default())
        })
        .await
}

fn load(service: &Service, context: &Context, id: &str, form: BallotForm) -> Result<ProposalPage> {
    let proposal = service.proposal(context, id)?;
    let votes = service.votes(context, id, None, SHOWN)?.items;
    let replay = proposal
        .effect
        .as_ref()
        .and_then(|effect| effect.replay.as_ref());
    Ok(ProposalPage {
        action: pretty(proposal.action.as_ref()),
        curve: curve(&proposal),
        replays: replay.map(charts).unwrap_or_default(),
        votes,
        form: BallotForm {
            key: fresh_key(),
            ..form
        },
        proposal,
    })
}

fn pretty(action: Option<&ProposedAction>) -> String {
    // A policy has its own place on the page.
    let shown = match action {
        Some(ProposedAction::PolicyChange { toml }) => return toml.clone(),
        Some(action) => serde_json::to_string_pretty(action),
        None => return String::new(),
    };
    shown.unwrap_or_default()
}

fn percent(value: f64) -> String {
    format!("{value:.0} %")
}

/// The curve in percent of the voting period, and the approval now.
pub(crate) fn curve(proposal: &ProposalView) -> Chart {
    let terms = &proposal.terms;
    let (start, end) = (
        f64::from(terms.approval_start_bps) / 100.0,
        f64::from(terms.approval_end_bps) / 100.0,
    );
    let needed = Series {
        name: "needed".to_owned(),
        class: "line-main".to_owned(),
        points: vec![(0.0, start), (100.0, end)],
        steps: false,
        read: true,
    };
    let mut series = vec![needed];
    let mut summary = format!("Needed approval falls from {start:.0} to {end:.0} percent.");
    if let Some(tally) = &proposal.tally {
        let approval = f64::from(tally.approval_bps) / 100.0;
        summary.push_str(&format!(" There is {approval:.0} percent."));
        series.push(Series {
            name: "approval now".to_owned(),
            class: "line-node line-2".to_owned(),
            points: vec![(0.0, approval), (100.0, approval)],
            steps: false,
            read: true,
        });
    }
    let labels = Labels {
        x: percent,
        y: percent,
        x_unit: "of the voting period",
        from_zero: true,
    };
    draw(&series, labels, Frame::NARROW, summary)
}

/// Shares over time, in hours from the first moment.
pub(crate) fn charts(replay: &ReplayView) -> Vec<RunChart> {
    let seconds = |at: &str| {
        at.parse::<jiff::Timestamp>()
            .map_or(0.0, |at| at.as_millisecond() as f64 / 1e3)
    };
    let from = replay.from.as_deref().map_or(0.0, seconds);
    let to = replay.to.as_deref().map_or(0.0, seconds);
    let changed = |run: &&RunReplayView| {
        run.points
            .iter()
            .any(|point| point.share_bps != point.then_share_bps)
    };
    let chart = |run: &RunReplayView, frame: Frame| {
        let line = |pick: fn(&ReplayPoint) -> u16| {
            let mut points: Vec<(f64, f64)> = run
                .points
                .iter()
                .map(|point| {
                    (
                        (seconds(&point.at) - from) / 60.0,
                        f64::from(pick(point)) / 100.0,
                    )
                })
                .collect();
            if let Some(last) = points.last().copied() {
                points.push(((to - from) / 60.0, last.1));
            }
            points
        };
        let series = [
            Series {
                name: "decided".to_owned(),
                class: "line-main".to_owned(),
                points: line(|point| point.share_bps),
                steps: true,
                read: true,
            },
            Series {
                name: "would have been".to_owned(),
                class: "line-node line-2".to_owned(),
                points: line(|point| point.then_share_bps),
                steps: true,
                read: true,
            },
        ];
        let labels = Labels {
            x: |minutes| format!("{minutes:.0}"),
            y: percent,
            x_unit: "minutes",
            from_zero: true,
        };
        let summary = format!(
            "Mean share {:.0} percent, would have been {:.0}.",
            run.mean_share_bps / 100.0,
            run.then_mean_share_bps / 100.0
        );
        RunChart {
            name: run.name.clone(),
            chart: draw(&series, labels, frame, summary),
        }
    };
    let shown: Vec<&RunReplayView> = replay.runs.iter().filter(changed).take(4).collect();
    // One alone has the whole column.
    let frame = if shown.len() == 1 {
        Frame::WIDE
    } else {
        Frame::HALF
    };
    shown.into_iter().map(|run| chart(run, frame)).collect()
}

/// `POST /proposals/{id}/vote`
pub(crate) async fn vote(state: State, form: Form, id: web::Path<String>) -> Answer {
    let writing = form.writing();
    let (side, conviction) = (
        form.fields.get("side").to_owned(),
        form.fields.get("conviction").to_owned(),
    );
    let cmd = CastVote {
        side: side.clone(),
        conviction: conviction.parse().unwrap_or(u8::MAX),
    };
    let target = id.clone();
    let voted = blocking(&state.service, move |service| {
        service.cast_vote(&writing, &target, &cmd)
    })
    .await;
    let entered = BallotForm {
        side,
        conviction,
        ..BallotForm::default()
    };
    let done = "Your ballot is counted. You can change it until the vote ends.";
    answer(&state, &form, &id, voted.map(drop), entered, done).await
}

/// `POST /proposals/{id}/deposit`
pub(crate) async fn deposit(state: State, form: Form, id: web::Path<String>) -> Answer {
    let writing = form.writing();
    let entered = BallotForm {
        deposit: form.fields.get("deposit").to_owned(),
        ..BallotForm::default()
    };
    let amount_micro = match micro_of("The deposit", &entered.deposit) {
        Ok(amount) => amount,
        Err(error) => return again(&state, &form, &id, entered, error).await,
    };
    let target = id.clone();
    let paid = blocking(&state.service, move |service| {
        service.pay_deposit(&writing, &target, &PayDeposit { amount_micro })
    })
    .await;
    let done = "Paid. The vote begins as soon as the deposit is complete.";
    answer(&state, &form, &id, paid.map(drop), entered, done).await
}

/// `POST /proposals/{id}/withdraw`
pub(crate) async fn withdraw(state: State, form: Form, id: web::Path<String>) -> Answer {
    let (writing, target) = (form.writing(), id.clone());
    let taken = blocking(&state.service, move |service| {
        service.withdraw_proposal(&writing, &target)
    })
    .await;
    let done = "Withdrawn; its deposit is returned.";
    answer(
        &state,
        &form,
        &id,
        taken.map(drop),
        BallotForm::default(),
        done,
    )
    .await
}

async fn answer(
    state: &State,
    form: &Form,
    id: &str,
    result: std::result::Result<(), crate::problem::Problem>,
    entered: BallotForm,
    done: &str,
) -> Answer {
    match result {
        Ok(()) => {
            let page = format!("/proposals/{}", encode(id));
            Ok(redirect_with(&page, "done", done))
        }
        Err(problem) if problem.status >= 500 || problem.status == 404 => Err(problem),
        Err(problem) => again(state, form, id, entered, problem.detail).await,
    }
}

async fn again(state: &State, form: &Form, id: &str, entered: BallotForm, error: String) -> Answer {
    let (context, id) = (form.caller.context(), id.to_owned());
    let facts = form.refused("", &error);
    let entered = BallotForm {
        error: Some(error),
        ..entered
    };
    let page = blocking(&state.service, move |service| {
        load(service, &context, &id, entered)
    });
    render(
        state,
        &facts,
        StatusCode::UNPROCESSABLE_ENTITY,
        &page.await?,
    )
}

/// The context of the form for a new proposal.
#[derive(Debug, Serialize)]
pub(crate) struct NewProposalPage {
    /// What is typed.
    pub(crate) draft: Draft,
    /// Kinds to choose from, with their names for people.
    pub(crate) kinds: Vec<(&'static str, &'static str)>,
    /// Runs to choose from, names.
    pub(crate) runs: Vec<String>,
    /// The track that decides, with its terms.
    pub(crate) track: Option<TrackView>,
    /// What it would do, once asked.
    pub(crate) preview: Option<EffectView>,
}

impl Page for NewProposalPage {
    const TEMPLATE: &'static str = "proposal_new.html";
}

/// Which kind.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Kind {
    kind: Option<String>,
    run: Option<String>,
}

/// `GET /proposals/new`
pub(crate) async fn new(state: State, visit: Visit, query: Params<Kind>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let draft = Draft {
                kind: query.0.kind.unwrap_or_else(|| "tighten".to_owned()),
                run: query.0.run.unwrap_or_default(),
                ..Draft::default()
            };
            load_new(service, context, draft, None)
        })
        .await
}

fn load_new(
    service: &Service,
    context: &Context,
    mut draft: Draft,
    preview: Option<EffectView>,
) -> Result<NewProposalPage> {
    draft.key = fresh_key();
    if draft.kind == "policy-change" && draft.toml.is_empty() {
        draft.toml = service.policy(context)?.toml;
    }
    let runs = service.runs(context, None, 200)?.items;
    let tracks = service.tracks(context)?;
    let name = if draft.emergency && draft.kind == "tighten" {
        "emergency-tighten"
    } else {
        &draft.kind
    };
    Ok(NewProposalPage {
        kinds: super::proposal_form::KINDS.to_vec(),
        runs: runs.into_iter().map(|run| run.name).collect(),
        track: tracks.into_iter().find(|track| track.track == name),
        draft,
        preview,
    })
}

/// `POST /proposals/new`: previews, or writes the draft.
pub(crate) async fn create(state: State, form: Form) -> Answer {
    let (writing, context) = (form.writing(), form.caller.context());
    let draft = Draft::of(&form.fields);
    let previewing = form.fields.get("do") == "preview";
    let cmd = match command(&draft) {
        Ok(cmd) => cmd,
        Err(error) => return new_again(&state, &form, draft, Some(error), None).await,
    };
    if previewing {
        let effect = blocking(&state.service, move |service| {
            service.preview_proposal(&context, &cmd)
        })
        .await;
        return match effect {
            Ok(effect) => new_again(&state, &form, draft, None, Some(effect)).await,
            Err(problem) if problem.status >= 500 => Err(problem),
            Err(problem) => new_again(&state, &form, draft, Some(problem.detail), None).await,
        };
    }
    let made = blocking(&state.service, move |service| {
        service.create_proposal(&writing, &cmd)
    });
    match made.await {
        Ok(made) => {
            let page = format!("/proposals/{}", encode(&made.id));
            Ok(redirect_with(
                &page,
                "done",
                "Written. Its vote begins when its deposit is complete.",
            ))
        }
        Err(problem) if problem.status >= 500 => Err(problem),
        Err(problem) => new_again(&state, &form, draft, Some(problem.detail), None).await,
    }
}

fn command(draft: &Draft) -> std::result::Result<CreateProposal, String> {
    Ok(CreateProposal {
        title: draft.title.clone(),
        body: draft.body.clone(),
        track: (draft.emergency && draft.kind == "tighten").then(|| "emergency-tighten".to_owned()),
        action: action_of(draft)?,
        deposit_micro: if draft.deposit.is_empty() {
            0
        } else {
            micro_of("The deposit", &draft.deposit)?
        },
    })
}

async fn new_again(
    state: &State,
    form: &Form,
    draft: Draft,
    error: Option<String>,
    preview: Option<EffectView>,
) -> Answer {
    let context = form.caller.context();
    let (status, facts) = match &error {
        Some(error) => (StatusCode::UNPROCESSABLE_ENTITY, form.refused("", error)),
        None => (StatusCode::OK, form.facts.clone()),
    };
    let draft = Draft { error, ..draft };
    let page = blocking(&state.service, move |service| {
        load_new(service, &context, draft, preview)
    });
    render(state, &facts, status, &page.await?)
}
