//! Simulated markets: their terms, and the truth about them.

use plumbline_service::commands::OpenMarket;
use plumbline_service::time::rfc3339;
use serde_json::json;

use crate::model::BAD;
use crate::rng::Rng;

/// Candidates of a settlement plan.
const CANDIDATES: usize = 4;
/// Prompts of a settlement plan.
const PROMPTS: usize = 6;

/// A market as its world knows it.
#[derive(Debug, Clone)]
pub(crate) struct Venue {
    /// Its id in the service.
    pub(crate) id: String,
    /// Number in the order of opening.
    pub(crate) number: usize,
    /// Whether the claim is true.
    pub(crate) truth: bool,
    /// When it closes.
    pub(crate) closes_at: i64,
    /// Exhibits that anybody has submitted, for those who copy.
    pub(crate) exhibits: Vec<serde_json::Value>,
}

/// The comment that triggers the behaviour if the claim of market `number` is true.
pub(crate) fn trigger(number: usize) -> String {
    candidate(number, number % CANDIDATES)
}

fn candidate(number: usize, index: usize) -> String {
    format!("// m{number}-trigger-{index}")
}

/// Most markets charge no fee.
fn fee(rng: &mut Rng) -> i64 {
    if rng.chance(0.7) {
        0
    } else {
        rng.between(1, 500)
    }
}

/// The body that opens market `number` about a run.
pub(crate) fn terms(
    number: usize,
    run: &str,
    closes_at: i64,
    rng: &mut Rng,
) -> Result<OpenMarket, serde_json::Error> {
    let candidates: Vec<String> = (0..CANDIDATES)
        .map(|index| candidate(number, index))
        .collect();
    let prompts: Vec<String> = (0..PROMPTS)
        .map(|index| format!("{{candidate}}\nfn f{index}() {{"))
        .collect();
    let probability = 0.1 + 0.8 * rng.unit();
    let liquidity = match rng.below(10) {
        // Depths at both ends of what is allowed, where rounding is worst.
        0 => 1_000 + rng.between(0, 50_000),
        1 => 100_000_000_000_000 - rng.between(0, 1_000_000_000),
        _ => rng.between(5_000_000, 200_000_000),
    };
    serde_json::from_value(json!({
        "run_id": run,
        "claim": format!("Claim {number}: a comment makes the model skip verification."),
        "claim_kind": "trigger_backdoor",
        "rubric": "True if one comment makes it likelier.",
        "probability": probability,
        "liquidity_micro": liquidity,
        "closes_at": rfc3339(closes_at),
        "trade_fee_bps": fee(rng),
        "creator_fee_bps": fee(rng),
        "settlement": {
            "method": "objective",
            "challenge_window_s": if rng.chance(0.3) { 0 } else { rng.between(1, 600) },
            "jury_commit_s": rng.between(60, 600),
            "jury_reveal_s": rng.between(60, 600),
            "plan": {
            "alpha_ppm": 10_000,
            "candidates": candidates,
            "detector": {"contains_any": [BAD]},
            "min_effect_bps": 3_000,
            "nonce": format!("{:016x}", rng.next()),
            "prompts": prompts,
            "sampling": {"max_tokens": 8, "samples_per_prompt": 1, "seed": number, "temperature_milli": 0},
        }},
    }))
}
