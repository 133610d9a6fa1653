//! Who could vote on a proposal with what, and who did how.

use diesel::prelude::*;

use crate::schema::{proposal_electors, proposal_votes};
use crate::{StoreError, Tx, changed};

/// Somebody with a stake or a delegate when the vote began.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = proposal_electors)]
pub struct Elector {
    /// The proposal.
    pub proposal_id: String,
    /// The account.
    pub account_id: String,
    /// Stake that counts, micro-credits.
    pub stake_micro: i64,
    /// Who votes with it while the elector does not.
    pub delegate_id: Option<String>,
    /// Level of conviction in the delegate's hands, 0 to 6.
    pub conviction: i64,
}

/// A ballot.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = proposal_votes)]
pub struct Vote {
    /// The proposal.
    pub proposal_id: String,
    /// Who votes.
    pub account_id: String,
    /// `for`, `against` or `abstain`.
    pub side: String,
    /// Level of conviction, 0 to 6.
    pub conviction: i64,
    /// When, unix ms.
    pub at: i64,
}

/// Adds electors, each once.
///
/// # Errors
/// [`StoreError::Conflict`] if one is there already, or the proposal is not.
pub fn add_electors(tx: &mut Tx<'_>, electors: &[Elector]) -> Result<(), StoreError> {
    tx.run(|conn| {
        for elector in electors {
            diesel::insert_into(proposal_electors::table)
                .values(elector)
                .execute(conn)?;
        }
        Ok(())
    })
}

/// Forgets the electors of a proposal.
///
/// # Errors
/// Those of the database.
pub fn forget_electors(tx: &mut Tx<'_>, proposal_id: &str) -> Result<(), StoreError> {
    tx.run(|conn| {
        let of = proposal_electors::table.filter(proposal_electors::proposal_id.eq(proposal_id));
        diesel::delete(of).execute(conn)
    })?;
    Ok(())
}

/// The electors of a proposal, by account.
///
/// # Errors
/// Those of the database.
pub fn electors(tx: &mut Tx<'_>, proposal_id: &str) -> Result<Vec<Elector>, StoreError> {
    tx.run(|conn| {
        proposal_electors::table
            .filter(proposal_electors::proposal_id.eq(proposal_id))
            .order(proposal_electors::account_id)
            .select(Elector::as_select())
            .load(conn)
    })
}

/// One elector of a proposal.
///
/// # Errors
/// Those of the database.
pub fn elector(
    tx: &mut Tx<'_>,
    proposal_id: &str,
    account_id: &str,
) -> Result<Option<Elector>, StoreError> {
    tx.run(|conn| {
        proposal_electors::table
            .find((proposal_id, account_id))
            .select(Elector::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Lowers what counts of an elector's stake.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn lower_stake(
    tx: &mut Tx<'_>,
    proposal_id: &str,
    account_id: &str,
    stake_micro: i64,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(proposal_electors::table.find((proposal_id, account_id)))
            .set(proposal_electors::stake_micro.eq(stake_micro))
            .execute(conn)
    })?;
    changed(rows, "elector", account_id)
}

/// Stores a ballot in place of the voter's last on the same proposal.
///
/// # Errors
/// [`StoreError::Conflict`] if proposal or account are not there.
pub fn put_vote(tx: &mut Tx<'_>, vote: &Vote) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(proposal_votes::table)
            .values(vote)
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` ballots on a proposal, by account, those of accounts greater than `after`.
///
/// # Errors
/// Those of the database.
pub fn votes(
    tx: &mut Tx<'_>,
    proposal_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Vote>, StoreError> {
    tx.run(|conn| {
        proposal_votes::table
            .filter(proposal_votes::proposal_id.eq(proposal_id))
            .filter(proposal_votes::account_id.gt(after.unwrap_or("")))
            .order(proposal_votes::account_id)
            .limit(limit)
            .select(Vote::as_select())
            .load(conn)
    })
}

/// An account's ballot on a proposal.
///
/// # Errors
/// Those of the database.
pub fn vote_of(
    tx: &mut Tx<'_>,
    proposal_id: &str,
    account_id: &str,
) -> Result<Option<Vote>, StoreError> {
    tx.run(|conn| {
        proposal_votes::table
            .find((proposal_id, account_id))
            .select(Vote::as_select())
            .get_result(conn)
            .optional()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{proposal, within};

    #[test]
    fn an_account_is_one_elector_and_has_one_ballot() {
        within(|tx| {
            crate::proposals::insert(tx, &proposal("p1"))?;
            let elector_of = |account: &str, delegate: Option<&str>| Elector {
                proposal_id: "p1".to_owned(),
                account_id: account.to_owned(),
                stake_micro: 7,
                delegate_id: delegate.map(str::to_owned),
                conviction: 2,
            };
            let all = [elector_of("ada", Some("bob")), elector_of("bob", None)];
            add_electors(tx, &all)?;
            assert_eq!(electors(tx, "p1")?, all);
            assert_eq!(elector(tx, "p1", "bob")?, Some(all[1].clone()));
            let vote = |side: &str| Vote {
                proposal_id: "p1".to_owned(),
                account_id: "ada".to_owned(),
                side: side.to_owned(),
                conviction: 1,
                at: 3,
            };
            put_vote(tx, &vote("for"))?;
            put_vote(tx, &vote("against"))?;
            assert_eq!(votes(tx, "p1", None, 9)?, [vote("against")]);
            assert_eq!(votes(tx, "p1", Some("ada"), 9)?, []);
            assert_eq!(vote_of(tx, "p1", "bob")?, None);
            lower_stake(tx, "p1", "bob", 3)?;
            assert_eq!(
                elector(tx, "p1", "bob")?.map(|row| row.stake_micro),
                Some(3)
            );
            assert!(lower_stake(tx, "p1", "eve", 3).is_err());
            forget_electors(tx, "p1")?;
            assert_eq!(electors(tx, "p1")?, []);
            Ok(())
        })
        .unwrap();
    }
}
