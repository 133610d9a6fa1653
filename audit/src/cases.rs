//! How a market was closed, frozen and disputed: terms, seed, log, draws, exhibits and bonds.

use serde_json::Value;

use crate::books::Books;
use crate::draws::{self, Bytes};
use crate::facts::Facts;
use crate::hashes;
use crate::record::{Case, Claim, Price, Trade};
use crate::report::Report;

/// Where in the window orders stop when no draw places it: at its end.
const END_OF_WINDOW: f64 = 1.0 - f64::EPSILON / 2.0;
/// What two ways to compute a price may differ by.
const CLOSE: f64 = 1e-12;

/// Checks a market's case, if it has one.
pub(crate) fn check(books: &Books<'_>, facts: &mut Facts, report: &mut Report) {
    let Some(case) = books.case else {
        let none = books.claims.is_empty() && books.exhibits.is_empty();
        report.require(none, &books.place(), || {
            "has a record and no case".to_owned()
        });
        return;
    };
    report.count("cases");
    check_terms(books, case, report);
    check_draws(books, case, report);
    check_exhibits(books, report);
    check_record(books, report);
    check_bonds(books, case, facts, report);
}

/// The terms are what the market's row says, and what the freeze names by its hash.
fn check_terms(books: &Books<'_>, case: &Case, report: &mut Report) {
    if case.terms.is_empty() {
        return;
    }
    let (market, place) = (books.market, books.place());
    let terms: Value = serde_json::from_str(&case.terms).unwrap_or(Value::Null);
    let texts = [
        ("claim", Some(market.claim.as_str())),
        ("claim_kind", Some(market.claim_kind.as_str())),
        ("market_id", Some(market.id.as_str())),
        ("probe", market.probe.as_deref()),
        ("rubric", Some(market.rubric.as_str())),
        ("run_id", Some(market.run_id.as_str())),
    ];
    for (name, stated) in texts {
        report.agree(&place, &format!("the {name}"), stated, terms[name].as_str());
    }
    let numbers = [
        ("liquidity_micro", market.liquidity_micro),
        ("opened_at", market.opened_at),
        ("subsidy_micro", market.subsidy_micro),
    ];
    for (name, stated) in numbers {
        report.agree(
            &place,
            &format!("the {name}"),
            Some(stated),
            terms[name].as_i64(),
        );
    }
    let opening = terms["opening_log_odds"].as_f64().unwrap_or(f64::NAN);
    report.require(
        (opening - market.opening_log_odds).abs() < CLOSE,
        &place,
        || {
            format!(
                "opened at {}, its terms say {opening}",
                market.opening_log_odds
            )
        },
    );
    report.agree(&place, "the rules", &books.life["rules"], &terms["rules"]);
    if let Some(stated) = books.life["freeze"]["terms"].as_str() {
        let hash = hashes::hex(case.terms.as_bytes());
        report.agree(&place, "the hash of the terms", stated, hash.as_str());
    }
}

/// The entries of a market's log for its trades: place, id and log-odds afterwards. Those of
/// several outcomes are in the price history.
fn entries<'a>(books: &Books<'a>) -> Vec<(i64, &'a str, f64)> {
    if books.outcomes.is_empty() {
        let entry = |trade: &&'a Trade| (trade.seq, trade.id.as_str(), trade.log_odds_after);
        return books.trades.iter().map(entry).collect();
    }
    let entry = |price: &&'a Price| Some((price.seq, price.reference.as_deref()?, price.log_odds));
    books.prices.iter().filter_map(entry).collect()
}

/// Head of the log after the entries up to `seq`, and their number.
fn log_until(books: &Books<'_>, case: &Case, seq: i64) -> (Bytes, u64) {
    let until = entries(books)
        .into_iter()
        .take_while(|entry| entry.0 <= seq);
    until.fold((draws::log_open(&case.terms), 0), |(head, count), entry| {
        (draws::log_trade(&head, entry.1, entry.2), count + 1)
    })
}

/// Seed, heads and draws, once they are published.
fn check_draws(books: &Books<'_>, case: &Case, report: &mut Report) {
    let place = books.place();
    let Some(seed) = case.seed.as_deref().and_then(hashes::parse) else {
        let due = books.is_frozen() && !books.life["rules"]["seed_commitment"].is_null();
        report.require(!due, &place, || "is frozen and keeps its seed".to_owned());
        return;
    };
    report.count("draws");
    let commitment = hashes::text(&draws::commitment(&seed));
    let stated = books.life["rules"]["seed_commitment"].as_str();
    report.agree(
        &place,
        "the seed's commitment",
        stated,
        Some(commitment.as_str()),
    );
    let read = |text: &Option<String>| -> Value {
        text.as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or(Value::Null)
    };
    let (closing, frozen) = (read(&case.closing), read(&case.frozen));
    // An objective market without a window is closed by no draw.
    let last = last_by_draw(books, case, &seed);
    let drawn = !books.life["stops_at"].is_null() && last.is_none();
    report.require(closing.is_object() == drawn, &place, || {
        "has no record of its close".to_owned()
    });
    if let Some(last) = last {
        check_stop(books, last, report);
    }
    if closing.is_object() {
        check_close(books, case, &seed, &closing, report);
    }
    report.require(frozen.is_object() == books.is_frozen(), &place, || {
        "has no record of its freeze".to_owned()
    });
    if frozen.is_object() {
        check_audit(books, case, &seed, &frozen, report);
    }
}

/// The trade after which a self-resolving market stops: the first whose draw says so.
fn last_by_draw<'a>(books: &Books<'a>, case: &Case, seed: &Bytes) -> Option<&'a Trade> {
    let stop_ppm = books.life["rules"]["method"]["stop_ppm"].as_f64()?;
    let head = draws::log_open(&case.terms);
    let stops = |number: usize| {
        let drawn = draws::draw(seed, &head, &format!("stop/{number}"));
        draws::unit(&drawn) < stop_ppm / 1e6
    };
    let mut trades = (1..).zip(&books.trades);
    trades
        .find(|(number, _)| stops(*number))
        .map(|(_, trade)| *trade)
}

/// A self-resolving market stopped with the trade that was drawn.
fn check_stop(books: &Books<'_>, last: &Trade, report: &mut Report) {
    let place = books.place();
    let stated = books.life["stops_at"].as_i64();
    report.agree(&place, "the stop", stated, Some(last.at));
    let after = books.trades.iter().filter(|trade| trade.seq > last.seq);
    report.agree(&place, "the trades after the stop", after.count(), 0);
}

/// The closing draw and the stop that it gives.
fn check_close(books: &Books<'_>, case: &Case, seed: &Bytes, closing: &Value, report: &mut Report) {
    let (place, rules) = (books.place(), &books.life["rules"]);
    let seq = closing["log"]["seq"].as_i64().unwrap_or(0);
    let (head, count) = log_until(books, case, seq);
    check_head(&place, "closing", &closing["log"], &head, count, report);
    let drawn = draws::draw(seed, &head, "close");
    let shown = closing["draw"].as_str();
    report.agree(
        &place,
        "the closing draw",
        shown,
        Some(hashes::text(&drawn).as_str()),
    );
    let unit = closing["unit"].as_f64().unwrap_or(f64::NAN);
    let due = draws::unit(&drawn);
    report.require(unit == due || unit == END_OF_WINDOW, &place, || {
        format!("the closing draw is stated as {unit}, recomputed {due}")
    });
    let window = rules["closing_window_millis"].as_i64().unwrap_or(0);
    let begun = books.market.closes_at.saturating_sub(window);
    let start = closing["at"].as_i64().unwrap_or(i64::MIN).min(begun);
    let stop = start
        .saturating_add((unit * window as f64) as i64)
        .min(books.market.closes_at);
    report.agree(&place, "the stop", closing["stops_at"].as_i64(), Some(stop));
    let life = books.life["stops_at"].as_i64();
    report.agree(&place, "the stop", life, Some(stop));
}

fn check_head(
    place: &str,
    what: &str,
    log: &Value,
    head: &Bytes,
    trades: u64,
    report: &mut Report,
) {
    let stated = log["head"]["head"].as_str();
    let head = hashes::text(head);
    report.agree(
        place,
        &format!("the head of the log at the {what}"),
        stated,
        Some(head.as_str()),
    );
    let count = log["head"]["trades"].as_u64();
    report.agree(
        place,
        &format!("the trades before the {what}"),
        count,
        Some(trades),
    );
}

/// The audit draw.
fn check_audit(books: &Books<'_>, case: &Case, seed: &Bytes, frozen: &Value, report: &mut Report) {
    let (place, rules) = (books.place(), &books.life["rules"]);
    let seq = frozen["log"]["seq"].as_i64().unwrap_or(0);
    let (mut head, count) = log_until(books, case, seq);
    let all = entries(books).len() as u64;
    report.agree(&place, "the trades of the log", count, all);
    for leaf in &books.exhibits {
        if let Some(content) = hashes::parse(&leaf.content_hash) {
            head = draws::log_exhibit(&head, &leaf.evidence_id, &content);
        }
    }
    check_head(&place, "freeze", &frozen["log"], &head, count, report);
    report.agree(
        &place,
        "the freeze",
        frozen["at"].as_i64(),
        books.market.frozen_at,
    );
    let drawn = draws::draw(seed, &head, "audit");
    let shown = frozen["draw"].as_str();
    report.agree(
        &place,
        "the audit draw",
        shown,
        Some(hashes::text(&drawn).as_str()),
    );
    let price = 1.0 / (1.0 + (-books.market.log_odds).exp());
    let bps = |name: &str| rules[name].as_u64().and_then(|bps| u16::try_from(bps).ok());
    let (floor, peak) = (
        bps("audit_floor_bps").unwrap_or(500),
        bps("audit_peak_bps").unwrap_or(500),
    );
    let probability = draws::audit_probability(price, floor, peak);
    let numbers = [
        ("price", frozen["price"].as_f64(), price),
        (
            "audit's probability",
            frozen["probability"].as_f64(),
            probability,
        ),
        (
            "audit draw as a number",
            frozen["unit"].as_f64(),
            draws::unit(&drawn),
        ),
    ];
    for (name, stated, due) in numbers {
        let stated = stated.unwrap_or(f64::NAN);
        report.require((stated - due).abs() < CLOSE, &place, || {
            format!("the {name} is stated as {stated}, recomputed {due}")
        });
    }
    let audited = draws::unit(&drawn) < probability;
    let stated = books.life["audited"].as_bool();
    report.agree(&place, "whether it is audited", stated, Some(audited));
}

/// The frozen exhibits are the judged submissions, and their tree has the stated root.
fn check_exhibits(books: &Books<'_>, report: &mut Report) {
    let place = books.place();
    let mut leaves = Vec::new();
    for (ordinal, leaf) in (0_i64..).zip(&books.exhibits) {
        report.count("exhibits");
        report.agree(&place, "the place of an exhibit", leaf.ordinal, ordinal);
        let row = books.evidence.iter().find(|row| row.id == leaf.evidence_id);
        let same = row.is_some_and(|row| {
            row.content_hash == leaf.content_hash
                && matches!(row.status.as_str(), "judged" | "struck")
        });
        report.require(same, &place, || {
            format!("froze {}, which is no exhibit", leaf.evidence_id)
        });
        if let Some(content) = hashes::parse(&leaf.content_hash) {
            leaves.push(hashes::exhibit_leaf(&leaf.evidence_id, &content));
        }
    }
    if !books.life["freeze"]["terms"].is_null() {
        let judged = books
            .evidence
            .iter()
            .filter(|row| row.status == "judged")
            .count();
        report.require(books.exhibits.len() >= judged, &place, || {
            "an exhibit was not frozen".to_owned()
        });
        let root = hashes::text(&hashes::root(&leaves));
        let stated = books.life["freeze"]["exhibits_root"].as_str();
        report.agree(&place, "the exhibits' root", stated, Some(root.as_str()));
    }
}

/// The record is of known entries, in the order of their times, between the freeze and the end.
fn check_record(books: &Books<'_>, report: &mut Report) {
    let market = books.market;
    let mut since = market.frozen_at.unwrap_or(i64::MAX);
    let until = market.settled_at.unwrap_or(books.exported_at);
    for claim in &books.claims {
        let place = format!("settlement_claims {}/{}", claim.market_id, claim.round);
        let sources: &[&str] = match claim.kind.as_str() {
            "proposal" => &[
                "test",
                "ensemble",
                "reference",
                "person",
                "panel",
                "proposals",
            ],
            "challenge" => &["person"],
            "search" | "no_ruling" => &["test", "ensemble", "reference", "panel", "proposals"],
            "ruling" => &["test", "panel"],
            _ => &[],
        };
        report.require(sources.contains(&claim.source.as_str()), &place, || {
            format!("is a {} by {}", claim.kind, claim.source)
        });
        let disputes = claim.kind == "challenge";
        report.agree(
            &place,
            "whether it disputes",
            claim.disputes.is_some(),
            disputes,
        );
        report.require((since..=until).contains(&claim.at), &place, || {
            format!("is dated {}, not between {since} and {until}", claim.at)
        });
        since = since.max(claim.at);
    }
}

/// What each claim's bond came to: the nearer side of each dispute wins, what is lost goes to
/// those who won in proportion to their bonds, less the burnt part.
fn given_out(claims: &[&Claim], pi: i64, burn_bps: i128) -> Vec<i128> {
    let distance = |claim: &Claim| (claim.pi_billionths.unwrap_or(0) - pi).abs();
    let mut fates = vec![0_i8; claims.len()];
    for (index, claim) in claims.iter().enumerate() {
        let at = claim.disputes.and_then(|at| usize::try_from(at).ok());
        if let Some(at) = at.filter(|at| *at < index) {
            let fate = distance(claims[at]).cmp(&distance(claim)) as i8;
            if fate != 0 {
                (fates[index], fates[at]) = (fate, -fate);
            }
        }
    }
    let sum = |fate: i8| -> i128 {
        let of = claims
            .iter()
            .zip(&fates)
            .filter(|(_, other)| **other == fate);
        of.map(|(claim, _)| i128::from(claim.bond_micro)).sum()
    };
    let (lost, won) = (sum(-1), sum(1));
    let shared = lost * (10_000 - burn_bps) / 10_000;
    claims
        .iter()
        .zip(&fates)
        .map(|(claim, fate)| match fate {
            -1 => 0,
            1 if won > 0 => {
                let bond = i128::from(claim.bond_micro);
                bond + shared * bond / won
            }
            _ => i128::from(claim.bond_micro),
        })
        .collect()
}

/// Bonds that were put up, and what came back of them.
fn check_bonds(books: &Books<'_>, case: &Case, facts: &mut Facts, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    let holder = format!("bonds-{}", market.id);
    let terms: Value = serde_json::from_str(&case.terms).unwrap_or(Value::Null);
    let burn = i128::from(terms["burn_bps"].as_i64().unwrap_or(0));
    let stands = market.settlement.map(|pi| (pi * 1e9).round() as i64);
    let due = match stands {
        Some(pi) => given_out(&books.claims, pi, burn),
        None => books
            .claims
            .iter()
            .map(|claim| i128::from(claim.bond_micro))
            .collect(),
    };
    let (mut held, mut paid) = (0_i128, 0_i128);
    for ((round, claim), due) in (0_i64..).zip(&books.claims).zip(due) {
        report.count("claims");
        report.agree(&place, "the round of a claim", claim.round, round);
        if claim.bond_micro == 0 {
            continue;
        }
        let Some(account) = &claim.account_id else {
            report.violation(
                place.clone(),
                format!("the bond of round {round} is nobody's"),
            );
            continue;
        };
        facts.due("bond", &market.id, account, -claim.bond_micro);
        facts.due("bond", &market.id, &holder, claim.bond_micro);
        facts.happened("bond", &market.id, claim.at);
        if let Some(amount) = claim.paid_micro {
            report.agree(
                &place,
                &format!("what came back in round {round}"),
                i128::from(amount),
                due,
            );
            facts.due("bond-release", &market.id, account, amount);
            held += i128::from(claim.bond_micro);
            paid += i128::from(amount);
        }
    }
    let narrow = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
    facts.due("bond-release", &market.id, &holder, -narrow(held));
    facts.due("bond-release", &market.id, "treasury", narrow(held - paid));
    let last = books
        .claims
        .iter()
        .rev()
        .find_map(|claim| claim.pi_billionths);
    if let (Some(pi), Some(last)) = (stands, last) {
        report.agree(&place, "the last claim", last, pi);
    }
}
