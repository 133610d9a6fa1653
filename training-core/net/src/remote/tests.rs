//! Nodes and a coordinator over real sockets on loopback.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plumbline_training_core::codec::{Scheme, SparseOptions};
use plumbline_training_core::schedule::LrSchedule;
use plumbline_training_core::verify::VerifyRules;
use plumbline_training_model::{DeviceName, ModelConfig};

use super::*;
use crate::corpus::SourceSpec;
use crate::host::{Host, HostOptions};
use crate::run::{NodeStatus, OutsideRules, RunSpec, RunStatus};

pub(super) const RUN: &str = "run";

pub(super) fn spec(folder: &Path, nodes: usize) -> RunSpec {
    let text = folder.join("text.txt");
    let line = |n: usize| format!("fn add_{}(a: u32) -> u32 {{ a + {} }}\n", n % 17, n % 5);
    if !text.exists() {
        std::fs::write(&text, (0..2_000).map(line).collect::<String>()).unwrap();
    }
    RunSpec {
        model: ModelConfig {
            vocabulary: 300,
            width: 32,
            layers: 1,
            heads: 2,
            hidden: 64,
            sequence: 16,
            ..ModelConfig::default()
        },
        nodes,
        inner_steps: 4,
        batch: 4,
        schedule: LrSchedule::flat(1e-2, 0),
        scheme: Scheme::SparseLoCo(SparseOptions::over(1_000_000)),
        outside: Some(OutsideRules {
            stall_ms: 3_000,
            ..OutsideRules::default()
        }),
        sources: vec![SourceSpec::path("text", text)],
        checkpoint_every: 1,
        ..RunSpec::new(RUN, RUN, 1)
    }
}

pub(super) fn host(folder: &Path, address: SocketAddr) -> Host {
    let data_dir = folder.join("data");
    let host = Host::start(HostOptions {
        data_dir,
        cores: 2,
        ..HostOptions::default()
    })
    .unwrap();
    let options = ListenOptions {
        address,
        relay: None,
    };
    host.listen(&options).unwrap();
    host
}

pub(super) fn wait_for<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "{what} took too long"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn ticket(host: &Host) -> Ticket {
    let text = wait_for("the ticket", || host.ticket(RUN).ok());
    text.parse().unwrap()
}

pub(super) fn options(folder: &Path, ticket: &Ticket) -> MemberOptions {
    std::fs::create_dir_all(folder).unwrap();
    MemberOptions {
        ticket: ticket.clone(),
        key: identity(&folder.join("node.key")).unwrap(),
        listen: ListenOptions::default(),
        folder: folder.to_owned(),
        connect: Duration::from_secs(10),
        patience: Duration::from_secs(60),
        max_share_bps: 10_000,
    }
}

fn join(folder: &Path, ticket: &Ticket) -> Worker {
    Worker::start(options(folder, ticket), None, DeviceName::Cpu).unwrap()
}

pub(super) fn loopback() -> SocketAddr {
    ListenOptions::default().address
}

/// Waits for a round that counted exactly these, newer than `after`; gives its number.
fn round_with(host: &Host, after: u64, nodes: &[&str]) -> u64 {
    let mut wanted: Vec<&str> = nodes.to_vec();
    wanted.sort_unstable();
    wait_for("a round with these nodes", || {
        let points = host.history_after(RUN, after, 1_000).unwrap();
        let found = points.iter().find(|point| {
            let counted: Vec<&str> = point.node_losses.iter().map(|(n, _)| n.as_str()).collect();
            counted == wanted
        });
        found.map(|point| point.round)
    })
}

#[test]
fn nodes_join_train_leave_and_come_back_as_themselves() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = |name: &str| -> PathBuf { scratch.path().join(name) };
    let host = host(scratch.path(), loopback());
    let mut spec = spec(scratch.path(), 0);
    spec.verify = Some(VerifyRules {
        audit_bps: 3_000,
        ..VerifyRules::default()
    });
    host.start_run(spec).unwrap();
    let ticket = ticket(&host);
    let first = join(&folder("a"), &ticket);
    let second = join(&folder("b"), &ticket);
    let third = join(&folder("c"), &ticket);
    let names = [&first, &second, &third].map(|worker| worker.id().to_string());
    let all = names.each_ref().map(String::as_str);
    let round = round_with(&host, 0, &all);
    // One says goodbye, the others go on; back on its folder it is the same node.
    third.leave();
    third.finish().unwrap();
    let stats = host.stats(RUN).unwrap();
    let status = |name: &str| {
        let stats = host.stats(RUN).unwrap();
        let node = stats.nodes.iter().find(|node| node.id.as_str() == name);
        node.map(|node| node.status)
    };
    wait_for("the goodbye", || {
        (status(&names[2]) == Some(NodeStatus::Left)).then_some(())
    });
    let round = round_with(&host, round.max(stats.round), &all[..2]);
    let third = join(&folder("c"), &ticket);
    assert_eq!(third.id().as_str(), names[2]);
    round_with(&host, round, &all);
    wait_for("audits", || {
        (host.stats(RUN).unwrap().audits > 2).then_some(())
    });
    let stats = host.stats(RUN).unwrap();
    assert!(stats.bans.is_empty(), "{:?}", stats.bans);
    assert!(stats.bytes_every_step > 20 * stats.bytes_sent);
    let (rounds, rebuilt) = (first.meter().rounds(), first.meter().rebuilt());
    assert!(
        2 * rebuilt > rounds,
        "{rebuilt} of {rounds} rounds without fetching parameters"
    );
    // The run ends here, and so for its nodes.
    host.stop(RUN).unwrap();
    for worker in [first, second, third] {
        worker.finish().unwrap();
    }
    assert_eq!(host.stats(RUN).unwrap().status, RunStatus::Stopped);
}

#[test]
fn a_coordinator_that_is_back_goes_on_with_its_nodes() {
    let scratch = tempfile::tempdir().unwrap();
    let spec = spec(scratch.path(), 0);
    let before = host(scratch.path(), loopback());
    before.start_run(spec.clone()).unwrap();
    let place = ticket(&before);
    let worker = join(&scratch.path().join("a"), &place);
    let name = worker.id().to_string();
    let round = round_with(&before, 2, &[&name]);
    // The socket is gone without a word, as in a crash, and then the rest.
    let address = place.addresses[0];
    before.vanish();
    before.stop(RUN).unwrap();
    let saved = before.stats(RUN).unwrap().round;
    drop(before);
    let after = wait_for("the address", || {
        let data_dir = scratch.path().join("data");
        let host = Host::start(HostOptions {
            data_dir,
            cores: 2,
            ..HostOptions::default()
        })
        .unwrap();
        let relay = None;
        let listening = host.listen(&ListenOptions { address, relay });
        listening.is_ok().then_some(host)
    });
    after.start_run(spec).unwrap();
    assert_eq!(ticket(&after), place, "the ticket holds after a restart");
    let next = round_with(&after, saved, &[&name]);
    assert!(
        round <= saved && next == saved + 1,
        "{round} {saved} {next}"
    );
    assert!(worker.is_alive());
    worker.leave();
    worker.finish().unwrap();
}

#[test]
fn whoever_cannot_join_is_told_why() {
    let scratch = tempfile::tempdir().unwrap();
    let host = host(scratch.path(), loopback());
    let mut spec = spec(scratch.path(), 1);
    let admitted = scratch.path().join("admitted");
    let key = identity(&admitted.join("node.key")).unwrap();
    spec.outside = Some(OutsideRules {
        admit: vec![Digest(*key.public().as_bytes())],
        ..OutsideRules::default()
    });
    spec.verify = Some(VerifyRules::default());
    host.start_run(spec).unwrap();
    let ticket = ticket(&host);
    let refused = |options: MemberOptions, data: Option<&Path>| -> String {
        match Worker::start(options, data, DeviceName::Cpu) {
            Ok(_) => "joined".into(),
            Err(error) => error.to_string(),
        }
    };
    let stranger = options(&scratch.path().join("stranger"), &ticket);
    assert!(refused(stranger, None).contains("not-admitted"));
    let mut guess = options(&admitted, &ticket);
    guess.ticket.secret = [0; 16];
    assert!(refused(guess, None).contains("not-admitted"));
    let mut lost = options(&admitted, &ticket);
    lost.ticket.run = "another".into();
    assert!(refused(lost, None).contains("wrong-run"));
    let mut nowhere = options(&admitted, &ticket);
    nowhere.ticket.addresses = vec!["127.0.0.1:9".parse().unwrap()];
    nowhere.connect = Duration::from_secs(1);
    let words = refused(nowhere, None);
    assert!(words.contains("cannot reach the coordinator") && words.contains("127.0.0.1:9"));
    let own = scratch.path().join("text.txt");
    assert!(refused(options(&admitted, &ticket), Some(&own)).contains("its own data"));
    // Bad data of the node's own is named before it takes part.
    host.stop(RUN).unwrap();
}

#[test]
fn own_data_is_trained_on_or_named() {
    let scratch = tempfile::tempdir().unwrap();
    let host = host(scratch.path(), loopback());
    host.start_run(spec(scratch.path(), 0)).unwrap();
    let ticket = ticket(&host);
    let home = scratch.path().join("a");
    let tiny = scratch.path().join("tiny.txt");
    std::fs::write(&tiny, "ten bytes!").unwrap();
    let junk = scratch.path().join("junk.bin");
    std::fs::write(&junk, [0xff_u8, 0xfe, 0x00, 0x80].repeat(1_000)).unwrap();
    for (data, words) in [(&tiny, "\"data\" holds"), (&junk, "junk.bin")] {
        let failed = Worker::start(options(&home, &ticket), Some(data), DeviceName::Cpu);
        let error = failed.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    let own = scratch.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("a.txt"), "let it = be; ".repeat(2_000)).unwrap();
    let worker = Worker::start(options(&home, &ticket), Some(&own), DeviceName::Cpu).unwrap();
    round_with(&host, 3, &[worker.id().as_str()]);
    host.stop(RUN).unwrap();
    worker.finish().unwrap();
}
