//! How a market ended: its freeze, its verdict, and what everybody got.

use std::collections::BTreeMap;

use crate::books::Books;
use crate::facts::Facts;
use crate::hashes;
use crate::ledger::Balances;
use crate::objective;
use crate::report::Report;
use crate::trades::{Holding, Holdings};

/// Parts of the whole in which a settlement is held.
const BILLION: i128 = 1_000_000_000;

/// What everybody may claim of a market's escrow.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    accounts: BTreeMap<String, Claim>,
}

/// One account's claim.
#[derive(Debug, Clone, Copy, Default)]
struct Claim {
    /// What it has in escrow, and gets back when the market is void.
    locked: i64,
    /// What the settlement pays, once it stands.
    paid: Option<i128>,
}

impl Claims {
    /// Adds the claim of an account.
    pub(crate) fn add(&mut self, account: String, locked: i64, paid: Option<i128>) {
        self.accounts.insert(account, Claim { locked, paid });
    }
}

/// The claims of the holders of a market with yes and no.
pub(crate) fn claims(books: &Books<'_>, holdings: &Holdings) -> Claims {
    let pi = books.market.settlement.map(|pi| (pi * 1e9).round() as i128);
    let mut claims = Claims::default();
    for (account, held) in holdings {
        let paid = pi.map(|pi| worth(held, pi));
        claims.add(account.clone(), held.locked(), paid);
    }
    claims
}

/// Checks what follows from a market's close.
pub(crate) fn check(
    books: &Books<'_>,
    claims: &Claims,
    balances: &Balances,
    facts: &mut Facts,
    report: &mut Report,
) {
    check_life(books, report);
    check_times(books, report);
    check_freeze(books, report);
    check_verdict(books, report);
    check_payout(books, claims, balances, facts, report);
}

/// The row says what the state of the market's life says.
fn check_life(books: &Books<'_>, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    let (life, rules) = (&books.life, &books.life["rules"]);
    report.agree(
        &place,
        "the status",
        Some(market.status.as_str()),
        life["status"].as_str(),
    );
    report.agree(
        &place,
        "the close",
        Some(market.closes_at),
        rules["closes_at"].as_i64(),
    );
    let tokens = rules["closes_after_tokens"].as_i64();
    report.agree(
        &place,
        "the tokens to close after",
        market.closes_after_tokens,
        tokens,
    );
    let method = rules["method"]["method"].as_str();
    report.agree(
        &place,
        "the method",
        Some(market.settlement_method.as_str()),
        method,
    );
    let frozen = !life["freeze"].is_null();
    report.agree(
        &place,
        "whether it is frozen",
        market.frozen_at.is_some(),
        frozen,
    );
    let checkpoint = life["freeze"]["checkpoint"].as_str();
    report.agree(
        &place,
        "the checkpoint",
        market.frozen_checkpoint.as_deref(),
        checkpoint,
    );
    let stage = match market.status.as_str() {
        "draft" | "open" | "closing" => Some(false),
        "frozen" | "auditing" | "settling" | "challenged" | "final" | "paid" => Some(true),
        "void" => None,
        other => {
            report.violation(place, format!("its status is {other}"));
            return;
        }
    };
    report.require(stage.is_none_or(|stage| stage == frozen), &place, || {
        format!("is {} and frozen is {frozen}", market.status)
    });
}

/// Nothing happens before the opening, trades and evidence come before the stop, and the stages
/// are in their order.
fn check_times(books: &Books<'_>, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    report.require(market.opened_at < market.closes_at, &place, || {
        "closes before it opens".to_owned()
    });
    let stop = books.life["stops_at"].as_i64().unwrap_or(market.closes_at);
    report.require(stop <= market.closes_at, &place, || {
        "stops after its close".to_owned()
    });
    for trade in &books.outcome_trades {
        let place = format!("outcome_trades {}", trade.seq);
        report.require(trade.at < stop, &place, || {
            format!("came at {}, after the stop at {stop}", trade.at)
        });
    }
    // A market that stops by itself does so with a trade, and in that trade's millisecond.
    let by_itself = market.settlement_method == "self_resolving";
    for trade in books.trades.iter().filter(|trade| trade.cause == "trade") {
        let in_time = trade.at < stop || by_itself && trade.at == stop;
        report.require(in_time, &format!("trades {}", trade.seq), || {
            format!("came at {}, after the stop at {stop}", trade.at)
        });
    }
    for row in &books.evidence {
        // A reveal may come later than its commitment, and counts from then.
        let claimed = if row.commitment_id.is_some() {
            row.priority_at
        } else {
            row.created_at
        };
        let in_time = (market.opened_at..stop).contains(&claimed);
        report.require(in_time, &format!("evidence {}", row.id), || {
            format!("came at {}, outside of the market's life", row.created_at)
        });
    }
    let stages = [Some(market.opened_at), market.frozen_at, market.settled_at];
    let times: Vec<i64> = stages.into_iter().flatten().collect();
    report.require(times.is_sorted(), &place, || {
        format!("its stages are at {times:?}")
    });
    let last = books.life["stepped_at"].as_i64();
    report.require(last >= times.last().copied(), &place, || {
        format!("its life stepped last at {last:?}, before {times:?}")
    });
    for position in books.positions.iter().filter_map(|row| row.paid_at) {
        let after = Some(position) >= times.last().copied();
        report.require(after && position <= books.exported_at, &place, || {
            format!("paid at {position}, not between its settlement and now")
        });
    }
}

/// Plan, exhibits and their root are what was committed.
fn check_freeze(books: &Books<'_>, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    for row in &books.evidence {
        let recomputed = hashes::content(&row.exhibits).unwrap_or_default();
        let place = format!("evidence {}", row.id);
        report.agree(&place, "the content hash", &row.content_hash, &recomputed);
    }
    if !books.is_frozen() {
        report.require(market.plan.is_none(), &place, || {
            "shows its plan".to_owned()
        });
        return;
    }
    report.count("freezes");
    if let Some(plan) = &market.plan {
        let rules = &books.life["rules"];
        let committed = [&rules["method"]["commitment"], &rules["audit_plan"]];
        let stated = committed.iter().find_map(|digest| digest.as_str());
        let hash = hashes::hex(plan.as_bytes());
        report.agree(&place, "the plan's commitment", stated, Some(hash.as_str()));
    }
    let freeze = &books.life["freeze"];
    if freeze["terms"].is_null() {
        // Markets frozen without a digest of their terms have a plain list instead of a tree.
        let judged = books.evidence.iter().filter(|row| row.status == "judged");
        let hashes: Vec<&str> = judged.map(|row| row.content_hash.as_str()).collect();
        let root = hashes::hex(hashes.join("\n").as_bytes());
        let stated = freeze["exhibits_root"].as_str();
        report.agree(&place, "the exhibits' root", stated, Some(root.as_str()));
    }
}

/// The settlement is there when it stands, and is the one that was proposed.
fn check_verdict(books: &Books<'_>, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    let stands = matches!(market.status.as_str(), "final" | "paid");
    report.require(stands == market.settlement.is_some(), &place, || {
        format!(
            "is {} with the settlement {:?}",
            market.status, market.settlement
        )
    });
    let settled = market.settled_at.is_some();
    report.require(stands == settled, &place, || {
        format!(
            "is {} and was settled at {:?}",
            market.status, market.settled_at
        )
    });
    // A jury decides where the checkpoint could not be reached.
    let tested = books.case.is_none() || books.claims.iter().any(|claim| claim.source == "test");
    if stands && tested && market.settlement_method == "objective" {
        let text = market.statistics.as_deref().unwrap_or_default();
        match serde_json::from_str::<objective::Outcome>(text) {
            Ok(stated) => objective::check(books, &stated, report),
            Err(error) => report.violation(place.clone(), format!("its verdict: {error}")),
        }
    }
    let Some(pi) = market.settlement else { return };
    report.count("settlements");
    let billionths = (pi * 1e9).round();
    let whole = (0.0..=1e9).contains(&billionths) && billionths / 1e9 == pi;
    report.require(whole, &place, || {
        format!("{pi} is no number of billionths in [0, 1]")
    });
    let proposed = books.life["proposal"]["pi"].as_f64();
    let proposed = proposed.map(|pi| (pi * 1e9).round());
    report.agree(&place, "the settlement", Some(billionths), proposed);
}

/// `⌊yes·π + no·(1−π)⌋ + banked`, π in billionths.
fn worth(holding: &Holding, pi: i128) -> i128 {
    let value = i128::from(holding.yes) * pi + i128::from(holding.no) * (BILLION - pi);
    value.div_euclid(BILLION) + i128::from(holding.banked())
}

/// Everybody who is paid is paid exactly what is due; what is left is the treasury's.
fn check_payout(
    books: &Books<'_>,
    claims: &Claims,
    balances: &Balances,
    facts: &mut Facts,
    report: &mut Report,
) {
    let (market, place) = (books.market, books.place());
    let void = market.status == "void";
    let kind = if void { "refund" } else { "payout" };
    let (mut paid, mut unpaid) = (0_i128, 0);
    for position in &books.positions {
        let place = format!("positions {}/{}", position.market_id, position.account_id);
        let both = position.paid_micro.is_some() == position.paid_at.is_some();
        report.require(both, &place, || "is half paid".to_owned());
        let Some(amount) = position.paid_micro else {
            unpaid += 1;
            continue;
        };
        report.count("payouts");
        let claim = claims.accounts.get(&position.account_id).copied();
        let claim = claim.unwrap_or_default();
        let refund = || void.then_some(i128::from(claim.locked));
        let due = claim.paid.or_else(refund);
        report.agree(&place, "the payout", Some(i128::from(amount)), due);
        paid += i128::from(amount);
        if let Some(at) = position.paid_at.filter(|_| amount != 0) {
            facts.happened(kind, &market.id, at);
        }
        facts.due(kind, &market.id, &position.account_id, amount);
        facts.due(kind, &market.id, &market.escrow_id, -amount);
    }
    let locked = claims
        .accounts
        .values()
        .map(|claim| i128::from(claim.locked));
    let collateral: i128 = locked.sum();
    let stakes: i128 = books
        .evidence
        .iter()
        .filter(|row| row.status == "pending")
        .map(|row| i128::from(row.stake_micro))
        .sum();
    let left = i128::from(market.subsidy_micro) + collateral + stakes - paid;
    let escrow = i128::from(balances.get(&market.escrow_id).copied().unwrap_or(0));
    report.require(left >= 0, &place, || {
        format!("owes {} more than it holds", -left)
    });
    let over = matches!(market.status.as_str(), "paid" | "void") && unpaid == 0 && escrow == 0;
    let remainder = if over { left } else { 0 };
    report.agree(&place, "the escrow", escrow, left - remainder);
    report.require(market.status != "paid" || over, &place, || {
        format!("is paid with {unpaid} positions unpaid and {escrow} in escrow")
    });
    report.count("escrows");
    let remainder = i64::try_from(remainder).unwrap_or(i64::MAX);
    facts.due("remainder", &market.id, &market.escrow_id, -remainder);
    facts.due("remainder", &market.id, "treasury", remainder);
}
