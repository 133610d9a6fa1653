//! What everybody may see of how a market ends. Secrets come out when nobody can use them any
//! more: the stop moment and the seed after the freeze, a jury when it has ruled.

use plumbline_access::Action;
use plumbline_market::Digest;
use plumbline_market::draw::LogHead;
use plumbline_market::life::{Life, Search, Status};
use plumbline_market::merkle;
use plumbline_market::probability::Pi;
use plumbline_store::claims::Claim;
use plumbline_store::{Tx, accounts, cases, evidence};

use super::closing::{Closing, Frozen, tree};
use super::matter::Matter;
use crate::context::Context;
use crate::markets::settlement_view;
use crate::time::{Millis, rfc3339};
use crate::views::{
    AuditView, ClaimView, ClosingView, InclusionView, LogView, SettlementRecord, WindowsView,
};
use crate::{Result, Service, ServiceError};

impl Service {
    /// The whole record of how a market ends.
    pub fn case(&self, ctx: &Context, market_id: &str) -> Result<SettlementRecord> {
        self.allow(&ctx.actor, Action::ReadSettlement)?;
        let (id, now) = (market_id.to_owned(), self.now());
        self.read(move |tx| case_view(tx, &id, now))
    }

    /// Shows that a submission is under its market's exhibits root.
    pub fn inclusion(&self, ctx: &Context, evidence_id: &str) -> Result<InclusionView> {
        self.allow(&ctx.actor, Action::ReadInclusion)?;
        let id = evidence_id.to_owned();
        self.read(move |tx| {
            let row = evidence::get(tx, &id)?;
            let exhibit = cases::exhibit(tx, &row.market_id, &id)?;
            let leaves = tree(&cases::exhibits(tx, &row.market_id)?)?;
            let index = usize::try_from(exhibit.ordinal).map_err(ServiceError::internal)?;
            let path = merkle::inclusion(&leaves, index)
                .ok_or_else(|| ServiceError::internal("the exhibit has no leaf"))?;
            Ok(InclusionView {
                leaf: leaves[index].to_string(),
                path: path.iter().map(Digest::to_string).collect(),
                root: merkle::root(&leaves).to_string(),
                index: exhibit.ordinal,
                size: leaves.len() as i64,
                content_hash: exhibit.content_hash,
                evidence_id: id,
                market_id: row.market_id,
            })
        })
    }
}

pub(super) fn case_view(tx: &mut Tx, market_id: &str, now: Millis) -> Result<SettlementRecord> {
    let matter = Matter::load(tx, market_id)?;
    let life = &matter.life;
    let is_frozen = life.freeze.is_some();
    let terms = matter.terms()?;
    let seed = cases::seed(tx, market_id)?.filter(|_| is_frozen);
    let record = matter
        .record
        .iter()
        .map(|claim| claim_view(tx, claim, &matter))
        .collect::<Result<_>>()?;
    let millis = |millis: i64| millis as f64 / 1e3;
    let window = |of: fn(&super::terms::CaseTerms) -> i64| {
        terms.as_ref().map_or(0.0, |terms| millis(of(terms)))
    };
    Ok(SettlementRecord {
        settlement: settlement_view(&matter.market)?,
        status: life.status.to_string(),
        stage: stage_of(life).to_owned(),
        deadline: deadline_of(life, now),
        next_bond_micro: next_bond(life, now),
        next_decider: life.appeal().map(decider),
        proposed_pi: life.proposal.map(|proposal| proposal.pi.get()),
        windows: WindowsView {
            closing_s: millis(life.rules.closing_window_millis),
            proposal_s: millis(life.rules.proposal_window_millis),
            challenge_s: millis(life.rules.challenge_window_millis),
            jury_commit_s: window(|terms| terms.jury_commit_millis),
            jury_reveal_s: window(|terms| terms.jury_reveal_millis),
        },
        bond_micro: life.rules.bond.get(),
        burn_bps: terms.as_ref().map_or(0, |terms| i64::from(terms.burn_bps)),
        terms_hash: terms.map(|_| Digest::of(matter.case.terms.as_bytes()).to_string()),
        terms: Some(matter.case.terms.clone()).filter(|text| !text.is_empty()),
        seed,
        closing: Closing::of(&matter.case)?.map(|closing| closing_view(closing, is_frozen)),
        audit: Frozen::of(&matter.case)?.map(|frozen| audit_view(frozen, life)),
        record,
        void_reason: matter.case.void_reason.clone(),
    })
}

fn stage_of(life: &Life) -> &'static str {
    match (life.status, life.search) {
        (Status::Draft | Status::Open, _) => "trading",
        (Status::Closing | Status::Frozen | Status::Auditing, _) => "closing",
        (Status::Final, _) => "final",
        (Status::Paid, _) => "paid",
        (Status::Void, _) => "void",
        (_, Some(Search::Test)) => "test",
        (_, Some(Search::Ensemble)) => "ensemble",
        (_, Some(Search::Reference)) => "reference",
        (_, Some(Search::Proposals { .. })) => "proposals",
        (_, Some(Search::Panel { .. })) => "panel",
        (_, None) => "challengeable",
    }
}

/// The end of a window that people can act in; the stop moment of a closing market is secret.
fn deadline_of(life: &Life, now: Millis) -> Option<String> {
    let due = life.due_at().filter(|due| due.0 > now)?;
    matches!(life.status, Status::Settling).then(|| rfc3339(due.0))
}

fn next_bond(life: &Life, now: Millis) -> Option<i64> {
    deadline_of(life, now)?;
    match life.search {
        Some(Search::Proposals { .. }) => Some(life.rules.bond.get()),
        _ => life.challenge_bond().map(|bond| bond.get()),
    }
}

fn decider(search: Search) -> String {
    match search {
        Search::Panel { size } => format!("panel of {size}"),
        _ => "test".to_owned(),
    }
}

fn log_view(log: LogHead) -> LogView {
    LogView {
        head: log.head.to_string(),
        trades: log.trades,
        exhibits: log.exhibits,
    }
}

fn closing_view(closing: Closing, is_frozen: bool) -> ClosingView {
    ClosingView {
        began_at: rfc3339(closing.at),
        log: log_view(closing.log.head),
        draw: closing
            .draw
            .filter(|_| is_frozen)
            .map(|draw| draw.to_string()),
        unit: is_frozen.then_some(closing.unit),
        stopped_at: is_frozen.then(|| rfc3339(closing.stops_at)),
    }
}

fn audit_view(frozen: Frozen, life: &Life) -> AuditView {
    AuditView {
        log: log_view(frozen.log.head),
        price: frozen.price,
        probability: frozen.probability,
        draw: frozen.draw.map(|draw| draw.to_string()),
        unit: frozen.unit,
        audited: life.audited == Some(true),
    }
}

fn claim_view(tx: &mut Tx, claim: &Claim, matter: &Matter) -> Result<ClaimView> {
    let account = match &claim.account_id {
        Some(id) => Some(accounts::get(tx, id)?.handle),
        None => None,
    };
    // A panel that still sits is nobody's business: its outcome follows in a later entry.
    let is_last = matter
        .record
        .last()
        .is_some_and(|last| last.round == claim.round);
    let sits = is_last && claim.kind == "search" && super::matter::is_settling(matter.life.status);
    Ok(ClaimView {
        round: claim.round,
        kind: claim.kind.clone(),
        source: claim.source.clone(),
        account,
        pi: claim
            .pi_billionths
            .map(|billionths| billionths as f64 / f64::from(Pi::SCALE)),
        bond_micro: claim.bond_micro,
        paid_micro: claim.paid_micro,
        disputes: claim.disputes,
        jurors: claim.jurors,
        panel_id: claim.panel_id.clone().filter(|_| !sits),
        reason: claim.reason.clone(),
        at: rfc3339(claim.at),
    })
}
