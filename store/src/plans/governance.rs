//! Reads about votes and juries.

use crate::{
    StoreError, Tx, ballots, gold, jurors, panels, proposals, revenue_shares, stakes, standing,
};

/// All of them.
pub(super) fn every_read(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    every_read_of_votes(tx)?;
    every_read_of_juries(tx)
}

/// Stakes, proposals, ballots, seals and what they put on runs.
fn every_read_of_votes(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    stakes::get(tx, "ada")?;
    stakes::list(tx, 10)?;
    stakes::count(tx)?;
    stakes::delegation(tx, "ada", "treasury")?;
    stakes::on_track(tx, "treasury", 10)?;
    stakes::count_on_track(tx, "treasury")?;
    stakes::of_delegator(tx, "ada")?;
    stakes::of_delegate(tx, "ada", 10)?;
    let _ = proposals::get(tx, "p").is_err();
    for (track, state) in [
        (None, None),
        (Some("treasury"), None),
        (None, Some("voting")),
        (Some("treasury"), Some("voting")),
    ] {
        proposals::list(tx, track, state, None, 10)?;
        proposals::list(tx, track, state, Some("p"), 10)?;
    }
    proposals::due(tx, 5, 10)?;
    proposals::count_of_author(tx, "ada", &["draft", "voting"])?;
    proposals::count_on_track(tx, "treasury", &["draft", "voting"])?;
    proposals::about(tx, "m1", &["draft", "voting"])?;
    proposals::deposits(tx, "p")?;
    proposals::steps(tx, "p")?;
    ballots::electors(tx, "p")?;
    ballots::elector(tx, "p", "ada")?;
    ballots::votes(tx, "p", None, 10)?;
    ballots::vote_of(tx, "p", "ada")?;
    let _ = standing::get(tx, "o").is_err();
    standing::ending_after(tx, 5)?;
    standing::of_run(tx, "r1", 10)?;
    let _ = standing::seal(tx, "s").is_err();
    standing::seals(tx, None, 10)?;
    standing::seals(tx, Some("s"), 10)?;
    let _ = revenue_shares::get(tx, "s").is_err();
    let _ = revenue_shares::claim(tx, "s", 1).is_err();
    revenue_shares::of_account(tx, "ada", None, 10)?;
    revenue_shares::any_unclaimed_of(tx, "ada")?;
    revenue_shares::of_period(tx, "revenue-1", 10)?;
    revenue_shares::juror_pay(tx, 1, 9, 10)?;
    revenue_shares::subsidies(tx, 1, 9, 10)?;
    Ok(())
}

/// Jurors, panels and their cases.
fn every_read_of_juries(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    jurors::get(tx, "ada")?;
    jurors::sitting(tx, Some("a"), 10)?;
    jurors::count_sitting(tx)?;
    let _ = panels::get(tx, "p").is_err();
    panels::seats(tx, "p")?;
    panels::due(tx, 5, 10)?;
    panels::unsettled(tx, "m1")?;
    panels::any_on_settlement(tx, "m1")?;
    panels::listed(tx, None, 10)?;
    panels::listed(tx, Some("p"), 10)?;
    panels::of_juror(tx, "ada", None, 10)?;
    panels::of_juror(tx, "ada", Some("p"), 10)?;
    let _ = gold::get(tx, "g").is_err();
    gold::in_use(tx, true, None, 10)?;
    gold::in_use(tx, true, Some("g"), 10)?;
    gold::has_seen(tx, "ada", "g")?;
    gold::unused_secrets(tx, 10)?;
    let _ = gold::secret(tx, 1).is_err();
    Ok(())
}
