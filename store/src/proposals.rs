//! Proposals, their deposits, and the steps of their lives.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::schema::{proposal_deposits, proposal_steps, proposals};
use crate::{StoreError, Tx, changed, found};

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = proposals, treat_none_as_null = true)]
pub struct Proposal {
    /// Identifier; sorts by creation.
    pub id: String,
    /// Name of its track.
    pub track: String,
    /// One line.
    pub title: String,
    /// Why.
    pub body: String,
    /// Who wrote it.
    pub author_id: String,
    /// What it does, JSON.
    pub action: String,
    /// What it is about, where only one proposal at a time may be.
    pub subject: Option<String>,
    /// The terms of its track when it was written, JSON.
    pub terms: String,
    /// Name of the state.
    pub state: String,
    /// The state, JSON.
    pub machine: String,
    /// When to look at it again, unix ms.
    pub due_at: Option<i64>,
    /// The count, JSON.
    pub tally: String,
    /// What it would do, JSON.
    pub simulated: String,
    /// What it did, or why it could not, JSON.
    pub outcome: Option<String>,
    /// When it was written, unix ms.
    pub created_at: i64,
    /// When its vote began, unix ms.
    pub voting_at: Option<i64>,
    /// When it ended, unix ms.
    pub ended_at: Option<i64>,
}

/// What somebody paid for a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = proposal_deposits)]
pub struct Deposit {
    /// The proposal.
    pub proposal_id: String,
    /// Who paid.
    pub account_id: String,
    /// How much, micro-credits.
    pub amount_micro: i64,
    /// `held`, `returned` or `forfeited`.
    pub status: String,
}

/// A step of a proposal's life.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = proposal_steps)]
pub struct Step {
    /// The proposal.
    pub proposal_id: String,
    /// Order, from 0.
    pub ordinal: i64,
    /// Name of the state entered.
    pub state: String,
    /// More about it.
    pub note: String,
    /// When, unix ms.
    pub at: i64,
}

/// Adds a proposal.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or there is no such author.
pub fn insert(tx: &mut Tx<'_>, proposal: &Proposal) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(proposals::table)
            .values(proposal)
            .execute(conn)
    })?;
    Ok(())
}

/// The proposal with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Proposal, StoreError> {
    let row = tx.run(|conn| {
        proposals::table
            .find(id)
            .select(Proposal::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "proposal", id)
}

/// Writes back a proposal.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, proposal: &Proposal) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(proposals::table.find(&proposal.id))
            .set(proposal)
            .execute(conn)
    })?;
    changed(rows, "proposal", &proposal.id)
}

/// Up to `limit` proposals with ids less than `before`, newest first, of a track, in a state, or all.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    track: Option<&str>,
    state: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Proposal>, StoreError> {
    let mut query = proposals::table
        .order(proposals::id.desc())
        .limit(limit)
        .select(Proposal::as_select())
        .into_boxed();
    if let Some(track) = track {
        query = query.filter(proposals::track.eq(track));
    }
    if let Some(state) = state {
        query = query.filter(proposals::state.eq(state));
    }
    if let Some(before) = before {
        query = query.filter(proposals::id.lt(before));
    }
    tx.run(|conn| query.load(conn))
}

/// Ids of up to `limit` proposals to be looked at by `now`, the longest overdue first.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<String>, StoreError> {
    tx.look(|conn| {
        proposals::table
            // The condition of the partial index, word for word.
            .filter(sql::<Bool>("due_at IS NOT NULL"))
            .filter(proposals::due_at.le(now))
            .order(proposals::due_at)
            .limit(limit)
            .select(proposals::id)
            .load(conn)
    })
}

/// How many proposals of an author are in one of these states.
///
/// # Errors
/// Those of the database.
pub fn count_of_author(
    tx: &mut Tx<'_>,
    author_id: &str,
    states: &[&str],
) -> Result<i64, StoreError> {
    tx.run(|conn| {
        proposals::table
            .filter(proposals::author_id.eq(author_id))
            .filter(proposals::state.eq_any(states))
            .count()
            .get_result(conn)
    })
}

/// How many proposals on a track are in one of these states.
///
/// # Errors
/// Those of the database.
pub fn count_on_track(tx: &mut Tx<'_>, track: &str, states: &[&str]) -> Result<i64, StoreError> {
    tx.run(|conn| {
        proposals::table
            .filter(proposals::track.eq(track))
            .filter(proposals::state.eq_any(states))
            .count()
            .get_result(conn)
    })
}

/// Id of a proposal about `subject` in one of these states.
///
/// # Errors
/// Those of the database.
pub fn about(
    tx: &mut Tx<'_>,
    subject: &str,
    states: &[&str],
) -> Result<Option<String>, StoreError> {
    tx.run(|conn| {
        proposals::table
            .filter(sql::<Bool>("subject IS NOT NULL"))
            .filter(proposals::subject.eq(subject))
            .filter(proposals::state.eq_any(states))
            .select(proposals::id)
            .first(conn)
            .optional()
    })
}

/// Stores what an account paid for a proposal, in place of what it paid before.
///
/// # Errors
/// [`StoreError::Conflict`] if proposal or account are not there.
pub fn put_deposit(tx: &mut Tx<'_>, deposit: &Deposit) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(proposal_deposits::table)
            .values(deposit)
            .execute(conn)
    })?;
    Ok(())
}

/// What was paid for a proposal, by account.
///
/// # Errors
/// Those of the database.
pub fn deposits(tx: &mut Tx<'_>, proposal_id: &str) -> Result<Vec<Deposit>, StoreError> {
    tx.run(|conn| {
        proposal_deposits::table
            .filter(proposal_deposits::proposal_id.eq(proposal_id))
            .order(proposal_deposits::account_id)
            .select(Deposit::as_select())
            .load(conn)
    })
}

/// Adds a step, after the last.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such proposal.
pub fn add_step(
    tx: &mut Tx<'_>,
    proposal_id: &str,
    state: &str,
    note: &str,
    at: i64,
) -> Result<(), StoreError> {
    tx.run(|conn| {
        let last: Option<i64> = proposal_steps::table
            .filter(proposal_steps::proposal_id.eq(proposal_id))
            .order(proposal_steps::ordinal.desc())
            .select(proposal_steps::ordinal)
            .first(conn)
            .optional()?;
        let step = Step {
            proposal_id: proposal_id.to_owned(),
            ordinal: last.map_or(0, |last| last + 1),
            state: state.to_owned(),
            note: note.to_owned(),
            at,
        };
        diesel::insert_into(proposal_steps::table)
            .values(step)
            .execute(conn)
    })?;
    Ok(())
}

/// The steps of a proposal, in order.
///
/// # Errors
/// Those of the database.
pub fn steps(tx: &mut Tx<'_>, proposal_id: &str) -> Result<Vec<Step>, StoreError> {
    tx.run(|conn| {
        proposal_steps::table
            .filter(proposal_steps::proposal_id.eq(proposal_id))
            .order(proposal_steps::ordinal)
            .select(Step::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{proposal, within};

    fn ids(rows: Vec<Proposal>) -> Vec<String> {
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn proposals_are_found_by_track_state_deadline_and_subject() {
        within(|tx| {
            insert(tx, &proposal("p1"))?;
            let second = Proposal {
                track: "loosen".to_owned(),
                state: "voting".to_owned(),
                due_at: Some(5),
                subject: Some("m1".to_owned()),
                ..proposal("p2")
            };
            insert(tx, &second)?;
            assert_eq!(get(tx, "p2")?, second);
            assert_eq!(ids(list(tx, None, None, None, 9)?), ["p2", "p1"]);
            assert_eq!(ids(list(tx, Some("treasury"), None, None, 9)?), ["p1"]);
            assert_eq!(ids(list(tx, None, Some("voting"), None, 9)?), ["p2"]);
            assert_eq!(ids(list(tx, None, None, Some("p2"), 9)?), ["p1"]);
            assert_eq!(
                (due(tx, 4, 9)?, due(tx, 5, 9)?),
                (vec![], vec!["p2".to_owned()])
            );
            assert_eq!(about(tx, "m1", &["voting"])?, Some("p2".to_owned()));
            assert_eq!(about(tx, "m1", &["queued"])?, None);
            assert_eq!(count_of_author(tx, "ada", &["draft", "voting"])?, 2);
            assert_eq!(count_on_track(tx, "loosen", &["draft", "voting"])?, 1);
            let over = Proposal {
                state: "rejected".to_owned(),
                due_at: None,
                ended_at: Some(9),
                ..second
            };
            update(tx, &over)?;
            assert_eq!(due(tx, 99, 9)?, Vec::<String>::new());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn deposits_and_steps_belong_to_a_proposal() {
        within(|tx| {
            insert(tx, &proposal("p1"))?;
            let deposit = |amount_micro, status: &str| Deposit {
                proposal_id: "p1".to_owned(),
                account_id: "ada".to_owned(),
                amount_micro,
                status: status.to_owned(),
            };
            put_deposit(tx, &deposit(5, "held"))?;
            put_deposit(tx, &deposit(9, "returned"))?;
            assert_eq!(deposits(tx, "p1")?, [deposit(9, "returned")]);
            add_step(tx, "p1", "draft", "", 1)?;
            add_step(tx, "p1", "voting", "begun", 2)?;
            let states: Vec<_> = steps(tx, "p1")?
                .into_iter()
                .map(|step| (step.ordinal, step.state))
                .collect();
            assert_eq!(states, [(0, "draft".to_owned()), (1, "voting".to_owned())]);
            Ok(())
        })
        .unwrap();
    }
}
