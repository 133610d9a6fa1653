//! The thread that sends what waits to be mailed: one mail for all notices of an account, tried again with growing
//! pauses, given up after days.

use std::sync::Arc;

use plumbline_store::mails::{self, Address, Mail};
use plumbline_store::notices::Notice;

use super::letters::{code_letter, notices_letter};
use crate::time::Millis;
use crate::{Result, Service};

/// Mails that are looked at in one turn.
const TURN: i64 = 200;
/// Notices in one mail at most; the rest goes into the next.
const TOGETHER: i64 = 50;
/// Pause after the first failure; doubled with each further one.
const PAUSE_MS: Millis = 60_000;
/// Longest pause.
const LONGEST_PAUSE_MS: Millis = 6 * 3_600_000;
/// Attempts until a mail is given up: about three days.
const ATTEMPTS: i64 = 20;
/// A code is of no use any more after so many.
const ATTEMPTS_OF_CODE: i64 = 5;
/// Longest note on a failure, in characters.
const LONGEST_ERROR: usize = 200;

/// A mail, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it goes.
    pub to: String,
    /// Its subject, without line breaks.
    pub subject: String,
    /// As text.
    pub text: String,
    /// As HTML.
    pub html: String,
    /// What its `Message-ID` is made of; the same for every attempt.
    pub id: String,
    /// A link that ends such mail with one request, where there is more to come.
    pub unsubscribe: Option<String>,
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostError {
    /// Trying again is of no use: the server refuses the address or the mail.
    pub permanent: bool,
    /// What it said.
    pub why: String,
}

/// Hands mail to a server.
pub trait Postman: Send + Sync {
    /// Sends a mail. Bounded in time.
    ///
    /// # Errors
    /// Why it was not taken.
    fn send(&self, letter: &Letter) -> std::result::Result<(), PostError>;
}

impl Service {
    /// Gives the service somebody who sends mail; without one there is none. Only the first one counts.
    pub fn connect_postman(&self, postman: Arc<dyn Postman>) {
        let _ = self.notices.postman.set(postman);
    }

    /// Sends what is due.
    pub(crate) fn send_mail(&self) -> Result<()> {
        let Some(postman) = self.notices.postman.get().cloned() else {
            return Ok(());
        };
        let now = self.now();
        let due = self.read(|tx| Ok(mails::due(tx, now, TURN)?))?;
        for mail in due {
            self.send_one(postman.as_ref(), mail)?;
        }
        Ok(())
    }

    fn send_one(&self, postman: &dyn Postman, mail: Mail) -> Result<()> {
        let (address, waiting) = self.read(|tx| {
            Ok((
                mails::address(tx, &mail.account_id)?,
                mails::waiting(tx, &mail.account_id, TOGETHER)?,
            ))
        })?;
        let Some((letter, up_to)) = self.letter_of(&mail, address.as_ref(), &waiting) else {
            return self.write(move |tx| Ok(mails::unqueue(tx, &mail.account_id, &mail.sort)?));
        };
        let sent = postman.send(&letter);
        let (now, to) = (self.now(), letter.to);
        self.write(move |tx| {
            // Its owner may have left or changed the address while the mail was under way.
            let same = mails::address(tx, &mail.account_id)?.is_some_and(|row| row.address == to);
            if !same {
                return Ok(());
            }
            match sent {
                Ok(()) => {
                    mails::unqueue(tx, &mail.account_id, &mail.sort)?;
                    if let Some(up_to) = up_to {
                        mails::mailed(tx, &mail.account_id, up_to)?;
                        if !mails::waiting(tx, &mail.account_id, 1)?.is_empty() {
                            mails::queue(tx, &mail.account_id, &mail.sort, now)?;
                        }
                    }
                    Ok(())
                }
                Err(error) => Ok(after_failure(tx, mail, &error, up_to, now)?),
            }
        })
    }

    /// The mail, and the last notice in it; nothing where there is nothing to say any more.
    fn letter_of(
        &self,
        mail: &Mail,
        address: Option<&Address>,
        waiting: &[Notice],
    ) -> Option<(Letter, Option<i64>)> {
        let address = address?;
        let url = &self.config.public_url;
        if mail.sort == "code" {
            let code = address.code.as_ref()?;
            let live = self.now() < address.code_until;
            return live.then(|| (code_letter(address, code, url), None));
        }
        let last = waiting.last()?;
        address.verified_at?;
        Some((notices_letter(address, waiting, url), Some(last.seq)))
    }
}

/// Tries again later; after the last attempt, or where the server refuses for good, what was in the mail is given up.
/// The notices stay listed in the application.
fn after_failure(
    tx: &mut plumbline_store::Tx,
    mail: Mail,
    error: &PostError,
    up_to: Option<i64>,
    now: Millis,
) -> std::result::Result<(), plumbline_store::StoreError> {
    let attempts = mail.attempts + 1;
    let most = if mail.sort == "code" {
        ATTEMPTS_OF_CODE
    } else {
        ATTEMPTS
    };
    tracing::warn!(attempts, error = %error.why, "a mail was not taken");
    if error.permanent || attempts >= most {
        if let Some(up_to) = up_to {
            mails::mailed(tx, &mail.account_id, up_to)?;
        }
        return mails::unqueue(tx, &mail.account_id, &mail.sort);
    }
    let row = Mail {
        attempts,
        due_at: now + pause(attempts),
        last_error: Some(super::drafts::cut(&error.why, LONGEST_ERROR)),
        ..mail
    };
    mails::put(tx, &row)
}

fn pause(attempts: i64) -> Millis {
    let doublings = attempts.saturating_sub(1).clamp(0, 20);
    (PAUSE_MS << doublings).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded() {
        assert_eq!(
            [pause(1), pause(2), pause(3), pause(40)],
            [60_000, 120_000, 240_000, LONGEST_PAUSE_MS]
        );
    }
}
