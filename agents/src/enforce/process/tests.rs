#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};

use super::super::fixtures::bps;
use super::*;
use plumbline_governance::Workload;
use plumbline_governance::decision::TargetKind;

/// A shell with busy children; all gone when dropped, stopped ones too.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let script = "while :; do :; done & while :; do :; done & wait";
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .spawn();
        let busy = Self(child.unwrap());
        while tree::descendants(busy.pid()).len() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        busy
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// Cores used over half a second.
    fn cores(&self) -> f64 {
        let used = || {
            tree::cpu_ms(&tree::descendants(self.pid()))
                .values()
                .sum::<u64>()
        };
        let (before, began) = (used(), Instant::now());
        std::thread::sleep(Duration::from_millis(700));
        (used() - before) as f64 / 1000.0 / began.elapsed().as_secs_f64()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        tree::signal(
            &tree::descendants(self.pid()),
            rustix::process::Signal::KILL,
        );
        self.0.wait().unwrap();
    }
}

/// A run of its own: tests beside these have groups of their own runs.
fn run_id() -> Uuid {
    Uuid::from_u128(2)
}

fn order(action: Action, share: u16) -> Order {
    Order {
        target: DecisionTarget {
            kind: TargetKind::Run,
            uid: run_id(),
            workload: Workload::Training,
        },
        target_name: "busy".into(),
        decision_id: Uuid::from_u128(u128::from(share)),
        generation: 1,
        action,
        share_bps: bps(share),
        max_units: None,
        admit_new: true,
        inference: None,
        checkpoint_first: false,
        grace_s: 0,
        expired: false,
    }
}

fn enforcer(method: Method, selector: Selector) -> ProcessEnforcer {
    let options = ProcessOptions {
        cores: 2.0,
        method,
        checkpoint: Some("USR1".parse().unwrap()),
    };
    ProcessEnforcer::new(options, BTreeMap::from([(run_id(), selector)]))
}

async fn holds_to_its_share(method: Method) {
    let busy = Busy::start();
    let selector: Selector = format!("pid:{}", busy.pid()).parse().unwrap();
    let mut enforcer = enforcer(method, selector);
    let applied = enforcer
        .apply(&order(Action::Throttle, 1_500))
        .await
        .unwrap();
    assert!(
        (1_400..=1_500).contains(&applied.actual_bps.get()),
        "{applied:?}"
    );
    let used = busy.cores();
    assert!(
        (0.02..0.45).contains(&used),
        "0.3 cores allowed, {used} used ({applied:?})"
    );

    // A pause keeps the processes, and uses nothing.
    let mut applied = enforcer.apply(&order(Action::Pause, 0)).await.unwrap();
    for _ in 0..50 {
        if applied.actual_bps == Bps::ZERO {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        applied = enforcer.apply(&order(Action::Pause, 0)).await.unwrap();
    }
    assert_eq!(applied.actual_bps, Bps::ZERO);
    assert!(busy.cores() < 0.02);
    assert_eq!(tree::descendants(busy.pid()).len(), 3);

    enforcer.apply(&order(Action::Allow, 10_000)).await.unwrap();
    assert!(busy.cores() > 0.1, "it goes on after the pause");

    let applied = enforcer.apply(&order(Action::Terminate, 0)).await.unwrap();
    for _ in 0..100 {
        if tree::process(busy.pid()).is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = enforcer.apply(&order(Action::Terminate, 0)).await.unwrap();
    assert_eq!(
        (after.actual_bps, after.method.as_str()),
        (Bps::ZERO, "no process"),
        "{applied:?}"
    );
}

#[tokio::test]
async fn signals_hold_a_tree_of_processes_to_its_share() {
    holds_to_its_share(Method::Signal).await;
}

#[tokio::test]
async fn whatever_this_machine_has_holds_a_tree_of_processes_to_its_share() {
    holds_to_its_share(Method::Auto).await;
}

#[tokio::test]
async fn a_checkpoint_is_asked_for_once_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    let script = format!(
        "trap 'echo saved >> {}' USR1; while :; do sleep 0.02; done",
        saved.display()
    );
    let child = Command::new("/bin/sh").args(["-c", &script]).spawn();
    let shell = Busy(child.unwrap());
    let pid = shell.pid();
    // The shell must have set its trap before it is told.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pidfile = folder.path().join("pid");
    std::fs::write(&pidfile, format!("{pid}\n")).unwrap();
    let mut enforcer = enforcer(Method::Signal, Selector::PidFile(pidfile.clone()));
    enforcer.apply(&order(Action::Allow, 10_000)).await.unwrap();
    let pause = Order {
        checkpoint_first: true,
        grace_s: 1,
        ..order(Action::Pause, 0)
    };
    let first = enforcer.apply(&pause).await.unwrap();
    assert_eq!(first.actual_bps.get(), 10_000, "it still runs: {first:?}");
    let mut last = first;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = enforcer.apply(&pause).await.unwrap();
        if last.actual_bps == Bps::ZERO {
            break;
        }
    }
    assert_eq!(last.actual_bps, Bps::ZERO);
    assert_eq!(std::fs::read_to_string(&saved).unwrap(), "saved\n");
    // The file is read each time: no process, nothing in use.
    std::fs::remove_file(&pidfile).unwrap();
    assert_eq!(enforcer.apply(&pause).await.unwrap().method, "no process");
    std::fs::write(&pidfile, "many").unwrap();
    assert!(
        enforcer
            .apply(&pause)
            .await
            .unwrap_err()
            .0
            .contains("no process number")
    );
}

#[test]
fn selectors_are_read_or_refused_by_what_is_wrong() {
    for (text, expected) in [
        ("pid:x", "no process number"),
        ("pid:2147483646", "no process 2147483646"),
        ("name:train", "none of pid:N"),
        ("cgroup:", "none of"),
    ] {
        assert!(
            text.parse::<Selector>().unwrap_err().contains(expected),
            "{text}"
        );
    }
    assert_eq!(
        "pidfile:/x".parse::<Selector>().unwrap(),
        Selector::PidFile("/x".into())
    );
    assert!("SIGUSR1".parse::<Signal>().is_ok() && "KILL".parse::<Signal>().is_err());
    let other_start = Selector::Pid {
        pid: i32::try_from(std::process::id()).unwrap(),
        started: 1,
    };
    let mut enforcer = enforcer(Method::Signal, other_start);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let applied = runtime
        .block_on(enforcer.apply(&order(Action::Pause, 0)))
        .unwrap();
    assert_eq!(
        applied.method, "no process",
        "a number that was given again is another process"
    );
}
