//! The oracle and how good it was.

use serde_json::json;

use super::*;

fn version(origin: &str, status: &str, cases: i64) -> OracleVersionView {
    view(
        json!({"number": cases, "id": "4a".repeat(32), "parent": null, "origin": origin, "status": status, "cases": cases,
        "created_at": "2026-11-22T10:00:00Z", "created_by": "ada", "adopted_at": "2026-11-22T10:00:00Z", "adopted_by": "start",
        "weights": {"lexical": "ab".repeat(32)}, "report": {"rows": []}, "content": {},
        "score": {"cases": 40, "learned_log_loss": 0.41, "untaught_log_loss": 0.55, "price_log_loss": 0.39}}),
    )
}

fn view<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn judge(name: &str, status: &str, weight: f64) -> JudgeView {
    JudgeView {
        name: name.to_owned(),
        family: "n-gram".to_owned(),
        weight,
        about: "Hashed word and character n-grams through a calibrated logistic model.".to_owned(),
        version: Some("1".to_owned()),
        status: status.to_owned(),
        learned_weight: Some(1.0 - weight),
        judged: 21,
        skipped: 3,
        failed: 2,
        last_error: (status != "ok").then(|| "the endpoint did not answer in 20 s".to_owned()),
        latency_p50_ms: Some(12),
        latency_p99_ms: Some(480),
        cost_micro: 12_000,
        outliers: 1,
        settled: 18,
        log_loss: Some(0.51),
    }
}

pub(super) fn state(dress: Dress) -> OracleView {
    let judges = vec![
        judge("lexical", "ok", 0.31),
        judge("replay", "ok", 0.69),
        judge("remote", "failing", 0.0),
        judge("encoder", "missing", 0.0),
    ];
    let pool = |cases: i64| PoolStateView {
        version: "4a".repeat(32),
        cases,
        rho: 0.41,
        n_eff: 1.42,
        judges: dress.many(vec!["lexical".to_owned(), "replay".to_owned()]),
        weights: vec![0.31, 0.69],
        correlation: vec![vec![1.0, 0.41], vec![0.41, 1.0]],
        covariance: vec![vec![0.5, 0.2], vec![0.2, 0.5]],
    };
    let point = |n: i64| PoolPointView {
        at: "2026-11-22T10:00:00Z".to_owned(),
        cases: n,
        n_eff: 1.5 - n as f64 / 100.0,
        rho: 0.3 + n as f64 / 100.0,
        weights: [("lexical".to_owned(), 0.4), ("replay".to_owned(), 0.6)].into(),
    };
    let oracle = OracleView {
        version: "6f1d".repeat(4),
        base_log_odds: -1.1,
        rho: 0.41,
        n_eff: 1.42,
        kappa: 0.8,
        judges: dress.many(judges),
        in_force: dress.one(version("shipped", "in_force", 0)),
        state: pool(0),
        learned: (dress != Dress::Empty).then(|| pool(40)),
        candidates: dress.many(vec![
            version("learned", "candidate", 40),
            version("trained", "candidate", 0),
        ]),
        history: dress.many((1..=20).map(point).collect()),
        waiting: 3,
        waiting_limit: 512,
    };
    dress.one(oracle)
}

pub(super) fn calibration(dress: Dress) -> OracleCalibrationView {
    let bins: Vec<_> = (0..10)
        .map(|n| {
            let low = f64::from(n) / 10.0;
            let outcome = (n != 4).then(|| (low + 0.02).min(1.0));
            json!({"low": low, "high": low + 0.1, "cases": if n == 4 { 0 } else { n + 1 }, "forecast": low + 0.06,
                "outcome": outcome, "outcome_low": (low - 0.15).max(0.0), "outcome_high": (low + 0.25).min(1.0)})
        })
        .collect();
    let scores = json!({"brier": 0.121, "log_loss": 0.394, "bins": bins});
    if dress == Dress::Empty {
        return view(
            json!({"cases": 0, "enough": false, "pool": null, "price": null, "judges": [], "comparisons": [],
            "learning": null, "kinds": [], "gap": {"cases": 0, "observed": 0.0, "held_out": 0.0, "rows": []}}),
        );
    }
    let point = |n: u32| {
        json!({"cases": n, "learned_log_loss": 0.69 - f64::from(n) / 200.0, "untaught_log_loss": 0.66,
        "price_log_loss": 0.6 - f64::from(n) / 200.0})
    };
    let comparison = |of: &str| {
        json!({"cases_of": of, "cases": 12, "price_log_loss": 0.41, "pool_log_loss": 0.55,
        "difference": -0.14, "low": -0.2, "high": -0.08})
    };
    let whole: OracleCalibrationView = view(
        json!({"cases": 40, "enough": true, "pool": scores, "price": scores,
        "judges": [{"judge": "lexical", "cases": 38, "scores": scores}, {"judge": "replay", "cases": 22, "scores": scores}],
        "comparisons": [comparison("all"), comparison("misled")],
        "learning": {"cases": 40, "learned_log_loss": 0.41, "untaught_log_loss": 0.55, "price_log_loss": 0.39},
        "kinds": [{"claim_kind": "trigger_backdoor", "cases": 30, "points": (1..=30).map(point).collect::<Vec<_>>()},
            {"claim_kind": "sandbagging", "cases": 1, "points": [point(1)]}],
        "gap": {"cases": 2, "observed": 0.11, "held_out": 0.45, "rows": [
            {"market_id": "018f-market-2", "observed": 0.02, "held_out": 0.6}, {"market_id": "018f-market-1", "observed": 0.2, "held_out": 0.3}]}}),
    );
    dress.one(whole)
}
