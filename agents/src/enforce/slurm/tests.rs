#![allow(clippy::unwrap_used)]

use super::super::fixtures::{at, bps, decision};
use super::sandbox::Sandbox;
use super::*;
use plumbline_governance::Workload;
use plumbline_governance::decision::TargetKind;

const CHECKPOINTING: &str = "trap 'echo saved' USR1; while :; do sleep 0.1; done";

fn order(run: u128, action: Action, share: u16) -> Order {
    let (_, issued) = decision(run, action, share, None, at(0));
    Order {
        target: DecisionTarget {
            kind: TargetKind::Run,
            uid: Uuid::from_u128(run),
            workload: Workload::Training,
        },
        target_name: String::new(),
        decision_id: issued.decision_id,
        generation: 1,
        action,
        share_bps: bps(share),
        max_units: None,
        admit_new: matches!(action, Action::Allow | Action::Throttle),
        inference: None,
        checkpoint_first: true,
        grace_s: 1,
        expired: false,
    }
}

fn enforcer(sandbox: &Sandbox, resize: Resize) -> SlurmEnforcer {
    let options = SlurmOptions {
        partition: "main".into(),
        resize,
        checkpoint: Some("USR1".into()),
        conf: Some(sandbox.conf()),
        folder: sandbox.conf().parent().unwrap().to_owned(),
    };
    let runs =
        [(1, "run_a"), (2, "run_b")].map(|(run, name)| (Uuid::from_u128(run), name.to_owned()));
    SlurmEnforcer::new(options, runs.into()).unwrap()
}

/// Applies an order as a consumer does, until it is in force.
async fn enforce(enforcer: &mut SlurmEnforcer, sandbox: &Sandbox, order: &Order, nodes: u32) {
    let name = if order.target.uid == Uuid::from_u128(1) {
        "run_a"
    } else {
        "run_b"
    };
    for _ in 0..150 {
        let applied = enforcer.apply(order).await.unwrap();
        if applied.actual_bps <= order.share_bps && sandbox.nodes(name) == nodes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{name} should have {nodes} nodes:\n{}", sandbox.squeue());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_jobs_is_throttled_paused_and_its_nodes_go_to_the_other() {
    let sandbox = Sandbox::start();
    let job = sandbox.submit("run_a", 2, CHECKPOINTING);
    for _ in 0..4 {
        sandbox.submit("run_b", 1, CHECKPOINTING);
    }
    let mut slurm = enforcer(&sandbox, Resize::Live);
    enforce(&mut slurm, &sandbox, &order(1, Action::Allow, 5_000), 2).await;
    enforce(&mut slurm, &sandbox, &order(2, Action::Allow, 5_000), 2).await;

    // 40 % of four nodes is one: the job is asked to save its state, then shrinks and runs on.
    enforce(&mut slurm, &sandbox, &order(1, Action::Throttle, 4_000), 1).await;
    let saved = std::fs::read_to_string(sandbox.conf().with_file_name(format!("{job}.out")));
    assert_eq!(saved.unwrap().matches("saved").count(), 1);
    enforce(&mut slurm, &sandbox, &order(2, Action::Allow, 6_000), 2).await;

    // A pause frees its nodes; only then the other may have them.
    enforce(&mut slurm, &sandbox, &order(1, Action::Pause, 0), 0).await;
    enforce(&mut slurm, &sandbox, &order(2, Action::Allow, 10_000), 4).await;

    // Somebody releases the paused job by hand: the next look undoes it, and so does that of a new process.
    enforce(&mut slurm, &sandbox, &order(2, Action::Throttle, 5_000), 2).await;
    for restarted in [false, true] {
        sandbox.call("scontrol", &["release", &job]);
        sandbox.call(
            "scontrol",
            &["update", &format!("JobId={job}"), "StartTime=now"],
        );
        if restarted {
            slurm = enforcer(&sandbox, Resize::Live);
        }
        enforce(&mut slurm, &sandbox, &order(1, Action::Pause, 0), 0).await;
    }

    // The pause is over: it starts again, at the size that it was submitted with.
    enforce(&mut slurm, &sandbox, &order(1, Action::Allow, 5_000), 2).await;
    enforce(&mut slurm, &sandbox, &order(2, Action::Terminate, 0), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_shrink_starts_again_smaller_or_waits() {
    let sandbox = Sandbox::start();
    sandbox.submit("run_a", 3, CHECKPOINTING);
    sandbox.submit("run_b", 1, CHECKPOINTING);
    let mut waiting = enforcer(&sandbox, Resize::Never);
    enforce(
        &mut waiting,
        &sandbox,
        &order(1, Action::Throttle, 5_000),
        0,
    )
    .await;
    let mut restarting = enforcer(&sandbox, Resize::Restart);
    enforce(
        &mut restarting,
        &sandbox,
        &order(1, Action::Throttle, 5_000),
        2,
    )
    .await;
    assert!(
        sandbox.squeue().contains("run_b 2 RUNNING 1"),
        "{}",
        sandbox.squeue()
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let options = |partition: &str| SlurmOptions {
        partition: partition.into(),
        resize: Resize::Live,
        checkpoint: None,
        conf: Some(folder.path().join("none.conf")),
        folder: folder.path().to_owned(),
    };
    for name in ["", "-x", "a b", "a;b", "$(x)", "a,b"] {
        let runs = BTreeMap::from([(Uuid::from_u128(1), name.to_owned())]);
        assert!(
            SlurmEnforcer::new(options("main"), runs).is_err(),
            "{name:?}"
        );
    }
    let runs = BTreeMap::from([(Uuid::from_u128(1), "run_a".to_owned())]);
    let mut slurm = SlurmEnforcer::new(options("main"), runs).unwrap();
    let error = slurm.apply(&order(1, Action::Pause, 0)).await.unwrap_err();
    assert!(error.0.contains("sinfo"), "{error}");
    assert!(slurm.apply(&order(9, Action::Pause, 0)).await.is_err());
}
