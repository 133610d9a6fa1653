#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plumbline_training_core::schedule::LrSchedule;
use plumbline_training_model::{ModelConfig, Sampling};

use super::*;
use crate::corpus::SourceSpec;
use crate::run::RunStatus;

/// A tiny model on a text file.
fn spec(folder: &Path, id: &str) -> RunSpec {
    let text = folder.join("text.txt");
    if !text.exists() {
        fs::write(
            &text,
            "fn add(a: u32, b: u32) -> u32 { a + b }\n".repeat(400),
        )
        .unwrap();
    }
    RunSpec {
        model: ModelConfig {
            vocabulary: 300,
            width: 16,
            layers: 1,
            heads: 2,
            hidden: 32,
            sequence: 16,
            ..ModelConfig::default()
        },
        inner_steps: 4,
        batch: 4,
        schedule: LrSchedule::flat(1e-2, 0),
        sources: vec![SourceSpec::path("text", text)],
        checkpoint_every: 0,
        ..RunSpec::new(id, id, 1)
    }
}

fn host(folder: &Path) -> Host {
    let data_dir = folder.join("data");
    Host::start(HostOptions {
        data_dir,
        cores: 2,
        ..HostOptions::default()
    })
    .unwrap()
}

fn wait_for(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60), "timed out");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn rounds(host: &Host, run: &str) -> u64 {
    host.stats(run).unwrap().round
}

#[test]
fn two_runs_train_checkpoint_generate_and_share_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path());
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    host.subscribe(move |event| {
        if matches!(event, RunEvent::RoundClosed { .. }) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for id in ["one", "two"] {
        let mut spec = spec(folder.path(), id);
        spec.share_bps = 5_000;
        host.start_run(spec).unwrap();
    }
    let again = host.start_run(spec(folder.path(), "one"));
    assert!(matches!(again, Err(HostError::AlreadyRunning(_))));
    wait_for(|| rounds(&host, "one") >= 20 && rounds(&host, "two") >= 20);
    let stats = host.stats("one").unwrap();
    assert_eq!(stats.status, RunStatus::Training);
    assert!(
        stats.loss_last.unwrap() < stats.loss_first.unwrap() - 1.0,
        "{stats:?}"
    );
    assert!(stats.tokens_per_second > 0.0 && stats.tokens >= 20 * 2 * 4 * 64);
    assert_eq!(stats.nodes.len(), 2);
    assert!(heard.load(Ordering::SeqCst) >= 40);

    let frozen = host.checkpoint_now("one").unwrap();
    assert!(frozen.pinned && frozen.path.exists());
    let sampling = Sampling {
        max_tokens: 8,
        ..Sampling::default()
    };
    let kept = host.generator_for_checkpoint(&frozen.id).unwrap();
    let text = kept.complete("fn add(", &sampling).unwrap().text;
    wait_for(|| rounds(&host, "one") > frozen.round + 2);
    let same = host.generator_for_checkpoint(&frozen.id).unwrap();
    assert_eq!(same.complete("fn add(", &sampling).unwrap().text, text);
    assert!(Arc::ptr_eq(&kept, &same));
    host.generator("two")
        .unwrap()
        .complete("fn", &sampling)
        .unwrap();

    // Freed compute is used: pausing one run lets the other have it all.
    host.pause("one").unwrap();
    host.set_share_bps("two", 10_000).unwrap();
    wait_for(|| host.stats("one").unwrap().status == RunStatus::Paused);
    std::thread::sleep(Duration::from_millis(200));
    let (still, moving) = (rounds(&host, "one"), rounds(&host, "two"));
    wait_for(|| rounds(&host, "two") > moving + 5);
    assert_eq!(rounds(&host, "one"), still);
    host.resume("one").unwrap();
    wait_for(|| rounds(&host, "one") > still);
    let missing = host.stats("three");
    assert!(matches!(missing, Err(HostError::UnknownRun(_))));
}

#[test]
fn a_restarted_host_goes_on_exactly_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let limited = |rounds: u64, id: &str| RunSpec {
        max_tokens: Some(rounds * 2 * 4 * 64),
        ..spec(folder.path(), id)
    };
    let over = |host: &Host, run: &str| host.stats(run).unwrap().status.is_over();
    let finish = |rounds: u64, id: &str| {
        let host = host(folder.path());
        host.start_run(limited(rounds, id)).unwrap();
        wait_for(|| over(&host, id));
        host.stop(id).unwrap();
        let run = host.run(id).unwrap();
        let snapshot = run.board.lock().snapshot.clone().unwrap();
        (snapshot, host.history(id).unwrap())
    };
    let (straight, _) = finish(6, "straight");
    let (middle, _) = finish(3, "resumed");
    assert_eq!(middle.rounds, 3);
    let (resumed, history) = finish(6, "resumed");
    assert_eq!(resumed.rounds, 6);
    assert_eq!(straight.parameters, resumed.parameters);
    assert_eq!(straight.velocity, resumed.velocity);
    assert_eq!(straight.origin.cursor, resumed.origin.cursor);
    assert_eq!(straight.origin.tokens, resumed.origin.tokens);
    assert_eq!(straight.states, resumed.states);
    let numbers: Vec<u64> = history.iter().map(|point| point.round).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    let stored = host(folder.path()).stored_runs().unwrap();
    assert_eq!(stored.len(), 2);
}

#[test]
fn runs_survive_a_node_and_take_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path());
    host.start_run(spec(folder.path(), "run")).unwrap();
    wait_for(|| rounds(&host, "run") >= 6);
    host.kill_node("run", "node-1").unwrap();
    assert!(matches!(
        host.kill_node("run", "node-1"),
        Err(HostError::UnknownNode(..))
    ));
    // Two deadlines of at least five seconds pass before it counts as dead.
    let dead = |host: &Host| {
        let stats = host.stats("run").unwrap();
        stats
            .nodes
            .iter()
            .any(|n| n.status == crate::run::NodeStatus::Dead)
    };
    wait_for(|| dead(&host));
    let added = host.add_node("run").unwrap();
    assert_eq!(added.as_str(), "node-3");
    let counted = |host: &Host| {
        let stats = host.stats("run").unwrap();
        stats.nodes.iter().any(|n| n.id == added && n.rounds >= 2)
    };
    wait_for(|| counted(&host));
}

#[test]
fn bad_starts_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path());
    let refuse = |spec: RunSpec, want: &str| {
        let error = host.start_run(spec).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let good = spec(folder.path(), "run");
    refuse(
        RunSpec {
            nodes: 0,
            ..good.clone()
        },
        "nodes is 0",
    );
    let missing = vec![SourceSpec::path("x", folder.path().join("nowhere"))];
    refuse(
        RunSpec {
            sources: missing,
            ..good.clone()
        },
        "nowhere",
    );
    let early = host.generator("run");
    assert!(matches!(early, Err(HostError::UnknownRun(_))));
    host.start_run(good.clone()).unwrap();
    wait_for(|| rounds(&host, "run") >= 2);
    host.stop("run").unwrap();
    assert_eq!(host.stats("run").unwrap().status, RunStatus::Stopped);
    refuse(
        RunSpec {
            seed: 2,
            ..good.clone()
        },
        "another seed",
    );
    let newest = host.checkpoints("run").unwrap().pop().unwrap();
    let mut bytes = fs::read(&newest.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest.path, bytes).unwrap();
    refuse(good, &format!("{}.ckpt is corrupt", newest.id));
}
