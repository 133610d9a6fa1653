//! What everybody may see of a proposal.

use plumbline_governance::voting::proposal::State;
use plumbline_governance::voting::tracks::TrackTerms;
use plumbline_store::proposals::{self, Proposal};
use plumbline_store::{Tx, accounts, ballots};

use super::motion::Motion;
use crate::policy::timestamp;
use crate::time::{Millis, rfc3339};
use crate::views::{OwnVote, ProposalView, StepView, TallyView, TrackView};
use crate::{Result, ServiceError};

/// A line of a list: without text, effect and life.
pub(super) fn line(tx: &mut Tx, row: Proposal, now: Millis) -> Result<ProposalView> {
    let motion = Motion::of(row)?;
    let row = &motion.row;
    let vote = motion.state.vote();
    let paid = proposals::deposits(tx, &row.id)?;
    let outcome = row.outcome.as_deref().map(serde_json::from_str);
    Ok(ProposalView {
        id: row.id.clone(),
        track: row.track.clone(),
        title: row.title.clone(),
        body: String::new(),
        author: accounts::get(tx, &row.author_id)?.handle,
        action: None,
        state: row.state.clone(),
        ended_by: ended_by(&motion.state)?,
        deposit_paid_micro: paid.iter().map(|one| one.amount_micro).sum(),
        terms: terms(&row.track, &motion.terms),
        voting_since: row.voting_at.map(rfc3339),
        voting_until: vote.map(|vote| rfc3339(vote.until.as_millisecond())),
        extensions: vote.map_or(0, |vote| vote.extensions),
        due_at: motion
            .state
            .deadline()
            .map(|at| rfc3339(at.as_millisecond())),
        tally: tally(&motion, now)?,
        effect: None,
        outcome: outcome.transpose().map_err(ServiceError::internal)?,
        steps: Vec::new(),
        own: None,
        created_at: rfc3339(row.created_at),
        ended_at: row.ended_at.map(rfc3339),
    })
}

/// Everything about a proposal, with the reader's own part in it.
pub(super) fn whole(
    tx: &mut Tx,
    row: Proposal,
    reader: Option<&str>,
    now: Millis,
) -> Result<ProposalView> {
    let motion = Motion::of(row.clone())?;
    let simulated = serde_json::from_str(&row.simulated).map_err(ServiceError::internal)?;
    let steps = proposals::steps(tx, &row.id)?
        .into_iter()
        .map(|step| StepView {
            state: step.state,
            note: step.note,
            at: rfc3339(step.at),
        });
    let steps = steps.collect();
    let own = reader.map(|me| own(tx, &row.id, me)).transpose()?;
    Ok(ProposalView {
        body: row.body.clone(),
        action: Some(motion.action()?),
        effect: Some(simulated),
        steps,
        own,
        ..line(tx, row, now)?
    })
}

fn own(tx: &mut Tx, proposal_id: &str, account_id: &str) -> Result<OwnVote> {
    let elector = ballots::elector(tx, proposal_id, account_id)?;
    let vote = ballots::vote_of(tx, proposal_id, account_id)?;
    let delegate = match elector.as_ref().and_then(|row| row.delegate_id.as_deref()) {
        Some(id) => Some(accounts::get(tx, id)?.handle),
        None => None,
    };
    Ok(OwnVote {
        stake_micro: elector.map_or(0, |elector| elector.stake_micro),
        delegate,
        conviction: vote.as_ref().map(|vote| vote.conviction),
        side: vote.map(|vote| vote.side),
    })
}

/// A track's terms as the API gives them.
pub(super) fn terms(track: &str, terms: &TrackTerms) -> TrackView {
    TrackView {
        track: track.to_owned(),
        deposit_micro: terms.deposit_micro,
        deposit_s: terms.deposit_s,
        quorum_bps: terms.quorum_bps.get(),
        approval_start_bps: terms.approval.start_bps.get(),
        approval_end_bps: terms.approval.end_bps.get(),
        voting_s: terms.voting_s,
        confirm_s: terms.confirm_s,
        delay_s: terms.delay_s,
        expiry_s: terms.expiry_s,
        swing_s: terms.swing_s,
    }
}

fn tally(motion: &Motion, now: Millis) -> Result<Option<TallyView>> {
    let Some(since) = motion.row.voting_at else {
        return Ok(None);
    };
    let (tally, terms) = (&motion.tally, &motion.terms);
    let until = motion.row.ended_at.unwrap_or(now);
    let elapsed = timestamp(until)?
        .duration_since(timestamp(since)?)
        .as_secs();
    let elapsed = u64::try_from(elapsed).unwrap_or(0);
    Ok(Some(TallyView {
        for_micro: tally.for_stake_micro,
        against_micro: tally.against_stake_micro,
        abstain_micro: tally.abstain_stake_micro,
        electorate_micro: tally.electorate_micro,
        approval_bps: tally.approval_bps().get(),
        needed_bps: terms.approval.needed(elapsed, terms.voting_s).get(),
        support_bps: tally.support_bps().get(),
        quorum_bps: terms.quorum_bps.get(),
        counted: tally.counted,
        delegated: tally.delegated,
    }))
}

/// The stable word for why a proposal ended as it did.
fn ended_by(state: &State) -> Result<Option<String>> {
    let word = match state {
        State::Expired { what, .. } => serde_json::to_value(what),
        State::Rejected { why, .. } => serde_json::to_value(why),
        State::Cancelled { by, .. } => serde_json::to_value(by),
        _ => return Ok(None),
    };
    let word = word.map_err(ServiceError::internal)?;
    Ok(word.as_str().map(str::to_owned))
}
