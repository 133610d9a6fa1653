//! `kill -9` at bad moments: what was acknowledged is there exactly once, and the books balance.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plumbline_tests::fixture::{sign_up, text, whole};
use plumbline_tests::{CREDIT, Call, HeavyLock, Http, Site, until};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// A small generator, so that a failure can be run again from the seed that it prints.
struct Dice(u64);

impl Dice {
    /// From `PLUMBLINE_SEED`, else from the time.
    fn cast(what: &str) -> Self {
        let given = std::env::var("PLUMBLINE_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(now.as_nanos() as u64);
        println!("{what}: PLUMBLINE_SEED={seed}");
        Self(seed | 1)
    }

    /// Marsaglia's xorshift64.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Signs up several people at once, each from an address of its own.
fn crowd(site: &Site, names: &[String]) -> Vec<Http> {
    let visitor = site.server.http();
    let one = |(number, name): (usize, &String)| {
        let address = Ipv4Addr::new(127, 0, 1, number as u8 + 1);
        sign_up(&visitor.from_address(IpAddr::V4(address)), name)
    };
    names.iter().enumerate().map(one).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("trader-{number}"))
        .collect()
}

/// Every item of a list, page after page.
fn all(who: &Http, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let from = cursor
            .map(|cursor| format!("&cursor={cursor}"))
            .unwrap_or_default();
        let page = who.get(&format!("{path}?limit=200{from}"));
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return items;
        }
    }
}

/// What one thread knows of its orders: the acknowledged ones by key, with the answer, and the last one if its fate is unknown.
#[derive(Default)]
struct Orders {
    acknowledged: BTreeMap<String, Value>,
    unknown: Option<String>,
}

fn order(key: &str) -> Value {
    // The body follows from the key, so that a replay is the same request.
    let number: i64 = key.rsplit('-').next().unwrap().parse().unwrap();
    json!({"outcome": if number % 2 == 0 { "yes" } else { "no" }, "spend_micro": 100_000 + number})
}

/// Trades until the server is gone.
fn trade_until_dead(
    who: &Http,
    path: &str,
    round: usize,
    thread: usize,
    count: &AtomicU64,
    over: &AtomicBool,
) -> Orders {
    let mut orders = Orders::default();
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("r{round}-t{thread}-{number}");
        match who.try_send(&Call::post(path, &order(&key)).key(&key)) {
            Some(answer) => {
                orders.acknowledged.insert(key, answer.ok());
                count.fetch_add(1, Ordering::SeqCst);
            }
            None => {
                orders.unknown = Some(key);
                break;
            }
        }
    }
    orders
}

#[test]
fn acknowledged_trades_survive_kill_nine_exactly_once() {
    const THREADS: usize = 8;
    let mut dice = Dice::cast("kill -9 during trades");
    let mut site = Site::new();
    let market = site.market(&site.run("subject"), HOUR);
    let path = format!("/api/v1/markets/{market}/trades");
    let mut people = crowd(&site, &names(THREADS));
    let mut expected: BTreeMap<String, Value> = BTreeMap::new();
    for round in 0..3 {
        let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let found: Mutex<Vec<(usize, Orders)>> = Mutex::default();
        std::thread::scope(|scope| {
            for (thread, who) in people.iter().enumerate() {
                let (found, path, count, over) = (&found, &path, &count, &over);
                scope.spawn(move || {
                    let orders = trade_until_dead(who, path, round, thread, count, over);
                    found.lock().unwrap().push((thread, orders));
                });
            }
            until("trades to flow", Duration::from_secs(30), || {
                (count.load(Ordering::SeqCst) > 40).then_some(())
            });
            std::thread::sleep(Duration::from_millis(dice.below(400)));
            site.server.kill();
            over.store(true, Ordering::SeqCst);
        });
        site.start_again();
        people = people.iter().map(|who| who.at(site.server.url())).collect();
        let trades: BTreeMap<String, Value> = all(&site.operator, &path)
            .into_iter()
            .map(|one| (text(&one["id"]), one))
            .collect();
        for (thread, orders) in found.into_inner().unwrap() {
            println!(
                "round {round} thread {thread}: {} acknowledged, unknown {:?}",
                orders.acknowledged.len(),
                orders.unknown
            );
            for (key, trade) in orders.acknowledged {
                assert_eq!(
                    trades.get(&text(&trade["id"])),
                    Some(&trade),
                    "{key} was acknowledged and is not there as it was"
                );
                // The same request again is the same trade, not another.
                if dice.below(4) == 0 {
                    let replay = people[thread].send(&Call::post(&path, &order(&key)).key(&key));
                    assert_eq!(replay.ok(), trade, "{key}");
                }
                expected.insert(text(&trade["id"]), trade);
            }
            if let Some(key) = orders.unknown {
                // Its fate is one of two, and asking again, twice, settles it once.
                let call = Call::post(&path, &order(&key)).key(&key);
                let (first, second) = (
                    people[thread].send(&call).ok(),
                    people[thread].send(&call).ok(),
                );
                assert_eq!(first, second, "{key}");
                expected.insert(text(&first["id"]), first);
            }
        }
        check_books(&site, &path, &people, &expected);
    }
}

/// Trades are exactly the expected ones, and everybody's money is what their trades left them.
fn check_books(site: &Site, path: &str, people: &[Http], expected: &BTreeMap<String, Value>) {
    let trades: BTreeMap<String, Value> = all(&site.operator, path)
        .into_iter()
        .map(|one| (text(&one["id"]), one))
        .collect();
    assert_eq!(&trades, expected);
    let positions = all(&site.operator, &path.replace("/trades", "/positions"));
    for who in people {
        let me = who.get("/api/v1/me");
        let position = positions
            .iter()
            .find(|one| one["account"] == me["handle"])
            .unwrap();
        let own = trades
            .values()
            .filter(|trade| trade["account"] == me["handle"]);
        // Pairs of YES and NO are netted, so the difference is what trades add up to.
        let bought: i64 = own
            .map(|trade| whole(&trade["yes_micro"]) - whole(&trade["no_micro"]))
            .sum();
        assert_eq!(
            whole(&position["yes_micro"]) - whole(&position["no_micro"]),
            bought,
            "{position}"
        );
        // What trades gained beyond what was put in stays in the position until the settlement.
        let locked = whole(&position["cost_micro"]).max(0);
        assert_eq!(whole(&me["locked_micro"]), locked, "{me}");
        assert_eq!(whole(&me["balance_micro"]), 1_000 * CREDIT - locked, "{me}");
    }
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

#[test]
fn a_market_that_closes_while_the_service_is_down_is_settled_all_the_same() {
    let mut site = Site::new();
    let run = site.hosted_run("tiny");
    let ada = site.person("ada");
    let market = site.market(&run, Duration::from_secs(3));
    let path = format!("/api/v1/markets/{market}");
    let order = json!({"outcome": "no", "spend_micro": 5 * CREDIT});
    ada.post(&format!("{path}/trades"), &order);
    site.server.kill();
    std::thread::sleep(Duration::from_millis(3_500));
    // The deadline is due before anything else: the run must be there by then, or the market would be called off.
    site.start_again();
    let over = until("the market's end", Duration::from_secs(60), || {
        let market = site.operator.get(&path);
        matches!(market["status"].as_str(), Some("paid" | "void")).then_some(market)
    });
    assert_eq!(over["status"], "paid", "{over}");
    assert_eq!(over["settlement"]["pi"], 0.0);
    let ledger = site.ledger();
    assert_eq!(
        (whole(&ledger["sum_micro"]), whole(&ledger["escrow_micro"])),
        (0, 0)
    );
}

#[test]
fn payouts_survive_kill_nine_and_nobody_is_paid_twice() {
    const PEOPLE: usize = 25;
    const MARKETS: usize = 12;
    let _machine = HeavyLock::take();
    let mut dice = Dice::cast("kill -9 during payout");
    let mut site = Site::new();
    let run = site.hosted_run("tiny");
    let mut people = crowd(&site, &names(PEOPLE));
    let life = Duration::from_secs(12);
    let markets: Vec<String> = (0..MARKETS).map(|_| site.market(&run, life)).collect();
    let mut positions = 0;
    for (number, who) in people.iter().enumerate() {
        for market in &markets {
            let outcome = if number % 3 == 0 { "yes" } else { "no" };
            let order = json!({"outcome": outcome, "spend_micro": 300_000 + 1_000 * number});
            let answer = who.send(&Call::post(
                &format!("/api/v1/markets/{market}/trades"),
                &order,
            ));
            positions += usize::from(answer.status == 201);
        }
    }
    assert!(
        positions >= 200,
        "only {positions} positions before the markets closed"
    );
    println!("{positions} positions");
    until("the markets to close", Duration::from_secs(30), || {
        let first = site
            .operator
            .get(&format!("/api/v1/markets/{}", markets[0]));
        (first["status"] != "open").then_some(())
    });
    let mut kills = 0;
    let all_paid = |site: &Site| {
        markets
            .iter()
            .all(|id| site.operator.get(&format!("/api/v1/markets/{id}"))["status"] == "paid")
    };
    // Young servers are killed younger than old ones: whatever they do first is cut off somewhere.
    while kills < 8 && !all_paid(&site) {
        std::thread::sleep(Duration::from_millis(dice.below(150 + 60 * kills)));
        site.crash_and_restart();
        kills += 1;
        assert_eq!(whole(&site.ledger()["sum_micro"]), 0, "after {kills} kills");
    }
    println!("{kills} kills");
    assert!(kills > 0, "everything was paid before the first kill");
    until("every market to be paid", Duration::from_secs(60), || {
        all_paid(&site).then_some(())
    });
    people = people.iter().map(|who| who.at(site.server.url())).collect();
    check_payouts(&site, &markets, &people);
}

fn sorted(amounts: &[i64]) -> Vec<i64> {
    let mut amounts = amounts.to_vec();
    amounts.sort_unstable();
    amounts
}

/// Each position was paid what the formula gives, once, and nothing is left in escrow.
fn check_payouts(site: &Site, markets: &[String], people: &[Http]) {
    let mut due: BTreeMap<String, i64> = BTreeMap::new();
    let mut paid: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for market in markets {
        let path = format!("/api/v1/markets/{market}");
        let pi = site.operator.get(&path)["settlement"]["pi"].clone();
        assert_eq!(pi, 0.0, "nothing was planted");
        for position in all(&site.operator, &format!("{path}/positions")) {
            let (amount, no, cost) = (
                whole(&position["paid_micro"]),
                whole(&position["no_micro"]),
                whole(&position["cost_micro"]),
            );
            // At π = 0 a NO share pays one credit, and cash banked by selling comes on top.
            assert_eq!(amount, no + (-cost).max(0), "{position}");
            let handle = text(&position["account"]);
            if amount > 0 {
                paid.entry(handle.clone()).or_default().push(amount);
            }
            *due.entry(handle).or_default() += amount - cost;
        }
    }
    for who in people {
        let me = who.get("/api/v1/me");
        let handle = text(&me["handle"]);
        assert_eq!(
            whole(&me["balance_micro"]),
            1_000 * CREDIT + due[&handle],
            "{handle}"
        );
        assert_eq!(whole(&me["locked_micro"]), 0, "{handle}");
        let statement = all(
            who,
            &format!("/api/v1/ledger/accounts/{}/transfers", text(&me["id"])),
        );
        let payouts: Vec<i64> = statement
            .iter()
            .filter(|line| line["kind"] == "payout")
            .map(|line| whole(&line["amount_micro"]))
            .collect();
        // A position that is worth nothing at the settlement moves no money.
        let expected = paid.get(&handle).map_or(&[][..], Vec::as_slice);
        assert_eq!(
            sorted(&payouts),
            sorted(expected),
            "{handle} is paid once a market"
        );
    }
    let ledger = site.ledger();
    assert_eq!(
        (whole(&ledger["sum_micro"]), whole(&ledger["escrow_micro"])),
        (0, 0)
    );
}
