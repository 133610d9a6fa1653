//! The official `openai` client for Python, unchanged, against the real gateway.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use plumbline_tests::Site;
use plumbline_tests::program::root;

/// The client as it is published, in an environment of its own beside the build.
fn python() -> PathBuf {
    let folder = root().join("target").join("openai-client");
    let python = folder.join("bin").join("python");
    if !works(&python) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let install = ["-m", "pip", "install", "--quiet", "openai>=1.50,<3"];
        run(Command::new(&python).args(install));
    }
    python
}

fn works(python: &Path) -> bool {
    let tried = Command::new(python).args(["-c", "import openai"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Runs to its end; what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be started: {error}; this test needs python3 with venv, and pip's index")
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}\n{complaint}");
    said
}

#[test]
fn the_official_client_works_unchanged() {
    let python = python();
    let mut site = Site::new();
    let _tiny = site.hosted_run("tiny");
    let ada = site.person("ada");
    let script = root().join("tests/openai/client.py");
    let said = run(Command::new(&python).arg(script).args([
        site.server.url(),
        ada.token().unwrap(),
        "tiny",
    ]));
    assert!(said.contains("all fine"), "{said}");
    let metrics = site.operator.send(&plumbline_tests::Call::get("/metrics"));
    assert!(metrics.text().contains("plumbline_completions_total"));
}
