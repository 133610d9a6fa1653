//! Committing, revealing, denouncing.

use plumbline_access::Action;
use plumbline_market::Digest;
use plumbline_market::panel::{Event, Opening, Vote, step};
use plumbline_store::jurors::{self, Juror};
use plumbline_store::panels::{self, Seat as SeatRow};
use plumbline_store::{Tx, accounts};
use serde_json::json;

use super::deadlines::conflicted;
use super::rows::Rows;
use super::view::panel_view;
use super::{JURY, TOPIC, panel_error, time};
use crate::accounts::account_of;
use crate::commands::{CommitVote, Denounce, RevealVote};
use crate::context::Context;
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::time::Millis;
use crate::views::PanelView;
use crate::{Result, Service, ServiceConfig, ServiceError};

/// Longest justification, bytes.
const MAX_JUSTIFICATION: usize = 4 * 1024;

impl Service {
    /// Commits the actor's vote. A commitment stands: it cannot be replaced.
    ///
    /// # Errors
    /// `bad-commitment`; `no-seat`, `already-committed`, `commits-over`, `panel-over`,
    /// `seat-lost`; `conflict-of-interest` for a juror who took a side after the draw.
    pub fn commit_vote(
        &self,
        ctx: &Context,
        panel_id: &str,
        cmd: &CommitVote,
    ) -> Result<PanelView> {
        self.allow(&ctx.actor, Action::CommitVote)?;
        let account = account_of(&ctx.actor)?;
        let commitment: Digest = cmd
            .commitment
            .parse()
            .map_err(|_| ServiceError::invalid("bad-commitment", "64 lower-case hex digits"))?;
        let (id, config) = (panel_id.to_owned(), self.config.clone());
        self.write_once(ctx, move |tx, now| {
            let mut rows = Rows::load(tx, &id)?;
            let event = Event::Commit {
                account: account.clone(),
                commitment,
            };
            let next = step(&rows.machine()?, &event, time(now)).map_err(panel_error)?;
            check_bar(tx, &config, &rows, &account)?;
            rows.store(tx, &next, now)?;
            publish(tx, now, TOPIC, "vote-committed", &json!({}))?;
            panel_view(tx, rows, Some(&account), true)
        })
    }

    /// Opens the actor's commitment.
    ///
    /// # Errors
    /// `bad-vote`, `bad-nonce`, `bad-justification`, `bad-opening`; `no-seat`,
    /// `reveals-not-open`, `nothing-committed`, `already-revealed`, `panel-over`, `seat-lost`,
    /// `conflict-of-interest`.
    pub fn reveal_vote(
        &self,
        ctx: &Context,
        panel_id: &str,
        cmd: &RevealVote,
    ) -> Result<PanelView> {
        self.allow(&ctx.actor, Action::RevealVote)?;
        let account = account_of(&ctx.actor)?;
        let opening = opening_of(cmd)?;
        let (id, config, cmd) = (panel_id.to_owned(), self.config.clone(), cmd.clone());
        self.write_once(ctx, move |tx, now| {
            let mut rows = Rows::load(tx, &id)?;
            if !config.defences.vote_commitments {
                any_opening_fits(&mut rows, &account, &opening)?;
            }
            let event = Event::Reveal {
                account: account.clone(),
                opening,
            };
            let next = step(&rows.machine()?, &event, time(now)).map_err(panel_error)?;
            check_bar(tx, &config, &rows, &account)?;
            let seat = rows.seat_mut(&account)?;
            seat.nonce = Some(cmd.nonce);
            seat.justification = Some(cmd.justification);
            rows.store(tx, &next, now)?;
            publish(tx, now, TOPIC, "vote-revealed", &json!({}))?;
            panel_view(tx, rows, Some(&account), true)
        })
    }

    /// Ends a juror's seat by showing what the juror voted while votes are secret. The actor
    /// gets half of the deposit, the treasury the other half.
    ///
    /// # Errors
    /// `bad-opening` for anything that is not the opening of a seat's commitment, whoever sits;
    /// `own-seat`; `commits-over`, `panel-over`; `denouncements-off`.
    pub fn denounce(&self, ctx: &Context, panel_id: &str, cmd: &Denounce) -> Result<PanelView> {
        self.allow(&ctx.actor, Action::DenounceJuror)?;
        let actor = account_of(&ctx.actor)?;
        if !self.config.defences.denouncement {
            return Err(ServiceError::refused(
                "denouncements-off",
                "denouncements are switched off here",
            ));
        }
        let opening = opening_of(&RevealVote {
            vote_bps: cmd.vote_bps,
            cannot_tell: cmd.cannot_tell,
            nonce: cmd.nonce.clone(),
            justification: cmd.justification.clone(),
        })?;
        let (id, juror, transfer_id) = (panel_id.to_owned(), cmd.account.clone(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let account = account_named(tx, &juror)?;
            if account == actor {
                return Err(ServiceError::refused(
                    "own-seat",
                    "nobody denounces themselves",
                ));
            }
            let mut rows = Rows::load(tx, &id)?;
            let event = Event::Denounce {
                account: account.clone(),
                opening,
            };
            let next = step(&rows.machine()?, &event, time(now)).map_err(panel_error)?;
            rows.store(tx, &next, now)?;
            take_deposit(tx, &mut rows, &account, &actor, transfer_id, now)?;
            publish(tx, now, TOPIC, "seat-denounced", &json!({}))?;
            panel_view(tx, rows, Some(&actor), true)
        })
    }

    /// The commitment to a vote of the actor's, for forms; nothing is stored.
    ///
    /// # Errors
    /// `bad-vote`, `bad-nonce`, `bad-justification`.
    pub fn vote_commitment(
        &self,
        ctx: &Context,
        panel_id: &str,
        cmd: &RevealVote,
    ) -> Result<String> {
        let account = account_of(&ctx.actor)?;
        let opening = opening_of(cmd)?;
        Ok(opening.commitment(panel_id, &account).to_string())
    }

    /// A nonce for a vote, 64 hex digits.
    pub fn fresh_nonce(&self) -> Result<String> {
        Ok(Digest(self.random_seed()?).to_string())
    }
}

/// Makes the commitment of a seat the one that this opening opens.
fn any_opening_fits(rows: &mut Rows, account: &str, opening: &Opening) -> Result<()> {
    let commitment = opening.commitment(&rows.panel.id, account).to_string();
    let seat = rows.seat_mut(account)?;
    seat.commitment = seat.commitment.take().map(|_| commitment);
    Ok(())
}

/// Refuses a juror who has taken a side since the draw. The seat itself is lost at the panel's
/// next deadline: what is refused changes nothing.
fn check_bar(tx: &mut Tx, config: &ServiceConfig, rows: &Rows, account: &str) -> Result<()> {
    if conflicted(tx, config, rows)?
        .iter()
        .any(|one| one == account)
    {
        return Err(ServiceError::refused(
            "conflict-of-interest",
            "you have taken a side in this case since the draw, and lose the seat",
        ));
    }
    Ok(())
}

fn opening_of(cmd: &RevealVote) -> Result<Opening> {
    let vote = match (cmd.vote_bps, cmd.cannot_tell) {
        (Some(bps), false) => Vote::of_bps(bps).map_err(panel_error)?,
        (None, true) => Vote::CannotTell,
        _ => {
            return Err(ServiceError::invalid(
                "bad-vote",
                "give vote_bps, or set cannot_tell, and not both",
            ));
        }
    };
    let nonce = cmd
        .nonce
        .parse()
        .map_err(|_| ServiceError::invalid("bad-nonce", "a nonce is 64 lower-case hex digits"))?;
    if cmd.justification.len() > MAX_JUSTIFICATION {
        return Err(ServiceError::invalid(
            "bad-justification",
            "a justification has at most 4096 bytes",
        ));
    }
    Ok(Opening {
        vote,
        nonce,
        justification: Digest::of(cmd.justification.as_bytes()),
    })
}

/// The id behind a handle or an id. One that nobody has simply holds no seat.
fn account_named(tx: &mut Tx, name: &str) -> Result<String> {
    let found = accounts::by_handle(tx, name)?;
    Ok(found.map_or_else(|| name.to_owned(), |account| account.id))
}

fn take_deposit(
    tx: &mut Tx,
    rows: &mut Rows,
    account: &str,
    by: &str,
    transfer_id: String,
    now: Millis,
) -> Result<()> {
    let seat = rows.seat_mut(account)?;
    let deposit = seat.deposit_micro;
    let row = SeatRow {
        denounced_by: Some(by.to_owned()),
        slashed_micro: deposit,
        ..seat.clone()
    };
    panels::update_seat(tx, &row)?;
    *seat = row;
    let juror = jurors::get(tx, account)?
        .ok_or_else(|| ServiceError::internal("a seat without a juror"))?;
    jurors::update(
        tx,
        &Juror {
            stake_micro: juror.stake_micro - deposit,
            locked_micro: juror.locked_micro - deposit,
            ..juror
        },
    )?;
    let bounty = deposit / 2;
    let entries = vec![
        (JURY.to_owned(), -deposit),
        (by.to_owned(), bounty),
        (TREASURY.to_owned(), deposit - bounty),
    ];
    post(
        tx,
        transfer_id,
        now,
        "denouncement",
        &rows.panel.id,
        entries,
    )
}
