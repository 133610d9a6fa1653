//! Which passwords are taken, and changing one's own.

use plumbline_access::Action;
use plumbline_store::{accounts, sessions};

use crate::accounts::account_of;
use crate::commands::ChangePassword;
use crate::context::Context;
use crate::secrets::{fingerprint, hash_password};
use crate::{Result, Service, ServiceError, notices};

/// Guesses that a clever guesser needs at least, as powers of ten: with Argon2id at some 50 a second and core,
/// six years of a core.
const LEAST_GUESSES_LOG10: f64 = 10.0;

/// Refuses a password that is short, or that is soon guessed by someone who knows words, names, dates,
/// keyboards and the handle. No list of leaked passwords is asked.
///
/// # Errors
/// `bad-password`, `weak-password`.
pub(crate) fn check_password(password: &str, handle: &str) -> Result<()> {
    if !(12..=256).contains(&password.chars().count()) {
        return Err(ServiceError::invalid(
            "bad-password",
            "a password has 12 to 256 characters",
        ));
    }
    let estimate = zxcvbn::zxcvbn(password, &[handle, "plumbline"]);
    if estimate.guesses_log10() >= LEAST_GUESSES_LOG10 {
        return Ok(());
    }
    Err(ServiceError::invalid(
        "weak-password",
        "this password is soon guessed; four or five words that have nothing to do with each other are better",
    ))
}

impl Service {
    /// Changes the actor's password and ends all of its sessions but the one that asks. Tokens stay.
    ///
    /// # Errors
    /// `wrong-password` for the present one; `bad-password` and `weak-password` for the new one.
    pub fn change_password(
        &self,
        ctx: &Context,
        cmd: &ChangePassword,
        keep: Option<&str>,
    ) -> Result<()> {
        self.allow(&ctx.actor, Action::ChangePassword)?;
        self.check_own_password(ctx, &cmd.current)?;
        check_password(&cmd.new, &ctx.actor.handle)?;
        let hash = hash_password(&cmd.new, self.config.password_cost, self.entropy.as_ref())?;
        let (id, keep) = (account_of(&ctx.actor)?, keep.map(fingerprint));
        let notice = self.new_id();
        self.write_at(move |tx, now| {
            accounts::set_password(tx, &id, &hash)?;
            notices::warn(
                tx,
                &id,
                &notice,
                "Your password was changed",
                "All other sessions were ended. If it was not you, ask an operator for help.",
                now,
            )?;
            for session in sessions::of_account(tx, &id)? {
                if keep.as_deref() != Some(session.id_hash.as_str()) {
                    sessions::delete(tx, &session.id_hash)?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_soon_guessed_is_refused() {
        for good in [
            "correct horse battery",
            "mEr9#vq2!kPw0",
            "vier tüten kalter schlamm",
        ] {
            check_password(good, "ada").unwrap();
        }
        for (bad, code) in [
            ("short", "bad-password"),
            (&"x".repeat(257), "bad-password"),
            ("passwordpassword", "weak-password"),
            ("aaaaaaaaaaaaaaaa", "weak-password"),
            ("123456789012345", "weak-password"),
            ("qwertyuiopasdf", "weak-password"),
            ("lovelace-lovelace", "weak-password"),
            ("plumbline2026", "weak-password"),
        ] {
            let refused = check_password(bad, "lovelace").unwrap_err();
            assert_eq!(refused.code(), code, "{bad}");
        }
        // As long as they may be, it is still looked at in no time.
        let start = std::time::Instant::now();
        let _ = check_password(&"aB3$".repeat(64), "ada");
        assert!(start.elapsed().as_secs() < 2);
    }
}
