//! Commitments: a place in the order of judging, taken before the exhibits are shown.

use plumbline_access::Action;
use plumbline_market::digest::Digest;
use plumbline_market::submission::{commitment as commitment_of, nonce_is_valid};
use plumbline_oracle::exhibit::Exhibit;
use plumbline_store::commitments::{self as store, Commitment};
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::{Tx, accounts, markets};
use serde_json::json;

use super::check::{self, Reveal};
use super::{bonds_account, is_live, queue_judging};
use crate::accounts::account_of;
use crate::commands::{CommitEvidence, SubmitEvidence};
use crate::context::Context;
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::outcomes::require_binary;
use crate::settlement::refuse_evidence;
use crate::time::{Millis, rfc3339};
use crate::trades::check_open;
use crate::views::CommitmentView;
use crate::{Result, Service, ServiceError};

/// Most commitments that an account may have open in a market.
const MAX_OPEN: i64 = 8;
/// Commitments that lapse in one look, and held submissions let go in one read.
const CHUNK: i64 = 200;

impl Service {
    /// Commits to evidence that is revealed within the window: holds a small bond.
    ///
    /// Errors: `bad-commitment`, `too-many-commitments`, `market-closed`, `insufficient-funds`,
    /// `conflict` for one that the account made before.
    pub fn commit_evidence(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &CommitEvidence,
    ) -> Result<CommitmentView> {
        self.allow(&ctx.actor, Action::CommitEvidence)?;
        cmd.commitment.parse::<Digest>().map_err(|error| {
            ServiceError::invalid("bad-commitment", format!("commitment: {error}"))
        })?;
        let terms = self.config.evidence;
        let (handle, transfer_id) = (ctx.actor.handle.clone(), self.new_id());
        let row = Commitment {
            id: self.new_id(),
            market_id: market_id.to_owned(),
            account_id: account_of(&ctx.actor)?,
            commitment: cmd.commitment.clone(),
            bond_micro: terms.commitment_bond_micro,
            status: "open".to_owned(),
            created_at: 0,
            reveal_by: 0,
            evidence_id: None,
        };
        self.write_once(ctx, move |tx, now| {
            let market = markets::get(tx, &row.market_id)?;
            require_binary(&market)?;
            refuse_evidence(&market)?;
            check_open(&market, Some(now))?;
            if store::count_open(tx, &row.market_id, &row.account_id)? >= MAX_OPEN {
                return Err(ServiceError::refused(
                    "too-many-commitments",
                    format!("reveal one first: {MAX_OPEN} are open in this market"),
                ));
            }
            let row = Commitment {
                created_at: now,
                reveal_by: now.saturating_add(terms.reveal_window_ms),
                ..row
            };
            hold_bond(tx, transfer_id, &row)?;
            store::insert(tx, &row)?;
            announce(tx, now, &row, "commitment")?;
            Ok(view_of(row, handle))
        })
    }

    /// Commits to a submission that the caller has already written; nothing of it is kept.
    ///
    /// Errors: those of [`Service::commit_evidence`] and of a malformed submission, `bad-nonce`.
    pub fn commit_submission(
        &self,
        ctx: &Context,
        market_id: &str,
        submission: &SubmitEvidence,
        nonce: &str,
    ) -> Result<CommitmentView> {
        let hash = Exhibit::set_hash(&check::exhibits(submission)?);
        if !nonce_is_valid(nonce) {
            return Err(check::bad_nonce());
        }
        let account = account_of(&ctx.actor)?;
        let commitment = commitment_of(market_id, &account, nonce, &hash).to_string();
        self.commit_evidence(ctx, market_id, &CommitEvidence { commitment })
    }

    /// Forfeits the bonds of commitments that were not revealed in time, and lets go what waited
    /// for them. Called on every tick; each is found by its deadline in the store.
    pub(crate) fn expire_commitments(&self) -> Result<()> {
        loop {
            let now = self.now();
            let due = self.read(|tx| Ok(store::due(tx, now, CHUNK)?))?;
            let mut expired = false;
            for row in due {
                let transfer_id = self.new_id();
                expired |= self.write_at(move |tx, now| expire(tx, &row.id, &transfer_id, now))?;
            }
            // Those of a market that is over are given back with all else that it holds.
            if !expired {
                return Ok(());
            }
        }
    }
}

fn hold_bond(tx: &mut Tx, transfer_id: String, row: &Commitment) -> Result<()> {
    let available = accounts::get(tx, &row.account_id)?.balance_micro;
    if row.bond_micro > available {
        return Err(ServiceError::refused(
            "insufficient-funds",
            format!(
                "the bond is {} micro-credits, {available} are available",
                row.bond_micro
            ),
        ));
    }
    let bonds = bonds_account(tx, &row.market_id, row.created_at)?;
    let entries = vec![
        (row.account_id.clone(), -row.bond_micro),
        (bonds, row.bond_micro),
    ];
    post(tx, transfer_id, row.created_at, "bond", &row.id, entries)
}

/// Whether the commitment was open, too late, and its market is not over.
fn expire(tx: &mut Tx, id: &str, transfer_id: &str, now: Millis) -> Result<bool> {
    let row = store::get(tx, id)?;
    let live = is_live(&markets::get(tx, &row.market_id)?);
    if row.status != "open" || row.reveal_by >= now || !live {
        return Ok(false);
    }
    store::close(tx, id, "expired", None)?;
    let bonds = bonds_account(tx, &row.market_id, now)?;
    let entries = vec![
        (bonds, -row.bond_micro),
        (TREASURY.to_owned(), row.bond_micro),
    ];
    post(tx, transfer_id.to_owned(), now, "forfeit", id, entries)?;
    release_held(tx, &row.market_id, now)?;
    announce(tx, now, &row, "commitment-expired")?;
    Ok(true)
}

/// The open commitment that a submission reveals. Errors: see [`Service::submit_evidence`].
pub(super) fn opened(
    tx: &mut Tx,
    reveal: &Reveal,
    row: &Evidence,
    now: Millis,
) -> Result<Commitment> {
    let found = store::get(tx, &reveal.commitment_id)?;
    let refuse = |code, detail: &str| Err(ServiceError::refused(code, detail));
    if found.account_id != row.account_id || found.market_id != row.market_id {
        return refuse(
            "commitment-of-another",
            "this commitment was made by another account, or in another market",
        );
    }
    if found.status == "revealed" {
        return refuse("already-revealed", "this commitment was revealed before");
    }
    if found.status != "open" || now > found.reveal_by {
        return refuse(
            "reveal-late",
            "the time to reveal this commitment is over; submit without it",
        );
    }
    let again = commitment_of(
        &row.market_id,
        &row.account_id,
        &reveal.nonce,
        &row.content_hash,
    );
    if again.to_string() != found.commitment {
        return refuse(
            "reveal-mismatch",
            "nonce and exhibits do not give this commitment",
        );
    }
    Ok(found)
}

/// Whether a commitment of somebody, older than a submission's claim, may still be revealed.
pub(super) fn is_preceded(tx: &mut Tx, row: &Evidence, now: Millis) -> Result<bool> {
    if row.status != "pending" {
        return Ok(false);
    }
    let oldest = store::oldest_open(tx, &row.market_id, now)?;
    Ok(oldest.is_some_and(|oldest| {
        (oldest.created_at, &oldest.id) < (row.priority_at, &row.priority_id)
    }))
}

/// Queues the judging of every held submission that no open commitment precedes any more, the
/// oldest claim first. Jobs are done in the order in which they were queued.
pub(super) fn release_held(tx: &mut Tx, market_id: &str, now: Millis) -> Result<()> {
    let oldest = store::oldest_open(tx, market_id, now)?;
    loop {
        let rows = evidence::held(tx, market_id, CHUNK)?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            let waits = oldest.as_ref().is_some_and(|oldest| {
                (oldest.created_at, &oldest.id) < (row.priority_at, &row.priority_id)
            });
            if waits {
                return Ok(());
            }
            evidence::update(
                tx,
                &Evidence {
                    held: false,
                    ..row.clone()
                },
            )?;
            queue_judging(tx, &row.id, now)?;
        }
    }
}

fn announce(tx: &mut Tx, now: Millis, row: &Commitment, kind: &str) -> Result<()> {
    let payload = json!({
        "market_id": row.market_id,
        "commitment_id": row.id,
        "reveal_by": rfc3339(row.reveal_by),
    });
    publish(
        tx,
        now,
        &format!("market:{}", row.market_id),
        kind,
        &payload,
    )
}

fn view_of(row: Commitment, account: String) -> CommitmentView {
    CommitmentView {
        id: row.id,
        market_id: row.market_id,
        account,
        commitment: row.commitment,
        status: row.status,
        bond_micro: row.bond_micro,
        created_at: rfc3339(row.created_at),
        reveal_by: rfc3339(row.reveal_by),
        evidence_id: row.evidence_id,
    }
}

impl Service {
    /// A market's open commitments, the oldest first, at most 200: what judging waits for.
    pub fn open_commitments(&self, ctx: &Context, market_id: &str) -> Result<Vec<CommitmentView>> {
        self.allow(&ctx.actor, Action::ListCommitments)?;
        let market_id = market_id.to_owned();
        self.read(move |tx| {
            markets::get(tx, &market_id)?;
            let mut views = Vec::new();
            for row in store::open(tx, &market_id, CHUNK)? {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                views.push(view_of(row, handle));
            }
            Ok(views)
        })
    }
}
