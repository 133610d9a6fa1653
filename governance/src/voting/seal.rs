//! Seals: emergency authority that a vote approved before it is needed.
//!
//! ```text
//! ready → signing (fewer than k) → used → lapsed
//!     └──────────┴→ expired
//! ```
//!
//! A seal can only tighten, only the runs it names, only once, and only while it is valid. Guardians
//! use it together: the k-th signature puts its cap in force for its term, and opens a vote about it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::Bps;

/// Most guardians of one seal.
pub const MAX_GUARDIANS: usize = 15;

/// Why a seal was not used. It is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// Not one of the guardians.
    #[error("only its guardians use a seal")]
    NoGuardian,
    /// It has been used.
    #[error("this seal was used; a seal is good for one use")]
    Used,
    /// It is not valid any more.
    #[error("this seal expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The guardian has signed.
    #[error("you have signed this use already")]
    SignedAlready,
    /// The run is not one of the seal's.
    #[error("this seal does not cover the run")]
    OutOfScope,
    /// Guardians, threshold, cap or times make no sense.
    #[error("{0}")]
    Terms(&'static str),
}

impl SealError {
    /// Stable problem code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoGuardian => "no-guardian",
            Self::Used => "seal-used",
            Self::Expired { .. } => "seal-expired",
            Self::SignedAlready => "signed-already",
            Self::OutOfScope => "seal-out-of-scope",
            Self::Terms(_) => "bad-seal",
        }
    }
}

/// What a seal allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealTerms {
    /// Accounts that use it together.
    pub guardians: BTreeSet<String>,
    /// How many of them it takes.
    pub threshold: u8,
    /// The runs that it covers; all where there are none.
    pub runs: BTreeSet<Uuid>,
    /// The cap that it puts in force.
    pub cap_bps: Bps,
    /// For how long, seconds.
    pub term_s: u64,
    /// How long it can be used, seconds.
    pub valid_s: u64,
}

/// Longest effect of a seal: two weeks, in seconds.
const MAX_TERM: u64 = 14 * 86_400;
/// Longest validity: a year, in seconds.
const MAX_VALIDITY: u64 = 366 * 86_400;

impl SealTerms {
    /// Checks the terms.
    ///
    /// # Errors
    /// [`SealError::Terms`] with what would be right.
    pub fn check(&self) -> Result<(), SealError> {
        let guardians = self.guardians.len();
        if !(1..=MAX_GUARDIANS).contains(&guardians) {
            return Err(SealError::Terms("a seal has 1 to 15 guardians"));
        }
        if self.threshold == 0 || usize::from(self.threshold) > guardians {
            return Err(SealError::Terms(
                "the threshold is 1 to the number of guardians",
            ));
        }
        if self.runs.len() > 64 {
            return Err(SealError::Terms("a seal names at most 64 runs"));
        }
        if self.cap_bps == Bps::FULL {
            return Err(SealError::Terms(
                "a seal only tightens: its cap is below the whole",
            ));
        }
        if !(1..=MAX_TERM).contains(&self.term_s) {
            return Err(SealError::Terms(
                "the effect of a seal lasts 1 second to two weeks",
            ));
        }
        if !(1..=MAX_VALIDITY).contains(&self.valid_s) {
            return Err(SealError::Terms("a seal is valid for 1 second to a year"));
        }
        Ok(())
    }
}

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// What it allows.
    pub terms: SealTerms,
    /// It can be used before this.
    pub expires_at: Timestamp,
    /// Who wants which run capped.
    pub signed: BTreeMap<String, Uuid>,
    /// When the last signature that was needed came.
    pub used_at: Option<Timestamp>,
    /// The run that was capped.
    pub run: Option<Uuid>,
}

impl Seal {
    /// A seal that nobody has signed.
    ///
    /// # Errors
    /// [`SealError::Terms`].
    pub fn new(terms: SealTerms, expires_at: Timestamp) -> Result<Self, SealError> {
        terms.check()?;
        Ok(Self {
            terms,
            expires_at,
            signed: BTreeMap::new(),
            used_at: None,
            run: None,
        })
    }

    /// The name of where it stands.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> &'static str {
        if self.used_at.is_some() {
            "used"
        } else if now >= self.expires_at {
            "expired"
        } else if self.signed.is_empty() {
            "ready"
        } else {
            "signing"
        }
    }

    /// The seal with a guardian's signature on capping `run`, in place of one on another run; it is used
    /// when [`Seal::used_at`] is set then.
    ///
    /// # Errors
    /// Says why not; the seal is unchanged then.
    pub fn sign(&self, guardian: &str, run: Uuid, now: Timestamp) -> Result<Self, SealError> {
        if !self.terms.guardians.contains(guardian) {
            return Err(SealError::NoGuardian);
        }
        if self.used_at.is_some() {
            return Err(SealError::Used);
        }
        if now >= self.expires_at {
            return Err(SealError::Expired {
                at: self.expires_at,
            });
        }
        if !self.terms.runs.is_empty() && !self.terms.runs.contains(&run) {
            return Err(SealError::OutOfScope);
        }
        let mut next = self.clone();
        if next.signed.insert(guardian.to_owned(), run) == Some(run) {
            return Err(SealError::SignedAlready);
        }
        let agreed = next.signed.values().filter(|one| **one == run).count();
        if agreed >= usize::from(self.terms.threshold) {
            next.used_at = Some(now);
            next.run = Some(run);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn terms() -> SealTerms {
        SealTerms {
            guardians: ["ada", "bob", "cyd"].map(str::to_owned).into(),
            threshold: 2,
            runs: [Uuid::from_u128(1)].into(),
            cap_bps: Bps::new(500).unwrap(),
            term_s: 60,
            valid_s: 1_000,
        }
    }

    #[test]
    fn two_of_three_use_it_once() {
        let run = Uuid::from_u128(1);
        let seal = Seal::new(terms(), at(100)).unwrap();
        assert_eq!(seal.status(at(1)), "ready");
        assert_eq!(seal.sign("eve", run, at(1)), Err(SealError::NoGuardian));
        assert_eq!(
            seal.sign("ada", Uuid::from_u128(2), at(1)),
            Err(SealError::OutOfScope)
        );
        let one = seal.sign("ada", run, at(1)).unwrap();
        assert_eq!((one.status(at(1)), one.used_at), ("signing", None));
        assert_eq!(one.sign("ada", run, at(2)), Err(SealError::SignedAlready));
        assert_eq!(
            one.sign("bob", run, at(100)),
            Err(SealError::Expired { at: at(100) })
        );
        assert_eq!(one.status(at(100)), "expired");
        let two = one.sign("bob", run, at(3)).unwrap();
        assert_eq!((two.status(at(200)), two.used_at), ("used", Some(at(3))));
        assert_eq!(two.sign("cyd", run, at(4)), Err(SealError::Used));
    }

    #[test]
    fn signatures_on_different_runs_do_not_add_up() {
        let open = SealTerms {
            runs: BTreeSet::new(),
            ..terms()
        };
        let seal = Seal::new(open, at(100)).unwrap();
        let (this, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let two = seal
            .sign("ada", this, at(1))
            .unwrap()
            .sign("bob", other, at(1))
            .unwrap();
        assert_eq!(two.used_at, None);
        let agreed = two.sign("bob", this, at(2)).unwrap();
        assert_eq!((agreed.used_at, agreed.run), (Some(at(2)), Some(this)));
    }

    #[test]
    fn terms_that_would_loosen_or_never_end_are_refused() {
        let table = [
            SealTerms {
                guardians: BTreeSet::new(),
                ..terms()
            },
            SealTerms {
                threshold: 0,
                ..terms()
            },
            SealTerms {
                threshold: 4,
                ..terms()
            },
            SealTerms {
                cap_bps: Bps::FULL,
                ..terms()
            },
            SealTerms {
                term_s: 0,
                ..terms()
            },
            SealTerms {
                term_s: MAX_TERM + 1,
                ..terms()
            },
            SealTerms {
                valid_s: 0,
                ..terms()
            },
        ];
        for bad in table {
            let error = Seal::new(bad, at(9)).unwrap_err();
            assert_eq!(error.code(), "bad-seal");
        }
    }
}
