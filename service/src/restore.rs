//! Putting a copied database back into use.
//!
//! A restored service is younger than decisions that schedulers already hold. They are told apart by the epoch, which
//! must be higher than any used before; the time serves where no record of what was used is left.

use std::path::Path;

use plumbline_store::{Store, StoreOptions, Tx, backup, control, ledger};

use crate::policy::EPOCH;
use crate::time::Millis;
use crate::{Result, ServiceError};

/// What was found in a restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Epoch of the decisions when the copy was made.
    pub epoch_before: u64,
    /// Epoch of those that will be issued.
    pub epoch: u64,
}

/// Examines the database at `path`, brings its schema up to date, checks that its money sums to zero, and raises its
/// epoch to `epoch`, by default seconds since 1970 or one more than before, whichever is more.
///
/// # Errors
/// `invalid` for a file that is damaged or not one of ours, for balances that do not follow from the transfers, and for
/// an epoch that is not higher than the file's.
pub fn prepare_restored(path: &Path, epoch: Option<u64>, now: Millis) -> Result<Restored> {
    let store = Store::open(path, StoreOptions::default()).map_err(unusable)?;
    store.write(move |tx| raise_epoch(tx, epoch, now))
}

/// Reads every page of the database at `path`, which must be one of this version's.
///
/// # Errors
/// `invalid` naming what SQLite found.
pub fn examine(path: &Path) -> Result<()> {
    backup::examine(path).map_err(unusable)
}

/// Copies the database of a service, which may be running, as it is at one moment.
///
/// # Errors
/// `invalid` for a file that is not one of this version's or a copy that cannot be written.
pub fn copy_database(from: &Path, to: &Path) -> Result<()> {
    backup::copy(from, to).map_err(unusable)
}

fn unusable(error: plumbline_store::StoreError) -> ServiceError {
    ServiceError::invalid("unusable-database", error.to_string())
}

fn raise_epoch(tx: &mut Tx<'_>, epoch: Option<u64>, now: Millis) -> Result<Restored> {
    let (sum, drift) = (ledger::sum(tx)?, ledger::drift(tx)?);
    if sum != 0 || !drift.is_empty() {
        let detail = format!(
            "the money of the copy does not add up: sum {sum} micro-credits, {} accounts differ from their transfers",
            drift.len()
        );
        return Err(ServiceError::invalid("unbalanced-books", detail));
    }
    let epoch_before = control::get(tx, EPOCH)?
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let seconds = u64::try_from(now / 1_000).unwrap_or(0);
    let epoch = epoch.unwrap_or_else(|| seconds.max(epoch_before + 1));
    if epoch <= epoch_before {
        let detail = format!("the epoch must be above {epoch_before}, the one of the copy");
        return Err(ServiceError::invalid("stale-epoch", detail));
    }
    control::put(tx, EPOCH, &epoch.to_string(), now)?;
    Ok(Restored {
        epoch_before,
        epoch,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_epoch_only_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plumbline.db");
        let now = 1_700_000_000_000;
        let raised = |epoch, now| prepare_restored(&path, epoch, now).map(|found| found.epoch);
        assert_eq!(raised(Some(7), now).unwrap(), 7);
        assert_eq!(raised(None, now).unwrap(), 1_700_000_000);
        assert_eq!(raised(None, now).unwrap(), 1_700_000_001);
        let refused = raised(Some(1_700_000_001), now).unwrap_err();
        assert!(
            refused.to_string().contains("above 1700000001"),
            "{refused}"
        );
        examine(&path).unwrap();
    }
}
