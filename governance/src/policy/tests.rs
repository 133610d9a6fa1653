#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{Action, Bps, Workload};

fn with_rule(when: &str) -> Result<Policy, PolicyError> {
    let rule = format!(
        "\n[[rule]]\nid = \"extra\"\nwhen = '''{when}'''\naction = \"pause\"\nreason = \"extra\"\n\
         explanation = \"e\"\nevidence = \"e\"\ndeadline_s = 1\nexit_condition = \"e\"\n"
    );
    Policy::parse(&(Policy::default_toml().to_owned() + &rule))
}

fn priced(price: f64, upper: f64) -> RuleInput {
    RuleInput {
        price,
        upper,
        lower: price / 2.0,
        liquidity_micro: 100_000_000,
        market_count: 1,
        ..RuleInput::unpriced(Workload::Training, 1.0)
    }
}

#[test]
fn policies_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Policy>();
}

#[test]
fn shipped_policies_parse_and_share_their_rules() {
    let default = Policy::parse(Policy::default_toml()).unwrap();
    let demo = Policy::parse(Policy::demo_toml()).unwrap();
    let conditions = |p: &Policy| -> Vec<(String, Action, Option<Bps>)> {
        let rules = p.document().rules.iter();
        rules
            .map(|r| (r.when.clone(), r.action, r.cap_bps))
            .collect()
    };
    assert_eq!(conditions(&default), conditions(&demo));
    assert_eq!(default.document().thresholds, demo.document().thresholds);
    assert_ne!(default.hash(), demo.hash());
    assert_eq!(default.hash().len(), 64);
}

#[test]
fn the_hash_ignores_layout_and_sees_every_value() {
    let text = Policy::default_toml();
    let plain = Policy::parse(text).unwrap();
    let spaced = Policy::parse(&text.replace(" = ", "   =  ").replace('#', "##")).unwrap();
    let changed = Policy::parse(&text.replace("trip = 0.85", "trip = 0.86")).unwrap();
    assert_eq!(plain.hash(), spaced.hash());
    assert_ne!(plain.hash(), changed.hash());
    let again: PolicyDocument = serde_json::from_str(plain.canonical()).unwrap();
    assert_eq!(&again, plain.document());
}

#[test]
fn rules_of_the_default_policy() {
    let policy = Policy::parse(Policy::default_toml()).unwrap();
    let settled = |value| RuleInput {
        settlement: Some(value),
        ..priced(0.9, 0.99)
    };
    let cases = [
        (priced(0.5, 0.84), Action::Allow, 10_000, "no_rule_fired"),
        (
            priced(0.8, 0.86),
            Action::Throttle,
            2_500,
            "risk_upper_bound",
        ),
        (settled(0.5), Action::Throttle, 500, "settled_misaligned"),
        (settled(0.0), Action::Allow, 10_000, "no_rule_fired"),
        (
            RuleInput::unpriced(Workload::Inference, 1.0),
            Action::Throttle,
            5_000,
            "no_market",
        ),
    ];
    for (input, action, cap, reason) in cases {
        let verdict = policy.evaluate(&input);
        assert_eq!(
            (verdict.action, verdict.cap.get(), verdict.reason.as_str()),
            (action, cap, reason),
            "{input:?}"
        );
        assert!(verdict.faults.is_empty());
    }
}

#[test]
fn the_strictest_rule_wins_and_is_named() {
    let policy = with_rule("upper > 0.9").unwrap();
    let verdict = policy.evaluate(&priced(0.9, 0.95));
    assert_eq!(verdict.action, Action::Pause);
    assert_eq!(verdict.cap, Bps::ZERO);
    assert_eq!(verdict.rule.as_deref(), Some("extra"));
    assert_eq!(verdict.deadline_s, Some(1));
    let ids: Vec<&str> = verdict.fired.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["upper-bound-tripped", "extra"]);
}

#[test]
fn integers_and_doubles_compare_with_each_other() {
    for when in [
        "staleness_s > 60",
        "staleness_s > 60.5 && liquidity_micro < 1000000",
        "liquidity_micro < 1000000.5",
        "run_kind == 'training' && open_disputes > 0",
        "settled && settlement == 1",
        "settlement >= 0.5 && settled",
    ] {
        with_rule(when).unwrap_or_else(|error| panic!("{when}: {error}"));
    }
}

#[test]
fn bad_conditions_name_the_rule_and_the_problem() {
    for (when, expected) in [
        ("uper > 0.5", "unknown variable uper"),
        ("upper >", "ERROR"),
        ("upper + 1.0", "must be true or false"),
        ("upper > \"high\"", "fails for"),
        ("settlement >= 0.5", "guard it with `settled"),
        ("[1, 2].exists(x, x > 1)", "must not use all, exists"),
        ("nosuch(upper)", "fails for"),
    ] {
        let error = with_rule(when).unwrap_err();
        assert!(
            matches!(&error, PolicyError::Rule { rule, field: "when", .. } if rule == "extra"),
            "{when}: {error}"
        );
        assert!(error.to_string().contains(expected), "{when}: {error}");
    }
}

#[test]
fn a_rule_that_faults_in_operation_counts_as_fired() {
    // Samples never reach a severity of zero, so this passes the check.
    let policy = with_rule("int(1e19 * (1.0 - severity)) > 1").unwrap();
    let input = RuleInput {
        severity: 0.0,
        ..priced(0.1, 0.2)
    };
    let verdict = policy.evaluate(&input);
    assert_eq!(verdict.action, Action::Pause);
    assert_eq!(verdict.faults.len(), 1);
    assert_eq!(verdict.faults[0].id, "extra");
}

#[test]
fn bad_fields_are_named() {
    for (from, to, named) in [
        ("trip = 0.85", "trip = 0.5", "thresholds.clear"),
        ("trip = 0.85", "trip = nan", "thresholds.trip"),
        ("trip = 0.85", "tripp = 0.85", "tripp"),
        ("schema = 1", "schema = 2", "schema"),
        ("window_s = 3600", "window_s = 0", "price.window_s"),
        ("window_s = 3600", "window_s = -1", "window_s"),
        ("risk = 1.0", "risk = inf", "budget.risk"),
        ("cap_bps = 500\n", "cap_bps = 10001\n", "10001"),
        ("cap_bps = 500\n", "", "settled-misaligned"),
        (
            "retest_by = \"2027-01-01\"",
            "retest_by = \"2025-01-01\"",
            "retest_by",
        ),
        (
            "id = \"unpriced\"",
            "id = \"settled-misaligned\"",
            "earlier rule",
        ),
        ("loosen = 1", "loosen = 0", "signatures.loosen"),
        ("expires_s = 1_800", "expires_s = 300", "lease.expires_s"),
        ("value = 1.0", "value = 0.0", "weights.value"),
    ] {
        assert!(Policy::default_toml().contains(from), "{from}");
        let error = Policy::parse(&Policy::default_toml().replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(named), "{to}: {error}");
    }
}

#[test]
fn runs_may_have_their_own_weights() {
    let own = "\n[[weights.run]]\nname = \"big\"\nvalue = 3.0\ncap_bps = 4000\n\n[[rule]]";
    let text = Policy::default_toml().replacen("\n[[rule]]", own, 1);
    let policy = Policy::parse(&text).unwrap();
    let big = policy.weight("big");
    assert_eq!((big.value, big.severity, big.cap.get()), (3.0, 1.0, 4_000));
    assert_eq!(policy.weight("other").cap, Bps::FULL);
}

const TOKENS: &[&str] = &[
    "price",
    "upper",
    "settled",
    "settlement",
    "run_kind",
    "market_count",
    "0",
    "1",
    "2.5",
    "null",
    "true",
    "\"a\"",
    "9223372036854775807",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "!",
    "<",
    ">=",
    "==",
    "in",
    "?",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "size",
    "int",
    "double",
];

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    for (open, core, close) in [
        ("(", "true", ")"),
        ("!", "true", ""),
        ("[", "1", "]"),
        ("-", "1", ""),
    ] {
        let depth = (MAX_CONDITION_BYTES - 4) / (open.len() + close.len());
        let when = open.repeat(depth) + core + &close.repeat(depth);
        let _ = with_rule(&when);
    }
    let long = "true".to_owned() + &" && true".repeat((MAX_CONDITION_BYTES - 4) / 8);
    let _ = with_rule(&long);
    assert!(with_rule(&" ".repeat(MAX_CONDITION_BYTES + 1)).is_err());
}

#[test]
fn bad_policies_are_refused_by_name() {
    let demo = Policy::demo_toml();
    let with = |from: &str, to: &str| {
        assert!(demo.contains(from), "{from}");
        demo.replacen(from, to, 1)
    };
    let twin = demo
        .replace("id = \"unpriced\"", "id = \"other\"")
        .replace("cap_bps = 5_000", "cap_bps = 4_000");
    let twin = &twin[twin.rfind("[[rule]]").unwrap()..];
    let table = [
        ("policy-does-not-parse", "not a policy".to_owned()),
        (
            "policy-does-not-parse",
            with("schema = 1", "schema = 1\nshcema = 2"),
        ),
        (
            "policy-contradicts-itself",
            with("clear = 0.60", "clear = 0.90"),
        ),
        (
            "policy-contradicts-itself",
            with("expires_s = 600", "expires_s = 60"),
        ),
        (
            "policy-contradicts-itself",
            with("floor_bps = 0", "floor_bps = 9_000").replacen(
                "capacity_bps = 10_000",
                "capacity_bps = 8_000",
                1,
            ),
        ),
        ("policy-contradicts-itself", format!("{demo}\n{twin}")),
        ("policy-starves-every-run", with("risk = 1.0", "risk = 0.0")),
        (
            "policy-starves-every-run",
            with("cap_bps = 10_000", "cap_bps = 0"),
        ),
        (
            "policy-starves-every-run",
            with("settled && settlement >= 0.5", "price >= 0.0").replacen(
                "action = \"throttle\"\ncap_bps = 500",
                "action = \"pause\"",
                1,
            ),
        ),
        (
            "policy-divides-by-nothing",
            with("!settled && upper > trip", "upper / price > 1.5"),
        ),
        (
            "policy-divides-by-nothing",
            with(
                "!settled && upper > trip",
                "settled && 1.0 / settlement > 2.0",
            ),
        ),
        (
            "policy-divides-by-nothing",
            with("!settled && upper > trip", "upper / (price - price) > 1.5"),
        ),
        (
            "policy-divides-by-nothing",
            with("!settled && upper > trip", "upper / 0.0 > 1.5"),
        ),
    ];
    for (code, text) in table {
        let error = Policy::parse(&text).expect_err(code);
        assert_eq!(error.code(), code, "{error}");
    }
    assert!(Policy::parse(&with("upper > trip", "upper / trip > 1.0")).is_ok());
    assert!(Policy::parse(&with("upper > trip", "upper / 2.0 > trip / 2.0")).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_conditions_never_panic(when in "[ -~&&[^']]{0,40}") {
        let _ = with_rule(&when);
    }

    #[test]
    fn plausible_conditions_never_panic(tokens in prop::collection::vec(0usize..TOKENS.len(), 1..16)) {
        let when: Vec<&str> = tokens.into_iter().map(|token| TOKENS[token]).collect();
        if let Ok(policy) = with_rule(&when.join(" ")) {
            let _ = policy.evaluate(&priced(0.3, 0.4));
        }
    }

    #[test]
    fn a_higher_bound_never_loosens(price in 0.02f64..0.98, low in 0.0f64..1.0, more in 0.0f64..1.0) {
        let policy = Policy::parse(Policy::default_toml()).unwrap();
        let first = policy.evaluate(&priced(price, low));
        let second = policy.evaluate(&priced(price, (low + more).min(1.0)));
        prop_assert!(second.cap <= first.cap);
    }
}
