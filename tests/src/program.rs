//! The real binary: found, started, watched, stopped, killed.

use std::io::{BufRead, BufReader, Read};
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
    let mut child = spawn(args);
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "plumbline {args:?} did not end in {} s\n{}\n{}",
                limit.as_secs(),
                text(&stdout),
                text(&stderr)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Finished {
        status,
        stdout: stdout.finish(),
        stderr: stderr.finish(),
    }
}

fn spawn(args: &[&str]) -> Child {
    Command::new(binary())
        .args(args)
        .env("RUST_LOG", "warn")
        // Whatever the machine's owner prefers.
        .env("PLUMBLINE_CONFIG", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started")
}

/// What a stream has said so far, read by a thread so that the program never blocks on it.
struct Drain {
    said: Arc<Mutex<String>>,
    thread: std::thread::JoinHandle<()>,
}

impl Drain {
    fn finish(self) -> String {
        let _ = self.thread.join();
        text_of(&self.said)
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
    Drain { said, thread }
}

fn text_of(said: &Mutex<String>) -> String {
    said.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn text(drain: &Drain) -> String {
    text_of(&drain.said)
}

/// A running server; stopped when dropped.
pub struct Server {
    child: Child,
    url: String,
    stdout: Drain,
    stderr: Drain,
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
        let mut child = spawn(args);
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let mut server = Self {
            child,
            url: String::new(),
            stdout,
            stderr,
        };
        let deadline = Instant::now() + START;
        server.url = loop {
            if let Some(url) = server.word_with("http://") {
                break url;
            }
            server.check_alive(deadline);
        };
        let http = server.http();
        while http
            .try_send(&crate::Call::get("/readyz"))
            .is_none_or(|answer| answer.status != 200)
        {
            server.check_alive(deadline);
        }
        server
    }

    fn check_alive(&mut self, deadline: Instant) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "the server is not ready ({ended:?})\n{}",
            self.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }

    fn word_with(&self, start: &str) -> Option<String> {
        let said = text(&self.stdout);
        // Only whole lines: the last one may still be on its way.
        let whole = &said[..said.rfind('\n')?];
        let url = whole
            .split_whitespace()
            .find(|word| word.starts_with(start))?;
        let url = url.trim_end_matches(['/', '.', ';']);
        Some(url.split("/setup").next().unwrap_or(url).to_owned())
    }

    /// The code of a first start, as it is printed for the operator.
    #[must_use]
    pub fn setup_code(&self) -> Option<String> {
        let said = text(&self.stdout);
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
        format!(
            "--- stdout\n{}--- stderr\n{}",
            text(&self.stdout),
            text(&self.stderr)
        )
    }

    /// SIGKILL: no destructor of the server runs, nothing is flushed by it.
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
            .unwrap_or_else(|| panic!("the server does not stop\n{}", self.log()))
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

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if self.terminate().is_none() {
            self.kill();
        }
    }
}
