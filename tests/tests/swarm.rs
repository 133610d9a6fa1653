//! A coordinator and nodes as processes of their own: joined, killed, back.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use plumbline_tests::program::{binary, run};
use plumbline_tests::{HeavyLock, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

fn wait_for<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    until(what, LIMIT, found)
}

/// A process whose output goes to files.
struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    fn start(command: &mut Command, output: PathBuf) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(output.with_extension("err")).unwrap())
            .spawn()
            .unwrap();
        Self { child, output }
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.output.with_extension("err")).unwrap()
    }

    /// A field of the first line that has it.
    fn field(&self, name: &str) -> String {
        wait_for(name, || {
            let lines = self.lines();
            let found = lines.iter().find_map(|line| line[name].as_str());
            found.map(str::to_owned)
        })
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }

    fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LIMIT, "{}", self.errors());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A run and where it is kept.
struct Swarm {
    scratch: tempfile::TempDir,
    address: String,
}

impl Swarm {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let line = |n: usize| format!("fn add_{}(a: u32) -> u32 {{ a + {} }}\n", n % 17, n % 5);
        let text: String = (0..4_000).map(line).collect();
        std::fs::write(scratch.path().join("text.txt"), text).unwrap();
        // Taken and given back: nobody else of this test wants it.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        Self { scratch, address }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn coordinator(&self, name: &str, audit_bps: &str) -> Process {
        let shape = "--width 16 --layers 1 --vocabulary 300 --batch 4 --inner-steps 5";
        let job = "--nodes 0 --tokens 100000000 --scheme sparseloco --json";
        let mut command = Command::new(binary());
        command
            .arg("train")
            .args(shape.split(' '))
            .args(job.split(' '))
            .args(["--listen", &self.address, "--stall-seconds", "10"])
            .arg("--data-dir")
            .arg(self.path("coordinator"))
            .arg("--text")
            .arg(self.path("text.txt"))
            .args(["--audit-bps", audit_bps]);
        Process::start(&mut command, self.path(name))
    }

    fn node_command(&self, name: &str, ticket: &str) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["node", "--json", "--join", ticket, "--data-dir"])
            .arg(self.path(name));
        command
    }

    fn node(&self, name: &str, ticket: &str) -> Process {
        let output = self.path(&format!("{name}-{}.out", std::process::id()));
        let process = Process::start(&mut self.node_command(name, ticket), output);
        process.field("node");
        process
    }

    /// Numbers of closed rounds with the nodes counted in each, of all lives.
    fn rounds(&self) -> Vec<(u64, BTreeSet<String>)> {
        let path = self.path("coordinator/training/runs/job/history.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let points = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        points
            .map(|point| {
                let losses = point["node_losses"].as_array().unwrap();
                let nodes = losses
                    .iter()
                    .map(|pair| pair[0].as_str().unwrap().to_owned());
                (point["round"].as_u64().unwrap(), nodes.collect())
            })
            .collect()
    }

    fn newest(&self) -> u64 {
        self.rounds().last().map_or(0, |(round, _)| *round)
    }

    /// The first round after `after` that counted exactly `nodes`.
    fn round_of(&self, after: u64, nodes: &[&str]) -> u64 {
        let wanted: BTreeSet<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        wait_for("a round of these nodes", || {
            let rounds = self.rounds();
            let found = rounds
                .iter()
                .find(|(round, counted)| *round > after && *counted == wanted);
            found.map(|(round, _)| *round)
        })
    }
}

#[test]
fn nodes_and_coordinator_die_and_the_run_goes_on() {
    let _alone = HeavyLock::take();
    let swarm = Swarm::new();
    let coordinator = swarm.coordinator("first", "1000");
    let ticket = coordinator.field("ticket");
    let mut all: Vec<Process> = ["a", "b", "c"].map(|name| swarm.node(name, &ticket)).into();
    let names: Vec<String> = all.iter().map(|node| node.field("node")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let round = swarm.round_of(0, &names);

    // Killed: the others go on. Back on its folder: the same node.
    all[1].signal("-KILL");
    all[1].end();
    let round = swarm.round_of(round, &[names[0], names[2]]);
    all[1] = swarm.node("b", &ticket);
    assert_eq!(all[1].field("node"), names[1]);
    let round = swarm.round_of(round, &names);

    // The coordinator is killed: at most the round under way is lost.
    coordinator.signal("-KILL");
    drop(coordinator);
    let newest = swarm.newest();
    assert!(newest >= round);
    let coordinator = swarm.coordinator("second", "1000");
    assert_eq!(coordinator.field("ticket"), ticket);
    let first = wait_for("a round of the second life", || {
        let told = coordinator.lines();
        let rounds = told.iter().filter_map(|line| line["round"].as_u64());
        rounds.filter(|round| *round >= newest).min()
    });
    assert!(first <= newest + 1, "{first} after {newest}");
    let round = swarm.round_of(newest, &names);

    // Told to end, a node says goodbye.
    all[2].signal("-TERM");
    assert!(all[2].end().success(), "{}", all[2].errors());
    assert_eq!(all[2].field("status"), "joined");
    assert_eq!(all[2].lines().last().unwrap()["status"], "left");
    swarm.round_of(round, &names[..2]);

    // And the run's end is the end of its nodes.
    coordinator.signal("-TERM");
    for mut node in all.drain(..2) {
        assert!(node.end().success(), "{}", node.errors());
        assert_eq!(node.lines().last().unwrap()["status"], "over");
    }
}

/// A library that sets a process's wall clock an hour back.
fn hour_off(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    let code = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
        int clock_gettime(clockid_t id, struct timespec *t) {\n\
        static int (*real)(clockid_t, struct timespec *);\n\
        if (!real) real = dlsym(RTLD_NEXT, \"clock_gettime\");\n\
        int r = real(id, t); if (!r && id == CLOCK_REALTIME) t->tv_sec -= 3600; return r; }\n";
    std::fs::write(&source, code).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(status.success());
    library
}

#[test]
fn full_disks_and_wrong_clocks_do_not_end_a_round() {
    let _alone = HeavyLock::take();
    let swarm = Swarm::new();
    let coordinator = swarm.coordinator("first", "1000");
    let ticket = coordinator.field("ticket");
    let library = hour_off(swarm.scratch.path());
    let mut late = swarm.node_command("late", &ticket);
    let late = Process::start(late.env("LD_PRELOAD", library), swarm.path("late.out"));
    // No file may grow over 8 KiB, as on a disk that is full.
    let node = swarm.node_command("full", &ticket);
    let mut full = Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(node.get_program())
        .args(node.get_args());
    let mut full = Process::start(&mut full, swarm.path("full.out"));
    let names = [late.field("node"), full.field("node")];
    let names = names.each_ref().map(String::as_str);
    let round = swarm.round_of(0, &names);
    swarm.round_of(round, &names);
    full.signal("-TERM");
    assert!(full.end().success());
    assert!(full.errors().contains("is not kept"), "{}", full.errors());
    assert!(
        full.errors().contains("File too large"),
        "{}",
        full.errors()
    );
}

#[test]
fn a_node_that_cannot_take_part_says_why() {
    let swarm = Swarm::new();
    let coordinator = swarm.coordinator("first", "0");
    let ticket = coordinator.field("ticket");
    let path = |name: &str| swarm.path(name).to_str().unwrap().to_owned();
    std::fs::write(swarm.path("tiny.txt"), "ten bytes!").unwrap();
    std::fs::write(
        swarm.path("junk.bin"),
        [0xff_u8, 0xfe, 0x00, 0x80].repeat(1_000),
    )
    .unwrap();
    let (home, tiny, junk) = (path("home"), path("tiny.txt"), path("junk.bin"));
    let failed = |more: &[&str], words: &str| {
        let arguments = [&["node", "--data-dir", &home][..], more].concat();
        let ended = run(&arguments, LIMIT);
        let last = ended.stderr.lines().last().unwrap_or_default().to_owned();
        let named = last.starts_with("plumbline: ") && last.contains(words);
        assert!(
            ended.status.code() == Some(1) && named,
            "{words:?} is not in {last:?}"
        );
    };
    failed(
        &["--join", &ticket, "--data", &tiny],
        "the source \"data\" holds",
    );
    failed(&["--join", &ticket, "--data", &junk], "junk.bin");
    failed(&["--join", "nonsense"], "not a ticket");
    failed(&["--join", &ticket[..60]], "not a ticket");
    failed(
        &["--join", &ticket, "--device", "cuda"],
        "built without CUDA",
    );
    failed(&["--join", &ticket, "--max-share", "2"], "--max-share is 2");
    drop(coordinator);
    let nobody = ["--join", &ticket, "--connect-seconds", "2"];
    failed(&nobody, "cannot reach the coordinator");
}
