//! A client that strangers generate from the OpenAPI document, used as they would.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use plumbline_tests::Site;
use plumbline_tests::program::root;
use plumbline_tests::python::{openapi_client, run_python};

#[test]
fn a_generated_python_client_works() {
    let python = openapi_client();
    let site = Site::new();
    let run = site.run("outside");
    let market = site.market(&run, Duration::from_secs(3600));
    let folder = tempfile::tempdir().unwrap();
    let files = root().join("tests/generated_client");
    let document = format!("{}/api/openapi.json", site.server.url());
    let said = run_python(
        Command::new(&python)
            .current_dir(folder.path())
            .args(["-m", "openapi_python_client", "generate", "--meta", "none"])
            .args(["--fail-on-warning", "--output-path", "plumbline_client"])
            .args(["--url", &document, "--config"])
            .arg(files.join("config.yml")),
    );
    assert!(!said.contains("WARNING"), "{said}");
    let said = run_python(
        Command::new(&python)
            .arg(files.join("use.py"))
            .arg(folder.path())
            .args([site.server.url(), &market]),
    );
    assert!(said.contains("all fine"), "{said}");
}
