//! Reads about what people follow, are told, and are mailed.

use crate::{StoreError, Tx, follows, mails, notices, panels};

/// What people follow and are told.
pub(super) fn every_read(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    follows::get(tx, "ada", "market:m1")?;
    follows::of_account(tx, "ada", None, 10)?;
    follows::of_account(tx, "ada", Some("m"), 10)?;
    follows::of_topic(tx, "market:m1", "", 10)?;
    follows::count(tx, "ada")?;
    notices::list(tx, "ada", None, false, 10)?;
    notices::list(tx, "ada", Some(9), true, 10)?;
    notices::unread(tx, "ada")?;
    notices::choices(tx, "ada")?;
    panels::closing(tx, 5, 10, 10)?;
    mails::address(tx, "ada")?;
    mails::due(tx, 5, 10)?;
    mails::waiting(tx, "ada", 10)?;
    mails::backlog(tx)?;
    Ok(())
}
