//! Writing, paying for and taking back proposals.

use plumbline_access::Action;
use plumbline_governance::voting::proposal::{Event, draft};
use plumbline_governance::voting::tally::Tally;
use plumbline_governance::voting::tracks::{Track, TrackTerms};
use plumbline_store::Tx;
use plumbline_store::proposals::{self, Proposal};

use super::motion::{Motion, as_json};
use super::{LIVING, actions, track_of, view};
use crate::accounts::account_of;
use crate::commands::{CreateProposal, PayDeposit, ProposedAction};
use crate::context::Context;
use crate::policy::timestamp;
use crate::time::Millis;
use crate::views::{EffectView, Page, ProposalView, TrackView};
use crate::{Result, Service, ServiceConfig, ServiceError, page};

const MAX_TITLE: usize = 120;
const MAX_BODY: usize = 16 * 1024;
/// Proposals of one author that are not voted on or over yet.
const MAX_OWN: i64 = 5;
/// Votes on one track at once.
const MAX_VOTES: i64 = 20;

/// A proposal that has been checked, with what it would do.
pub(super) struct Written {
    pub(super) id: String,
    pub(super) track: Track,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) author: String,
    pub(super) action: ProposedAction,
    pub(super) effect: EffectView,
}

impl Service {
    /// Writes a proposal. Its effect is computed first and kept with it, so that it is there before
    /// anybody votes.
    ///
    /// # Errors
    /// `bad-proposal`, `wrong-track`, `too-many-proposals`, `already-proposed`, and those of the action.
    pub fn create_proposal(&self, ctx: &Context, cmd: &CreateProposal) -> Result<ProposalView> {
        self.allow(&ctx.actor, Action::CreateProposal)?;
        let author = account_of(&ctx.actor)?;
        check_text(cmd)?;
        let track = self.track_for(cmd)?;
        let action = self.check_action(track, &cmd.action)?;
        let effect = self.effect_of(&action)?;
        let written = Written {
            id: self.new_id(),
            track,
            title: cmd.title.trim().to_owned(),
            body: cmd.body.clone(),
            author,
            action,
            effect,
        };
        let (config, transfer_id) = (self.config.clone(), self.new_id());
        let deposit = checked_deposit(cmd.deposit_micro)?;
        self.write_once(ctx, move |tx, now| {
            let author = written.author.clone();
            if proposals::count_of_author(tx, &author, &["draft", "deposit"])? >= MAX_OWN {
                return Err(ServiceError::refused(
                    "too-many-proposals",
                    "five of your proposals wait for their deposits; withdraw one, or complete it",
                ));
            }
            let mut motion = insert(tx, &config, written, now)?;
            if deposit > 0 {
                pay(tx, &config, &mut motion, &author, deposit, transfer_id, now)?;
            }
            let row = motion.save(tx, now)?;
            view::whole(tx, row, Some(&author), now)
        })
    }

    /// What the effect of a proposal would be, without making one.
    pub fn preview_proposal(&self, ctx: &Context, cmd: &CreateProposal) -> Result<EffectView> {
        self.allow(&ctx.actor, Action::PreviewProposal)?;
        account_of(&ctx.actor)?;
        let action = self.check_action(self.track_for(cmd)?, &cmd.action)?;
        self.effect_of(&action)
    }

    /// Pays part of a proposal's deposit. When it is complete the vote begins.
    ///
    /// # Errors
    /// `deposit-over`, `deposit-too-large`, `bad-deposit`, `track-full`, `insufficient-funds`.
    pub fn pay_deposit(&self, ctx: &Context, id: &str, cmd: &PayDeposit) -> Result<ProposalView> {
        self.allow(&ctx.actor, Action::FundProposal)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        let amount = checked_deposit(cmd.amount_micro)?;
        let (config, transfer_id) = (self.config.clone(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let mut motion = Motion::load(tx, &id)?;
            pay(tx, &config, &mut motion, &account, amount, transfer_id, now)?;
            let row = motion.save(tx, now)?;
            view::whole(tx, row, Some(&account), now)
        })
    }

    /// Takes an own proposal back before its vote begins; deposits are returned.
    ///
    /// # Errors
    /// `not-withdrawable`, `forbidden`.
    pub fn withdraw_proposal(&self, ctx: &Context, id: &str) -> Result<ProposalView> {
        self.allow(&ctx.actor, Action::WithdrawProposal)?;
        let (account, id, config) = (account_of(&ctx.actor)?, id.to_owned(), self.config.clone());
        self.write_once(ctx, move |tx, now| {
            let mut motion = Motion::load(tx, &id)?;
            if motion.row.author_id != account {
                return Err(ServiceError::Forbidden {
                    needs: "the proposal's author".to_owned(),
                });
            }
            motion.step(tx, &config, &Event::Withdraw, now)?;
            let row = motion.save(tx, now)?;
            view::whole(tx, row, Some(&account), now)
        })
    }

    /// Proposals, newest first.
    ///
    /// # Errors
    /// `bad-track`, `bad-state`.
    pub fn proposals(
        &self,
        ctx: &Context,
        track: Option<&str>,
        state: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ProposalView>> {
        self.allow(&ctx.actor, Action::ListProposals)?;
        let track = track.map(track_of).transpose()?;
        check_state(state)?;
        let (state, before) = (state.map(str::to_owned), cursor.map(str::to_owned));
        let (limit, now) = (page::bounded(limit), self.now());
        self.read(move |tx| {
            let track = track.map(Track::as_str);
            let rows = proposals::list(
                tx,
                track,
                state.as_deref(),
                before.as_deref(),
                (limit + 1) as i64,
            )?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let items = page.items.into_iter().map(|row| view::line(tx, row, now));
            Ok(Page {
                items: items.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One proposal, with everything about it.
    pub fn proposal(&self, ctx: &Context, id: &str) -> Result<ProposalView> {
        self.allow(&ctx.actor, Action::ReadProposal)?;
        let (id, now, me) = (id.to_owned(), self.now(), ctx.actor.account_id.clone());
        self.read(move |tx| {
            let row = proposals::get(tx, &id)?;
            view::whole(tx, row, me.as_deref(), now)
        })
    }

    /// What each track asks for.
    pub fn tracks(&self, ctx: &Context) -> Result<Vec<TrackView>> {
        self.allow(&ctx.actor, Action::ListTracks)?;
        let terms = |track: Track| view::terms(track.as_str(), &self.terms_of(track));
        Ok(Track::ALL.iter().copied().map(terms).collect())
    }

    pub(super) fn terms_of(&self, track: Track) -> TrackTerms {
        terms_of(&self.config, track)
    }

    fn track_for(&self, cmd: &CreateProposal) -> Result<Track> {
        let own = actions::track(&cmd.action);
        let Some(name) = &cmd.track else {
            return Ok(own);
        };
        let given = track_of(name)?;
        let emergency = own == Track::Tighten && given == Track::EmergencyTighten;
        if given == own || emergency {
            return Ok(given);
        }
        Err(ServiceError::invalid(
            "wrong-track",
            format!("this action is decided on the track {}", own.as_str()),
        ))
    }
}

/// Terms of a track; without the defence nothing extends a vote.
pub(super) fn terms_of(config: &ServiceConfig, track: Track) -> TrackTerms {
    let mut terms = config.voting.tracks.of(track);
    if !config.defences.late_swing {
        terms.extensions = 0;
    }
    terms
}

/// Stores a new proposal, of which there is no other about the same thing.
pub(super) fn insert(
    tx: &mut Tx,
    config: &ServiceConfig,
    written: Written,
    now: Millis,
) -> Result<Motion> {
    let subject = actions::subject(&written.action);
    if let Some((subject, again)) = &subject {
        let states = if *again { &LIVING[..] } else { &ONCE[..] };
        if let Some(other) = proposals::about(tx, subject, states)? {
            return Err(ServiceError::refused(
                "already-proposed",
                format!("the proposal {other} is about the same; there is one at a time"),
            ));
        }
    }
    let terms = terms_of(config, written.track);
    let state = draft(&terms, timestamp(now)?);
    let row = Proposal {
        id: written.id,
        track: written.track.as_str().to_owned(),
        title: written.title,
        body: written.body,
        author_id: written.author,
        action: as_json(&written.action)?,
        subject: subject.map(|(subject, _)| subject),
        terms: as_json(&terms)?,
        state: state.as_str().to_owned(),
        machine: as_json(&state)?,
        due_at: state.deadline().map(|at| at.as_millisecond()),
        tally: as_json(&Tally::default())?,
        simulated: as_json(&written.effect)?,
        outcome: None,
        created_at: now,
        voting_at: None,
        ended_at: None,
    };
    proposals::insert(tx, &row)?;
    let mut motion = Motion::of(row)?;
    motion.note(tx, "", now)?;
    Ok(motion)
}

/// States after which a thing is not proposed a second time.
const ONCE: [&str; 7] = [
    "draft",
    "deposit",
    "voting",
    "confirming",
    "queued",
    "rejected",
    "executed",
];

fn pay(
    tx: &mut Tx,
    config: &ServiceConfig,
    motion: &mut Motion,
    account: &str,
    amount: i64,
    transfer_id: String,
    now: Millis,
) -> Result<()> {
    let event = Event::Deposit {
        amount_micro: u64::try_from(amount).unwrap_or(0),
    };
    motion.step(tx, config, &event, now)?;
    if motion.state.vote().is_some()
        && proposals::count_on_track(tx, &motion.row.track, &["voting", "confirming"])? >= MAX_VOTES
    {
        return Err(ServiceError::refused(
            "track-full",
            "twenty votes are under way on this track; pay the rest when one has ended",
        ));
    }
    motion.pay(tx, account, amount, transfer_id, now)
}

fn checked_deposit(amount: i64) -> Result<i64> {
    if (0..=i64::MAX / 4).contains(&amount) {
        return Ok(amount);
    }
    Err(ServiceError::invalid(
        "bad-deposit",
        "a deposit is above zero",
    ))
}

fn check_state(state: Option<&str>) -> Result<()> {
    let ended = ["executed", "expired", "rejected", "cancelled"];
    if state.is_none_or(|state| LIVING.contains(&state) || ended.contains(&state)) {
        return Ok(());
    }
    Err(ServiceError::invalid(
        "bad-state",
        "no proposal is ever in this state",
    ))
}

fn check_text(cmd: &CreateProposal) -> Result<()> {
    let title = cmd.title.trim();
    let length = title.chars().count();
    if !(1..=MAX_TITLE).contains(&length) || title.chars().any(char::is_control) {
        return Err(ServiceError::invalid(
            "bad-proposal",
            "a title has 1 to 120 characters, on one line",
        ));
    }
    if cmd.body.len() > MAX_BODY {
        return Err(ServiceError::invalid(
            "bad-proposal",
            "a body has at most 16 KiB",
        ));
    }
    Ok(())
}
