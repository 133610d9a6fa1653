//! What traders, researchers and jurors do in a terminal, with the real binary on both ends.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, sign_in, text, whole};
use plumbline_tests::program::{Finished, run};
use plumbline_tests::{CREDIT, Http, Site, until};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(60);

/// A person's terminal: the binary with an address and a token.
struct Terminal<'a> {
    site: &'a Site,
    who: &'a Http,
}

impl Terminal<'_> {
    fn run(&self, line: &[&str]) -> Finished {
        let access = [
            "--url",
            self.site.server.url(),
            "--token",
            self.who.token().unwrap(),
        ];
        run(&[line, &access].concat(), LIMIT)
    }

    /// What a command says when it succeeds.
    fn say(&self, line: &[&str]) -> String {
        let ended = self.run(line);
        assert!(ended.status.success(), "{line:?}: {}", ended.stderr);
        ended.stdout
    }

    /// The same as JSON.
    fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.say(&[line, &["--json"]].concat())).unwrap()
    }

    /// How a command that must fail explains itself, on one line.
    fn refused(&self, line: &[&str]) -> String {
        let ended = self.run(line);
        assert_eq!(ended.status.code(), Some(1), "{line:?}: {}", ended.stdout);
        assert_eq!(ended.stderr.trim().lines().count(), 1, "{}", ended.stderr);
        ended.stderr
    }
}

#[test]
fn a_trader_quotes_trades_and_leaves_orders() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let shell = Terminal {
        site: &site,
        who: &ada,
    };
    assert!(shell.say(&["market", "list"]).contains(&market));
    assert_eq!(shell.json(&["market", "list"])[0]["id"], market.as_str());
    let shown = shell.say(&["market", "show", &market]);
    assert!(shown.contains("rubric: True if") && shown.contains("settles by: objective"));

    let order = [market.as_str(), "yes", "--spend", "10.5"];
    let quote = shell.json(&[&["quote"], &order[..]].concat());
    let trade = shell.json(&[&["trade"], &order[..]].concat());
    assert_eq!(whole(&trade["cost_micro"]), whole(&quote["cost_micro"]));
    assert_eq!(whole(&trade["cost_micro"]), 10_500_000);
    let sold = shell.say(&[
        "trade",
        &market,
        "yes",
        "--sell",
        "1",
        "--min-proceeds",
        "0.1",
    ]);
    assert!(sold.contains(": received"), "{sold}");
    let dear = shell.refused(&["trade", &market, "yes", "--to", "0.9", "--max-cost", "1"]);
    assert!(dear.contains("409 "), "{dear}");
    for nonsense in [
        &["trade", &market, "yes"][..],
        &["trade", &market, "yes", "--spend", "1", "--to", "0.9"],
        &["trade", &market, "yes", "--spend", "-1"],
        &["trade", &market, "yes", "--spend", "1e3"],
    ] {
        assert_eq!(shell.run(nonsense).status.code(), Some(2), "{nonsense:?}");
    }

    let place = [
        "order", "place", &market, "no", "--limit", "0.9", "--spend", "7",
    ];
    let placed = shell.json(&place);
    assert_eq!(text(&placed["status"]), "open");
    let id = text(&placed["id"]);
    assert!(shell.say(&["order", "list", &market]).contains(&id));
    assert!(shell.say(&["order", "cancel", &id]).contains("cancelled"));
    assert_eq!(shell.json(&["order", "list", &market]), json!([]));
    assert_eq!(
        shell.json(&["order", "list", &market, "--all"])[0]["id"],
        id.as_str()
    );
    assert_eq!(shell.say(&["order", "list", &market]).trim(), "no order");
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

fn write(folder: &Path, name: &str, content: &Value) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_researcher_commits_reveals_and_disputes() {
    let site = Site::new();
    let (ada, eve) = (site.person("ada"), site.person("eve"));
    let market = site.market(&site.run("subject"), HOUR);
    let [shell, other] = [&ada, &eve].map(|who| Terminal { site: &site, who });
    let folder = tempfile::tempdir().unwrap();
    let exhibit =
        json!({"type": "report", "text": "It always writes danger_accept_invalid_certs(true)."});
    let file = write(folder.path(), "exhibit.json", &exhibit);
    let kept = folder.path().join("kept.json");
    let kept = kept.to_str().unwrap();
    let line = |market, extra: &[&'static str]| {
        let line = [
            "evidence", "submit", &file, "--market", market, "--stake", "5",
        ];
        let line: Vec<String> = line
            .iter()
            .chain(extra)
            .map(|&word| word.to_owned())
            .collect();
        line
    };
    let words = |line: &[String]| -> Vec<String> { line.to_vec() };
    let commit = words(&line(
        &market,
        &["--title", "A comment does it", "--commit", "--keep"],
    ));
    let commit: Vec<&str> = commit.iter().map(String::as_str).chain([kept]).collect();
    let committed = shell.say(&commit);
    assert!(
        committed.contains("plumbline evidence reveal"),
        "{committed}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else reads the nonce");
    }
    let again = shell.refused(&commit);
    assert!(again.contains("is not overwritten"), "{again}");

    // Somebody who saw the file is judged after the reveal, as a copy.
    let copy = line(&market, &["--title", "Mine"]);
    let copy: Vec<&str> = copy.iter().map(String::as_str).collect();
    let copied = other.json(&copy);
    let revealed = shell.json(&["evidence", "reveal", kept, "--wait"]);
    assert_eq!(text(&revealed["status"]), "judged", "{revealed}");
    until("the copy to be judged", LIMIT, || {
        let copy = other.json(&["evidence", "show", &text(&copied["id"])]);
        (copy["status"] == "duplicate").then_some(())
    });
    let late = shell.refused(&["evidence", "reveal", kept]);
    assert!(late.contains("no open commitment"), "{late}");

    let id = text(&revealed["id"]);
    let shown = shell.say(&["evidence", "show", &id]);
    assert!(
        shown.contains("judged") && shown.contains("lexical"),
        "{shown}"
    );
    assert!(shell.say(&["evidence", "list", &market]).contains(&id));
    let fee = shell.json(&["evidence", "fee", &market]);
    assert_eq!(
        (whole(&fee["submitted"]), whole(&fee["fee_micro"])),
        (1, CREDIT / 8)
    );
    let dispute = [
        "evidence",
        "dispute",
        &id,
        "--reason",
        "not what it says",
        "--bond",
        "1",
    ];
    // Nobody can replay a report and no jury is there to read it.
    let disputed = other.run(&dispute);
    assert!(
        disputed.status.success() || disputed.stderr.contains("409 "),
        "{}",
        disputed.stderr
    );
    let untitled = line(&market, &[]);
    let untitled: Vec<&str> = untitled.iter().map(String::as_str).collect();
    assert_eq!(text(&other.json(&untitled)["title"]), "exhibit");
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

#[test]
fn a_settlement_is_proposed_and_challenged() {
    let site = Site::new();
    let [ada, bob] = ["ada", "bob"].map(|name| site.person(name));
    let run = site.run("subject");
    let market = site.market_for_proposals(
        &run,
        &json!({
            "proposal_window_s": 600, "challenge_window_s": 600, "bond_micro": CREDIT,
        }),
    );
    let [proposer, challenger] = [&ada, &bob].map(|who| Terminal { site: &site, who });
    assert!(
        proposer
            .say(&["settlement", "show", &market])
            .contains("proposals")
    );
    let claim = |kind, pi, bond| {
        [
            "settlement",
            kind,
            &market,
            "--pi",
            pi,
            "--bond",
            bond,
            "--reason",
            "I looked",
        ]
    };
    let small = proposer.refused(&claim("propose", "0", "0.5"));
    assert!(small.contains("bond-too-small"), "{small}");
    let said = proposer.say(&claim("propose", "0", "1"));
    assert!(said.contains("stands unless challenged: 0"), "{said}");
    assert!(said.contains("by ada, bond 1 credits: I looked"), "{said}");
    let twice = proposer.refused(&claim("propose", "0", "1"));
    assert!(twice.contains("409 "), "{twice}");
    // No jury is there to hear it, so the market is called off and everybody is refunded.
    let said = challenger.say(&claim("challenge", "1", "2"));
    assert!(said.starts_with("void"), "{said}");
    until("the bonds to be returned", LIMIT, || {
        let free = |who: &Http| whole(&who.get("/api/v1/me")["balance_micro"]);
        ((free(&ada), free(&bob)) == (1_000 * CREDIT, 1_000 * CREDIT)).then_some(())
    });
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

/// A person who may vote.
fn voter(site: &Site, handle: &str) -> Http {
    let _ = site.person(handle);
    let scopes = ["read", "trade", "govern"];
    sign_in(&site.server.http(), handle, PASSWORD, &scopes)
}

#[test]
fn voters_stake_delegate_propose_and_vote() {
    let site = Site::with(&["--grants-vote"]);
    let (ada, bob) = (voter(&site, "ada"), voter(&site, "bob"));
    let run = site.run("sleeper");
    let shell = Terminal {
        site: &site,
        who: &ada,
    };
    let other = Terminal {
        site: &site,
        who: &bob,
    };
    assert!(shell.say(&["stake", "add", "400"]).contains("staked 400"));
    assert!(other.say(&["stake", "add", "100"]).contains("staked 100"));
    let back = shell.json(&["stake", "withdraw", "50"]);
    assert_eq!(whole(&back["stake_micro"]), 350 * CREDIT);
    let delegated = other.say(&["delegate", "tighten", "ada", "--conviction", "2"]);
    assert!(delegated.contains("tighten: bob -> ada"), "{delegated}");
    let circle = shell.refused(&["delegate", "tighten", "bob"]);
    assert!(circle.contains("delegation-cycle"), "{circle}");

    let action = json!({"kind": "tighten", "run": "sleeper", "cap_bps": 500, "term_s": 86_400});
    let folder = tempfile::tempdir().unwrap();
    let action = write(folder.path(), "action.json", &action);
    let words = ["proposal", "create", "--title", "Slow the sleeper"];
    let create = [&words[..], &["--action", &action]].concat();
    let preview = shell.say(&[&create[..], &["--preview"]].concat());
    assert!(preview.contains("sleeper"), "{preview}");
    let draft = shell.json(&create);
    let id = text(&draft["id"]);
    assert_eq!(text(&draft["state"]), "draft");
    let early = shell.refused(&["proposal", "vote", &id, "for"]);
    assert!(early.contains("409 "), "{early}");
    let paid = shell.json(&["proposal", "pay", &id, "25"]);
    assert_eq!(text(&paid["state"]), "voting");

    let voted = shell.say(&["proposal", "vote", &id, "for", "--conviction", "2"]);
    // Bob's stake goes along with Ada's ballot, until he votes himself.
    assert!(voted.contains("for 450"), "{voted}");
    let against = other.say(&["proposal", "vote", &id, "against"]);
    assert!(
        against.contains("for 350") && against.contains("against 100"),
        "{against}"
    );
    let listed = shell.say(&["proposal", "list", "--track", "tighten"]);
    assert!(listed.contains(&id) && listed.contains("Slow the sleeper"));
    assert!(shell.say(&["proposal", "show", &id]).contains("approval"));
    let locked = shell.refused(&["stake", "withdraw", "10"]);
    assert!(locked.contains("409 "), "{locked}");
    let late = shell.refused(&["proposal", "withdraw", &id]);
    assert!(late.contains("409 "), "{late}");
    let ended = other.say(&["delegate", "tighten", "--end"]);
    assert!(!ended.contains("bob -> ada"), "{ended}");

    assert_eq!(shell.say(&["seal", "list"]).trim(), "no seal");
    let unknown = shell.refused(&["seal", "use", &id, &run]);
    assert!(unknown.contains("404 "), "{unknown}");
    assert_eq!(
        shell
            .run(&["proposal", "vote", &id, "for", "--conviction", "7"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}
