//! Markets that settle at their own last price (Srinivasan, Karger & Chen 2023, "Self-Resolving
//! Prediction Markets for Unverifiable Outcomes").
//!
//! After each trade the market stops with probability α, drawn in secret. The last posted
//! price is the reference π. The last k trades are undone, because whoever made them knew too
//! well what the reference would be, and their makers get a flat fee instead. Everybody else is
//! paid by the market's formula at π. Nobody outside ever looks at the claim, so such a market
//! says what its traders expect of each other, and no more: it is a signal, never a basis.
//!
//! What was paid in stays until the settlement: a trade that would pay cash out is refused
//! ([`keeps_cash`]). That is what makes every trade undoable without asking anybody for money.

use std::collections::BTreeMap;

use crate::money::{Micro, MicroShares, MoneyError};
use crate::trade::{Fill, Position};

/// One of the trades to be undone, as it was stored: changes before pairs were netted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<K> {
    /// Who made it.
    pub holder: K,
    /// Change of YES micro-shares.
    pub yes: MicroShares,
    /// Change of NO micro-shares.
    pub no: MicroShares,
    /// What it cost; negative for a sale.
    pub cost: Micro,
}

/// What becomes of one account whose trades are undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone<K> {
    /// Who.
    pub holder: K,
    /// The position without those trades.
    pub position: Position,
    /// Collateral that is set free, from escrow to the account; not negative.
    pub back: Micro,
    /// The flat fee, from the treasury to the account.
    pub fee: Micro,
}

/// Whether a fill leaves in escrow what is there. In a self-resolving market no other is taken.
pub fn keeps_cash(fill: &Fill) -> bool {
    !fill.cash.is_negative()
}

/// The position before `report`, which was its last change.
///
/// Netting turns pairs into a credit of the cost, so a position is known by its totals less
/// the pairs netted so far; taking a trade out of the totals and netting again gives the
/// position as it was.
fn without<K>(position: &Position, report: &Report<K>) -> Result<Position, MoneyError> {
    let yes = position.yes.checked_sub(report.yes)?;
    let no = position.no.checked_sub(report.no)?;
    let pairs = yes.min(no);
    Ok(Position {
        yes: yes.checked_sub(pairs)?,
        no: no.checked_sub(pairs)?,
        net_cost: position
            .net_cost
            .checked_sub(report.cost)?
            .checked_sub(Micro(pairs.get()))?,
    })
}

/// Undoes the last trades of a market. `reports` are those trades, the newest last; `held`
/// gives the stored position of an account.
///
/// One row for each account that made any of them, in order of account. The sum of what goes
/// back is what the undone trades put into escrow, so collateral and subsidy still make the
/// escrow. Errors: an amount left the range of the type; or a trade took cash out, which
/// [`keeps_cash`] rules out.
pub fn undo<K: Ord + Clone>(
    reports: &[Report<K>],
    held: impl Fn(&K) -> Position,
    fee: Micro,
) -> Result<Vec<Undone<K>>, MoneyError> {
    let mut positions: BTreeMap<K, Position> = BTreeMap::new();
    for report in reports.iter().rev() {
        let now = positions
            .get(&report.holder)
            .copied()
            .unwrap_or_else(|| held(&report.holder));
        positions.insert(report.holder.clone(), without(&now, report)?);
    }
    positions
        .into_iter()
        .map(|(holder, position)| {
            let back = held(&holder).locked().checked_sub(position.locked())?;
            if back.is_negative() {
                return Err(MoneyError::Overflow);
            }
            Ok(Undone {
                holder,
                position,
                back,
                fee,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lmsr::Maker;
    use crate::probability::{Pi, Probability};
    use crate::settle::payouts;
    use crate::trade::{Order, Outcome, Size, quote};
    use proptest::prelude::*;

    /// A market, everybody's positions, and what escrow holds.
    #[derive(Clone)]
    struct Market {
        maker: Maker,
        subsidy: Micro,
        escrow: Micro,
        positions: BTreeMap<u8, Position>,
        reports: Vec<Report<u8>>,
    }

    impl Market {
        fn new() -> Self {
            let (maker, subsidy) = Maker::open(Probability::HALF, Micro(20_000_000)).unwrap();
            Self {
                maker,
                subsidy,
                escrow: subsidy,
                positions: BTreeMap::new(),
                reports: Vec::new(),
            }
        }

        fn trade(&mut self, who: u8, outcome: Outcome, size: Size) {
            let held = self.positions.get(&who).copied().unwrap_or_default();
            let order = Order {
                outcome,
                size,
                limit: None,
            };
            let Ok(fill) = quote(&self.maker, &held, &order) else {
                return;
            };
            if !keeps_cash(&fill) {
                return;
            }
            self.escrow = self.escrow.checked_add(fill.cash).unwrap();
            self.maker = fill.maker;
            self.positions.insert(who, fill.position);
            self.reports.push(Report {
                holder: who,
                yes: fill.yes,
                no: fill.no,
                cost: fill.cost,
            });
        }

        /// Positions and escrow after undoing the last `k` trades.
        fn undone(&self, k: usize) -> (BTreeMap<u8, Position>, Micro) {
            let from = self.reports.len().saturating_sub(k);
            let held = |who: &u8| self.positions[who];
            let rows = undo(&self.reports[from..], held, Micro(5)).unwrap();
            let mut positions = self.positions.clone();
            let mut escrow = self.escrow;
            for row in rows {
                assert_eq!(row.fee, Micro(5));
                escrow = escrow.checked_sub(row.back).unwrap();
                positions.insert(row.holder, row.position);
            }
            (positions, escrow)
        }
    }

    fn moves() -> impl Strategy<Value = Vec<(u8, bool, bool, i64)>> {
        proptest::collection::vec(
            (0..4u8, any::<bool>(), any::<bool>(), 1..15_000_000i64),
            1..40,
        )
    }

    proptest! {
        /// Undoing the last k trades gives the market as it stood before them, and what is
        /// left in escrow covers every settlement.
        #[test]
        fn undoing_is_as_if_they_had_never_traded(moves in moves(), k in 0..12usize) {
            let mut market = Market::new();
            let mut history = vec![market.clone()];
            for (who, yes, sell, amount) in moves {
                let outcome = if yes { Outcome::Yes } else { Outcome::No };
                let size = if sell { Size::Shares(MicroShares(-amount)) } else { Size::Spend(Micro(amount)) };
                let before = market.reports.len();
                market.trade(who, outcome, size);
                if market.reports.len() > before {
                    history.push(market.clone());
                }
            }
            let (positions, escrow) = market.undone(k);
            let then = &history[(history.len() - 1).saturating_sub(k)];
            prop_assert_eq!(escrow, then.escrow);
            for (who, position) in &positions {
                let earlier = then.positions.get(who).copied().unwrap_or_default();
                prop_assert_eq!(*position, earlier);
            }
            let rows: Vec<_> = positions.into_iter().collect();
            for pi in [0.0, 0.005, 0.37, market.maker.probability().get(), 1.0] {
                let plan = payouts(&rows, Pi::new(pi).unwrap(), market.subsidy, escrow).unwrap();
                let paid = plan.payouts.iter().map(|row| row.amount).chain([plan.remainder]);
                prop_assert_eq!(Micro::checked_sum(paid).unwrap(), escrow);
            }
        }
    }

    #[test]
    fn a_trade_that_would_take_cash_out_is_seen() {
        let mut market = Market::new();
        market.trade(1, Outcome::Yes, Size::Spend(Micro(5_000_000)));
        let order = Order {
            outcome: Outcome::Yes,
            size: Size::Shares(MicroShares(-1_000_000)),
            limit: None,
        };
        let fill = quote(&market.maker, &market.positions[&1], &order).unwrap();
        assert!(!keeps_cash(&fill));
    }
}
