//! The API as strangers read it: schemathesis makes requests from the OpenAPI document, sensible ones and others, and
//! holds every answer to what the document promises.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use plumbline_tests::program::root;
use plumbline_tests::python::{python_with, run_python};
use plumbline_tests::{Http, Site};
use serde_json::json;

/// Pinned, because a newer version may look for more.
const PACKAGE: &str = "schemathesis==4.32.5";
/// Seconds for each kind of caller.
const SECONDS: &str = "40";

/// Sends what schemathesis thinks of in the name of `caller`.
fn probe(python: &Path, site: &Site, caller: &Http, folder: &Path) {
    let authorization = format!("Authorization: Bearer {}", caller.token().unwrap());
    let document = format!("{}/api/openapi.json", site.server.url());
    let config = root().join("tests/schemathesis/schemathesis.toml");
    let said = run_python(
        Command::new(python)
            .current_dir(folder)
            .args(["-m", "schemathesis.cli", "--no-color"])
            .arg("--config-file")
            .arg(config)
            .args(["run", &document, "--header", &authorization])
            .args(["--phases", "examples,coverage,fuzzing"])
            .args(["--max-examples", "8", "--max-time", SECONDS])
            .args(["--generation-deterministic", "--no-shrink"])
            // A stream has no end to wait for; its own tests read it.
            .args(["--exclude-path-regex", "/events$|/allocations/stream$"])
            .args(["--continue-on-failure", "--warnings", "off"]),
    );
    assert!(said.contains("Tested: "), "nothing was tested:\n{said}");
}

#[test]
fn answers_are_as_documented_whatever_is_asked() {
    let python = python_with("schemathesis", "schemathesis", PACKAGE);
    let site = Site::new();
    let ada = site.person("ada");
    // Something to find.
    let run = site.run("outside");
    let market = site.market(&run, Duration::from_secs(3600));
    let order = json!({"outcome": "yes", "spend_micro": 1_000_000});
    ada.post(&format!("/api/v1/markets/{market}/trades"), &order);
    let document = format!("{}/api/openapi.json", site.server.url());
    let examples = root().join("tests/schemathesis/examples.py");
    let said = run_python(Command::new(&python).arg(examples).arg(document));
    assert!(said.contains("examples fit"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    for caller in [&ada, &site.operator] {
        probe(&python, &site, caller, folder.path());
        assert!(caller.get("/api/v1/me")["handle"].is_string());
    }
    assert_eq!(site.ledger()["sum_micro"], 0);
}
