//! A notice on its way into the store: whom it reaches by which way is for what they chose.

use plumbline_store::notices::{self, NewNotice};
use plumbline_store::{Tx, mails};

use super::kind::{Channel, Kind};
use crate::Result;
use crate::time::Millis;

/// Longest title and body, in characters.
const LONGEST_TITLE: usize = 160;
const LONGEST_BODY: usize = 600;
/// What happens within this long goes into one mail.
const GATHER_MS: Millis = 60_000;
/// Between two mails to whoever wants one a day.
const DAY_MS: Millis = 86_400_000;

/// A notice to one person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    /// To whom.
    pub(crate) account_id: String,
    /// What it tells of; nobody is told of the same twice.
    pub(crate) source: String,
    /// The sort.
    pub(crate) kind: Kind,
    /// One line.
    pub(crate) title: String,
    /// The rest.
    pub(crate) body: String,
    /// Path of the page about it.
    pub(crate) link: String,
    /// When it happened.
    pub(crate) at: Millis,
}

/// Stores a notice in the caller's transaction, and queues it to be mailed where that is wanted. Whether it is
/// a new one.
pub(crate) fn post(tx: &mut Tx, draft: Draft, now: Millis) -> Result<bool> {
    let choices = notices::choices(tx, &draft.account_id)?;
    let wants = |channel| draft.kind.wanted(&choices, channel);
    let address = mails::address(tx, &draft.account_id)?;
    let mail_to = address.filter(|row| row.verified_at.is_some() && wants(Channel::Mail));
    let listed = wants(Channel::App);
    if !listed && mail_to.is_none() {
        return Ok(false);
    }
    let row = NewNotice {
        account_id: draft.account_id,
        source: draft.source,
        kind: draft.kind.as_str().to_owned(),
        title: cut(&draft.title, LONGEST_TITLE),
        body: cut(&draft.body, LONGEST_BODY),
        link: draft.link,
        at: draft.at,
        listed,
    };
    let Some(seq) = notices::add(tx, &row)? else {
        return Ok(false);
    };
    if let Some(address) = mail_to {
        mails::add_item(tx, &row.account_id, seq)?;
        let pause = match address.pace.as_str() {
            "daily" => DAY_MS,
            _ => GATHER_MS,
        };
        mails::queue(tx, &row.account_id, "notices", now + pause)?;
    }
    Ok(true)
}

/// A text without control characters, cut at a length in characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    let flat = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= longest {
        return text.chars().map(flat).collect();
    }
    let kept = text.chars().take(longest - 1).map(flat);
    kept.chain(['…']).collect()
}

/// A probability in whole percent.
pub(crate) fn percent(probability: f64) -> String {
    format!("{:.0} %", probability * 100.0)
}

/// An amount in credits.
pub(crate) fn credits(micro: i64) -> String {
    format!("{:.2} credits", micro as f64 / 1e6)
}
