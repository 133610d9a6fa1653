//! The address that an account's notices are mailed to: proved by a code first, ended by a link that needs no account.

use blake3::Hash;
use plumbline_access::Action;
use plumbline_store::mails::{self, Address, Mail};
use subtle::ConstantTimeEq;

use crate::accounts::account_of;
use crate::commands::{SetMailAddress, VerifyMailAddress};
use crate::context::Context;
use crate::time::{Millis, rfc3339};
use crate::views::MailView;
use crate::{Result, Service, ServiceError};

/// Longest address, bytes, as SMTP has it.
const LONGEST: usize = 254;
/// A code counts for this long.
const CODE_MS: Millis = 30 * 60_000;
/// Between two codes: they go to addresses that nobody has proved to be theirs.
const BETWEEN_MS: Millis = 5 * 60_000;
/// Wrong codes until a new one is needed: a code has 10⁸ values.
const GUESSES: i64 = 5;
/// What a signature is made for.
const PURPOSE: &str = "plumbline unsubscribe ";

impl Service {
    /// Where the actor's notices are mailed, if anywhere.
    pub fn mail_address(&self, ctx: &Context) -> Result<MailView> {
        self.allow(&ctx.actor, Action::ManageMail)?;
        let account = account_of(&ctx.actor)?;
        let row = self.read(|tx| Ok(mails::address(tx, &account)?))?;
        Ok(self.mail_view(row))
    }

    /// Sets the address and mails it a code; nothing else is mailed before the code was shown. Another pace for the
    /// same address needs no code.
    ///
    /// # Errors
    /// `mail-off`; `bad-address`; `bad-pace`; `wait` where a code was mailed a short while ago.
    pub fn set_mail_address(&self, ctx: &Context, cmd: &SetMailAddress) -> Result<MailView> {
        self.allow(&ctx.actor, Action::ManageMail)?;
        if self.notices.postman.get().is_none() {
            return Err(ServiceError::refused(
                "mail-off",
                "this service sends no mail",
            ));
        }
        let address = checked(&cmd.address)?;
        if !matches!(cmd.pace.as_str(), "once" | "daily") {
            return Err(ServiceError::invalid("bad-pace", "pace is once or daily"));
        }
        let seed = self.random_seed()?;
        let (account_id, pace, key) = (
            account_of(&ctx.actor)?,
            cmd.pace.clone(),
            self.random_seed()?,
        );
        let row = self.write_once(ctx, move |tx, now| {
            let before = mails::address(tx, &account_id)?;
            if let Some(same) = before
                .as_ref()
                .filter(|row| row.address == address && row.verified_at.is_some())
            {
                let row = Address {
                    pace,
                    ..same.clone()
                };
                mails::put_address(tx, &row)?;
                return Ok(Stored::of(row));
            }
            if before.is_some_and(|row| now - row.coded_at < BETWEEN_MS) {
                return Err(ServiceError::refused(
                    "wait",
                    "a code was mailed less than five minutes ago; use it, or wait",
                ));
            }
            // Whatever waits was meant for the address before.
            mails::forget(tx, &account_id)?;
            let row = Address {
                account_id,
                address,
                pace,
                verified_at: None,
                code: Some(code_of(&seed)),
                code_until: now + CODE_MS,
                guesses: 0,
                coded_at: now,
                unsubscribe_key: key.to_vec(),
            };
            mails::put_address(tx, &row)?;
            mails::put(
                tx,
                &Mail {
                    account_id: row.account_id.clone(),
                    sort: "code".to_owned(),
                    due_at: now,
                    attempts: 0,
                    last_error: None,
                },
            )?;
            Ok(Stored::of(row))
        })?;
        self.ring();
        Ok(self.mail_view_of(Some(row)))
    }

    /// Shows that the actor reads the address.
    ///
    /// # Errors
    /// `bad-code`, also once the code is too old or too many wrong ones were tried.
    pub fn verify_mail_address(&self, ctx: &Context, cmd: &VerifyMailAddress) -> Result<MailView> {
        self.allow(&ctx.actor, Action::ManageMail)?;
        let (account, given, now) = (
            account_of(&ctx.actor)?,
            cmd.code.trim().to_owned(),
            self.now(),
        );
        // A wrong code has to be written down, so it must not undo the transaction.
        let verified = self.write(move |tx| {
            let Some(row) = mails::address(tx, &account)? else {
                return Ok(None);
            };
            let code = row.code.clone().unwrap_or_default();
            let live = now < row.code_until && row.guesses < GUESSES && !code.is_empty();
            let right = live && bool::from(code.as_bytes().ct_eq(given.as_bytes()));
            let row = if right {
                Address {
                    verified_at: Some(now),
                    code: None,
                    ..row
                }
            } else {
                Address {
                    guesses: row.guesses.saturating_add(1),
                    ..row
                }
            };
            mails::put_address(tx, &row)?;
            if right {
                mails::unqueue(tx, &account, "code")?;
            }
            Ok(right.then_some(row))
        })?;
        match verified {
            Some(row) => Ok(self.mail_view(Some(row))),
            None => Err(ServiceError::invalid(
                "bad-code",
                "this is not the code, or it is too old; set the address again for a new one",
            )),
        }
    }

    /// Forgets the actor's address.
    pub fn remove_mail_address(&self, ctx: &Context) -> Result<()> {
        self.allow(&ctx.actor, Action::ManageMail)?;
        let account = account_of(&ctx.actor)?;
        self.write(move |tx| Ok(mails::forget(tx, &account)?))
    }

    /// Ends the mail that a signed link came with: whoever holds it read the mail, and needs no account.
    ///
    /// # Errors
    /// `not-found` for a link that was not signed here, or whose address is gone already.
    pub fn unsubscribe(&self, link: &str) -> Result<()> {
        let gone = || ServiceError::not_found("subscription", "of this link");
        let (account, _) = link.split_once('.').ok_or_else(gone)?;
        let (account, link) = (account.to_owned(), link.to_owned());
        self.write(move |tx| {
            let row = mails::address(tx, &account)?;
            let right = row
                .as_ref()
                .is_some_and(|row| bool::from(signed_link(row).as_bytes().ct_eq(link.as_bytes())));
            if !right {
                return Err(gone());
            }
            Ok(mails::forget(tx, &account)?)
        })
    }

    fn mail_view(&self, row: Option<Address>) -> MailView {
        self.mail_view_of(row.map(Stored::of))
    }

    fn mail_view_of(&self, row: Option<Stored>) -> MailView {
        MailView {
            offered: self.notices.postman.get().is_some(),
            address: row.as_ref().map(|row| row.address.clone()),
            pace: row.as_ref().map(|row| row.pace.clone()),
            verified_at: row.and_then(|row| row.verified_at).map(rfc3339),
        }
    }
}

/// What may stand in an answer that is kept under an idempotency key: neither code nor key.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    address: String,
    pace: String,
    verified_at: Option<Millis>,
}

impl Stored {
    fn of(row: Address) -> Self {
        Self {
            address: row.address,
            pace: row.pace,
            verified_at: row.verified_at,
        }
    }
}

/// The end of a link that ends the mail to an address.
pub(super) fn signed_link(row: &Address) -> String {
    let key = <[u8; 32]>::try_from(row.unsubscribe_key.as_slice()).unwrap_or_default();
    let signed: Hash = blake3::keyed_hash(&key, format!("{PURPOSE}{}", row.address).as_bytes());
    format!("{}.{}", row.account_id, signed.to_hex())
}

/// Eight digits of a random seed.
fn code_of(seed: &[u8; 32]) -> String {
    let [a, b, c, d, e, f, g, h, ..] = *seed;
    // Of 64 bits, so that no code is noticeably likelier than another.
    format!(
        "{:08}",
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) % 100_000_000
    )
}

/// An address as SMTP takes it without extensions: printable ASCII, nothing that ends a header or a command.
fn checked(text: &str) -> Result<String> {
    let text = text.trim();
    let fits = |part: &str, more: &[u8]| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.contains("..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let good = text.len() <= LONGEST
        && text.split_once('@').is_some_and(|(local, domain)| {
            local.len() <= 64 && fits(local, b".!#$%&'*+/=?^_`{|}~-") && fits(domain, b".-")
        });
    if good {
        return Ok(text.to_owned());
    }
    Err(ServiceError::invalid(
        "bad-address",
        "this is no mail address that we can reach, such as ada@example.org",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_that_could_carry_more_than_an_address_are_refused() {
        assert_eq!(checked(" ada@example.org ").unwrap(), "ada@example.org");
        assert!(checked("ada+x@localhost").is_ok());
        for bad in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@exa mple.org",
            "ada@example.org\r\nBcc: eve@example.org",
            "ada@example.org,eve@example.org",
            "Ada <ada@example.org>",
            "\"a b\"@example.org",
            "ada@[127.0.0.1]",
            "ada@@example.org",
            "a..b@example.org",
            "ä@example.org",
        ] {
            assert_eq!(checked(bad).unwrap_err().code(), "bad-address", "{bad}");
        }
        assert!(checked(&format!("{}@example.org", "a".repeat(65))).is_err());
    }

    #[test]
    fn a_link_is_signed_for_one_account_and_address() {
        let row = Address {
            account_id: "a".to_owned(),
            address: "ada@example.org".to_owned(),
            pace: "once".to_owned(),
            verified_at: None,
            code: None,
            code_until: 0,
            guesses: 0,
            coded_at: 0,
            unsubscribe_key: vec![7; 32],
        };
        let link = signed_link(&row);
        let other = Address {
            address: "eve@example.org".to_owned(),
            ..row.clone()
        };
        let rekeyed = Address {
            unsubscribe_key: vec![8; 32],
            ..row.clone()
        };
        assert_eq!(signed_link(&row), link);
        assert_ne!(signed_link(&other), link);
        assert_ne!(signed_link(&rekeyed), link);
        assert_eq!(code_of(&[0; 32]), "00000000");
    }
}
