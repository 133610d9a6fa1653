//! Requests that would have been right at another time, from somebody else, or once: each is refused
//! with its code or harmless, and the books balance.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, market_terms, number, sign_in, text, whole};
use plumbline_tests::program::run;
use plumbline_tests::{CREDIT, Call, HeavyLock, Http, Site, until};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);
/// Longer than the least window of challenges, which one test waits out.
const LIMIT: Duration = Duration::from_secs(150);
/// Length of every window, seconds: long enough for a few programs to start.
const WINDOW_S: u64 = 8;

fn refused(who: &Http, path: &str, body: &Value, expected: &str) {
    let (status, code) = who.send(&Call::post(path, body)).problem();
    assert_eq!(format!("{status} {code}"), expected, "{path} {body}");
}

fn balance(who: &Http) -> i64 {
    whole(&who.get("/api/v1/me")["balance_micro"])
}

fn plumbline(site: &Site, who: &Http, line: &[&str]) {
    let access = ["--url", site.server.url(), "--token", who.token().unwrap()];
    let ended = run(&[line, &access].concat(), LIMIT);
    assert!(ended.status.success(), "{line:?}: {}", ended.stderr);
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A person with the role of a juror and a stake for two seats.
fn juror(site: &Site, handle: &str) -> Http {
    let _ = site.person(handle);
    let roles = json!({"roles": ["juror"]});
    site.operator
        .post(&format!("/api/v1/accounts/{handle}/roles"), &roles);
    let scopes = ["read", "trade", "govern"];
    let who = sign_in(&site.server.http(), handle, PASSWORD, &scopes);
    who.post("/api/v1/jurors", &json!({"stake_micro": 40 * CREDIT}));
    who
}

/// A panel market that is disputed, with three jurors on its panel.
struct Dispute {
    site: Site,
    market: String,
    jurors: Vec<Http>,
    panel: String,
    mallory: Http,
    bob: Http,
}

impl Dispute {
    fn new() -> Self {
        let site = Site::new();
        let jurors: Vec<Http> = ["ida", "ivo", "ines"].map(|name| juror(&site, name)).into();
        let [mallory, bob] = ["mallory", "bob"].map(|name| site.person(name));
        let run = site.run("subject");
        let market = site.market_for_proposals(
            &run,
            &json!({
                "proposal_window_s": 60, "challenge_window_s": 60, "bond_micro": CREDIT,
                "jury_commit_s": WINDOW_S, "jury_reveal_s": WINDOW_S,
            }),
        );
        let path = format!("/api/v1/markets/{market}");
        let claim = |pi: f64| json!({"pi": pi, "bond_micro": 10 * CREDIT, "reason": "it is so"});
        let (propose, challenge) = (format!("{path}/settlement"), format!("{path}/challenges"));
        refused(&bob, &challenge, &claim(1.0), "409 not-now");
        mallory.post(&propose, &claim(0.0));
        refused(&mallory, &propose, &claim(0.0), "409 not-now");
        refused(&bob, &challenge, &claim(0.0), "422 same-settlement");
        bob.post(&challenge, &claim(1.0));
        refused(&bob, &challenge, &claim(1.0), "409 not-now");
        let own = jurors[0].get("/api/v1/panels?mine=true");
        let panel = text(&own["items"][0]["id"]);
        Self {
            site,
            market,
            jurors,
            panel,
            mallory,
            bob,
        }
    }

    fn status(&self) -> String {
        let panel = self.jurors[0].get(&format!("/api/v1/panels/{}", self.panel));
        text(&panel["status"])
    }

    fn until(&self, status: &str) {
        until(status, LIMIT, || (self.status() == status).then_some(()));
    }
}

#[test]
fn votes_and_rulings_out_of_turn_change_nothing() {
    let mut case = Dispute::new();
    let (site, folder) = (&case.site, tempfile::tempdir().unwrap());
    let kept = |n: usize| folder.path().join(format!("{n}.json"));
    let commits = format!("/api/v1/panels/{}/commits", case.panel);
    let reveals = format!("/api/v1/panels/{}/reveals", case.panel);
    let any = json!({"commitment": "0".repeat(64)});
    let opening = json!({"vote_bps": 10_000, "nonce": "0".repeat(64)});
    let outsider = juror(site, "olaf");
    refused(&outsider, &commits, &any, "409 no-seat");
    refused(&outsider, &reveals, &opening, "409 no-seat");
    refused(&case.bob, &commits, &any, "403 forbidden");
    refused(
        &case.jurors[0],
        &commits,
        &json!({"commitment": "x"}),
        "422 bad-commitment",
    );
    refused(&case.jurors[0], &reveals, &opening, "409 reveals-not-open");
    for (n, who) in case.jurors.iter().enumerate() {
        let path = kept(n);
        let line = [
            "panel",
            "commit",
            &case.panel,
            "--vote-bps",
            "10000",
            "--keep",
            path.to_str().unwrap(),
        ];
        plumbline(site, who, &line);
    }
    refused(&case.jurors[0], &commits, &any, "409 already-committed");
    case.until("revealing");
    refused(&case.jurors[0], &commits, &any, "409 commits-over");
    refused(&case.jurors[0], &reveals, &opening, "422 bad-opening");
    for (n, who) in case.jurors[..2].iter().enumerate() {
        who.post(&reveals, &read(&kept(n)));
        refused(who, &reveals, &read(&kept(n)), "409 already-revealed");
    }
    case.until("ruled");
    refused(&case.jurors[2], &reveals, &read(&kept(2)), "409 panel-over");
    let market = format!("/api/v1/markets/{}", case.market);
    until("the market to be paid", LIMIT, || {
        (case.bob.get(&market)["status"] == "paid").then_some(())
    });
    assert!((number(&case.bob.get(&market)["settlement"]["pi"]) - 1.0).abs() < 1e-9);
    settle_again(&mut case, &market);
}

/// The settlement, asked for again in every way, and by a service that was killed.
fn settle_again(case: &mut Dispute, market: &str) {
    let settled = |case: &Dispute| {
        let people = [&case.mallory, &case.bob, &case.jurors[0], &case.jurors[2]];
        (people.map(balance), case.site.ledger())
    };
    until("every bond to be released", LIMIT, || {
        (balance(&case.bob) > 1_000 * CREDIT).then_some(())
    });
    let before = settled(case);
    for (path, pi) in [("settlement", 0.0), ("challenges", 0.0)] {
        let claim = json!({"pi": pi, "bond_micro": 10 * CREDIT, "reason": "again"});
        refused(
            &case.bob,
            &format!("{market}/{path}"),
            &claim,
            "409 not-now",
        );
    }
    let freeze = case
        .bob
        .send(&Call::post(&format!("{market}/freeze"), &json!({})));
    assert!((200..500).contains(&freeze.status), "{}", freeze.text());
    let order = json!({"outcome": "yes", "spend_micro": CREDIT});
    refused(
        &case.bob,
        &format!("{market}/trades"),
        &order,
        "409 market-closed",
    );
    refused(
        &case.site.operator,
        &format!("{market}/void"),
        &json!({"reason": "late"}),
        "409 not-now",
    );
    // Its jobs are done, whoever looks at them again.
    case.site.crash_and_restart();
    let url = case.site.server.url().to_owned();
    for who in [&mut case.mallory, &mut case.bob] {
        *who = who.at(&url);
    }
    case.jurors.iter_mut().for_each(|who| *who = who.at(&url));
    std::thread::sleep(Duration::from_secs(2));
    let after = settled(case);
    assert_eq!(before, after);
    assert_eq!(whole(&after.1["sum_micro"]), 0);
}

#[test]
fn a_commitment_is_revealed_once_in_time_and_by_its_maker() {
    let site = Site::with(&["--reveal-window", "6"]);
    let [ada, eve] = ["ada", "eve"].map(|name| site.person(name));
    let market = site.market(&site.run("subject"), HOUR);
    let folder = tempfile::tempdir().unwrap();
    let exhibit = folder.path().join("exhibit.json");
    let path = format!("/api/v1/markets/{market}/evidence");
    let commit = |name: &str, says: &str| {
        let report = json!({"type": "report", "text": says});
        std::fs::write(&exhibit, report.to_string()).unwrap();
        let kept = folder.path().join(name);
        let line = [
            "evidence",
            "submit",
            exhibit.to_str().unwrap(),
            "--market",
            &market,
            "--stake",
            "2",
            "--title",
            "t",
            "--commit",
            "--keep",
            kept.to_str().unwrap(),
        ];
        plumbline(&site, &ada, &line);
        let kept = read(&kept);
        let open = ada.get(&format!("/api/v1/markets/{market}/commitments"));
        let made = open
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["commitment"] == kept["commitment"]);
        let mut reveal = kept["submission"].clone();
        reveal["commitment"] = made.unwrap()["id"].clone();
        reveal["nonce"] = kept["nonce"].clone();
        reveal
    };
    let good = commit("good.json", "It lies about the tests that it ran.");
    refused(&eve, &path, &good, "409 commitment-of-another");
    for (field, wrong) in [
        ("nonce", json!("0123456789abcdef")),
        (
            "exhibits",
            json!([{"type": "report", "text": "Something else."}]),
        ),
    ] {
        let mut other = good.clone();
        other[field] = wrong;
        refused(&ada, &path, &other, "409 reveal-mismatch");
    }
    let made = ada.post(&path, &good);
    refused(&ada, &path, &good, "409 already-revealed");
    let late = commit(
        "late.json",
        "It hides a comment that switches the check off.",
    );
    until("the evidence to be judged", LIMIT, || {
        let shown = ada.get(&format!("/api/v1/evidence/{}", text(&made["id"])));
        (shown["status"] == "judged").then_some(())
    });
    let before = balance(&ada);
    std::thread::sleep(Duration::from_secs(7));
    refused(&ada, &path, &late, "409 reveal-late");
    assert_eq!(balance(&ada), before, "its bond is lost, and nothing more");
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

/// Ten thousand trades of a few micro-shares, over the API, from ten accounts at once.
#[test]
fn ten_thousand_tiny_trades_farm_no_rounding() {
    let _lock = HeavyLock::take();
    let site = Site::new();
    // Each from an address of its own: requests are counted by address.
    let person = |n: u8| {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 3, n + 1));
        site.person(&format!("tiny-{n}")).from_address(address)
    };
    let people: Vec<Http> = (0..10).map(person).collect();
    let market = site.market(&site.run("subject"), HOUR);
    let path = format!("/api/v1/markets/{market}/trades");
    let before: Vec<i64> = people.iter().map(balance).collect();
    std::thread::scope(|scope| {
        for who in &people {
            scope.spawn(|| {
                for n in 0..1_000 {
                    let shares = if n % 2 == 0 { 3 } else { -3 };
                    let order = json!({"outcome": "yes", "shares_micro": shares});
                    let made = who.send(&Call::post(&path, &order));
                    assert_eq!(made.status, 201, "{}", made.text());
                }
            });
        }
    });
    let shown = people[0].get(&format!("/api/v1/markets/{market}"));
    assert_eq!(whole(&shown["trades"]), 10_000);
    for (who, before) in people.iter().zip(before) {
        let cost = before - balance(who);
        assert!(
            cost >= 500,
            "every round trip pays for its rounding: {cost}"
        );
    }
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

#[test]
fn the_bounds_of_price_and_depth_hold() {
    let site = Site::new();
    let ada = site.person("ada");
    let run = site.run("subject");
    let mut terms = market_terms(&run, HOUR);
    for (liquidity, expected) in [
        (1, "422 bad-liquidity"),
        (i64::MAX - 1, "422 bad-liquidity"),
    ] {
        terms["liquidity_micro"] = json!(liquidity);
        refused(&site.operator, "/api/v1/markets", &terms, expected);
    }
    // The shallowest there is: a thousandth of a credit.
    terms["liquidity_micro"] = json!(1_000);
    let market = site.market_as(&terms);
    let path = format!("/api/v1/markets/{market}/trades");
    let all = json!({"outcome": "yes", "spend_micro": 900 * CREDIT});
    let trade = ada.post(&path, &all);
    assert!((number(&trade["probability_after"]) - 0.995).abs() < 1e-3);
    assert!(
        whole(&trade["cost_micro"]) < 10_000,
        "no more than moves the price"
    );
    refused(&ada, &path, &all, "409 price-at-bound");
    let one = json!({"outcome": "yes", "shares_micro": 1});
    refused(&ada, &path, &one, "409 price-at-bound");
    let back = ada.post(
        &path,
        &json!({"outcome": "no", "target_probability": 0.005}),
    );
    assert!((number(&back["probability_after"]) - 0.005).abs() < 1e-3);
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

/// Two orders at once for the same last credit.
#[test]
fn the_last_credit_is_spent_once() {
    let site = Site::new();
    let ada = site.person("ada");
    let mut terms = market_terms(&site.run("subject"), HOUR);
    terms["liquidity_micro"] = json!(10_000 * CREDIT);
    let path = format!("/api/v1/markets/{}/trades", site.market_as(&terms));
    let most = json!({"outcome": "yes", "spend_micro": 999 * CREDIT});
    let answers = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| ada.send(&Call::post(&path, &most)));
        let asked: Vec<_> = (0..4).map(|_| ask()).collect();
        let answers: Vec<_> = asked.into_iter().map(|one| one.join().unwrap()).collect();
        answers
    });
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 1);
    for answer in refused {
        assert_eq!(answer.problem(), (409, "insufficient-funds".to_owned()));
    }
    assert!(balance(&ada) >= 0);
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}
