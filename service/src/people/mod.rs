//! Accounts of people: signing in, passwords, second factors, invitations, leaving.

mod closing;
mod export;
pub(crate) mod invitations;
pub(crate) mod passkeys;
pub(crate) mod password;
pub mod recovery;
mod second_factor;
mod sessions;
pub mod totp;
