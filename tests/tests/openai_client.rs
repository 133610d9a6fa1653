//! The official `openai` client for Python, unchanged, against the real gateway.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use plumbline_tests::Site;
use plumbline_tests::program::root;
use plumbline_tests::python::{openai_client, run_python};

#[test]
fn the_official_client_works_unchanged() {
    let python = openai_client();
    let mut site = Site::new();
    let _tiny = site.hosted_run("tiny");
    let ada = site.person("ada");
    let script = root().join("tests/openai/client.py");
    let said = run_python(Command::new(&python).arg(script).args([
        site.server.url(),
        ada.token().unwrap(),
        "tiny",
    ]));
    assert!(said.contains("all fine"), "{said}");
    let metrics = site.operator.send(&plumbline_tests::Call::get("/metrics"));
    assert!(metrics.text().contains("plumbline_completions_total"));
}
