//! One-time codes as a second factor, and recovery codes for the day on which the device is gone.

use plumbline_access::Action;
use plumbline_store::second_factors::{self, SecondFactor};
use plumbline_store::{Tx, accounts};

use super::totp;
use crate::accounts::account_of;
use crate::commands::{ConfirmSecondFactor, GivePassword, RemoveSecondFactor};
use crate::context::Context;
use crate::defences::Defences;
use crate::secrets::fingerprint;
use crate::time::{Millis, rfc3339};
use crate::views::{RecoveryCodes, SecondFactorKey, SecondFactorView};
use crate::{Result, Service, ServiceError};

/// Name of the service in authenticators.
const ISSUER: &str = "Plumbline";
/// Recovery codes given out at a time.
const RECOVERY_CODES: usize = 10;
/// Wrong codes in a row before the next has to wait.
const FREE_FAILURES: i64 = 5;
/// First wait; doubles with every wrong code after it.
const FIRST_WAIT: Millis = 60_000;
/// Doublings at most: then a wait is eight hours and a half, and ten years of guessing have odds of about 1 in 30.
const MOST_DOUBLINGS: i64 = 9;

impl Service {
    /// Whether the actor's account asks for one-time codes, and how many recovery codes are left.
    pub fn second_factor(&self, ctx: &Context) -> Result<SecondFactorView> {
        self.allow(&ctx.actor, Action::ManageSecondFactor)?;
        let id = account_of(&ctx.actor)?;
        self.read(move |tx| {
            let row = second_factors::get(tx, &id)?;
            let made = row.is_some();
            let confirmed = row.and_then(|row| row.confirmed_at);
            Ok(SecondFactorView {
                enabled: confirmed.is_some(),
                pending: made && confirmed.is_none(),
                since: confirmed.map(rfc3339),
                recovery_codes_left: second_factors::count_recovery(tx, &id)?,
            })
        })
    }

    /// Makes a key for one-time codes. It is asked for once a code of it was shown.
    ///
    /// # Errors
    /// `wrong-password`; `second-factor-on` where there is one.
    pub fn begin_second_factor(
        &self,
        ctx: &Context,
        cmd: &GivePassword,
    ) -> Result<SecondFactorKey> {
        self.allow(&ctx.actor, Action::ManageSecondFactor)?;
        self.check_own_password(ctx, &cmd.password)?;
        let id = account_of(&ctx.actor)?;
        let mut secret = vec![0_u8; totp::KEY_BYTES];
        self.entropy.fill(&mut secret)?;
        let key = SecondFactorKey {
            secret: totp::base32(&secret),
            address: totp::address(ISSUER, &ctx.actor.handle, &secret),
        };
        self.write_at(move |tx, now| {
            if confirmed(tx, &id)?.is_some() {
                return Err(ServiceError::refused(
                    "second-factor-on",
                    "turn the present one off first",
                ));
            }
            let row = SecondFactor {
                account_id: id,
                secret,
                created_at: now,
                confirmed_at: None,
                last_step: 0,
                failures: 0,
                locked_until: 0,
            };
            Ok(second_factors::put(tx, &row)?)
        })?;
        Ok(key)
    }

    /// Turns one-time codes on. The recovery codes are in the answer and nowhere else.
    ///
    /// # Errors
    /// `no-key` where none was made; `second-factor` for a wrong code.
    pub fn confirm_second_factor(
        &self,
        ctx: &Context,
        cmd: &ConfirmSecondFactor,
    ) -> Result<RecoveryCodes> {
        self.allow(&ctx.actor, Action::ManageSecondFactor)?;
        let (id, code) = (account_of(&ctx.actor)?, cmd.code.clone());
        let codes = self.recovery_codes()?;
        let hashes: Vec<String> = codes.iter().map(|code| fingerprint(&plain(code))).collect();
        self.write_at(move |tx, now| {
            let row = second_factors::get(tx, &id)?
                .filter(|row| row.confirmed_at.is_none())
                .ok_or_else(|| ServiceError::refused("no-key", "make a key first"))?;
            let Some(step) = totp::step_of(&row.secret, &plain(&code), now, row.last_step) else {
                return Err(wrong_code());
            };
            let row = SecondFactor {
                confirmed_at: Some(now),
                last_step: step,
                ..row
            };
            second_factors::put(tx, &row)?;
            Ok(second_factors::put_recovery(tx, &id, &hashes)?)
        })?;
        Ok(RecoveryCodes { codes })
    }

    /// Turns one-time codes off.
    ///
    /// # Errors
    /// `wrong-password`; `second-factor` for a wrong code.
    pub fn remove_second_factor(&self, ctx: &Context, cmd: &RemoveSecondFactor) -> Result<()> {
        self.allow(&ctx.actor, Action::ManageSecondFactor)?;
        self.check_own_password(ctx, &cmd.password)?;
        let (id, code) = (account_of(&ctx.actor)?, cmd.code.clone());
        let defences = self.config.defences;
        // A wrong code has to be written down, so it must not undo the transaction.
        self.write_at(move |tx, now| {
            let refused = check_code(tx, &id, Some(&code), now, defences)?;
            if refused.is_none() {
                second_factors::remove(tx, &id)?;
            }
            Ok(refused)
        })?
        .map_or(Ok(()), Err)
    }

    /// Refuses a password that is not the actor's.
    pub(super) fn check_own_password(&self, ctx: &Context, password: &str) -> Result<()> {
        let id = account_of(&ctx.actor)?;
        let account = self.read(move |tx| Ok(accounts::get(tx, &id)?))?;
        if crate::secrets::verify_password(password, account.password_hash.as_deref()) {
            return Ok(());
        }
        Err(ServiceError::invalid(
            "wrong-password",
            "that is not your password",
        ))
    }

    fn recovery_codes(&self) -> Result<Vec<String>> {
        let mut codes = Vec::with_capacity(RECOVERY_CODES);
        for _ in 0..RECOVERY_CODES {
            let mut bytes = [0_u8; 10];
            self.entropy.fill(&mut bytes)?;
            let text = totp::base32(&bytes);
            let (a, b) = text.split_at(8);
            let ((a, b), (c, d)) = (a.split_at(4), b.split_at(4));
            codes.push(format!("{a}-{b}-{c}-{d}"));
        }
        Ok(codes)
    }
}

fn confirmed(tx: &mut Tx, account_id: &str) -> Result<Option<SecondFactor>> {
    let row = second_factors::get(tx, account_id)?;
    Ok(row.filter(|row| row.confirmed_at.is_some()))
}

/// Looks at a one-time or recovery code, and writes down what that changes: the period that was used, or one
/// wrong code more. The answer is why it was refused; where the account asks for none, nothing is.
pub(crate) fn check_code(
    tx: &mut Tx,
    account_id: &str,
    code: Option<&str>,
    now: Millis,
    defences: Defences,
) -> Result<Option<ServiceError>> {
    let Some(row) = confirmed(tx, account_id)? else {
        return Ok(None);
    };
    let code = plain(code.unwrap_or_default());
    if code.is_empty() {
        return Ok(Some(ServiceError::invalid(
            "second-factor",
            "this account asks for a one-time code as well",
        )));
    }
    if row.locked_until > now {
        return Ok(Some(ServiceError::TooMany {
            what: "wrong one-time codes",
            retry_after_s: ((row.locked_until - now) as u64).div_ceil(1000) as u32,
        }));
    }
    let last = if defences.code_once { row.last_step } else { 0 };
    let step = totp::step_of(&row.secret, &code, now, last);
    if step.is_some() || second_factors::use_recovery(tx, account_id, &fingerprint(&code))? {
        let row = SecondFactor {
            last_step: step.unwrap_or(row.last_step),
            failures: 0,
            locked_until: 0,
            ..row
        };
        second_factors::put(tx, &row)?;
        return Ok(None);
    }
    let failures = row.failures + 1;
    let doublings = (failures - FREE_FAILURES).min(MOST_DOUBLINGS);
    let row = SecondFactor {
        failures,
        locked_until: if doublings < 0 || !defences.code_waits {
            0
        } else {
            now + (FIRST_WAIT << doublings)
        },
        ..row
    };
    second_factors::put(tx, &row)?;
    Ok(Some(wrong_code()))
}

fn wrong_code() -> ServiceError {
    ServiceError::invalid(
        "second-factor",
        "that code is wrong, old or was used before",
    )
}

/// A code as people type it, without what they put between its parts.
fn plain(code: &str) -> String {
    let kept = code.chars().filter(|c| c.is_ascii_alphanumeric());
    kept.take(64).collect::<String>().to_ascii_uppercase()
}
