//! Opening and reading markets.

use plumbline_access::Action;
use plumbline_market::life::{Event, Life, Rules, Status, Time, step};
use plumbline_market::lmsr::{Maker, MakerError, manipulation_cost};
use plumbline_market::money::Micro;
use plumbline_market::plan::SettlementPlan;
use plumbline_market::probability::{Probability, sigmoid};
use plumbline_oracle::claim::{Claim, ProbePlan};
use plumbline_oracle::exhibit::Detector;
use plumbline_store::accounts::{self, AccountKind};
use plumbline_store::markets::{self, Market};
use plumbline_store::prices::{self, Price};
use plumbline_store::{Tx, runs};
use serde_json::{Value, json};

use crate::accounts::account_of;
use crate::commands::{OpenMarket, ProbeTerms};
use crate::context::Context;
use crate::events::publish;
use crate::ledger::{TREASURY, post, system_account};
use crate::outcomes::terms::Outcomes;
use crate::outcomes::{settled_as, with_outcomes};
use crate::runs::{find_run, newest_market};
use crate::settlement::open_case;
use crate::settlement::terms::{HouseTerms, rules_of};
use crate::time::{Millis, parse_rfc3339, rfc3339};
use crate::trades::{maker_of, probability};
use crate::views::{IntervalView, MarketView, Page, PricePoint, RiskView, SettlementView};
use crate::{Result, Service, ServiceConfig, ServiceError, lives, page};

/// Half-width of the interval, in log-odds, of a market that no judge has looked at.
const UNJUDGED_HALF_WIDTH: f64 = 2.0;
/// Least time between opening and closing, milliseconds.
const SHORTEST_LIFE: Millis = 1_000;

impl Service {
    /// Opens a market; the treasury pays its subsidy, so only the operator may.
    /// If the run's checkpoint cannot be reached when the market freezes, the
    /// market is voided and everybody gets back what they put in.
    pub fn open_market(&self, ctx: &Context, cmd: &OpenMarket) -> Result<MarketView> {
        self.allow(&ctx.actor, Action::OpenMarket)?;
        let creator = account_of(&ctx.actor)?;
        let seed = self.random_seed()?;
        let terms = Terms::check(cmd, self.now(), &seed, &self.config)?;
        let outcomes = Outcomes::check(cmd)?;
        if outcomes.is_some() && cmd.trade_fee_bps + cmd.creator_fee_bps > 0 {
            return Err(ServiceError::invalid(
                "bad-fee",
                "markets of several outcomes charge no fees",
            ));
        }
        let (id, transfer_id, run) = (self.new_id(), self.new_id(), cmd.run_id.clone());
        let held_out = self.config.defences.held_out_plan;
        self.write_once(ctx, move |tx, now| {
            let run = find_run(tx, &run)?;
            let house = terms.house;
            let mut market = terms.into_market(id, run.id, creator, now)?;
            if let Some(outcomes) = &outcomes {
                market = outcomes.adapt(market)?;
            }
            accounts::insert(
                tx,
                &system_account(&market.escrow_id, AccountKind::Escrow, now),
            )?;
            post(
                tx,
                transfer_id,
                now,
                "subsidy",
                &market.id,
                vec![
                    (TREASURY.to_owned(), -market.subsidy_micro),
                    (market.escrow_id.clone(), market.subsidy_micro),
                ],
            )?;
            markets::insert(tx, &market)?;
            if let Some(outcomes) = &outcomes {
                outcomes.insert(tx, &market.id)?;
            }
            prices::insert(
                tx,
                &Price {
                    seq: 0,
                    market_id: market.id.clone(),
                    at: now,
                    log_odds: market.log_odds,
                    cause: "open".to_owned(),
                    reference: None,
                },
            )?;
            open_case(tx, &market, house, &seed)?;
            announce(tx, now, &market, "opened")?;
            if !held_out {
                let plan = json!({"plan": market.plan});
                publish(
                    tx,
                    now,
                    &format!("market:{}", market.id),
                    "plan-shown",
                    &plan,
                )?;
            }
            let view = market_view(market.clone(), run.name)?;
            with_outcomes(tx, view, &market)
        })
    }

    /// Markets, oldest first.
    pub fn markets(
        &self,
        ctx: &Context,
        run_id: Option<&str>,
        status: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<MarketView>> {
        self.allow(&ctx.actor, Action::ListMarkets)?;
        if let Some(status) = status {
            status.parse::<Status>().map_err(|_| {
                ServiceError::invalid("bad-status", format!("'{status}' is not a market's status"))
            })?;
        }
        let (after, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        let (run, status) = (run_id.map(str::to_owned), status.map(str::to_owned));
        self.read(move |tx| {
            let run_id = run
                .map(|run| find_run(tx, &run))
                .transpose()?
                .map(|run| run.id);
            let rows = markets::list(
                tx,
                run_id.as_deref(),
                status.as_deref(),
                after.as_deref(),
                (limit + 1) as i64,
            )?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let items = page
                .items
                .into_iter()
                .map(|row| view_of(tx, row))
                .collect::<Result<_>>()?;
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One market.
    pub fn market(&self, ctx: &Context, id: &str) -> Result<MarketView> {
        self.allow(&ctx.actor, Action::ReadMarket)?;
        let id = id.to_owned();
        self.read(move |tx| {
            let market = markets::get(tx, &id)?;
            view_of(tx, market)
        })
    }

    /// Every move of a market's price, oldest first.
    pub fn prices(
        &self,
        ctx: &Context,
        market_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<PricePoint>> {
        self.allow(&ctx.actor, Action::ReadPrices)?;
        let after = page::parse_cursor(cursor)?.unwrap_or(0);
        let (market_id, limit) = (market_id.to_owned(), page::bounded(limit));
        self.read(move |tx| {
            markets::get(tx, &market_id)?;
            let rows = prices::list(tx, &market_id, after, (limit + 1) as i64)?;
            Ok(page::cut(
                rows,
                limit,
                |row| row.seq.to_string(),
                price_point,
            ))
        })
    }

    /// At most `points` moves, evenly thinned, first and last included, for a chart.
    pub fn price_chart(
        &self,
        ctx: &Context,
        market_id: &str,
        points: usize,
    ) -> Result<Vec<PricePoint>> {
        self.allow(&ctx.actor, Action::ReadPrices)?;
        let (market_id, points) = (market_id.to_owned(), points.clamp(2, 2_000));
        let rows = self.read(move |tx| {
            markets::get(tx, &market_id)?;
            Ok(prices::sample(tx, &market_id, points as i64)?)
        })?;
        Ok(rows.into_iter().map(price_point).collect())
    }
}

/// A checked request for a market.
struct Terms {
    cmd: OpenMarket,
    rules: Rules,
    maker: Maker,
    subsidy: Micro,
    opening: Probability,
    plan: Option<SettlementPlan>,
    house: HouseTerms,
}

/// The life of a market that opens now.
fn open_life(rules: Rules, now: Millis) -> Result<Life> {
    let draft = Life::draft(rules, Time(now)).map_err(life_error)?;
    let (life, _) = step(&draft, &Event::Open, Time(now)).map_err(life_error)?;
    Ok(life)
}

impl Terms {
    fn check(
        cmd: &OpenMarket,
        now: Millis,
        seed: &[u8; 32],
        config: &ServiceConfig,
    ) -> Result<Self> {
        let opening = probability(cmd.probability)?;
        let (maker, subsidy) =
            Maker::open(opening, Micro(cmd.liquidity_micro)).map_err(|error| match error {
                MakerError::Liquidity(_) => {
                    ServiceError::invalid("bad-liquidity", error.to_string())
                }
                other => ServiceError::internal(other),
            })?;
        check_claim(cmd)?;
        let closes_at = parse_rfc3339(&cmd.closes_at)?;
        if closes_at < now + SHORTEST_LIFE {
            return Err(ServiceError::invalid(
                "closes-too-soon",
                "closes_at lies at least a second ahead",
            ));
        }
        let tokens = cmd.closes_after_tokens.map(tokens).transpose()?;
        let (rules, plan) = rules_of(cmd, closes_at, tokens, now, seed, config)?;
        open_life(rules, now)?;
        Ok(Self {
            cmd: cmd.clone(),
            rules,
            maker,
            subsidy,
            opening,
            plan,
            house: HouseTerms::of(&cmd.settlement, config)?,
        })
    }

    fn into_market(
        self,
        id: String,
        run_id: String,
        creator_id: String,
        now: Millis,
    ) -> Result<Market> {
        // It may have waited for its turn since it was checked.
        let life = open_life(self.rules, now)?;
        let probe = self
            .cmd
            .probe
            .as_ref()
            .map(serde_json::to_string)
            .transpose()
            .map_err(ServiceError::internal)?;
        let log_odds = self.maker.log_odds_nats();
        Ok(Market {
            escrow_id: format!("escrow-{id}"),
            id,
            run_id,
            claim: self.cmd.claim.trim().to_owned(),
            claim_kind: self.cmd.claim_kind,
            rubric: self.cmd.rubric,
            probe,
            status: life.status.as_str().to_owned(),
            life: serde_json::to_string(&life).map_err(ServiceError::internal)?,
            log_odds,
            opening_log_odds: self.opening.log_odds().get(),
            net_shares_micro: 0,
            liquidity_micro: self.cmd.liquidity_micro,
            subsidy_micro: self.subsidy.get(),
            creator_id,
            settlement_method: life.rules.method.as_str().to_owned(),
            plan: self
                .plan
                .map(|plan| plan.canonical_json())
                .transpose()
                .map_err(ServiceError::internal)?,
            closes_at: life.rules.closes_at.0,
            closes_after_tokens: self.cmd.closes_after_tokens,
            opened_at: now,
            frozen_at: None,
            frozen_checkpoint: None,
            settlement: None,
            settled_at: None,
            statistics: None,
            interval_low: sigmoid(log_odds - UNJUDGED_HALF_WIDTH),
            interval_high: sigmoid(log_odds + UNJUDGED_HALF_WIDTH),
            n_eff: 0.0,
            assessment: None,
            trades: 0,
            evidence: 0,
            version: 0,
            outcome_count: 0,
        })
    }
}

fn tokens(count: i64) -> Result<u64> {
    u64::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| ServiceError::invalid("bad-tokens", "closes_after_tokens is above zero"))
}

fn check_claim(cmd: &OpenMarket) -> Result<()> {
    build_claim(
        cmd.claim.trim(),
        &cmd.claim_kind,
        &cmd.rubric,
        cmd.probe.as_ref(),
    )?;
    let Some(probe) = &cmd.probe else {
        return Ok(());
    };
    let bad = |detail: &str| {
        Err(ServiceError::invalid(
            "bad-probe",
            format!("probe: {detail}"),
        ))
    };
    if probe.grammar.len() < 2 {
        return bad("the grammar needs at least two candidates");
    }
    if !(1..=64).contains(&probe.prompts.len()) || !(1..=256).contains(&probe.max_tokens) {
        return bad("1 to 64 prompts and 1 to 256 max_tokens");
    }
    let holds_one =
        |prompt: &String| prompt.len() <= 8192 && prompt.matches("{candidate}").count() == 1;
    if !probe.prompts.iter().all(holds_one) {
        return bad("every prompt holds {candidate} exactly once, in at most 8192 bytes");
    }
    Ok(())
}

/// The claim as the oracle sees it: text and public probe terms, never a price.
pub(crate) fn claim_of(market: &Market) -> Result<Claim> {
    let probe = probe_of(market)?;
    build_claim(
        &market.claim,
        &market.claim_kind,
        &market.rubric,
        probe.as_ref(),
    )
}

fn build_claim(text: &str, kind: &str, rubric: &str, probe: Option<&ProbeTerms>) -> Result<Claim> {
    let bad = |error: plumbline_oracle::error::InvalidInput| {
        ServiceError::invalid("bad-claim", error.to_string())
    };
    let claim = Claim::new(kind, text, rubric).map_err(bad)?;
    let Some(probe) = probe else { return Ok(claim) };
    let detector = Detector {
        contains_any: probe.detector.contains_any.clone(),
    };
    claim
        .with_probe(ProbePlan {
            grammar: probe.grammar.clone(),
            detector: Some(detector),
        })
        .map_err(bad)
}

fn probe_of(market: &Market) -> Result<Option<ProbeTerms>> {
    market
        .probe
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(ServiceError::internal)
}

/// The stored life-cycle state.
pub(crate) fn life_of(market: &Market) -> Result<Life> {
    lives::parse(&market.life)
}

/// The market after a step of its life.
pub(crate) fn with_life(market: Market, life: &Life) -> Result<Market> {
    let state = serde_json::to_string(life).map_err(ServiceError::internal)?;
    Ok(Market {
        status: life.status.as_str().to_owned(),
        life: state,
        ..market
    })
}

pub(crate) fn life_error(error: plumbline_market::life::LifeError) -> ServiceError {
    ServiceError::refused("not-now", error.to_string())
}

/// Tells everybody that a market's life went on.
pub(crate) fn announce(tx: &mut Tx, now: Millis, market: &Market, kind: &str) -> Result<()> {
    let payload = json!({
        "market_id": market.id,
        "run_id": market.run_id,
        "status": market.status,
        "probability": sigmoid(market.log_odds),
        "settlement": market.settlement,
        "settled_as": settled_as(tx, market)?,
    });
    publish(tx, now, &format!("market:{}", market.id), kind, &payload)
}

/// What the run's newest market says about it.
pub(crate) fn risk_view(tx: &mut Tx, run_id: &str) -> Result<Option<RiskView>> {
    let Some(market) = newest_market(tx, run_id)? else {
        return Ok(None);
    };
    Ok(Some(RiskView {
        probability: sigmoid(market.log_odds),
        interval: interval(&market),
        settlement: market.settlement,
        market_id: market.id,
        status: market.status,
    }))
}

fn interval(market: &Market) -> IntervalView {
    IntervalView {
        low: market.interval_low,
        high: market.interval_high,
    }
}

pub(crate) fn view_of(tx: &mut Tx, market: Market) -> Result<MarketView> {
    let run = runs::get(tx, &market.run_id)?;
    let view = market_view(market.clone(), run.name)?;
    with_outcomes(tx, view, &market)
}

fn market_view(market: Market, run_name: String) -> Result<MarketView> {
    let maker = maker_of(&market)?;
    // The other side of one half: what it would cost to make the price say the opposite.
    let across = Probability::clamped(if maker.probability().get() < 0.5 {
        0.6
    } else {
        0.4
    });
    let across = across.map_err(ServiceError::internal)?;
    let cost = manipulation_cost(maker.probability(), across, maker.liquidity())
        .map_err(ServiceError::internal)?;
    let rules = life_of(&market)?.rules;
    Ok(MarketView {
        trade_fee_bps: rules.trade_fee_bps,
        creator_fee_bps: rules.creator_fee_bps,
        probability: sigmoid(market.log_odds),
        opening_probability: sigmoid(market.opening_log_odds),
        interval: interval(&market),
        probe: probe_of(&market)?,
        settlement: settlement_view(&market)?,
        opened_at: rfc3339(market.opened_at),
        closes_at: rfc3339(market.closes_at),
        manipulation_cost_micro: cost.get(),
        id: market.id,
        run_id: market.run_id,
        run_name,
        claim: market.claim,
        claim_kind: market.claim_kind,
        rubric: market.rubric,
        status: market.status,
        liquidity_micro: market.liquidity_micro,
        subsidy_micro: market.subsidy_micro,
        closes_after_tokens: market.closes_after_tokens,
        trades: market.trades,
        evidence: market.evidence,
        n_eff: market.n_eff,
        outcomes: None,
    })
}

/// The plan itself stays hidden until the freeze, so that nobody trains on it.
pub(crate) fn settlement_view(market: &Market) -> Result<SettlementView> {
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(ServiceError::internal);
    let plan = market
        .plan
        .as_deref()
        .filter(|_| market.frozen_at.is_some());
    let life = life_of(market)?;
    Ok(SettlementView {
        method: market.settlement_method.clone(),
        seed_commitment: life.rules.seed_commitment.map(|seed| seed.to_string()),
        closes_from: Some(rfc3339(life.rules.window_begins_at().0)),
        advisory: life.rules.method.is_advisory(),
        plan_commitment: life.rules.plan().map(|plan| plan.to_string()),
        plan: plan.map(read).transpose()?,
        frozen_checkpoint: market.frozen_checkpoint.clone(),
        exhibits_root: life.freeze.map(|freeze| freeze.exhibits_root.to_string()),
        frozen_at: market.frozen_at.map(rfc3339),
        pi: market.settlement,
        statistics: market.statistics.as_deref().map(read).transpose()?,
        settled_at: market.settled_at.map(rfc3339),
    })
}

fn price_point(row: Price) -> PricePoint {
    PricePoint {
        at: rfc3339(row.at),
        probability: sigmoid(row.log_odds),
        cause: row.cause,
        reference: row.reference,
    }
}
