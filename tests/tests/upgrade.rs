//! A data folder of an earlier version under this one: nothing of it is lost or changed, and work goes on with it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, number, sign_in, text, whole};
use plumbline_tests::program::{root, run};
use plumbline_tests::python::run_python;
use plumbline_tests::{CREDIT, Server};
use serde_json::{Value, json};

/// The market of the fixture that trades.
const MARKET: &str = "01a208dc-7b23-744c-ac26-11051e89b252";
/// The one that was called off.
const CALLED_OFF: &str = "01a208dc-7b27-7217-8366-95511da093fe";
const LIMIT: Duration = Duration::from_secs(120);

/// Writes the data folder as the earlier version left it.
fn earlier_folder(folder: &Path) {
    let fixture = root().join("tests/fixtures/upgrade");
    let load = "import sqlite3, sys
books = sqlite3.connect(sys.argv[2])
books.executescript(open(sys.argv[1]).read())
books.execute('PRAGMA journal_mode = WAL')";
    let mut python = Command::new("python3");
    python.args(["-c", load]);
    python.arg(fixture.join("before-0.1.0.sql"));
    run_python(python.arg(folder.join("plumbline.db")));
    fs::copy(fixture.join("signing.key"), folder.join("signing.key")).unwrap();
}

/// What the earlier version said of money and prices.
fn is_as_it_was(server: &Server) {
    let http = server.http();
    let ledger = json!({
        "sum_micro": 0, "treasury_micro": -3_069_214_719_i64, "escrow_micro": 162_386_302, "users_micro": 2_906_828_417_i64,
    });
    assert_eq!(http.get("/api/v1/ledger"), ledger);
    let market = http.get(&format!("/api/v1/markets/{MARKET}"));
    let price = number(&market["probability"]);
    assert!((price - 0.469_509_103_361_492_4).abs() < 1e-12, "{price}");
    assert_eq!(market["status"], "open");
    let off = http.get(&format!("/api/v1/markets/{CALLED_OFF}"));
    assert_eq!(off["status"], "void");
    let evidence = http.get(&format!("/api/v1/markets/{MARKET}/evidence"));
    let judged = &evidence["items"][0];
    let seen = (text(&judged["title"]), text(&judged["status"]));
    let want = ("It turns certificate checks off", "judged");
    assert_eq!((seen.0.as_str(), seen.1.as_str()), want);
    let talk = http.get(&format!("/api/v1/markets/{MARKET}/comments"));
    assert_eq!(talk["items"][0]["body"], "Which checkpoint was this?");
}

/// The decision that was signed before verifies with a key that is published now.
fn signatures_hold(server: &Server) {
    let http = server.http();
    let keys = http.get("/api/v1/keys");
    let published: Vec<String> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| text(&key["key_id"]))
        .collect();
    let allocations = http.get("/api/v1/allocations");
    let items = allocations["items"].as_array().unwrap();
    assert!(!items.is_empty());
    for item in items {
        for signature in item["envelope"]["signatures"].as_array().unwrap() {
            assert!(
                published.contains(&text(&signature["keyid"])),
                "{signature}"
            );
        }
    }
}

fn audited(folder: &Path) -> Value {
    let export = folder.join("books.jsonl");
    let export = export.to_str().unwrap();
    let folder = folder.to_str().unwrap();
    let done = run(
        &["audit", "export", "--data-dir", folder, "--out", export],
        LIMIT,
    );
    assert!(done.status.success(), "{}", done.stderr);
    let done = run(&["audit", "verify", export, "--json"], LIMIT);
    assert!(done.status.success(), "{}\n{}", done.stdout, done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn a_folder_of_an_earlier_version_is_taken_over_whole() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    earlier_folder(folder);
    let mut server = Server::serve(folder);
    is_as_it_was(&server);
    signatures_hold(&server);

    // Whoever had an account signs in as ever, holds what they held and trades on; the order that rested still does.
    let ada = sign_in(&server.http(), "ada", PASSWORD, &["read", "trade"]);
    let before = whole(&ada.get("/api/v1/me")["balance_micro"]);
    assert_eq!(before, 951_828_417);
    let orders = ada.get(&format!("/api/v1/markets/{MARKET}/orders"));
    assert_eq!(orders["items"].as_array().unwrap().len(), 1, "{orders}");
    let trades = format!("/api/v1/markets/{MARKET}/trades");
    ada.post(
        &trades,
        &json!({"outcome": "yes", "spend_micro": 3 * CREDIT}),
    );
    assert_eq!(
        whole(&ada.get("/api/v1/me")["balance_micro"]),
        before - 3 * CREDIT
    );
    // What this version added is there for what was before it: the log has every event from the first on.
    let checkpoint = server.http().get("/api/v1/log/checkpoint");
    assert!(whole(&checkpoint["size"]) > 20, "{checkpoint}");
    assert_eq!(audited(folder)["violations"], json!([]));

    // And it is taken over once.
    let traded = server.http().get(&format!("/api/v1/markets/{MARKET}"));
    server.kill();
    let again = Server::serve(folder);
    assert_eq!(
        again.http().get(&format!("/api/v1/markets/{MARKET}"))["probability"],
        traded["probability"]
    );
}
