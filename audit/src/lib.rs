//! Checks an export of Plumbline's books with code that shares nothing with the engine but the
//! formulas, as `docs/audit.md` states them.
//!
//! [`verify`] reads an export (JSON lines, see [`record`]) and recomputes everything that follows
//! from something else: balances from entries, positions and prices from trades, costs by
//! arithmetic of twice the precision, verdicts from counts, payouts from positions, and every
//! transfer from the fact that caused it. What does not agree is a [`Violation`].
//!
//! **Invariant.** No dependency on any other crate of the workspace: a mistake in the engine's
//! arithmetic cannot be repeated here by linking it. It reads values and returns findings; no
//! clock, no files, no repair.

mod bonds;
mod books;
mod cases;
mod double;
pub mod draws;
mod evidence;
mod facts;
pub mod hashes;
mod inference;
mod juries;
mod ledger;
mod log;
mod merkle;
mod nodes;
mod objective;
mod orders;
mod outcomes;
mod pricing;
mod read;
pub mod record;
mod report;
mod revenue;
mod settlement;
mod signatures;
mod statistics;
mod trades;
mod votes;

use std::io::BufRead;

pub use read::ReadError;
pub use report::{Report, Violation};

/// Reads an export and checks all of it.
///
/// # Errors
/// When the text is no export, or is cut short, or does not have the digest that it ends with.
pub fn verify(export: impl BufRead) -> Result<Report, ReadError> {
    Ok(check(&read(export)?))
}

/// Reads an export and checks its digest, without looking at what it says.
///
/// # Errors
/// As [`verify`].
pub fn read(export: impl BufRead) -> Result<record::Export, ReadError> {
    read::read(export)
}

/// Checks what has been read.
pub fn check(export: &record::Export) -> Report {
    let mut report = Report::default();
    let mut facts = facts::Facts::default();
    let balances = ledger::check(export, &mut report);
    for market in books::markets(export, &mut report) {
        let several = !market.outcomes.is_empty();
        let claims = if several {
            outcomes::check(&market, &mut facts, &mut report)
        } else {
            let positions = trades::check(&market, &mut facts, &mut report);
            evidence::check(&market, &mut facts, &mut report);
            orders::check(&market, &balances, &mut facts, &mut report);
            settlement::claims(&market, &positions)
        };
        cases::check(&market, &mut facts, &mut report);
        settlement::check(&market, &claims, &balances, &mut facts, &mut report);
    }
    for account in &export.accounts {
        facts.happened("grant", &account.id, account.created_at);
    }
    nodes::check(export, &mut facts, &mut report);
    revenue::check(export, &balances, &mut facts, &mut report);
    facts::compare(export, facts, &balances, &mut report);
    log::check(export, &mut report);
    report
}

/// Adds to a report whether an export begins with an earlier one: whether its log has every entry and
/// every checkpoint of that one, unchanged.
pub fn check_extends(earlier: &record::Export, export: &record::Export, report: &mut Report) {
    log::extends(earlier, export, report);
}

/// Adds to a report whether an export holds the log of a checkpoint that somebody kept, given as its
/// signed note.
pub fn check_holds(export: &record::Export, note: &str, report: &mut Report) {
    log::holds(export, note, report);
}

/// Adds to a report whether the service signed with none but these Ed25519 keys.
pub fn check_keys(export: &record::Export, known: &[[u8; 32]], report: &mut Report) {
    log::only_keys(export, known, report);
}
