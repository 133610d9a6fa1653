//! What those type who run a service, check its books, and build the program.

use std::fs;
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, market_terms, sign_in, text};
use plumbline_tests::program::finish;
use plumbline_tests::{CREDIT, Http, Site, Typed, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn contributing(page: &mut Typed) {
    page.makes("make run", "run", &["--bin plumbline -- demo --listen"]);
    page.makes(
        "make serve",
        "serve",
        &["--bin plumbline -- serve --listen"],
    );
    page.makes("make test", "test", &["test --locked --workspace"]);
    page.makes(
        "make lint",
        "lint",
        &["fmt --check", "clippy --locked --workspace"],
    );
    // `make test` runs these tests with all others; here, that they can be named so.
    page.cargo("cargo test -p plumbline-market");
    page.cargo("cargo test -p plumbline-governance control");
    page.makes("make docs", "docs", &["doc --locked --workspace"]);
}

pub(super) fn audit(page: &mut Typed) {
    let site = Site::new();
    let run = site.run("subject");
    let terms = json!({"proposal_window_s": 600, "challenge_window_s": 600});
    let market = site.market_for_proposals(&run, &terms);
    page.at(&site, &site.operator);
    page.put("data/serve", site.folder.path().display());
    page.put("ID", &market);
    let _ = page.types("plumbline audit export").with(&["rows, BLAKE3"]);
    let _ = page
        .types("plumbline audit verify books.jsonl")
        .with(&["Everything agrees."]);

    let note = site.operator.get("/api/v1/log/checkpoint");
    page.write("kept.note", text(&note["note"]));
    let _ = site.run("another");
    fs::rename(page.path("books.jsonl"), page.path("old.jsonl")).unwrap();
    let mut export = page.typed("plumbline audit export --data-dir data/serve --out new.jsonl");
    assert!(finish(&mut export, "", PATIENCE).status.success());
    let _ = page
        .types("plumbline audit verify new.jsonl")
        .with(&["Everything agrees."]);
    fs::rename(page.path("new.jsonl"), page.path("books.jsonl")).unwrap();
    let keys = site.operator.get("/api/v1/keys");
    page.put("BASE64", text(&keys[0]["public_key"]));
    let _ = page
        .types("plumbline audit verify books.jsonl")
        .with(&["Everything agrees."]);
    let _ = page.types("curl -s").with(&["\"violations\":[]"]);

    let ending = site
        .operator
        .get(&format!("/api/v1/markets/{market}/settlement"));
    page.put("--seed HEX", format!("--seed {}", text(&ending["seed"])));
    page.put(
        "--head HEX",
        format!("--head {}", text(&ending["audit"]["log"]["head"])),
    );
    let commitment = text(&ending["seed_commitment"]);
    page.put("--commitment HEX", format!("--commitment {commitment}"));
    let draw = text(&ending["audit"]["draw"]);
    let _ = page
        .types("plumbline audit draw")
        .with(&[&commitment, &draw]);
}

pub(super) fn concepts(page: &mut Typed) {
    let mut site = Site::new();
    let run = site.hosted_run("tiny");
    let market = site.market_as(&market_terms(&run, Duration::from_secs(2)));
    page.at(&site, &site.operator);
    page.set("M", &market);
    let path = format!("/api/v1/markets/{market}/settlement");
    let shown = until("the plan to be shown", PATIENCE, || {
        let ending = site.operator.get(&path);
        (!ending["plan"].is_null()).then_some(ending)
    });
    let commitment = text(&shown["plan_commitment"]);
    let _ = page
        .types("curl -s $U/markets/$M/settlement")
        .with(&[&commitment]);
}

/// Markets that people settled either way, with transcripts of two kinds as evidence. A settlement that is only said can
/// be challenged for a minute.
fn settled_cases(site: &Site) {
    let (eve, bob) = (site.person("eve"), site.person("bob"));
    let run = site.run("subject");
    let mut terms = market_terms(&run, Duration::from_secs(12));
    terms["claim_kind"] = json!("deception:report");
    terms["settlement"] = json!({"method": "panel", "proposal_window_s": 600, "challenge_window_s": 60,
        "bond_micro": CREDIT, "audit_floor_bps": 500, "audit_peak_bps": 500});
    let mut markets = Vec::new();
    for number in 0..12 {
        let said = match number % 2 {
            0 => "I kept it from everybody and lied about it when they asked me",
            _ => "I told everybody openly what I had done and why",
        };
        let market = site.market_as(&terms);
        let exhibit = |day: u64| {
            json!({"type": "transcript", "messages": [
                {"role": "user", "content": format!("What did you do on day {day} of trial {number}?")},
                {"role": "assistant", "content": format!("{said}, on day {day} of trial {number}.")}]})
        };
        let exhibits: Vec<Value> = (1..5).map(exhibit).collect();
        let body = json!({"kind": "transcript", "title": "What it said", "body": "", "stake_micro": 5 * CREDIT,
            "exhibits": exhibits});
        eve.post(&format!("/api/v1/markets/{market}/evidence"), &body);
        markets.push((market, 1 - number % 2));
    }
    let mut proposed = 0;
    for (market, pi) in markets {
        let path = format!("/api/v1/markets/{market}/settlement");
        let stage = until("the market to close", PATIENCE, || {
            let stage = text(&site.operator.get(&path)["stage"]);
            (!matches!(stage.as_str(), "trading" | "closing")).then_some(stage)
        });
        // One in twenty is audited by lot, and there is no jury.
        if stage == "proposals" {
            bob.post(
                &path,
                &json!({"pi": pi, "bond_micro": CREDIT, "reason": "I looked"}),
            );
            proposed += 1;
        }
    }
    until("the settlements to stand", 2 * PATIENCE, || {
        let cases = site.operator.get("/api/v1/oracle/cases?limit=200");
        (cases["items"].as_array().unwrap().len() >= proposed).then_some(())
    });
}

pub(super) fn learning(page: &mut Typed) {
    let site = Site::new();
    settled_cases(&site);
    page.at(&site, &site.operator);
    page.put("http://HOST:8600", site.server.url());
    page.put("data/serve", site.folder.path().display());
    let verify = "plumbline oracle versions --verify";
    for _ in 0..2 {
        let _ = page.types(verify).with(&["shipped", "can be made again"]);
    }
    let said = page.types("plumbline oracle train --from-settled");
    let _ = said.with(&["deception", "kept", "candidate "]);
    assert!(page.path("lexical.bin").exists());
    let versions = site.operator.get("/api/v1/oracle/versions");
    assert!(versions.to_string().contains("candidate"), "{versions}");
}

/// Somebody who signs beside the service.
fn guardian(site: &Site, handle: &str) -> Http {
    let _ = site.person(handle);
    let roles = json!({"roles": ["guardian"]});
    site.operator
        .post(&format!("/api/v1/accounts/{handle}/roles"), &roles);
    let scopes = ["read", "govern"];
    sign_in(&site.server.http(), handle, PASSWORD, &scopes)
}

pub(super) fn operations(page: &mut Typed) {
    page.put("/var/lib/plumbline", page.path("var").display());
    page.put("/backups", page.path("backups").display());
    fs::create_dir(page.path("backups")).unwrap();
    let server = page.serves("plumbline serve --data-dir /var/lib/plumbline", "");
    let _ = page.types("plumbline admin backup");
    assert!(server.stop().success());
    let _ = page.types("plumbline admin restore");
    page.put("/var/lib/plumbline", page.path("again").display());
    let _ = page.types("plumbline admin restore");
    assert!(page.path("again/plumbline.db").exists());

    page.put("data/serve", page.path("var").display());
    for _ in 0..2 {
        let _ = page
            .types("plumbline keys rotate")
            .with(&["is replaced by"]);
    }
    page.set("PLUMBLINE_DATA_DIR", page.path("var").display());
    let server = page.serves("plumbline serve --public-url", "");
    assert!(server.stop().success());
    page.write("smtp.txt", "smtp://127.0.0.1:2525\n");
    let server = page.serves("plumbline serve --smtp-url-file", "");
    assert!(server.stop().success());
    guardians(page);
}

fn guardians(page: &mut Typed) {
    let site = Site::new();
    let _ = site.run("subject");
    let [grace, heidi, ivo] = ["grace", "heidi", "ivo"].map(|name| guardian(&site, name));
    page.at(&site, &grace);
    let key_id = |said: &str| {
        said.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let own = key_id(&page.types("plumbline keys new").stdout);
    let _ = page.types("plumbline keys register").with(&[&own]);
    let decision = until("a decision", PATIENCE, || {
        let listed = site.operator.get("/api/v1/allocations");
        listed["items"][0]["decision"]["decision_id"]
            .as_str()
            .map(str::to_owned)
    });
    page.put("DECISION", &decision);
    let _ = page
        .types("plumbline keys cosign")
        .with(&["signed with", &own]);

    // Others' keys, for whom the first vouches.
    let mut last = String::new();
    for (who, file) in [(&heidi, "heidi.key"), (&ivo, "ivo.key")] {
        page.at(&site, who);
        let make =
            format!("plumbline keys new --out {file} && plumbline keys register --key {file}");
        let made = finish(&mut page.typed(&make), "", PATIENCE);
        assert!(made.status.success(), "{made:?}");
        last = key_id(&made.stdout);
    }
    page.at(&site, &grace);
    page.put("KEY", &last);
    let _ = page
        .types("plumbline keys vouch")
        .with(&["signed with", &own]);
    page.put("KEY", &own);
    let _ = page.types("plumbline keys retire").with(&[&own, " until "]);
    let keys: Value = site.operator.get("/api/v1/keys");
    assert_eq!(keys.as_array().unwrap().len(), 4);
}
