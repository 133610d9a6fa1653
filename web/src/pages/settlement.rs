//! The part of the market page about how the market ends, and its forms.

use actix_web::web;
use plumbline_service::commands::{ChallengeSettlement, ProposeSettlement, VoidMarket};
use plumbline_service::context::Context;
use plumbline_service::views::{ClaimView, SettlementRecord};
use plumbline_service::{Result, Service};
use serde::Serialize;

use super::form::{Fields, Form, fresh_key, micro_of};
use super::visit::redirect_with;
use super::{encode, market};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::templates::format::{credits, decimal, percent};

/// How the market ends, as the page shows it.
#[derive(Debug, Serialize)]
pub(crate) struct CasePart {
    /// The whole record.
    pub(crate) record: SettlementRecord,
    /// Its entries as sentences.
    pub(crate) rows: Vec<CaseRow>,
    /// What happens now.
    pub(crate) now: String,
    /// `propose`, `challenge`, or empty when neither is taken.
    pub(crate) form: &'static str,
    /// Default of the form's bond, in credits.
    pub(crate) bond: String,
    /// Whether the market can still be called off.
    pub(crate) may_be_voided: bool,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

/// One entry of the record.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CaseRow {
    /// What happened.
    pub(crate) what: String,
    /// When.
    pub(crate) at: String,
    /// What was said for it.
    pub(crate) reason: String,
    /// Bond and what came back of it.
    pub(crate) bond: Option<String>,
    /// The jury's page, once it is over.
    pub(crate) panel_id: Option<String>,
}

impl CasePart {
    pub(crate) fn load(service: &Service, context: &Context, market_id: &str) -> Result<Self> {
        Ok(Self::of(service.case(context, market_id)?))
    }

    pub(crate) fn of(record: SettlementRecord) -> Self {
        let form = match (record.stage.as_str(), &record.deadline) {
            ("proposals", Some(_)) => "propose",
            ("challengeable", Some(_)) if record.next_bond_micro.is_some() => "challenge",
            _ => "",
        };
        Self {
            rows: record.record.iter().map(row).collect(),
            now: now(&record).to_owned(),
            may_be_voided: !matches!(record.status.as_str(), "final" | "paid" | "void"),
            form,
            bond: record.next_bond_micro.map(bond_text).unwrap_or_default(),
            key: fresh_key(),
            record,
        }
    }
}

fn now(record: &SettlementRecord) -> &'static str {
    match record.stage.as_str() {
        "trading" => "Orders are taken.",
        "closing" => {
            "The closing window has begun: orders stop at a secret moment inside it, and late evidence is still judged."
        }
        "test" => "The committed test runs on the frozen checkpoint.",
        "ensemble" => "The judges pool their probabilities.",
        "reference" => "The last price is read and the last trades are undone.",
        "proposals" => {
            "Anybody without a part in the market may propose the settlement, with a bond."
        }
        "panel" => "A jury sits. Who sits is secret until it has ruled.",
        "challengeable" => "A settlement stands unless it is challenged.",
        "final" => "The settlement is final and is being paid.",
        "paid" => "Everybody has been paid.",
        _ => "The market was called off and everybody was refunded.",
    }
}

fn row(claim: &ClaimView) -> CaseRow {
    let pi = claim.pi.map(percent).unwrap_or_default();
    let who = claim.account.as_deref().unwrap_or("the service");
    let jurors = claim.jurors.unwrap_or(0);
    let what = match (claim.kind.as_str(), claim.source.as_str()) {
        ("search", "panel") => format!("A jury of {jurors} was called."),
        ("search", "test") => "The committed test was started.".to_owned(),
        ("search", "ensemble") => "The judges were asked.".to_owned(),
        ("search", "reference") => "The last price was taken as the reference.".to_owned(),
        ("search", _) => "Proposals were asked for.".to_owned(),
        ("proposal", _) => format!("{who} proposed {pi}."),
        ("challenge", _) => format!("{who} challenged it and wants {pi}."),
        ("ruling", "test") => format!("The test was repeated and says {pi}."),
        ("ruling", _) => format!("The jury ruled {pi}."),
        (_, "panel") => format!("The jury of {jurors} gave no ruling."),
        _ => "No settlement was found this way; a jury takes over.".to_owned(),
    };
    let bond = (claim.bond_micro > 0).then(|| match claim.paid_micro {
        Some(paid) => format!(
            "bond {}, got back {}",
            credits(claim.bond_micro),
            credits(paid)
        ),
        None => format!("bond {}", credits(claim.bond_micro)),
    });
    CaseRow {
        what,
        at: claim.at.clone(),
        reason: claim.reason.clone(),
        bond,
        panel_id: claim.panel_id.clone(),
    }
}

/// `POST /markets/{id}/settlement`
pub(crate) async fn propose(state: State, form: Form, id: web::Path<String>) -> Answer {
    act(&state, form, &id, ("case-", Asked::proposal)).await
}

/// `POST /markets/{id}/challenges`
pub(crate) async fn challenge(state: State, form: Form, id: web::Path<String>) -> Answer {
    act(&state, form, &id, ("case-", Asked::challenge)).await
}

/// `POST /markets/{id}/void`
pub(crate) async fn void(state: State, form: Form, id: web::Path<String>) -> Answer {
    act(&state, form, &id, ("void-", Asked::void)).await
}

/// `kind` is what ids of the form's fields begin with, and what reads them.
async fn act(
    state: &State,
    form: Form,
    id: &str,
    (kind, read): (&'static str, fn(&Fields) -> Asking),
) -> Answer {
    let (context, market_id) = (form.writing(), id.to_owned());
    let back = format!("/markets/{}#settle-h", encode(id));
    let asked = match read(&form.fields) {
        Ok(asked) => asked,
        Err(error) => return market::refuse(state, &form, id, kind, &error).await,
    };
    let done = asked.told();
    let acted = blocking(&state.service, move |service| match &asked {
        Asked::Propose(cmd) => service.propose_settlement(&context, &market_id, cmd),
        Asked::Challenge(cmd) => service.challenge_settlement(&context, &market_id, cmd),
        Asked::Void(cmd) => service.void(&context, &market_id, cmd),
    })
    .await;
    match acted {
        Ok(_) => Ok(redirect_with(&back, "done", done)),
        Err(problem) if problem.status < 500 => {
            market::refuse(state, &form, id, kind, &problem.detail).await
        }
        Err(problem) => Err(problem),
    }
}

/// What a form asks for, or a sentence for the person.
type Asking = std::result::Result<Asked, String>;

enum Asked {
    Propose(ProposeSettlement),
    Challenge(ChallengeSettlement),
    Void(VoidMarket),
}

impl Asked {
    fn proposal(fields: &Fields) -> Asking {
        let (pi, bond_micro) = Self::claim(fields)?;
        Ok(Self::Propose(ProposeSettlement {
            pi,
            bond_micro,
            reason: fields.get("reason").to_owned(),
        }))
    }

    fn challenge(fields: &Fields) -> Asking {
        let (pi, bond_micro) = Self::claim(fields)?;
        Ok(Self::Challenge(ChallengeSettlement {
            pi,
            bond_micro,
            reason: fields.get("reason").to_owned(),
        }))
    }

    fn void(fields: &Fields) -> Asking {
        let reason = fields.get("reason").to_owned();
        Ok(Self::Void(VoidMarket { reason }))
    }

    /// The settlement as a number from 0 to 1, and the bond.
    fn claim(fields: &Fields) -> std::result::Result<(f64, i64), String> {
        let number: f64 = fields
            .get("pi")
            .trim_end_matches('%')
            .trim()
            .parse()
            .map_err(|_| "The settlement must be a percentage, such as 100".to_owned())?;
        Ok((number / 100.0, micro_of("The bond", fields.get("bond"))?))
    }

    const fn told(&self) -> &'static str {
        match self {
            Self::Propose(_) => "Your proposal stands unless it is challenged.",
            Self::Challenge(_) => "Your challenge was taken.",
            Self::Void(_) => "The market was called off; everybody gets back what they put in.",
        }
    }
}

/// A bond as a form's default, in credits.
fn bond_text(micro: i64) -> String {
    decimal(micro as f64 / 1e6, 6)
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::templates::samples;

    #[test]
    fn forms_fit_the_stage() {
        let mut record = samples::settlement_record();
        assert_eq!(CasePart::of(record.clone()).form, "challenge");
        record.stage = "proposals".into();
        assert_eq!(CasePart::of(record.clone()).form, "propose");
        record.deadline = None;
        assert_eq!(CasePart::of(record.clone()).form, "");
        record.status = "paid".into();
        assert!(!CasePart::of(record).may_be_voided);
    }

    #[test]
    fn entries_read_as_sentences() {
        let part = CasePart::of(samples::settlement_record());
        let whats: Vec<&str> = part.rows.iter().map(|row| row.what.as_str()).collect();
        assert!(whats[1].starts_with("treasury proposed"), "{whats:?}");
        assert!(part.rows[2].bond.as_deref().unwrap().contains("bond"));
        assert_eq!(bond_text(5_000_000), "5");
        assert_eq!(bond_text(1_250_000), "1.25");
    }
}
