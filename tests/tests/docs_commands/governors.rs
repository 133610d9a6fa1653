//! What those type who vote, write policies, and hold compute to decisions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, sign_in, text, whole};
use plumbline_tests::program::{finish, root};
use plumbline_tests::python::python;
use plumbline_tests::{CREDIT, Http, Site, Typed, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The newest decision on a run, with its acknowledgements, once there is one.
fn decision(site: &Site, run: &str) -> Value {
    until("a decision", PATIENCE, || {
        let listed = site.operator.get("/api/v1/allocations");
        let items = listed["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["target_name"] == run)
            .cloned()
    })
}

/// Waits until a scheduler has said that a share is in force.
fn enforced(site: &Site, run: &str, scheduler: &str) {
    let by = |ack: &Value| ack["scheduler"] == scheduler && ack["phase"] == "enforced";
    until("an acknowledgement", PATIENCE, || {
        let acks = decision(site, run)["acks"].clone();
        acks.as_array().unwrap().iter().any(by).then_some(())
    });
}

fn scheduler_at(site: &Site) -> Http {
    sign_in(
        &site.server.http(),
        "operator",
        PASSWORD,
        &["read", "schedule"],
    )
}

pub(super) fn decisions(page: &mut Typed) {
    let site = Site::new();
    for run in ["clean", "sleeper"] {
        let _ = site.run(run);
        decision(&site, run);
    }
    page.at(&site, &site.operator);
    page.write(
        "decisions.py",
        page.block("python", "Verify Plumbline allocation decisions"),
    );
    if let Some(folder) = python().parent().filter(|folder| folder.is_absolute()) {
        page.finds(folder);
    }
    let said = page.types("python3 decisions.py");
    let _ = said.with(&[
        "clean epoch 1 generation ",
        "sleeper epoch 1 generation ",
        " bps until ",
    ]);
}

/// A process that does nothing, killed when dropped.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("600").stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

pub(super) fn enforcers(page: &mut Typed) {
    let site = Site::new();
    for run in ["sleeper", "slurm-7b"] {
        let _ = site.run(run);
    }
    page.at(&site, &scheduler_at(&site));
    page.write("keys.json", site.operator.get("/api/v1/keys").to_string());
    let idle = Idle::start();
    let pid = idle.0.id();
    // By signals: a control group would outlast the test.
    let more = "--every 1 --method signal";
    page.put("/var/lib/plumbline-enforce", page.path("east").display());
    page.put("--run …", format!("--run sleeper=pid:{pid}"));
    let enforcer = page.starts("plumbline enforce process --url", more);
    enforced(&site, "sleeper", "east");
    assert!(enforcer.stop().success());

    page.write("run/sleeper.pid", format!("{pid}\n"));
    page.put("/run/sleeper.pid", page.path("run/sleeper.pid").display());
    page.put("process …", "process --scheduler west --state west");
    let enforcer = page.starts("plumbline enforce process …", more);
    enforced(&site, "sleeper", "west");
    assert!(enforcer.stop().success());

    page.write(
        "set-share.sh",
        "#!/bin/sh\ncat > order.new && mv order.new order.json\n",
    );
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(page.path("set-share.sh"), executable).unwrap();
    page.put("exec …", "exec --scheduler hands --state hands --every 1");
    let enforcer = page.starts("plumbline enforce exec …", "");
    enforced(&site, "slurm-7b", "hands");
    let order = fs::read_to_string(page.path("order.json")).unwrap();
    let order: Value = serde_json::from_str(&order).unwrap();
    let block = page.block("", "\"max_units\": 500");
    let shown: Value = serde_json::from_str(&block).unwrap();
    let fields = |of: &Value| -> Vec<String> { of.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(fields(&order), fields(&shown));
    assert!(enforcer.stop().success());
    slurm(page, &site);
}

/// Stops the daemons of a folder when dropped, also when a test fails before the page has them stopped.
struct Daemons(tempfile::TempDir);

impl Drop for Daemons {
    fn drop(&mut self) {
        let mut stop = Command::new(root().join("scripts/slurm-sandbox.sh"));
        finish(stop.arg("stop").arg(self.0.path()), "", PATIENCE);
    }
}

fn slurm(page: &mut Typed, site: &Site) {
    page.makes(
        "scripts/install-slurm.sh",
        "slurm",
        &["scripts/install-slurm.sh"],
    );
    page.lend("scripts");
    // Not below the page's own folder, which only its owner may enter: munge is another user.
    let daemons = Daemons(tempfile::tempdir().unwrap());
    page.put("/tmp/sandbox", daemons.0.path().display());
    let _ = page
        .types("scripts/slurm-sandbox.sh start")
        .with(&["export SLURM_CONF="]);
    let _ = page
        .types_all("export SLURM_CONF", "sbatch")
        .with(&["Submitted batch job"]);
    page.set("SLURM_CONF", daemons.0.path().join("slurm.conf").display());
    page.put(
        "slurm …",
        "slurm --scheduler slurm-east --state slurm --every 1",
    );
    let enforcer = page.starts("plumbline enforce slurm", "");
    enforced(site, "slurm-7b", "slurm-east");
    assert!(enforcer.stop().success());
    let _ = page.types("scripts/slurm-sandbox.sh stop");
}

pub(super) fn governance(page: &mut Typed) {
    let site = Site::with(&["--grants-vote"]);
    let _ = site.run("sleeper");
    let _ = site.person("ada");
    let scopes = ["read", "trade", "govern"];
    let ada = sign_in(&site.server.http(), "ada", PASSWORD, &scopes);
    ada.post("/api/v1/stakes", &json!({"stake_micro": 400 * CREDIT}));
    page.at(&site, &ada);
    let _ = page.types("echo").with(&["Slow the sleeper"]);
    let proposal = site.operator.get("/api/v1/proposals")["items"][0].clone();
    assert_eq!(proposal["state"], "voting", "{proposal}");
    page.put("ID", text(&proposal["id"]));
    let _ = page.types("plumbline proposal vote").with(&["for 400"]);
    let _ = page
        .types("plumbline treasury show")
        .with(&["credits earned today"]);
    // The first period ends with the first day on which anything was earned.
    let _ = page
        .is_refused("plumbline treasury statement")
        .with(&["period", "1"]);
    let _ = page.types("plumbline treasury shares").with(&["nothing"]);
    let _ = page
        .types("plumbline treasury claim")
        .with(&["nothing to claim"]);
}

pub(super) fn policy(page: &mut Typed) {
    page.lend("governance");
    page.types("plumbline policy check governance").as_shown();
    let own = fs::read_to_string(root().join("governance/policies/default.toml")).unwrap();
    page.write("mine.toml", own.replace("upper > trip", "uper > trip"));
    page.is_refused("plumbline policy check mine.toml")
        .as_shown();
    // The document that the page shows as an example is one.
    page.write("careful.toml", page.block("toml", "name = \"careful\""));
    let mut check = page.typed("plumbline policy check careful.toml");
    let checked = finish(&mut check, "", PATIENCE);
    assert!(checked.stdout.contains("careful version 1"), "{checked:?}");
}

pub(super) fn scheduler(page: &mut Typed) {
    let site = Site::new();
    page.at(&site, &scheduler_at(&site));
    let _ = page
        .types("curl -s -X POST $U/runs -H")
        .with(&["\"name\":\"slurm-7b\""]);
    page.set("VERSION", 0);
    let _ = page
        .types("curl -s \"$U/allocations?since=")
        .with(&["\"items\":[", "slurm-7b"]);
    let item = decision(&site, "slurm-7b");
    let decided = &item["decision"];
    page.set("ID", text(&decided["decision_id"]));
    for (field, value) in [
        ("observed_generation", "generation"),
        ("actual_bps", "share_bps"),
    ] {
        let shown = match field {
            "actual_bps" => 5_000,
            _ => 2,
        };
        let name = format!("{field}\\\":{shown}");
        page.put(&name, format!("{field}\\\":{}", whole(&decided[value])));
    }
    let said = page.types("for phase in").with(&["received", "released"]);
    assert!(!said.stdout.contains("\"code\":"), "{said:?}");
    page.put("<64 hex digits>", "0f".repeat(32));
    let _ = page
        .types("curl -s -X POST $U/runs/slurm-7b")
        .with(&["0f0f0f0f", "5000000"]);
}
