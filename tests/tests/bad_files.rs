//! Files that are damaged and places that cannot be used: one line on standard
//! error that names the file and says what to do, and nothing is overwritten.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use plumbline_tests::fixture::text;
use plumbline_tests::program::run;
use plumbline_tests::{Call, Server, Site};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

/// One line on standard error that names the place and says what to do; exit code 1.
fn refused(args: &[&str], names: &[&str]) {
    let finished = run(args, Duration::from_secs(60));
    let shown = format!("{args:?}: {} {}", finished.status, finished.stderr);
    assert_eq!(finished.status.code(), Some(1), "{shown}");
    let lines: Vec<&str> = finished.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{shown}");
    assert!(
        lines[0].starts_with("plumbline: ") && !lines[0].contains("panicked"),
        "{shown}"
    );
    for name in names {
        assert!(lines[0].contains(name), "no {name}: {shown}");
    }
}

fn serve_refused(data_dir: &Path, names: &[&str]) {
    refused(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir.to_str().unwrap(),
        ],
        names,
    );
}

#[test]
fn places_that_cannot_be_used_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a-file"), "x").unwrap();
    serve_refused(&at("a-file"), &["a-file", "--data-dir"]);
    serve_refused(&at("a-file").join("below"), &["a-file", "--data-dir"]);
    fs::create_dir(at("garbage")).unwrap();
    fs::write(
        at("garbage/plumbline.db"),
        "this is no database\n".repeat(500),
    )
    .unwrap();
    serve_refused(&at("garbage"), &["plumbline.db", "not a database"]);
    fs::create_dir(at("key")).unwrap();
    fs::write(at("key/signing.key"), "not hex").unwrap();
    serve_refused(&at("key"), &["signing.key"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = at("free");
    refused(
        &[
            "serve",
            "--listen",
            &address,
            "--data-dir",
            free.to_str().unwrap(),
        ],
        &[&address, "--listen"],
    );
    let first = Server::serve(&at("shared"));
    serve_refused(&at("shared"), &["plumbline.db", "another process"]);
    assert!(first.stop().success());
    let missing = at("none.toml");
    let policy = missing.to_str().unwrap();
    refused(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            at("p").to_str().unwrap(),
            "--policy",
            policy,
        ],
        &["none.toml"],
    );
}

#[test]
fn a_database_that_was_damaged_is_refused_by_name() {
    let site = Site::new();
    let _ = site.market(&site.run("subject"), HOUR);
    let Site { folder, server, .. } = site;
    assert!(server.stop().success());
    let path = folder.path().join("plumbline.db");
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 8_192, "{}", bytes.len());
    // The first page holds the schema: without it nothing can be read.
    bytes[..4_096].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    serve_refused(folder.path(), &["plumbline.db"]);
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "what is left is left alone"
    );
}

#[test]
fn weights_that_were_damaged_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judge.weights");
    let shown = path.to_str().unwrap();
    refused(&["oracle", "weights", shown], &["judge.weights"]);
    for bytes in [Vec::new(), b"nonsense".to_vec(), vec![0xff; 100_000]] {
        fs::write(&path, bytes).unwrap();
        refused(&["oracle", "weights", shown], &["judge.weights"]);
    }
    assert!(
        run(&["oracle", "weights"], Duration::from_secs(60))
            .status
            .success(),
        "the built-in ones are whole"
    );
}

#[test]
fn a_checkpoint_that_was_damaged_is_named_and_never_served() {
    let mut site = Site::new();
    let run = site.hosted_run("tiny");
    let other = site.run("other");
    site.server.kill();
    let folder = site
        .folder
        .path()
        .join("training/runs")
        .join(&run)
        .join("checkpoints");
    let mut damaged = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if path.is_file() && bytes.len() > 1_000 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
            fs::write(&path, bytes).unwrap();
            damaged.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    assert!(
        !damaged.is_empty(),
        "no checkpoints in {}",
        folder.display()
    );
    site.start_again();
    let log = site.server.log();
    let line = log
        .lines()
        .find(|line| line.contains("corrupt"))
        .unwrap_or_else(|| panic!("nothing is said\n{log}"));
    assert!(
        damaged.iter().any(|name| line.contains(name.as_str())),
        "{line}"
    );
    let ask = json!({"model": "tiny", "prompt": "fn", "max_tokens": 2});
    let answer = site.operator.send(&Call::post("/v1/completions", &ask));
    assert!(matches!(answer.status, 404 | 503), "{}", answer.text());
    assert_eq!(
        text(&site.operator.get(&format!("/api/v1/runs/{other}"))["name"]),
        "other",
        "the rest goes on"
    );
}
