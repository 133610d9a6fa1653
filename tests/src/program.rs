//! The real binary: found, started, watched, stopped, killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::http::Http;

/// How long a server may take to answer: a loaded machine in the dev profile is slow to start.
const START: Duration = Duration::from_secs(60);
/// How long a server may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(20);

/// The binary under test: `PLUMBLINE_BIN` if set, else the one beside the test
/// program, built first if there is none.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PLUMBLINE_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("test programs lie in <profile>/deps");
    let path = profile.join("plumbline");
    if !path.exists() {
        build(profile);
    }
    assert!(
        path.exists(),
        "cargo build left nothing at {}",
        path.display()
    );
    path
}

fn build(profile: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--locked", "--bin", "plumbline"])
        .current_dir(root());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "the binary cannot be built");
}

/// The workspace's folder.
#[must_use]
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .expect("this crate lies in the workspace")
        .to_owned()
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs the binary to its end.
///
/// # Panics
/// When it has not ended after `limit`; it is killed then.
pub fn run(args: &[&str], limit: Duration) -> Finished {
    finish(&mut plumbline(args), "", limit)
}

/// Runs any program to its end, with `input` as what it reads.
///
/// # Panics
/// When it has not ended after `limit`; it is killed then.
pub fn finish(command: &mut Command, input: &str, limit: Duration) -> Finished {
    let mut program = Program::fed(command, input);
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = program.ended() {
            break status;
        }
        if Instant::now() >= deadline {
            program.kill();
            panic!(
                "{command:?} did not end in {} s\n{}",
                limit.as_secs(),
                program.log()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let [stdout, stderr] = [&mut program.stdout, &mut program.stderr].map(Drain::finish);
    Finished {
        status,
        stdout,
        stderr,
    }
}

/// The binary with arguments, whatever the machine's owner prefers.
fn plumbline(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(args)
        .env("RUST_LOG", "warn")
        .env("PLUMBLINE_CONFIG", "");
    command
}

/// What a stream has said so far, read by a thread so that the program never blocks on it.
struct Drain {
    said: Arc<Mutex<String>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drain {
    /// All that was said, once the stream has ended.
    fn finish(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.text()
    }

    fn text(&self) -> String {
        let said = self.said.lock();
        said.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn drain(stream: Option<impl Read + Send + 'static>) -> Drain {
    let said = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&said);
    let stream = stream.expect("the stream was asked for");
    let thread = std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&line);
            line.clear();
        }
    });
    let thread = Some(thread);
    Drain { said, thread }
}

/// A running program; stopped when dropped.
pub struct Program {
    child: Child,
    stdout: Drain,
    stderr: Drain,
}

impl Program {
    /// Starts it, with nothing to read.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::fed(command, "")
    }

    fn fed(command: &mut Command, input: &str) -> Self {
        let stdin = match input {
            "" => Stdio::null(),
            _ => Stdio::piped(),
        };
        let child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            // Less than a pipe holds, so this cannot wait; who does not read it is free not to.
            let _ = stdin.write_all(input.as_bytes());
        }
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Its id among processes.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Whole lines of its standard output, so far.
    #[must_use]
    pub fn said(&self) -> String {
        let mut said = self.stdout.text();
        said.truncate(said.rfind('\n').map_or(0, |at| at + 1));
        said
    }

    /// Waits for a word on its standard output; all of that so far.
    ///
    /// # Panics
    /// When it ends before, or takes too long.
    pub fn says(&mut self, word: &str) -> String {
        let deadline = Instant::now() + START;
        loop {
            let said = self.said();
            if said.contains(word) {
                return said;
            }
            self.check_alive(word, deadline);
        }
    }

    fn check_alive(&mut self, wanted: &str, deadline: Instant) {
        let ended = self.ended();
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "no {wanted:?} ({ended:?})\n{}",
            self.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }

    /// Everything that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(Drain::text);
        format!("--- stdout\n{stdout}--- stderr\n{stderr}")
    }

    /// SIGKILL: no destructor of it runs, nothing is flushed by it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        self.terminate()
            .unwrap_or_else(|| panic!("it does not stop\n{}", self.log()))
    }

    fn terminate(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if self.terminate().is_none() {
            self.kill();
        }
    }
}

/// A running server; stopped when dropped.
pub struct Server {
    program: Program,
    url: String,
}

impl Server {
    /// `plumbline serve` on a data folder, at a free port of this machine.
    #[must_use]
    pub fn serve(data_dir: &Path) -> Self {
        Self::serve_with(data_dir, &[])
    }

    /// The same with more options.
    #[must_use]
    pub fn serve_with(data_dir: &Path, more: &[&str]) -> Self {
        let folder = data_dir
            .to_str()
            .expect("temporary folders have plain names");
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", folder];
        args.extend(more);
        Self::start(&args)
    }

    /// Any subcommand that serves and prints its address.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; with what it had written.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        Self::of(&mut plumbline(args))
    }

    /// The same by a command that comes to it.
    ///
    /// # Panics
    /// As [`Server::start`].
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let mut program = Program::start(command);
        let deadline = Instant::now() + START;
        let url = loop {
            if let Some(url) = address(&program.said()) {
                break url;
            }
            program.check_alive("an address", deadline);
        };
        let http = Http::new(&url);
        while http
            .try_send(&crate::Call::get("/readyz"))
            .is_none_or(|answer| answer.status != 200)
        {
            program.check_alive("readiness", deadline);
        }
        Self { program, url }
    }

    /// The code of a first start, as it is printed for the operator.
    #[must_use]
    pub fn setup_code(&self) -> Option<String> {
        let said = self.program.said();
        let (_, after) = said.split_once("/setup?code=")?;
        after.split_whitespace().next().map(str::to_owned)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A visitor's client.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(&self.url)
    }

    /// Everything that the program has written.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// SIGKILL: no destructor of the server runs, nothing is flushed by it.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(self) -> ExitStatus {
        self.program.stop()
    }
}

/// The first address in what a server printed.
fn address(said: &str) -> Option<String> {
    let url = said
        .split_whitespace()
        .find(|word| word.starts_with("http://"))?;
    let url = url.trim_end_matches(['/', '.', ';']);
    Some(url.split("/setup").next().unwrap_or(url).to_owned())
}
