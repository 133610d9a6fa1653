//! From the fields of a form to the typed action of a proposal.

use plumbline_service::commands::{ProposedAction, RevenueShare};
use serde::Serialize;

use super::form::{Fields, micro_of};

/// Kinds that people propose, with their names.
pub(crate) const KINDS: [(&str, &str); 10] = [
    ("tighten", "Cap or pause a run"),
    ("loosen", "Permit a run more"),
    ("policy-change", "Change the policy"),
    ("treasury", "Pay from the treasury"),
    ("membership", "Give or take roles"),
    ("seal-creation", "Give guardians a seal"),
    ("cancel", "Stop a proposal"),
    ("settlement-dispute", "Call a market off"),
    ("revenue-split", "Divide revenue"),
    ("oracle-change", "Change the oracle"),
];

/// A proposal being written, as typed.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Draft {
    /// Kind of action.
    pub(crate) kind: String,
    /// One line.
    pub(crate) title: String,
    /// Why.
    pub(crate) body: String,
    /// Deposit to pay at once.
    pub(crate) deposit: String,
    /// Name of the run.
    pub(crate) run: String,
    /// Share in percent; empty for a pause.
    pub(crate) cap: String,
    /// Pause it.
    pub(crate) pause: bool,
    /// On the track of emergencies.
    pub(crate) emergency: bool,
    /// Term in hours.
    pub(crate) hours: String,
    /// Validity of a seal in days.
    pub(crate) days: String,
    /// A policy.
    pub(crate) toml: String,
    /// Handle, or several.
    pub(crate) account: String,
    /// An amount of credits.
    pub(crate) amount: String,
    /// Memo, period, or name of a seal.
    pub(crate) memo: String,
    /// Roles to give.
    pub(crate) grant: String,
    /// Roles to take.
    pub(crate) revoke: String,
    /// Market, proposal or version.
    pub(crate) target: String,
    /// How many guardians.
    pub(crate) threshold: String,
    /// What is wrong.
    pub(crate) error: Option<String>,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Draft {
    /// What was typed.
    pub(crate) fn of(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).to_owned();
        Self {
            kind: text("kind"),
            title: text("title"),
            body: fields.raw("body").replace("\r\n", "\n"),
            deposit: text("deposit"),
            run: text("run"),
            cap: text("cap"),
            pause: fields.get("pause") == "yes",
            emergency: fields.get("emergency") == "yes",
            hours: text("hours"),
            days: text("days"),
            toml: fields.raw("toml").replace("\r\n", "\n"),
            account: fields
                .raw("account")
                .replace("\r\n", "\n")
                .trim()
                .to_owned(),
            amount: text("amount"),
            memo: text("memo"),
            grant: text("grant"),
            revoke: text("revoke"),
            target: text("target"),
            threshold: text("threshold"),
            error: None,
            key: String::new(),
        }
    }

    /// The share as basis points.
    fn share(&self) -> Result<u16, String> {
        let micro = micro_of("The share", self.cap.trim_end_matches(['%', ' ']))?;
        let bps = micro / 10_000;
        u16::try_from(bps)
            .ok()
            .filter(|bps| *bps <= 10_000 && micro % 10_000 == 0)
            .ok_or_else(|| "A share is 0 to 100 percent, with at most two decimals".to_owned())
    }

    fn seconds(what: &str, text: &str, unit: i64) -> Result<u64, String> {
        let micro = micro_of(what, text)?;
        let seconds = micro.checked_mul(unit).map(|product| product / 1_000_000);
        seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .ok_or_else(|| format!("{what} is out of range"))
    }

    fn term(&self) -> Result<u64, String> {
        Self::seconds("The term", &self.hours, 3_600)
    }
}

/// Names between commas or blanks.
fn names(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\t'])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Lines of a handle and a weight.
fn shares(text: &str) -> Result<Vec<RevenueShare>, String> {
    let line = |line: &str| {
        let (account, weight) = line
            .trim()
            .rsplit_once([' ', ',', '\t'])
            .ok_or("Each line is a handle and a weight")?;
        Ok(RevenueShare {
            account: account.trim_end_matches([' ', ',', '\t']).to_owned(),
            weight: weight
                .trim()
                .parse()
                .map_err(|_| "A weight is a whole number above zero")?,
        })
    };
    text.lines()
        .filter(|text| !text.trim().is_empty())
        .map(line)
        .collect()
}

/// The action that a draft means. Errors: a sentence for the person.
pub(crate) fn action_of(draft: &Draft) -> Result<ProposedAction, String> {
    Ok(match draft.kind.as_str() {
        "tighten" => ProposedAction::Tighten {
            run: draft.run.clone(),
            cap_bps: if draft.pause {
                None
            } else {
                Some(draft.share()?)
            },
            pause: draft.pause,
            term_s: draft.term()?,
        },
        "loosen" => ProposedAction::Loosen {
            run: draft.run.clone(),
            cap_bps: draft.share()?,
            term_s: draft.term()?,
        },
        "policy-change" => ProposedAction::PolicyChange {
            toml: draft.toml.clone(),
        },
        "treasury" => ProposedAction::Treasury {
            account: draft.account.clone(),
            amount_micro: micro_of("The amount", &draft.amount)?,
            memo: draft.memo.clone(),
        },
        "membership" => ProposedAction::Membership {
            account: draft.account.clone(),
            grant: names(&draft.grant),
            revoke: names(&draft.revoke),
        },
        "cancel" => ProposedAction::Cancel {
            proposal_id: draft.target.clone(),
        },
        "settlement-dispute" => ProposedAction::SettlementDispute {
            market_id: draft.target.clone(),
        },
        "oracle-change" => ProposedAction::OracleChange {
            version_id: draft.target.clone(),
        },
        "revenue-split" => ProposedAction::RevenueSplit {
            amount_micro: micro_of("The amount", &draft.amount)?,
            period: draft.memo.clone(),
            shares: shares(&draft.account)?,
        },
        "seal-creation" => ProposedAction::SealCreation {
            title: draft.memo.clone(),
            guardians: names(&draft.account),
            threshold: draft
                .threshold
                .parse()
                .map_err(|_| "The threshold is a whole number".to_owned())?,
            runs: names(&draft.run),
            cap_bps: draft.share()?,
            term_s: draft.term()?,
            valid_s: Draft::seconds("The validity", &draft.days, 86_400)?,
        },
        _ => return Err("Choose what it does".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn draft(kind: &str) -> Draft {
        Draft {
            kind: kind.to_owned(),
            run: "subject".to_owned(),
            cap: "25".to_owned(),
            hours: "1.5".to_owned(),
            days: "30".to_owned(),
            account: "ada, bob".to_owned(),
            amount: "2.5".to_owned(),
            memo: "m".to_owned(),
            threshold: "2".to_owned(),
            ..Draft::default()
        }
    }

    #[test]
    fn fields_become_typed_actions() {
        let capped = action_of(&draft("tighten")).unwrap();
        let expected = ProposedAction::Tighten {
            run: "subject".into(),
            cap_bps: Some(2_500),
            pause: false,
            term_s: 5_400,
        };
        assert_eq!(capped, expected);
        let ProposedAction::SealCreation {
            guardians, valid_s, ..
        } = action_of(&draft("seal-creation")).unwrap()
        else {
            panic!("not a seal");
        };
        assert_eq!(
            (guardians, valid_s),
            (vec!["ada".to_owned(), "bob".to_owned()], 2_592_000)
        );
        let lines = Draft {
            account: "ada 3\nbob, 1\n".to_owned(),
            ..draft("revenue-split")
        };
        let ProposedAction::RevenueSplit {
            shares,
            amount_micro,
            ..
        } = action_of(&lines).unwrap()
        else {
            panic!("not a split");
        };
        let shares: Vec<_> = shares
            .iter()
            .map(|one| (one.account.as_str(), one.weight))
            .collect();
        assert_eq!(
            (shares, amount_micro),
            (vec![("ada", 3), ("bob", 1)], 2_500_000)
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (kind, change) in [
            (
                "tighten",
                Draft {
                    cap: "101".into(),
                    ..draft("tighten")
                },
            ),
            (
                "loosen",
                Draft {
                    hours: String::new(),
                    ..draft("loosen")
                },
            ),
            (
                "treasury",
                Draft {
                    amount: "lots".into(),
                    ..draft("treasury")
                },
            ),
            (
                "revenue-split",
                Draft {
                    account: "ada".into(),
                    ..draft("revenue-split")
                },
            ),
            ("", draft("bribe")),
        ] {
            assert!(action_of(&change).is_err(), "{kind}");
        }
    }
}
