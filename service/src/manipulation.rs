//! What it takes to mislead a market, and patterns of trades worth a look.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use plumbline_access::Action;
use plumbline_market::manipulation::{
    Concentration, Flag, FlagKind, Move, circular_trading, concentration, threshold_costs,
};
use plumbline_market::probability::Probability;
use plumbline_store::markets::{self, Market};
use plumbline_store::{Tx, accounts, portfolio, trades};

use crate::context::Context;
use crate::outcomes::require_binary;
use crate::time::{Millis, rfc3339};
use crate::trades::maker_of;
use crate::views::{ConcentrationView, FlagView, ManipulationView, ThresholdView};
use crate::{Result, Service, ServiceError};

/// Trades that are looked at, the latest.
const MOST_TRADES: i64 = 5_000;
/// Positions that enter the concentration.
const MOST_POSITIONS: i64 = 200_000;
/// A view of a market that has moved since is shown again for this long.
const FRESH: Millis = 5_000;
/// Views kept; with more markets in use than this they are computed more often.
const MOST_KEPT: usize = 64;

/// Views computed lately, by market.
#[derive(Debug, Default)]
pub(crate) struct Lately(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    at: Millis,
    market_version: i64,
    policy_version: i64,
    view: Arc<ManipulationView>,
}

impl Lately {
    fn get(&self, market: &Market, policy_version: i64, now: Millis) -> Option<ManipulationView> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(&market.id)?;
        let same = found.market_version == market.version;
        let fresh = (0..FRESH).contains(&(now - found.at));
        ((same || fresh) && found.policy_version == policy_version)
            .then(|| found.view.as_ref().clone())
    }

    fn put(&self, market: &Market, policy_version: i64, now: Millis, view: &ManipulationView) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT && !kept.contains_key(&market.id) {
            kept.clear();
        }
        let entry = Kept {
            at: now,
            market_version: market.version,
            policy_version,
            view: Arc::new(view.clone()),
        };
        kept.insert(market.id.clone(), entry);
    }
}

impl Service {
    /// Costs of holding the price at the thresholds of the policy in force and at one half,
    /// concentration of positions, and flags for circular trading.
    pub fn manipulation(&self, ctx: &Context, market_id: &str) -> Result<ManipulationView> {
        self.allow(&ctx.actor, Action::ReadManipulation)?;
        let (policy, now, id) = (self.active_policy()?, self.now(), market_id.to_owned());
        let set = policy.document().thresholds;
        let named = [("trip", set.trip), ("clear", set.clear), ("half", 0.5)];
        let policy_version = i64::from(policy.document().version);
        self.read(move |tx| {
            let market = markets::get(tx, &id)?;
            require_binary(&market)?;
            if let Some(view) = self.lately.get(&market, policy_version, now) {
                return Ok(view);
            }
            let view = ManipulationView {
                probability: maker_of(&market)?.probability().get(),
                liquidity_micro: market.liquidity_micro,
                thresholds: thresholds(&market, &named)?,
                at: rfc3339(now),
                ..patterns(tx, &market.id)?
            };
            self.lately.put(&market, policy_version, now, &view);
            Ok(view)
        })
    }
}

fn thresholds(market: &Market, named: &[(&str, f64)]) -> Result<Vec<ThresholdView>> {
    let clamped = |p: f64| Probability::clamped(p).map_err(ServiceError::internal);
    let places = named
        .iter()
        .map(|(_, p)| clamped(*p))
        .collect::<Result<Vec<_>>>()?;
    let maker = maker_of(market)?;
    let costs = threshold_costs(
        maker.probability(),
        clamped(market.interval_low)?,
        clamped(market.interval_high)?,
        maker.liquidity(),
        &places,
    )?;
    let view = |(cost, (name, _)): (_, &(&str, f64))| {
        let cost: plumbline_market::manipulation::ThresholdCost = cost;
        ThresholdView {
            name: (*name).to_owned(),
            probability: cost.threshold.get(),
            from_price_micro: cost.from_price.get(),
            from_low_micro: cost.from_low.get(),
            from_high_micro: cost.from_high.get(),
        }
    };
    Ok(costs.into_iter().zip(named).map(view).collect())
}

/// The part of the view that comes from positions and trades.
fn patterns(tx: &mut Tx, market_id: &str) -> Result<ManipulationView> {
    let holdings = portfolio::holdings(tx, market_id, MOST_POSITIONS)?;
    let locked = concentration(holdings.iter().map(|(_, _, cost)| *cost));
    let exposure = concentration(
        holdings
            .iter()
            .map(|(yes, no, _)| yes.saturating_sub(*no).saturating_abs()),
    );
    let mut moves: Vec<Move> = trades::list(tx, market_id, None, MOST_TRADES)?
        .into_iter()
        .map(|trade| Move {
            shift: trade.log_odds_after - trade.log_odds_before,
            net_shares: trade.yes_micro.saturating_sub(trade.no_micro),
            volume: trade.cost_micro.saturating_abs(),
            at: trade.at,
            account: trade.account_id,
        })
        .collect();
    moves.reverse();
    let mut handles = BTreeMap::new();
    let flags = circular_trading(&moves)
        .into_iter()
        .map(|flag| flag_view(tx, &mut handles, flag))
        .collect::<Result<_>>()?;
    Ok(ManipulationView {
        market_id: market_id.to_owned(),
        probability: 0.5,
        liquidity_micro: 0,
        thresholds: Vec::new(),
        locked: concentration_view(&locked),
        exposure: concentration_view(&exposure),
        trades: moves.len(),
        flags,
        at: String::new(),
    })
}

fn flag_view(tx: &mut Tx, handles: &mut BTreeMap<String, String>, flag: Flag) -> Result<FlagView> {
    let mut names = Vec::with_capacity(flag.accounts.len());
    for account in flag.accounts {
        if !handles.contains_key(&account) {
            handles.insert(account.clone(), accounts::get(tx, &account)?.handle);
        }
        names.extend(handles.get(&account).cloned());
    }
    let kind = match flag.kind {
        FlagKind::RoundTrips => "round_trips",
        FlagKind::BackAndForth => "back_and_forth",
        FlagKind::Churn => "churn",
    };
    Ok(FlagView {
        kind: kind.to_owned(),
        accounts: names,
        count: flag.count,
        volume_micro: flag.volume,
        net: flag.net,
    })
}

fn concentration_view(of: &Concentration) -> ConcentrationView {
    ConcentrationView {
        holders: of.holders,
        herfindahl: of.herfindahl,
        top1: of.top1,
        top3: of.top3,
    }
}
