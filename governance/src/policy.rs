//! The policy: a versioned TOML document whose rules are CEL conditions.
//!
//! ```
//! use plumbline_governance::policy::{Policy, RuleInput};
//! use plumbline_governance::{Action, Workload};
//!
//! let policy = Policy::parse(Policy::default_toml())?;
//! let settled = RuleInput {
//!     settlement: Some(0.9),
//!     ..RuleInput::unpriced(Workload::Training, 1.0)
//! };
//! let verdict = policy.evaluate(&settled);
//! assert_eq!(verdict.action, Action::Throttle);
//! assert_eq!(verdict.cap.get(), 500);
//! # Ok::<(), plumbline_governance::policy::PolicyError>(())
//! ```

mod document;
mod inference;
mod rules;
mod sanity;

pub use document::{
    BoundSettings, BudgetSettings, Concern, ControlSettings, LeaseSettings, LimitSettings,
    PolicyDocument, PriceSettings, RuleDocument, RunWeight, Signatures, Thresholds, WeightOverride,
    WeightSettings,
};
pub use inference::InferenceSettings;
pub use rules::{FiredRule, RuleFault, RuleInput, VARIABLES, Verdict};

use rules::RuleSet;
use thiserror::Error;

/// Longest policy document accepted, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Most rules a policy may hold.
pub const MAX_RULES: usize = 128;
/// Longest condition accepted, in bytes.
pub const MAX_CONDITION_BYTES: usize = 2_000;

/// Why a policy document was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PolicyError {
    /// The text is not TOML of the right shape; the message names line and field.
    #[error("the policy is not valid: {0}")]
    Syntax(String),
    /// A field holds a value outside its domain.
    #[error("policy field `{field}`: {problem}")]
    Field {
        /// Dotted path of the field.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A rule cannot be used.
    #[error("policy rule `{rule}`, field `{field}`: {problem}")]
    Rule {
        /// Identifier of the rule.
        rule: String,
        /// Field of the rule.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Two parts of it cannot both hold.
    #[error("the policy contradicts itself: {0}")]
    Contradiction(String),
    /// No run could get any compute, whatever is known about it.
    #[error("the policy starves every run: {0}")]
    Starves(String),
    /// A condition divides by something that may be nothing.
    #[error(
        "policy rule `{rule}` divides by `{divisor}`, which may be nothing; divide by a number, `trip` or `clear`"
    )]
    Division {
        /// Identifier of the rule.
        rule: String,
        /// What it divides by.
        divisor: String,
    },
}

impl PolicyError {
    /// Stable problem code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        // Fields that are sound alone and wrong beside each other.
        const TOGETHER: [&str; 4] = [
            "thresholds.clear",
            "lease.expires_s",
            "signatures.loosen",
            "retest_by",
        ];
        match self {
            Self::Syntax(_) => "policy-does-not-parse",
            Self::Field { field, .. }
                if TOGETHER.contains(&field.as_str()) || field.ends_with("floor_bps") =>
            {
                "policy-contradicts-itself"
            }
            Self::Field { .. } | Self::Rule { .. } => "policy-invalid",
            Self::Contradiction(_) => "policy-contradicts-itself",
            Self::Starves(_) => "policy-starves-every-run",
            Self::Division { .. } => "policy-divides-by-nothing",
        }
    }
}

/// A policy that has been parsed, validated, compiled and tried out.
#[derive(Debug)]
pub struct Policy {
    document: PolicyDocument,
    canonical: String,
    hash: String,
    rules: RuleSet,
}

impl Policy {
    /// The policy shipped as the default, hours-scale.
    #[must_use]
    pub const fn default_toml() -> &'static str {
        include_str!("../policies/default.toml")
    }

    /// The same rules with seconds-scale times, for demonstrations.
    #[must_use]
    pub const fn demo_toml() -> &'static str {
        include_str!("../policies/demo.toml")
    }

    /// Parses a document, checks every field, compiles every rule and tries
    /// each on sample inputs (priced, unpriced, settled either way), so that
    /// an unknown variable or a type error shows here and not in operation.
    /// A document that contradicts itself, or under which no run could get
    /// anything, is refused too.
    ///
    /// # Errors
    /// Names the line, field or rule that is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(PolicyError::Syntax(format!(
                "longer than {MAX_DOCUMENT_BYTES} bytes"
            )));
        }
        let document: PolicyDocument =
            toml::from_str(text).map_err(|error| PolicyError::Syntax(error.to_string()))?;
        Self::from_document(document)
    }

    /// As [`Policy::parse`], for a document already in memory.
    ///
    /// # Errors
    /// Names the field or rule that is wrong.
    pub fn from_document(document: PolicyDocument) -> Result<Self, PolicyError> {
        document.validate()?;
        let rules = RuleSet::compile(&document)?;
        let canonical = serde_json::to_string(&document)
            .map_err(|error| PolicyError::Syntax(error.to_string()))?;
        let hash = blake3::hash(canonical.as_bytes()).to_hex().to_string();
        let policy = Self {
            document,
            canonical,
            hash,
            rules,
        };
        sanity::check(&policy)?;
        Ok(policy)
    }

    /// The document as read.
    #[must_use]
    pub const fn document(&self) -> &PolicyDocument {
        &self.document
    }

    /// The text that is hashed: the document as JSON without white space, its
    /// fields in the order in which this crate declares them. Comments and
    /// layout of the TOML do not reach it.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// BLAKE3 of [`Policy::canonical`], 64 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Applies every rule to one run.
    ///
    /// The strictest action and the lowest cap among the rules that fire win,
    /// so a rule can only tighten. A rule that fails to evaluate counts as
    /// fired (it is also listed in [`Verdict::faults`]): an error must never
    /// loosen.
    #[must_use]
    pub fn evaluate(&self, input: &RuleInput) -> Verdict {
        self.rules.evaluate(&self.document, input)
    }

    /// Value, severity, floor and cap of the run called `name`.
    #[must_use]
    pub fn weight(&self, name: &str) -> RunWeight {
        self.document.weights.of(name, &self.document.limits)
    }
}

#[cfg(test)]
mod tests;
