//! `plumbline enforce` beside a real service that dies and comes back.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plumbline_tests::fixture::{sign_in, text};
use plumbline_tests::program::{binary, root, run};
use plumbline_tests::{Site, until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running enforcer; killed when dropped.
struct Enforcer(Child);

impl Enforcer {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments).env("RUST_LOG", "info");
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        // SIGKILL: what it holds must survive that.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A policy whose leases last seconds.
fn short_leases(folder: &Path) -> String {
    let policy = std::fs::read_to_string(root().join("governance/policies/default.toml")).unwrap();
    let short = policy
        .replace("refresh_s = 300", "refresh_s = 2")
        .replace("expires_s = 1_800", "expires_s = 5");
    assert_ne!(policy, short);
    let path = folder.join("policy.toml");
    std::fs::write(&path, short).unwrap();
    path.to_str().unwrap().to_owned()
}

fn phases(site: &Site, run: &str) -> Vec<String> {
    let listed = site.operator.get("/api/v1/allocations");
    let items = listed["items"].as_array().unwrap();
    let of_run = items.iter().find(|item| item["target_name"] == run);
    let acks = of_run.and_then(|item| item["acks"].as_array().cloned());
    let all = acks.unwrap_or_default();
    all.iter().map(|ack| text(&ack["phase"])).collect()
}

#[test]
fn a_program_is_told_what_is_decided_and_what_a_lost_service_means() {
    let folder = tempfile::tempdir().unwrap();
    let policy = short_leases(folder.path());
    let mut site = Site::with(&["--policy", &policy]);
    let run_id = site.run("slurm-7b");
    let password = plumbline_tests::fixture::PASSWORD;
    let scheduler = sign_in(
        &site.server.http(),
        "operator",
        password,
        &["read", "schedule"],
    );
    let told = folder.path().join("told");
    let script = r#"cat > "$0.new"; mv "$0.new" "$0"; test -z "$PLUMBLINE_TOKEN""#;
    let state = folder.path().join("state");
    let (told_path, state_path) = (told.to_str().unwrap(), state.to_str().unwrap());
    let url = site.server.url().to_owned();
    let line = |url: &str| {
        let arguments = [
            "enforce",
            "exec",
            "--url",
            url,
            "--token",
            scheduler.token().unwrap(),
            "--scheduler",
            "east",
            "--state",
            state_path,
            "--run",
            "slurm-7b",
            "--every",
            "1",
            "--",
            "/bin/sh",
            "-c",
            script,
            told_path,
        ];
        arguments.map(str::to_owned)
    };
    let start = |url: &str| Enforcer::start(&line(url).each_ref().map(String::as_str));
    let order =
        || -> Option<Value> { serde_json::from_str(&std::fs::read_to_string(&told).ok()?).ok() };
    let share = |expired: bool| {
        until("an order", PATIENCE, || {
            let order = order().filter(|order| order["expired"] == expired)?;
            Some((
                order["share_bps"].as_u64().unwrap(),
                order["admit_new"] == true,
            ))
        })
    };

    let enforcer = start(&url);
    let (decided, admitted) = share(false);
    assert!(decided > 500 && admitted, "{decided}");
    assert_eq!(order().unwrap()["target"], run_id);
    until("the release to be acknowledged", PATIENCE, || {
        phases(&site, "slurm-7b")
            .contains(&"released".to_owned())
            .then_some(())
    });

    // A second one on the same folder would fight the first.
    let second = run(&line(&url).each_ref().map(String::as_str), PATIENCE);
    assert!(
        second.stderr.contains("another enforcer"),
        "{}",
        second.stderr
    );

    // The service is gone: the cap holds, then no new work, then the floor; also after a restart without contact.
    site.server.kill();
    until("the lease to be overdue", PATIENCE, || {
        let order = order()?;
        (order["admit_new"] == false && order["share_bps"] == decided).then_some(())
    });
    assert_eq!(share(true), (500, false));
    drop(enforcer);
    std::fs::remove_file(&told).unwrap();
    let enforcer = start(&url);
    assert_eq!(share(true), (500, false));
    drop(enforcer);

    // It is back, at another address and with newer decisions.
    site.start_again();
    let _enforcer = start(site.server.url());
    let (again, admitted) = share(false);
    assert!(again > 500 && admitted, "{again}");
}

#[test]
fn what_cannot_be_enforced_is_refused_at_once() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let table: [(&[&str], &str); 6] = [
        (&["process", "--run", "x=pid:999999999"], "no process"),
        (&["process", "--run", "x"], "RUN=PROCESSES"),
        (&["process", "--run", "x=pid:1", "--cores", "0"], "--cores"),
        (
            &["slurm", "--run", "x=a b", "--partition", "main"],
            "cannot look run x up",
        ),
        (
            &["exec", "--run", "nobody", "--", "true"],
            "cannot look run nobody up",
        ),
        (
            &["exec", "--run", "x", "--keys", "/no/keys", "--", "true"],
            "cannot look run x up",
        ),
    ];
    for (number, (line, expected)) in table.into_iter().enumerate() {
        let state = folder.path().join(number.to_string());
        let access = [
            "--url",
            site.server.url(),
            "--token",
            site.operator.token().unwrap(),
            "--scheduler",
            "east",
            "--state",
            state.to_str().unwrap(),
        ];
        // The program's own arguments come last.
        let (verb, rest) = line.split_at(1);
        let ended = run(&[&["enforce"], verb, &access, rest].concat(), PATIENCE);
        assert!(
            !ended.status.success() && ended.stderr.contains(expected),
            "{line:?}: {}",
            ended.stderr
        );
    }
}
