//! Labelled cases, as they come in JSON lines.

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Seed of the order in which rows are taken where not all are.
const SAMPLE_SEED: u64 = 0x5A3;

/// One labelled case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Identity of the case.
    pub id: String,
    /// Kind of claim, `family` or `family:topic`, as [`crate::Claim::kind`].
    pub claim_type: String,
    /// What the run was asked.
    pub prompt: String,
    /// What it did.
    pub response: String,
    /// Share of reviewers who found the claim true, 0..=1.
    pub label: f64,
    /// Rows of one group share a prompt or a scenario and are never split between training and test.
    pub group: String,
}

impl Row {
    /// The case as a reader sees it.
    pub fn passage(&self) -> crate::Passage<'_> {
        crate::Passage {
            kind: &self.claim_type,
            prompt: &self.prompt,
            response: &self.response,
        }
    }
}

/// A named set of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Name of the set, as reports show it.
    pub name: String,
    /// Its cases.
    pub rows: Vec<Row>,
}

impl Dataset {
    /// Reads JSON lines; empty lines are skipped.
    ///
    /// Errors: [`DataError::Row`] with the line number for a line that is not a row or whose label is outside
    /// 0..=1; [`DataError::TooFew`] for no rows at all. The caller knows, and should name, the file.
    pub fn from_jsonl(name: impl Into<String>, text: &str) -> Result<Self, DataError> {
        let mut rows = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let bad = |reason: String| DataError::Row {
                line: index + 1,
                reason,
            };
            let row: Row = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
            if !(0.0..=1.0).contains(&row.label) {
                return Err(bad(format!("label {} is not in 0..=1", row.label)));
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(DataError::TooFew {
                what: "rows",
                have: 0,
                need: 1,
            });
        }
        Ok(Self {
            name: name.into(),
            rows,
        })
    }
}

impl Dataset {
    /// At most `most` rows, of whole groups but for the last, in an order that the groups' hashes give.
    pub fn sampled(mut self, most: usize) -> Self {
        if self.rows.len() > most {
            let key = |row: &Row| fold_of(&row.group, SAMPLE_SEED, usize::MAX);
            self.rows.sort_by_cached_key(key);
            self.rows.truncate(most);
        }
        self
    }
}

/// Which of `folds` folds a group falls in: its BLAKE3 keyed by `seed`, so the same for every caller and every order.
pub fn fold_of(group: &str, seed: u64, folds: usize) -> usize {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(group.as_bytes());
    let bytes = *hasher.finalize().as_bytes();
    let mut head = [0_u8; 8];
    head.copy_from_slice(&bytes[..8]);
    (u64::from_le_bytes(head) % folds.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_named_when_they_are_wrong() {
        let good =
            r#"{"id":"a","claim_type":"k","prompt":"p","response":"r","label":0.5,"group":"g"}"#;
        let set = Dataset::from_jsonl("s", &format!("{good}\n\n{good}\n")).unwrap();
        assert_eq!(set.rows.len(), 2);
        let text = format!("{good}\n{}", good.replace("0.5", "1.5"));
        let error = Dataset::from_jsonl("s", &text).unwrap_err();
        assert!(error.to_string().starts_with("line 2"), "{error}");
        assert!(Dataset::from_jsonl("s", "").is_err());
        assert!(Dataset::from_jsonl("s", "{").is_err());
    }

    #[test]
    fn folds_keep_groups_and_are_even() {
        let mut counts = [0; 5];
        for i in 0..5000 {
            counts[fold_of(&format!("g{i}"), 1, 5)] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
        assert_eq!(fold_of("g", 1, 5), fold_of("g", 1, 5));
    }
}
