//! Jury duty: one's seats, the panels that are over, and one panel with its case and forms.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use plumbline_service::commands::{CommitVote, JoinJury, RevealVote};
use plumbline_service::context::Context;
use plumbline_service::views::{CaseExhibit, JurorView, PanelView};
use plumbline_service::{Result, Service};
use serde::{Deserialize, Serialize};

use super::exhibit::{ExhibitView, exhibit_view};
use super::form::{Fields, Form, fresh_key, micro_of};
use super::visit::{redirect_with, render};
use super::{Visit, encode};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::extract::Params;
use crate::problem::Problem;
use crate::templates::Page;

/// Own seats and jurors shown on the page.
const SHOWN: usize = 20;
/// Micro-credits, as the amounts of forms are read, in one basis point of a percentage.
const MICRO_PER_BPS: i64 = 10_000;

/// Which page of the panels that are over.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// A seat of the reader's with its claim.
#[derive(Debug, Serialize)]
pub(crate) struct OwnSeat {
    /// The panel.
    pub(crate) panel: PanelView,
    /// What it is about.
    pub(crate) claim: String,
}

/// The context of the page of panels.
#[derive(Debug, Serialize)]
pub(crate) struct JuriesPage {
    /// The reader as a juror.
    pub(crate) juror: Option<JurorView>,
    /// The reader may become one.
    pub(crate) may_join: bool,
    /// Least stake.
    pub(crate) least_micro: i64,
    /// The reader's seats, newest first.
    pub(crate) own: Vec<OwnSeat>,
    /// Panels that are over, newest first.
    pub(crate) over: Vec<PanelView>,
    /// Where they go on.
    pub(crate) next_cursor: Option<String>,
    /// The jurors.
    pub(crate) jurors: Vec<JurorView>,
    /// What is wrong with the stake.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Page for JuriesPage {
    const TEMPLATE: &'static str = "panels.html";
    fn topics(&self) -> String {
        "panels".to_owned()
    }
}

/// One submission of a case.
#[derive(Debug, Serialize)]
pub(crate) struct CaseItem {
    /// As jurors get it.
    pub(crate) item: CaseExhibit,
    /// Its exhibits, readable.
    pub(crate) exhibits: Vec<ExhibitView>,
}

/// A vote being written.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Ballot {
    /// Percent, as typed.
    pub(crate) vote: String,
    /// The box for it is ticked.
    pub(crate) cannot_tell: bool,
    /// Why.
    pub(crate) justification: String,
    /// 64 hex digits.
    pub(crate) nonce: String,
    /// The opening to reveal, as pasted.
    pub(crate) opening: String,
    /// What is wrong.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Ballot {
    fn of(fields: &Fields) -> Self {
        Self {
            vote: fields.get("vote").to_owned(),
            cannot_tell: fields.get("cannot_tell") == "yes",
            justification: fields.raw("justification").replace("\r\n", "\n"),
            nonce: fields.get("nonce").to_owned(),
            opening: fields.raw("opening").to_owned(),
            error: None,
            key: fresh_key(),
        }
    }

    /// The opening that the form means. Errors: a sentence for the person.
    fn opening(&self) -> std::result::Result<RevealVote, String> {
        let vote_bps = match (self.cannot_tell, self.vote.is_empty()) {
            (true, _) => None,
            (false, true) => return Err("Give a vote, or say that you cannot tell".to_owned()),
            (false, false) => {
                let micro = micro_of("The vote", self.vote.trim_end_matches(['%', ' ']))?;
                if micro % MICRO_PER_BPS != 0 {
                    return Err("A vote has at most two decimals".to_owned());
                }
                Some(micro / MICRO_PER_BPS)
            }
        };
        Ok(RevealVote {
            vote_bps,
            cannot_tell: self.cannot_tell,
            nonce: self.nonce.clone(),
            justification: self.justification.clone(),
        })
    }
}

/// The context of a panel's page.
#[derive(Debug, Serialize)]
pub(crate) struct PanelPage {
    /// The panel.
    pub(crate) panel: PanelView,
    /// The evidence of its case.
    pub(crate) case_items: Vec<CaseItem>,
    /// The forms.
    pub(crate) ballot: Ballot,
    /// The opening of a vote that was just committed: shown this once, kept nowhere here.
    pub(crate) keep: Option<String>,
}

impl Page for PanelPage {
    const TEMPLATE: &'static str = "panel.html";
    fn topics(&self) -> String {
        "panels".to_owned()
    }
}

/// `GET /panels`
pub(crate) async fn list(state: State, visit: Visit, query: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load_list(service, context, query.0.cursor.as_deref(), None)
        })
        .await
}

fn load_list(
    service: &Service,
    context: &Context,
    cursor: Option<&str>,
    error: Option<String>,
) -> Result<JuriesPage> {
    let over = service.panels(context, false, cursor, SHOWN)?;
    let mut own = Vec::new();
    if context.actor.account_id.is_some() {
        for line in service.panels(context, true, None, SHOWN)?.items {
            let panel = service.panel(context, &line.id)?;
            let claim = panel.case.as_ref().map(|case| case.claim.clone());
            let claim = claim.unwrap_or_default();
            own.push(OwnSeat { panel: line, claim });
        }
    }
    let (may_join, least_micro) = service.jury_terms(context);
    Ok(JuriesPage {
        juror: service.own_juror(context)?,
        may_join,
        least_micro,
        own,
        over: over.items,
        next_cursor: over.next_cursor,
        jurors: service.jurors(context, None, SHOWN)?.items,
        error,
        key: fresh_key(),
    })
}

/// `POST /panels/stake`
pub(crate) async fn join(state: State, form: Form) -> Answer {
    let (writing, context) = (form.writing(), form.caller.context());
    let joined = match micro_of("The stake", form.fields.get("stake")) {
        Err(error) => Err(error),
        Ok(stake_micro) => match blocking(&state.service, move |service| {
            service.join_jury(&writing, &JoinJury { stake_micro })
        })
        .await
        {
            Ok(_) => Ok(()),
            Err(problem) if problem.status < 500 => Err(problem.detail),
            Err(problem) => return Err(problem),
        },
    };
    let Err(error) = joined else {
        let text = "You are a juror. When you are drawn, the panel shows here.";
        return Ok(redirect_with("/panels", "done", text));
    };
    let facts = form.refused("", &error);
    let page = blocking(&state.service, move |service| {
        load_list(service, &context, None, Some(error))
    });
    render(
        &state,
        &facts,
        StatusCode::UNPROCESSABLE_ENTITY,
        &page.await?,
    )
}

/// `POST /panels/leave`
pub(crate) async fn leave(state: State, form: Form) -> Answer {
    let context = form.writing();
    let left = blocking(&state.service, move |service| service.leave_jury(&context)).await;
    Ok(match left {
        Ok(_) => redirect_with(
            "/panels",
            "done",
            "Your stake is on its way back; what open seats lock follows as they end.",
        ),
        Err(problem) if problem.status < 500 => redirect_with("/panels", "error", &problem.detail),
        Err(problem) => return Err(problem),
    })
}

/// `GET /panels/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let ballot = Ballot {
                key: fresh_key(),
                nonce: service.fresh_nonce()?,
                ..Ballot::default()
            };
            load(service, context, &id, ballot, None)
        })
        .await
}

fn load(
    service: &Service,
    context: &Context,
    id: &str,
    ballot: Ballot,
    keep: Option<String>,
) -> Result<PanelPage> {
    let panel = service.panel(context, id)?;
    let exhibits = panel.case.iter().flat_map(|case| &case.exhibits);
    let item = |item: &CaseExhibit| CaseItem {
        exhibits: item.exhibits.iter().map(exhibit_view).collect(),
        item: item.clone(),
    };
    Ok(PanelPage {
        case_items: exhibits.map(item).collect(),
        panel,
        ballot,
        keep,
    })
}

/// `POST /panels/{id}/commit`: makes the commitment from the vote, which is not stored, and answers with the opening
/// to keep; a redirect would have to carry it.
pub(crate) async fn commit(state: State, form: Form, id: web::Path<String>) -> Answer {
    let (writing, ballot) = (form.writing(), Ballot::of(&form.fields));
    let opening = match ballot.opening() {
        Ok(opening) => opening,
        Err(error) => return again(&state, &form, &id, ballot, error).await,
    };
    let keep = serde_json::to_string_pretty(&opening).map_err(Problem::internal)?;
    let panel = id.clone();
    let committed = blocking(&state.service, move |service| {
        let commitment = service.vote_commitment(&writing, &panel, &opening)?;
        service.commit_vote(&writing, &panel, &CommitVote { commitment })
    })
    .await;
    match committed {
        Ok(_) => {
            let context = form.caller.context();
            let page = blocking(&state.service, move |service| {
                load(service, &context, &id, Ballot::default(), Some(keep))
            });
            render(&state, &form.facts, StatusCode::CREATED, &page.await?)
        }
        Err(problem) => refused(&state, &form, &id, ballot, problem).await,
    }
}

/// `POST /panels/{id}/reveal`
pub(crate) async fn reveal(state: State, form: Form, id: web::Path<String>) -> Answer {
    let (writing, ballot) = (form.writing(), Ballot::of(&form.fields));
    let opening: RevealVote = match serde_json::from_str(ballot.opening.trim()) {
        Ok(opening) => opening,
        Err(_) => {
            let error = "Paste the whole text that you kept when you committed".to_owned();
            return again(&state, &form, &id, ballot, error).await;
        }
    };
    let panel = id.clone();
    let revealed = blocking(&state.service, move |service| {
        service.reveal_vote(&writing, &panel, &opening)
    })
    .await;
    match revealed {
        Ok(_) => Ok(back(&id, "Your vote is revealed. The ruling follows.")),
        Err(problem) => refused(&state, &form, &id, ballot, problem).await,
    }
}

fn back(id: &str, text: &str) -> HttpResponse {
    redirect_with(&format!("/panels/{}", encode(id)), "done", text)
}

async fn refused(state: &State, form: &Form, id: &str, ballot: Ballot, problem: Problem) -> Answer {
    if problem.status >= 500 || problem.status == 404 {
        return Err(problem);
    }
    again(state, form, id, ballot, problem.detail).await
}

async fn again(state: &State, form: &Form, id: &str, ballot: Ballot, error: String) -> Answer {
    let (context, id) = (form.caller.context(), id.to_owned());
    let facts = form.refused("", &error);
    let ballot = Ballot {
        error: Some(error),
        ..ballot
    };
    let page = blocking(&state.service, move |service| {
        load(service, &context, &id, ballot, None)
    });
    render(
        state,
        &facts,
        StatusCode::UNPROCESSABLE_ENTITY,
        &page.await?,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn votes_are_percent_with_two_decimals() {
        let read = |vote: &str, cannot_tell| {
            let ballot = Ballot {
                vote: vote.to_owned(),
                cannot_tell,
                ..Ballot::default()
            };
            ballot.opening().map(|opening| opening.vote_bps)
        };
        assert_eq!(read("87.5", false), Ok(Some(8_750)));
        assert_eq!(read("100 %", false), Ok(Some(10_000)));
        assert_eq!(read("0", false), Ok(Some(0)));
        assert_eq!(read("50", true), Ok(None));
        for wrong in ["", "1.001", "lots"] {
            assert!(read(wrong, false).is_err(), "{wrong}");
        }
    }
}
