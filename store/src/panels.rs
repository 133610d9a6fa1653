//! Panels of jurors and their seats.

use diesel::prelude::*;

use crate::schema::{panel_seats, panels};
use crate::{StoreError, Tx, changed, found};

/// A panel.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = panels, treat_none_as_null = true)]
pub struct Panel {
    /// Identifier; sorts by the time of the draw.
    pub id: String,
    /// One of `settlement`, `exhibit`, `gold`.
    pub subject: String,
    /// Market of the case.
    pub market_id: Option<String>,
    /// Round of a settlement.
    pub round: Option<i64>,
    /// Evidence of a challenged exhibit.
    pub evidence_id: Option<String>,
    /// Its challenge.
    pub challenge_id: Option<String>,
    /// The case with a known answer.
    pub case_id: Option<String>,
    /// What jurors are shown, JSON.
    pub snapshot: String,
    /// Number of seats that jurors are told.
    pub shown_size: i64,
    /// One of `committing`, `revealing`, `ruled`, `tie`, `no_quorum`, `withdrawn`.
    pub status: String,
    /// The ruling, billionths.
    pub pi: Option<i64>,
    /// When it was drawn, unix ms.
    pub drawn_at: i64,
    /// Commitments are taken before this, unix ms.
    pub commit_by: i64,
    /// Reveals are taken before this, unix ms.
    pub reveal_by: i64,
    /// Length of the window for reveals, milliseconds.
    pub reveal_ms: i64,
    /// When it ended, unix ms.
    pub ended_at: Option<i64>,
    /// When its jurors were paid, unix ms.
    pub settled_at: Option<i64>,
    /// The settlement that they were paid by, billionths; none if the case was called off.
    pub final_pi: Option<i64>,
    /// Public part of the draw's seed, hex.
    pub public_seed: String,
    /// The secret part; none for a panel whose seat was not drawn.
    pub secret_number: Option<i64>,
    /// Who could be drawn, JSON.
    pub candidates: String,
    /// Over, and nobody's private matter.
    pub listed: bool,
}

/// A seat.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = panel_seats, treat_none_as_null = true)]
pub struct Seat {
    /// The panel.
    pub panel_id: String,
    /// Who sits.
    pub account_id: String,
    /// Order of the draw.
    pub ordinal: i64,
    /// Locked from the juror's stake, micro-credits.
    pub deposit_micro: i64,
    /// One of `waiting`, `committed`, `revealed`, `denounced`, `conflicted`.
    pub state: String,
    /// Hash of the vote, hex.
    pub commitment: Option<String>,
    /// When it was committed, unix ms.
    pub committed_at: Option<i64>,
    /// The vote, basis points; none in a revealed seat whose juror could not tell.
    pub vote_bps: Option<i64>,
    /// The nonce, hex.
    pub nonce: Option<String>,
    /// The justification.
    pub justification: Option<String>,
    /// When it was revealed, unix ms.
    pub revealed_at: Option<i64>,
    /// Who denounced it.
    pub denounced_by: Option<String>,
    /// What became of it, once the panel is settled.
    pub verdict: Option<String>,
    /// Paid to the juror, micro-credits.
    pub paid_micro: i64,
    /// Taken from the deposit, micro-credits.
    pub slashed_micro: i64,
}

/// Adds a panel with its seats.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken, a seat is doubled, or a row that it names is not there.
pub fn insert(tx: &mut Tx<'_>, panel: &Panel, seats: &[Seat]) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(panels::table)
            .values(panel)
            .execute(conn)
    })?;
    for seat in seats {
        tx.run(|conn| {
            diesel::insert_into(panel_seats::table)
                .values(seat)
                .execute(conn)
        })?;
    }
    Ok(())
}

/// The panel with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Panel, StoreError> {
    let row = tx.run(|conn| {
        panels::table
            .find(id)
            .select(Panel::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "panel", id)
}

/// Writes back a panel.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, panel: &Panel) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(panels::table.find(&panel.id))
            .set(panel)
            .execute(conn)
    })?;
    changed(rows, "panel", &panel.id)
}

/// A panel's seats, in the order drawn.
///
/// # Errors
/// Those of the database.
pub fn seats(tx: &mut Tx<'_>, panel_id: &str) -> Result<Vec<Seat>, StoreError> {
    let mut rows: Vec<Seat> = tx.run(|conn| {
        panel_seats::table
            .filter(panel_seats::panel_id.eq(panel_id))
            .order(panel_seats::account_id)
            .select(Seat::as_select())
            .load(conn)
    })?;
    rows.sort_by_key(|seat| seat.ordinal);
    Ok(rows)
}

/// Writes back a seat.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update_seat(tx: &mut Tx<'_>, seat: &Seat) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(panel_seats::table.find((&seat.panel_id, &seat.account_id)))
            .set(seat)
            .execute(conn)
    })?;
    changed(rows, "seat", &seat.panel_id)
}

/// Ids of up to `limit` panels with a deadline at or before `now`, those of the longest overdue first.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<String>, StoreError> {
    tx.run(|conn| {
        let mut ids: Vec<String> = panels::table
            .filter(panels::status.eq("revealing"))
            .filter(panels::reveal_by.le(now))
            .order(panels::reveal_by)
            .limit(limit)
            .select(panels::id)
            .load(conn)?;
        let commits: Vec<String> = panels::table
            .filter(panels::status.eq("committing"))
            .filter(panels::commit_by.le(now))
            .order(panels::commit_by)
            .limit(limit)
            .select(panels::id)
            .load(conn)?;
        ids.extend(commits);
        Ok(ids)
    })
}

/// Up to `limit` panels whose next deadline is after `now` and at or before `soon`, the nearest first.
///
/// # Errors
/// Those of the database.
pub fn closing(tx: &mut Tx<'_>, now: i64, soon: i64, limit: i64) -> Result<Vec<Panel>, StoreError> {
    tx.look(|conn| {
        let mut found: Vec<Panel> = panels::table
            .filter(panels::status.eq("revealing"))
            .filter(panels::reveal_by.gt(now).and(panels::reveal_by.le(soon)))
            .order(panels::reveal_by)
            .limit(limit)
            .select(Panel::as_select())
            .load(conn)?;
        let commits: Vec<Panel> = panels::table
            .filter(panels::status.eq("committing"))
            .filter(panels::commit_by.gt(now).and(panels::commit_by.le(soon)))
            .order(panels::commit_by)
            .limit(limit)
            .select(Panel::as_select())
            .load(conn)?;
        found.extend(commits);
        Ok(found)
    })
}

/// Panels on cases of a market whose jurors are not paid yet, by id.
///
/// # Errors
/// Those of the database.
pub fn unsettled(tx: &mut Tx<'_>, market_id: &str) -> Result<Vec<Panel>, StoreError> {
    tx.run(|conn| {
        panels::table
            .filter(panels::market_id.eq(market_id))
            .filter(panels::settled_at.is_null())
            .order(panels::id)
            .select(Panel::as_select())
            .load(conn)
    })
}

/// Whether a panel on the settlement of a market was ever drawn.
///
/// # Errors
/// Those of the database.
pub fn any_on_settlement(tx: &mut Tx<'_>, market_id: &str) -> Result<bool, StoreError> {
    tx.run(|conn| {
        diesel::select(diesel::dsl::exists(
            panels::table
                .filter(panels::market_id.eq(market_id))
                .filter(panels::subject.eq("settlement")),
        ))
        .get_result(conn)
    })
}

/// Up to `limit` panels that are over and open to everybody, with ids less than `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn listed(tx: &mut Tx<'_>, before: Option<&str>, limit: i64) -> Result<Vec<Panel>, StoreError> {
    let mut query = panels::table
        .filter(panels::listed.eq(true))
        .order(panels::id.desc())
        .limit(limit)
        .select(Panel::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(panels::id.lt(before));
    }
    tx.run(|conn| query.load(conn))
}

/// Ids of up to `limit` panels on which an account has a seat, less than `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn of_juror(
    tx: &mut Tx<'_>,
    account_id: &str,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let mut query = panel_seats::table
        .filter(panel_seats::account_id.eq(account_id))
        .order(panel_seats::panel_id.desc())
        .limit(limit)
        .select(panel_seats::panel_id)
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(panel_seats::panel_id.lt(before));
    }
    tx.run(|conn| query.load(conn))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{panel, seat, within};

    fn ids(rows: Vec<Panel>) -> Vec<String> {
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn panels_are_found_by_deadline_market_and_juror() {
        within(|tx| {
            let first = panel("p1");
            let second = Panel {
                status: "revealing".to_owned(),
                commit_by: 5,
                reveal_by: 20,
                ..panel("p2")
            };
            insert(tx, &first, &[seat("p1", "bob", 1), seat("p1", "ada", 0)])?;
            insert(tx, &second, &[seat("p2", "ada", 0)])?;
            assert_eq!(get(tx, "p2")?, second);
            let order: Vec<_> = seats(tx, "p1")?
                .into_iter()
                .map(|seat| seat.account_id)
                .collect();
            assert_eq!(order, ["ada", "bob"]);
            assert_eq!(due(tx, 9, 9)?, Vec::<String>::new());
            assert_eq!(due(tx, 10, 9)?, ["p1"]);
            assert_eq!(due(tx, 20, 9)?, ["p2", "p1"]);
            assert_eq!(ids(unsettled(tx, "m1")?), ["p1", "p2"]);
            assert_eq!(of_juror(tx, "ada", None, 9)?, ["p2", "p1"]);
            assert_eq!(of_juror(tx, "ada", Some("p2"), 9)?, ["p1"]);
            assert_eq!(listed(tx, None, 9)?, []);
            assert!(any_on_settlement(tx, "m1")? && !any_on_settlement(tx, "m2")?);
            let over = Panel {
                status: "ruled".to_owned(),
                pi: Some(1),
                listed: true,
                settled_at: Some(30),
                ..first
            };
            update(tx, &over)?;
            assert_eq!(ids(listed(tx, None, 9)?), ["p1"]);
            assert_eq!(ids(listed(tx, Some("p1"), 9)?), Vec::<String>::new());
            assert_eq!(ids(unsettled(tx, "m1")?), ["p2"]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_seat_keeps_what_was_revealed_and_one_account_sits_once() {
        within(|tx| {
            insert(tx, &panel("p1"), &[seat("p1", "ada", 0)])?;
            let revealed = Seat {
                state: "revealed".to_owned(),
                commitment: Some("c".to_owned()),
                committed_at: Some(2),
                vote_bps: Some(10_000),
                nonce: Some("n".to_owned()),
                justification: Some("because".to_owned()),
                revealed_at: Some(3),
                verdict: Some("coherent".to_owned()),
                paid_micro: 7,
                ..seat("p1", "ada", 0)
            };
            update_seat(tx, &revealed)?;
            assert_eq!(seats(tx, "p1")?, [revealed]);
            let doubled = insert(
                tx,
                &panel("p2"),
                &[seat("p2", "ada", 0), seat("p2", "ada", 1)],
            );
            assert!(matches!(doubled, Err(StoreError::Conflict { .. })));
            Ok(())
        })
        .unwrap();
    }
}
