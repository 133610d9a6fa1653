//! Reads and lookups about passkeys.

use crate::{StoreError, Tx, passkeys};

/// All reads.
pub(super) fn every_read(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    passkeys::by_credential(tx, b"x")?;
    passkeys::of_account(tx, "ada")?;
    Ok(())
}

/// The writes that look rows up.
pub(super) fn every_lookup_of_a_write(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    passkeys::used(tx, "x", &[0; 7], 1)?;
    passkeys::delete(tx, "x")?;
    passkeys::forget(tx, "nobody")?;
    Ok(())
}
