//! What it takes to mislead a market, and who might be trying.
//!
//! Nothing here accuses anybody: each figure comes with the numbers that it was made of.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lmsr::manipulation_cost;
use crate::money::{Micro, MoneyError};
use crate::probability::Probability;

/// Moves that reverse each other lie at most this far apart, milliseconds.
pub const WINDOW_MILLIS: i64 = 15 * 60 * 1_000;
/// Reversals of one's own moves from which on an account is flagged.
pub const MIN_SELF_REVERSALS: u32 = 3;
/// Reversals in each direction from which on a pair of accounts is flagged.
pub const MIN_PAIR_REVERSALS: u32 = 2;
/// Trades from which on an account is flagged that ends where it began.
pub const MIN_CHURN_TRADES: u32 = 10;
/// Net exposure as a part of all shares traded, below which that is so.
pub const MAX_CHURN_NET: f64 = 0.05;
/// Most flags that come back.
const MOST_FLAGS: usize = 20;

/// What it costs in expectation to hold the price at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ThresholdCost {
    /// The threshold.
    pub threshold: Probability,
    /// `b·KL(p‖threshold)` if the truth is the price.
    pub from_price: Micro,
    /// The same if the truth is the lower end of the interval.
    pub from_low: Micro,
    /// The same if the truth is the upper end.
    pub from_high: Micro,
}

/// `b·KL(p‖t)` of every threshold `t`, from the price and from both ends of its interval.
/// Errors: never for a liquidity in range.
pub fn threshold_costs(
    price: Probability,
    low: Probability,
    high: Probability,
    liquidity: Micro,
    thresholds: &[Probability],
) -> Result<Vec<ThresholdCost>, MoneyError> {
    let cost = |from, threshold| manipulation_cost(from, threshold, liquidity);
    thresholds
        .iter()
        .map(|&threshold| {
            Ok(ThresholdCost {
                threshold,
                from_price: cost(price, threshold)?,
                from_low: cost(low, threshold)?,
                from_high: cost(high, threshold)?,
            })
        })
        .collect()
}

/// How unevenly an amount is spread over its holders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Concentration {
    /// Holders of more than nothing.
    pub holders: usize,
    /// Σ of what they hold, millionths.
    pub total: f64,
    /// `Σ (share)²`: 1 for a single holder, 1/n for n equal ones; 0 for none.
    pub herfindahl: f64,
    /// Share of the largest holder.
    pub top1: f64,
    /// Share of the three largest together.
    pub top3: f64,
}

/// The concentration of `amounts`, millionths; what is not above zero is left out.
pub fn concentration(amounts: impl IntoIterator<Item = i64>) -> Concentration {
    let mut top = [0.0_f64; 3];
    let (mut holders, mut total, mut squares) = (0, 0.0, 0.0);
    for amount in amounts.into_iter().filter(|amount| *amount > 0) {
        let mut amount = amount as f64;
        holders += 1;
        total += amount;
        squares += amount * amount;
        for place in &mut top {
            if amount > *place {
                std::mem::swap(place, &mut amount);
            }
        }
    }
    let share = |part: f64| if total > 0.0 { part / total } else { 0.0 };
    Concentration {
        holders,
        total,
        herfindahl: if total > 0.0 {
            squares / (total * total)
        } else {
            0.0
        },
        top1: share(top[0]),
        top3: share(top.iter().sum()),
    }
}

/// One trade, as far as circular trading is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Who traded.
    pub account: String,
    /// When, milliseconds.
    pub at: i64,
    /// Change of the log-odds, nats.
    pub shift: f64,
    /// YES micro-shares less NO micro-shares received.
    pub net_shares: i64,
    /// Magnitude of the cost, micro-credits.
    pub volume: i64,
}

/// What a flag is raised for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// An account undid its own moves.
    RoundTrips,
    /// Two accounts undid each other's moves in turn.
    BackAndForth,
    /// An account traded much and ended about where it began.
    Churn,
}

/// A pattern worth a look, with the numbers behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flag {
    /// What was seen.
    pub kind: FlagKind,
    /// Whose trades.
    pub accounts: Vec<String>,
    /// Reversals, or trades for [`FlagKind::Churn`].
    pub count: u32,
    /// Σ |cost| of those trades, micro-credits.
    pub volume: i64,
    /// |Σ shares| / Σ |shares| of the accounts: 0 ends where it began, 1 went one way.
    pub net: f64,
}

#[derive(Default)]
struct Turnover {
    trades: u32,
    net: i128,
    gross: i128,
    volume: i64,
}

/// Flags of a history of trades, in order of time; the caller bounds its length. Linear in it:
/// only neighbouring moves are compared.
pub fn circular_trading(moves: &[Move]) -> Vec<Flag> {
    let mut turnover: BTreeMap<&str, Turnover> = BTreeMap::new();
    for one in moves {
        let entry = turnover.entry(&one.account).or_default();
        entry.trades += 1;
        entry.net += i128::from(one.net_shares);
        entry.gross += i128::from(one.net_shares).abs();
        entry.volume = entry.volume.saturating_add(one.volume);
    }
    // (who moved, who moved back) → how often, for how much.
    let mut reversals: BTreeMap<(&str, &str), (u32, i64)> = BTreeMap::new();
    for pair in moves.windows(2) {
        if reverses(&pair[0], &pair[1]) {
            let seen = reversals
                .entry((&pair[0].account, &pair[1].account))
                .or_default();
            seen.0 += 1;
            seen.1 = seen.1.saturating_add(pair[1].volume);
        }
    }
    let mut flags = reversal_flags(&reversals, &turnover);
    flags.extend(churn_flags(&turnover));
    flags.sort_by(|a, b| {
        b.volume
            .cmp(&a.volume)
            .then_with(|| a.accounts.cmp(&b.accounts))
    });
    flags.truncate(MOST_FLAGS);
    flags
}

/// Whether `second` undoes between half and twice of what `first` did, soon enough.
fn reverses(first: &Move, second: &Move) -> bool {
    let opposite = first.shift * second.shift < 0.0;
    let ratio = (second.shift / first.shift).abs();
    opposite && (0.5..=2.0).contains(&ratio) && second.at - first.at <= WINDOW_MILLIS
}

fn reversal_flags(
    reversals: &BTreeMap<(&str, &str), (u32, i64)>,
    turnover: &BTreeMap<&str, Turnover>,
) -> Vec<Flag> {
    let mut flags = Vec::new();
    for ((first, second), (count, volume)) in reversals {
        if first == second {
            if *count >= MIN_SELF_REVERSALS {
                flags.push(Flag {
                    kind: FlagKind::RoundTrips,
                    accounts: vec![(*first).to_owned()],
                    count: *count,
                    volume: *volume,
                    net: net_of(turnover, &[*first]),
                });
            }
            continue;
        }
        let back = reversals.get(&(*second, *first));
        // Each pair once, from its lesser name.
        if let Some((back_count, back_volume)) = back
            && first < second
            && (*count).min(*back_count) >= MIN_PAIR_REVERSALS
        {
            flags.push(Flag {
                kind: FlagKind::BackAndForth,
                accounts: vec![(*first).to_owned(), (*second).to_owned()],
                count: count + back_count,
                volume: volume.saturating_add(*back_volume),
                net: net_of(turnover, &[*first, *second]),
            });
        }
    }
    flags
}

fn net_of(turnover: &BTreeMap<&str, Turnover>, accounts: &[&str]) -> f64 {
    let of = accounts.iter().filter_map(|account| turnover.get(account));
    let (net, gross) = of.fold((0, 0), |(net, gross), one| {
        (net + one.net, gross + one.gross)
    });
    if gross == 0 {
        0.0
    } else {
        net.abs() as f64 / gross as f64
    }
}

fn churn_flags(turnover: &BTreeMap<&str, Turnover>) -> Vec<Flag> {
    let all: f64 = turnover.values().map(|one| one.volume as f64).sum();
    turnover
        .iter()
        .filter_map(|(account, one)| {
            let net = net_of(turnover, &[*account]);
            let much = one.volume as f64 >= all * MAX_CHURN_NET;
            let flagged = one.trades >= MIN_CHURN_TRADES && net <= MAX_CHURN_NET && much;
            flagged.then(|| Flag {
                kind: FlagKind::Churn,
                accounts: vec![(*account).to_owned()],
                count: one.trades,
                volume: one.volume,
                net,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn moves(path: &[(&str, f64)]) -> Vec<Move> {
        path.iter()
            .zip(0_i64..)
            .map(|((account, shift), n)| Move {
                account: (*account).to_owned(),
                at: n * 1_000,
                shift: *shift,
                net_shares: (shift * 1e6) as i64,
                volume: (shift.abs() * 1e6) as i64,
            })
            .collect()
    }

    fn kinds(path: &[(&str, f64)]) -> Vec<(FlagKind, u32)> {
        let flags = circular_trading(&moves(path));
        flags
            .into_iter()
            .map(|flag| (flag.kind, flag.count))
            .collect()
    }

    #[test]
    fn patterns_are_flagged_and_honest_trading_is_not() {
        let (up, down) = (0.4, -0.4);
        // One account there and back, three times and more.
        assert_eq!(
            kinds(&[("a", up), ("a", down), ("a", up), ("a", down)]),
            [(FlagKind::RoundTrips, 3)]
        );
        // Two in turn.
        assert_eq!(
            kinds(&[("a", up), ("b", down), ("a", up), ("b", down), ("a", up)]),
            [(FlagKind::BackAndForth, 4)]
        );
        // A disagreement that ends, and one-way buying.
        assert_eq!(kinds(&[("a", up), ("b", down), ("a", up)]), []);
        assert_eq!(kinds(&[("a", up), ("a", up), ("a", up), ("b", up)]), []);
        // Answers of another size are no reversals.
        assert_eq!(
            kinds(&[("a", up), ("b", -0.05), ("a", up), ("b", -0.05), ("a", up)]),
            []
        );
        // Far apart in time.
        let mut slow = moves(&[("a", up), ("a", down), ("a", up), ("a", down)]);
        for (one, n) in slow.iter_mut().zip(0..) {
            one.at = n * (WINDOW_MILLIS + 1);
        }
        assert_eq!(circular_trading(&slow), []);
        assert_eq!(circular_trading(&[]), []);
    }

    #[test]
    fn churn_needs_trades_volume_and_no_exposure() {
        let path: Vec<(&str, f64)> = (0..12)
            .map(|n| ("a", if n < 6 { 0.1 } else { -0.1 }))
            .collect();
        let flags = circular_trading(&moves(&path));
        assert_eq!(flags.len(), 1);
        assert_eq!((flags[0].kind, flags[0].count), (FlagKind::Churn, 12));
        assert!(flags[0].net < 1e-6);
        assert_eq!(kinds(&path[..8]), []);
        let with_whale: Vec<_> = path.iter().copied().chain([("w", 90.0)]).collect();
        assert_eq!(kinds(&with_whale), [], "too small a part to matter");
    }

    #[test]
    fn concentration_by_hand() {
        let of = |amounts: &[i64]| concentration(amounts.iter().copied());
        let none = of(&[0, -5]);
        assert_eq!((none.holders, none.herfindahl, none.top1), (0, 0.0, 0.0));
        let one = of(&[7]);
        assert_eq!((one.herfindahl, one.top1, one.top3), (1.0, 1.0, 1.0));
        let four = of(&[1, 4, 3, 2]);
        assert!((four.herfindahl - 0.30).abs() < 1e-12);
        assert!((four.top1 - 0.4).abs() < 1e-12 && (four.top3 - 0.9).abs() < 1e-12);
    }

    #[test]
    fn costs_grow_with_the_distance() {
        let p = |x: f64| Probability::new(x).unwrap();
        let costs = threshold_costs(
            p(0.2),
            p(0.1),
            p(0.4),
            Micro(100_000_000),
            &[p(0.3), p(0.5), p(0.2)],
        )
        .unwrap();
        // b·KL(.2‖.5) = 100·(.2 ln .4 + .8 ln 1.6)
        assert_eq!(costs[1].from_price, Micro(19_274_475));
        assert!(costs[1].from_low > costs[1].from_price);
        assert!(costs[1].from_high < costs[1].from_price);
        assert_eq!(costs[2].from_price, Micro(0));
    }
}
