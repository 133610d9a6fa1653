//! `plumbline train`: a whole job by the real binary, killed on the way.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plumbline_tests::HeavyLock;
use plumbline_tests::program::{binary, root, run};
use plumbline_tests::python::{python_with, run_python};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(240);

fn write_text(folder: &Path) -> String {
    let text = folder.join("text.txt");
    let line = |n: usize| {
        format!(
            "fn add_{}(a: u32, b: u32) -> u32 {{ a + b + {} }}\n",
            n % 17,
            n % 5
        )
    };
    std::fs::write(&text, (0..4_000).map(line).collect::<String>()).unwrap();
    text.to_str().unwrap().to_owned()
}

fn arguments<'a>(folder: &'a str, text: &'a str, tokens: &'a str) -> Vec<&'a str> {
    let shape = [
        "--width",
        "16",
        "--layers",
        "1",
        "--vocabulary",
        "300",
        "--batch",
        "4",
    ];
    let job = [
        "--nodes",
        "3",
        "--inner-steps",
        "5",
        "--scheme",
        "sparseloco",
        "--aggregator",
        "centered-clip",
        "--audit-bps",
        "1000",
        "--json",
    ];
    let head = [
        "train",
        "--data-dir",
        folder,
        "--text",
        text,
        "--tokens",
        tokens,
    ];
    [&head[..], &shape[..], &job[..]].concat()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn start(arguments: &[&str]) -> Child {
    Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The newest round in the job's history.
fn newest(folder: &Path) -> u64 {
    let history = folder.join("training/runs/job/history.jsonl");
    let text = std::fs::read_to_string(history).unwrap_or_default();
    let last = text
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<Value>(line).ok());
    last.and_then(|point| point["round"].as_u64()).unwrap_or(0)
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LIMIT, "{what} took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_job_survives_being_killed_and_ends_with_a_checkpoint() {
    let _alone = HeavyLock::take();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("data");
    let (text, data) = (
        write_text(scratch.path()),
        folder.to_str().unwrap().to_owned(),
    );
    // 3 nodes × 5 steps × 4 rows × 96 positions: 5,760 tokens a round.
    let arguments = arguments(&data, &text, "400000");
    let mut child = start(&arguments);
    // A checkpoint is written every ten rounds; at most what came after is lost.
    wait_for("the first rounds", || newest(&folder) >= 13);
    child.kill().unwrap();
    child.wait().unwrap();
    // Told to stop in the middle, it saves what it has and says so.
    let mut child = start(&arguments);
    wait_for("rounds after the kill", || newest(&folder) >= 20);
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
    let saved = newest(&folder);
    let finished = run(&arguments, LIMIT);
    assert!(finished.status.success(), "{}", finished.stderr);
    let lines = lines(&finished.stdout);
    let (end, rounds) = lines.split_last().unwrap();
    assert_eq!(end["status"], "finished");
    // Nothing that SIGTERM saved is trained again; all rounds are told from the first.
    let numbers: Vec<u64> = rounds
        .iter()
        .map(|line| line["round"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() as u64 > saved && end["tokens"].as_u64().unwrap() >= 400_000);
    assert!(end["loss_last"].as_f64().unwrap() < 0.8 * end["loss_first"].as_f64().unwrap());
    assert!(end["bytes_every_step"].as_u64().unwrap() > 100 * end["bytes_sent"].as_u64().unwrap());
    assert_eq!(end["bans"].as_array().unwrap().len(), 0);
    assert!(end["audits"].as_u64().unwrap() > 0, "{end}");
    assert!(Path::new(end["checkpoint"].as_str().unwrap()).exists());
    // Done is done.
    let again = run(&arguments, LIMIT);
    assert!(again.status.success(), "{}", again.stderr);
}

/// What is exported gives the same answers in another program, and another run begins with it.
#[test]
fn an_exported_model_answers_alike_elsewhere() {
    let _alone = HeavyLock::take();
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (text, data, out) = (write_text(scratch.path()), path("data"), path("model"));
    let trained = run(&arguments(&data, &text, "60000"), LIMIT);
    assert!(trained.status.success(), "{}", trained.stderr);
    let end = lines(&trained.stdout).pop().unwrap();
    let checkpoint = end["checkpoint"].as_str().unwrap();
    let weights = format!("{out}/model.safetensors");
    let probe = "fn add_3(a: u32";
    let export = [
        "train", "export", checkpoint, "--out", &weights, "--probe", probe,
    ];
    let exported = run(&export, LIMIT);
    assert!(exported.status.success(), "{}", exported.stderr);
    let program = root().join("tests/src/forward.py");
    let python = python_with(
        "python-safetensors",
        "safetensors.numpy",
        "safetensors==0.6.2 numpy==2.3.3",
    );
    let said = run_python(Command::new(python).arg(program).arg(&out));
    let difference: f64 = said.trim().parse().unwrap();
    assert!(difference < 1e-3, "the logits differ by {difference}");

    let (more, from) = (path("more"), weights.as_str());
    let job = "--nodes 1 --inner-steps 5 --batch 4 --learning-rate 0.0001 --tokens 4000 --json";
    let head = [
        "train",
        "--data-dir",
        &more,
        "--text",
        &text,
        "--from",
        from,
    ];
    let again = run(
        &[&head[..], &job.split(' ').collect::<Vec<_>>()].concat(),
        LIMIT,
    );
    assert!(again.status.success(), "{}", again.stderr);
    let first = lines(&again.stdout).pop().unwrap()["loss_first"]
        .as_f64()
        .unwrap();
    let last = end["loss_last"].as_f64().unwrap();
    assert!(first < last + 0.3, "{first} does not go on from {last}");
}

#[test]
fn bad_input_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let data = data.to_str().unwrap();
    let tiny = scratch.path().join("tiny.txt");
    std::fs::write(&tiny, "ten bytes!").unwrap();
    let junk = scratch.path().join("junk.bin");
    std::fs::write(&junk, [0xff_u8, 0xfe, 0x00, 0x80].repeat(1_000)).unwrap();
    let missing = scratch.path().join("missing");
    for (text, words) in [
        (&tiny, "the source \"text\" holds"),
        (&junk, "junk.bin"),
        (&missing, "missing"),
    ] {
        let text = text.to_str().unwrap();
        let failed = run(&arguments(data, text, "10000"), LIMIT);
        assert!(!failed.status.success(), "{words}: {}", failed.stdout);
        let error = failed.stderr.lines().last().unwrap_or_default();
        let named = error.starts_with("plumbline: ") && error.contains(words);
        assert!(named, "{words:?} is not in {error:?}");
    }
    let text = write_text(scratch.path());
    let other = run(
        &[
            &arguments(data, &text, "10000")[..],
            &["--inner-steps", "0"],
        ]
        .concat(),
        LIMIT,
    );
    assert!(!other.status.success());
}
