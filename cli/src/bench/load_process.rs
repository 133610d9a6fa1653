//! The load of a measurement in a process of its own, so that neither side's files or time are the other's.
//!
//! The child says `ready` on a line, works until its input is closed, and says on another what it found.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// Variable with the token of the clients.
const TOKEN: &str = "PLUMBLINE_BENCH_TOKEN";

/// A child that loads the service; killed when it is dropped early.
pub struct LoadProcess {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl LoadProcess {
    /// Runs a command of this program with a token and a first line of input, until it is ready.
    pub fn start(args: &[&str], token: &str, input: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .env(TOKEN, token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the clients")?;
        let output = child.stdout.take().context("the clients have no output")?;
        let mut process = Self {
            child,
            output: BufReader::new(output),
        };
        let stdin = process.child.stdin.as_mut();
        writeln!(stdin.context("the clients have no input")?, "{input}")?;
        anyhow::ensure!(process.line()? == "ready", "the clients did not start");
        Ok(process)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Has it stop; what it found comes back.
    pub fn end(mut self) -> Result<String> {
        // Closing its input tells it to stop.
        drop(self.child.stdin.take());
        let found = self.line()?;
        self.child.wait()?;
        Ok(found)
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        // Already ended, unless something failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the child: the token and the first line of input.
pub fn token_and_input() -> Result<(String, String)> {
    let mut input = String::new();
    std::io::stdin().read_line(&mut input)?;
    Ok((std::env::var(TOKEN).unwrap_or_default(), input))
}

/// In the child: says that the clients are waiting.
pub fn say_ready() {
    println!("ready");
    // Nobody reads it any more when it cannot be written.
    let _ = std::io::stdout().flush();
}

/// In the child: until the other side has seen enough.
pub async fn told_to_stop() {
    let closed = tokio::task::spawn_blocking(|| {
        let mut rest = String::new();
        std::io::stdin().read_line(&mut rest)
    });
    // Whatever it ends with, the other side is done.
    let _ = closed.await;
}
