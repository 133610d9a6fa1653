//! What a market promises about its end when it opens.

use plumbline_market::draw::seed_commitment;
use plumbline_market::life::{Method, Rules, Time};
use plumbline_market::money::Micro;
use plumbline_market::plan::SettlementPlan;
use plumbline_store::markets::Market;
use serde::{Deserialize, Serialize};

use crate::commands::{OpenMarket, SettlementTerms};
use crate::time::Millis;
use crate::{Result, ServiceConfig, ServiceError};

/// Longest window of any kind: thirty days.
const LONGEST_WINDOW_S: i64 = 30 * 24 * 3_600;
/// Shortest window in which a proposal of a person or of the judges can be challenged.
const LEAST_CHALLENGE_WINDOW_S: i64 = 60;
/// Longest closing window unless one is asked for.
const USUAL_CLOSING_WINDOW: Millis = 600_000;
/// The closing window is the market's life divided by this unless one is asked for.
const CLOSING_PART: Millis = 10;
/// Largest bond of a first proposal: the last challenge brings sixteen times as much.
const LARGEST_BOND: i64 = 1_000_000_000_000;
/// Most trades that a self-resolving market undoes.
const MOST_UNDONE: i64 = 1_000;

/// Defaults of markets that do not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementConfig {
    /// How long anybody may propose a settlement, seconds.
    pub proposal_window_s: i64,
    /// How long a proposal can be challenged, seconds.
    pub challenge_window_s: i64,
    /// How long jurors may commit votes, seconds.
    pub jury_commit_s: i64,
    /// How long jurors may reveal votes, seconds.
    pub jury_reveal_s: i64,
    /// Bond of the first proposal, micro-credits.
    pub bond_micro: i64,
    /// Part of a lost bond that goes to the treasury, basis points.
    pub burn_bps: u16,
    /// Least probability of an audit, basis points.
    pub audit_floor_bps: i64,
    /// Probability of an audit at even odds, basis points.
    pub audit_peak_bps: i64,
}

impl Default for SettlementConfig {
    fn default() -> Self {
        Self {
            proposal_window_s: 3_600,
            challenge_window_s: 3_600,
            jury_commit_s: 3_600,
            jury_reveal_s: 3_600,
            bond_micro: 5_000_000,
            burn_bps: 2_500,
            audit_floor_bps: 500,
            audit_peak_bps: 2_500,
        }
    }
}

/// Everything that is promised, in the form that is published and hashed. Fields in
/// alphabetical order, so that the text is canonical JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseTerms {
    pub(crate) burn_bps: u16,
    pub(crate) claim: String,
    pub(crate) claim_kind: String,
    pub(crate) jury_commit_millis: Millis,
    pub(crate) jury_reveal_millis: Millis,
    pub(crate) liquidity_micro: i64,
    pub(crate) market_id: String,
    pub(crate) opened_at: Millis,
    pub(crate) opening_log_odds: f64,
    /// Names and opening prices, in order, of a market of several outcomes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outcomes: Vec<(String, f64)>,
    pub(crate) probe: Option<String>,
    pub(crate) rubric: String,
    pub(crate) rules: Rules,
    pub(crate) run_id: String,
    pub(crate) subsidy_micro: i64,
}

/// What [`CaseTerms`] says beside the market's own row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HouseTerms {
    pub(crate) burn_bps: u16,
    pub(crate) jury_commit_millis: Millis,
    pub(crate) jury_reveal_millis: Millis,
}

impl HouseTerms {
    /// What a request asks for, or the service's defaults. Errors: `bad-window`.
    pub(crate) fn of(terms: &SettlementTerms, config: &ServiceConfig) -> Result<Self> {
        let usual = &config.settlement;
        let burn_bps = if config.defences.bond_burn {
            usual.burn_bps
        } else {
            0
        };
        let jury = |given, usual| window("settlement.jury", given, usual, 1);
        Ok(Self {
            burn_bps,
            jury_commit_millis: jury(terms.jury_commit_s, usual.jury_commit_s)?,
            jury_reveal_millis: jury(terms.jury_reveal_s, usual.jury_reveal_s)?,
        })
    }

    pub(super) fn with(self, market: &Market, rules: Rules) -> CaseTerms {
        CaseTerms {
            burn_bps: self.burn_bps,
            claim: market.claim.clone(),
            claim_kind: market.claim_kind.clone(),
            jury_commit_millis: self.jury_commit_millis,
            jury_reveal_millis: self.jury_reveal_millis,
            liquidity_micro: market.liquidity_micro,
            market_id: market.id.clone(),
            opened_at: market.opened_at,
            opening_log_odds: market.opening_log_odds,
            outcomes: Vec::new(),
            probe: market.probe.clone(),
            rubric: market.rubric.clone(),
            rules,
            run_id: market.run_id.clone(),
            subsidy_micro: market.subsidy_micro,
        }
    }
}

/// The rules of a market that opens now and closes at `closes_at`, with its test plan.
///
/// Errors: `bad-method`, `bad-plan`, `bad-window`, `bad-bond`, `bad-audit`, `bad-fee`,
/// `bad-self-resolving`.
pub(crate) fn rules_of(
    cmd: &OpenMarket,
    closes_at: Millis,
    closes_after_tokens: Option<u64>,
    now: Millis,
    seed: &[u8; 32],
    config: &ServiceConfig,
) -> Result<(Rules, Option<SettlementPlan>)> {
    let (terms, usual) = (&cmd.settlement, &config.settlement);
    // Before the plan: what is wrong with a plan says little where the method is misspelt.
    if !METHODS.contains(&terms.method.as_str()) {
        return Err(unknown_method(&terms.method));
    }
    let plan = plan_of(terms)?;
    let commitment = plan
        .as_ref()
        .map(SettlementPlan::commitment)
        .transpose()
        .map_err(ServiceError::internal)?;
    let method = match (terms.method.as_str(), commitment) {
        ("objective", Some(commitment)) => Method::Objective { commitment },
        ("objective", None) => return Err(bad_plan("an objective market needs one")),
        ("panel", _) => Method::Panel,
        ("ensemble", _) => Method::Ensemble,
        ("self_resolving", _) => self_resolving(terms)?,
        (other, _) => return Err(unknown_method(other)),
    };
    refuse_foreign_fields(terms)?;
    let audit_floor_bps = bps(terms.audit_floor_bps.unwrap_or(usual.audit_floor_bps))?;
    let asked_peak = terms.audit_peak_bps.unwrap_or(usual.audit_peak_bps);
    let rules = Rules {
        closes_at: Time(closes_at),
        closes_after_tokens,
        closing_window_millis: closing_window(cmd, closes_at, now)?,
        challenge_window_millis: window(
            "settlement.challenge_window_s",
            terms.challenge_window_s,
            usual.challenge_window_s,
            least_challenge_window(&method),
        )?,
        proposal_window_millis: window(
            "settlement.proposal_window_s",
            terms.proposal_window_s,
            usual.proposal_window_s,
            0,
        )?,
        bond: bond(terms.bond_micro.unwrap_or(usual.bond_micro))?,
        method,
        audit_plan: commitment,
        audit_floor_bps,
        audit_peak_bps: bps(asked_peak.max(i64::from(audit_floor_bps)))?,
        seed_commitment: Some(seed_commitment(seed)),
        trade_fee_bps: cmd.trade_fee_bps,
        creator_fee_bps: cmd.creator_fee_bps,
    };
    rules
        .fees()
        .map_err(|_| ServiceError::invalid("bad-fee", "fees are 0 to 500 basis points"))?;
    Ok((rules, plan))
}

/// The methods on offer, by their names in the API.
const METHODS: [&str; 4] = ["objective", "panel", "ensemble", "self_resolving"];

fn unknown_method(name: &str) -> ServiceError {
    ServiceError::invalid(
        "bad-method",
        format!(
            "settlement method '{name}' is not offered; use {}",
            METHODS.join(", ")
        ),
    )
}

fn plan_of(terms: &SettlementTerms) -> Result<Option<SettlementPlan>> {
    if terms.plan.is_null() {
        return Ok(None);
    }
    let plan: SettlementPlan =
        serde_json::from_value(terms.plan.clone()).map_err(|error| bad_plan(&error.to_string()))?;
    plan.validate()
        .map_err(|error| bad_plan(&error.to_string()))?;
    Ok(Some(plan))
}

fn bad_plan(detail: &str) -> ServiceError {
    ServiceError::invalid("bad-plan", format!("settlement.plan: {detail}"))
}

fn self_resolving(terms: &SettlementTerms) -> Result<Method> {
    let bad = |detail: &str| ServiceError::invalid("bad-self-resolving", detail.to_owned());
    let stop_ppm = terms
        .stop_ppm
        .and_then(|ppm| u32::try_from(ppm).ok())
        .filter(|ppm| (1..=1_000_000).contains(ppm))
        .ok_or_else(|| bad("settlement.stop_ppm is 1 to 1,000,000"))?;
    let undone = terms
        .undone
        .filter(|count| (0..=MOST_UNDONE).contains(count))
        .and_then(|count| u16::try_from(count).ok())
        .ok_or_else(|| bad("settlement.undone is 0 to 1,000"))?;
    let fee = terms.fee_micro.unwrap_or(0);
    if !(0..=LARGEST_BOND).contains(&fee) {
        return Err(bad("settlement.fee_micro is 0 to a million credits"));
    }
    Ok(Method::SelfResolving {
        stop_ppm,
        undone,
        fee: Micro(fee),
    })
}

/// A field that the method does not read would be a promise that nobody keeps.
fn refuse_foreign_fields(terms: &SettlementTerms) -> Result<()> {
    let own = |method: &str| terms.method == method;
    let foreign = [
        (
            "proposal_window_s",
            terms.proposal_window_s.is_some() && !own("panel"),
        ),
        (
            "stop_ppm",
            terms.stop_ppm.is_some() && !own("self_resolving"),
        ),
        ("undone", terms.undone.is_some() && !own("self_resolving")),
        (
            "fee_micro",
            terms.fee_micro.is_some() && !own("self_resolving"),
        ),
    ];
    match foreign.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => Err(ServiceError::invalid(
            "bad-method",
            format!(
                "settlement.{name} means nothing to the method '{}'",
                terms.method
            ),
        )),
    }
}

fn closing_window(cmd: &OpenMarket, closes_at: Millis, now: Millis) -> Result<Millis> {
    let life = closes_at - now;
    // A self-resolving market stops by its own draw.
    if cmd.settlement.method == "self_resolving" && cmd.closing_window_s.is_none() {
        return Ok(0);
    }
    let Some(asked) = cmd.closing_window_s else {
        return Ok((life / CLOSING_PART).min(USUAL_CLOSING_WINDOW));
    };
    let millis = window("closing_window_s", Some(asked), 0, 0)?;
    if millis >= life {
        return Err(ServiceError::invalid(
            "bad-window",
            "closing_window_s is shorter than the market's life",
        ));
    }
    Ok(millis)
}

/// What somebody says, or judges who can be shown what is made up, must not be final before anybody
/// could object. A test says the same again, and a last price is no claim.
fn least_challenge_window(method: &Method) -> i64 {
    match method {
        Method::Panel | Method::Ensemble => LEAST_CHALLENGE_WINDOW_S,
        Method::Objective { .. } | Method::SelfResolving { .. } => 0,
    }
}

/// A window in milliseconds from one in seconds.
fn window(name: &str, given: Option<i64>, usual: i64, least: i64) -> Result<Millis> {
    let seconds = given.unwrap_or(usual);
    if !(least..=LONGEST_WINDOW_S).contains(&seconds) {
        return Err(ServiceError::invalid(
            "bad-window",
            format!("{name} is {least} to {LONGEST_WINDOW_S} seconds"),
        ));
    }
    Ok(seconds * 1_000)
}

fn bond(micro: i64) -> Result<Micro> {
    if (0..=LARGEST_BOND).contains(&micro) {
        return Ok(Micro(micro));
    }
    Err(ServiceError::invalid(
        "bad-bond",
        "settlement.bond_micro is 0 to a million credits",
    ))
}

fn bps(value: i64) -> Result<u16> {
    u16::try_from(value)
        .ok()
        .filter(|bps| (plumbline_market::draw::MIN_AUDIT_BPS..=10_000).contains(bps))
        .ok_or_else(|| {
            ServiceError::invalid(
                "bad-audit",
                "audit_floor_bps and audit_peak_bps are 500 to 10,000 basis points",
            )
        })
}
