//! What the benchmarks of the market run on: a service without limits, a market, and traders.

use anyhow::{Context, Result};
use plumbline_governance::policy::Policy;
use plumbline_service::commands::{CreateToken, OpenMarket, RegisterRun, SettlementTerms};
use plumbline_service::time::rfc3339;
use plumbline_service::{PasswordCost, ServiceConfig};
use plumbline_web::{RateLimits, WebConfig};

use crate::wiring::{self, Running};

/// No limits, any free port: the load comes from this process.
pub fn quiet_options() -> wiring::Options {
    let limits = RateLimits {
        requests_per_second: 0.0,
        account_requests_per_second: 0.0,
        credentials_per_minute: 0.0,
    };
    wiring::Options {
        swarm: None,
        corpora: None,
        private_webhooks: false,
        postman: None,
        listen: ([127, 0, 0, 1], 0).into(),
        // It judges nothing.
        models: std::path::PathBuf::new(),
        remote: None,
        policy: Policy::default_toml().to_owned(),
        service: ServiceConfig {
            // Nobody attacks these accounts, and hundreds of them are made.
            password_cost: PasswordCost {
                memory_kib: 8,
                passes: 1,
            },
            ..ServiceConfig::default()
        },
        web: WebConfig {
            limits,
            ..WebConfig::default()
        },
    }
}

/// A market and `traders` accounts with tokens.
pub fn trading_floor(running: &Running, traders: usize) -> Result<(String, Vec<String>)> {
    let (operator, _) = running.provision("operator", &["participant", "operator", "scheduler"])?;
    let run = RegisterRun {
        name: "bench".into(),
        parameters: 0,
    };
    let run = running.service.register_run(&operator, &run)?;
    let market = running
        .service
        .open_market(&operator, &bench_market(run.id))
        .context("cannot open the market")?;
    let mut tokens = Vec::with_capacity(traders);
    for trader in 0..traders {
        let (context, _) = running.provision(&format!("trader-{trader}"), &["participant"])?;
        let token = CreateToken {
            name: "bench".into(),
            scopes: vec!["read".into(), "trade".into()],
            valid_days: None,
        };
        tokens.push(running.service.create_token(&context, &token)?.token);
    }
    Ok((market.id, tokens))
}

fn bench_market(run_id: String) -> OpenMarket {
    let candidates: Vec<String> = (0..8).map(|number| format!("candidate {number}")).collect();
    let prompts: Vec<String> = (0..8)
        .map(|number| format!("{number}: {{candidate}}"))
        .collect();
    let plan = serde_json::json!({
        "alpha_ppm": 10_000,
        "candidates": candidates,
        "detector": {"contains_any": ["x"]},
        "min_effect_bps": 1_000,
        "nonce": "bench",
        "prompts": prompts,
        "sampling": {"max_tokens": 1, "samples_per_prompt": 1, "seed": 1, "temperature_milli": 0},
    });
    OpenMarket {
        run_id,
        claim: "A claim to trade on.".into(),
        claim_kind: "bench".into(),
        rubric: String::new(),
        probability: 0.5,
        liquidity_micro: 10_000_000_000,
        closes_at: rfc3339(jiff::Timestamp::now().as_millisecond() + 86_400_000),
        closes_after_tokens: None,
        probe: None,
        settlement: SettlementTerms {
            method: "objective".into(),
            plan,
            ..SettlementTerms::default()
        },
        ..OpenMarket::default()
    }
}
