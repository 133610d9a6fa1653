//! What every enforcer does when contact is lost, as one table: each action, before its lease is to be refreshed,
//! after that, after it has expired, and when an older decision comes back.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plumbline_governance::Action;
use plumbline_governance::decision::AllocationDecision;
use plumbline_governance::dsse::Envelope;
use tokio::sync::watch;
use uuid::Uuid;

use super::fixtures::{Contact, at, decision, key};
use super::process::{Method, ProcessEnforcer, ProcessOptions};
use super::slurm::sandbox::Sandbox;
use super::{Enforcer, ExecEnforcer, Resize, SlurmEnforcer, SlurmOptions, TrustedKeys};

/// Share that a decision gives, share in force after its lease has expired, and whether its run lives on.
const TABLE: [(Action, u16, u16); 5] = [
    (Action::Allow, 7_500, 500),
    (Action::Throttle, 5_000, 500),
    (Action::Drain, 0, 0),
    (Action::Pause, 0, 0),
    (Action::Terminate, 0, 0),
];

/// Something real that an enforcer acts on.
trait Subject {
    type Enforcer: Enforcer + Sync + 'static;

    fn new(contact: &Contact) -> Self;
    fn enforcer(&self, contact: &Contact) -> Self::Enforcer;
    /// What is in force, where `share` of the pool is expected: true if it is.
    fn has(&self, share: u16) -> bool;
    /// Whether new work could start, if it can be told.
    fn admits(&self) -> Option<bool>;
    fn describe(&self) -> String;
}

fn sign(
    id: u128,
    action: Action,
    share: u16,
    before: Option<&AllocationDecision>,
    second: i64,
) -> (Envelope, AllocationDecision) {
    decision(id, action, share, before, at(second))
}

async fn table<S: Subject>() {
    for (action, share, floor) in TABLE {
        row::<S>(action, share, floor).await;
    }
}

async fn row<S: Subject>(action: Action, share: u16, floor: u16) {
    let contact = Contact::new().await;
    let subject = S::new(&contact);
    let (older, first) = sign(1, Action::Allow, 10_000, None, 0);
    contact.publish(1, &older);
    until::<S>(&contact, &subject, 10_000, Some(true), "at first").await;
    let (envelope, held) = sign(2, action, share, Some(&first), 1);
    contact.set_time(1);
    contact.publish(2, &envelope);
    let admits = !matches!(action, Action::Pause | Action::Drain | Action::Terminate);
    until::<S>(&contact, &subject, share, Some(admits), "decided").await;

    contact.lose();
    contact.set_time(5);
    until::<S>(&contact, &subject, share, Some(admits), "before refresh").await;
    contact.set_time(15);
    until::<S>(&contact, &subject, share, Some(false), "after refresh").await;
    contact.set_time(35);
    until::<S>(&contact, &subject, floor, Some(false), "after expiry").await;

    // Contact is back, with a decision from before: it raises nothing.
    contact.publish(3, &older);
    until::<S>(&contact, &subject, floor, Some(false), "older generation").await;
    let refused = ("rejected".to_owned(), 1);
    assert!(contact.acks().contains(&refused), "{:?}", contact.acks());

    let (newer, _) = sign(3, Action::Throttle, 2_500, Some(&held), 36);
    contact.set_time(36);
    contact.publish(4, &newer);
    let ended = action == Action::Terminate;
    // What was terminated is gone, and another decision does not bring it back.
    let expected = if ended { 0 } else { 2_500 };
    until::<S>(
        &contact,
        &subject,
        expected,
        (!ended).then_some(true),
        "newer generation",
    )
    .await;
}

/// Runs a consumer from its state file, as after a restart, until all is as expected; then a moment longer.
async fn until<S: Subject>(
    contact: &Contact,
    subject: &S,
    share: u16,
    admits: Option<bool>,
    when: &str,
) {
    let (stop, stopped) = watch::channel(false);
    let mut consumer =
        contact.consumer(TrustedKeys::Pinned(vec![key()]), subject.enforcer(contact));
    let running = tokio::spawn(async move { consumer.run(stopped).await });
    let fits = || {
        let admission = subject.admits().zip(admits);
        subject.has(share) && admission.is_none_or(|(is, expected)| is == expected)
    };
    let mut patience = 1_500;
    while !fits() && patience > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        patience -= 1;
    }
    assert!(
        fits(),
        "{when}: {share} bps, admission {admits:?} expected: {}",
        subject.describe()
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        fits(),
        "{when}, a moment later: {share} bps expected: {}",
        subject.describe()
    );
    stop.send(true).unwrap();
    running.await.unwrap().unwrap();
}

fn run_id() -> Uuid {
    Uuid::from_u128(1)
}

/// A program that writes down what it is told.
struct Hook(std::path::PathBuf);

impl Subject for Hook {
    type Enforcer = ExecEnforcer;

    fn new(contact: &Contact) -> Self {
        Self(contact.folder.path().join("told"))
    }

    fn enforcer(&self, _contact: &Contact) -> ExecEnforcer {
        let script = "echo \"$PLUMBLINE_RUN $PLUMBLINE_SHARE_BPS $PLUMBLINE_ADMIT_NEW\" > \"$0.new\" && mv \"$0.new\" \"$0\"";
        let arguments = ["-c", script, &self.0.to_string_lossy()].map(str::to_owned);
        let runs = BTreeMap::from([(run_id(), "sleeper".to_owned())]);
        ExecEnforcer::new(
            "/bin/sh".into(),
            arguments.into(),
            Duration::from_secs(10),
            runs,
        )
    }

    fn has(&self, share: u16) -> bool {
        self.told().1 == share.to_string()
    }

    fn admits(&self) -> Option<bool> {
        Some(self.told().2 == "1")
    }

    fn describe(&self) -> String {
        format!("{:?}", self.told())
    }
}

impl Hook {
    fn told(&self) -> (String, String, String) {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let mut words = text.split_whitespace().map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        (next(), next(), next())
    }
}

/// A process that does nothing, in a control group or under signals.
struct Sleeper(Child);

impl Subject for Sleeper {
    type Enforcer = ProcessEnforcer;

    fn new(_contact: &Contact) -> Self {
        let child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn enforcer(&self, _contact: &Contact) -> ProcessEnforcer {
        let selector = format!("pid:{}", self.0.id()).parse();
        let gone = super::Selector::Pid {
            pid: i32::MAX,
            started: 0,
        };
        let options = ProcessOptions {
            cores: 2.0,
            method: Method::Auto,
            checkpoint: None,
        };
        ProcessEnforcer::new(
            options,
            BTreeMap::from([(run_id(), selector.unwrap_or(gone))]),
        )
    }

    fn has(&self, share: u16) -> bool {
        let expected = u64::from(share) * 2_000 / 10_000;
        let now = ProcessEnforcer::in_force(i32::try_from(self.0.id()).unwrap(), run_id());
        // Without groups it is stopped and continued; asleep, it uses nothing that would have it stopped.
        if now == Some(u64::MAX) {
            return share > 0;
        }
        now == Some(expected) || (now.is_none() && share == 0)
    }

    fn admits(&self) -> Option<bool> {
        None
    }

    fn describe(&self) -> String {
        let now = ProcessEnforcer::in_force(i32::try_from(self.0.id()).unwrap(), run_id());
        format!("{now:?} thousandths of a core")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Jobs of one node each on a Slurm of four nodes.
struct Jobs(Sandbox);

impl Subject for Jobs {
    type Enforcer = SlurmEnforcer;

    fn new(_contact: &Contact) -> Self {
        let sandbox = Sandbox::start();
        for _ in 0..5 {
            sandbox.submit("run_a", 1, "while :; do sleep 0.2; done");
        }
        Self(sandbox)
    }

    fn enforcer(&self, contact: &Contact) -> SlurmEnforcer {
        let options = SlurmOptions {
            partition: "main".into(),
            resize: Resize::Live,
            checkpoint: None,
            conf: Some(self.0.conf()),
            folder: contact.folder.path().to_owned(),
        };
        SlurmEnforcer::new(options, BTreeMap::from([(run_id(), "run_a".to_owned())])).unwrap()
    }

    fn has(&self, share: u16) -> bool {
        self.0.nodes("run_a") == u32::from(share) * 4 / 10_000
    }

    /// The fifth job waits: held, or free to start when there is a node.
    fn admits(&self) -> Option<bool> {
        None
    }

    fn describe(&self) -> String {
        self.0.squeue()
    }
}

#[tokio::test]
async fn a_program_is_told_every_row() {
    table::<Hook>().await;
}

#[tokio::test]
async fn a_process_is_held_in_every_row() {
    table::<Sleeper>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_real_slurm_are_held_in_every_row() {
    table::<Jobs>().await;
}
