//! The record of a settlement: proposals, challenges, juries called and rulings, in order.

use diesel::prelude::*;

use crate::schema::settlement_claims;
use crate::{StoreError, Tx, changed};

/// One entry of the record.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = settlement_claims)]
pub struct Claim {
    /// The market.
    pub market_id: String,
    /// Place in the record, from zero.
    pub round: i64,
    /// `proposal`, `challenge`, `search` (something set out to find the settlement), `ruling` or `no_ruling`.
    pub kind: String,
    /// `test`, `ensemble`, `reference`, `person`, `panel` or `proposals`.
    pub source: String,
    /// Who put the bond up.
    pub account_id: Option<String>,
    /// The settlement that it stands for, in billionths.
    pub pi_billionths: Option<i64>,
    /// The bond, micro-credits.
    pub bond_micro: i64,
    /// What came back once the bonds were given out, micro-credits.
    pub paid_micro: Option<i64>,
    /// Round of the claim that a challenge disputes.
    pub disputes: Option<i64>,
    /// Jurors of a panel that was called.
    pub jurors: Option<i64>,
    /// The panel.
    pub panel_id: Option<String>,
    /// What was said for it, plain text.
    pub reason: String,
    /// When, unix ms.
    pub at: i64,
}

/// Adds an entry.
///
/// # Errors
/// [`StoreError::Conflict`] if the round is taken or the market or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, claim: &Claim) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(settlement_claims::table)
            .values(claim)
            .execute(conn)
    })?;
    Ok(())
}

/// The whole record of a market's settlement, oldest first.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, market_id: &str) -> Result<Vec<Claim>, StoreError> {
    tx.run(|conn| {
        settlement_claims::table
            .filter(settlement_claims::market_id.eq(market_id))
            .order(settlement_claims::round)
            .select(Claim::as_select())
            .load(conn)
    })
}

/// Notes what came back of a bond.
///
/// # Errors
/// [`StoreError::NotFound`] if there is no such entry or its bond was given out before.
pub fn mark_paid(
    tx: &mut Tx<'_>,
    market_id: &str,
    round: i64,
    paid_micro: i64,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(settlement_claims::table.find((market_id, round)))
            .filter(settlement_claims::paid_micro.is_null())
            .set(settlement_claims::paid_micro.eq(paid_micro))
            .execute(conn)
    })?;
    changed(rows, "claim", market_id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn claim(round: i64) -> Claim {
        Claim {
            market_id: "m1".to_owned(),
            round,
            kind: "proposal".to_owned(),
            source: "person".to_owned(),
            account_id: Some("ada".to_owned()),
            pi_billionths: Some(500_000_000),
            bond_micro: 5,
            paid_micro: None,
            disputes: None,
            jurors: None,
            panel_id: None,
            reason: String::new(),
            at: 1,
        }
    }

    #[test]
    fn the_record_is_in_order_and_a_bond_is_given_out_once() {
        within(|tx| {
            insert(tx, &claim(1))?;
            insert(tx, &claim(0))?;
            assert_eq!(list(tx, "m1")?, [claim(0), claim(1)]);
            assert!(matches!(
                insert(tx, &claim(1)),
                Err(StoreError::Conflict { .. })
            ));
            mark_paid(tx, "m1", 0, 7)?;
            assert_eq!(list(tx, "m1")?[0].paid_micro, Some(7));
            assert!(mark_paid(tx, "m1", 0, 7).is_err());
            assert!(mark_paid(tx, "m1", 9, 7).is_err());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        type Spoil = fn(&mut Claim);
        let spoils: [Spoil; 5] = [
            |claim| claim.kind = "wish".to_owned(),
            |claim| claim.pi_billionths = Some(1_000_000_001),
            |claim| claim.pi_billionths = None,
            |claim| claim.bond_micro = -1,
            |claim| claim.disputes = Some(0),
        ];
        for spoil in spoils {
            let mut row = claim(0);
            spoil(&mut row);
            let stored = within(move |tx| insert(tx, &row));
            assert!(matches!(stored, Err(StoreError::Database(_))));
        }
    }
}
