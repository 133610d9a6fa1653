//! Bonded disputes on whether a submission is what it says it is.
//!
//! A replay decides where every exhibit can be replayed, or where one is contradicted; else a panel
//! of three does. While no panel can be drawn the dispute stays open and is looked at again. The losing bond goes to the winner except for what is burnt. The
//! submitter's move stays a trade, and is settled by the formula like every other.

use plumbline_access::Action;
use plumbline_market::digest::Digest;
use plumbline_market::money::Micro;
use plumbline_market::probability::Pi;
use plumbline_market::submission::split_bond;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_oracle::replay::{ReplayVerdict, Verdict};
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::exhibit_challenges::{self as store, ExhibitChallenge};
use plumbline_store::markets;
use plumbline_store::{Tx, accounts, jobs};
use serde_json::json;

use super::judging::{assessed, replay_of};
use super::{announce, bonds_account, stored_exhibits};
use crate::accounts::account_of;
use crate::commands::ChallengeExhibit;
use crate::context::Context;
use crate::events::publish;
use crate::jobs::{DECIDE_CHALLENGE, REASSESS_MARKET};
use crate::ledger::{TREASURY, post};
use crate::markets::claim_of;
use crate::panels::{Convene, PanelOutcome, Subject, convene};
use crate::time::{Millis, rfc3339};
use crate::views::ExhibitChallengeView;
use crate::{Result, Service, ServiceConfig, ServiceError};

/// Most disputes about one submission, one after the other; each needs twice the bond.
const MAX_DISPUTES: usize = 4;
/// Longest reason, bytes.
const MAX_REASON: usize = 4 * 1024;

/// Seats of the panel of a dispute.
const SEATS: usize = 3;
/// Between two attempts to draw a panel.
const DRAW_AGAIN_MS: Millis = 60_000;

/// How a dispute ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ruling {
    /// The submission is not what it says.
    Upheld,
    /// It is.
    Rejected,
}

impl Service {
    /// Disputes a judged submission, with a bond that is lost if the dispute is.
    ///
    /// Errors: `bad-reason`, `bond-too-small`, `own-exhibit`, `not-challengeable`, `market-over`,
    /// `already-challenged`, `challenge-limit`, `insufficient-funds`.
    pub fn challenge_exhibit(
        &self,
        ctx: &Context,
        evidence_id: &str,
        cmd: &ChallengeExhibit,
    ) -> Result<ExhibitChallengeView> {
        self.allow(&ctx.actor, Action::DisputeExhibit)?;
        let reason = cmd.reason.trim().to_owned();
        if reason.is_empty() || reason.len() > MAX_REASON {
            return Err(ServiceError::invalid(
                "bad-reason",
                format!("a reason has 1 to {MAX_REASON} bytes"),
            ));
        }
        let (bond_micro, base) = (cmd.bond_micro, self.config.evidence.bond_micro);
        let (account_id, handle) = (account_of(&ctx.actor)?, ctx.actor.handle.clone());
        let (id, evidence_id, transfer_id) = (self.new_id(), evidence_id.to_owned(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let exhibit = evidence::get(tx, &evidence_id)?;
            let earlier = store::of_evidence(tx, &evidence_id, MAX_DISPUTES as i64)?;
            check_challenge(tx, &exhibit, &earlier, &account_id, bond_micro, base)?;
            let row = ExhibitChallenge {
                id,
                evidence_id,
                market_id: exhibit.market_id.clone(),
                account_id,
                reason,
                bond_micro,
                status: "open".to_owned(),
                decided_by: None,
                panel_id: None,
                note: None,
                burnt_micro: None,
                created_at: now,
                decided_at: None,
            };
            let bonds = bonds_account(tx, &row.market_id, now)?;
            let entries = vec![(row.account_id.clone(), -bond_micro), (bonds, bond_micro)];
            post(tx, transfer_id, now, "bond", &row.id, entries)?;
            store::insert(tx, &row)?;
            let payload = json!({"challenge_id": row.id}).to_string();
            jobs::enqueue(tx, DECIDE_CHALLENGE, &row.id, &payload, now)?;
            tell(tx, now, &row, "exhibit-challenged")?;
            Ok(view_of(row, handle))
        })
    }

    /// The disputes about a submission, oldest first: at most four.
    pub fn exhibit_challenges(
        &self,
        ctx: &Context,
        evidence_id: &str,
    ) -> Result<Vec<ExhibitChallengeView>> {
        self.allow(&ctx.actor, Action::ListDisputes)?;
        let id = evidence_id.to_owned();
        self.read(move |tx| {
            evidence::get(tx, &id)?;
            let mut views = Vec::new();
            for row in store::of_evidence(tx, &id, MAX_DISPUTES as i64)? {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                views.push(view_of(row, handle));
            }
            Ok(views)
        })
    }

    /// The least bond of the next dispute about a submission with so many decided ones.
    pub fn challenge_bond(&self, decided: usize) -> i64 {
        least_bond(self.config.evidence.bond_micro, decided)
    }

    /// The job: replays a disputed submission and rules where that can.
    pub(crate) fn decide_challenge(&self, challenge_id: &str) -> Result<()> {
        let id = challenge_id.to_owned();
        let (row, exhibit, market) = self.read(move |tx| {
            let row = store::get(tx, &id)?;
            let exhibit = evidence::get(tx, &row.evidence_id)?;
            let market = markets::get(tx, &row.market_id)?;
            Ok((row, exhibit, market))
        })?;
        if row.status != "open" {
            return Ok(());
        }
        let exhibits = stored_exhibits(&exhibit)?;
        let assessment = self
            .judges()?
            .ensemble
            .assess(&claim_of(&market)?, &exhibits);
        let records: Option<Vec<ReplayVerdict>> =
            replay_of(&assessment).and_then(|value| serde_json::from_value(value).ok());
        let config = self.config.clone();
        match verdict_of(&exhibits, &records.unwrap_or_default()) {
            Some((ruling, note)) => self.write_at(move |tx, now| {
                close(tx, &config, &row.id, (ruling, "replay", note), now)
            }),
            None => self.write_at(move |tx, now| ask_panel(tx, &config, &row.id, now)),
        }
    }

    /// The job: what the judges make of a market's exhibits without those that were struck. The
    /// price is the traders' and stays.
    pub(crate) fn reassess_market(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let (market, rows) =
            self.read(move |tx| Ok((markets::get(tx, &id)?, evidence::judged(tx, &id)?)))?;
        let mut exhibits = Vec::new();
        for row in &rows {
            exhibits.extend(stored_exhibits(row)?);
        }
        let assessment = self
            .judges()?
            .ensemble
            .assess(&claim_of(&market)?, &exhibits);
        self.write(move |tx| {
            let market = markets::get(tx, &market.id)?;
            let log_odds = market.log_odds;
            let market = assessed(market, &assessment, log_odds)?;
            markets::update(tx, &market)?;
            Ok(())
        })
    }
}

fn least_bond(base: i64, decided: usize) -> i64 {
    let factor = 1_i64 << decided.min(MAX_DISPUTES);
    base.max(0).saturating_mul(factor)
}

fn check_challenge(
    tx: &mut Tx,
    exhibit: &Evidence,
    earlier: &[ExhibitChallenge],
    account_id: &str,
    bond_micro: i64,
    base: i64,
) -> Result<()> {
    let refuse = |code, detail: String| Err(ServiceError::refused(code, detail));
    if exhibit.account_id == account_id {
        return refuse("own-exhibit", "this is your own submission".to_owned());
    }
    if exhibit.status != "judged" {
        let detail = format!(
            "the submission is {}: only a judged one can be disputed",
            exhibit.status
        );
        return refuse("not-challengeable", detail);
    }
    let market = markets::get(tx, &exhibit.market_id)?;
    if matches!(market.status.as_str(), "final" | "paid" | "void") {
        return refuse("market-over", format!("the market is {}", market.status));
    }
    if earlier.iter().any(|row| row.status == "open") {
        return refuse(
            "already-challenged",
            "another dispute about it is open".to_owned(),
        );
    }
    if earlier.len() >= MAX_DISPUTES {
        return refuse(
            "challenge-limit",
            format!("it was disputed {MAX_DISPUTES} times"),
        );
    }
    let least = least_bond(base, earlier.len());
    if bond_micro < least {
        return Err(ServiceError::invalid(
            "bond-too-small",
            format!("bond_micro is at least {least}"),
        ));
    }
    let available = accounts::get(tx, account_id)?.balance_micro;
    if bond_micro > available {
        let detail = format!("the bond is {bond_micro} micro-credits, {available} are available");
        return refuse("insufficient-funds", detail);
    }
    Ok(())
}

/// What the replay records of a submission's exhibits decide. One contradicted exhibit is enough;
/// only if every exhibit was replayed and is authentic does the submission stand.
fn verdict_of(exhibits: &[Exhibit], records: &[ReplayVerdict]) -> Option<(Ruling, String)> {
    if let Some(bad) = records
        .iter()
        .find(|record| record.verdict == Verdict::Contradicted)
    {
        let note = format!(
            "replayed on checkpoint {}, exhibit {} is contradicted",
            bad.checkpoint, bad.exhibit
        );
        return Some((Ruling::Upheld, note));
    }
    let stands = exhibits.iter().all(|exhibit| {
        let hash = exhibit.content_hash();
        records
            .iter()
            .any(|record| record.exhibit == hash && record.verdict == Verdict::Authentic)
    });
    let note = "replayed, every exhibit is authentic".to_owned();
    (stands && !exhibits.is_empty()).then_some((Ruling::Rejected, note))
}

/// Draws a panel for an open dispute that has none. Where there are too few jurors without a part
/// in the market it is tried again later, with the replay, whose checkpoint may be there by then.
fn ask_panel(tx: &mut Tx, config: &ServiceConfig, challenge_id: &str, now: Millis) -> Result<()> {
    let row = store::get(tx, challenge_id)?;
    if row.status != "open" || row.panel_id.is_some() {
        return Ok(());
    }
    let window = config.evidence.panel_window_ms;
    let ask = Convene {
        subject: subject_of(&row),
        size: SEATS,
        barred: vec![
            row.account_id.clone(),
            evidence::get(tx, &row.evidence_id)?.account_id,
        ],
        // Public and fixed before the draw; the panel adds a secret that was committed earlier.
        seed: Digest::of(format!("exhibit challenge {}", row.id).as_bytes()).0,
        note: Some(row.reason.clone()),
        now,
        commit_ms: window,
        reveal_ms: window,
    };
    let panel_id = convene(tx, config, &ask)?;
    let note = match &panel_id {
        Some(_) => "no replay decides it: a panel of three does",
        None => "no replay decides it, and no panel can be drawn yet: too few jurors",
    };
    if panel_id.is_none() {
        let payload = json!({"challenge_id": row.id}).to_string();
        let again = now.saturating_add(DRAW_AGAIN_MS);
        let key = format!("{}:{again}", row.id);
        jobs::enqueue(tx, DECIDE_CHALLENGE, &key, &payload, again)?;
    }
    let row = ExhibitChallenge {
        note: Some(note.to_owned()),
        panel_id,
        ..row
    };
    Ok(store::update(tx, &row)?)
}

fn subject_of(row: &ExhibitChallenge) -> Subject {
    Subject::Exhibit {
        evidence_id: row.evidence_id.clone(),
        challenge_id: row.id.clone(),
    }
}

/// Takes what the panel of a dispute said: a vote of one means strike. The settlement by which its
/// jurors are paid comes back, `None` where nothing was decided or the dispute was over before.
pub(crate) fn exhibit_ruled(
    tx: &mut Tx,
    config: &ServiceConfig,
    challenge_id: &str,
    outcome: PanelOutcome,
    now: Millis,
) -> Result<Option<Pi>> {
    let row = store::get(tx, challenge_id)?;
    if row.status != "open" {
        return Ok(None);
    }
    let PanelOutcome::Ruled { pi } = outcome else {
        leave_undecided(tx, row, now)?;
        return Ok(None);
    };
    let ruling = if pi.get() >= 0.5 {
        Ruling::Upheld
    } else {
        Ruling::Rejected
    };
    let note = format!(
        "a panel says {:.0} % that it is not what it says",
        pi.get() * 100.0
    );
    close(tx, config, challenge_id, (ruling, "panel", note), now)?;
    Ok(Some(pi))
}

/// A tie or a missed quorum decides nothing: the challenger's bond goes back, the exhibit stands.
fn leave_undecided(tx: &mut Tx, row: ExhibitChallenge, now: Millis) -> Result<()> {
    let bonds = bonds_account(tx, &row.market_id, now)?;
    let entries = vec![
        (bonds, -row.bond_micro),
        (row.account_id.clone(), row.bond_micro),
    ];
    post(tx, transfer_of(&row), now, "refund", &row.id, entries)?;
    let row = ExhibitChallenge {
        status: "undecided".to_owned(),
        decided_by: Some("panel".to_owned()),
        note: Some("the panel came to no ruling".to_owned()),
        decided_at: Some(now),
        ..row
    };
    store::update(tx, &row)?;
    tell(tx, now, &row, "exhibit-ruled")
}

/// The one transfer that closes a dispute; a second one would be refused by its name.
fn transfer_of(row: &ExhibitChallenge) -> String {
    format!("dispute-{}", row.id)
}

/// Closes an open dispute: divides the losing bond, strikes the submission if it is upheld. One
/// transaction; a dispute that is closed already stays as it is.
fn close(
    tx: &mut Tx,
    config: &ServiceConfig,
    challenge_id: &str,
    (ruling, by, note): (Ruling, &str, String),
    now: Millis,
) -> Result<()> {
    let row = store::get(tx, challenge_id)?;
    if row.status != "open" {
        return Ok(());
    }
    let exhibit = evidence::get(tx, &row.evidence_id)?;
    let upheld = ruling == Ruling::Upheld;
    let (lost, winner) = if upheld {
        (exhibit.bond_micro, row.account_id.clone())
    } else {
        (row.bond_micro, exhibit.account_id.clone())
    };
    let burn_bps = if config.defences.bond_burn {
        config.evidence.burn_bps
    } else {
        0
    };
    let split = split_bond(Micro(lost), burn_bps);
    // The challenger's own bond goes back with a win.
    let returned = if upheld { row.bond_micro } else { 0 };
    let bonds = bonds_account(tx, &row.market_id, now)?;
    let entries = vec![
        (bonds, -(lost + returned)),
        (winner, split.winner.get()),
        (row.account_id.clone(), returned),
        (TREASURY.to_owned(), split.burnt.get()),
    ];
    post(tx, transfer_of(&row), now, "dispute", &row.id, entries)?;
    let row = ExhibitChallenge {
        status: if upheld { "upheld" } else { "rejected" }.to_owned(),
        decided_by: Some(by.to_owned()),
        note: Some(note),
        burnt_micro: Some(split.burnt.get()),
        decided_at: Some(now),
        ..row
    };
    store::update(tx, &row)?;
    if upheld {
        strike(tx, exhibit, &row, now)?;
    }
    tell(tx, now, &row, "exhibit-ruled")
}

/// Takes a submission out of the market's exhibit set. It stays to be read, with the reason.
fn strike(tx: &mut Tx, exhibit: Evidence, row: &ExhibitChallenge, now: Millis) -> Result<()> {
    let why = row.note.as_deref().unwrap_or_default();
    let exhibit = Evidence {
        status: "struck".to_owned(),
        struck_at: Some(now),
        reason: Some(format!("struck after dispute {}: {why}", row.id)),
        ..exhibit
    };
    evidence::update(tx, &exhibit)?;
    let payload = json!({"market_id": row.market_id}).to_string();
    let key = format!("{REASSESS_MARKET}:{}", row.id);
    jobs::enqueue(tx, REASSESS_MARKET, &key, &payload, now)?;
    announce(tx, now, &exhibit, "evidence-struck")
}

fn tell(tx: &mut Tx, now: Millis, row: &ExhibitChallenge, kind: &str) -> Result<()> {
    let payload = json!({
        "market_id": row.market_id,
        "evidence_id": row.evidence_id,
        "challenge_id": row.id,
        "status": row.status,
    });
    publish(
        tx,
        now,
        &format!("market:{}", row.market_id),
        kind,
        &payload,
    )
}

fn view_of(row: ExhibitChallenge, account: String) -> ExhibitChallengeView {
    // Who sits is secret until the ruling, and so is where they sit.
    let panel_id = row.panel_id.filter(|_| row.status != "open");
    ExhibitChallengeView {
        id: row.id,
        evidence_id: row.evidence_id,
        account,
        reason: row.reason,
        bond_micro: row.bond_micro,
        status: row.status,
        decided_by: row.decided_by,
        panel_id,
        note: row.note,
        created_at: rfc3339(row.created_at),
        decided_at: row.decided_at.map(rfc3339),
    }
}
