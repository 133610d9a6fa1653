//! What was checked and what was found.

use std::collections::BTreeMap;

use serde::Serialize;

/// Violations that are listed; further ones are only counted.
const LISTED: usize = 1_000;

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What does not agree, with both values.
    pub what: String,
    /// The table and key of the row where it shows.
    #[serde(rename = "where")]
    pub place: String,
}

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many of each kind of thing were recomputed and compared.
    pub checked: BTreeMap<&'static str, u64>,
    /// What did not agree; the first 1,000.
    pub violations: Vec<Violation>,
    /// How many did not agree in all.
    pub violations_in_all: u64,
}

impl Report {
    /// Whether everything agreed.
    pub fn is_green(&self) -> bool {
        self.violations_in_all == 0
    }

    /// Counts one more checked thing.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.checked.entry(what).or_default() += 1;
    }

    /// Notes a violation.
    pub(crate) fn violation(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.violations_in_all += 1;
        if self.violations.len() < LISTED {
            self.violations.push(Violation {
                what: what.into(),
                place: place.into(),
            });
        }
    }

    /// Notes a violation unless `stated` is `recomputed`.
    pub(crate) fn agree<T: PartialEq + std::fmt::Debug>(
        &mut self,
        place: &str,
        what: &str,
        stated: T,
        recomputed: T,
    ) {
        if stated != recomputed {
            self.violation(
                place,
                format!("{what} is stated as {stated:?}, recomputed {recomputed:?}"),
            );
        }
    }

    /// Notes a violation unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, place: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(place, what());
        }
    }
}
