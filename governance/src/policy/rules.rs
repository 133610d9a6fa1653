//! Compiling, trying out and applying the CEL conditions.

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program, Value};
use serde::{Deserialize, Serialize};

use super::{PolicyDocument, PolicyError, RuleDocument};
use crate::{Action, Bps, Workload};

/// Variables that a condition may read: name, CEL type, meaning.
pub const VARIABLES: &[(&str, &str, &str)] = &[
    ("price", "double", "time-weighted clamped price, 0 to 1"),
    ("upper", "double", "upper credible bound, 0 to 1"),
    ("lower", "double", "lower credible bound, 0 to 1"),
    ("interval", "double", "upper − lower"),
    (
        "staleness_s",
        "double",
        "seconds since the market last moved",
    ),
    ("liquidity_micro", "int", "liquidity b, micro-credits"),
    ("open_disputes", "int", "disputes not yet final"),
    ("settled", "bool", "whether a settlement is final"),
    (
        "settlement",
        "double or null",
        "final π, 0 to 1; null until settled",
    ),
    ("severity", "double", "severity weight of the run"),
    ("run_kind", "string", "\"training\" or \"inference\""),
    ("market_count", "int", "markets on the run"),
    ("trip", "double", "thresholds.trip of the policy"),
    ("clear", "double", "thresholds.clear of the policy"),
];

/// What the rules are told about one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RuleInput {
    /// Time-weighted clamped price, 0 to 1.
    pub price: f64,
    /// Upper credible bound, 0 to 1.
    pub upper: f64,
    /// Lower credible bound, 0 to 1.
    pub lower: f64,
    /// Seconds since the market last moved.
    pub staleness_s: f64,
    /// Liquidity b, micro-credits.
    pub liquidity_micro: u64,
    /// Disputes not yet final.
    pub open_disputes: u32,
    /// Final π, once there is one.
    pub settlement: Option<f64>,
    /// Severity weight of the run.
    pub severity: f64,
    /// What the run does with its compute.
    pub run_kind: Workload,
    /// Markets on the run.
    pub market_count: u32,
}

impl RuleInput {
    /// A run that no market prices: one half, and nothing known.
    #[must_use]
    pub const fn unpriced(run_kind: Workload, severity: f64) -> Self {
        Self {
            price: 0.5,
            upper: 0.5,
            lower: 0.5,
            staleness_s: 0.0,
            liquidity_micro: 0,
            open_disputes: 0,
            settlement: None,
            severity,
            run_kind,
            market_count: 0,
        }
    }
}

/// A rule whose condition held (or could not be evaluated).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiredRule {
    /// Identifier of the rule.
    pub id: String,
    /// What it demands.
    pub action: Action,
    /// The cap it imposes.
    pub cap: Bps,
    /// Its stable reason.
    pub reason: String,
    /// Its reason in a sentence.
    pub explanation: String,
    /// Time within which it must be enforced, seconds.
    pub deadline_s: u64,
}

/// A rule that could not be evaluated on an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFault {
    /// Identifier of the rule.
    pub id: String,
    /// What went wrong.
    pub problem: String,
}

/// What the rules together say about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The strictest action among the fired rules; allow when none fired.
    pub action: Action,
    /// The lowest cap among the fired rules; the whole when none fired.
    pub cap: Bps,
    /// Stable reason of the rule that binds, or `no_rule_fired`.
    pub reason: String,
    /// That reason in a sentence.
    pub explanation: String,
    /// Identifier of the rule that binds.
    pub rule: Option<String>,
    /// The shortest deadline among the fired rules, seconds.
    pub deadline_s: Option<u64>,
    /// All fired rules in policy order.
    pub fired: Vec<FiredRule>,
    /// Rules that failed; each also counts as fired.
    pub faults: Vec<RuleFault>,
}

struct CompiledRule {
    document: RuleDocument,
    program: Program,
}

/// Every rule of a policy, compiled.
pub(super) struct RuleSet {
    env: Arc<Env>,
    rules: Vec<CompiledRule>,
}

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.rules.iter().map(|r| r.document.id.as_str()).collect();
        f.debug_tuple("RuleSet").field(&ids).finish()
    }
}

impl RuleSet {
    /// Compiles every rule and tries each on [`samples`].
    pub(super) fn compile(document: &PolicyDocument) -> Result<Self, PolicyError> {
        let env = Arc::new(Env::stdlib());
        let mut rules = Vec::with_capacity(document.rules.len());
        for rule in &document.rules {
            let program = env
                .compile(&rule.when)
                .map_err(|errors| rule.error("when", errors.to_string()))?;
            check_shape(rule, &program)?;
            rules.push(CompiledRule {
                document: rule.clone(),
                program,
            });
        }
        let set = Self { env, rules };
        set.try_out(document)?;
        Ok(set)
    }

    fn try_out(&self, document: &PolicyDocument) -> Result<(), PolicyError> {
        for input in samples() {
            let context = self.context(document, &input);
            for rule in &self.rules {
                fires(&rule.program, &context).map_err(|problem| {
                    let case = describe(&input);
                    rule.document
                        .error("when", format!("fails for {case}: {problem}"))
                })?;
            }
        }
        Ok(())
    }

    fn context(&self, document: &PolicyDocument, input: &RuleInput) -> Context<'static, 'static> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        let int = |value: u64| Value::Int(i64::try_from(value).unwrap_or(i64::MAX));
        let values = [
            ("price", Value::Float(input.price)),
            ("upper", Value::Float(input.upper)),
            ("lower", Value::Float(input.lower)),
            ("interval", Value::Float(input.upper - input.lower)),
            ("staleness_s", Value::Float(input.staleness_s)),
            ("liquidity_micro", int(input.liquidity_micro)),
            ("open_disputes", int(input.open_disputes.into())),
            ("settled", Value::Bool(input.settlement.is_some())),
            (
                "settlement",
                input.settlement.map_or(Value::Null, Value::Float),
            ),
            ("severity", Value::Float(input.severity)),
            ("run_kind", Value::from(input.run_kind.as_str())),
            ("market_count", int(input.market_count.into())),
            ("trip", Value::Float(document.thresholds.trip)),
            ("clear", Value::Float(document.thresholds.clear)),
        ];
        for (name, value) in values {
            context.add_variable_from_value(name, value);
        }
        context
    }

    /// See [`super::Policy::evaluate`].
    pub(super) fn evaluate(&self, document: &PolicyDocument, input: &RuleInput) -> Verdict {
        let context = self.context(document, input);
        let mut fired = Vec::new();
        let mut faults = Vec::new();
        for rule in &self.rules {
            let outcome = fires(&rule.program, &context);
            if let Err(problem) = &outcome {
                faults.push(RuleFault {
                    id: rule.document.id.clone(),
                    problem: problem.clone(),
                });
            }
            if outcome.unwrap_or(true) {
                fired.push(rule.document.fired());
            }
        }
        combine(fired, faults)
    }
}

fn combine(fired: Vec<FiredRule>, faults: Vec<RuleFault>) -> Verdict {
    // The first of the strictest rules names the reason, so that the order of
    // a policy decides between equals.
    let binding = fired
        .iter()
        .enumerate()
        .max_by_key(|(index, rule)| {
            let lowest_cap = std::cmp::Reverse(rule.cap);
            (rule.action, lowest_cap, std::cmp::Reverse(*index))
        })
        .map(|(_, rule)| rule.clone());
    let cap = fired.iter().map(|rule| rule.cap).min().unwrap_or(Bps::FULL);
    let deadline_s = fired.iter().map(|rule| rule.deadline_s).min();
    let (action, reason, explanation, rule) = match binding {
        Some(rule) => (rule.action, rule.reason, rule.explanation, Some(rule.id)),
        None => (
            Action::Allow,
            "no_rule_fired".to_owned(),
            "No rule restricts this run.".to_owned(),
            None,
        ),
    };
    Verdict {
        action,
        cap,
        reason,
        explanation,
        rule,
        deadline_s,
        fired,
        faults,
    }
}

impl RuleDocument {
    fn fired(&self) -> FiredRule {
        FiredRule {
            id: self.id.clone(),
            action: self.action,
            cap: self.cap(),
            reason: self.reason.clone(),
            explanation: self.explanation.clone(),
            deadline_s: self.deadline_s,
        }
    }
}

fn fires(program: &Program, context: &Context<'_, '_>) -> Result<bool, String> {
    match program.execute(context) {
        Ok(Value::Bool(value)) => Ok(value),
        Ok(other) => Err(format!(
            "a condition must be true or false, this is a {}",
            other.type_of()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Refuses unknown variables by name, and loops: a condition over fifteen
/// scalars needs none, and nested ones could run for ever.
fn check_shape(rule: &RuleDocument, program: &Program) -> Result<(), PolicyError> {
    if has_loop(program.expression()) {
        return Err(rule.error("when", "must not use all, exists, map or filter"));
    }
    if let Some(divisor) = unsafe_divisor(program.expression()) {
        return Err(PolicyError::Division {
            rule: rule.id.clone(),
            divisor,
        });
    }
    let references = program.references();
    let mut unknown: Vec<&str> = references
        .variables()
        .into_iter()
        .filter(|name| !VARIABLES.iter().any(|(known, _, _)| known == name))
        .collect();
    unknown.sort_unstable();
    if unknown.is_empty() {
        return Ok(());
    }
    let known: Vec<&str> = VARIABLES.iter().map(|(name, _, _)| *name).collect();
    let problem = format!(
        "unknown variable {}; known are {}",
        unknown.join(", "),
        known.join(", ")
    );
    Err(rule.error("when", problem))
}

fn has_loop(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Comprehension(_) => true,
        Expr::Call(call) => {
            call.target.as_deref().is_some_and(has_loop) || call.args.iter().any(has_loop)
        }
        Expr::List(list) => list.elements.iter().any(has_loop),
        Expr::Map(map) => map.entries.iter().any(|entry| entry_has_loop(&entry.expr)),
        Expr::Struct(value) => value
            .entries
            .iter()
            .any(|entry| entry_has_loop(&entry.expr)),
        Expr::Select(select) => has_loop(&select.operand),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
    }
}

/// The first divisor that is neither a number other than nothing nor a threshold, both of which no run's
/// price can turn to nothing.
fn unsafe_divisor(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Call(call) => {
            let divides = matches!(call.func_name.as_str(), "_/_" | "_%_");
            let divisor = call.args.last().filter(|_| divides);
            divisor
                .and_then(|divisor| suspicious(&divisor.expr))
                .or_else(|| call.target.as_deref().and_then(unsafe_divisor))
                .or_else(|| call.args.iter().find_map(unsafe_divisor))
        }
        Expr::List(list) => list.elements.iter().find_map(unsafe_divisor),
        Expr::Select(select) => unsafe_divisor(&select.operand),
        _ => None,
    }
}

fn suspicious(divisor: &Expr) -> Option<String> {
    use cel::common::ast::LiteralValue;
    match divisor {
        Expr::Ident(name) if ["trip", "clear"].contains(&name.as_str()) => None,
        Expr::Ident(name) => Some(name.clone()),
        Expr::Literal(LiteralValue::Int(value)) if *value.inner() != 0 => None,
        Expr::Literal(LiteralValue::Double(value)) if *value.inner() != 0.0 => None,
        Expr::Literal(_) => Some("0".to_owned()),
        _ => Some("an expression".to_owned()),
    }
}

fn entry_has_loop(entry: &EntryExpr) -> bool {
    match entry {
        EntryExpr::StructField(field) => has_loop(&field.value),
        EntryExpr::MapEntry(entry) => has_loop(&entry.key) || has_loop(&entry.value),
    }
}

/// Inputs that reach both sides of short-circuits: every combination of low
/// and high price, no market and some, settled neither, false and true.
fn samples() -> Vec<RuleInput> {
    let mut samples = Vec::new();
    for run_kind in [Workload::Training, Workload::Inference] {
        for market_count in [0, 1] {
            for settlement in [None, Some(0.0), Some(1.0)] {
                for price in [0.02, 0.5, 0.98] {
                    samples.push(RuleInput {
                        price,
                        upper: price + 0.01,
                        lower: price - 0.01,
                        staleness_s: 60.0 * f64::from(market_count),
                        liquidity_micro: u64::from(market_count) * 100_000_000,
                        open_disputes: market_count,
                        settlement,
                        severity: 1.0,
                        run_kind,
                        market_count,
                    });
                }
            }
        }
    }
    samples
}

fn describe(input: &RuleInput) -> String {
    let settled = match input.settlement {
        None => "an unsettled run (settlement is null; guard it with `settled && …`)".to_owned(),
        Some(value) => format!("a run settled at {value}"),
    };
    format!(
        "{settled} with price {} and {} market(s)",
        input.price, input.market_count
    )
}
