//! One submission, and the form that makes one.

use actix_web::http::StatusCode;
use actix_web::web;
use plumbline_service::commands::SubmitEvidence;
use plumbline_service::context::{Context, Scope};
use plumbline_service::views::{
    CommentView, EvidenceFeeView, EvidenceView, ExhibitChallengeView, MarketView,
};
use plumbline_service::{Result, Service};
use serde::Serialize;
use serde_json::{Value, json};

use super::comments::SHOWN;
use super::exhibit::{ExhibitView, JudgementRow, exhibit_view, judgement_rows};
use super::form::{Fields, Form, fresh_key, micro_of, show_again};
use super::verdict::{ReplayView, replays_of};
use super::visit::{redirect_with, render};
use super::{Visit, encode};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::templates::Page;

/// The evidence page's context.
#[derive(Debug, Serialize)]
pub(crate) struct EvidencePage {
    /// The submission.
    pub(crate) item: EvidenceView,
    /// Its market.
    pub(crate) market: MarketView,
    /// Each judge's view.
    pub(crate) judgements: Vec<JudgementRow>,
    /// What replaying it gave.
    pub(crate) replays: Vec<ReplayView>,
    /// The exhibits.
    pub(crate) exhibits: Vec<ExhibitView>,
    /// Disputes about it.
    pub(crate) disputes: Vec<ExhibitChallengeView>,
    /// Whether the viewer may dispute it now.
    pub(crate) may_dispute: bool,
    /// Least bond of the next dispute.
    pub(crate) least_bond_micro: i64,
    /// Makes a double click on the dispute's form harmless.
    pub(crate) dispute_key: String,
    /// Comments on it, oldest first.
    pub(crate) comments: Vec<CommentView>,
}

impl Page for EvidencePage {
    const TEMPLATE: &'static str = "evidence.html";
    fn topics(&self) -> String {
        format!("market:{}", self.market.id)
    }
}

/// The form's context.
#[derive(Debug, Serialize)]
pub(crate) struct EvidenceFormPage {
    /// The market.
    pub(crate) market: MarketView,
    /// Free balance.
    pub(crate) balance_micro: i64,
    /// What the next submission costs.
    pub(crate) fee: EvidenceFeeView,
    /// As filled in so far.
    pub(crate) draft: Draft,
}

impl Page for EvidenceFormPage {
    const TEMPLATE: &'static str = "evidence_form.html";
}

/// A submission being written.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Draft {
    /// `transcript`, `measurement`, `report` or `log`.
    pub(crate) kind: String,
    /// One line.
    pub(crate) title: String,
    /// Explanation.
    pub(crate) body: String,
    /// JSON of the exhibits; empty to submit the explanation itself as a report.
    pub(crate) exhibits: String,
    /// As typed.
    pub(crate) stake: String,
    /// Hashes of attached files, one a line.
    pub(crate) attachments: String,
    /// Id of the commitment that it reveals.
    pub(crate) commitment: String,
    /// The nonce inside it.
    pub(crate) nonce: String,
    /// Last moment to reveal it.
    pub(crate) reveal_by: Option<String>,
    /// What is wrong.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Draft {
    /// An empty form.
    pub(crate) fn empty() -> Self {
        Self {
            kind: "report".to_owned(),
            stake: "5".to_owned(),
            key: fresh_key(),
            ..Self::default()
        }
    }

    fn of(fields: &Fields) -> Self {
        Self {
            kind: fields.get("kind").to_owned(),
            title: fields.get("title").to_owned(),
            body: fields.raw("body").to_owned(),
            exhibits: fields.raw("exhibits").to_owned(),
            stake: fields.get("stake").to_owned(),
            attachments: fields.raw("attachments").to_owned(),
            commitment: fields.get("commitment").to_owned(),
            nonce: fields.get("nonce").to_owned(),
            reveal_by: Some(fields.get("reveal_by").to_owned()).filter(|text| !text.is_empty()),
            error: None,
            key: fresh_key(),
        }
    }

    /// The submission meant. Errors: a sentence for the person.
    fn command(&self) -> std::result::Result<SubmitEvidence, String> {
        let exhibits = match self.exhibits.trim() {
            "" if self.body.trim().is_empty() => {
                return Err("Explain what you found, or paste an exhibit".to_owned());
            }
            "" => vec![json!({"type": "report", "text": self.body})],
            text => match serde_json::from_str::<Value>(text) {
                Ok(Value::Array(exhibits)) => exhibits,
                Ok(exhibit) => vec![exhibit],
                Err(error) => return Err(format!("The exhibits are not JSON: {error}")),
            },
        };
        Ok(SubmitEvidence {
            kind: self.kind.clone(),
            title: self.title.clone(),
            body: self.body.clone(),
            exhibits,
            stake_micro: micro_of("The stake", &self.stake)?,
            commitment: Some(self.commitment.clone()).filter(|id| !id.is_empty()),
            nonce: Some(self.nonce.clone()).filter(|nonce| !nonce.is_empty()),
            attachments: self
                .attachments
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// `GET /evidence/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            page_of(service, context, &id)
        })
        .await
}

/// Shows the page again because one of its forms was refused.
pub(crate) async fn refuse(
    state: &State,
    form: &Form,
    id: &str,
    which: &'static str,
    text: &str,
) -> Answer {
    show_again(state, form, id, (which, text), page_of).await
}

fn page_of(service: &Service, context: &Context, id: &str) -> Result<EvidencePage> {
    let item = service.evidence(context, id)?;
    let market = service.market(context, &item.market_id)?;
    let disputes = service.exhibit_challenges(context, id)?;
    let about = Some(item.id.as_str());
    Ok(EvidencePage {
        comments: service
            .comments(context, &market.id, about, None, SHOWN)?
            .items,
        may_dispute: may_dispute(context, &item, &market, &disputes),
        least_bond_micro: service.challenge_bond(disputes.len()),
        dispute_key: fresh_key(),
        disputes,
        market,
        judgements: judgement_rows(&item.judgements),
        replays: item.replay.as_ref().map(replays_of).unwrap_or_default(),
        exhibits: item.exhibits.iter().map(exhibit_view).collect(),
        item,
    })
}

/// Whether a form to dispute it is worth showing; the service decides.
fn may_dispute(
    context: &Context,
    item: &EvidenceView,
    market: &MarketView,
    disputes: &[ExhibitChallengeView],
) -> bool {
    let over = matches!(market.status.as_str(), "final" | "paid" | "void");
    item.status == "judged"
        && !over
        && context.actor.scopes.contains(&Scope::Trade)
        && context.actor.handle != item.account
        && disputes.len() < 4
        && disputes.iter().all(|dispute| dispute.status != "open")
}

fn load(
    service: &Service,
    context: &Context,
    market_id: &str,
    draft: Draft,
) -> Result<EvidenceFormPage> {
    let balance_micro = service.me(context)?.balance_micro;
    Ok(EvidenceFormPage {
        market: service.market(context, market_id)?,
        fee: service.evidence_fee(context, market_id)?,
        balance_micro,
        draft,
    })
}

/// `GET /markets/{id}/evidence`
pub(crate) async fn form(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, &id, Draft::empty())
        })
        .await
}

/// `POST /markets/{id}/evidence`
pub(crate) async fn submit(state: State, form: Form, id: web::Path<String>) -> Answer {
    let (context, draft) = (form.writing(), Draft::of(&form.fields));
    let command = match draft.command() {
        Ok(command) => command,
        Err(error) => return again(&state, &form, id.into_inner(), draft, error).await,
    };
    if form.fields.get("do") == "commit" {
        return commit(&state, &form, id.into_inner(), draft, command).await;
    }
    let market_id = id.clone();
    match blocking(&state.service, move |service| {
        service.submit_evidence(&context, &market_id, &command)
    })
    .await
    {
        Ok(item) => {
            let text = "Submitted. The judges are looking at it; this page shows what they say.";
            Ok(redirect_with(
                &format!("/evidence/{}", encode(&item.id)),
                "done",
                text,
            ))
        }
        Err(problem) if problem.status < 500 => {
            again(&state, &form, id.into_inner(), draft, problem.detail).await
        }
        Err(problem) => Err(problem),
    }
}

/// Commits to what is in the form and shows it again, ready to be revealed. Nothing of it is kept here: the
/// form's own key is the nonce, so that a double click makes the same commitment.
async fn commit(
    state: &State,
    form: &Form,
    id: String,
    draft: Draft,
    command: SubmitEvidence,
) -> Answer {
    let (context, market_id) = (form.writing(), id.clone());
    let nonce = form.fields.get("idempotency").to_owned();
    let sent = nonce.clone();
    let made = blocking(&state.service, move |service| {
        service.commit_submission(&context, &market_id, &command, &sent)
    })
    .await;
    match made {
        Ok(made) => {
            let draft = Draft {
                commitment: made.id,
                nonce,
                reveal_by: Some(made.reveal_by),
                ..draft
            };
            shown(state, form, id, draft, StatusCode::OK).await
        }
        Err(problem) if problem.status < 500 => again(state, form, id, draft, problem.detail).await,
        Err(problem) => Err(problem),
    }
}

async fn again(state: &State, form: &Form, id: String, draft: Draft, error: String) -> Answer {
    let draft = Draft {
        error: Some(error),
        ..draft
    };
    shown(state, form, id, draft, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn shown(state: &State, form: &Form, id: String, draft: Draft, status: StatusCode) -> Answer {
    let context = form.caller.context();
    let facts = match &draft.error {
        Some(error) => form.refused("", error),
        None => form.facts.clone(),
    };
    let page = blocking(&state.service, move |service| {
        load(service, &context, &id, draft)
    })
    .await?;
    render(state, &facts, status, &page)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn draft(
        body: &str,
        exhibits: &str,
        stake: &str,
    ) -> std::result::Result<SubmitEvidence, String> {
        Draft {
            body: body.into(),
            exhibits: exhibits.into(),
            stake: stake.into(),
            ..Draft::empty()
        }
        .command()
    }

    #[test]
    fn a_plain_explanation_is_a_report() {
        let command = draft("It lies.", "", "5").unwrap();
        assert_eq!(command.exhibits[0]["type"], "report");
        assert_eq!(command.stake_micro, 5_000_000);
        assert_eq!(
            draft("", "[{\"type\":\"report\",\"text\":\"x\"}]", "1")
                .unwrap()
                .exhibits
                .len(),
            1
        );
        for (body, exhibits, stake) in [("", "", "5"), ("x", "{", "5"), ("x", "", "lots")] {
            assert!(draft(body, exhibits, stake).is_err());
        }
    }
}
