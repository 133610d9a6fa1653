//! The electorate, and votes.

use plumbline_access::Action;
use plumbline_governance::voting::ballot::{Ballot, Conviction, Side};
use plumbline_governance::voting::proposal::Event;
use plumbline_governance::voting::tally::{Ballots, Elector, Electors, Tally, tally};
use plumbline_store::ballots::{self, Elector as ElectorRow, Vote};
use plumbline_store::proposals::Proposal;
use plumbline_store::{Tx, accounts, stakes};
use serde_json::json;

use super::motion::Motion;
use super::stakes::{
    MAX_DELEGATIONS, MAX_ELECTORS, conviction_of, counts, lock, lock_end, longest_vote,
};
use super::{TOPIC, view};
use crate::accounts::account_of;
use crate::commands::CastVote;
use crate::context::Context;
use crate::events::publish;
use crate::time::rfc3339;
use crate::views::{Page, ProposalView, VoteView};
use crate::{Result, Service, ServiceConfig, ServiceError, page};

impl Service {
    /// Votes, or votes otherwise than before. The stake is locked until the vote has ended, and as long
    /// after as the conviction says.
    ///
    /// # Errors
    /// `voting-over`, `voting-not-open`, `no-weight`, `bad-side`, `bad-conviction`.
    pub fn cast_vote(&self, ctx: &Context, id: &str, cmd: &CastVote) -> Result<ProposalView> {
        self.allow(&ctx.actor, Action::CastVote)?;
        let (account, conviction) = (account_of(&ctx.actor)?, conviction_of(cmd.conviction)?);
        let side = Side::parse(&cmd.side).ok_or_else(|| {
            ServiceError::invalid("bad-side", "side is 'for', 'against' or 'abstain'")
        })?;
        let (id, config) = (id.to_owned(), self.config.clone());
        self.write_once(ctx, move |tx, now| {
            let mut motion = Motion::load(tx, &id)?;
            motion.step(tx, &config, &Event::Ballot, now)?;
            if !config.defences.stake_snapshot {
                fix_electorate(tx, &config, &motion.row)?;
            }
            keep_what_is_left(tx, &config, &id, &account)?;
            if !has_weight(tx, &id, &account)? {
                return Err(ServiceError::refused(
                    "no-weight",
                    "you had no stake that counts, and nobody's delegation, when this vote began",
                ));
            }
            let vote = Vote {
                proposal_id: id.clone(),
                account_id: account.clone(),
                side: side.as_str().to_owned(),
                conviction: conviction.level().into(),
                at: now,
            };
            ballots::put_vote(tx, &vote)?;
            let began = motion.row.voting_at.unwrap_or(now);
            let end = began.saturating_add(longest_vote(&motion.terms));
            lock(tx, &account, lock_end(&config.voting, conviction, end))?;
            motion.tally = count(tx, &config, &id)?;
            let counted = Event::Counted(motion.tally);
            motion.step(tx, &config, &counted, now)?;
            let told = json!({
                "proposal_id": id,
                "account_id": account,
                "side": side.as_str(),
                "conviction": conviction.level(),
            });
            publish(tx, now, TOPIC, "voted", &told)?;
            let row = motion.save(tx, now)?;
            view::whole(tx, row, Some(&account), now)
        })
    }

    /// The ballots on a proposal, by account.
    pub fn votes(
        &self,
        ctx: &Context,
        id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<VoteView>> {
        self.allow(&ctx.actor, Action::ListVotes)?;
        let (id, after) = (id.to_owned(), cursor.map(str::to_owned));
        let limit = page::bounded(limit);
        self.read(move |tx| {
            plumbline_store::proposals::get(tx, &id)?;
            let rows = ballots::votes(tx, &id, after.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.account_id.clone(), |row| row);
            let items = page.items.into_iter().map(|row| vote_view(tx, row));
            Ok(Page {
                items: items.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }
}

fn vote_view(tx: &mut Tx, row: Vote) -> Result<VoteView> {
    let elector = ballots::elector(tx, &row.proposal_id, &row.account_id)?;
    Ok(VoteView {
        account: accounts::get(tx, &row.account_id)?.handle,
        side: row.side,
        conviction: row.conviction,
        stake_micro: elector.map_or(0, |elector| elector.stake_micro),
        at: rfc3339(row.at),
    })
}

/// Notes who can vote with what: stakes and delegations as they are now. What changes after does not
/// count in this vote, so nobody brings a stake in when the outcome can be seen.
pub(super) fn fix_electorate(
    tx: &mut Tx,
    config: &ServiceConfig,
    proposal: &Proposal,
) -> Result<()> {
    ballots::forget_electors(tx, &proposal.id)?;
    let mut rows = std::collections::BTreeMap::new();
    for stake in stakes::list(tx, MAX_ELECTORS)? {
        let stake_micro = counts(config, &stake);
        if stake_micro > 0 {
            rows.insert(stake.account_id.clone(), (stake_micro, None, 0));
        }
    }
    for row in stakes::on_track(tx, &proposal.track, MAX_DELEGATIONS)? {
        let entry = rows.entry(row.account_id).or_insert((0, None, 0));
        (entry.1, entry.2) = (Some(row.delegate_id), row.conviction);
    }
    let rows: Vec<ElectorRow> = rows
        .into_iter()
        .map(
            |(account_id, (stake_micro, delegate_id, conviction))| ElectorRow {
                proposal_id: proposal.id.clone(),
                account_id,
                stake_micro,
                delegate_id,
                conviction,
            },
        )
        .collect();
    Ok(ballots::add_electors(tx, &rows)?)
}

/// A stake that was taken back since the vote began does not count in it: nothing of it would be locked.
fn keep_what_is_left(
    tx: &mut Tx,
    config: &ServiceConfig,
    proposal_id: &str,
    account_id: &str,
) -> Result<()> {
    let Some(elector) = ballots::elector(tx, proposal_id, account_id)? else {
        return Ok(());
    };
    let left = stakes::get(tx, account_id)?.map_or(0, |stake| counts(config, &stake));
    if left < elector.stake_micro {
        ballots::lower_stake(tx, proposal_id, account_id, left)?;
    }
    Ok(())
}

/// Whether an account has a stake in a vote, or somebody's delegation.
fn has_weight(tx: &mut Tx, proposal_id: &str, account_id: &str) -> Result<bool> {
    let own = ballots::elector(tx, proposal_id, account_id)?;
    if own.is_some_and(|own| own.stake_micro > 0) {
        return Ok(true);
    }
    let electors = ballots::electors(tx, proposal_id)?;
    let delegate = |row: &ElectorRow| row.delegate_id.as_deref() == Some(account_id);
    Ok(electors.iter().any(delegate))
}

fn level(row: i64) -> Result<Conviction> {
    conviction_of(u8::try_from(row).unwrap_or(u8::MAX))
}

/// Counts the ballots of a proposal.
pub(super) fn count(tx: &mut Tx, config: &ServiceConfig, proposal_id: &str) -> Result<Tally> {
    let mut electors = Electors::new();
    for row in ballots::electors(tx, proposal_id)? {
        let elector = Elector {
            stake_micro: u64::try_from(row.stake_micro).unwrap_or(0),
            delegate: row.delegate_id,
            conviction: level(row.conviction)?,
        };
        electors.insert(row.account_id, elector);
    }
    let mut cast = Ballots::new();
    // As many as there are accounts with weight: stakes and delegates.
    let most = MAX_ELECTORS + MAX_DELEGATIONS;
    for row in ballots::votes(tx, proposal_id, None, most)? {
        let side = Side::parse(&row.side)
            .ok_or_else(|| ServiceError::internal(format!("a ballot says {}", row.side)))?;
        let conviction = level(row.conviction)?;
        cast.insert(row.account_id, Ballot { side, conviction });
    }
    if !config.defences.single_count {
        count_again(&mut electors, &cast);
    }
    Ok(tally(&electors, &cast))
}

/// As if a delegation stood beside its owner's own ballot.
fn count_again(electors: &mut Electors, cast: &Ballots) {
    let both = |(account, elector): (&String, &Elector)| {
        let twice = cast.contains_key(account) && elector.delegate.is_some();
        twice.then(|| (format!("{account} again"), elector.clone()))
    };
    let again: Vec<_> = electors.iter().filter_map(both).collect();
    electors.extend(again);
}
