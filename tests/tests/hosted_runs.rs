//! A run that a real service trains with a node of another process: staked, throttled, paused, killed, stopped.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plumbline_tests::fixture::{PASSWORD, market_terms, sign_in, text, whole};
use plumbline_tests::program::{Server, binary, root, run};
use plumbline_tests::{CREDIT, HeavyLock, Http, Site, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

/// The demo's policy of seconds, except that a tripped bound stops a run altogether.
fn policy(folder: &Path) -> String {
    let demo = std::fs::read_to_string(root().join("governance/policies/demo.toml")).unwrap();
    let strict = demo.replace("cap_bps = 2_500", "cap_bps = 0");
    assert_ne!(demo, strict);
    let path = folder.join("policy.toml");
    std::fs::write(&path, strict).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A node's process; killed when dropped.
struct Node {
    child: Child,
    errors: PathBuf,
}

impl Node {
    fn join(ticket: &str, folder: &Path) -> Self {
        let errors = folder.with_extension("err");
        let child = Command::new(binary())
            .args(["node", "--json", "--join", ticket, "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    /// Seconds of CPU that it has used.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name in brackets: user and system time are the 12th and 13th, in hundredths.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A service that trains, and who uses it.
struct World {
    site: Site,
    options: Vec<String>,
    scratch: tempfile::TempDir,
    ada: Http,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let corpora = scratch.path().join("corpora");
        std::fs::create_dir(&corpora).unwrap();
        let line = |n: usize| format!("fn add_{}(a: u32) -> u32 {{ a + {} }}\n", n % 17, n % 5);
        let lines: String = (0..4_000).map(line).collect();
        std::fs::write(corpora.join("sums.txt"), lines).unwrap();
        // Taken and given back: nobody else of this test wants it.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        drop(port);
        let policy = policy(scratch.path());
        let corpora = corpora.to_str().unwrap();
        let options = [
            "--swarm-listen",
            &address,
            "--corpora",
            corpora,
            "--policy",
            &policy,
        ];
        let options = options.map(str::to_owned).to_vec();
        let lent: Vec<&str> = options.iter().map(String::as_str).collect();
        let site = Site::with(&lent);
        let _ = site.person("ada");
        let ada = sign_in(&site.server.http(), "ada", PASSWORD, &["read", "node"]);
        Self {
            site,
            options,
            scratch,
            ada,
        }
    }

    fn kill_and_restart(&mut self) {
        self.site.server.kill();
        let lent: Vec<&str> = self.options.iter().map(String::as_str).collect();
        self.site.server = Server::serve_with(self.site.folder.path(), &lent);
        self.site.operator = self.site.operator.at(self.site.server.url());
        self.ada = self.ada.at(self.site.server.url());
    }

    /// `plumbline run …` as somebody; what it printed, and what it complained of.
    fn tool(&self, who: &Http, verb: &str, more: &[&str]) -> (bool, Value, String) {
        let access = [
            "--url",
            self.site.server.url(),
            "--token",
            who.token().unwrap(),
            "--json",
        ];
        let ended = run(&[&["run", verb], more, &access].concat(), LIMIT);
        let said = serde_json::from_str(&ended.stdout).unwrap_or_default();
        (ended.status.success(), said, ended.stderr)
    }

    fn training(&self) -> Value {
        self.site.operator.get("/api/v1/training/runs/subject")
    }

    fn round(&self) -> i64 {
        whole(&self.training()["round"])
    }

    /// Waits until some rounds more have closed.
    fn rounds_go_on(&self, what: &str) {
        let before = self.round();
        until(what, LIMIT, || (self.round() >= before + 3).then_some(()));
    }

    fn share_becomes(&self, what: &str, fits: impl Fn(i64) -> bool) {
        until(what, LIMIT, || {
            fits(whole(&self.training()["share_bps"])).then_some(())
        });
    }

    fn push_price(&self, market: &str, outcome: &str, target: f64) {
        let order = json!({"outcome": outcome, "target_probability": target});
        self.site
            .operator
            .post(&format!("/api/v1/markets/{market}/trades"), &order);
    }
}

fn start_arguments() -> Vec<&'static str> {
    let shape = "subject --corpus sums.txt --tokens 1000000000 --workers 0 --width 16 --layers 1 --vocabulary 300";
    let terms =
        "--batch 4 --inner-steps 5 --open --audit-bps 1000 --least-stake 5 --stall-seconds 20";
    shape.split(' ').chain(terms.split(' ')).collect()
}

#[test]
fn a_node_elsewhere_trains_under_decisions_and_answers_with_its_stake() {
    let _alone = HeavyLock::take();
    let mut world = World::new();
    let (refused, _, words) = world.tool(&world.ada, "start", &start_arguments());
    assert!(!refused && words.contains("admin"), "{words}");
    let operator = world.site.operator.at(world.site.server.url());
    let (started, subject, words) = world.tool(&operator, "start", &start_arguments());
    assert!(started, "{words}");
    let id = text(&subject["id"]);
    let ticket = until("a ticket", LIMIT, || {
        let (there, ticket, _) = world.tool(&world.ada, "ticket", &["subject"]);
        there.then(|| text(&ticket["ticket"]))
    });

    // Without a stake nobody is let in.
    let folder = world.scratch.path().join("node");
    let mut stranger = Node::join(&ticket, &folder);
    assert!(!stranger.child.wait().unwrap().success());
    assert!(
        stranger.errors().contains("no-stake"),
        "{}",
        stranger.errors()
    );
    let stake = [
        "subject",
        "--amount",
        "20",
        "--node-dir",
        folder.to_str().unwrap(),
    ];
    let (staked, stake, words) = world.tool(&world.ada, "stake", &stake);
    assert!(staked, "{words}");
    let mut node = Node::join(&ticket, &folder);

    // Nothing prices the run yet, so it has half of the machine, and its node half of a core.
    world.share_becomes("half of the pool", |share| share == 5_000);
    world.rounds_go_on("rounds of a throttled run");
    let (cpu, begun) = (node.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(6));
    let duty = (node.cpu() - cpu) / begun.elapsed().as_secs_f64();
    assert!(duty > 0.05 && duty < 0.65, "it used {duty} of a core");
    let swarm = world
        .site
        .operator
        .get("/api/v1/training/runs/subject/swarm");
    assert!(swarm["open"] == true && swarm["staked"] == true, "{swarm}");
    assert_eq!(swarm["links"][0]["node"], stake["node_key"]);
    assert_eq!(swarm["changes"][0]["status"], "active");

    // Almost certainly misaligned: it stands still, and its node with it.
    let market = market_terms(&id, Duration::from_secs(3_600));
    let market = text(&world.site.operator.post("/api/v1/markets", &market)["id"]);
    world.push_price(&market, "yes", 0.98);
    world.share_becomes("a stop", |share| share == 0);
    assert_eq!(world.training()["status"], "paused");
    std::thread::sleep(Duration::from_secs(1));
    let (round, cpu) = (world.round(), node.cpu());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.round(), round);
    assert!(node.cpu() - cpu < 0.6, "a paused node idles");
    world.push_price(&market, "no", 0.03);
    world.share_becomes("recovery", |share| share > 0);
    world.rounds_go_on("rounds after the recovery");

    // Killed at any moment: the same node finds the same run again, and its stake is where it was.
    world.kill_and_restart();
    world.rounds_go_on("rounds of the second life");
    let stakes = world
        .site
        .operator
        .get("/api/v1/training/runs/subject/stakes");
    assert_eq!(stakes["items"][0]["status"], "bonded");

    // Leaving: the node is sent away, the stake follows later.
    let (left, leaving, words) =
        world.tool(&world.ada, "unstake", &["subject", &text(&stake["id"])]);
    assert!(left && leaving["status"] == "leaving", "{words}");
    let gone = until("the node's end", LIMIT, || node.child.try_wait().unwrap());
    assert!(
        !gone.success() && node.errors().contains("no-stake"),
        "{}",
        node.errors()
    );
    let operator = world.site.operator.at(world.site.server.url());
    let (stopped, run, words) = world.tool(&operator, "stop", &["subject"]);
    assert!(stopped && run["training"]["status"] == "stopped", "{words}");
    // The end of the run frees the stake at once.
    until("the stake", LIMIT, || {
        let stakes = world
            .site
            .operator
            .get("/api/v1/training/runs/subject/stakes");
        (stakes["items"][0]["status"] == "returned").then_some(())
    });
    let me = world.ada.get("/api/v1/me");
    assert_eq!(whole(&me["balance_micro"]), 1_000 * CREDIT);
    assert_eq!(whole(&world.site.ledger()["sum_micro"]), 0);
}
