//! The record, from outside: an independent verifier, the reference consumer, receivers of webhooks, keys that change.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, market_terms, sign_in, text};
use plumbline_tests::program::{root, run};
use plumbline_tests::python::python;
use plumbline_tests::{Call, Http, Site, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(name: &str) -> String {
    root().join(name).to_str().unwrap().to_owned()
}

/// The service's own public keys, as base64.
fn keys(operator: &Http) -> Vec<String> {
    let keys = operator.get("/api/v1/keys");
    let own = keys
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["owner"].is_null());
    own.map(|key| text(&key["public_key"])).collect()
}

/// Runs the verifier of another author against the service.
fn verify(site: &Site, keys: &[String], kept: &Path) -> Output {
    let mut command = Command::new(python());
    command.args([&script("tests/python/verify.py"), site.server.url()]);
    command.args([
        "--token",
        site.operator.token().unwrap(),
        "--kept",
        kept.to_str().unwrap(),
    ]);
    for key in keys {
        command.args(["--key", key]);
    }
    command.output().unwrap()
}

fn checked(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A trade, and the decisions that are due.
fn live(site: &Site, market: &str) {
    let order = json!({"outcome": "yes", "spend_micro": 2_000_000});
    site.operator
        .post(&format!("/api/v1/markets/{market}/trades"), &order);
    until("a decision", PATIENCE, || {
        let state = site.operator.get("/api/v1/allocations");
        (!state["items"].as_array().unwrap().is_empty()).then_some(())
    });
}

#[test]
fn a_verifier_of_another_author_agrees_over_crashes_and_new_keys() {
    let mut site = Site::new();
    let run_id = site.run("watched");
    let market = site.market_as(&market_terms(&run_id, Duration::from_secs(600)));
    live(&site, &market);
    let kept = site.folder.path().join("kept.note");
    let first = checked(&verify(&site, &keys(&site.operator), &kept));
    assert!(first["decisions"].as_u64().unwrap() >= 1, "{first}");
    let foreign = ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned()];
    assert!(!verify(&site, &foreign, &kept).status.success());
    let books = |name: &str| site.folder.path().join(name).to_str().unwrap().to_owned();
    let (old, new, note) = (books("old.jsonl"), books("new.jsonl"), books("kept.note"));
    let folder = site.folder.path().to_str().unwrap().to_owned();
    let plumbline = |arguments: &[&str]| run(arguments, PATIENCE);
    let export = |out: &str| {
        let done = plumbline(&["audit", "export", "--data-dir", &folder, "--out", out]);
        assert!(done.status.success(), "{}", done.stderr);
    };
    export(&old);

    // What was logged is there after SIGKILL, and the log goes on from it.
    site.crash_and_restart();
    live(&site, &market);
    let second = checked(&verify(&site, &keys(&site.operator), &kept));
    assert_eq!(second["before"], first["entries"]);
    assert!(second["entries"].as_u64() > first["entries"].as_u64());

    // Another signing key: the old one counts on for a day, the log is the same.
    site.server.kill();
    let rotated = plumbline(&[
        "keys",
        "rotate",
        "--data-dir",
        &folder,
        "--overlap-hours",
        "24",
    ]);
    assert!(rotated.status.success(), "{}", rotated.stderr);
    site.start_again();
    until("decisions of the new epoch", PATIENCE, || {
        let state = site.operator.get("/api/v1/allocations");
        let items = state["items"].as_array().unwrap().clone();
        items
            .iter()
            .all(|item| item["decision"]["epoch"] == 2)
            .then_some(())
    });
    let both = keys(&site.operator);
    assert_eq!(both.len(), 2);
    let third = checked(&verify(&site, &both, &kept));
    assert_eq!(third["before"], second["entries"]);
    export(&new);
    let audited = [
        "audit",
        "verify",
        &new,
        "--previous",
        &old,
        "--checkpoint",
        &note,
    ];
    let pinned = ["--key", &both[0], "--key", &both[1]];
    let done = plumbline(&[&audited[..], &pinned[..]].concat());
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
    let back = plumbline(&["audit", "verify", &old, "--previous", &new]);
    assert!(!back.status.success());
    assert!(
        !plumbline(&[&audited[..], &pinned[..2]].concat())
            .status
            .success()
    );
}

/// A policy whose leases last seconds.
fn short_leases(folder: &Path) -> String {
    let policy = std::fs::read_to_string(root().join("governance/policies/default.toml")).unwrap();
    let short = policy
        .replace("refresh_s = 300", "refresh_s = 2")
        .replace("expires_s = 1_800", "expires_s = 6");
    assert_ne!(policy, short);
    let path = folder.join("policy.toml");
    std::fs::write(&path, short).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_reference_consumer_obeys_and_keeps_to_the_lease() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::with(&["--policy", &short_leases(folder.path())]);
    let run_id = site.run("copied");
    let scheduler = sign_in(
        &site.server.http(),
        "operator",
        PASSWORD,
        &["read", "schedule"],
    );
    let told = folder.path().join("told");
    let state = folder.path().join("state.json");
    let mut command = Command::new(python());
    command.args([&script("agents/examples/consumer.py"), site.server.url()]);
    command.args(["--token", scheduler.token().unwrap(), "--scheduler", "copy"]);
    command.args([
        "--state",
        state.to_str().unwrap(),
        "--key",
        &keys(&site.operator)[0],
    ]);
    command.args(["--run", &run_id, "--every", "0.3", "--"]);
    command.args([
        "/bin/sh",
        "-c",
        r#"cat > "$0.new"; mv "$0.new" "$0""#,
        told.to_str().unwrap(),
    ]);
    let _consumer = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let order = |expired: bool| {
        until("an order", PATIENCE, || {
            let order: Value = serde_json::from_str(&std::fs::read_to_string(&told).ok()?).ok()?;
            (order["expired"] == expired).then_some(order)
        })
    };
    let first = order(false);
    assert!(
        first["share_bps"].as_u64().unwrap() > 500 && first["admit_new"] == true,
        "{first}"
    );
    until("the release to be acknowledged", PATIENCE, || {
        let state = site.operator.get("/api/v1/decisions");
        let items = state["items"].as_array().unwrap().clone();
        let released = |ack: &Value| ack["scheduler"] == "copy" && ack["phase"] == "released";
        let acks = items
            .iter()
            .flat_map(|item| item["acks"].as_array().unwrap());
        acks.into_iter().any(released).then_some(())
    });
    // Without the service the lease runs out, and the floor holds.
    site.server.kill();
    let floor = order(true);
    assert!(
        floor["share_bps"].as_u64().unwrap() <= 500 && floor["admit_new"] == false,
        "{floor}"
    );
}

#[test]
fn a_receiver_gets_signed_notices_again_until_it_takes_them() {
    let site = Site::with(&["--allow-private-webhooks"]);
    let mut receiver = Command::new(python())
        .arg(script("tests/python/receiver.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (
        receiver.stdin.take().unwrap(),
        receiver.stdout.take().unwrap(),
    );
    let _receiver = Running(receiver);
    let mut said = BufReader::new(output).lines().map(Result::unwrap);
    let url = format!("http://127.0.0.1:{}/hook", said.next().unwrap());
    let made = site.operator.post(
        "/api/v1/webhooks",
        &json!({"url": url, "topics": ["run:*", "allocations"]}),
    );
    writeln!(input, "{}", text(&made["secret"])).unwrap();
    let id = site.run("told-of");
    let notices: Vec<Value> = (0..3)
        .map(|_| serde_json::from_str(&said.next().unwrap()).unwrap())
        .collect();
    for notice in &notices {
        assert_eq!(notice["good"], true, "{notice}");
    }
    // The first was refused, and came again under the same name.
    assert_eq!(
        (&notices[0]["status"], &notices[1]["status"]),
        (&json!(500), &json!(204))
    );
    assert_eq!(notices[0]["id"], notices[1]["id"]);
    assert_eq!(notices[1]["type"], "run.registered");
    assert_eq!(notices[1]["data"]["topic"], format!("run:{id}"));
    // Of decisions it hears that there is a version, and nothing to act on.
    assert_eq!(notices[2]["type"], "allocations.decided");
    let details = notices[2]["data"]["details"].as_object().unwrap();
    assert!(
        details["version"].as_i64().unwrap() > 0 && details.len() == 1,
        "{details:?}"
    );
    let hook = text(&made["webhook"]["id"]);
    let attempts = site
        .operator
        .get(&format!("/api/v1/webhooks/{hook}/deliveries"));
    let attempts = attempts.as_array().unwrap();
    assert!(attempts.len() >= 2);
    assert_eq!(attempts.last().unwrap()["status"], 500);
    let gone = site
        .operator
        .send(&Call::delete(&format!("/api/v1/webhooks/{hook}")));
    assert_eq!(gone.status, 204);
}

#[test]
fn webhooks_into_the_service_s_own_network_are_refused() {
    let site = Site::new();
    for url in [
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "http://example.org/",
        "https://user:pass@example.org/",
    ] {
        let cmd = json!({"url": url, "topics": ["allocations"]});
        let refused = site.operator.send(&Call::post("/api/v1/webhooks", &cmd));
        assert_eq!(refused.status, 422, "{url}: {}", refused.text());
        assert_eq!(refused.json()["code"], "bad-address");
    }
    assert_eq!(site.operator.get("/api/v1/webhooks"), json!([]));
}
