//! The shape of a policy document, and the domain of every field.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::inference::InferenceSettings;
use super::{MAX_CONDITION_BYTES, MAX_RULES, PolicyError};
use crate::tail::TailSettings;
use crate::{Action, Bps, Mode};

/// The only schema this crate reads.
const SCHEMA: u32 = 1;
/// A year, the longest time any setting may name, in seconds.
const MAX_SECONDS: u64 = 366 * 86_400;

/// A policy document, schema 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// Version of this shape; 1.
    pub schema: u32,
    /// Short name, kebab-case.
    pub name: String,
    /// Version of the policy under its name, from 1.
    pub version: u32,
    /// Whether decisions bind or are only shown.
    #[serde(default)]
    pub mode: Mode,
    /// Who answers for the policy.
    pub owner: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// First day of force.
    pub effective_from: Date,
    /// Day by which its thresholds must be tested again.
    pub retest_by: Date,
    /// What ends it.
    pub exit_condition: String,
    /// The price that rules read.
    pub price: PriceSettings,
    /// Credible bounds round that price.
    pub bound: BoundSettings,
    /// Trip and clear thresholds.
    pub thresholds: Thresholds,
    /// Speed of loosening.
    pub control: ControlSettings,
    /// What is shared out.
    pub budget: BudgetSettings,
    /// Floor and cap of every run without its own.
    pub limits: LimitSettings,
    /// Life of a decision.
    pub lease: LeaseSettings,
    /// Limits, floor and price of inference; without it there are no decisions on inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceSettings>,
    /// Signatures a consumer asks for.
    #[serde(default)]
    pub signatures: Signatures,
    /// Value and severity of runs.
    pub weights: WeightSettings,
    /// The rules, in the order in which they are shown.
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleDocument>,
}

/// Window and clamp of the price that policy reads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    /// Length of the averaging window, seconds.
    pub window_s: u64,
    /// Lowest price that enters the average, in (0, ½).
    pub clamp_low: f64,
    /// Highest price that enters the average, in (½, 1).
    pub clamp_high: f64,
}

/// Constants of the credible bound; see [`crate::bound::half_width`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSettings {
    /// Standard normal quantile of the bound, > 0.
    pub z: f64,
    /// Spread of the best informed price, log-odds, ≥ 0.
    pub sigma_base: f64,
    /// Spread added by a market without liquidity, log-odds, ≥ 0.
    pub sigma_liquidity: f64,
    /// Liquidity at which half of that variance is gone, micro-credits, > 0.
    pub liquidity_scale_micro: u64,
    /// Spread added by a price nobody has touched for ever, log-odds, ≥ 0.
    pub sigma_staleness: f64,
    /// Time constant of staleness, seconds, > 0.
    pub staleness_scale_s: u64,
    /// Spread of one effective judge, log-odds, ≥ 0.
    pub sigma_judges: f64,
    /// Widest half-width, log-odds, > 0.
    pub max_half_width: f64,
}

/// Thresholds on the upper bound; `clear < trip` gives the hysteresis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Rules usually throttle above this probability.
    pub trip: f64,
    /// Nothing loosens unless the upper bound stays below this probability.
    pub clear: f64,
}

/// How fast a share may grow, and on what basis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSettings {
    /// Share a run is admitted with, before anything is known about it.
    pub start_bps: Bps,
    /// Time the upper bound must stay under `clear` first, seconds.
    pub dwell_s: u64,
    /// Largest increase at once, > 0.
    pub step_bps: Bps,
    /// Shortest time between increases of one run, seconds, > 0.
    pub step_every_s: u64,
    /// A market untouched for longer is stale, seconds, > 0.
    pub max_staleness_s: u64,
    /// A market with less liquidity is thin, micro-credits.
    pub min_liquidity_micro: u64,
}

/// What is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    /// Risk budget R of the allocator: the largest Σ severity · bound · share, ≥ 0.
    pub risk: f64,
    /// Share of the pool that may be given out.
    pub capacity_bps: Bps,
    /// Count risk in the worst scenarios instead of on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<TailSettings>,
}

/// Floor and cap of a run without its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Least share.
    pub floor_bps: Bps,
    /// Largest share.
    pub cap_bps: Bps,
}

/// Life of a decision; each time counts from its issue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSettings {
    /// After this, a consumer without a newer decision admits nothing new, seconds, > 0.
    pub refresh_s: u64,
    /// After this it falls to the floor, seconds, more than `refresh_s`.
    pub expires_s: u64,
    /// Time a workload has to checkpoint, seconds.
    pub grace_s: u64,
    /// Time within which the decision must be enforced, seconds.
    pub enforce_within_s: u64,
    /// Floor after expiry; a share already below it stays.
    pub expiry_floor_bps: Bps,
}

/// Distinct valid signatures that a consumer must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signatures {
    /// To lower or hold a share, ≥ 1.
    pub tighten: u8,
    /// To raise a share, to undo a stop, or to terminate, ≥ `tighten`.
    pub loosen: u8,
}

impl Default for Signatures {
    fn default() -> Self {
        Self {
            tighten: 1,
            loosen: 1,
        }
    }
}

/// Values and severities of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSettings {
    /// Value of a run without its own, > 0.
    pub value: f64,
    /// Severity of a run without its own, ≥ 0.
    pub severity: f64,
    /// Runs with their own.
    #[serde(default, rename = "run")]
    pub runs: Vec<WeightOverride>,
}

/// One run's own weights; what is absent comes from the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightOverride {
    /// Name of the run.
    pub name: String,
    /// Its value, > 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Its severity, ≥ 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<f64>,
    /// Its floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_bps: Option<Bps>,
    /// Its cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_bps: Option<Bps>,
}

/// What a policy says about one run before any rule is applied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RunWeight {
    /// Voted value v, > 0.
    pub value: f64,
    /// Severity s, ≥ 0.
    pub severity: f64,
    /// Least share.
    pub floor: Bps,
    /// Largest share.
    pub cap: Bps,
}

impl WeightSettings {
    /// Weights of the run called `name`.
    pub(super) fn of(&self, name: &str, limits: &LimitSettings) -> RunWeight {
        let own = self.runs.iter().find(|run| run.name == name);
        RunWeight {
            value: own.and_then(|run| run.value).unwrap_or(self.value),
            severity: own.and_then(|run| run.severity).unwrap_or(self.severity),
            floor: own
                .and_then(|run| run.floor_bps)
                .unwrap_or(limits.floor_bps),
            cap: own.and_then(|run| run.cap_bps).unwrap_or(limits.cap_bps),
        }
    }
}

/// What kind of commitment a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// What the run is able to do.
    Capability,
    /// What the run tends to do.
    #[default]
    Propensity,
}

/// One if-then commitment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// Identifier, kebab-case, unique in the policy.
    pub id: String,
    /// Capability or propensity.
    #[serde(default)]
    pub concern: Concern,
    /// CEL condition over [`super::VARIABLES`]; true fires the rule.
    pub when: String,
    /// What then happens.
    pub action: Action,
    /// Cap under `throttle`; absent under every other action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_bps: Option<Bps>,
    /// Stable machine-readable reason, snake_case.
    pub reason: String,
    /// The reason in a sentence.
    pub explanation: String,
    /// What counts as evidence for the condition.
    pub evidence: String,
    /// Time within which the action must be enforced, seconds.
    pub deadline_s: u64,
    /// Who answers for the rule, if not the policy's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Day by which the rule must be tested again, if not the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retest_by: Option<Date>,
    /// What ends the action.
    pub exit_condition: String,
}

impl PolicyDocument {
    /// Checks every field against its domain; conditions are compiled elsewhere.
    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        check("schema", self.schema == SCHEMA, "must be 1")?;
        check("name", is_word(&self.name, '-'), KEBAB)?;
        check("version", self.version > 0, "must be at least 1")?;
        text("owner", &self.owner)?;
        text("summary", &self.summary)?;
        text("exit_condition", &self.exit_condition)?;
        check(
            "retest_by",
            self.retest_by > self.effective_from,
            "must be after effective_from",
        )?;
        self.validate_price_and_bound()?;
        self.validate_control_and_lease()?;
        self.validate_weights()?;
        if let Some(inference) = &self.inference {
            inference.validate()?;
        }
        self.validate_rules()
    }

    fn validate_price_and_bound(&self) -> Result<(), PolicyError> {
        seconds("price.window_s", self.price.window_s, 1)?;
        let (low, high) = (self.price.clamp_low, self.price.clamp_high);
        check(
            "price.clamp_low",
            low > 0.0 && low < 0.5,
            "must be in (0, 0.5)",
        )?;
        check(
            "price.clamp_high",
            high > 0.5 && high < 1.0,
            "must be in (0.5, 1)",
        )?;
        let bound = &self.bound;
        for (field, value) in [
            ("bound.sigma_base", bound.sigma_base),
            ("bound.sigma_liquidity", bound.sigma_liquidity),
            ("bound.sigma_staleness", bound.sigma_staleness),
            ("bound.sigma_judges", bound.sigma_judges),
        ] {
            check(field, (0.0..=20.0).contains(&value), "must be in [0, 20]")?;
        }
        for (field, value) in [
            ("bound.z", bound.z),
            ("bound.max_half_width", bound.max_half_width),
        ] {
            check(field, value > 0.0 && value <= 20.0, "must be in (0, 20]")?;
        }
        check(
            "bound.liquidity_scale_micro",
            bound.liquidity_scale_micro > 0,
            "must be above 0",
        )?;
        seconds("bound.staleness_scale_s", bound.staleness_scale_s, 1)?;
        let Thresholds { trip, clear } = self.thresholds;
        check(
            "thresholds.trip",
            trip > 0.0 && trip < 1.0,
            "must be in (0, 1)",
        )?;
        check(
            "thresholds.clear",
            clear > 0.0 && clear < trip,
            "must be in (0, trip): the gap keeps a run from flapping",
        )
    }

    fn validate_control_and_lease(&self) -> Result<(), PolicyError> {
        seconds("control.dwell_s", self.control.dwell_s, 0)?;
        seconds("control.step_every_s", self.control.step_every_s, 1)?;
        seconds("control.max_staleness_s", self.control.max_staleness_s, 1)?;
        check(
            "control.step_bps",
            self.control.step_bps > Bps::ZERO,
            "must be above 0",
        )?;
        check(
            "budget.risk",
            self.budget.risk.is_finite() && self.budget.risk >= 0.0,
            "must be a finite number of at least 0",
        )?;
        check(
            "budget.capacity_bps",
            self.budget.capacity_bps > Bps::ZERO,
            "must be above 0",
        )?;
        if let Some(tail) = &self.budget.tail {
            check(
                "budget.tail.worst_percent",
                (1..=100).contains(&tail.worst_percent),
                "must be in [1, 100]",
            )?;
            check(
                "budget.tail.sigma_common",
                tail.sigma_common > 0.0 && tail.sigma_common <= 20.0,
                "must be in (0, 20]",
            )?;
        }
        check(
            "limits.floor_bps",
            self.limits.floor_bps <= self.limits.cap_bps,
            "must not exceed limits.cap_bps",
        )?;
        let lease = &self.lease;
        seconds("lease.refresh_s", lease.refresh_s, 1)?;
        seconds("lease.expires_s", lease.expires_s, lease.refresh_s + 1)?;
        seconds("lease.grace_s", lease.grace_s, 0)?;
        seconds("lease.enforce_within_s", lease.enforce_within_s, 0)?;
        let Signatures { tighten, loosen } = self.signatures;
        check("signatures.tighten", tighten >= 1, "must be at least 1")?;
        check(
            "signatures.loosen",
            loosen >= tighten,
            "must be at least signatures.tighten: loosening is never easier",
        )
    }

    fn validate_weights(&self) -> Result<(), PolicyError> {
        weight("weights.value", self.weights.value, false)?;
        weight("weights.severity", self.weights.severity, true)?;
        let mut names = BTreeSet::new();
        for run in &self.weights.runs {
            let field = |name: &str| format!("weights.run[{}].{name}", run.name);
            if !names.insert(&run.name) || run.name.is_empty() {
                return Err(PolicyError::Field {
                    field: field("name"),
                    problem: "must be given, and only once per run".into(),
                });
            }
            if let Some(value) = run.value {
                weight(&field("value"), value, false)?;
            }
            if let Some(severity) = run.severity {
                weight(&field("severity"), severity, true)?;
            }
            let resolved = self.weights.of(&run.name, &self.limits);
            if resolved.floor > resolved.cap {
                return Err(PolicyError::Field {
                    field: field("floor_bps"),
                    problem: format!("{} exceeds the cap of {}", resolved.floor, resolved.cap),
                });
            }
        }
        Ok(())
    }

    fn validate_rules(&self) -> Result<(), PolicyError> {
        check(
            "rule",
            self.rules.len() <= MAX_RULES,
            "more rules than a policy may hold (128)",
        )?;
        let mut ids = BTreeSet::new();
        for rule in &self.rules {
            rule.validate()?;
            if !ids.insert(&rule.id) {
                return Err(rule.error("id", "is used by an earlier rule"));
            }
        }
        Ok(())
    }
}

const KEBAB: &str = "must be 1 to 64 of a-z, 0-9 and -";

impl RuleDocument {
    /// A [`PolicyError::Rule`] about this rule.
    pub(super) fn error(&self, field: &'static str, problem: impl Into<String>) -> PolicyError {
        PolicyError::Rule {
            rule: self.id.clone(),
            field,
            problem: problem.into(),
        }
    }

    fn validate(&self) -> Result<(), PolicyError> {
        if !is_word(&self.id, '-') {
            return Err(self.error("id", KEBAB));
        }
        if !is_word(&self.reason, '_') {
            return Err(self.error("reason", "must be 1 to 64 of a-z, 0-9 and _"));
        }
        if self.when.len() > MAX_CONDITION_BYTES {
            return Err(self.error("when", "is longer than 2000 bytes"));
        }
        for (field, value) in [
            ("explanation", &self.explanation),
            ("evidence", &self.evidence),
            ("exit_condition", &self.exit_condition),
        ] {
            if value.trim().is_empty() {
                return Err(self.error(field, "must not be empty"));
            }
        }
        if self.deadline_s > MAX_SECONDS {
            return Err(self.error("deadline_s", "must be at most a year"));
        }
        match (self.action, self.cap_bps) {
            (Action::Throttle, None) => {
                Err(self.error("cap_bps", "must be given with action = \"throttle\""))
            }
            (Action::Throttle, Some(_)) | (_, None) => Ok(()),
            (action, Some(_)) => Err(self.error(
                "cap_bps",
                format!("goes with throttle only, not {}", action.as_str()),
            )),
        }
    }

    /// The cap that the rule imposes when it fires.
    pub(super) fn cap(&self) -> Bps {
        match self.action {
            Action::Allow => Bps::FULL,
            // Validation guarantees the cap of a throttle; none would mean nothing is known.
            Action::Throttle => self.cap_bps.unwrap_or(Bps::ZERO),
            Action::Drain | Action::Pause | Action::Terminate => Bps::ZERO,
        }
    }
}

pub(super) fn check(field: &str, holds: bool, problem: &str) -> Result<(), PolicyError> {
    if holds {
        return Ok(());
    }
    Err(PolicyError::Field {
        field: field.into(),
        problem: problem.into(),
    })
}

fn text(field: &str, value: &str) -> Result<(), PolicyError> {
    check(field, !value.trim().is_empty(), "must not be empty")
}

fn seconds(field: &str, value: u64, least: u64) -> Result<(), PolicyError> {
    check(
        field,
        (least..=MAX_SECONDS).contains(&value),
        &format!("must be between {least} and {MAX_SECONDS} seconds"),
    )
}

fn weight(field: &str, value: f64, zero_allowed: bool) -> Result<(), PolicyError> {
    let above = value > 0.0 || (zero_allowed && value == 0.0);
    check(
        field,
        above && value <= 1e6,
        if zero_allowed {
            "must be in [0, 1e6]"
        } else {
            "must be in (0, 1e6]"
        },
    )
}

fn is_word(value: &str, separator: char) -> bool {
    (1..=64).contains(&value.len())
        && value
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == separator)
}
