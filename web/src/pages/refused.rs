//! A form that was refused: which field the message is about, and what had been typed.
//!
//! Rules speak in sentences and know no form, so the field is found by the words of the sentence. Where none fits, the
//! message stands above the form.

use std::collections::BTreeMap;

use serde::Serialize;

use super::form::Fields;
use super::visit::Facts;

/// A form as it is shown again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// What ids of its fields begin with, which tells it from the page's other forms; empty for the main form.
    pub(crate) form: &'static str,
    /// Id of the field that the message is about; empty for the form as a whole.
    pub(crate) at: String,
    /// What is wrong.
    pub(crate) text: String,
    /// What had been typed, by name. No secrets.
    pub(crate) values: BTreeMap<String, String>,
}

/// Words of messages about a field, by its name; the first field of the form that has one of them in its message.
const ABOUT: &[(&str, &[&str])] = &[
    ("setup_code", &["code"]),
    ("invitation", &["invitation"]),
    ("exhibits", &["exhibit", "json"]),
    ("attachments", &["attach"]),
    ("limit", &["limit"]),
    ("title", &["title"]),
    ("topics", &["topic"]),
    ("url", &["address", "url", "https"]),
    ("days", &["days"]),
    ("hours", &["hours", "term"]),
    ("memo", &["memo"]),
    ("opening", &["opening", "whole text"]),
    ("justification", &["justification"]),
    ("vote", &["vote"]),
    ("pi", &["settlement", "pi "]),
    ("bond", &["bond"]),
    ("deposit", &["deposit"]),
    ("reason", &["reason"]),
    ("stake", &["stake"]),
    ("conviction", &["conviction", "stake"]),
    ("delegate", &["delegat", "account"]),
    ("cap", &["cap", "share"]),
    ("account", &["account", "handle"]),
    ("handle", &["handle"]),
    (
        "current",
        &["current", "password is wrong", "wrong password"],
    ),
    ("new", &["password"]),
    ("password", &["password"]),
    ("code", &["code"]),
    ("toml", &["policy", "toml"]),
    ("scope", &["scope"]),
    ("run", &["run"]),
    (
        "amount",
        &["amount", "shares", "target", "price", "order", "spend"],
    ),
    ("body", &["comment", "explain", "body", "text"]),
    ("note", &["note"]),
    ("name", &["name"]),
];

/// Fields of money, and words of messages that there is too little of it.
const MONEY: (&[&str], &[&str]) = (
    &["amount", "stake", "bond", "deposit"],
    &["balance", "funds", "credits", "cover", "afford"],
);

/// Never shown again.
const SECRETS: &[&str] = &[
    "csrf",
    "idempotency",
    "password",
    "current",
    "new",
    "code",
    "setup_code",
    "attempt",
    "credential",
    "nonce",
];

impl Refused {
    /// A form that was refused with a sentence.
    pub(crate) fn of(form: &'static str, fields: &Fields, text: &str) -> Self {
        let at = about(fields, text).map_or(String::new(), |name| format!("{form}{name}"));
        let kept = fields
            .iter()
            .filter(|(name, _)| !SECRETS.contains(&name.as_str()));
        Self {
            form,
            at,
            text: text.to_owned(),
            values: kept.cloned().collect(),
        }
    }
}

/// The name of the field that a message is about.
fn about(fields: &Fields, text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let has = |name: &str| fields.iter().any(|(field, _)| field == name);
    let (money, poor) = MONEY;
    if says(poor)
        && let Some(name) = money.iter().find(|name| has(name))
    {
        return Some(name);
    }
    ABOUT
        .iter()
        .find(|(name, words)| has(name) && says(words))
        .map(|(name, _)| *name)
}

impl super::form::Form {
    /// The visit, for the page that shows a refused form again.
    pub(crate) fn refused(&self, form: &'static str, text: &str) -> Facts {
        let refused = Refused::of(form, &self.fields, text);
        self.facts.clone().with_refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(names: &[&str]) -> Fields {
        names
            .iter()
            .map(|name| ((*name).to_owned(), format!("typed {name}")))
            .collect()
    }

    #[test]
    fn messages_find_their_field() {
        let order = ["csrf", "idempotency", "outcome", "mode", "amount", "limit"];
        let case = ["pi", "bond", "reason"];
        let evidence = ["title", "kind", "body", "exhibits", "stake"];
        for (names, text, field) in [
            (
                &order[..],
                "The amount must be a number with at most six decimals, such as 12.5",
                "amount",
            ),
            (
                &order,
                "The limit must be a percentage, such as 35",
                "limit",
            ),
            (&order, "the balance does not cover the order", "amount"),
            (&case, "The bond must be a number", "bond"),
            (&case, "the reason is 1 to 2000 characters", "reason"),
            (
                &case,
                "The settlement must be a percentage, such as 100",
                "pi",
            ),
            (
                &evidence,
                "The exhibits are not JSON: expected value",
                "exhibits",
            ),
            (&evidence, "the title is 1 to 200 characters", "title"),
            (
                &["handle", "password"],
                "the password is too short",
                "password",
            ),
            (&["url", "topics"], "that address is refused", "url"),
            (&["side"], "voting has ended", ""),
        ] {
            let refused = Refused::of("", &fields(names), text);
            assert_eq!(refused.at, field, "{text}");
        }
    }

    #[test]
    fn what_was_typed_is_kept_and_secrets_are_not() {
        let names = ["csrf", "idempotency", "password", "code", "handle"];
        let refused = Refused::of("close-", &fields(&names), "wrong handle");
        assert_eq!(refused.at, "close-handle");
        let kept: Vec<&str> = refused.values.keys().map(String::as_str).collect();
        assert_eq!(kept, ["handle"]);
    }
}
