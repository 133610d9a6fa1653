//! Panels as they are shown: to a juror the case, to others the deadlines, to all the whole
//! record once it is over.

use plumbline_access::Action;
use plumbline_market::Digest;
use plumbline_market::panel::quorum;
use plumbline_market::sortition::Candidate;
use plumbline_store::panels::{self, Seat as SeatRow};
use plumbline_store::{Tx, accounts, gold};

use super::convene::draw_seed;
use super::dispatch::subject_of;
use super::rows::Rows;
use super::snapshot::Snapshot;
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::{CandidateView, DrawView, Page, PanelSubject, PanelView, SeatView};
use crate::{Result, Service, ServiceError, page};

impl Service {
    /// Panels that are over, or those with a seat of the actor's, newest first.
    pub fn panels(
        &self,
        ctx: &Context,
        own: bool,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<PanelView>> {
        self.allow(&ctx.actor, Action::ListPanels)?;
        let (before, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        let me = ctx.actor.account_id.clone();
        let rows_wanted = (limit + 1) as i64;
        self.read(move |tx| {
            let found = match (&me, own) {
                (Some(me), true) => panels::of_juror(tx, me, before.as_deref(), rows_wanted)?
                    .iter()
                    .map(|id| Ok(panels::get(tx, id)?))
                    .collect::<Result<_>>()?,
                (None, true) => return Err(ServiceError::Unauthenticated),
                (_, false) => panels::listed(tx, before.as_deref(), rows_wanted)?,
            };
            let page = page::cut(found, limit, |row| row.id.clone(), |row| row);
            let items = page.items.into_iter().map(|row| {
                let rows = Rows::of(tx, row)?;
                panel_view(tx, rows, me.as_deref(), false)
            });
            Ok(Page {
                items: items.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One panel.
    pub fn panel(&self, ctx: &Context, id: &str) -> Result<PanelView> {
        self.allow(&ctx.actor, Action::ReadPanel)?;
        let (id, me) = (id.to_owned(), ctx.actor.account_id.clone());
        self.read(move |tx| {
            let rows = Rows::load(tx, &id)?;
            panel_view(tx, rows, me.as_deref(), true)
        })
    }
}

/// The view for `me`; without `whole` it is a line of a list.
pub(super) fn panel_view(
    tx: &mut Tx,
    rows: Rows,
    me: Option<&str>,
    whole: bool,
) -> Result<PanelView> {
    let seat = me.and_then(|me| rows.seat(me)).cloned();
    let shown = rows.panel.listed || seat.is_some();
    let panel = &rows.panel;
    let mut view = PanelView {
        id: panel.id.clone(),
        // A panel that others may not see never looks further than its deadlines.
        status: if shown {
            panel.status.clone()
        } else {
            "closed".to_owned()
        },
        size: panel.shown_size,
        quorum: quorum(usize::try_from(panel.shown_size).unwrap_or(0)) as i64,
        drawn_at: rfc3339(panel.drawn_at),
        commit_by: rfc3339(panel.commit_by),
        reveal_by: rfc3339(panel.reveal_by),
        ended_at: None,
        settled_at: None,
        pi: None,
        final_pi: None,
        subject: None,
        seat: seat.map(|seat| seat_view(tx, seat)).transpose()?,
        case: None,
        seats: Vec::new(),
        draw: None,
    };
    if shown {
        view.ended_at = panel.ended_at.map(rfc3339);
        view.settled_at = panel.settled_at.map(rfc3339);
    }
    if shown && whole {
        view.case = Some(Snapshot::parse(&panel.snapshot)?.view(tx)?);
    }
    if panel.listed {
        view.pi = panel.pi.map(|pi| pi as f64 / 1e9);
        view.final_pi = panel.final_pi.map(|pi| pi as f64 / 1e9);
        view.subject = Some(subject_view(&rows)?);
    }
    if panel.listed && whole {
        view.draw = draw_view(tx, &rows)?;
        let seats = rows.seats.into_iter().map(|seat| seat_view(tx, seat));
        view.seats = seats.collect::<Result<_>>()?;
    }
    Ok(view)
}

fn subject_view(rows: &Rows) -> Result<PanelSubject> {
    // Checked to be whole before it is shown.
    subject_of(rows)?;
    let panel = &rows.panel;
    Ok(PanelSubject {
        kind: panel.subject.clone(),
        market_id: panel.market_id.clone(),
        round: panel.round,
        evidence_id: panel.evidence_id.clone(),
        challenge_id: panel.challenge_id.clone(),
    })
}

fn seat_view(tx: &mut Tx, seat: SeatRow) -> Result<SeatView> {
    let handle = |tx: &mut Tx, id: &str| -> Result<String> { Ok(accounts::get(tx, id)?.handle) };
    Ok(SeatView {
        account: handle(tx, &seat.account_id)?,
        denounced_by: seat
            .denounced_by
            .as_deref()
            .map(|id| handle(tx, id))
            .transpose()?,
        cannot_tell: seat.state == "revealed" && seat.vote_bps.is_none(),
        account_id: seat.account_id,
        deposit_micro: seat.deposit_micro,
        state: seat.state,
        commitment: seat.commitment,
        vote_bps: seat.vote_bps,
        nonce: seat.nonce,
        justification: seat.justification,
        verdict: seat.verdict,
        paid_micro: seat.paid_micro,
        slashed_micro: seat.slashed_micro,
    })
}

/// Everything that drawing again needs.
fn draw_view(tx: &mut Tx, rows: &Rows) -> Result<Option<DrawView>> {
    let Some(number) = rows.panel.secret_number else {
        return Ok(None);
    };
    let secret = gold::secret(tx, number)?;
    let public: Digest = rows
        .panel
        .public_seed
        .parse()
        .map_err(ServiceError::internal)?;
    let label = subject_of(rows)?.label();
    let candidates: Vec<Candidate> =
        serde_json::from_str(&rows.panel.candidates).map_err(ServiceError::internal)?;
    let candidate = |one: Candidate| CandidateView {
        account_id: one.account,
        weight: one.weight,
    };
    Ok(Some(DrawView {
        seed: Digest(draw_seed(&public.0, &secret.secret, &label)?).to_string(),
        public_seed: rows.panel.public_seed.clone(),
        secret_number: number,
        secret_commitment: secret.commitment,
        secret_committed_at: rfc3339(secret.created_at),
        secret: secret.secret,
        label,
        candidates: candidates.into_iter().map(candidate).collect(),
    }))
}
