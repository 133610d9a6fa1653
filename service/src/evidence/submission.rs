//! Taking a submission in: what it costs, which place it has, whether it is a copy.

use plumbline_access::Action;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::markets::{self, Market};
use plumbline_store::{Tx, accounts, commitments as store};

use super::check::{self, Reveal};
use super::{announce, bonds_account, commitments, is_live, queue_judging, reading};
use crate::accounts::account_of;
use crate::attachments;
use crate::commands::SubmitEvidence;
use crate::context::Context;
use crate::ledger::{TREASURY, post};
use crate::outcomes::require_binary;
use crate::settlement::refuse_evidence;
use crate::time::Millis;
use crate::trades::check_open;
use crate::views::{EvidenceFeeView, EvidenceView};
use crate::{Result, Service, ServiceError};

/// A checked submission that is not stored yet.
struct Submission {
    row: Evidence,
    handle: String,
    reveal: Option<Reveal>,
    attachments: Vec<String>,
    /// Ids of the transfers that it may need: its own, and that of one it displaces.
    transfers: (String, String),
}

impl Service {
    /// Takes evidence in: charges the fee, holds the stake and the bond, queues the judging.
    /// With a commitment it is a reveal, and has the commitment's place in the order.
    ///
    /// Errors, with nothing changed: `commitment-of-another`, `already-revealed`, `reveal-late`,
    /// `reveal-mismatch`, `market-closed`, `judging-overloaded`, `insufficient-funds`, and those of a malformed body.
    pub fn submit_evidence(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &SubmitEvidence,
    ) -> Result<EvidenceView> {
        self.allow(&ctx.actor, Action::SubmitEvidence)?;
        let submission = self.submission(ctx, market_id, cmd)?;
        let service = self.clone();
        let view = self.write_once(ctx, move |tx, now| submission.book(&service, tx, now))?;
        self.counters.evidence.add(1);
        Ok(view)
    }

    /// What the caller's next submission to a market costs.
    pub fn evidence_fee(&self, ctx: &Context, market_id: &str) -> Result<EvidenceFeeView> {
        self.allow(&ctx.actor, Action::ReadEvidenceFee)?;
        let (market_id, account) = (market_id.to_owned(), ctx.actor.account_id.clone());
        let submitted = self.read(move |tx| {
            markets::get(tx, &market_id)?;
            Ok(match account {
                Some(account) => evidence::count_by_account(tx, &market_id, &account)?,
                None => 0,
            })
        })?;
        let terms = &self.config.evidence;
        let grows = self.config.defences.escalating_fees;
        Ok(EvidenceFeeView {
            fee_micro: self.evidence_fee_after(submitted),
            submitted,
            base_micro: self.config.evidence_fee_micro,
            growth_bps: if grows {
                i64::from(terms.fee_growth_bps)
            } else {
                10_000
            },
            bond_micro: terms.bond_micro,
            commitment_bond_micro: terms.commitment_bond_micro,
            reveal_window_s: terms.reveal_window_ms as f64 / 1_000.0,
        })
    }

    fn submission(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &SubmitEvidence,
    ) -> Result<Submission> {
        let exhibits = check::exhibits(cmd)?;
        let id = self.new_id();
        let row = Evidence {
            priority_id: id.clone(),
            id,
            market_id: market_id.to_owned(),
            account_id: account_of(&ctx.actor)?,
            kind: cmd.kind.clone(),
            title: cmd.title.trim().to_owned(),
            body: cmd.body.clone(),
            exhibits: serde_json::to_string(&exhibits).map_err(ServiceError::internal)?,
            content_hash: Exhibit::set_hash(&exhibits),
            stake_micro: cmd.stake_micro,
            fee_micro: 0,
            status: "pending".to_owned(),
            shift: 0.0,
            log_odds_before: None,
            log_odds_after: None,
            locked_micro: 0,
            yes_micro: 0,
            no_micro: 0,
            judgements: "[]".to_owned(),
            replay: None,
            reason: None,
            created_at: 0,
            judged_at: None,
            bond_micro: self.config.evidence.bond_micro,
            priority_at: 0,
            commitment_id: None,
            attachments: "[]".to_owned(),
            held: false,
            released_at: None,
            struck_at: None,
            oracle_version: None,
        };
        Ok(Submission {
            row,
            handle: ctx.actor.handle.clone(),
            reveal: check::reveal(cmd)?,
            attachments: cmd.attachments.clone(),
            transfers: (self.new_id(), self.new_id()),
        })
    }
}

impl Submission {
    fn book(self, service: &Service, tx: &mut Tx, now: Millis) -> Result<EvidenceView> {
        let market = markets::get(tx, &self.row.market_id)?;
        require_binary(&market)?;
        refuse_evidence(&market)?;
        let revealed = match &self.reveal {
            Some(reveal) => Some(commitments::opened(tx, reveal, &self.row, now)?),
            None => None,
        };
        match &revealed {
            // It was committed to in time; orders may have stopped since.
            Some(_) if is_live(&market) => {}
            _ => check_open(&market, Some(now))?,
        }
        let submitted = evidence::count_by_account(tx, &market.id, &self.row.account_id)?;
        let row = Evidence {
            fee_micro: service.evidence_fee_after(submitted),
            attachments: attachments::listed(tx, &self.attachments)?,
            ..placed(self.row, revealed.as_ref(), now)
        };
        let row = resolve_copies(tx, &self.transfers.1, row, now)?;
        let row = Evidence {
            held: service.config.defences.commit_priority
                && commitments::is_preceded(tx, &row, now)?,
            ..row
        };
        if row.status == "pending" {
            let queue = &service.config.judging;
            queue.admit(tx, &market.id, revealed.is_some())?;
        }
        charge(tx, self.transfers.0, &market, &row, revealed.as_ref())?;
        evidence::insert(tx, &row)?;
        if row.status == "pending" && !row.held {
            queue_judging(tx, &row.id, now)?;
        }
        if let Some(commitment) = &revealed {
            store::close(tx, &commitment.id, "revealed", Some(&row.id))?;
            commitments::release_held(tx, &market.id, now)?;
        }
        announce(tx, now, &row, "evidence-submitted")?;
        let evidence = market.evidence + 1;
        markets::update(tx, &Market { evidence, ..market })?;
        reading::view_of(row, self.handle, None)
    }
}

/// The submission with its times: a reveal has the place of its commitment.
fn placed(row: Evidence, revealed: Option<&store::Commitment>, now: Millis) -> Evidence {
    match revealed {
        Some(commitment) => Evidence {
            created_at: now,
            priority_at: commitment.created_at,
            priority_id: commitment.id.clone(),
            commitment_id: Some(commitment.id.clone()),
            ..row
        },
        None => Evidence {
            created_at: now,
            priority_at: now,
            ..row
        },
    }
}

/// Of two submissions with the same exhibits the one with the older claim counts. The other is
/// a duplicate, even where it came first: then it still waits for this one's commitment.
fn resolve_copies(tx: &mut Tx, transfer_id: &str, row: Evidence, now: Millis) -> Result<Evidence> {
    let Some(known) = evidence::by_hash(tx, &row.market_id, &row.content_hash)? else {
        return Ok(row);
    };
    let older = (row.priority_at, &row.priority_id) < (known.priority_at, &known.priority_id);
    if !(older && known.held) {
        return Ok(Evidence {
            status: "duplicate".to_owned(),
            stake_micro: 0,
            bond_micro: 0,
            reason: Some(format!("the same exhibits came before, as {}", known.id)),
            ..row
        });
    }
    let reason = format!("the same exhibits were committed to before, by {}", row.id);
    displace(tx, transfer_id, known, now, reason)?;
    Ok(row)
}

/// Makes a submission that was not judged yet a duplicate; its stake and bond go back.
pub(super) fn displace(
    tx: &mut Tx,
    transfer_id: &str,
    row: Evidence,
    now: Millis,
    reason: String,
) -> Result<()> {
    give_back(tx, transfer_id, &row, 0, now)?;
    let row = Evidence {
        status: "duplicate".to_owned(),
        held: false,
        reason: Some(reason),
        judged_at: Some(now),
        ..row
    };
    evidence::update(tx, &row)?;
    announce(tx, now, &row, "evidence-judged")
}

/// Pays stake and bond of a submission that was not judged back, and so much of its fee.
pub(super) fn give_back(
    tx: &mut Tx,
    transfer_id: &str,
    row: &Evidence,
    fee_micro: i64,
    now: Millis,
) -> Result<()> {
    let market = markets::get(tx, &row.market_id)?;
    let bonds = bonds_account(tx, &market.id, now)?;
    let whole = row.stake_micro + row.bond_micro + fee_micro;
    let entries = vec![
        (market.escrow_id, -row.stake_micro),
        (bonds, -row.bond_micro),
        (TREASURY.to_owned(), -fee_micro),
        (row.account_id.clone(), whole),
    ];
    post(tx, transfer_id.to_owned(), now, "refund", &row.id, entries)
}

/// Takes fee, stake and bond; the bond of the commitment that it reveals goes back in the same transfer.
fn charge(
    tx: &mut Tx,
    transfer_id: String,
    market: &Market,
    row: &Evidence,
    revealed: Option<&store::Commitment>,
) -> Result<()> {
    let stake = if row.status == "pending" {
        row.stake_micro
    } else {
        0
    };
    let back = revealed.map_or(0, |commitment| commitment.bond_micro);
    let available = accounts::get(tx, &row.account_id)?
        .balance_micro
        .saturating_add(back);
    let needed = stake
        .saturating_add(row.fee_micro)
        .saturating_add(row.bond_micro);
    if needed > available {
        return Err(ServiceError::refused(
            "insufficient-funds",
            format!("stake, fee and bond are {needed} micro-credits, {available} are available"),
        ));
    }
    let bonds = bonds_account(tx, &market.id, row.created_at)?;
    let entries = vec![
        (row.account_id.clone(), back - needed),
        (market.escrow_id.clone(), stake),
        (bonds, row.bond_micro - back),
        (TREASURY.to_owned(), row.fee_micro),
    ];
    post(tx, transfer_id, row.created_at, "stake", &row.id, entries)
}
